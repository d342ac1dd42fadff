"""Batches as protobuf messages, for code that wants to see every field; costs microseconds for each item."""

from typing import Any

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_pipeline._native import Batch, from_trusted

__all__ = ["from_proto", "to_proto"]

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
