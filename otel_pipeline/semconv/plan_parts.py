"""What the plans for native code share: selectors, conditions and the values that an attribute may take."""

from collections.abc import Iterable
from typing import Any

from otel_pipeline.semconv.attributes import Attribute, fold, is_glob
from otel_pipeline.semconv.conditions import Condition
from otel_pipeline.semconv.rules import Selector

__all__ = ["condition_plan", "domain_plan", "selector_plan"]


def selector_plan(*selectors: Selector) -> dict[str, Any]:
    """One selector that holds where all of `selectors` do; kinds and statuses may stand in one of them only."""
    return {
        "resource": [_keyed(pair) for one in selectors for pair in one.resource.items()],
        "scope_name": _all(one.scope_name for one in selectors),
        "scope_version": _all(one.scope_version for one in selectors),
        "scope_attributes": [_keyed(pair) for one in selectors for pair in one.scope_attributes.items()],
        "name": _all(one.name for one in selectors),
        "kinds": sorted({kind for one in selectors for kind in one.kinds}),
        "statuses": sorted({status for one in selectors for status in one.statuses}),
        "event": _all(one.event for one in selectors),
        "attributes": [_keyed(pair) for one in selectors for pair in one.attributes.items()],
    }


def domain_plan(attribute: Attribute) -> dict[str, Any]:
    """Which values the attribute takes, and what others become."""
    spellings = [(fold(text), member.value) for member in attribute.members for text in (member.value, *member.aliases)]
    return {
        "boolean": attribute.type == "boolean",
        "members": [pair for pair in spellings if not is_glob(pair[0])],
        "globs": [pair for pair in spellings if is_glob(pair[0])],
        "other": attribute.other,
        "low_cardinality": attribute.low_cardinality,
    }


def _keyed(pair: tuple[str, Condition]) -> tuple[str, dict[str, Any]]:
    return pair[0], condition_plan(pair[1])


def _all(conditions: Iterable[Condition | None]) -> dict[str, Any] | None:
    """Holds where all do; the plans know only `any` and `not`."""
    written = [condition_plan(one) for one in conditions if one]
    if len(written) > 1:
        return {"not": {"any": [{"not": one} for one in written]}}
    return written[0] if written else None


def condition_plan(condition: Condition) -> dict[str, Any]:
    """A condition on one value."""
    if condition.any_of:
        return {"any": [condition_plan(one) for one in condition.any_of]}
    if condition.negated:
        return {"not": condition_plan(condition.negated)}
    if condition.at_least is not None or condition.below is not None:
        return {"range": [condition.at_least, condition.below]}
    tests = {
        "literal": condition.literal,
        "glob": condition.glob,
        "regex": condition.regex,
        "present": condition.present,
    }
    return {name: value for name, value in tests.items() if value is not None}
