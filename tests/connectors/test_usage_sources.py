"""Where a session tells its tokens and cost in several ways: which of them counts."""

from typing import Any

import pytest

from otel_pipeline.testing import make_span, make_traces
from tests.connectors.usage_harness import (
    CUMULATIVE,
    JANUARY_2026,
    KINDS,
    POINTS,
    RULES,
    SECOND,
    UsageHarness,
    event,
    point,
    price,
    span,
)


@pytest.mark.parametrize("identified", [True, False])
def test_log_records_without_ids_give_way_to_spans(identified: bool) -> None:
    """Two signals of one session that cannot be matched are two tellings of the same: spans are taken."""
    harness = UsageHarness(RULES)
    request: dict[str, Any] = {"request_id": "r"} if identified else {}
    harness.send(event(session__id="s", prompt=10), span(session__id="s", **request, prompt=11))
    harness.wait()
    assert (harness.total("input"), harness.stat("superseded")) == (11, 1)


def test_an_item_without_numbers_tells_nothing() -> None:
    """A failed request has no usage: it neither counts nor decides for its session."""
    harness = UsageHarness(RULES)
    harness.send(event(session__id="s", request_id="r"), point(5, session__id="s"))
    harness.wait()
    assert (harness.total("input"), harness.stat("superseded")) == (5, 0)


def test_points_count_where_nothing_tells_requests() -> None:
    """A session that sends data points only is counted from them, kinds translated, totals left out."""
    harness = UsageHarness(RULES)
    for at, kind in enumerate(("input", "output", "cached", "total"), start=1):
        harness.send(point(10 * at, kind, at=at, session__id="s"))
    harness.wait()
    assert [harness.total(kind) for kind in KINDS] == [10, 20, 30, 0, 0]


def test_requests_supersede_the_points_of_their_session() -> None:
    """Of one session the data points are left out, of another they count; either is told."""
    harness = UsageHarness(RULES)
    harness.send(point(100, session__id="s"), point(7, session__id="other"))
    harness.send(event(request_id="r", session__id="s", prompt=90))
    harness.wait()
    assert (harness.total("input"), harness.stat("superseded")) == (97, 1)


def test_the_choice_is_kept() -> None:
    """A session whose data points were counted stays with them, when requests are told only later."""
    harness = UsageHarness(RULES)
    harness.send(point(100, session__id="s"))
    harness.wait()
    harness.send(event(request_id="r", session__id="s", prompt=90), point(5, at=2, session__id="s"))
    harness.wait()
    assert (harness.total("input"), harness.stat("superseded")) == (105, 1)


def test_spans_that_wait_hold_off_the_points_of_their_session() -> None:
    """Data points are due long before the spans of a stage that takes hours; the spans count nevertheless."""
    harness = UsageHarness(RULES)
    told: dict[str, Any] = {"model": "m", "session__id": "s", "request_id": "r", "prompt": 90}
    harness.send(make_traces(make_span("llm", trace=9, span=2, parent=1, remote_parent=False, **told)))
    harness.send(point(100, session__id="s"))
    harness.wait()
    assert (harness.tokens, harness.stat("superseded")) == ({}, 1)
    harness.wait(2 * 3600)
    assert harness.total("input") == 90


def test_a_session_is_found_on_the_resource() -> None:
    """Not every sender repeats it on each item."""
    harness = UsageHarness(RULES)
    harness.send(point(100, resource={"session.id": "s"}), event(session__id="s", prompt=90))
    harness.wait()
    assert (harness.total("input"), harness.stat("superseded")) == (90, 1)


def test_without_a_session_the_sender_is_one() -> None:
    """Data points without a session may be of any session of their sender, on whatever host a signal says it runs."""
    harness = UsageHarness(RULES)
    harness.send(event(session__id="s", prompt=90, resource={"service.name": "agent", "host.name": "h"}))
    harness.send(point(100, resource={"service.name": "agent"}), point(7, resource={"service.name": "other"}))
    harness.wait()
    assert (harness.total("input"), harness.stat("superseded")) == (97, 1)


def test_cumulative_points_count_by_their_increase() -> None:
    """The first point of a stream that began before the gateway is only the base."""
    harness = UsageHarness(RULES, start_unix_ns=JANUARY_2026 + SECOND)
    for at, value in enumerate((100, 130, 130, 140), start=1):
        harness.send(point(value, at=at, temporality=CUMULATIVE, session__id="s"))
    harness.wait()
    assert harness.total("input") == 40


def test_points_of_kinds_inside_others_are_taken_off() -> None:
    """Data points of one export are summed up before the inner kind leaves the outer."""
    harness = UsageHarness([POINTS | {"inside": {"cache_read": "input"}}])
    harness.send(point(80, "cached"), point(100, "input"))
    harness.wait()
    assert (harness.total("input"), harness.total("cache_read")) == (20, 80)


def test_cost_points_tell_the_cost_of_a_session() -> None:
    """Their tokens are not priced again; those of a session without cost points are."""
    harness = UsageHarness(RULES, [price(input=1)])
    harness.send(point(1_000_000, session__id="s"), point(0.75, name="cost", session__id="s"))
    harness.send(point(2_000_000, session__id="priced"))
    harness.wait()
    assert (harness.cost, harness.total("input")) == ({("-", "m"): 2.75}, 3_000_000)


def test_cost_points_after_the_price_list_are_superseded() -> None:
    """The cost of a session is told or listed as a whole."""
    harness = UsageHarness(RULES, [price(input=1)])
    harness.send(point(1_000_000, session__id="s"))
    harness.wait()
    harness.send(point(0.75, name="cost", at=2, session__id="s"))
    harness.wait()
    assert (harness.cost, harness.stat("superseded")) == ({("-", "m"): 1.0}, 1)
