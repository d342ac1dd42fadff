"""Shows metrics at /metrics, for Prometheus to scrape.

    exporters:
      prometheus:
        endpoint: 127.0.0.1:9464

Text 0.0.4 and OpenMetrics 1.0 with exemplars, as the scraper asks. A new counter or histogram is shown at 0 first, so
that `increase()` misses nothing, and what several senders count is added up (`SeriesStore` tells the rules). The
gateway's own metrics stand on the same page.
"""

import asyncio
import contextlib
import zlib
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

from pydantic import field_validator, model_validator

from otel_pipeline.component import Exporter, Settings
from otel_pipeline.helpers.endpoint import Endpoint, parse_endpoint
from otel_pipeline.helpers.http_origin import OriginPolicy, local_hosts
from otel_pipeline.helpers.http_server import HttpLimits, HttpServer
from otel_pipeline.helpers.series_store import ConstLabels, SeriesIntake, SeriesOptions
from otel_pipeline.pdata import Batch, Signal
from otel_pipeline.prometheus import SeriesStore
from otel_pipeline.prometheus.negotiation import Format, accepts_gzip, choose_format
from otel_pipeline.prometheus.scrapers import Scrapers

__all__ = ["Prometheus", "PrometheusConfig"]

_PATH = "/metrics"
_SCRAPE_HEADER = b"x-prometheus-scrape-timeout-seconds"
_PIECE_BYTES = 1 << 18
_CONCURRENT_SCRAPES = 4
_ANSWER_SECONDS = 120.0
_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"vary", b"accept, accept-encoding"),
    (b"x-content-type-options", b"nosniff"),
]

_Send = Callable[[dict[str, Any]], Awaitable[None]]


class PrometheusConfig(SeriesOptions):
    """Where metrics are shown, and which."""

    endpoint: str = "127.0.0.1:9464"
    """Address to listen on, as `host:port`; the page is at /metrics."""
    insecure_ok: bool = False
    """Listen on an address that other machines can reach, though anyone there may then read all metrics."""
    allowed_hosts: tuple[str, ...] = ()
    """More host names by which the page may be asked for (the Host header, without port). Others than this machine's
    local names are refused, so that no web page can read metrics by a name of its own."""
    const_labels: ConstLabels = {}
    """Labels of every series. An attribute that would have the same name becomes `exported_<name>`."""
    send_timestamps: bool = False
    """Show the time of each value. Prometheus then does not mark series stale that are gone."""
    enable_open_metrics: bool = True
    """Answer OpenMetrics 1.0 to scrapers that prefer it. Only there are exemplars."""
    created_timestamps: bool = True
    """Show in OpenMetrics when each counter and histogram began, as `_created` samples."""

    @field_validator("endpoint")
    @classmethod
    def _is_address(cls, value: str) -> str:
        parse_endpoint(value)
        return value

    @model_validator(mode="after")
    def _is_private(self) -> "PrometheusConfig":
        if not self.insecure_ok and not parse_endpoint(self.endpoint).is_local:
            raise ValueError(
                f"endpoint {self.endpoint} can be reached from other machines and nothing checks who reads: "
                "listen on 127.0.0.1, or accept the risk with insecure_ok: true"
            )
        return self


class Prometheus(Exporter):
    """A series store behind a page."""

    type = "prometheus"
    signals = frozenset({Signal.METRICS})
    Config = PrometheusConfig

    def __init__(self, config: PrometheusConfig, settings: Settings) -> None:
        super().__init__(config, settings)
        self._intake = SeriesIntake(
            config,
            settings,
            config.const_labels,
            send_timestamps=config.send_timestamps,
            created_timestamps=config.created_timestamps,
        )
        self.store = self._intake.store
        self._scrapers = Scrapers(self.store.register_scraper)
        self._page = _Page(config, settings, self.store, self._scrapers, self._intake.now_ns)
        self._server = _make_server(config, settings, self._page)
        self._expiry: asyncio.Task[None] | None = None

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens; after `start` with the real port."""
        return self._server.endpoint

    async def start(self) -> None:
        """Opens the page. Raises endpoint.BindError."""
        await self._server.start()
        self._expiry = asyncio.create_task(self._expire())

    async def shutdown(self) -> None:
        """Closes the page."""
        if self._expiry is not None:
            self._expiry.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._expiry
            self._expiry = None
        await self._server.shutdown()

    async def consume(self, batch: Batch) -> None:
        """Puts the batch into the store; it is shown from the next scrape on."""
        await self._intake.ingest(batch)

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(min(60.0, self.config.metric_expiration / 2))
            await asyncio.to_thread(self.store.expire, self._intake.now_ns())


def _make_server(config: PrometheusConfig, settings: Settings, page: "_Page") -> HttpServer:
    endpoint = parse_endpoint(config.endpoint)
    refused = settings.telemetry.counter(
        "otelcol_exporter_prometheus_refused_requests",
        description="Requests and connections that the page turned away, by reason.",
        labels=("exporter", "reason"),
    )
    hosts = {"localhost", "127.0.0.1", "::1", endpoint.host, *config.allowed_hosts}
    return HttpServer(
        page,
        endpoint,
        limits=HttpLimits(max_connections=64),
        origins=OriginPolicy(hosts if config.allowed_hosts else local_hosts(endpoint)),
        count=lambda reason: refused.add(1, settings.id, reason),
        log=settings.log,
    )


class _Page:
    """The ASGI application: GET and HEAD /metrics."""

    def __init__(
        self,
        config: PrometheusConfig,
        settings: Settings,
        store: SeriesStore,
        scrapers: Scrapers,
        now_ns: Callable[[], int],
    ) -> None:
        self._openmetrics = config.enable_open_metrics
        self._utf8 = not config.translation_strategy.startswith("Underscore")
        self._telemetry = settings.telemetry
        self._store = store
        self._scrapers = scrapers
        self._now_ns = now_ns
        self._scrapes = asyncio.Semaphore(_CONCURRENT_SCRAPES)

    async def __call__(self, scope: Any, _receive: Any, send: _Send) -> None:
        """Answers one request."""
        if scope["path"] != _PATH:
            await _answer_plain(send, 404, f"only {_PATH} is here\n")
        elif scope["method"] not in ("GET", "HEAD"):
            await _answer_plain(send, 405, "only GET and HEAD\n", [(b"allow", b"GET, HEAD")])
        else:
            with contextlib.suppress(TimeoutError):
                async with self._scrapes, asyncio.timeout(_ANSWER_SECONDS):
                    await self._answer(scope, send)

    async def _answer(self, scope: Any, send: _Send) -> None:
        headers = scope["headers"]
        chosen = choose_format(_joined(headers, b"accept"), openmetrics=self._openmetrics, utf8=self._utf8)
        gzip = accepts_gzip(_joined(headers, b"accept-encoding"))
        answer = [*_HEADERS, (b"content-type", chosen.content_type.encode())]
        answer += [(b"content-encoding", b"gzip")] if gzip else []
        body = b""
        if scope["method"] == "GET":
            body = await self._render(scope, chosen, gzip=gzip)
            answer.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": 200, "headers": answer})
        for at in range(0, len(body), _PIECE_BYTES):
            piece = body[at : at + _PIECE_BYTES]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    async def _render(self, scope: Any, chosen: Format, *, gzip: bool) -> bytes:
        own = self._telemetry.exposition(openmetrics=chosen.name == "openmetrics")
        slot = self._scraper(scope)
        render = partial(self._store.render, chosen.name, slot, self._now_ns(), own, chosen.utf8)
        return await asyncio.to_thread(_compressed, render, gzip)

    def _scraper(self, scope: Any) -> int | None:
        """The slot of a Prometheus server; a plain reader such as curl has none and changes nothing."""
        if _SCRAPE_HEADER not in scope["fields"]:
            return None
        address = scope["client"][0] if scope["client"] else ""
        return self._scrapers.slot((address, scope["fields"].get(b"user-agent", b"").decode("latin-1")))


def _compressed(render: Callable[[], bytes], gzip: bool) -> bytes:
    page = render()
    if not gzip:
        return page
    compressor = zlib.compressobj(level=1, wbits=31)
    return compressor.compress(page) + compressor.flush()


def _joined(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> str:
    return ",".join(value.decode("latin-1") for name, value in headers if name == wanted)


async def _answer_plain(send: _Send, status: int, text: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    length = (b"content-length", b"%d" % len(text))
    answer = [*_HEADERS, (b"content-type", b"text/plain; charset=utf-8"), length, *headers]
    await send({"type": "http.response.start", "status": status, "headers": answer})
    await send({"type": "http.response.body", "body": text.encode()})
