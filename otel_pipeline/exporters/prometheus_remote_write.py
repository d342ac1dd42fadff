"""Write metrics to Prometheus, Mimir, Thanos or VictoriaMetrics by the remote-write protocol.

    exporters:
      prometheus_remote_write:
        endpoint: https://mimir.example/api/v1/push

Series are those of the exporter `prometheus`: what several senders count is added up, and a new counter is written as
0 just before its first value, so that `increase()` misses nothing. While the peer is away requests wait in the queue;
when that is full, changes wait in the series, whose totals stay exact. What was written is kept in the data directory,
so that a restart is no reset for the peer (`CheckpointOptions`); requests that waited are made up for by later ones.
"""

import asyncio
import contextlib
import math
import socket
from collections import deque
from dataclasses import replace
from functools import partial
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from otel_pipeline.component import Exporter, Settings
from otel_pipeline.errors import PermanentError, RetryableError, TooLargeError
from otel_pipeline.helpers.headers import HttpHeaders
from otel_pipeline.helpers.http_peer import HttpAnswer, HttpPeer
from otel_pipeline.helpers.otlp_response import retry_after_seconds
from otel_pipeline.helpers.peer_endpoint import HttpUrl, is_link_local
from otel_pipeline.helpers.retry import Rejection, Retry, RetryOptions
from otel_pipeline.helpers.sending_queue import BatchOptions, QueueOptions, SendingQueue
from otel_pipeline.helpers.series_store import ExternalLabels, SeriesIntake, SeriesOptions
from otel_pipeline.helpers.tls import ClientTls
from otel_pipeline.options import Duration, Options
from otel_pipeline.pdata import Batch, Signal
from otel_pipeline.prometheus import WriteRequest, write_request
from otel_pipeline.telemetry import Counts

__all__ = ["PrometheusRemoteWrite", "PrometheusRemoteWriteConfig"]

_V1, _V2 = "prometheus.WriteRequest", "io.prometheus.write.v2.Request"
_HEADERS = {
    _V1: {"content-type": "application/x-protobuf", "x-prometheus-remote-write-version": "0.1.0"},
    _V2: {"content-type": f"application/x-protobuf;proto={_V2}", "x-prometheus-remote-write-version": "2.0.0"},
}
_KINDS = ("samples", "histograms", "exemplars")


class Enabled(Options):
    """A part that can be left out."""

    enabled: bool = True
    """Whether it is written."""


class WriteQueue(Options):
    """Requests that wait until the peer has taken those before them; one is under way at a time, since samples of a
    series must come in order."""

    queue_size: int = Field(128 * 1024 * 1024, ge=16 * 1024 * 1024)
    """Bytes of metrics that fit. When it is full, nothing is taken out of the series until there is room."""


class WriteRetry(RetryOptions):
    """What to do when the peer cannot take a request now: try again after a growing, jittered time."""

    initial_interval: Duration = 1.0
    """Wait before the second try."""
    max_elapsed_time: Duration = 0.0
    """How long to go on before the request is dropped; 0 = for ever, until the peer takes or refuses it."""


class PrometheusRemoteWriteConfig(SeriesOptions):
    """Where metrics are written, and which."""

    endpoint: HttpUrl = ""
    """URL of the receiver, with its path: `/api/v1/write` (Prometheus, VictoriaMetrics), `/api/v1/push` (Mimir)."""
    headers: HttpHeaders = Field(default_factory=dict)
    """Sent with each request, such as `authorization`, or `x-scope-orgid` for Mimir."""
    tls: ClientTls = ClientTls()
    """For https endpoints."""
    timeout: Duration = Field(30.0, gt=0)
    """How long one try may take, from connecting to the end of the answer."""
    external_labels: ExternalLabels = {}
    """Labels of every series. An attribute that would have the same name becomes `exported_<name>`. Where there is no
    `instance` among them it is this machine's name, so that what two gateways write stays apart and adds up; give your
    own where machines change their names, and an empty one to leave it out."""
    protobuf_message: Literal["io.prometheus.write.v2.Request", "prometheus.WriteRequest"] = (
        "io.prometheus.write.v2.Request"
    )
    """Version 2 or 1 of the protocol. A peer that turns out not to read version 2 gets version 1."""
    write_interval: Duration = Field(15.0, gt=0)
    """How often the series that changed are written."""
    repeat_interval: Duration = Field(60.0, gt=0)
    """A series that does not change is written again after this time: queries look back five minutes."""
    send_native_histograms: bool = True
    """Write exponential histograms as native histograms, which the peer must have enabled; else as classic ones. Set it
    to false for a peer that does not know them: VictoriaMetrics 1.79 answers that all is well, and leaves them out."""
    send_metadata: bool = True
    """Write type, help and unit of each metric."""
    target_info: Enabled = Enabled()
    """The series `target_info`, which has the other attributes of each resource."""
    max_samples_per_send: int = Field(5000, ge=1)
    """Series of one request, each bucket of a histogram counted as one."""
    max_batch_size_bytes: int = Field(3_000_000, ge=100_000)
    """No request is larger, before compression; a larger one is cut."""
    retry_on_failure: WriteRetry = WriteRetry()
    """Waiting and trying again, on 429, 5xx and where there is no answer."""
    remote_write_queue: WriteQueue = WriteQueue()
    """What waits for the peer."""
    allow_link_local: bool = False
    """Allow an endpoint in 169.254.0.0/16 or fe80::/10, where clouds keep their metadata service."""

    @model_validator(mode="after")
    def _check_endpoint(self) -> "PrometheusRemoteWriteConfig":
        if not self.endpoint:
            raise ValueError("needs endpoint, the URL of the receiver with its path")
        if is_link_local(urlsplit(self.endpoint).hostname or "") and not self.allow_link_local:
            raise ValueError("the endpoint is a link-local address; set allow_link_local if that is meant")
        return self


class PrometheusRemoteWrite(Exporter):
    """A series store whose changes are written to a peer. Data points count as sent when the store has them."""

    type = "prometheus_remote_write"
    aliases = ("prometheusremotewrite",)
    signals = frozenset({Signal.METRICS})
    Config = PrometheusRemoteWriteConfig
    config: PrometheusRemoteWriteConfig

    def __init__(self, config: PrometheusRemoteWriteConfig, settings: Settings) -> None:
        super().__init__(config, settings)
        labels = {"instance": socket.gethostname(), **config.external_labels}
        self._intake = SeriesIntake(config, settings, labels, collected="cumulative")
        self._peer = HttpPeer([config.endpoint], config.headers, config.tls, config.timeout)
        self._message: str = config.protobuf_message
        self._confirmed = False
        """The peer has answered as only version 2 does."""
        # What the queue holds are points of the store, not items that came in.
        out = replace(settings, counts={signal: Counts() for signal in self.signals})
        self._out = out.counts[Signal.METRICS]
        self._retry = Retry(config.retry_on_failure, out, self._write)
        self._queue = SendingQueue(_queue_options(config.remote_write_queue), out, self._retry.deliver)
        self._waiting: deque[Batch] = deque()
        self._collecting: asyncio.Task[None] | None = None
        self._show()

    def _show(self) -> None:
        counter = self.settings.telemetry.counter
        self._written = counter(
            "otelcol_exporter_prometheus_remote_write_written",
            description="Samples, native histograms and exemplars that the peer has taken.",
            labels=("exporter", "kind"),
        )
        self._refused = counter(
            "otelcol_exporter_prometheus_remote_write_refused",
            description="Samples, native histograms and exemplars that the peer has refused for good, by its status.",
            labels=("exporter", "kind", "status"),
        )
        self.settings.telemetry.gauge(
            "otelcol_exporter_prometheus_remote_write_dropped_points",
            lambda: {(self.settings.id, reason): points for reason, points in self._out.dropped.items()},
            description="Points of series that were given up, by reason; counters are made up for by the next write.",
            labels=("exporter", "reason"),
            grows=True,
        )

    async def start(self) -> None:
        """Prepares the client, and continues the series of the last run; raises ConfigError for certificates that
        cannot be used. Connects later."""
        self._peer.open(f"exporters::{self.settings.id}::tls", keepalive_connections=1)
        await self._intake.open()
        self._collecting = asyncio.create_task(self._collect_regularly(), name=f"{self.settings.id} collecting")

    async def consume(self, batch: Batch) -> None:
        """Puts the batch into the store; it is written within the interval."""
        await self._intake.ingest(batch)

    async def shutdown(self) -> None:
        """Writes what changed, each request once; being cancelled ends that, and what is left counts as dropped."""
        if self._collecting is not None:
            self._collecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._collecting
            self._collecting = None
            await self._collect(repeat_seconds=math.inf)
        self._retry.close()
        try:
            await self._queue.shutdown()
        finally:
            while self._waiting:
                self._out.dropped["shutdown"] += self._waiting.popleft().items
            try:
                await self._peer.close()
            finally:
                await self._intake.close()

    async def _collect_regularly(self) -> None:
        while True:
            await asyncio.sleep(self.config.write_interval)
            await self._collect(repeat_seconds=self.config.repeat_interval)

    async def _collect(self, *, repeat_seconds: float) -> None:
        """Queues what changed, where there is room for it."""
        if not self._queue_waiting():
            return
        config = self.config
        collect = partial(
            self._intake.collect,
            repeat_seconds=repeat_seconds,
            zero_seconds=config.write_interval,
            max_samples=config.max_samples_per_send,
            targets=config.target_info.enabled,
        )
        self._waiting.extend(await asyncio.to_thread(collect))
        self._queue_waiting()

    def _queue_waiting(self) -> bool:
        """Whether all that was collected is queued."""
        while self._waiting:
            batch = self._waiting[0]
            try:
                self._queue.offer(batch)
            except RetryableError:
                return False
            except TooLargeError:
                self._out.dropped["too_large"] += batch.items
            self._waiting.popleft()
        return True

    async def _write(self, batch: Batch) -> Rejection | None:
        """One try. Raises ConsumeError where the peer did not take it."""
        message = self._message
        encode = partial(
            write_request,
            batch,
            1 if message == _V1 else 2,
            native_histograms=self.config.send_native_histograms,
            metadata=self.config.send_metadata,
            max_bytes=self.config.max_batch_size_bytes,
        )
        request = await asyncio.to_thread(encode)
        if request is None:
            raise TooLargeError(f"over max_batch_size_bytes ({self.config.max_batch_size_bytes})")
        headers = self._peer.headers | _HEADERS[message] | {"content-encoding": "snappy"}
        answer = await self._peer.post(self.config.endpoint, request.body, headers)
        if message == _V2 and self._reads_only_v1(answer):
            self._message = _V1
            self.settings.log.warning("the peer does not read remote write 2.0: it gets version 1.0 from now on")
            return await self._write(batch)
        return self._judge(answer, request, message)

    def _reads_only_v1(self, answer: HttpAnswer) -> bool:
        """Whether an answer to version 2 is that of a peer which does not know it. Source: Remote-Write 2.0, "Required
        Written Response Headers" and "Unsupported Request Content"."""
        knows = any(name.startswith("x-prometheus-remote-write-") for name in answer.headers)
        self._confirmed |= knows
        if knows or answer.status == 415:
            return not knows
        return 200 <= answer.status < 300 or (answer.status == 400 and not self._confirmed)

    def _judge(self, answer: HttpAnswer, request: WriteRequest, message: str) -> Rejection | None:
        """Counts what was written, and raises ConsumeError where a request was not taken."""
        status = answer.status
        taken = 200 <= status < 300
        text = answer.body[:1024].decode("utf-8", "replace")
        said = self._peer.describe(self.config.endpoint, answer, text)
        if status == 429 or status >= 500:
            now = self.settings.clock.time_ns()
            raise RetryableError(said, retry_after=retry_after_seconds(answer.headers.get("retry-after"), now))
        if status == 413:
            raise TooLargeError(said)
        missing = 0
        for kind in _KINDS:
            sent = getattr(request, kind)
            written = _written(answer, kind) if message == _V2 else sent * taken
            self._written.add(min(written, sent), self.settings.id, kind)
            if written < sent:
                missing += sent - written
                self._refused.add(sent - written, self.settings.id, kind, str(status))
        if not taken:
            raise PermanentError(said)
        return Rejection(0, f"{missing} samples, histograms and exemplars were not written") if missing else None


def _queue_options(queue: WriteQueue) -> QueueOptions:
    """One request at a time, each as it was collected."""
    return QueueOptions(num_consumers=1, queue_size=queue.queue_size, sizer="bytes", batch=BatchOptions(min_size=0))


def _written(answer: HttpAnswer, kind: str) -> int:
    """What a peer says it has written; nothing where it does not say."""
    value = answer.headers.get(f"x-prometheus-remote-write-{kind}-written", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else 0
