"""Batches of telemetry and the functions over whole batches: the only Python face of the native code for items."""

from enum import StrEnum

from otel_pipeline._native import Batch, Findings, Limits, decode, from_trusted, merge, split

__all__ = ["Batch", "Findings", "Limits", "Signal", "decode", "from_trusted", "merge", "split"]


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
