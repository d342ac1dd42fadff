"""Tokens and cost of model requests: how senders tell them, that each counts once, what it costs."""

from typing import Any

import pytest

from otel_pipeline.testing import make_log, make_logs, make_span, make_traces
from tests.connectors.usage_harness import OPENAI_LIKE, RULES, SECOND, SPANS, UsageHarness, event, price, span

# --- kinds and numbers


@pytest.mark.parametrize(
    ("inside", "expected"), [({}, (100, 50, 80, 30)), (OPENAI_LIKE, (20, 20, 80, 30))], ids=["anthropic", "openai"]
)
def test_kinds_are_disjoint(inside: dict[str, Any], expected: tuple[int, ...]) -> None:
    """What a sender counts inside another kind is taken off that kind; what it counts apart is left alone."""
    harness = UsageHarness([SPANS | inside])
    harness.send(span(prompt=100, out=50, cached=80, thought=30))
    harness.wait()
    assert tuple(harness.total(kind) for kind in ("input", "output", "cache_read", "reasoning")) == expected


def test_the_inner_kind_is_never_more_than_the_outer() -> None:
    """A sender that contradicts itself makes no negative tokens."""
    harness = UsageHarness([SPANS | OPENAI_LIKE])
    harness.send(span(prompt=10, cached=80))
    harness.wait()
    assert (harness.total("input"), harness.total("cache_read")) == (0, 80)


@pytest.mark.parametrize("number", [120, 120.0, "120", " 120 "])
def test_numbers_come_as_int_double_or_text(number: Any) -> None:
    """However the sender writes the number of tokens, it counts."""
    harness = UsageHarness(RULES)
    harness.send(event(prompt=number))
    harness.wait()
    assert harness.total("input") == 120


@pytest.mark.parametrize("number", [-1, float("nan"), float("inf"), 1e300, "many", "NaN", True])
def test_what_is_no_number_of_tokens_is_refused(number: Any) -> None:
    """It is counted as such, and does not spoil the sums; the rest of the item counts."""
    harness = UsageHarness(RULES)
    harness.send(event(prompt=number, out=7))
    harness.wait()
    assert (harness.total("input"), harness.total("output")) == (0, 7)
    assert harness.stat("invalid_numbers") == 1


# --- one request, one fact


def test_a_request_is_counted_once_whatever_tells_it() -> None:
    """Span and log record of one request make one; tokens from the span, the cost from the log record."""
    harness = UsageHarness(RULES)
    harness.send(event(request_id="r", prompt=100, out=5, cost=0.25), span(request_id="r", prompt=100, out=5))
    harness.wait()
    assert (harness.tokens["-", "m", "input"], harness.cost) == (100, {("-", "m"): 0.25})


def test_a_repeated_request_is_ignored_for_max_wait() -> None:
    """What comes again later is a duplicate; when it was forgotten it counts as new."""
    harness = UsageHarness(RULES, max_wait_ns=600 * SECOND)
    for seconds, duplicates, tokens in ((0, 0, 10), (540, 1, 10), (300, 1, 20)):
        harness.wait(seconds)
        harness.send(event(request_id="r", prompt=10))
        harness.wait()
        assert (harness.stat("duplicates"), harness.total("input")) == (duplicates, tokens)


def test_a_request_takes_labels_from_the_trace() -> None:
    """A log record with trace and span id inherits the stage as a child of that span would."""
    harness = UsageHarness(RULES)
    harness.send(make_logs(make_log("llm", trace=9, span=1, model="m", request_id="r", prompt=10)))
    harness.send(make_traces(make_span("code", trace=9, span=1, stage="coding")))
    harness.wait()
    assert harness.tokens == {("coding", "m", "input"): 10}


def test_a_request_waits_for_the_labels_of_its_span() -> None:
    """The log record is ready at once, but the span's stage ends hours later: the request is of that stage."""
    harness = UsageHarness(RULES, max_wait_ns=4 * 3600 * SECOND)
    told: dict[str, Any] = {"model": "m", "request_id": "r", "prompt": 10}
    harness.send(make_logs(make_log("llm", **told)))
    harness.send(make_traces(make_span("llm", trace=9, span=2, parent=1, remote_parent=False, **told)))
    harness.wait(3 * 3600)
    assert harness.tokens == {}
    harness.send(make_traces(make_span("code", trace=9, span=1, stage="coding")))
    harness.wait()
    assert harness.tokens == {("coding", "m", "input"): 10}


def test_usage_without_an_id_counts_by_itself() -> None:
    """Two items that tell the same numbers are two requests; one that is sent again is known."""
    spans, events = [span(1, prompt=10), span(2, prompt=10)], [event(start=1, prompt=10), event(start=2, prompt=10)]
    for items in (spans, events):
        harness = UsageHarness(RULES)
        for _ in range(2):
            harness.send(*items, *items)
            harness.wait()
        assert harness.total("input") == 20


TURNS: dict[str, Any] = {**SPANS, "selector": {"name": {"literal": "turn"}}, "request": [], "sum": True}
ABOVE = {"input_tokens": 200_000, "per_million": {"input": 6}}


def test_a_sum_counts_where_no_single_request_is_told() -> None:
    """A turn beside its requests is superseded; its prompts were not one long prompt."""
    rules = [*RULES, TURNS]
    turn = make_traces(make_span("turn", trace=9, span=9, model="m", prompt=300_000, session__id="s"))
    requests = (event(prompt=100_000, start=start, session__id="s") for start in range(3))
    for told, superseded in (((turn,), 0), ((turn, *requests), 1)):
        harness = UsageHarness(rules, [price(input=3, output=15, above=ABOVE)])
        harness.send(*told)
        harness.wait()
        assert (harness.total("input"), harness.stat("superseded")) == (300_000, superseded)
        assert harness.cost["-", "m"] == pytest.approx(0.9)


def test_a_key_that_stands_twice_identifies_by_its_text() -> None:
    """Codex gives `thread.id` as the number of the operating system's thread and as the conversation."""
    twice = make_span("turn", trace=9, span=9, model="m", prompt=10, session__id=3)
    twice.attributes.extend(make_span(session__id="s").attributes)
    harness = UsageHarness([*RULES, TURNS])
    harness.send(make_traces(twice), event(prompt=10, session__id="s"))
    harness.wait()
    assert (harness.total("input"), harness.stat("superseded")) == (10, 1)


def test_everything_is_counted_at_the_end() -> None:
    """Nothing waits any longer, and nothing is counted twice."""
    harness = UsageHarness(RULES)
    harness.send(event(request_id="r", prompt=10), span(request_id="r", prompt=10))
    harness.end()
    harness.end()
    assert (harness.total("input"), harness.stat("waiting")) == (10, 0)


# --- cost


def test_told_cost_beats_the_price_list() -> None:
    """The sender knows what it paid."""
    harness = UsageHarness(RULES, [price(input=1, output=1)])
    harness.send(event(prompt=1_000_000, cost=0.5), event(prompt=2_000_000))
    harness.wait()
    assert harness.cost == {("-", "m"): 2.5}


def test_a_missing_price_is_counted_and_never_zero() -> None:
    """By model; of a model that nobody names as unknown; nothing is missing where no tokens are."""
    harness = UsageHarness(RULES, [price(input=1, output=1)])
    harness.send(event(model="new", prompt=5), event(model="", prompt=5), event(cached=5), event(prompt=0))
    harness.wait()
    assert harness.missing == {"new": 1, "unknown": 1, "m": 1}
    assert harness.cost == {}


def test_prices_hold_from_their_date_on() -> None:
    """By the time of the request, not of its arrival."""
    harness = UsageHarness(RULES, [price(since=100, input=1), price(since=200, input=3)])
    for start in (99, 100, 199, 200):
        harness.send(make_logs(make_log("llm", start=start, model="m", prompt=1_000_000)))
    harness.wait()
    assert (harness.cost, harness.missing) == ({("-", "m"): 5.0}, {"m": 1})


def test_large_requests_have_their_own_price() -> None:
    """The limit is for the input with what came from a cache; kinds without a price of their own keep the plain one."""
    above = {"input_tokens": 200_000, "per_million": {"input": 6}}
    harness = UsageHarness(RULES, [price(input=3, output=15, cache_read=1, above=above)])
    harness.send(event(prompt=200_000), event(prompt=100_000, cached=200_000, out=100_000))
    harness.wait()
    assert harness.cost["-", "m"] == pytest.approx(0.6 + 0.6 + 0.2 + 1.5)


def test_reasoning_costs_what_output_does() -> None:
    """Unless the list says otherwise."""
    harness = UsageHarness(
        [SPANS | OPENAI_LIKE], [price(input=1, output=8), price("n", input=1, output=8, reasoning=2)]
    )
    for number, model in enumerate(("m", "n"), start=1):
        harness.send(span(number, model=model, out=1_000_000, thought=500_000))
    harness.wait()
    assert harness.cost == {("-", "m"): 8.0, ("-", "n"): 5.0}
