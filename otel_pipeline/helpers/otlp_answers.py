"""What an OTLP server answers: one table from what happened to gRPC codes, HTTP statuses and their bodies.

Specification: https://opentelemetry.io/docs/specs/otlp/. The two rules that decide about loss: overload is UNAVAILABLE
or 503 with the time to wait, and RESOURCE_EXHAUSTED always means too large and comes without one.
"""

import math
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsPartialSuccess, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from otel_pipeline.errors import ConsumeError, DecodeError, PermanentError, RetryableError, TooLargeError
from otel_pipeline.pdata import Findings, Signal

__all__ = [
    "JSON",
    "PROTOBUF",
    "Answer",
    "Reply",
    "answer_error",
    "answer_http",
    "answer_no_pipeline",
    "encode",
    "partial_success",
]

PROTOBUF = b"application/x-protobuf"
JSON = b"application/json"

_RETRY_SECONDS = 1.0
_MAX_RETRY_SECONDS = 2.0
"""Python's exporters drop a batch at once when they are told to wait longer than what is left of their ten seconds."""
_MAX_MESSAGE = 1024
"""Characters. A gRPC message travels twice in the trailers, which clients limit to 8 KiB."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One row of the table."""

    grpc: grpc.StatusCode
    http: int
    outcome: str
    """`refused` where the sender shall send again, else `failure`."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An error as it is told to a sender."""

    answer: Answer
    reason: str
    """For the counter of requests: few values."""
    status: Status
    retry_seconds: float | None = None

    def trailers(self) -> tuple[tuple[str, bytes], ...]:
        """gRPC trailers: Go's exporters read the wait from the first, Python's from the second."""
        details = (("grpc-status-details-bin", self.status.SerializeToString()),) if self.status.details else ()
        if self.retry_seconds is None:
            return details
        return (*details, ("google.rpc.retryinfo-bin", _retry_info(self.retry_seconds).SerializeToString()))

    @property
    def retry_after(self) -> bytes | None:
        """The value of the HTTP header: whole seconds, at least one."""
        return None if self.retry_seconds is None else b"%d" % max(1, math.ceil(self.retry_seconds))


_INVALID = Answer(grpc.StatusCode.INVALID_ARGUMENT, 400, "failure")
_UNIMPLEMENTED = Answer(grpc.StatusCode.UNIMPLEMENTED, 404, "failure")
_TOO_LARGE = Answer(grpc.StatusCode.RESOURCE_EXHAUSTED, 413, "failure")
_BUG = Answer(grpc.StatusCode.INTERNAL, 500, "failure")
_UNAVAILABLE = Answer(grpc.StatusCode.UNAVAILABLE, 503, "refused")

_HTTP_ONLY = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.UNIMPLEMENTED,
    405: grpc.StatusCode.UNIMPLEMENTED,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    431: grpc.StatusCode.RESOURCE_EXHAUSTED,
    501: grpc.StatusCode.UNIMPLEMENTED,
}
"""The code in the Status of errors that HTTP knows and gRPC does not."""


def answer_error(error: BaseException) -> Reply:
    """The reply to a request that ended with `error`."""
    match error:
        case RetryableError():
            asked = _RETRY_SECONDS if error.retry_after is None else error.retry_after
            return _reply(_UNAVAILABLE, "refused", str(error), retry=min(max(asked, 0.0), _MAX_RETRY_SECONDS))
        case TooLargeError():
            return _reply(_TOO_LARGE, "too_large", str(error))
        case DecodeError():
            return _reply(_INVALID, "undecodable", str(error), field="body")
        case PermanentError() if error.__cause__ is None or isinstance(error.__cause__, ConsumeError):
            return _reply(_INVALID, "rejected", str(error))
    return _reply(_BUG, "internal_error", "internal error; the gateway's log says more")


def answer_no_pipeline(signal: Signal) -> Reply:
    """The reply to a signal that no pipeline takes."""
    return _reply(_UNIMPLEMENTED, "no_pipeline", f"no pipeline takes {signal}")


def answer_http(status: int, reason: str, message: str) -> Reply:
    """The reply to a request that is wrong by the rules of HTTP: 400, 403, 404, 405, 415, 431 or 501."""
    return _reply(Answer(_HTTP_ONLY[status], status, "failure"), reason, message)


def _reply(answer: Answer, reason: str, message: str, *, retry: float | None = None, field: str | None = None) -> Reply:
    """A reply of row `answer`; `retry` seconds go out as RetryInfo, `field` as BadRequest."""
    message = message[:_MAX_MESSAGE]
    status = Status(code=answer.grpc.value[0], message=message)
    if retry is not None:
        status.details.add().Pack(_retry_info(retry))
    if field is not None:
        violation = BadRequest.FieldViolation(field=field, description=message)
        status.details.add().Pack(BadRequest(field_violations=[violation]))
    return Reply(answer, reason, status, retry)


def _retry_info(seconds: float) -> RetryInfo:
    return RetryInfo(retry_delay=Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9)))


def encode(message: Message, content_type: bytes) -> bytes:
    """A message in the encoding of the request."""
    if content_type == PROTOBUF:
        return message.SerializeToString()
    return MessageToJson(message, indent=None).encode()


_PARTIAL: dict[Signal, tuple[Any, Any, str]] = {
    Signal.TRACES: (ExportTraceServiceResponse, ExportTracePartialSuccess, "rejected_spans"),
    Signal.METRICS: (ExportMetricsServiceResponse, ExportMetricsPartialSuccess, "rejected_data_points"),
    Signal.LOGS: (ExportLogsServiceResponse, ExportLogsPartialSuccess, "rejected_log_records"),
}


def partial_success(signal: Signal, findings: Findings) -> Message | None:
    """The response that names what was rejected or warns of what was altered; None where there is nothing to say."""
    if not findings.rejected and not findings.message:
        return None
    response, partial, rejected = _PARTIAL[signal]
    message = findings.message[:_MAX_MESSAGE]
    made: Message = response(partial_success=partial(**{rejected: findings.rejected, "error_message": message}))
    return made
