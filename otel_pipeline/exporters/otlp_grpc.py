"""Send OTLP over gRPC.

exporters:
  otlp_grpc:
    endpoint: collector.example:4317
    headers: {authorization: "Bearer ${env:TOKEN}"}
"""

import re
from typing import Literal, Self

import grpc
from pydantic import Field, field_validator, model_validator

from otel_pipeline import __version__
from otel_pipeline.component import Exporter, Settings
from otel_pipeline.errors import ConsumeError, PermanentError, RetryableError, TooLargeError
from otel_pipeline.helpers.headers import GrpcHeaders
from otel_pipeline.helpers.otlp_response import (
    MAX_RESPONSE_BYTES,
    is_size_error,
    read_rejection,
    retry_info_seconds,
)
from otel_pipeline.helpers.peer_endpoint import is_link_local, parse_grpc_endpoint
from otel_pipeline.helpers.printable import Scrubber
from otel_pipeline.helpers.retry import Rejection, Retry, RetryOptions
from otel_pipeline.helpers.sending_queue import QueueOptions, SendingQueue
from otel_pipeline.helpers.tls import ClientTls
from otel_pipeline.options import Duration, Options
from otel_pipeline.pdata import Batch, Signal

__all__ = ["OtlpGrpc"]

_METHODS = {
    Signal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    Signal.METRICS: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    Signal.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
_RETRYABLE = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""OTLP specification 1.11, Failures; RESOURCE_EXHAUSTED only with RetryInfo."""
_MAY_MEAN_TOO_LARGE = frozenset({grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.OUT_OF_RANGE})
"""tonic answers OUT_OF_RANGE to a message over its limit, the other libraries RESOURCE_EXHAUSTED."""
_RESPONSE_TOO_LARGE = re.compile(r"CLIENT: Received message larger than max", re.I)
_MAX_METADATA_BYTES = 16 * 1024


class Keepalive(Options):
    """Pings on a connection that is otherwise silent."""

    time: Duration = Field(10.0, gt=0)
    """Silence before a ping. Servers close connections that ping more often than they allow."""
    timeout: Duration = Field(20.0, gt=0)
    """The connection is given up when a ping is not answered for this long."""
    permit_without_stream: bool = False
    """Ping while no request is under way, too."""


class OtlpGrpcOptions(Options):
    """Options of `otlp_grpc`."""

    endpoint: str
    """`host:port` of the peer. With `https://` before it TLS is used whatever `tls.insecure` says."""
    tls: ClientTls = ClientTls()
    """TLS is on unless `insecure` is set."""
    headers: GrpcHeaders = Field(default_factory=dict)
    """Sent as metadata with each request."""
    compression: Literal["gzip", "deflate", "none"] = "gzip"
    """How requests are compressed."""
    timeout: Duration = Field(5.0, gt=0)
    """How long one try may take."""
    keepalive: Keepalive | None = None
    """Find out that a silent connection is dead. Off by default."""
    retry_on_failure: RetryOptions = RetryOptions()
    """Waiting and trying again."""
    retry_bare_resource_exhausted: bool = True
    """Try again on RESOURCE_EXHAUSTED without RetryInfo, which for OTLP means "never". Collectors under memory pressure
    answer so and lose data otherwise. A message that is about sizes is never retried as it is."""
    sending_queue: QueueOptions = QueueOptions()
    """Queueing and joining before sending."""
    allow_link_local: bool = False
    """Allow an endpoint in 169.254.0.0/16 or fe80::/10, where clouds keep their metadata service."""

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, endpoint: str) -> str:
        parse_grpc_endpoint(endpoint)
        return endpoint

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        endpoint = parse_grpc_endpoint(self.endpoint)
        if is_link_local(endpoint.host) and not self.allow_link_local:
            raise ValueError("the endpoint is a link-local address; set allow_link_local if that is meant")
        if endpoint.scheme == "http" and not self.tls.insecure:
            raise ValueError("the endpoint asks for no TLS (http://); write tls: {insecure: true} with it")
        if self.tls.insecure_skip_verify:
            raise ValueError(
                "tls::insecure_skip_verify is not possible over gRPC; name the peer's authority in tls::ca_file"
                " (and its name in server_name_override), or use otlp_http"
            )
        if self.tls.min_version != "1.2":
            raise ValueError("tls::min_version cannot be raised over gRPC; leave it out, or use otlp_http")
        return self


class OtlpGrpc(Exporter):
    """Sends batches to an OTLP/gRPC server. The connection is made when first needed, and again after it was lost."""

    type = "otlp_grpc"
    aliases = ("otlp",)
    Config = OtlpGrpcOptions
    config: OtlpGrpcOptions

    def __init__(self, config: OtlpGrpcOptions, settings: Settings) -> None:
        super().__init__(config, settings)
        headers = {name.lower(): value.get_secret_value() for name, value in config.headers.items()}
        self._metadata = tuple(headers.items())
        self._scrub = Scrubber(headers.values())
        self._compression = _COMPRESSIONS[config.compression]
        self._channel: grpc.aio.Channel | None = None
        self._exports: dict[str, grpc.aio.UnaryUnaryMultiCallable] = {}
        self._retry = Retry(config.retry_on_failure, settings, self._export)
        self._queue = SendingQueue(config.sending_queue, settings, self._retry.deliver)

    async def start(self) -> None:
        """Prepares the channel; raises ConfigError for certificates that cannot be read. Connects later."""
        config = self.config
        target, _, scheme = parse_grpc_endpoint(config.endpoint)
        if config.tls.insecure and scheme != "https":
            self._channel = grpc.aio.insecure_channel(target, options=self._channel_options())
        else:
            credentials = config.tls.grpc_credentials(f"exporters::{self.settings.id}::tls")
            self._channel = grpc.aio.secure_channel(target, credentials, options=self._channel_options())
        self._exports = {str(signal): self._channel.unary_unary(method) for signal, method in _METHODS.items()}

    def _channel_options(self) -> list[tuple[str, int | str]]:
        options: list[tuple[str, int | str]] = [
            ("grpc.enable_http_proxy", 0),
            ("grpc.enable_retries", 0),
            ("grpc.max_receive_message_length", MAX_RESPONSE_BYTES),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
            ("grpc.initial_reconnect_backoff_ms", 500),
            ("grpc.max_reconnect_backoff_ms", 5000),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.primary_user_agent", f"otel-pipeline/{__version__}"),
        ]
        if keepalive := self.config.keepalive:
            options += [
                ("grpc.keepalive_time_ms", round(keepalive.time * 1000)),
                ("grpc.keepalive_timeout_ms", round(keepalive.timeout * 1000)),
                ("grpc.keepalive_permit_without_calls", int(keepalive.permit_without_stream)),
            ]
        if name := self.config.tls.server_name_override:
            options.append(("grpc.ssl_target_name_override", name))
        return options

    async def consume(self, batch: Batch) -> None:
        """Queues the batch, or delivers it where the queue is off or asked to wait."""
        await self._queue.consume(batch)

    async def shutdown(self) -> None:
        """Sends what is queued, each request once; being cancelled ends that, and what is left counts as dropped."""
        self._retry.close()
        try:
            await self._queue.shutdown()
        finally:
            if self._channel is not None:
                await self._channel.close()

    async def _export(self, batch: Batch) -> Rejection | None:
        """One try."""
        try:
            body = await self._exports[batch.signal](
                batch.data, timeout=self.config.timeout, metadata=self._metadata, compression=self._compression
            )
        except grpc.aio.AioRpcError as error:
            raise self._consume_error(error) from None
        if not body:
            return None
        rejection = read_rejection(batch.signal, body)
        return rejection and Rejection(rejection.items, self._scrub(rejection.message))

    def _consume_error(self, error: grpc.aio.AioRpcError) -> ConsumeError:
        """The kind of error that tells what to do next. Its message is fit for logs and for other senders."""
        code, details = error.code(), error.details() or ""
        message = f"{code.name}: {self._scrub(details)}"
        delay = retry_info_seconds(error.trailing_metadata() or ())
        if _RESPONSE_TOO_LARGE.match(details):
            return PermanentError(f"the answer of the peer is over {MAX_RESPONSE_BYTES} bytes")
        if code in _MAY_MEAN_TOO_LARGE and delay is None and is_size_error(details):
            return TooLargeError(message)
        if code in _RETRYABLE:
            return RetryableError(message, retry_after=delay)
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and (
            delay is not None or self.config.retry_bare_resource_exhausted
        ):
            return RetryableError(message, retry_after=delay)
        return PermanentError(message)


_COMPRESSIONS = {
    "gzip": grpc.Compression.Gzip,
    "deflate": grpc.Compression.Deflate,
    "none": grpc.Compression.NoCompression,
}
