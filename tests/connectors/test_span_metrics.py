"""The span_metrics connector: the Collector's names and options, every span counted when it arrives."""

from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from pydantic import ValidationError

from otel_pipeline.component import Connector, Kind, discover
from otel_pipeline.connectors.span_metrics import SpanMetrics, SpanMetricsConfig
from otel_pipeline.pdata import Batch, Signal
from otel_pipeline.testing import FakeTime, any_value, attributes, make_settings, make_span, make_traces
from tests.oracle.stages import metrics_in, points, texts

DEFAULT_BUCKETS_MS = [2, 4, 6, 8, 10, 50, 100, 200, 400, 800, 1000, 1400, 2000, 5000, 10000, 15000]


class Harness:
    """A connector with a clock set by hand."""

    def __init__(self, **options: Any) -> None:
        self.time = FakeTime()
        self.settings = make_settings("span_metrics", time=self.time)
        self.connector = SpanMetrics(SpanMetricsConfig.model_validate(options), self.settings)

    def send(self, *spans: Span, **resource: Any) -> None:
        self.connector.process(make_traces(*spans, resource=resource or {"service.name": "shop"}))

    def flush(self) -> Batch | None:
        self.time.advance(60)
        return self.connector.flush(self.time.unix_ns)

    def metrics(self) -> dict[str, Metric]:
        return metrics_in(self.flush())


def test_calls_and_duration_under_the_collectors_names() -> None:
    """Both metrics with their units, the four default dimensions, and the Collector's buckets."""
    harness = Harness()
    harness.send(make_span("GET /", kind=2, seconds=0.007), make_span("GET /", span=2, kind=2, seconds=20, error="x"))
    metrics = harness.metrics()
    calls, duration = metrics["traces.span.metrics.calls"], metrics["traces.span.metrics.duration"]
    assert (calls.sum.is_monotonic, calls.sum.aggregation_temporality) == (True, 2)
    assert {point.as_int for point in calls.sum.data_points} == {1}
    assert texts(calls.sum.data_points[0].attributes) == {
        "service.name": "shop",
        "span.name": "GET /",
        "span.kind": "SPAN_KIND_SERVER",
        "status.code": "STATUS_CODE_UNSET",
    }
    quick, slow = sorted(duration.histogram.data_points, key=lambda point: point.sum)
    assert (duration.unit, list(quick.explicit_bounds)) == ("ms", DEFAULT_BUCKETS_MS)
    assert (quick.sum, list(quick.bucket_counts).index(1)) == (7.0, 3)
    assert (slow.sum, list(slow.bucket_counts).index(1)) == (20000.0, 16)
    assert texts(slow.attributes)["status.code"] == "STATUS_CODE_ERROR"
    assert not any(point.exemplars for point in (quick, slow))


def test_seconds_and_own_buckets_under_an_own_namespace() -> None:
    """`histogram.unit: s` gives bounds and values in seconds; a bound belongs to its bucket."""
    harness = Harness(namespace="calls_of", histogram={"unit": "s", "explicit": {"buckets": ["500ms", "1m", "2h"]}})
    harness.send(make_span(seconds=60), make_span(span=2, seconds=60.001))
    duration = harness.metrics()["calls_of.duration"]
    (point,) = duration.histogram.data_points
    assert (duration.unit, list(point.explicit_bounds)) == ("s", [0.5, 60, 7200])
    assert list(point.bucket_counts) == [0, 1, 1, 0]


def test_a_bound_in_milliseconds_is_exact() -> None:
    """1.4 ms is written 1.4, not what binary floating point makes of 0.0014 s."""
    harness = Harness(histogram={"explicit": {"buckets": ["1.4ms", "1100us"][::-1]}})
    harness.send(make_span())
    (point,) = harness.metrics()["traces.span.metrics.duration"].histogram.data_points
    assert list(point.explicit_bounds) == [1.1, 1.4]


def test_disabled_histogram() -> None:
    """Only calls are left."""
    harness = Harness(histogram={"disable": True})
    harness.send(make_span())
    assert set(harness.metrics()) == {"traces.span.metrics.calls"}


def test_dimensions_come_from_span_then_scope_then_resource() -> None:
    """The nearest value wins; a default fills in, and without one the label is left out."""
    harness = Harness(
        dimensions=[{"name": "region"}, {"name": "tenant", "default": "none"}, {"name": "absent"}],
        exclude_dimensions=["span.kind", "status.code", "span.name"],
    )
    span = make_span(span=1, region="near")
    harness.connector.process(
        make_traces(span, make_span(span=2), resource={"region": "far"}, scope_attributes={"tenant": "acme"})
    )
    harness.send(make_span(span=3))
    seen = [texts(point.attributes) for point in harness.metrics()["traces.span.metrics.calls"].sum.data_points]
    assert seen == [
        {"region": "near", "tenant": "acme"},
        {"region": "far", "tenant": "acme"},
        {"service.name": "shop", "tenant": "none"},
    ]


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (True, "true"),
        (-5, "-5"),
        (0.5, "0.5"),
        (b"\x00\xff", "AP8="),
        (["stop", 1, None], '["stop",1,null]'),
        ({"a": 'say "hi"', "b": [False]}, '{"a":"say \\"hi\\"","b":[false]}'),
        ("x" * 200, "x" * 128),
    ],
)
def test_values_that_are_not_text(value: Any, label: str) -> None:
    """Other types are written as JSON, bytes as base64, and no label is longer than 128 bytes."""
    harness = Harness(dimensions=[{"name": "what"}])
    harness.send(make_span(what=value))
    (point,) = harness.metrics()["traces.span.metrics.calls"].sum.data_points
    assert texts(point.attributes)["what"] == label


def test_deep_values_are_bounded() -> None:
    """A value nested far deeper than any SDK writes is cut, not followed."""
    value = any_value("leaf")
    for _ in range(20):
        outer = any_value([])
        outer.array_value.values.append(value)
        value = outer
    span = make_span()
    span.attributes.add(key="deep", value=value)
    harness = Harness(dimensions=[{"name": "deep"}])
    harness.send(span)
    (point,) = harness.metrics()["traces.span.metrics.calls"].sum.data_points
    assert texts(point.attributes)["deep"].startswith("[[[[")


def test_unknown_kinds_and_statuses_are_unspecified() -> None:
    """Numbers that OTLP does not define become the zero value; nothing is lost."""
    span = make_span()
    span.kind = 77  # type: ignore[assignment]
    span.status.code = 9  # type: ignore[assignment]
    harness = Harness()
    harness.send(span)
    (point,) = harness.metrics()["traces.span.metrics.calls"].sum.data_points
    labels = texts(point.attributes)
    assert (labels["span.kind"], labels["status.code"]) == ("SPAN_KIND_UNSPECIFIED", "STATUS_CODE_UNSET")


def test_exemplars_are_the_latest_ones() -> None:
    """At most `max_per_data_point`, the latest of each bucket; spans without valid ids give none."""
    harness = Harness(exemplars={"enabled": True, "max_per_data_point": 2})
    broken = make_span(span=9, seconds=0.001)
    broken.trace_id = b""
    harness.send(*(make_span(span=n, seconds=n) for n in (1, 2, 5, 5, 3)), broken)
    metrics = harness.metrics()
    (point,) = metrics["traces.span.metrics.duration"].histogram.data_points
    assert [exemplar.as_double for exemplar in point.exemplars] == [3000.0, 2000.0]
    (call,) = metrics["traces.span.metrics.calls"].sum.data_points
    assert [(exemplar.span_id[-1], exemplar.as_double) for exemplar in call.exemplars] == [(3, 1.0)]


def test_counts_grow_and_idle_series_are_silent() -> None:
    """Points are cumulative from the birth of the series; without new spans there is nothing to flush."""
    harness = Harness()
    harness.send(make_span("a"), make_span("b"))
    first = points(harness.flush())
    harness.send(make_span("a", span=2))
    second = points(harness.flush())
    assert {point.count for point in first.values()} == {1}
    assert {point.count for point in second.values()} == {2}
    assert len(first) == 4
    assert len(second) == 2
    assert harness.flush() is None


def test_overflow_holds_the_rest() -> None:
    """With a limit of 10, 9 names are told apart; the other 91 spans of each metric are in the overflow series."""
    harness = Harness(aggregation_cardinality_limit=10, exclude_dimensions=["service.name"])
    harness.send(*(make_span(f"op-{number}", span=number + 1) for number in range(100)))
    found = points(harness.flush())
    for name in ("traces.span.metrics.calls", "traces.span.metrics.duration"):
        counts = {labels: point.count for (metric, labels), point in found.items() if metric == name}
        assert len(counts) == 10
        assert counts.pop(frozenset({("otel.metric.overflow", "true")})) == 91
        assert set(counts.values()) == {1}


def test_the_overflow_mark_is_a_boolean() -> None:
    """The specification's only attribute of the overflow series, with the type it gives to it."""
    harness = Harness(aggregation_cardinality_limit=1, histogram={"disable": True})
    harness.send(make_span())
    (point,) = harness.metrics()["traces.span.metrics.calls"].sum.data_points
    assert list(point.attributes) == attributes({"otel.metric.overflow": True})


def test_overflow_is_told() -> None:
    """Each observation that lost its labels is a finding."""
    harness = Harness(aggregation_cardinality_limit=10)
    harness.send(*(make_span(f"op-{number}", span=number + 1) for number in range(100)))
    harness.flush()
    finding = harness.settings.telemetry.counter("otel_pipeline_connector_findings")
    assert finding.values[("span_metrics", "overflow")] == 182


def test_series_expire_by_themselves() -> None:
    """A series untouched for `series_expiration` starts again at 1, others go on."""
    harness = Harness(series_expiration="5m", histogram={"disable": True}, exclude_dimensions=["service.name"])
    for minute in range(12):
        harness.send(make_span("busy", span=minute + 1), *([make_span("rare", span=99)] if minute in (0, 11) else []))
        found = points(harness.flush())
    counts = {dict(labels)["span.name"]: point.count for (_, labels), point in found.items()}
    assert counts == {"busy": 12, "rare": 1}


def test_broken_durations_count_as_zero() -> None:
    """End before start is a call of 0 ms and a finding."""
    harness = Harness()
    harness.send(make_span(seconds=-1))
    (point,) = harness.metrics()["traces.span.metrics.duration"].histogram.data_points
    assert (point.count, point.sum) == (1, 0.0)
    finding = harness.settings.telemetry.counter("otel_pipeline_connector_findings")
    assert finding.values[("span_metrics", "invalid_duration")] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimensions": [{"name": "span.name"}]}, "'span.name' is given twice"),
        ({"dimensions": [{"name": "a"}, {"name": "a"}]}, "'a' is given twice"),
        ({"exclude_dimensions": ["service"]}, "service.name"),
        ({"histogram": {"explicit": {"buckets": ["1s", "500ms"]}}}, "must ascend"),
        ({"histogram": {"exponential": {"max_size": 160}}}, "Extra inputs"),
        ({"metrics_flush_interval": "0"}, "greater than 0"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    """What cannot work is refused with the option's name and what it may be."""
    with pytest.raises(ValidationError, match=message):
        SpanMetricsConfig.model_validate(options)


def test_a_default_dimension_may_be_replaced() -> None:
    """Excluded and given again, it can have a default."""
    harness = Harness(
        exclude_dimensions=["service.name"], dimensions=[{"name": "service.name", "default": "unknown_service"}]
    )
    harness.send(make_span(), other="x")
    (point,) = harness.metrics()["traces.span.metrics.calls"].sum.data_points
    assert texts(point.attributes)["service.name"] == "unknown_service"


def test_connectors_are_found() -> None:
    """Both types with what they take and give, and the Collector's older name."""
    found = discover(Kind.CONNECTOR)
    assert {"span_metrics", "stage_metrics"} <= set(found)
    assert found["span_metrics"].aliases == ("spanmetrics",)
    for name, signals in (("span_metrics", {Signal.TRACES}), ("stage_metrics", set(Signal))):
        connector = found[name]
        assert issubclass(connector, Connector)
        assert (set(connector.signals), set(connector.produces)) == (signals, {Signal.METRICS})
