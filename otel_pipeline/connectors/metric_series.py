"""Adds up what senders count into series, as the exporter `prometheus` does, and hands these on as OTLP.

    connectors:
      metric_series:

For databases that take metrics by OTLP: Prometheus, Mimir and VictoriaMetrics want cumulative metrics from one writer,
while agents send deltas, each session its own. Names, labels and values are those of the page at /metrics.
"""

import socket
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from otel_pipeline.component import Connector, Settings
from otel_pipeline.helpers.series_store import ExternalLabels, SeriesIntake, SeriesOptions
from otel_pipeline.options import Duration
from otel_pipeline.pdata import Batch, Signal, merge

__all__ = ["MetricSeries", "MetricSeriesConfig"]

_NEVER_NS = 2**62


class MetricSeriesConfig(SeriesOptions):
    """Options of `metric_series`."""

    external_labels: ExternalLabels = {}
    """Labels of every series. An attribute that would have the same name becomes `exported_<name>`. Where there is no
    `instance` among them it is this machine's name, so that what two gateways send stays apart and adds up; give your
    own where machines change their names, and an empty one to leave it out."""
    metrics_flush_interval: Duration = Field(15.0, gt=0)
    """How often the series that changed are handed on."""
    repeat_interval: Duration = Field(60.0, gt=0)
    """A series that does not change is handed on again after this time: queries look back five minutes."""
    target_info: bool = False
    """Hand on the gauge `target_info` too, which has the other attributes of each resource."""


class MetricSeries(Connector):
    """A series store that gives its changes as cumulative metrics. A series that expires ends with the flag
    no-recorded-value."""

    type = "metric_series"
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.METRICS})
    produces: ClassVar[frozenset[Signal]] = frozenset({Signal.METRICS})
    Config = MetricSeriesConfig
    config: MetricSeriesConfig

    def __init__(self, config: MetricSeriesConfig, settings: Settings) -> None:
        super().__init__(config, settings)
        self.flush_interval = config.metrics_flush_interval
        labels: Mapping[str, str] = {"instance": socket.gethostname(), **config.external_labels}
        self._intake = SeriesIntake(config, settings, labels)

    def process(self, batch: Batch) -> None:
        """Takes in data points; what they change leaves with `flush`."""
        self._intake.ingest_now(batch)

    def flush(self, now_unix_ns: int) -> Batch | None:
        """The series that changed since the last call, and those that are to be repeated."""
        batches = self._intake.store.collect(
            self._intake.now_ns(),
            repeat_ns=_NEVER_NS if self.draining else round(self.config.repeat_interval * 1e9),
            zero_ns=round(self.config.metrics_flush_interval * 1e9),
            max_samples=1_000_000,
            targets=self.config.target_info,
        )
        return merge(batches) if batches else None
