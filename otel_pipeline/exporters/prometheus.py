"""Shows metrics at /metrics, for Prometheus to scrape.

    exporters:
      prometheus:
        endpoint: 127.0.0.1:9464

Text 0.0.4, OpenMetrics 1.0 with exemplars, or protobuf with native histograms too, as the scraper asks. A new counter
or histogram is shown at 0 first, so that `increase()` misses nothing, and what several senders count is added up
(`SeriesStore` tells the rules). What a page has shown is kept in the data directory, so that counters continue after a
restart (`CheckpointOptions`). The gateway's own metrics stand on the same page.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from pydantic import field_validator, model_validator

from otel_pipeline.component import Exporter, Settings
from otel_pipeline.helpers.endpoint import Endpoint, parse_endpoint
from otel_pipeline.helpers.http_origin import OriginPolicy, local_hosts
from otel_pipeline.helpers.http_server import HttpLimits, HttpServer
from otel_pipeline.helpers.series_store import ConstLabels, SeriesIntake, SeriesOptions
from otel_pipeline.pdata import Batch, Signal
from otel_pipeline.prometheus.page import MetricsPage
from otel_pipeline.prometheus.scrapers import Scrapers

__all__ = ["Prometheus", "PrometheusConfig"]


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
    """Answer OpenMetrics 1.0 to scrapers that prefer it. Exemplars are only there and in protobuf, which a Prometheus
    asks for that reads native histograms."""
    created_timestamps: bool = True
    """Show when each counter and histogram began: in OpenMetrics as `_created` samples, in protobuf as a field."""

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
        self._page = MetricsPage(
            self.store,
            self._scrapers,
            settings.telemetry,
            self._intake.now_ns,
            openmetrics=config.enable_open_metrics,
            utf8=not config.translation_strategy.startswith("Underscore"),
            save=self._intake.save,
        )
        self._server = _make_server(config, settings, self._page)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens; after `start` with the real port."""
        return self._server.endpoint

    async def start(self) -> None:
        """Continues the series of the last run and opens the page. Raises endpoint.BindError."""
        try:
            self._scrapers.restore(await self._intake.open())
            await self._server.start()
        except BaseException:
            await self.shutdown()
            raise
        self._tasks.append(asyncio.create_task(self._expire()))

    async def shutdown(self) -> None:
        """Closes the page, and keeps what is still to be shown."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        try:
            await self._server.shutdown()
        finally:
            await self._intake.close()

    def details(self) -> Mapping[str, Any]:
        """Metrics that do not agree with what has their name already, under `conflicts`."""
        return self._intake.details()

    async def consume(self, batch: Batch) -> None:
        """Puts the batch into the store; it is shown from the next scrape on."""
        await self._intake.ingest(batch)

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(min(60.0, self.config.metric_expiration / 2))
            await asyncio.to_thread(self.store.expire, self._intake.now_ns())


def _make_server(config: PrometheusConfig, settings: Settings, page: MetricsPage) -> HttpServer:
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
