"""Send OTLP over HTTP, as protobuf or JSON.

exporters:
  otlp_http:
    endpoint: https://collector.example:4318
    headers: {authorization: "Bearer ${env:TOKEN}"}
"""

import asyncio
import gzip
import sys
import zlib
from collections.abc import Callable
from typing import Literal, Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, model_validator

from otel_pipeline import pdata
from otel_pipeline.component import Exporter, Settings
from otel_pipeline.errors import PermanentError, RetryableError, TooLargeError
from otel_pipeline.helpers.headers import HttpHeaders
from otel_pipeline.helpers.http_peer import HttpAnswer, HttpPeer
from otel_pipeline.helpers.otlp_response import read_rejection, retry_after_seconds, status_message
from otel_pipeline.helpers.peer_endpoint import HttpUrl, is_link_local
from otel_pipeline.helpers.retry import Rejection, Retry, RetryOptions
from otel_pipeline.helpers.sending_queue import QueueOptions, SendingQueue
from otel_pipeline.helpers.tls import ClientTls
from otel_pipeline.options import Duration, Options
from otel_pipeline.pdata import Batch, Signal

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["OtlpHttp"]

_RETRYABLE = frozenset({429, 502, 503, 504})
"""OTLP specification 1.11, Retryable Response Codes."""
_CONTENT_TYPES = {"proto": "application/x-protobuf", "json": "application/json"}
_COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda body: gzip.compress(body, compresslevel=6, mtime=0),
    "deflate": zlib.compress,
    "zstd": zstd.compress,
}
_INLINE_BYTES = 16 * 1024
"""Larger bodies are compressed in a worker thread."""


class OtlpHttpOptions(Options):
    """Options of `otlp_http`."""

    endpoint: HttpUrl = ""
    """URL of the peer; `/v1/traces`, `/v1/metrics` and `/v1/logs` are appended."""
    traces_endpoint: HttpUrl = ""
    """Whole URL for traces, in place of the one made from `endpoint`."""
    metrics_endpoint: HttpUrl = ""
    """Whole URL for metrics, in place of the one made from `endpoint`."""
    logs_endpoint: HttpUrl = ""
    """Whole URL for logs, in place of the one made from `endpoint`."""
    encoding: Literal["proto", "json"] = "proto"
    """How requests are written; JSON is far larger and slower."""
    compression: Literal["gzip", "deflate", "zstd", "none"] = "gzip"
    """How requests are compressed."""
    headers: HttpHeaders = Field(default_factory=dict)
    """Sent with each request."""
    tls: ClientTls = ClientTls()
    """For https endpoints."""
    timeout: Duration = Field(30.0, gt=0)
    """How long one try may take, from connecting to the end of the answer."""
    retry_on_failure: RetryOptions = RetryOptions()
    """Waiting and trying again."""
    sending_queue: QueueOptions = QueueOptions()
    """Queueing and joining before sending."""
    allow_link_local: bool = False
    """Allow endpoints in 169.254.0.0/16 or fe80::/10, where clouds keep their metadata service."""

    def url(self, signal: Signal) -> str:
        """Where requests of this signal go; empty where nothing is configured."""
        own = {
            Signal.TRACES: self.traces_endpoint,
            Signal.METRICS: self.metrics_endpoint,
            Signal.LOGS: self.logs_endpoint,
        }[signal]
        if own or not self.endpoint:
            return own
        parts = urlsplit(self.endpoint)
        return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/v1/{signal}", fragment=""))

    @model_validator(mode="after")
    def _check_urls(self) -> Self:
        urls = [url for signal in Signal if (url := self.url(signal))]
        if not urls:
            raise ValueError("needs endpoint, or one of traces_endpoint, metrics_endpoint and logs_endpoint")
        if any(is_link_local(urlsplit(url).hostname or "") for url in urls) and not self.allow_link_local:
            raise ValueError("an endpoint is a link-local address; set allow_link_local if that is meant")
        return self


class OtlpHttp(Exporter):
    """Sends batches to an OTLP/HTTP server. Follows no redirects, uses no proxy, keeps no cookies."""

    type = "otlp_http"
    aliases = ("otlphttp",)
    Config = OtlpHttpOptions
    config: OtlpHttpOptions

    def __init__(self, config: OtlpHttpOptions, settings: Settings) -> None:
        super().__init__(config, settings)
        urls = {str(signal): config.url(signal) for signal in Signal}
        self._urls = {signal: url for signal, url in urls.items() if url}
        self._peer = HttpPeer(self._urls.values(), config.headers, config.tls, config.timeout)
        self._headers = self._fixed_headers()
        self._compress = _COMPRESS.get(config.compression)
        self._retry = Retry(config.retry_on_failure, settings, self._export)
        self._queue = SendingQueue(config.sending_queue, settings, self._retry.deliver)

    def _fixed_headers(self) -> dict[str, str]:
        headers = self._peer.headers | {"content-type": _CONTENT_TYPES[self.config.encoding]}
        if self.config.compression != "none":
            headers["content-encoding"] = self.config.compression
        return headers

    async def start(self) -> None:
        """Prepares the client; raises ConfigError for certificates that cannot be used. Connects later."""
        connections = self.config.sending_queue.num_consumers
        self._peer.open(f"exporters::{self.settings.id}::tls", keepalive_connections=connections)

    async def consume(self, batch: Batch) -> None:
        """Queues the batch, or delivers it where the queue is off or asked to wait."""
        if batch.signal not in self._urls:
            raise PermanentError(f"there is no endpoint for {batch.signal}")
        await self._queue.consume(batch)

    async def shutdown(self) -> None:
        """Sends what is queued, each request once; being cancelled ends that, and what is left counts as dropped."""
        self._retry.close()
        try:
            await self._queue.shutdown()
        finally:
            await self._peer.close()

    async def _export(self, batch: Batch) -> Rejection | None:
        """One try."""
        answer = await self._peer.post(self._urls[batch.signal], await self._encode(batch), self._headers)
        return self._judge(batch, answer)

    async def _encode(self, batch: Batch) -> bytes:
        """The body of a request. Large ones are written in a worker thread."""
        if self._compress is None and self.config.encoding == "proto":
            return batch.data
        if batch.size_bytes <= _INLINE_BYTES:
            return self._encode_now(batch)
        return await asyncio.to_thread(self._encode_now, batch)

    def _encode_now(self, batch: Batch) -> bytes:
        body = batch.data if self.config.encoding == "proto" else pdata.to_json(batch)
        return self._compress(body) if self._compress else body

    def _judge(self, batch: Batch, answer: HttpAnswer) -> Rejection | None:
        """What an answer means. Raises ConsumeError where the batch was not taken."""
        status, body, content_type = answer.status, answer.body, answer.headers.get("content-type", "")
        if 200 <= status < 300:
            rejection = read_rejection(batch.signal, body, is_json=content_type.startswith("application/json"))
            return rejection and Rejection(rejection.items, self._peer.scrub(rejection.message))
        message = self._peer.describe(self._urls[batch.signal], answer, status_message(body, content_type))
        if status == 413:
            raise TooLargeError(message)
        if status in _RETRYABLE:
            now = self.settings.clock.time_ns()
            raise RetryableError(message, retry_after=retry_after_seconds(answer.headers.get("retry-after"), now))
        raise PermanentError(message)
