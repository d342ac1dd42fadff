"""Drops spans, metrics and log records that match a condition."""

import json
from typing import Any, Self

from pydantic import model_validator

from otel_pipeline.component import Options, Processor, Settings
from otel_pipeline.options import Duration
from otel_pipeline.pdata import Batch, ConditionPlan, Signal, drop_matching

__all__ = ["Condition", "Filter", "FilterConfig"]

Scalar = bool | int | float | str


class Match(Options):
    """How a value may look, beside a plain literal or a list of literals. Give one of these, or a range."""

    glob: str | None = None
    """The whole text, with `*` for any text and `?` for one character."""
    regex: str | None = None
    """A regular expression found anywhere in the text; anchor it with ^ and $."""
    present: bool | None = None
    """Whether there is such an attribute at all."""
    above: float | None = None
    """The number is greater than this."""
    below: float | None = None
    """The number is less than this."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        kinds = [self.glob is not None, self.regex is not None, self.present is not None]
        if sum([*kinds, self.above is not None or self.below is not None]) != 1:
            raise ValueError("give one of glob, regex, present, or above and below")
        return self


Matcher = Scalar | tuple[Scalar, ...] | Match


class DurationRange(Options):
    """A range of durations."""

    above: Duration | None = None
    """Longer than this."""
    below: Duration | None = None
    """Shorter than this."""


class Condition(Options):
    """Holds where all of its parts hold. What the signal does not have (a metric's duration) never holds."""

    resource: dict[str, Matcher] = {}
    """Attributes of the resource, each with what it must look like."""
    scope: Matcher | None = None
    """The name of the instrumentation scope."""
    name: Matcher | None = None
    """The name of the span or metric, or the event name of the log record."""
    kind: Matcher | None = None
    """The span kind: internal, server, client, producer, consumer."""
    status: Matcher | None = None
    """The span status: unset, ok, error."""
    severity: Matcher | None = None
    """The severity number of the log record: 9 is INFO, 17 is ERROR."""
    body: Matcher | None = None
    """The body of the log record."""
    duration: DurationRange | None = None
    """How long the span took."""
    attributes: dict[str, Matcher] = {}
    """The item's own attributes; a metric matches where one of its data points does."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        written = self.model_dump(mode="python", exclude_none=True, exclude_defaults=True)
        if not written:
            raise ValueError("an empty condition would drop everything")
        ConditionPlan(_plan((self,)))
        return self


class Traces(Options):
    """What is dropped of traces."""

    span: tuple[Condition, ...] = ()
    """A span is dropped where any of these holds."""


class Metrics(Options):
    """What is dropped of metrics."""

    metric: tuple[Condition, ...] = ()
    """A metric is dropped, with all its data points, where any of these holds."""


class Logs(Options):
    """What is dropped of logs."""

    log_record: tuple[Condition, ...] = ()
    """A log record is dropped where any of these holds."""


class FilterConfig(Options):
    """Conditions by signal, as in the Collector but in YAML instead of OTTL."""

    traces: Traces = Traces()
    """Conditions on spans."""
    metrics: Metrics = Metrics()
    """Conditions on metrics."""
    logs: Logs = Logs()
    """Conditions on log records."""


def _plan(conditions: tuple[Condition, ...]) -> str:
    return json.dumps([_native(condition) for condition in conditions])


def _native(condition: Condition) -> dict[str, Any]:
    return condition.model_dump(mode="python", exclude_none=True, exclude_defaults=True)


class Filter(Processor):
    """Drops what matches; the rest keeps its bytes."""

    type = "filter"
    Config = FilterConfig
    drop_reason = "filtered"

    def __init__(self, config: FilterConfig, settings: Settings) -> None:
        super().__init__(config, settings)
        conditions = {
            Signal.TRACES: config.traces.span,
            Signal.METRICS: config.metrics.metric,
            Signal.LOGS: config.logs.log_record,
        }
        self._plans = {str(signal): ConditionPlan(_plan(listed)) for signal, listed in conditions.items() if listed}

    def process(self, batch: Batch) -> Batch | None:
        """The batch without what matches; None where nothing is left."""
        plan = self._plans.get(batch.signal)
        if plan is None:
            return batch
        kept = drop_matching(batch, plan)
        return kept if kept.items else None
