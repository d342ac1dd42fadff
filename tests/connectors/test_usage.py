"""Tokens and cost, counted once: how senders tell them, which telling counts, what it costs."""

from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from otel_pipeline.pdata import Batch
from otel_pipeline.testing import attributes, make_log, make_logs, make_metrics, make_span, make_traces
from tests.connectors.usage_harness import KINDS, SECOND, UsageHarness

DELTA, CUMULATIVE = 1, 2
TOLD = {
    "session": ["session.id"],
    "request": ["request_id"],
    "tokens": {"input": ["in"], "output": ["out"], "cache_read": ["cached"], "reasoning": ["thought"]},
    "cost_usd": ["cost"],
}
SPANS: dict[str, Any] = {"item": "span", "selector": {"name": {"literal": "llm"}}, **TOLD}
EVENTS: dict[str, Any] = {"item": "event", "selector": {"name": {"literal": "llm"}}, **TOLD}
POINTS: dict[str, Any] = {
    "item": "point",
    "selector": {"name": {"literal": "tokens"}},
    "session": ["session.id"],
    "value": "tokens",
    "kind": {"attribute": "type", "map": [["input", "input"], ["output", "output"], ["cached", "cache_read"]]},
}
COSTS: dict[str, Any] = {
    "item": "point",
    "selector": {"name": {"literal": "cost"}},
    "session": ["session.id"],
    "value": "cost",
}
RULES = [SPANS, EVENTS, POINTS, COSTS]
OPENAI_LIKE = {"inside": {"cache_read": "input", "reasoning": "output"}}
JANUARY_2026 = 1_767_225_600 * SECOND


def price(model: str = "m", since: int = 0, above: Any = None, **per_million: float) -> dict[str, Any]:
    """A price from `since` seconds after 2026-01-01."""
    listed = {"model": model, "from_unix_ns": JANUARY_2026 + since * SECOND, "per_million": per_million}
    return listed | ({"above": above} if above else {})


def span(number: int = 1, *, resource: Mapping[str, Any] | None = None, **told: Any) -> Batch:
    told = {"model": "m", **told}
    return make_traces(make_span("llm", trace=number, span=number, **told), resource=resource)


def event(*, resource: Mapping[str, Any] | None = None, **told: Any) -> Batch:
    return make_logs(make_log("llm", **{"model": "m", **told}), resource=resource)


def point(
    value: float,
    type: str = "input",
    *,
    name: str = "tokens",
    at: int = 1,
    temporality: int = DELTA,
    resource: Mapping[str, Any] | None = None,
    **told: Any,
) -> Batch:
    """A data point that covers the second before `at`, or, if cumulative, all since 2026."""
    metric = Metric(name=name)
    metric.sum.aggregation_temporality = temporality  # type: ignore[assignment]
    metric.sum.is_monotonic = True
    values = {"model": "m", "type": type, **{key.replace("__", "."): value for key, value in told.items()}}
    start = at - 1 if temporality == DELTA else 0
    metric.sum.data_points.add(
        start_time_unix_nano=JANUARY_2026 + start * SECOND,
        time_unix_nano=JANUARY_2026 + at * SECOND,
        as_double=value,
        attributes=attributes(values),
    )
    return make_metrics(metric, resource=resource)


# --- kinds and numbers


@pytest.mark.parametrize(
    ("inside", "expected"), [({}, (100, 50, 80, 30)), (OPENAI_LIKE, (20, 20, 80, 30))], ids=["anthropic", "openai"]
)
def test_kinds_are_disjoint(inside: Mapping[str, Any], expected: tuple[int, ...]) -> None:
    """What a sender counts inside another kind is taken off that kind; what it counts apart is left alone."""
    harness = UsageHarness([SPANS | inside])
    harness.send(span(**{"in": 100}, out=50, cached=80, thought=30))
    harness.wait()
    assert tuple(harness.total(kind) for kind in ("input", "output", "cache_read", "reasoning")) == expected


def test_the_inner_kind_is_never_more_than_the_outer() -> None:
    """A sender that contradicts itself makes no negative tokens."""
    harness = UsageHarness([SPANS | OPENAI_LIKE])
    harness.send(span(**{"in": 10}, cached=80))
    harness.wait()
    assert (harness.total("input"), harness.total("cache_read")) == (0, 80)


@pytest.mark.parametrize("number", [120, 120.0, "120", " 120 "])
def test_numbers_come_as_int_double_or_text(number: Any) -> None:
    """However the sender writes the number of tokens, it counts."""
    harness = UsageHarness(RULES)
    harness.send(event(**{"in": number}))
    harness.wait()
    assert harness.total("input") == 120


@pytest.mark.parametrize("number", [-1, float("nan"), float("inf"), 1e300, "many", "NaN", True])
def test_what_is_no_number_of_tokens_is_refused(number: Any) -> None:
    """It is counted as such, and does not spoil the sums; the rest of the item counts."""
    harness = UsageHarness(RULES)
    harness.send(event(**{"in": number}, out=7))
    harness.wait()
    assert (harness.total("input"), harness.total("output")) == (0, 7)
    assert harness.stat("invalid_numbers") == 1


def test_an_item_without_numbers_tells_nothing() -> None:
    """A failed request has no usage: it neither counts nor decides for its session."""
    harness = UsageHarness(RULES)
    harness.send(event(session__id="s", request_id="r"), point(5, session__id="s"))
    harness.wait()
    assert (harness.total("input"), harness.stat("superseded")) == (5, 0)


# --- one request, one fact


def test_a_request_is_counted_once_whatever_tells_it() -> None:
    """Span and log record of one request make one; tokens from the span, the cost from the log record."""
    harness = UsageHarness(RULES)
    harness.send(event(request_id="r", **{"in": 100}, out=5, cost=0.25), span(request_id="r", **{"in": 100}, out=5))
    harness.wait()
    assert (harness.tokens["-", "m", "input"], harness.cost) == (100, {("-", "m"): 0.25})


def test_a_repeated_request_is_ignored_for_max_wait() -> None:
    """What comes again later is a duplicate; when it was forgotten it counts as new."""
    harness = UsageHarness(RULES, max_wait_ns=600 * SECOND)
    for seconds, duplicates, tokens in ((0, 0, 10), (540, 1, 10), (300, 1, 20)):
        harness.wait(seconds)
        harness.send(event(request_id="r", **{"in": 10}))
        harness.wait()
        assert (harness.stat("duplicates"), harness.total("input")) == (duplicates, tokens)


def test_a_request_takes_labels_from_the_trace() -> None:
    """A log record with trace and span id inherits the stage as a child of that span would."""
    harness = UsageHarness(RULES)
    harness.send(make_logs(make_log("llm", trace=9, span=1, model="m", request_id="r", **{"in": 10})))
    harness.send(make_traces(make_span("code", trace=9, span=1, stage="coding")))
    harness.wait()
    assert harness.tokens == {("coding", "m", "input"): 10}


def test_a_request_waits_for_the_labels_of_its_span() -> None:
    """The log record is ready at once, but the span's stage ends hours later: the request is of that stage."""
    harness = UsageHarness(RULES, max_wait_ns=4 * 3600 * SECOND)
    told = {"model": "m", "request_id": "r", "in": 10}
    harness.send(make_logs(make_log("llm", **told)))
    harness.send(make_traces(make_span("llm", trace=9, span=2, parent=1, remote_parent=False, **told)))
    harness.wait(3 * 3600)
    assert harness.tokens == {}
    harness.send(make_traces(make_span("code", trace=9, span=1, stage="coding")))
    harness.wait()
    assert harness.tokens == {("coding", "m", "input"): 10}


def test_usage_without_an_id_counts_by_itself() -> None:
    """Two equal items are two requests."""
    harness = UsageHarness(RULES)
    harness.send(span(1, **{"in": 10}), span(2, **{"in": 10}))
    harness.wait()
    assert harness.total("input") == 20


def test_everything_is_counted_at_the_end() -> None:
    """Nothing waits any longer, and nothing is counted twice."""
    harness = UsageHarness(RULES)
    harness.send(event(request_id="r", **{"in": 10}), span(request_id="r", **{"in": 10}))
    harness.end()
    harness.end()
    assert (harness.total("input"), harness.stat("waiting")) == (10, 0)


# --- one source for a session


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
    harness.send(event(request_id="r", session__id="s", **{"in": 90}))
    harness.wait()
    assert (harness.total("input"), harness.stat("superseded")) == (97, 1)


def test_the_choice_is_kept() -> None:
    """A session whose data points were counted stays with them, when requests are told only later."""
    harness = UsageHarness(RULES)
    harness.send(point(100, session__id="s"))
    harness.wait()
    harness.send(event(request_id="r", session__id="s", **{"in": 90}), point(5, at=2, session__id="s"))
    harness.wait()
    assert (harness.total("input"), harness.stat("superseded")) == (105, 1)


def test_spans_that_wait_hold_off_the_points_of_their_session() -> None:
    """Data points are due long before the spans of a stage that takes hours; the spans count nevertheless."""
    harness = UsageHarness(RULES)
    told = {"model": "m", "session__id": "s", "request_id": "r", "in": 90}
    harness.send(make_traces(make_span("llm", trace=9, span=2, parent=1, remote_parent=False, **told)))
    harness.send(point(100, session__id="s"))
    harness.wait()
    assert (harness.tokens, harness.stat("superseded")) == ({}, 1)
    harness.wait(2 * 3600)
    assert harness.total("input") == 90


@pytest.mark.parametrize("identified", [True, False])
def test_log_records_without_ids_give_way_to_spans(identified: bool) -> None:
    """Two signals of one session that cannot be matched are two tellings of the same: spans are taken."""
    harness = UsageHarness(RULES)
    request = {"request_id": "r"} if identified else {}
    harness.send(event(session__id="s", **{"in": 10}), span(session__id="s", **request, **{"in": 11}))
    harness.wait()
    assert (harness.total("input"), harness.stat("superseded")) == (11, 1)


def test_a_session_is_found_on_the_resource() -> None:
    """Not every sender repeats it on each item."""
    harness = UsageHarness(RULES)
    harness.send(point(100, resource={"session.id": "s"}), event(session__id="s", **{"in": 90}))
    harness.wait()
    assert (harness.total("input"), harness.stat("superseded")) == (90, 1)


def test_without_a_session_the_sender_is_one() -> None:
    """Data points without a session may be of any session of their sender, on whatever host a signal says it runs."""
    harness = UsageHarness(RULES)
    harness.send(event(session__id="s", **{"in": 90}, resource={"service.name": "agent", "host.name": "h"}))
    harness.send(point(100, resource={"service.name": "agent"}), point(7, resource={"service.name": "other"}))
    harness.wait()
    assert (harness.total("input"), harness.stat("superseded")) == (97, 1)


def test_cumulative_points_count_by_their_increase() -> None:
    """The first point of a stream that began before the gateway is only the base."""
    harness = UsageHarness(RULES)
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


# --- cost


def test_told_cost_beats_the_price_list() -> None:
    """The sender knows what it paid."""
    harness = UsageHarness(RULES, [price(input=1, output=1)])
    harness.send(event(**{"in": 1_000_000}, cost=0.5), event(**{"in": 2_000_000}))
    harness.wait()
    assert harness.cost == {("-", "m"): 2.5}


def test_a_missing_price_is_counted_and_never_zero() -> None:
    """By model; of a model that nobody names as unknown; nothing is missing where no tokens are."""
    harness = UsageHarness(RULES, [price(input=1, output=1)])
    harness.send(event(model="new", **{"in": 5}), event(model="", **{"in": 5}), event(cached=5), event(**{"in": 0}))
    harness.wait()
    assert harness.missing == {"new": 1, "unknown": 1, "m": 1}
    assert harness.cost == {("-", "m"): 0.0}


def test_prices_hold_from_their_date_on() -> None:
    """By the time of the request, not of its arrival."""
    harness = UsageHarness(RULES, [price(since=100, input=1), price(since=200, input=3)])
    for start in (99, 100, 199, 200):
        harness.send(make_logs(make_log("llm", start=start, model="m", **{"in": 1_000_000})))
    harness.wait()
    assert (harness.cost, harness.missing) == ({("-", "m"): 5.0}, {"m": 1})


def test_large_requests_have_their_own_price() -> None:
    """The limit is for the input with what came from a cache; kinds without a price of their own keep the plain one."""
    above = {"input_tokens": 200_000, "per_million": {"input": 6}}
    harness = UsageHarness(RULES, [price(input=3, output=15, cache_read=1, above=above)])
    harness.send(event(**{"in": 200_000}), event(**{"in": 100_000}, cached=200_000, out=100_000))
    harness.wait()
    assert harness.cost["-", "m"] == pytest.approx(0.6 + 0.6 + 0.2 + 1.5)


def test_reasoning_costs_what_output_does() -> None:
    """Unless the list says otherwise."""
    harness = UsageHarness([SPANS | OPENAI_LIKE], [price(input=1, output=8), price("n", input=1, output=8, reasoning=2)])
    for number, model in enumerate(("m", "n"), start=1):
        harness.send(span(number, model=model, out=1_000_000, thought=500_000))
    harness.wait()
    assert harness.cost == {("-", "m"): 8.0, ("-", "n"): 5.0}


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
