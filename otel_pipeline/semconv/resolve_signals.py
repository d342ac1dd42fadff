"""From definitions of metrics and events to `Signal`."""

from collections.abc import Iterator
from typing import Any, Literal, cast, get_args

from otel_pipeline.semconv import format as files
from otel_pipeline.semconv.conditions import Condition
from otel_pipeline.semconv.references import References
from otel_pipeline.semconv.signals import RequirementLevel, Signal, read_deprecated

__all__ = ["resolve_signals"]


def resolve_signals(references: References) -> tuple[Signal, ...]:
    """All metrics, then all events, in the order of the files."""
    metrics = references.section("metrics").values()
    events = references.section("events").values()
    return (
        *(_signal("metric", entry.value, references) for entry in metrics),
        *(_signal("event", entry.value, references) for entry in events),
    )


def _signal(
    kind: Literal["metric", "event"], value: files.MetricDef | files.EventDef, references: References
) -> Signal:
    metric = value if isinstance(value, files.MetricDef) else None
    notes = value.annotations.otel_pipeline
    asked = notes.match.name if notes else None
    return Signal(
        kind=kind,
        name=value.name,
        aliases=tuple(name for name in _literals(asked) if name != value.name),
        instrument=metric.instrument if metric else "",
        unit=metric.unit if metric else "",
        brief=value.brief,
        stability=value.stability,
        deprecated=read_deprecated(value.deprecated),
        attributes={ref.ref or "": _level(ref.requirement_level) for ref in references.flat(value.attributes)},
    )


def _literals(condition: Condition | None) -> Iterator[str]:
    if condition is not None:
        if isinstance(condition.literal, str):
            yield condition.literal
        for one in condition.any_of:
            yield from _literals(one)


def _level(written: Any) -> RequirementLevel:
    """`required`, or `{conditionally_required: when}`; a reference without a level is recommended."""
    level = next(iter(written), "") if isinstance(written, dict) else written
    return cast("RequirementLevel", level) if level in get_args(RequirementLevel) else "recommended"
