"""The page that Prometheus scrapes: the series of a store and the gateway's own metrics, over HTTP."""

import asyncio
import contextlib
import zlib
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

from otel_pipeline.prometheus import SeriesStore
from otel_pipeline.prometheus.negotiation import Format, accepts_gzip, choose_format
from otel_pipeline.prometheus.scrapers import Scrapers
from otel_pipeline.telemetry import Telemetry

__all__ = ["MetricsPage"]

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


class MetricsPage:
    """The ASGI application: GET and HEAD /metrics."""

    def __init__(
        self,
        store: SeriesStore,
        scrapers: Scrapers,
        telemetry: Telemetry,
        now_ns: Callable[[], int],
        *,
        openmetrics: bool,
        utf8: bool,
        save: Callable[[], None] = lambda: None,
    ) -> None:
        """`openmetrics`: whether to answer it; `utf8`: whether there are names that only Prometheus 3 reads.

        `save` is called in a worker thread when a page is made, before anyone sees it.
        """
        self._save = save
        self._openmetrics = openmetrics
        self._utf8 = utf8
        self._telemetry = telemetry
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
        return await asyncio.to_thread(_compressed, render, gzip, self._save)

    def _scraper(self, scope: Any) -> int | None:
        """The slot of a Prometheus server; a plain reader such as curl has none and changes nothing."""
        if _SCRAPE_HEADER not in scope["fields"]:
            return None
        address = scope["client"][0] if scope["client"] else ""
        return self._scrapers.slot((address, scope["fields"].get(b"user-agent", b"").decode("latin-1")))


def _compressed(render: Callable[[], bytes], gzip: bool, save: Callable[[], None]) -> bytes:
    page = render()
    save()
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
