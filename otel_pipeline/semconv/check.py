"""What `semconv check` tells besides what `load` refuses: what can be loaded but leads to nothing."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from otel_pipeline.errors import Problem
from otel_pipeline.semconv.conditions import Condition
from otel_pipeline.semconv.load import read_definitions
from otel_pipeline.semconv.metrics import Derivation, Metric
from otel_pipeline.semconv.references import NOTES
from otel_pipeline.semconv.registry import Registry
from otel_pipeline.semconv.resolve import resolve
from otel_pipeline.semconv.source import Definition

__all__ = ["check"]

Sections = Mapping[str, Mapping[str, Definition]]


def check(directories: Sequence[Path] = ()) -> tuple[Registry, list[Problem]]:
    """The registry, as far as it could be made, and every problem of the files."""
    definitions = read_definitions(directories)
    registry, problems = resolve(definitions.by_section)
    unfed = _Senders(definitions.by_section, registry).unfed()
    return registry, [*definitions.problems, *problems, *unfed]


class _Senders:
    """What the files say that senders send: attributes, spans, events, metrics."""

    def __init__(self, sections: Sections, registry: Registry) -> None:
        self._registry = registry
        self._metrics = sections.get("metrics", {})
        aliases = {alias for attribute in registry.attributes.values() for alias in attribute.aliases}
        self._attributes = registry.attributes.keys() | aliases
        self._names = {name for section in ("events", "metrics") for name in sections.get(section, {})}
        self._names |= {metric.prometheus_name for metric in registry.metrics.values()}
        self._names |= {text for rule in registry.rules for text in _texts(rule.match.name)}

    def unfed(self) -> Iterator[Problem]:
        """The derived metrics that will never have a value, with what is missing for each way to derive them."""
        for name, metric in self._registry.metrics.items():
            missing = [self._missing(derivation, metric) for derivation in metric.derivations]
            if all(missing):
                what = "; ".join(dict.fromkeys(text for text in missing if text))
                hint = "define what is sent, or add a way to derive it"
                yield self._metrics[name].problem(f"nothing feeds {name!r}: {what}", hint, *NOTES, "derive")

    def _missing(self, derivation: Derivation, metric: Metric) -> str:
        """Why the derivation finds nothing; empty where it may find something."""
        if derivation.source == "usage" and not any(rule.usage for rule in self._registry.rules):
            return "no rule tells tokens or cost"
        names = _texts(derivation.match.name)
        if derivation.source in ("events", "points") and names and not names & self._names:
            return f"no {derivation.source[:-1]} is named {' or '.join(sorted(names))}"
        keys = [key for key, test in derivation.match.attributes.items() if test.present is not False]
        keys += derivation.match.resource
        unknown = [key for key in keys if key not in self._attributes]
        if isinstance(derivation.value, tuple) and not self._attributes.intersection(derivation.value):
            unknown += derivation.value
        if unknown:
            return f"no attribute is named {' or '.join(unknown)}"
        return self._never(derivation)

    def _never(self, derivation: Derivation) -> str:
        """A canonical attribute that cannot have the value that is asked for."""
        for key, texts in derivation.late.items():
            attribute = self._registry.attributes[key]
            values = {member.value for member in attribute.members}
            if attribute.type == "enum" and attribute.other and not values.intersection(texts):
                return f"{key} is never {' or '.join(texts)}"
        return ""


def _texts(condition: Condition | None) -> set[str]:
    """The literals and globs that a condition allows."""
    if condition is None:
        return set()
    if condition.any_of:
        return {text for one in condition.any_of for text in _texts(one)}
    text: Any = condition.literal if condition.literal is not None else condition.glob
    return {str(text)} if text is not None else set()
