"""Tokens and cost of the native aggregator against the plain oracle: any mix of signals, in any order, in any cut."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from otel_pipeline.pdata import Batch
from otel_pipeline.testing import attributes, make_log, make_logs, make_metrics, make_span, make_traces
from tests.connectors.usage_harness import SECOND, UsageHarness
from tests.oracle.usage import KINDS, PREFERENCE, Telling, Totals, count_rounds

PRICES = {"opus": dict(zip(KINDS, (5e-6, 25e-6, 0.5e-6, 6.25e-6, 25e-6), strict=True)), "gpt": {"input": 1e-6}}
SESSION = {"session": ["session.id"]}
POINTS = [
    {
        "item": "point",
        "selector": {"name": {"literal": "token.usage"}},
        **SESSION,
        "value": "tokens",
        "kind": {"attribute": "type", "map": [[kind, kind] for kind in KINDS]},
    },
    {"item": "point", "selector": {"name": {"literal": "cost.usage"}}, **SESSION, "value": "cost"},
]
REQUESTS = [
    {
        "item": item,
        "selector": {"name": {"literal": "request"}},
        **SESSION,
        "request": ["request_id"],
        "tokens": {kind: [f"tokens.{kind}"] for kind in KINDS},
        "cost_usd": ["cost"],
    }
    for item in ("span", "event")
]
SUMS = [{**REQUESTS[0], "selector": {"name": {"literal": "turn"}}, "request": [], "sum": True}]
LISTED = [
    {"model": model, "from_unix_ns": 0, "per_million": {kind: price * 1e6 for kind, price in prices.items()}}
    for model, prices in PRICES.items()
]

sessions = st.sampled_from(["one", "two", "three"])
models = st.sampled_from(["opus", "gpt", "other"])
tokens = st.dictionaries(st.sampled_from(KINDS), st.integers(0, 5000), min_size=1)
costs = st.none() | st.integers(0, 4).map(lambda quarters: quarters / 4)


@st.composite
def tellings(draw: st.DrawFn) -> Telling:
    item = draw(st.sampled_from(PREFERENCE))
    if item == "point":
        told = st.sampled_from(KINDS).map(lambda kind: (kind, None)) | st.sampled_from([("", 0.25), ("", 2.0)])
        kind, cost = draw(told)
        counts = {kind: draw(st.integers(1, 5000))} if kind else {}
        return Telling("point", draw(sessions), draw(models), counts, cost)
    session = draw(sessions)
    number = draw(st.none() | st.integers(1, 3)) if item != "sum" else None
    request = f"{session}-{number}" if number else None
    second = draw(st.integers(1, 1_000_000))
    return Telling(item, session, draw(models), draw(tokens), draw(costs), request, second)


@st.composite
def rounds(draw: st.DrawFn) -> list[list[Telling]]:
    """What is told in a few rounds; no two items are of one second, so that which is earlier is never open."""
    told = draw(st.lists(st.lists(tellings(), max_size=10), min_size=1, max_size=3))
    seconds = [one.second for some in told for one in some]
    return [[one for one in some if one.item == "point" or seconds.count(one.second) == 1] for some in told]


def batch(told: Telling, number: int) -> Batch:
    """The item, as a sender would send it."""
    item: dict[str, Any] = {"session.id": told.session, "model": told.model}
    item |= {f"tokens.{kind}": count for kind, count in told.tokens.items()} if told.item != "point" else {}
    item |= {"request_id": told.request} if told.request else {}
    if told.cost is not None and told.item != "point":
        item["cost"] = told.cost
    named = {key.replace(".", "__"): value for key, value in item.items()}
    if told.item in ("span", "sum"):
        name = "request" if told.item == "span" else "turn"
        return make_traces(make_span(name, trace=number, span=number, start=told.second, **named))
    if told.item == "event":
        return make_logs(make_log("request", start=told.second, **named))
    metric = Metric(name="cost.usage" if told.cost is not None else "token.usage")
    metric.sum.aggregation_temporality = 1  # type: ignore[assignment]
    metric.sum.is_monotonic = True
    kind, value = next(iter(told.tokens.items()), ("", told.cost))
    start = 1_767_225_600 * SECOND + number * SECOND
    metric.sum.data_points.add(
        start_time_unix_nano=start,
        time_unix_nano=start + SECOND,
        as_double=float(value or 0),
        attributes=attributes(item | ({"type": kind} if kind else {})),
    )
    return make_metrics(metric)


def observed(told: Sequence[Sequence[Telling]], seed: int) -> Totals:
    harness, number, dice = UsageHarness([*REQUESTS, *SUMS, *POINTS], LISTED), 0, random.Random(seed)
    for some in told:
        for telling in dice.sample(some, len(some)):
            number += 1
            harness.send(batch(telling, number))
            if dice.random() < 0.3:
                harness.wait(0)
        harness.wait()
    harness.end()
    return Totals(
        tokens=Counter({(model, kind): count for (_, model, kind), count in harness.tokens.items()}),
        cost={model: cost for (_, model), cost in harness.cost.items()},
        missing=Counter(harness.missing),
        duplicates=harness.stat("duplicates"),
        superseded=harness.stat("superseded"),
    )


@settings(max_examples=200, deadline=None)
@given(rounds(), st.integers())
def test_usage_is_counted_as_by_the_oracle(told: list[list[Telling]], seed: int) -> None:
    """Every request once, one source for a session, told cost before the price list: whatever arrives in whatever order."""
    expected, got = count_rounds(told, PRICES), observed(told, seed)
    assert +got.tokens == +expected.tokens
    assert got.cost == pytest.approx(expected.cost)
    assert got.missing == expected.missing
    assert (got.duplicates, got.superseded) == (expected.duplicates, expected.superseded)
