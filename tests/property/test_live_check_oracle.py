"""Live-check on any telemetry: the native statistics are those of plain Python."""

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_pipeline.pdata import from_proto, from_trusted
from otel_pipeline.semconv import compile_live_check, load
from otel_pipeline.testing import attributes
from tests.oracle.live_check import Oracle

REGISTRY = load(shipped=Path(__file__).parents[1] / "golden" / "live_check" / "registry")

NAMES = [
    *REGISTRY.attributes,
    "test.header.x",
    "test.header.list.y",
    "test.name.new",
    "test.new",
    "Bad",
    "new",
    "a.b.c",
    "",
]
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 9), st.floats(), st.sampled_from(["red", "ls", "green", "x y", "k" * 90])
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.just({"a": 1}), st.just(b"x"), st.just([[1]]))
ATTRIBUTES = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4).map(attributes)
SIGNALS = [signal.name for signal in REGISTRY.signals]
METRIC_NAMES = st.sampled_from([*SIGNALS, "unheard.of", "Bad"])
EVENT_NAMES = st.sampled_from([*SIGNALS, "ended", "tool_result", "unheard.of", ""])


@st.composite
def around(draw: Any, groups: Any, scopes: str) -> Any:
    """A group of items with or without resource, scope and schema; the list for the items."""
    group = groups.add()
    if draw(st.booleans()):
        group.resource.attributes.extend(draw(ATTRIBUTES))
    scope = getattr(group, scopes).add(schema_url=draw(st.sampled_from(["", "https://example.test"])))
    if draw(st.booleans()):
        scope.scope.attributes.extend(draw(ATTRIBUTES))
    return scope


@st.composite
def traces(draw: Any) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    scope = draw(around(request.resource_spans, "scope_spans"))
    for number in range(draw(st.integers(0, 3))):
        span = scope.spans.add(trace_id=b"1" * 16, span_id=b"2" * 8, name=f"s{number}", attributes=draw(ATTRIBUTES))
        for _ in range(draw(st.integers(0, 1))):
            span.events.add(name="e", attributes=draw(ATTRIBUTES))
            span.links.add(trace_id=b"1" * 16, span_id=b"2" * 8, attributes=draw(ATTRIBUTES))
    return request


@st.composite
def logs(draw: Any) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    scope = draw(around(request.resource_logs, "scope_logs"))
    for _ in range(draw(st.integers(0, 3))):
        record = scope.log_records.add(event_name=draw(EVENT_NAMES), attributes=draw(ATTRIBUTES))
        record.body.string_value = draw(EVENT_NAMES)
        if draw(st.booleans()):
            record.attributes.add(key="event.name").value.string_value = draw(EVENT_NAMES)
    return request


@st.composite
def metrics(draw: Any) -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    scope = draw(around(request.resource_metrics, "scope_metrics"))
    for _ in range(draw(st.integers(0, 3))):
        metric = scope.metrics.add(name=draw(METRIC_NAMES), unit=draw(st.sampled_from(["", "s", "1"])))
        kind = draw(st.sampled_from(["", "gauge", "sum", "histogram", "exponential_histogram", "summary"]))
        if kind == "sum":
            metric.sum.is_monotonic = draw(st.booleans())
        for _ in range(draw(st.integers(1, 2)) if kind else 0):
            point = getattr(metric, kind).data_points.add(attributes=draw(ATTRIBUTES))
            if kind != "summary" and draw(st.booleans()):
                point.exemplars.add(filtered_attributes=draw(ATTRIBUTES))
    return request


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(traces(), logs(), metrics()), max_size=3))
def test_statistics_are_those_of_the_oracle(requests: list[Any]) -> None:
    """Whatever is sent in whatever order, every key of the statistics agrees."""
    oracle, check = Oracle(REGISTRY), compile_live_check(REGISTRY)
    for request in requests:
        feed = {
            ExportTraceServiceRequest: oracle.traces,
            ExportLogsServiceRequest: oracle.logs,
            ExportMetricsServiceRequest: oracle.metrics_request,
        }
        feed[type(request)](request)
        check.update(from_proto(request))
    assert json.loads(check.report())["statistics"] == oracle.statistics()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["traces", "logs", "metrics"]), st.one_of(traces(), logs(), metrics()), st.data())
def test_broken_bytes_do_no_harm(signal: str, request: Any, data: st.DataObject) -> None:
    """Bytes that no check has seen, cut off, altered or of another signal, are counted as far as they can be read."""
    body = bytearray(request.SerializeToString())
    for _ in range(data.draw(st.integers(0, 8)) if body else 0):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    check = compile_live_check(REGISTRY)
    check.update(from_trusted(signal, bytes(body[: data.draw(st.integers(0, len(body)))])))
    json.loads(check.report())
