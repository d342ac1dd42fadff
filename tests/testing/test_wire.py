"""OTLP written as bytes is what the protobuf classes read."""

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_pipeline.testing import any_value, attributes
from otel_pipeline.testing.wire import (
    Attribute,
    log_bytes,
    request_bytes,
    resource_bytes,
    scope_bytes,
    span_bytes,
)

VALUES: dict[str, Attribute] = {
    "text": "é" * 200,
    "empty": "",
    "yes": True,
    "one": 1,
    "negative": -5,
    "large": 2**62,
    "real": 1.0,
    "list": ("a", "b"),
}
PLAIN = {key: list(value) if isinstance(value, tuple) else value for key, value in VALUES.items()}
TRACE, SPAN, PARENT = bytes(range(16)), bytes(range(8)), bytes(range(8, 16))


def test_spans() -> None:
    """Every field of a span comes out as it was given, and 1, 1.0 and True stay apart."""
    span = span_bytes(
        "work", (TRACE, SPAN, PARENT), 5, 2**60, VALUES, kind=2, status=2, message="broke", links=[(TRACE, PARENT)]
    )
    body = request_bytes(resource_bytes({"service.name": "s"}), scope_bytes("scope", "1"), [span, span])
    request = ExportTraceServiceRequest.FromString(body)
    (resource,) = request.resource_spans
    assert list(resource.resource.attributes) == attributes({"service.name": "s"})
    (scope,) = resource.scope_spans
    assert (scope.scope.name, scope.scope.version, len(scope.spans)) == ("scope", "1", 2)
    read = scope.spans[0]
    assert (read.trace_id, read.span_id, read.parent_span_id) == (TRACE, SPAN, PARENT)
    assert (read.name, read.kind, read.start_time_unix_nano, read.end_time_unix_nano) == ("work", 2, 5, 2**60)
    assert list(read.attributes) == attributes(PLAIN)
    assert (read.status.code, read.status.message) == (2, "broke")
    assert [(link.trace_id, link.span_id) for link in read.links] == [(TRACE, PARENT)]


def test_a_root_without_a_status() -> None:
    """What is not given is absent."""
    body = request_bytes(b"", scope_bytes(""), [span_bytes("work", (TRACE, SPAN, b""), 0, 1, {})])
    (read,) = ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans
    assert (read.parent_span_id, read.HasField("status"), list(read.links)) == (b"", False, [])


def test_log_records() -> None:
    """The same for log records, with and without a span."""
    items = [log_bytes("body", 7, VALUES, trace=TRACE, span=SPAN), log_bytes("", 8, {})]
    request = ExportLogsServiceRequest.FromString(request_bytes(b"", scope_bytes("s"), items))
    first, second = request.resource_logs[0].scope_logs[0].log_records
    assert first.body == any_value("body")
    assert (first.time_unix_nano, first.observed_time_unix_nano) == (7, 7)
    assert (first.trace_id, first.span_id, list(first.attributes)) == (TRACE, SPAN, attributes(PLAIN))
    assert (second.trace_id, second.span_id) == (b"", b"")
