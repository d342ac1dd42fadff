"""From the definitions of all files to one `Registry`: follows references and checks that they make sense."""

from collections.abc import Mapping

from otel_pipeline.errors import Problem
from otel_pipeline.semconv.references import References
from otel_pipeline.semconv.registry import Registry
from otel_pipeline.semconv.resolve_attributes import resolve_attributes
from otel_pipeline.semconv.resolve_metrics import resolve_metrics
from otel_pipeline.semconv.resolve_rules import resolve_rules
from otel_pipeline.semconv.resolve_signals import resolve_signals
from otel_pipeline.semconv.source import Definition

__all__ = ["resolve"]


def resolve(definitions: Mapping[str, Mapping[str, Definition]]) -> tuple[Registry, list[Problem]]:
    """The registry of the definitions (by section and name), and everything that is wrong with them."""
    references = References(definitions)
    attributes = resolve_attributes(references)
    for entry in references.section("attribute_groups").values():
        references.check(entry)
    metrics = resolve_metrics(references, attributes)
    rules = resolve_rules(references, attributes)
    return Registry(attributes, metrics, rules, resolve_signals(references)), references.problems
