"""Delivery metrics from spans, log records and other metrics, as the semantic-convention files define them."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from otel_pipeline import semconv
from otel_pipeline.component import Connector, Options, Settings
from otel_pipeline.helpers.span_aggregation import SpanAggregation, nanoseconds
from otel_pipeline.journeys.follow import Follower, flow_rules
from otel_pipeline.options import Duration
from otel_pipeline.pdata import Batch, Signal

__all__ = ["StageMetrics", "StageMetricsConfig", "plan"]


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
    the oldest counted traces are forgotten; where there are none, the traces idle for longest are counted early. As
    many model requests, and as many sessions, are remembered so that their tokens count once."""
    metrics_flush_interval: Duration = Field(default=5.0, gt=0)
    """How often the series that changed are handed on."""
    aggregation_cardinality_limit: int = Field(default=2000, ge=0)
    """Series of each metric. Observations of further ones are counted in the series `otel_metric_overflow="true"`, so
    that totals stay exact. 0 = no limit."""
    series_expiration: Duration = 0.0
    """Series without a new observation for so long are forgotten, and start again when one comes. 0 = never."""
    requirements: Literal["runs", "journeys"] = "runs"
    """Who tells what happens to requirements (lead time, waiting, rework, cost, age, change lead time). `runs`: the
    stage runs that name one, which are followed here. `journeys`: the receiver `journeys`, through pipelines of log
    records and metrics that end here; it knows the runs as well that only tell a branch, a commit or an image.
    Deployments that fail are counted here in both cases."""
    requirement_idle_timeout: Duration = Field(default=90 * 86400.0, gt=0)
    """A requirement without a stage run for so long is given up: it ends as cancelled."""
    max_requirements: int = Field(default=20_000, ge=1)
    """Requirements that are followed from stage to stage, about 500 bytes each, in memory and in a file of the data
    directory. Over that, those idle for longest are forgotten."""


class StageMetrics(Connector):
    """Makes the metrics of the semantic-convention files: counts stage runs, what happens inside them, errors where
    they begin, log records, and what senders count themselves.

    A stage run is a span that a rule marks as one (`sdlc.stage.run`), or the topmost span of its stage in its trace.
    Project, stage and agent come from the nearest ancestor that has them; the model of a stage run is that of most
    model calls inside. An error is counted at the failed span none of whose children failed. A log record that names
    its span takes labels like a child of that span, and waits like one; any other is counted when it arrives.

    Runs of one requirement are followed from stage to stage, over traces and restarts: waiting, rework, lead time,
    deployments that failed and were repaired become events (`semconv/registry/flow.yaml`), and metrics.

    Tokens and cost count once, whatever spans, log records and data points tell them: a request by its id, after
    `decision_wait`; of a session that tells its usage in several ways one of these. What the sender tells of the cost
    goes before the price list. A missing price is counted by model, and is never zero.

    Of a cumulative sender that was running before the gateway, what it gains from its first point on is counted; how
    many such streams there were is the finding `stream_met_running`.

    Metrics that come in are passed on, except those that have the name of a derived metric and become a part of it.
    """

    type = "stage_metrics"
    signals: ClassVar[frozenset[Signal]] = frozenset(Signal)
    produces: ClassVar[frozenset[Signal]] = frozenset({Signal.METRICS})
    Config = StageMetricsConfig

    def __init__(self, config: StageMetricsConfig, settings: Settings) -> None:
        super().__init__(config, settings)
        self.flush_interval = config.metrics_flush_interval
        registry = semconv.load(config.directories)
        self._plan = plan(registry, config)
        self._aggregation = SpanAggregation(self._plan, settings)
        self._follower = Follower(
            flow_rules(registry),
            settings.data_dir / "journeys" / f"{settings.id.replace('/', '_')}.sqlite",
            settings.log,
            idle_ns=nanoseconds(config.requirement_idle_timeout),
            limit=config.max_requirements,
            tells_requirements=config.requirements == "runs",
        )

    async def start(self) -> None:
        """Remembers the requirements of the last run."""
        self._follower.load()

    def process(self, batch: Batch) -> Batch | None:
        """Takes in items; what comes of them leaves with `flush`. Metrics of which nothing is made are passed on."""
        return self._aggregation.update(batch)

    def flush(self, now_unix_ns: int) -> Batch | None:
        """The series that changed since the last call."""
        self._follower.take(self._aggregation.take_rows(everything=self.draining))
        for batch in self._follower.tell(now_unix_ns):
            self._aggregation.feed(batch)
        return self._aggregation.flush(now_unix_ns, everything=self.draining)

    def stale(self) -> bool:
        """Whether the semantic-convention files ask for other metrics than when this was built."""
        return plan(semconv.load(self.config.directories), self.config) != self._plan


def plan(registry: semconv.Registry, config: StageMetricsConfig) -> dict[str, Any]:
    """The plan for the native aggregator (`_native.pyi`): the registry's metrics, bound late, and rows."""
    metrics = semconv.metric_plan(registry)
    return {
        **metrics,
        "metrics": [*metrics["metrics"], *semconv.row_plans(registry)],
        "cardinality_limit": config.aggregation_cardinality_limit,
        "series_expiration_ns": nanoseconds(config.series_expiration),
        "late_binding": {
            **semconv.late_binding_plan(registry),
            "decision_wait_ns": nanoseconds(config.decision_wait),
            "max_wait_ns": nanoseconds(config.max_wait),
            "max_spans": config.max_spans,
        },
    }
