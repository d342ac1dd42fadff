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
import re
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from otel_pipeline.component import Exporter, Settings
from otel_pipeline.helpers.endpoint import Endpoint, parse_endpoint
from otel_pipeline.helpers.http_origin import OriginPolicy, local_hosts
from otel_pipeline.helpers.http_server import HttpLimits, HttpServer
from otel_pipeline.options import Duration, Options
from otel_pipeline.pdata import Batch, Signal
from otel_pipeline.prometheus import Ingested, SeriesStore
from otel_pipeline.prometheus.negotiation import Format, accepts_gzip, choose_format
from otel_pipeline.prometheus.scrapers import Scrapers
from otel_pipeline.semconv import load

__all__ = ["Prometheus", "PrometheusConfig"]

_PATH = "/metrics"
_SCRAPE_HEADER = b"x-prometheus-scrape-timeout-seconds"
_OFFLOAD_BYTES = 1 << 16
_PIECE_BYTES = 1 << 18
_CONCURRENT_SCRAPES = 4
_ANSWER_SECONDS = 120.0
_BUILD_NS = 10_000_000_000
"""Components of one graph are made within this time. A connector may date its first series to its own making, which
can be before ours, and yet nobody has seen them."""
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OWN_LABELS = frozenset({"le", "quantile", "job", "instance", "otel_metric_overflow"})
_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"vary", b"accept, accept-encoding"),
    (b"x-content-type-options", b"nosniff"),
]

_Send = Callable[[dict[str, Any]], Awaitable[None]]


class ResourceToTelemetry(Options):
    """Whether attributes of the resource become labels of its metrics."""

    enabled: bool = False
    """Make labels of all of them. Without, those are taken that the registry gives a label, such as `project_id`."""
    exclude_service_attributes: bool = False
    """But not of `service.name`, `service.namespace` and `service.instance.id`, which make `job` and `instance`."""


class PrometheusConfig(Options):
    """Where metrics are shown, and which."""

    endpoint: str = "127.0.0.1:9464"
    """Address to listen on, as `host:port`; the page is at /metrics."""
    insecure_ok: bool = False
    """Listen on an address that other machines can reach, though anyone there may then read all metrics."""
    allowed_hosts: tuple[str, ...] = ()
    """More host names by which the page may be asked for (the Host header, without port). Others than this machine's
    local names are refused, so that no web page can read metrics by a name of its own."""
    namespace: str = ""
    """Put before the name of every metric, with `_`."""
    const_labels: Mapping[str, str] = {}
    """Labels of every series. An attribute that would have the same name becomes `exported_<name>`."""
    send_timestamps: bool = False
    """Show the time of each value. Prometheus then does not mark series stale that are gone."""
    metric_expiration: Annotated[Duration, Field(gt=0)] = 86400.0
    """How long a series is shown after its last data point. The Collector has 5m; here a stage may run once a day, and
    a series that is gone between two runs loses the increase between them."""
    enable_open_metrics: bool = True
    """Answer OpenMetrics 1.0 to scrapers that prefer it. Only there are exemplars."""
    created_timestamps: bool = True
    """Show in OpenMetrics when each counter and histogram began, as `_created` samples."""
    without_scope_info: bool = False
    """Leave out the labels `otel_scope_name`, `otel_scope_version` and `otel_scope_<attribute>`."""
    translation_strategy: Literal[
        "UnderscoreEscapingWithSuffixes",
        "UnderscoreEscapingWithoutSuffixes",
        "NoUTF8EscapingWithSuffixes",
        "NoTranslation",
    ] = "UnderscoreEscapingWithSuffixes"
    """Whether names keep characters that only Prometheus 3 reads, and whether unit and `_total` are put at their end. A
    scraper that does not ask for `escaping=allow-utf-8` gets underscores in any case."""
    resource_to_telemetry_conversion: ResourceToTelemetry = ResourceToTelemetry()
    """Which attributes of the resource become labels."""
    drop_labels: tuple[str, ...] = (
        "session.id",
        "*.session.id",
        "*.sessionId",
        "*.sessionKey",
        "session_id",
        "conversation.id",
        "gen_ai.conversation.id",
        "prompt.id",
        "process.*",
        "service.instance.id",
        "host.id",
        "container.id",
        "k8s.pod.uid",
        "user.id",
        "user.account_uuid",
        "user.account_id",
        "user.email",
        "installation.id",
    )
    """Attributes that never become labels, as keys, or with one `*` at the start or the end: series of senders that
    differ only in these are added up. Attributes that the registry says identify something or hold content (prompts,
    commands) never become labels either."""
    directories: tuple[Path, ...] = ()
    """Folders with your own semantic-convention files, as in the processor `semconv`: they say which attributes have
    labels, and which identify something."""
    max_series_per_metric: Annotated[int, Field(ge=1)] = 2000
    """Label sets of one metric. What comes after is added up in the series `otel_metric_overflow="true"`; of gauges it
    is dropped."""
    max_series: Annotated[int, Field(ge=1)] = 100_000
    """Series of all metrics together, counted as Prometheus does: each bucket of a histogram is one."""
    max_streams: Annotated[int, Field(ge=1)] = 200_000
    """Senders' streams that are remembered, so that what each adds is counted once; one takes about 100 bytes, with a
    histogram more."""
    zero_first: bool = True
    """Show each scraper a new counter or histogram once as 0, so that `increase()` counts its first value too."""

    @field_validator("endpoint")
    @classmethod
    def _is_address(cls, value: str) -> str:
        parse_endpoint(value)
        return value

    @field_validator("namespace")
    @classmethod
    def _is_name(cls, value: str) -> str:
        if value and not _LABEL.fullmatch(value):
            raise ValueError(f"not a metric name: {value!r} (letters, digits and _, no digit first)")
        return value

    @field_validator("const_labels")
    @classmethod
    def _are_labels(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for name in value:
            if not _LABEL.fullmatch(name) or name.startswith("__"):
                raise ValueError(f"not a label name: {name!r} (letters, digits and _, no digit and no __ first)")
            if name in _OWN_LABELS or name.startswith("otel_scope_"):
                raise ValueError(f"the label {name!r} has a meaning of its own; choose another name")
        return value

    @field_validator("drop_labels")
    @classmethod
    def _are_keys(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for key in value:
            if not key.strip("*") or "*" in key[1:-1] or (key[0] == "*" and key[-1] == "*"):
                raise ValueError(f"not an attribute key: {key!r} (one * may stand at the start or the end)")
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
        clock = settings.clock
        self._epoch_ns = clock.time_ns() - round(clock.monotonic() * 1e9)
        self.store = _make_store(config, self._now_ns() - _BUILD_NS)
        self._scrapers = Scrapers(self.store.register_scraper)
        self._page = _Page(config, settings, self.store, self._scrapers, self._now_ns)
        self._server = _make_server(config, settings, self._page)
        self._expiry: asyncio.Task[None] | None = None
        self._notes = settings.telemetry.counter(
            "otelcol_exporter_prometheus_notes",
            description="What the series store noticed without dropping a data point, by reason.",
            labels=("exporter", "reason"),
        )
        settings.telemetry.gauge(
            "otelcol_exporter_prometheus_series",
            lambda: {(settings.id,): self.store.stats()["lines"]},
            description="Series held, counted as max_series does.",
            labels=("exporter",),
        )

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens; after `start` with the real port."""
        return self._server.endpoint

    def _now_ns(self) -> int:
        """Unix time that never jumps: expiry must not follow a clock that is set."""
        return self._epoch_ns + round(self.settings.clock.monotonic() * 1e9)

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
        ingest = partial(self.store.ingest, batch, self._now_ns())
        self._count(await asyncio.to_thread(ingest) if batch.size_bytes > _OFFLOAD_BYTES else ingest())

    def _count(self, ingested: Ingested) -> None:
        counts = self.settings.counts[Signal.METRICS]
        counts.sent += ingested.kept
        for reason, points in ingested.dropped.items():
            counts.dropped[reason] += points
        for reason, times in ingested.notes.items():
            self._notes.add(times, self.settings.id, reason)

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(min(60.0, self.config.metric_expiration / 2))
            await asyncio.to_thread(self.store.expire, self._now_ns())


def _make_store(config: PrometheusConfig, epoch_ns: int) -> SeriesStore:
    registry = load(config.directories)
    never = [key for key, attribute in registry.attributes.items() if attribute.identifies or attribute.content]
    conversion = config.resource_to_telemetry_conversion
    return SeriesStore(
        epoch_ns=epoch_ns,
        namespace=config.namespace,
        const_labels=tuple(config.const_labels.items()),
        send_timestamps=config.send_timestamps,
        created_timestamps=config.created_timestamps,
        without_scope_info=config.without_scope_info,
        translation_strategy=config.translation_strategy,
        drop_labels=(*config.drop_labels, *never),
        given_labels=[(key, attribute.label) for key, attribute in registry.canonical.items() if attribute.label],
        resource_labels=conversion.enabled,
        exclude_service_attributes=conversion.exclude_service_attributes,
        metric_expiration_ns=round(config.metric_expiration * 1e9),
        max_series_per_metric=config.max_series_per_metric,
        max_series=config.max_series,
        max_streams=config.max_streams,
        zero_first=config.zero_first,
    )


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
