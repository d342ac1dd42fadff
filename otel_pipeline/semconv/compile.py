"""From a `Registry` to the plan that the native enrichment pass runs. The pass itself knows no name of any sender."""

import json
from typing import Any

from otel_pipeline._native import SemconvPlan
from otel_pipeline.semconv.attributes import Attribute
from otel_pipeline.semconv.conditions import Scalar, ValueSource
from otel_pipeline.semconv.plan_parts import domain_plan, selector_plan
from otel_pipeline.semconv.registry import Registry
from otel_pipeline.semconv.rules import Rule

__all__ = ["compile_plan", "plan_text"]


def compile_plan(registry: Registry, senders_limit: int = 100) -> SemconvPlan:
    """The plan of a registry, whose findings tell so many senders apart."""
    return SemconvPlan(plan_text(registry), senders_limit)


def plan_text(registry: Registry) -> str:
    """The plan as the JSON text that `SemconvPlan` reads (native/src/enrich/plan.rs)."""
    indexes = {key: index for index, key in enumerate(registry.canonical)}
    senders: list[dict[str, Any]] = []
    compiled = [_rule(rule, registry, indexes, senders) for rule in registry.rules if rule.set]
    attributes = [_attribute(attribute) for attribute in registry.canonical.values()]
    return json.dumps({"attributes": attributes, "senders": senders, "rules": compiled})


def _attribute(attribute: Attribute) -> dict[str, Any]:
    return {
        "key": attribute.key,
        "aliases": attribute.aliases,
        "inherit": attribute.inherit,
        "expected": attribute.expected,
        "domain": domain_plan(attribute),
    }


def _rule(rule: Rule, registry: Registry, indexes: dict[str, int], senders: list[dict[str, Any]]) -> dict[str, Any]:
    sender = None
    if rule.sender is not None:
        written = selector_plan(rule.sender)
        if written not in senders:
            senders.append(written)
        sender = senders.index(written)
    sets = [_set(indexes[key], value, registry) for key, value in rule.set.items()]
    selector = selector_plan(rule.match)
    return {"id": rule.id, "item": rule.item, "sender": sender, "selector": selector, "set": sets}


def _set(attribute: int, value: ValueSource | Scalar, registry: Registry) -> dict[str, Any]:
    source = value if isinstance(value, ValueSource) else ValueSource(value=value)
    return {
        "attribute": attribute,
        "from": _from(source),
        "regex": source.regex,
        "table": list(registry.table(source).items()),
        "override": source.override,
    }


def _from(source: ValueSource) -> Any:
    if source.value is not None:
        return {"value": source.value}
    if source.event is not None:
        return {"event": [source.event, source.attributes]}
    if source.attributes:
        return {"attributes": source.attributes}
    if source.anywhere:
        return {"anywhere": source.anywhere}
    return {"resource": source.resource} if source.resource else "name"
