"""Loads, checks and resolves semantic-convention files, and compiles them to plans for native code.

`load()` reads the shipped files and a user's directories into a `Registry`; `semconv/README.md` tells how to write
them. `registry.metrics` are the metrics to derive, with labels, buckets and sources; `compile_plan` makes what the
enrichment pass runs.
"""

from otel_pipeline.semconv.compile import compile_plan
from otel_pipeline.semconv.load import load, shipped_directory
from otel_pipeline.semconv.registry import Attribute, Canonical, Label, Member, Metric, Registry, Rule

__all__ = [
    "Attribute",
    "Canonical",
    "Label",
    "Member",
    "Metric",
    "Registry",
    "Rule",
    "compile_plan",
    "load",
    "shipped_directory",
]
