"""Tokens and cost of recorded sessions, by the shipped rules: each request once, whatever arrives in whatever order."""

from itertools import chain, permutations
from pathlib import Path

import pytest

from otel_pipeline.connectors.stage_metrics import StageMetrics, StageMetricsConfig
from otel_pipeline.pdata import Limits, decode, to_proto
from otel_pipeline.processors.semconv import Semconv, SemconvConfig
from otel_pipeline.testing import FakeTime, make_settings

FIXTURES = Path(__file__).parents[1] / "fixtures"
SIGNALS = ("traces", "logs", "metrics")
ORDERS = list(chain.from_iterable(permutations(SIGNALS, size) for size in (1, 2, 3)))
NINE_REQUESTS = {"input": sum(range(121, 130)), "output": 9 * 42, "cache_read": 9000, "cache_creation": 90}
SEMCONV = Semconv(SemconvConfig(directories=(FIXTURES / "usage",)), make_settings("semconv", time=FakeTime()))


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
        """Takes in the recording of a signal: `traces`, or `traces.trimmed` where only a part was kept."""
        path = FIXTURES / "recorded" / f"{recording}.{signal}.otlp.json"
        batch, _ = decode(signal.partition(".")[0], path.read_bytes(), True, Limits())
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
def test_claude_code_is_counted_once(order: tuple[str, ...]) -> None:
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


@pytest.mark.parametrize(
    "order", [("logs",), ("traces.trimmed",), ("logs", "traces.trimmed"), ("traces.trimmed", "logs")], ids="-".join
)
def test_codex_is_counted_once(order: tuple[str, ...]) -> None:
    """Log records tell three requests without ids, a span tells their sum; both count cached tokens inside the input and
    reasoning inside the output. Nobody knows what the model costs."""
    gateway = Gateway()
    for _ in range(2):
        for signal in order * 2:
            gateway.receive(signal, "codex-0.169.0_exec")
        for _ in range(3):
            gateway.wait(1300)
    assert gateway.tokens == {"input": 160, "output": 45, "cache_read": 150, "reasoning": 15}
    assert gateway.cost == 0
    missing = gateway.settings.telemetry.counter("otel_pipeline_connector_missing_prices")
    assert sum(missing.values.values()) == (3 if "logs" in order else 1)
