"""Adds up what senders count into series, as the exporter `prometheus` does, and hands these on as OTLP.

    connectors:
      metric_series:

For databases that take metrics by OTLP: Prometheus, Mimir and VictoriaMetrics want cumulative metrics from one writer,
while agents send deltas, each session its own. Names, labels and values are those of the page at /metrics. What was
handed on is kept in the data directory, so that a restart is no reset for the database (`CheckpointOptions`).
"""

import math
import socket
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from otel_pipeline.component import Connector, Settings
from otel_pipeline.helpers.series_store import ExternalLabels, SeriesIntake, SeriesOptions
from otel_pipeline.options import Duration
from otel_pipeline.pdata import Batch, Signal, merge

__all__ = ["MetricSeries", "MetricSeriesConfig"]


class MetricSeriesConfig(SeriesOptions):
    """Options of `metric_series`."""

    external_labels: ExternalLabels = {}
    """Labels of every series. An attribute that would have the same name becomes `exported_<name>`. Where there is no
    `instance` among them it is this machine's name, so that what two gateways send stays apart and adds up; give your
    own where machines change their names, and an empty one to leave it out."""
    aggregation_temporality: Literal["cumulative", "delta"] = "cumulative"
    """Whether counters and histograms are handed on as they are, or as what they have gained since the last time, which
    is nothing where nothing changed; gauges, summaries and sums that can fall are handed on as they are. Of what a
    cumulative sender had counted before the gateway first began, only what it gains counts.

    Increments that are refused for now wait, and those that come meanwhile are added up. Each is handed on at most
    once: one that is refused for good is lost, and counted as `flush_failed`; so is what was on its way when a gateway
    was killed. Prometheus 3 takes increments only with `--enable-feature=otlp-deltatocumulative`."""
    metrics_flush_interval: Duration = Field(15.0, gt=0)
    """How often the series that changed are handed on."""
    repeat_interval: Duration = Field(60.0, gt=0)
    """A series that does not change is handed on again after this time: queries look back five minutes. An increment
    never is."""
    target_info: bool = False
    """Hand on the gauge `target_info` too, which has the other attributes of each resource."""


class MetricSeries(Connector):
    """A series store that gives its changes as metrics. A series that expires ends with the flag no-recorded-value,
    where it is cumulative or a gauge."""

    type = "metric_series"
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.METRICS})
    produces: ClassVar[frozenset[Signal]] = frozenset({Signal.METRICS})
    Config = MetricSeriesConfig
    config: MetricSeriesConfig

    def __init__(self, config: MetricSeriesConfig, settings: Settings) -> None:
        super().__init__(config, settings)
        self.flush_interval = config.metrics_flush_interval
        labels: Mapping[str, str] = {"instance": socket.gethostname(), **config.external_labels}
        self._intake = SeriesIntake(config, settings, labels, collected=config.aggregation_temporality)

    async def start(self) -> None:
        """Continues the series of the last run."""
        await self._intake.open()

    async def shutdown(self) -> None:
        """Lets go of the file by which series continue."""
        await self._intake.close()

    def process(self, batch: Batch) -> None:
        """Takes in data points; what they change leaves with `flush`."""
        self._intake.ingest_now(batch)

    def flush(self, now_unix_ns: int) -> Batch | None:
        """The series that changed since the last call, and those that are to be repeated."""
        batches = self._intake.collect(
            repeat_seconds=math.inf if self.draining else self.config.repeat_interval,
            zero_seconds=self.config.metrics_flush_interval,
            max_samples=1_000_000,
            targets=self.config.target_info,
        )
        return merge(batches) if batches else None
