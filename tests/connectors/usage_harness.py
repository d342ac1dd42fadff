"""An aggregator that counts nothing but usage, by rules given in a test; a sender's items; prices."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from otel_pipeline.pdata import Batch, SpanAggregator, to_proto
from otel_pipeline.testing import attributes, make_log, make_logs, make_metrics, make_span, make_traces

__all__ = [
    "COSTS",
    "CUMULATIVE",
    "EVENTS",
    "JANUARY_2026",
    "KINDS",
    "OPENAI_LIKE",
    "POINTS",
    "RULES",
    "SECOND",
    "SPANS",
    "UsageHarness",
    "event",
    "point",
    "price",
    "span",
]

SECOND = 1_000_000_000
KINDS = ("input", "output", "cache_read", "cache_creation", "reasoning")
WAIT = 30
LABELS = ("stage", "model", "kind")

DELTA, CUMULATIVE = 1, 2
TOLD = {
    "session": ["session.id"],
    "request": ["request_id"],
    "tokens": {"input": ["prompt"], "output": ["out"], "cache_read": ["cached"], "reasoning": ["thought"]},
    "cost_usd": ["cost"],
}
SPANS: dict[str, Any] = {"item": "span", "selector": {"name": {"literal": "llm"}}, **TOLD}
EVENTS: dict[str, Any] = {"item": "event", "selector": {"name": {"literal": "llm"}}, **TOLD}
POINTS: dict[str, Any] = {
    "item": "point",
    "selector": {"name": {"literal": "tokens"}},
    "session": ["session.id"],
    "value": "tokens",
    "kind": {"attribute": "type", "map": [["input", "input"], ["output", "output"], ["cached", "cache_read"]]},
}
COSTS: dict[str, Any] = {
    "item": "point",
    "selector": {"name": {"literal": "cost"}},
    "session": ["session.id"],
    "value": "cost",
}
RULES = [SPANS, EVENTS, POINTS, COSTS]
OPENAI_LIKE = {"inside": {"cache_read": "input", "reasoning": "output"}}
JANUARY_2026 = 1_767_225_600 * SECOND


def price(model: str = "m", since: int = 0, above: Any = None, **per_million: float) -> dict[str, Any]:
    """A price from `since` seconds after 2026-01-01."""
    listed = {"model": model, "from_unix_ns": JANUARY_2026 + since * SECOND, "per_million": per_million}
    return listed | ({"above": above} if above else {})


def span(number: int = 1, *, resource: Mapping[str, Any] | None = None, **told: Any) -> Batch:
    told = {"model": "m", **told}
    return make_traces(make_span("llm", trace=number, span=number, **told), resource=resource)


def event(*, resource: Mapping[str, Any] | None = None, **told: Any) -> Batch:
    return make_logs(make_log("llm", **{"model": "m", **told}), resource=resource)


def point(
    value: float,
    type: str = "input",
    *,
    name: str = "tokens",
    at: int = 1,
    temporality: int = DELTA,
    resource: Mapping[str, Any] | None = None,
    **told: Any,
) -> Batch:
    """A data point that covers the second before `at`, or, if cumulative, all since 2026."""
    metric = Metric(name=name)
    metric.sum.aggregation_temporality = temporality  # type: ignore[assignment]
    metric.sum.is_monotonic = True
    values = {"model": "m", "type": type, **{key.replace("__", "."): value for key, value in told.items()}}
    start = at - 1 if temporality == DELTA else 0
    metric.sum.data_points.add(
        start_time_unix_nano=JANUARY_2026 + start * SECOND,
        time_unix_nano=JANUARY_2026 + at * SECOND,
        as_double=value,
        attributes=attributes(values),
    )
    return make_metrics(metric, resource=resource)


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
            "noise": "noise",
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
        self,
        rules: Sequence[Mapping[str, Any]],
        prices: Iterable[Mapping[str, Any]] = (),
        start_unix_ns: int = 0,
        **late: Any,
    ) -> None:
        self.aggregator = SpanAggregator(json.dumps(plan(rules, prices, **late)), start_unix_ns)
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
