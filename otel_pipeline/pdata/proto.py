"""Batches and attribute values as protobuf messages, for code that wants every field; costs microseconds an item."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from otel_pipeline._native import Batch, from_trusted

__all__ = ["any_value", "from_proto", "key_values", "to_proto"]

_REQUESTS: dict[str, type[Message]] = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}


def to_proto(batch: Batch) -> Any:
    """The Export<Signal>ServiceRequest of a batch: a copy, free to be changed and given to `from_proto`."""
    return _REQUESTS[batch.signal].FromString(batch.data)


def from_proto(message: Message) -> Batch:
    """A batch of an Export<Signal>ServiceRequest. TypeError for any other message."""
    for signal, request in _REQUESTS.items():
        if isinstance(message, request):
            return from_trusted(signal, message.SerializeToString())
    raise TypeError(f"not an OTLP export request: {type(message).__name__}")


def any_value(value: Any) -> AnyValue:
    """An AnyValue of a Python value: None, bool, int, float, str, bytes, list or dict."""
    match value:
        case None:
            return AnyValue()
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=value)
        case bytes():
            return AnyValue(bytes_value=value)
        case list():
            return AnyValue(array_value=ArrayValue(values=[any_value(item) for item in value]))
        case dict():
            return AnyValue(kvlist_value=KeyValueList(values=key_values(value)))
    raise TypeError(f"no AnyValue for {type(value).__name__}")


def key_values(values: Mapping[str, Any]) -> list[KeyValue]:
    """KeyValue messages of a dict."""
    return [KeyValue(key=key, value=any_value(value)) for key, value in values.items()]
