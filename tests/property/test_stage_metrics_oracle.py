"""The native aggregator against the plain oracle: random trace forests, in any order, in any cut."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_pipeline import semconv
from otel_pipeline.connectors.stage_metrics import StageMetricsConfig, plan
from otel_pipeline.pdata import Batch, SpanAggregator, to_proto
from otel_pipeline.testing import make_span, make_traces
from tests.oracle.stages import Points, is_plain, metrics_in, points, stage_points

SECOND = 1_000_000_000
REGISTRY = semconv.load()
METRICS = [metric for metric in REGISTRY.metrics.values() if is_plain(metric)]
MISSING = 99

attributes: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "sdlc__project__id": st.sampled_from(["shop", "billing"]),
        "sdlc__stage__name": st.sampled_from(["coding", "unit_test"]),
        "sdlc__agent__name": st.sampled_from(["claude_code", "codex"]),
        "sdlc__model__name": st.sampled_from(["opus", "sonnet", "gpt"]),
        "sdlc__operation__name": st.sampled_from(["chat", "execute_tool"]),
        "sdlc__outcome": st.sampled_from(["success", "failure", "cancelled"]),
        "sdlc__stage__run": st.booleans(),
        "sdlc__noise": st.booleans(),
        "error__type": st.sampled_from(["timeout", "ShellError"]),
        "sdlc__requirement__id": st.sampled_from(["REQ-1", "REQ-2"]),
    },
)


@st.composite
def forests(draw: st.DrawFn, *, whole: bool = False) -> list[Span]:
    """Spans of a few traces. `whole`: every parent exists, is older and in the same process; else any link may be."""
    spans = []
    for trace in range(1, draw(st.integers(1, 2)) + 1):
        size = draw(st.integers(1, 9))
        for number in range(1, size + 1):
            parents = st.integers(0, number - 1) if whole else st.sampled_from([0, *range(1, size + 1), MISSING])
            seconds = st.sampled_from([0, 0.004, 1, 7200, 90000] if whole else [-5, 0, 0.004, 1, 7200, 90000])
            spans.append(
                make_span(
                    trace=trace,
                    span=number,
                    parent=draw(parents),
                    start=draw(st.integers(0, 3)),
                    seconds=draw(seconds),
                    error=draw(st.sampled_from([None, None, "failed"])),
                    remote_parent=False if whole else draw(st.sampled_from([None, True, False])),
                    **draw(attributes),
                )
            )
    return spans


def batches(spans: Sequence[Span], cuts: random.Random) -> list[Batch]:
    """The spans in their order, cut at random, each batch below a resource of its own."""
    left = list(spans)
    made = []
    while left:
        size = cuts.randint(1, len(left))
        project = {"sdlc.project.id": "from-resource"} if cuts.random() < 0.2 else {}
        scope = {"sdlc.agent.name": "jenkins"} if cuts.random() < 0.2 else {}
        made.append(make_traces(*left[:size], resource={"service.name": "s", **project}, scope_attributes=scope))
        left = left[size:]
    return made


def aggregator(**options: Any) -> SpanAggregator:
    config = StageMetricsConfig.model_validate(options)
    return SpanAggregator(json.dumps(plan(replace(REGISTRY, metrics={one.name: one for one in METRICS}), config)), 0)


@given(forests(), st.randoms(use_true_random=False))
@settings(max_examples=250, deadline=None)
def test_complete_traces_give_what_the_oracle_gives(spans: list[Span], order: random.Random) -> None:
    """Whatever the links, the order of arrival, the cut into batches and the repetitions: same points as the oracle."""
    spans = spans + order.choices(spans, k=order.randint(0, 3))
    order.shuffle(spans)
    native, sent = aggregator(), batches(spans, order)
    for batch in sent:
        native.update(batch, 0)
    got = points(native.flush(3600 * SECOND, 1))
    assert got == stage_points([to_proto(batch) for batch in sent], METRICS)
    assert native.waiting == 0
    assert native.stats()["duplicates"] == len(spans) - len({(span.trace_id, span.span_id) for span in spans})


@given(forests(whole=True), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_slow_traces_give_the_same_as_quick_ones(spans: list[Span], times: random.Random) -> None:
    """Children before parents over hours, with flushes between: nothing is counted twice, early or otherwise."""
    native, now, seen = aggregator(), 0, Points()
    sent = batches(spans[::-1], times)
    for batch in sent:
        native.update(batch, now)
        now += times.choice([1, 29, 31, 600, 3500]) * SECOND
        seen |= points(native.flush(now, now))
    seen |= points(native.flush(now + 3600 * SECOND, now))
    assert seen == stage_points([to_proto(batch) for batch in sent], METRICS)


@given(forests(), st.integers(1, 4), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_overflow_keeps_totals(spans: list[Span], limit: int, order: random.Random) -> None:
    """With few series allowed, every observation is still counted exactly once, and no metric has more series."""
    bounded, free = aggregator(aggregation_cardinality_limit=limit), aggregator(aggregation_cardinality_limit=0)
    for batch in batches(spans, order):
        bounded.update(batch, 0)
        free.update(batch, 0)
    got, whole = points(bounded.flush_all(1, 1)), points(free.flush_all(1, 1))
    assert totals(got) == totals(whole)
    assert all(count <= limit for count in Counter(name for name, _ in got).values())
    overflowing = [labels for _, labels in got if any(key == "otel.metric.overflow" for key, _ in labels)]
    assert all(labels == {("otel.metric.overflow", "true")} for labels in overflowing)


@given(forests(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_counters_never_fall(spans: list[Span], times: random.Random) -> None:
    """From flush to flush no count, sum or bucket goes down, and a start time never changes. All but noise counts."""
    spans = [
        span for span in spans if not any(one.key == "sdlc.noise" and one.value.bool_value for one in span.attributes)
    ]
    native, now, seen = aggregator(max_spans=5, decision_wait="10s", max_wait="60s"), 0, Points()
    starts: dict[tuple[str, str], int] = {}
    times.shuffle(spans)
    for batch in batches(spans, times):
        native.update(batch, now)
        now += times.choice([0, 5, 20, 100]) * SECOND
        flushed = native.flush(now, now)
        for key, point in points(flushed).items():
            before = seen.get(key, point)
            assert point.count >= before.count
            assert point.sum >= before.sum
            assert all(new >= old for new, old in zip(point.buckets, before.buckets, strict=True))
            seen[key] = point
        for series, start in start_times(flushed).items():
            assert starts.setdefault(series, start) == start
    seen |= points(native.flush_all(now, now))
    counted = sum(
        point.count for (name, _), point in seen.items() if name in ("sdlc.stage.runs", "sdlc.operation.duration")
    )
    assert counted + native.stats()["duplicates"] == len(spans)


def totals(found: Points) -> dict[str, tuple[int, int]]:
    sums: dict[str, tuple[int, int]] = {}
    for (name, _), point in found.items():
        count, total = sums.get(name, (0, 0))
        sums[name] = count + point.count, total + round(point.sum * 1e3)
    return sums


def start_times(batch: Batch | None) -> dict[tuple[str, str], int]:
    found = {}
    for name, metric in metrics_in(batch).items():
        points_of: list[Any] = [*metric.sum.data_points, *metric.histogram.data_points]
        for point in points_of:
            found[name, str(sorted(map(str, point.attributes)))] = point.start_time_unix_nano
    return found
