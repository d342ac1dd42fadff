"""Reading what OTLP peers answer: partial success, errors, and when to come back. Peers are not trusted."""

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_pipeline.helpers.retry import Rejection
from otel_pipeline.pdata import Signal

__all__ = [
    "MAX_RESPONSE_BYTES",
    "is_size_error",
    "read_rejection",
    "retry_after_seconds",
    "retry_info_seconds",
    "status_message",
]

MAX_RESPONSE_BYTES = 4 * 1024 * 1024
"""No more of a response is read. OTLP specification 1.11, Response Size Limits."""

_RESPONSES: dict[str, tuple[type[Message], str]] = {
    Signal.TRACES: (ExportTraceServiceResponse, "rejected_spans"),
    Signal.METRICS: (ExportMetricsServiceResponse, "rejected_data_points"),
    Signal.LOGS: (ExportLogsServiceResponse, "rejected_log_records"),
}
_JSON_REJECTED = {
    Signal.TRACES: "rejectedSpans",
    Signal.METRICS: "rejectedDataPoints",
    Signal.LOGS: "rejectedLogRecords",
}
_SIZE_ERROR = re.compile(
    r"larger than max|too large|exceeds? (?:the )?max(?:imum)? (?:message |request |body )?size|message size", re.I
)


def read_rejection(signal: str, body: bytes, *, is_json: bool = False) -> Rejection | None:
    """The `partial_success` of a successful response; None where there is none, or where it cannot be read."""
    if not body:
        return None
    return _rejection_of_json(signal, body) if is_json else _rejection_of_protobuf(signal, body)


def _rejection_of_protobuf(signal: str, body: bytes) -> Rejection | None:
    message_class, field = _RESPONSES[signal]
    try:
        response: Any = message_class.FromString(body)
    except DecodeError:
        return None
    partial = response.partial_success
    items = getattr(partial, field)
    return Rejection(items, partial.error_message) if items or partial.error_message else None


def _rejection_of_json(signal: str, body: bytes) -> Rejection | None:
    try:
        partial = json.loads(body)["partialSuccess"]
        items = int(partial.get(_JSON_REJECTED[Signal(signal)], 0))
        message = str(partial.get("errorMessage", ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return Rejection(items, message) if items or message else None


def status_message(body: bytes, content_type: str) -> str:
    """The developer's message in the body of an HTTP error: of a `Status` in protobuf or JSON, or the text itself."""
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind in ("application/x-protobuf", "application/protobuf"):
            return str(Status.FromString(body).message)
        if kind == "application/json":
            return str(json.loads(body)["message"])
    except (DecodeError, ValueError, KeyError, TypeError, RecursionError):
        pass
    return body[:1024].decode("utf-8", "replace")


def retry_after_seconds(value: str | None, now_unix_ns: int) -> float | None:
    """Seconds to wait by a `Retry-After` header: a number or an HTTP date (RFC 9110, 10.2.3); else None."""
    if value is None:
        return None
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        return max(0.0, (date - datetime.fromtimestamp(now_unix_ns / 1e9, UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def retry_info_seconds(metadata: Iterable[tuple[str, str | bytes]]) -> float | None:
    """Seconds to wait by the `RetryInfo` in the trailing metadata of a gRPC error; None where there is none.

    It stands in the details of `grpc-status-details-bin`, or alone in `google.rpc.retryinfo-bin`.
    """
    for key, value in metadata:
        if not isinstance(value, bytes):
            continue
        try:
            if key == "google.rpc.retryinfo-bin":
                return _seconds(RetryInfo.FromString(value))
            if key == "grpc-status-details-bin":
                for detail in Status.FromString(value).details:
                    info = RetryInfo()
                    if detail.Unpack(info):
                        return _seconds(info)
        except DecodeError:
            continue
    return None


def _seconds(info: RetryInfo) -> float:
    seconds: float = info.retry_delay.seconds + info.retry_delay.nanos / 1e9
    return max(0.0, seconds)


def is_size_error(message: str) -> bool:
    """Whether a peer's message says that the request is over a limit of bytes, in the words of the gRPC libraries."""
    return _SIZE_ERROR.search(message) is not None
