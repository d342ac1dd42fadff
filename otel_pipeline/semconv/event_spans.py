"""From a `Registry` to the plan of the native pass that makes spans of log records."""

from typing import Any

from otel_pipeline.semconv.conditions import Scalar, ValueSource
from otel_pipeline.semconv.plan_parts import selector_plan
from otel_pipeline.semconv.registry import Registry
from otel_pipeline.semconv.rules import EventSpan, Rule, Selector

__all__ = ["DERIVED_FROM", "event_span_plan"]

DERIVED_FROM = "sdlc.derived_from"


def event_span_plan(registry: Registry) -> dict[str, Any]:
    """The plan (native/src/event_spans/plan.rs), all but its `limits`."""
    senders: list[Selector] = []
    rules = []
    for rule in registry.rules:
        if rule.span and rule.sender:
            if rule.sender not in senders:
                senders.append(rule.sender)
            rules.append(_rule(rule, rule.span, senders.index(rule.sender), rule.sender, registry))
    return {
        "rules": rules,
        "senders": [selector_plan(sender) for sender in senders],
        "canonical": list(registry.canonical),
        "derived_from": DERIVED_FROM,
    }


def _rule(rule: Rule, span: EventSpan, index: int, sender: Selector, registry: Registry) -> dict[str, Any]:
    return {
        "selector": selector_plan(sender, rule.match),
        "sender": index,
        "name": span.name,
        "kind": span.kind,
        "opens_prompt": span.opens_prompt,
        "session": span.session,
        "prompt": span.prompt,
        "duration": {"attributes": span.duration, "ns": span.duration_unit_ns} if span.duration else None,
        "status": _value(span.status),
        "attributes": [(key, _value(value)) for key, value in span.attributes.items()],
        "carry": _carried(span, sender, registry),
    }


def _carried(span: EventSpan, sender: Selector, registry: Registry) -> list[str]:
    """What rules say of a log record is no truth about its span: the rules for spans say that anew."""
    told = {
        key for rule in registry.rules if rule.item in (None, "event") and rule.sender == sender for key in rule.set
    }
    canonical = (key for key in registry.canonical if key not in told)
    keys = dict.fromkeys((*span.session, *span.prompt, *span.carry, *canonical))
    return [key for key in keys if key not in span.attributes]


def _value(value: ValueSource | Scalar) -> dict[str, Any]:
    if not isinstance(value, ValueSource):
        return {"literal": value}
    if value.value is not None:
        return {"literal": value.value}
    return {"from": [value.attributes, list(value.table.items())]}
