"""Stage and operation metrics from spans, as the semantic-convention files define them."""

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from otel_pipeline import semconv
from otel_pipeline.component import Connector, Options, Settings
from otel_pipeline.helpers.span_aggregation import SpanAggregation, nanoseconds
from otel_pipeline.options import Duration
from otel_pipeline.pdata import Batch, Signal

__all__ = ["StageMetrics", "StageMetricsConfig"]


class StageMetricsConfig(Options):
    """Options of `stage_metrics`."""

    directories: tuple[Path, ...] = ()
    """Folders with semantic-convention files that are laid over the shipped ones, in order. Give the same list as for
    the `semconv` processor, whose attributes this connector reads."""
    decision_wait: Duration = 30.0
    """How long a span waits for the rest of its trace before it is counted. A span whose missing parent could still
    make a difference (is this a run of the stage, or only a part of one?) waits until its trace has been idle for so
    long; a span whose answer is certain waits from its own arrival."""
    max_wait: Duration = 3600.0
    """How long a trace may be idle while the missing parent of a span runs in the same process (the sender says so in
    the span's flags): such a parent arrives when it ends, as a stage of two hours comes hours after its children. Also
    how long counted traces are remembered for late and repeated spans."""
    max_spans: int = Field(default=200_000, ge=1)
    """Spans remembered, waiting or counted: 110 bytes each in traces of many spans, 310 in traces of one. Over that,
    the oldest counted traces are forgotten; where there are none, the traces idle for longest are counted early."""
    metrics_flush_interval: Duration = Field(default=5.0, gt=0)
    """How often the series that changed are handed on."""
    aggregation_cardinality_limit: int = Field(default=2000, ge=0)
    """Series of each metric. Observations of further ones are counted in the series `otel_metric_overflow="true"`, so
    that totals stay exact. 0 = no limit."""
    series_expiration: Duration = 0.0
    """Series without a new observation for so long are forgotten, and start again when one comes. 0 = never."""


class StageMetrics(Connector):
    """Counts stage runs, what happens inside them, and errors where they begin.

    A stage run is a span that a rule marks as one (`sdlc.stage.run`), or the topmost span of its stage in its trace.
    Project, stage and agent come from the nearest ancestor that has them; the model of a stage run is that of most
    model calls inside. An error is counted at the failed span none of whose children failed.
    """

    type = "stage_metrics"
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.TRACES})
    produces: ClassVar[frozenset[Signal]] = frozenset({Signal.METRICS})
    Config = StageMetricsConfig

    def __init__(self, config: StageMetricsConfig, settings: Settings) -> None:
        super().__init__(config, settings)
        self.flush_interval = config.metrics_flush_interval
        self._plan = plan(semconv.load(config.directories), config)
        self._aggregation = SpanAggregation(self._plan, settings)

    def process(self, batch: Batch) -> None:
        """Takes in spans; what comes of them leaves with `flush`."""
        self._aggregation.update(batch)

    def flush(self, now_unix_ns: int) -> Batch | None:
        """The series that changed since the last call."""
        return self._aggregation.flush(now_unix_ns, everything=self.draining)

    def stale(self) -> bool:
        """Whether the semantic-convention files ask for other metrics than when this was built."""
        return plan(semconv.load(self.config.directories), self.config) != self._plan


def plan(registry: semconv.Registry, config: StageMetricsConfig) -> dict[str, Any]:
    """The plan for the native aggregator (`_native.pyi`): the registry's metrics, bound late."""
    inherited = {key: canonical for key, canonical in _canonical(registry).items() if canonical.inherit}
    unlabelled = [key for key, canonical in inherited.items() if canonical.label is None]
    return {
        "metrics": [_metric(metric) for metric in registry.metrics.values()],
        "exemplar_attributes": [{"name": key, "from": {"attributes": [key]}} for key in unlabelled[:2]],
        "cardinality_limit": config.aggregation_cardinality_limit,
        "series_expiration_ns": nanoseconds(config.series_expiration),
        "late_binding": {
            "stage": "sdlc.stage.name",
            "model": "sdlc.model.name",
            "outcome": "sdlc.outcome",
            "stage_run": "sdlc.stage.run",
            "inherited": list(inherited),
            "success": "success",
            "failure": "failure",
            "decision_wait_ns": nanoseconds(config.decision_wait),
            "max_wait_ns": nanoseconds(config.max_wait),
            "max_spans": config.max_spans,
        },
    }


def _canonical(registry: semconv.Registry) -> dict[str, semconv.Canonical]:
    return {key: attribute.canonical for key, attribute in registry.attributes.items() if attribute.canonical}


def _metric(metric: semconv.Metric) -> dict[str, Any]:
    return {
        "name": metric.name,
        "description": metric.brief,
        "unit": metric.unit,
        "instrument": metric.instrument,
        "derivations": [{"source": metric.source, "value": metric.value}],
        "buckets": metric.buckets,
        "labels": [
            {"name": label.name, "from": {"attributes": [label.attribute]}, "default": label.default}
            for label in metric.labels
        ],
        "max_exemplars": len(metric.buckets) + 1 if metric.exemplars else 0,
    }
