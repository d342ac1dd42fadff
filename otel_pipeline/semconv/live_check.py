"""From a `Registry` to what native live-check compares telemetry with (native/src/live_check/plan.rs)."""

import json
from typing import Any

from otel_pipeline._native import LiveCheck
from otel_pipeline.semconv.attributes import Attribute
from otel_pipeline.semconv.registry import Registry
from otel_pipeline.semconv.signals import Deprecated, Signal

__all__ = ["LEVELS", "LiveCheck", "compile_live_check", "live_check_plan"]

LEVELS = ("violation", "improvement", "information")
"""How bad findings are, the worst first."""


def compile_live_check(registry: Registry, *, max_findings: int = 20_000) -> LiveCheck:
    """A check of telemetry against the registry, with nothing seen yet."""
    return LiveCheck(live_check_plan(registry), max_findings=max_findings)


def live_check_plan(registry: Registry) -> str:
    """The plan as JSON text."""
    metrics = [_signal(signal) for signal in registry.signals if signal.kind == "metric"]
    events = [_signal(signal) for signal in registry.signals if signal.kind == "event"]
    attributes = [_attribute(attribute) for attribute in registry.attributes.values()]
    return json.dumps({"attributes": attributes, "metrics": metrics, "events": events})


def _attribute(attribute: Attribute) -> dict[str, Any]:
    return {
        "key": attribute.key,
        "type": attribute.type,
        "members": [member.value if member.number is None else member.number for member in attribute.members],
        "stability": attribute.stability,
        "deprecated": _deprecated(attribute.deprecated),
        "content": attribute.content is not None,
    }


def _signal(signal: Signal) -> dict[str, Any]:
    return {
        "name": signal.name,
        "aliases": signal.aliases,
        "instrument": signal.instrument,
        "unit": signal.unit,
        "stability": signal.stability,
        "deprecated": _deprecated(signal.deprecated),
        "attributes": list(signal.attributes.items()),
    }


def _deprecated(deprecated: Deprecated | None) -> dict[str, str] | None:
    return {"reason": deprecated.reason, "note": deprecated.note} if deprecated else None
