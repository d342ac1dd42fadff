"""Tokens and cost of recorded sessions, by the shipped rules: each request once, whatever arrives in whatever order."""

from collections.abc import Sequence
from itertools import chain, permutations
from pathlib import Path

import pytest

from otel_pipeline.connectors.stage_metrics import StageMetrics, StageMetricsConfig
from otel_pipeline.pdata import Limits, Signal, decode, to_proto
from otel_pipeline.processors.semconv import Semconv, SemconvConfig
from otel_pipeline.testing import FakeTime, make_settings

FIXTURES = Path(__file__).parents[1] / "fixtures"
SIGNALS = ("traces", "logs", "metrics")
ORDERS = list(chain.from_iterable(permutations(SIGNALS, size) for size in (1, 2, 3)))
NINE_REQUESTS = {"input": sum(range(121, 130)), "output": 9 * 42, "cache_read": 9000, "cache_creation": 90}
SEMCONV = Semconv(
    SemconvConfig(directories=(FIXTURES / "usage",)), make_settings("semconv", time=FakeTime())
)


class Gateway:
    """The shipped rules and two metrics of usage."""

    def __init__(self) -> None:
        self.time = FakeTime()
        self.settings = make_settings("stage_metrics", time=self.time)
        self.stages = StageMetrics(StageMetricsConfig(directories=(FIXTURES / "usage",)), self.settings)
        self.tokens: dict[str, float] = {}
        self.cost = 0.0
        self.labels: set[tuple[str, ...]] = set()

    def receive(self, signal: str, recording: str) -> None:
        body = (FIXTURES / "recorded" / f"{recording}.{signal}.otlp.pb").read_bytes()
        batch, _ = decode(signal, body, False, Limits())
        enriched = SEMCONV.process(batch)
        assert enriched is not None
        self.stages.process(enriched)

    def wait(self, seconds: float) -> None:
        self.time.advance(seconds)
        flushed = self.stages.flush(self.time.unix_ns)
        for metric in to_proto(flushed).resource_metrics[0].scope_metrics[0].metrics if flushed else ():
            for point in metric.sum.data_points if metric.name.startswith("usage.") else ():
                labels = {pair.key: pair.value.string_value for pair in point.attributes}
                kind = labels.pop("token_type", None)
                self.labels.add(tuple(labels.values()))
                if kind is None:
                    self.cost = point.as_double
                else:
                    self.tokens[kind] = point.as_double

    def findings(self, finding: str) -> float:
        counter = self.settings.telemetry.counter("otel_pipeline_connector_findings")
        return counter.values[("stage_metrics", finding)]


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_claude_code_is_counted_once(order: Sequence[str]) -> None:
    """Spans, log records and data points tell the same nine requests: any of them, in any order, sent again at once and
    after they were counted, make the sum over the nine; what the log records do not tell of the cost, the list has."""
    gateway = Gateway()
    for _ in range(2):
        for signal in order * 2:
            gateway.receive(signal, "claude-code-2.1.330_default")
        for _ in range(3):
            gateway.wait(30)
    assert gateway.tokens == NINE_REQUESTS
    assert gateway.cost == pytest.approx(0.0120825)
    assert gateway.labels == {("demo", "coding", "claude_code", "claude-sonnet-4-5")}
