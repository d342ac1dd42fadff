"""Send OTLP over HTTP, as protobuf or JSON.

exporters:
  otlp_http:
    endpoint: https://collector.example:4318
    headers: {authorization: "Bearer ${env:TOKEN}"}
"""

import asyncio
import base64
import gzip
import sys
import zlib
from collections.abc import Callable
from typing import Literal, Self
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx
from pydantic import Field, model_validator

from otel_pipeline import __version__, pdata
from otel_pipeline.component import Exporter, Settings
from otel_pipeline.errors import ConsumeError, PermanentError, RetryableError, TooLargeError
from otel_pipeline.helpers.headers import HttpHeaders
from otel_pipeline.helpers.http_client import bare_client
from otel_pipeline.helpers.otlp_response import (
    MAX_RESPONSE_BYTES,
    read_rejection,
    retry_after_seconds,
    status_message,
)
from otel_pipeline.helpers.peer_endpoint import HttpUrl, is_link_local, redact_url
from otel_pipeline.helpers.printable import Scrubber
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
        self._headers = self._fixed_headers()
        secrets = [value.get_secret_value() for value in config.headers.values()]
        self._scrub = Scrubber([*secrets, *(part for url in self._urls.values() for part in _url_secrets(url))])
        self._compress = _COMPRESS.get(config.compression)
        self._extensions = {"sni_hostname": name} if (name := config.tls.server_name_override) else {}
        self._client: httpx.AsyncClient | None = None
        self._retry = Retry(config.retry_on_failure, settings, self._export)
        self._queue = SendingQueue(config.sending_queue, settings, self._retry.deliver)

    def _fixed_headers(self) -> dict[str, str]:
        headers = {name.lower(): value.get_secret_value() for name, value in self.config.headers.items()}
        headers.setdefault("user-agent", f"otel-pipeline/{__version__}")
        headers["content-type"] = _CONTENT_TYPES[self.config.encoding]
        headers["accept-encoding"] = "identity"
        if self.config.compression != "none":
            headers["content-encoding"] = self.config.compression
        return headers

    async def start(self) -> None:
        """Prepares the client; raises ConfigError for certificates that cannot be used. Connects later."""
        config = self.config
        encrypted = any(url.startswith("https:") for url in self._urls.values())
        self._client = bare_client(
            verify=config.tls.ssl_context(f"exporters::{self.settings.id}::tls") if encrypted else False,
            timeout=config.timeout,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=config.sending_queue.num_consumers),
        )

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
            if self._client is not None:
                await self._client.aclose()

    async def _export(self, batch: Batch) -> Rejection | None:
        """One try."""
        if self._client is None:
            raise RetryableError("the exporter has not been started")
        url = self._urls[batch.signal]
        body = await self._encode(batch)
        try:
            async with asyncio.timeout(self.config.timeout):
                request = self._client.stream(
                    "POST", url, content=body, headers=self._headers, extensions=self._extensions
                )
                async with request as response:
                    answer = await _read_capped(response)
        except TimeoutError:
            raise RetryableError(f"{redact_url(url)}: no answer within the timeout") from None
        except httpx.TransportError as error:
            raise self._transport_error(url, error) from None
        return self._judge(batch, response, answer)

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

    def _judge(self, batch: Batch, response: httpx.Response, body: bytes) -> Rejection | None:
        """What an answer means. Raises ConsumeError where the batch was not taken."""
        status, content_type = response.status_code, response.headers.get("content-type", "")
        if 200 <= status < 300:
            rejection = read_rejection(batch.signal, body, is_json=content_type.startswith("application/json"))
            return rejection and Rejection(rejection.items, self._scrub(rejection.message))
        text = self._scrub(status_message(body, content_type))
        message = f"{redact_url(self._urls[batch.signal])} answered {status}{f': {text}' if text else ''}"
        if status == 413:
            raise TooLargeError(message)
        if status in _RETRYABLE:
            now = self.settings.clock.time_ns()
            raise RetryableError(message, retry_after=retry_after_seconds(response.headers.get("retry-after"), now))
        raise PermanentError(message)

    def _transport_error(self, url: str, error: httpx.TransportError) -> ConsumeError:
        message = f"{redact_url(url)}: {type(error).__name__}: {self._scrub(str(error))}"
        if isinstance(error, (httpx.UnsupportedProtocol, httpx.LocalProtocolError)):
            return PermanentError(message)
        return RetryableError(message)


async def _read_capped(response: httpx.Response) -> bytes:
    """The body as it came; none of it where it is over the limit."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_RESPONSE_BYTES:
            return b""
    return bytes(body)


def _url_secrets(url: str) -> list[str]:
    """What of a URL must not be shown: password, basic authorization made of it, and the query."""
    parts = urlsplit(url)
    if not parts.password:
        return [parts.query]
    user, password = unquote(parts.username or ""), unquote(parts.password)
    basic = base64.b64encode(f"{user}:{password}".encode()).decode()
    return [parts.query, parts.password, password, basic]
