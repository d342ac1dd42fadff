"""Loads, checks and resolves semantic-convention files, and compiles them to plans for native code.

`load()` reads the shipped files and a user's directories into a `Registry`; `semconv/README.md` tells how to write
them. `compile_plan` makes of it what the enrichment pass runs, `metric_plan` what the aggregator of the derived metrics
runs, `event_span_plan` what makes spans of log records, `journey_plan` what finds the things that journeys follow,
`compile_live_check` what telemetry is compared with.
"""

from otel_pipeline.semconv.attributes import Attribute, Member, Milestone, fold
from otel_pipeline.semconv.compile import compile_plan
from otel_pipeline.semconv.derive import late_binding_plan, metric_plan
from otel_pipeline.semconv.event_spans import event_span_plan
from otel_pipeline.semconv.identities import KindFacts, WaitRules, journey_plan, kinds, wait_rules
from otel_pipeline.semconv.live_check import LiveCheck, compile_live_check
from otel_pipeline.semconv.load import load, shipped_directory
from otel_pipeline.semconv.metrics import Derivation, Label, Metric
from otel_pipeline.semconv.registry import Registry
from otel_pipeline.semconv.rows import row_plans
from otel_pipeline.semconv.rules import Rule

__all__ = [
    "Attribute",
    "Derivation",
    "KindFacts",
    "Label",
    "LiveCheck",
    "Member",
    "Metric",
    "Milestone",
    "Registry",
    "Rule",
    "WaitRules",
    "compile_live_check",
    "compile_plan",
    "event_span_plan",
    "fold",
    "journey_plan",
    "kinds",
    "late_binding_plan",
    "load",
    "metric_plan",
    "row_plans",
    "shipped_directory",
    "wait_rules",
]
