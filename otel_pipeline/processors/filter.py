"""Drops spans, metrics and log records that match a condition."""

import json
from typing import Any, Self

from pydantic import model_validator

from otel_pipeline.component import Options, Processor, Settings
from otel_pipeline.options import Duration
from otel_pipeline.pdata import Batch, ConditionPlan, Signal, drop_matching

__all__ = ["Condition", "Filter", "FilterConfig"]

Scalar = bool | int | str


class Match(Options):
    """How a value may look, beside a plain literal or a list of literals. Give one of these, or a range."""

    glob: str | None = None
    """The whole text, with `*` for any text and `?` for one character."""
    regex: str | None = None
    """A regular expression found anywhere in the text; anchor it with ^ and $."""
    present: bool | None = None
    """Whether there is such an attribute at all."""
    at_least: float | None = None
    """The number is this or greater."""
    below: float | None = None
    """The number is less than this."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        kinds = [self.glob is not None, self.regex is not None, self.present is not None]
        if sum([*kinds, self.at_least is not None or self.below is not None]) != 1:
            raise ValueError("give one of glob, regex, present, or at_least and below")
        return self


Matcher = Scalar | tuple[Scalar, ...] | Match


class DurationRange(Options):
    """A range of durations."""

    at_least: Duration | None = None
    """This long or longer."""
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
        if not _native(self):
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
    """The parts that are written, each with its matcher as plans write it (native/src/matcher.rs)."""
    parts: dict[str, Any] = {}
    for name in condition.model_fields_set:
        value = getattr(condition, name)
        if isinstance(value, dict):
            parts[name] = {key: _matcher(matcher) for key, matcher in value.items()}
        elif value is not None:
            parts[name] = _matcher(value)
    return parts


def _matcher(matcher: Matcher | DurationRange) -> dict[str, Any]:
    match matcher:
        case tuple():
            return {"any": [_matcher(one) for one in matcher]}
        case DurationRange() | Match(glob=None, regex=None, present=None):
            return {"range": [matcher.at_least, matcher.below]}
        case Match():
            return matcher.model_dump(exclude_none=True)
    return {"literal": matcher}


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
