"""What the native aggregator hands out one by one instead of adding it up: stage runs and costs, for those who follow
requirements."""

from typing import Any

from otel_pipeline.semconv.plan_parts import domain_plan
from otel_pipeline.semconv.registry import Registry

__all__ = ["COST_LABELS", "RUN_LABELS", "row_plans"]

RUN_LABELS = (
    "sdlc.project.id",
    "sdlc.requirement.id",
    "sdlc.stage.name",
    "sdlc.outcome",
    "sdlc.requirement.class",
    "deployment.environment.name",
    "sdlc.rollback.reason",
)
"""Attributes of a row of `stage_runs`, in order; its value is the duration in ns, its time the end."""

COST_LABELS = RUN_LABELS[:2]
"""Attributes of a row of `requirement_costs`; its value is in USD."""


_ROLLBACK: dict[str, Any] = {
    **dict.fromkeys(("resource", "scope_attributes", "kinds", "statuses"), ()),
    **dict.fromkeys(("scope_name", "scope_version", "name", "event"), None),
    "attributes": [("sdlc.rollback.reason", {"present": True})],
}


def row_plans(registry: Registry) -> list[dict[str, Any]]:
    """Entries for the key `metrics` of the aggregator's plan. Rollbacks count as runs wherever they happen."""
    return [
        {
            "name": "stage_runs",
            "unit": "ns",
            "instrument": "rows",
            "labels": [_label(registry, key) for key in RUN_LABELS],
            "derivations": [
                {"source": "stage_runs", "value": "duration"},
                {"source": "spans", "value": "duration", "selector": _ROLLBACK},
            ],
        },
        {
            "name": "requirement_costs",
            "unit": "USD",
            "instrument": "rows",
            "labels": [_label(registry, key) for key in COST_LABELS],
            "derivations": [{"source": "usage", "value": "cost"}],
        },
    ]


def _label(registry: Registry, key: str) -> dict[str, Any]:
    """Empty where there is no value, but for the project, which metrics call `unknown` then."""
    attribute = registry.attributes[key]
    plan: dict[str, Any] = {"name": key, "from": {"attributes": [key]}}
    if not attribute.canonical:
        plan["from"] = {"attributes": [key, *attribute.aliases]}
        plan["domain"] = domain_plan(attribute)
    if key == "sdlc.project.id":
        plan["default"] = attribute.default
    return plan
