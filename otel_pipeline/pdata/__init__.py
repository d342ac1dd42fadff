"""Batches of telemetry and the functions over whole batches: the only Python face of the native code for items."""

from enum import StrEnum

from otel_pipeline._native import (
    AttributePlan,
    Batch,
    ConditionPlan,
    EnrichFindings,
    EventSpans,
    Findings,
    Limits,
    Sender,
    SenderTable,
    SpanAggregator,
    decode,
    drop_matching,
    edit_attributes,
    enrich,
    first_service,
    from_trusted,
    link_journeys,
    merge,
    split,
    to_json,
)
from otel_pipeline.pdata.proto import any_value, from_proto, key_values, to_proto

__all__ = [
    "AttributePlan",
    "Batch",
    "ConditionPlan",
    "EnrichFindings",
    "EventSpans",
    "Findings",
    "Limits",
    "Sender",
    "SenderTable",
    "Signal",
    "SpanAggregator",
    "any_value",
    "decode",
    "drop_matching",
    "edit_attributes",
    "enrich",
    "first_service",
    "from_proto",
    "from_trusted",
    "key_values",
    "link_journeys",
    "merge",
    "split",
    "to_json",
    "to_proto",
]


class Signal(StrEnum):
    """The three OTLP signals."""

    TRACES = "traces"
    METRICS = "metrics"
    LOGS = "logs"

    @property
    def items(self) -> str:
        """What one item is called in metric names: `spans`, `metric_points` or `log_records`."""
        return _ITEMS[self]


_ITEMS = {Signal.TRACES: "spans", Signal.METRICS: "metric_points", Signal.LOGS: "log_records"}
