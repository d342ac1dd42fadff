"""Receiver `prometheus`: scrapes pages of metrics, as Prometheus does, and hands each on as one batch.

receivers:
  prometheus:
    config:
      scrape_configs:
        - job_name: jenkins
          metrics_path: /prometheus/
          static_configs: [{targets: ["127.0.0.1:8080"]}]
"""

import asyncio
import contextlib
import zlib
from collections.abc import Mapping
from urllib.parse import urlsplit

from otel_pipeline.component import Consumer, Receiver, Settings
from otel_pipeline.errors import ConsumeError
from otel_pipeline.helpers.printable import printable
from otel_pipeline.helpers.scrape_http import PageClient, ScrapeError
from otel_pipeline.helpers.scrape_options import ScrapeConfig, ScrapeConfigs, Target, relabel_plan
from otel_pipeline.options import Options
from otel_pipeline.pdata import Signal
from otel_pipeline.prometheus import Scraped, ScrapeTarget

__all__ = ["Prometheus", "PrometheusReceiverConfig"]

_OFFLOAD_BYTES = 1 << 16
"""Larger pages are read in a worker thread."""


class PrometheusReceiverConfig(Options):
    """Options of the receiver `prometheus`."""

    config: ScrapeConfigs
    """What to scrape, under Prometheus' own keys."""


class Prometheus(Receiver):
    """Scrapes every target at its interval; a scrape that fails gives `up` 0."""

    type = "prometheus"
    signals = frozenset({Signal.METRICS})
    Config = PrometheusReceiverConfig
    config: PrometheusReceiverConfig

    def __init__(
        self, config: PrometheusReceiverConfig, settings: Settings, consumers: Mapping[Signal, Consumer]
    ) -> None:
        super().__init__(config, settings, consumers)
        self._findings = settings.telemetry.counter(
            "otelcol_receiver_findings",
            unit="{finding}",
            description="What receivers rejected and repaired inside requests, by reason.",
            labels=("receiver", "signal", "reason"),
        )
        self._clients: list[PageClient] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begins to scrape. Raises ConfigError for certificates that cannot be used."""
        consumer = self.consumers.get(Signal.METRICS)
        if consumer is None:
            return
        for index, job in enumerate(self.config.config.scrape_configs):
            path = f"receivers::{self.settings.id}::config::scrape_configs::{index}"
            client = PageClient(job, path)
            self._clients.append(client)
            for target in job.targets():
                scraper = _Scraper(job, target, client, consumer, self)
                self._tasks.append(asyncio.create_task(scraper.run()))

    async def shutdown(self) -> None:
        """Ends every scrape; a page that is not handed on yet is given up, as if it had never been asked for."""
        tasks, self._tasks = self._tasks, []
        clients, self._clients = self._clients, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in clients:
            await client.close()

    def count(self, scraped: Scraped) -> None:
        """Counts what was refused on a page."""
        for reason, count in scraped.refused.items():
            self._findings.add(count, self.settings.id, Signal.METRICS, reason)


class _Scraper:
    """Scrapes one target, over and over."""

    def __init__(
        self, job: ScrapeConfig, target: Target, client: PageClient, consumer: Consumer, receiver: Prometheus
    ) -> None:
        self._job, self._target, self._client, self._consumer = job, target, client, consumer
        self._receiver = receiver
        self._clock, self._log = receiver.settings.clock, receiver.settings.log
        self._problem = ""
        url = urlsplit(target.url)
        resource = {"server.address": url.hostname or "", "server.port": str(url.port or ""), "url.scheme": url.scheme}
        self._native = ScrapeTarget(
            job=target.job,
            instance=target.instance,
            labels=target.labels,
            external_labels=list(receiver.config.config.for_all.external_labels.items()),
            resource=list(resource.items()),
            relabel=relabel_plan(job.metric_relabel_configs),
            honor_labels=job.honor_labels,
            honor_timestamps=job.honor_timestamps,
            sample_limit=job.sample_limit,
        )

    async def run(self) -> None:
        """Until cancelled. Targets begin at different moments of the interval, the same at every start."""
        interval = self._job.scrape_interval
        offset = interval * (zlib.crc32(self._target.url.encode()) % 1000) / 1000
        await asyncio.sleep(min(offset, 10.0))
        due = self._clock.monotonic()
        while True:
            await self._scrape()
            now = self._clock.monotonic()
            due += interval * (1 + max(0.0, now - due) // interval)
            await asyncio.sleep(due - now)

    async def _scrape(self) -> None:
        time_ns, begin = self._clock.time_ns(), self._clock.monotonic()
        page, page_format, problem = None, "text", ""
        try:
            page, page_format = await self._client.get(self._target.url)
        except ScrapeError as error:
            problem = str(error)
        seconds = self._clock.monotonic() - begin
        if page is not None and len(page) > _OFFLOAD_BYTES:
            scraped = await asyncio.to_thread(self._native.scrape, page, page_format, time_ns, seconds)
        else:
            scraped = self._native.scrape(page, page_format, time_ns, seconds)
        self._receiver.count(scraped)
        self._tell(problem or scraped.problem)
        with contextlib.suppress(ConsumeError):  # counted by the edge; the next scrape tells the same and more
            await self._consumer(scraped.batch)

    def _tell(self, problem: str) -> None:
        """Logs a reason when it is new."""
        if problem == self._problem:
            return
        who = f"{printable(self._target.job)} at {printable(self._target.instance)}"
        if problem:
            self._log.warning("scrape of %s failed: %s", who, problem)
        else:
            self._log.info("scrape of %s works again", who)
        self._problem = problem
