"""An aggregator that counts nothing but usage, by rules given in a test."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from otel_pipeline.pdata import Batch, SpanAggregator, to_proto

__all__ = ["KINDS", "SECOND", "UsageHarness"]

SECOND = 1_000_000_000
KINDS = ("input", "output", "cache_read", "cache_creation", "reasoning")
WAIT = 30
LABELS = ("stage", "model", "kind")


def plan(rules: Sequence[Mapping[str, Any]], prices: Iterable[Mapping[str, Any]], **late: Any) -> dict[str, Any]:
    """Two counters, `tokens` and `cost`; the stage is inherited inside a trace."""
    labels = [{"name": name, "from": {"attributes": [name]}, "default": "-"} for name in LABELS]
    return {
        "metrics": [
            {
                "name": name,
                "unit": "1",
                "instrument": "counter",
                "labels": shown,
                "derivations": [{"source": "usage", "value": name}],
            }
            for name, shown in (("tokens", labels), ("cost", labels[:2]))
        ],
        "late_binding": {
            "stage": "stage",
            "model": "model",
            "outcome": "outcome",
            "stage_run": "stage_run",
            "inherited": ["stage"],
            "success": "success",
            "failure": "failure",
            "decision_wait_ns": WAIT * SECOND,
            "max_wait_ns": 3600 * SECOND,
            "max_spans": 1000,
            **late,
        },
        "usage": {"rules": list(rules), "prices": list(prices), "model": "model", "token_type": "kind"},
    }


class UsageHarness:
    """Counts what is sent; `tokens` are by stage, model and kind, `cost` by stage and model."""

    def __init__(
        self, rules: Sequence[Mapping[str, Any]], prices: Iterable[Mapping[str, Any]] = (), **late: Any
    ) -> None:
        self.aggregator = SpanAggregator(json.dumps(plan(rules, prices, **late)), 0)
        self.now_ns = 0
        self.tokens: dict[tuple[str, str, str], int] = {}
        self.cost: dict[tuple[str, str], float] = {}

    def send(self, *batches: Batch) -> None:
        for batch in batches:
            self.aggregator.update(batch, self.now_ns)

    def wait(self, seconds: float = 2 * WAIT) -> None:
        """Lets time pass, and what is due be counted: spans first, the requests that they tell as long after."""
        for _ in range(2):
            self.now_ns += round(seconds * SECOND / 2)
            self._take(self.aggregator.flush(self.now_ns, self.now_ns))

    def end(self) -> None:
        self._take(self.aggregator.flush_all(self.now_ns, self.now_ns))

    def _take(self, flushed: Batch | None) -> None:
        """Counters are cumulative: the last value holds."""
        if flushed is None:
            return
        for metric in to_proto(flushed).resource_metrics[0].scope_metrics[0].metrics:
            for point in metric.sum.data_points:
                labels = {pair.key: pair.value.string_value for pair in point.attributes}
                stage, model = labels["stage"], labels["model"]
                if metric.name == "tokens":
                    self.tokens[stage, model, labels["kind"]] = round(point.as_double)
                else:
                    self.cost[stage, model] = point.as_double

    @property
    def missing(self) -> dict[str, int]:
        """Requests without a price, by model."""
        return self.aggregator.missing_prices()

    def stat(self, name: str) -> int:
        return self.aggregator.stats()[f"usage_{name}"]

    def total(self, kind: str) -> int:
        """Tokens of a kind, over all stages and models."""
        return sum(count for (_, _, other), count in self.tokens.items() if other == kind)
