"""From a `Registry` to the plan of the native aggregator: which metrics are derived, and from what."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

from otel_pipeline.semconv.attributes import Member
from otel_pipeline.semconv.conditions import Condition
from otel_pipeline.semconv.metrics import Derivation, Label, LabelFrom, Metric
from otel_pipeline.semconv.plan_parts import condition_plan, domain_plan, selector_plan
from otel_pipeline.semconv.registry import Registry
from otel_pipeline.semconv.rules import Rule, Usage

__all__ = ["late_binding_plan", "metric_plan", "usage_plan"]

MAX_EXEMPLAR_ATTRIBUTES = 2


def metric_plan(registry: Registry) -> dict[str, Any]:
    """The keys `metrics`, `exemplar_attributes` and `usage` of the aggregator's plan (native/src/aggregate/plan.rs)."""
    unlabelled = [key for key, attribute in registry.canonical.items() if attribute.inherit and not attribute.label]
    written = (_metric(metric, registry) for metric in registry.metrics.values())
    return {
        "metrics": [metric for metric in written if metric],
        "exemplar_attributes": [
            {"name": key, "from": {"attributes": [key]}} for key in unlabelled[:MAX_EXEMPLAR_ATTRIBUTES]
        ],
        "usage": usage_plan(registry),
    }


def late_binding_plan(registry: Registry) -> dict[str, Any]:
    """Which attributes bind late, for the key `late_binding`; how long spans wait is the connector's to say."""
    return {
        "stage": "sdlc.stage.name",
        "model": "sdlc.model.name",
        "outcome": "sdlc.outcome",
        "stage_run": "sdlc.stage.run",
        "noise": "sdlc.noise",
        "inherited": [key for key, attribute in registry.canonical.items() if attribute.inherit],
        "success": "success",
        "failure": "failure",
    }


def _metric(metric: Metric, registry: Registry) -> dict[str, Any] | None:
    """None for what is computed elsewhere."""
    derivations = [one for one in metric.derivations if one.source not in ("journeys", "members")]
    constants = [one for one in metric.derivations if one.source == "members"]
    if not derivations and not constants:
        return None
    return {
        "name": metric.name,
        "description": metric.brief,
        "unit": metric.unit,
        "instrument": metric.instrument,
        "buckets": metric.buckets,
        "max_exemplars": (len(metric.buckets) + 1 if metric.buckets else 1) if metric.exemplars else 0,
        "labels": [_label(label, metric, registry) for label in metric.labels],
        "derivations": [plan for one in derivations for plan in _derivations(one, metric, registry)],
        "constants": _constants(metric, registry) if constants else [],
    }


def _label(label: Label, metric: Metric, registry: Registry) -> dict[str, Any]:
    """A canonical attribute has its one form already, unless some source takes it from elsewhere."""
    attribute = registry.attributes[label.attribute]
    keys = [attribute.key] if attribute.canonical else [attribute.key, *attribute.aliases]
    plan: dict[str, Any] = {"name": label.name, "from": {"attributes": keys}, "default": label.default}
    if not attribute.canonical or any(label.attribute in one.labels for one in metric.derivations):
        plan["domain"] = domain_plan(attribute)
    if attribute.buckets:
        plan["buckets"] = [[text, None if math.isinf(upper) else upper] for text, upper in attribute.buckets]
    return plan


def _constants(metric: Metric, registry: Registry) -> list[dict[str, Any]]:
    """One series for each member of the first label that is an enum, at its position."""
    enums = [index for index, label in enumerate(metric.labels) if registry.members(label.attribute)]
    members: tuple[Member, ...] = registry.members(metric.labels[enums[0]].attribute)
    return [
        {
            "labels": [
                member.value if index == enums[0] else label.default for index, label in enumerate(metric.labels)
            ],
            "value": float(position),
        }
        for position, member in enumerate(members, start=1)
    ]


# --- derivations


def _derivations(derivation: Derivation, metric: Metric, registry: Registry) -> Iterator[dict[str, Any]]:
    """One plan; two where data points of the metric's own name are taken besides others."""
    plan = _derivation(derivation, metric, registry)
    if derivation.source != "points":
        yield plan
        return
    own_names = {metric.name, metric.prometheus_name}
    names = derivation.match.name
    tests = names.any_of or (names,) if names else ()
    own = [test for test in tests if test.literal in own_names]
    others = [test for test in tests if test.literal not in own_names]
    for chosen, takes in ((own, True), (others, False)):
        if chosen:
            yield _with_names(plan, chosen, takes)


def _with_names(plan: dict[str, Any], names: list[Condition], takes: bool) -> dict[str, Any]:
    return {
        **plan,
        "takes": takes,
        "selector": {**plan["selector"], "name": condition_plan(Condition(any_of=tuple(names)))},
    }


def _derivation(derivation: Derivation, metric: Metric, registry: Registry) -> dict[str, Any]:
    """An attribute of the registry is asked for under its aliases, too."""
    indexes = {label.attribute: index for index, label in enumerate(metric.labels)}
    plan: dict[str, Any] = {
        "source": derivation.source,
        "late": [[key, texts] for key, texts in derivation.late.items()],
        "value": derivation.value,
        "scale": derivation.scale,
        "labels": {str(indexes[key]): _label_from(source, registry) for key, source in derivation.labels.items()},
        "takes": False,
    }
    if isinstance(derivation.value, tuple):
        plan["value"] = {"attributes": _spellings(derivation.value, registry)}
    if not derivation.match.is_empty:
        tests = derivation.match.attributes.items()
        asked = [[_one_or_more(_spellings([key], registry)), condition_plan(test)] for key, test in tests]
        plan["selector"] = {**selector_plan(derivation.match), "attributes": asked}
    if derivation.states:
        plan["states"] = {
            "label": indexes[derivation.states.attribute],
            "values": [[number, text] for number, text in derivation.states.values],
        }
    return plan


def _label_from(source: LabelFrom, registry: Registry) -> dict[str, Any]:
    if source.metric is not None:
        return {"metric": source.metric}
    if source.value is not None:
        return {"value": source.value}
    return {"attributes": _spellings(source.attributes, registry)}


def _one_or_more(keys: list[str]) -> str | list[str]:
    return keys[0] if len(keys) == 1 else keys


def _spellings(keys: Iterable[str], registry: Registry) -> list[str]:
    """The keys, each with its aliases after it."""
    found: dict[str, None] = {}
    for key in keys:
        attribute = registry.attributes.get(key)
        found.update(dict.fromkeys((key, *(attribute.aliases if attribute else ()))))
    return list(found)


# --- tokens and cost


def usage_plan(registry: Registry) -> dict[str, Any] | None:
    """How tokens and cost are found and priced; None where no rule tells of them."""
    rules = [_usage_rule(rule, rule.usage) for rule in registry.rules if rule.usage]
    if not rules:
        return None
    return {
        "rules": rules,
        "prices": [price for member in registry.models for price in _prices(member)],
        "model": "sdlc.model.name",
        "token_type": "gen_ai.token.type",
    }


def _usage_rule(rule: Rule, usage: Usage) -> dict[str, Any]:
    plan: dict[str, Any] = {
        "item": rule.item,
        "selector": selector_plan(*(one for one in (rule.sender, rule.match) if one)),
        "request": usage.request,
        "session": usage.session,
        "tokens": usage.tokens,
        "inside": usage.inside,
        "cost_usd": usage.cost_usd,
        "sum": usage.sum,
    }
    if usage.kind_attribute is not None:
        plan["kind"] = {"attribute": usage.kind_attribute, "map": list(usage.kinds.items())}
    elif usage.kind is not None:
        plan["kind"] = usage.kind
    if usage.value is not None:
        plan["value"] = usage.value
    return plan


def _prices(member: Member) -> Iterator[dict[str, Any]]:
    for price in member.model.prices if member.model else ():
        plan: dict[str, Any] = {
            "model": member.value,
            "from_unix_ns": price.from_unix_ns,
            "per_million": price.per_million,
        }
        if price.above_input_tokens is not None:
            plan["above"] = {"input_tokens": price.above_input_tokens, "per_million": price.per_million_above}
        yield plan
