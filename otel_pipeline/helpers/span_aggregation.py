"""What the connectors that derive metrics share: the native aggregator with a clock, and its counts."""

import json
from collections.abc import Mapping
from typing import Any

from otel_pipeline.component import Settings
from otel_pipeline.pdata import Batch, Signal, SpanAggregator

__all__ = ["SpanAggregation", "nanoseconds"]

_DROPPED = {
    Signal.TRACES: {"duplicates": "duplicate", "invalid_ids": "invalid_id"},
    Signal.LOGS: {"repeated_events": "duplicate"},
}
_FINDINGS = {
    "invalid_durations": "invalid_duration",
    "invalid_values": "invalid_value",
    "claims_left_out": "too_many_attributes",
    "repeated_points": "repeated_point",
    "unsupported_points": "unsupported_point",
    "streams_met_running": "stream_met_running",
    "decided_early": "decided_early",
    "late_parents": "late_parent",
    "overflowed": "overflow",
    "usage_duplicates": "duplicate_usage",
    "usage_superseded": "superseded_usage",
    "usage_forgotten": "forgotten_usage",
    "usage_invalid_numbers": "invalid_usage",
}


def nanoseconds(seconds: float) -> int:
    """Whole nanoseconds of a duration in seconds."""
    return round(seconds * 1e9)


class SpanAggregation:
    """A span aggregator for one connector. What waits is `held` in the connector's counts, what it leaves out is
    `dropped`; what it had to correct is counted as findings."""

    def __init__(self, plan: Mapping[str, Any], settings: Settings) -> None:
        self._settings = settings
        self._aggregator = SpanAggregator(json.dumps(plan), settings.clock.time_ns())
        self._counts = settings.counts
        self._counts[Signal.TRACES].held = lambda: self._aggregator.waiting
        self._counts[Signal.LOGS].held = lambda: self._aggregator.waiting_events
        self._reported = self._aggregator.stats()
        self._findings = settings.telemetry.counter(
            "otel_pipeline_connector_findings",
            description="Items that a connector had to correct, count early or count without labels, by finding.",
            labels=("connector", "finding"),
        )
        self._reported_missing: dict[str, int] = {}
        self._missing_prices = settings.telemetry.counter(
            "otel_pipeline_connector_missing_prices",
            description="Model requests whose cost the sender did not tell and the price list does not have.",
            labels=("connector", "model"),
        )

    def update(self, batch: Batch) -> Batch | None:
        """Takes in a batch. Of metrics, gives back those that are to be passed on, if any."""
        left_out, rest = self._aggregator.update(batch, self._now_ns())
        if left_out:
            self._report()
        if batch.signal == Signal.METRICS:
            self._counts[Signal.METRICS].sent += batch.items - (rest.items if rest else 0)
        return rest

    def feed(self, batch: Batch) -> None:
        """Takes in items that the connector made itself: they are no part of its item balance."""
        self._aggregator.update(batch, self._now_ns())

    def take_rows(self, *, everything: bool) -> dict[str, list[tuple[int, float, list[str]]]]:
        """The observations since the last call of the plans that ask for rows: time, value, labels; with `everything`
        nothing is left waiting."""
        return self._aggregator.take_rows(self._now_ns(), everything)

    def flush(self, now_unix_ns: int, *, everything: bool) -> Batch | None:
        """The series that changed; with `everything` nothing is left waiting."""
        flush = self._aggregator.flush_all if everything else self._aggregator.flush
        batch = flush(self._now_ns(), now_unix_ns)
        self._report()
        return batch

    def _now_ns(self) -> int:
        return nanoseconds(self._settings.clock.monotonic())

    def _report(self) -> None:
        stats = self._aggregator.stats()
        for signal, reasons in _DROPPED.items():
            for name, reason in reasons.items():
                if stats[name] > self._reported[name]:
                    self._counts[signal].dropped[reason] += stats[name] - self._reported[name]
        for name, finding in _FINDINGS.items():
            if stats[name] > self._reported[name]:
                self._findings.add(stats[name] - self._reported[name], self._settings.id, finding)
        self._reported = stats
        missing = self._aggregator.missing_prices()
        for model, requests in missing.items():
            if requests > self._reported_missing.get(model, 0):
                self._missing_prices.add(requests - self._reported_missing.get(model, 0), self._settings.id, model)
        self._reported_missing = missing
