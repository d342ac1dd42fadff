"""From a `Registry` to the plan that the native enrichment pass runs. The pass itself knows no name of any sender."""

import json
from typing import Any

from otel_pipeline._native import SemconvPlan
from otel_pipeline.semconv.conditions import Condition, Scalar, ValueSource
from otel_pipeline.semconv.registry import Attribute, Canonical, Registry, Rule, Selector, fold, is_glob

__all__ = ["compile_plan", "plan_text"]


def compile_plan(registry: Registry) -> SemconvPlan:
    """The plan of a registry."""
    return SemconvPlan(plan_text(registry))


def plan_text(registry: Registry) -> str:
    """The plan as the JSON text that `SemconvPlan` reads (native/src/enrich/plan.rs)."""
    indexes = {key: index for index, key in enumerate(registry.canonical)}
    senders: list[dict[str, Any]] = []
    rules = [_rule(rule, registry, indexes, senders) for rule in registry.rules]
    attributes = [_attribute(attribute, attribute.canonical) for attribute in registry.canonical.values()]
    return json.dumps({"attributes": attributes, "senders": senders, "rules": rules})


def _attribute(attribute: Attribute, canonical: Canonical | None) -> dict[str, Any]:
    assert canonical is not None
    spellings = [(fold(text), member.value) for member in attribute.members for text in (member.value, *member.aliases)]
    return {
        "key": attribute.key,
        "aliases": canonical.aliases,
        "inherit": canonical.inherit,
        "expected": canonical.expected,
        "domain": {
            "boolean": attribute.type == "boolean",
            "members": [pair for pair in spellings if not is_glob(pair[0])],
            "globs": [pair for pair in spellings if is_glob(pair[0])],
            "other": canonical.other,
            "low_cardinality": canonical.low_cardinality,
        },
    }


def _rule(rule: Rule, registry: Registry, indexes: dict[str, int], senders: list[dict[str, Any]]) -> dict[str, Any]:
    sender = None
    if rule.sender is not None:
        written = _selector(rule.sender)
        if written not in senders:
            senders.append(written)
        sender = senders.index(written)
    sets = [_set(indexes[key], value, registry) for key, value in rule.set.items()]
    return {"id": rule.id, "sender": sender, "selector": _selector(rule.match), "set": sets}


def _selector(selector: Selector) -> dict[str, Any]:
    return {
        "resource": [(key, _condition(test)) for key, test in selector.resource.items()],
        "scope_name": selector.scope_name and _condition(selector.scope_name),
        "scope_version": selector.scope_version and _condition(selector.scope_version),
        "scope_attributes": [(key, _condition(test)) for key, test in selector.scope_attributes.items()],
        "name": selector.name and _condition(selector.name),
        "kinds": sorted(selector.kinds),
        "statuses": sorted(selector.statuses),
        "event": selector.event and _condition(selector.event),
        "attributes": [(key, _condition(test)) for key, test in selector.attributes.items()],
    }


def _condition(condition: Condition) -> dict[str, Any]:
    if condition.any_of:
        return {"any": [_condition(one) for one in condition.any_of]}
    if condition.negated:
        return {"not": _condition(condition.negated)}
    if condition.at_least is not None or condition.below is not None:
        return {"range": [condition.at_least, condition.below]}
    tests = {
        "literal": condition.literal,
        "glob": condition.glob,
        "regex": condition.regex,
        "present": condition.present,
    }
    return {name: value for name, value in tests.items() if value is not None}


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
    return {"resource": source.resource} if source.resource else "name"
