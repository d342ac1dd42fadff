"""Tokens and cost of the agents with the shipped rules: the same totals from whatever signals an agent is told to send."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from otel_pipeline.connectors.stage_metrics import StageMetrics, StageMetricsConfig
from otel_pipeline.pdata import Batch, Limits, Signal, decode, to_proto
from otel_pipeline.processors.semconv import Semconv, SemconvConfig
from otel_pipeline.testing import (
    FakeTime,
    attributes,
    make_metrics,
    make_settings,
    make_span,
    make_traces,
)

FIXTURES = Path(__file__).parents[1] / "fixtures"
RECORDED, USAGE = FIXTURES / "recorded", FIXTURES / "usage_metrics"


def recorded(name: str, signal: str) -> Batch:
    """What an agent sent of one signal."""
    (path,) = (path for path in RECORDED.glob(f"{name}*.{signal}.*") if path.suffix != ".json" or name == "codex")
    batch, _ = decode(Signal(signal), path.read_bytes(), path.suffix == ".json", Limits())
    return batch


def totals(batches: Iterable[Batch]) -> tuple[dict[str, int], float]:
    """Tokens by kind, and the cost in USD."""
    time = FakeTime()
    enrichment = Semconv(SemconvConfig(), make_settings("semconv"))
    connector = StageMetrics(StageMetricsConfig(directories=(USAGE,)), make_settings("stage_metrics", time=time))
    for batch in batches:
        enriched = enrichment.process(batch)
        assert enriched is not None
        connector.process(enriched)
    tokens, cost = dict[str, int](), 0.0
    for seconds in (31, 31, 3600, 31):
        time.advance(seconds)
        for metric in metrics_of(connector.flush(time.unix_ns)):
            for point in metric.sum.data_points:
                if metric.name == "usage.tokens":
                    labels = {pair.key: pair.value.string_value for pair in point.attributes}
                    tokens[labels["token_type"]] = round(point.as_double)
                elif metric.name == "usage.cost":
                    cost = point.as_double
    return tokens, cost


def metrics_of(batch: Batch | None) -> list[Any]:
    return [] if batch is None else list(to_proto(batch).resource_metrics[0].scope_metrics[0].metrics)


@pytest.mark.parametrize("signals", ["traces", "logs", "metrics", "traces logs", "logs metrics", "metrics logs traces"])
def test_claude_code(signals: str) -> None:
    """Nine requests of 121 to 129 tokens of input, 42 of output, 1000 read from and 10 written to the cache; told and
    listed cost agree: 1125 at 3, 378 at 15, 9000 at 0.3 and 90 at 3.75 USD a million."""
    tokens, cost = totals(recorded("claude-code", signal) for signal in signals.split())
    assert tokens == {"input": 1125, "output": 378, "cache_read": 9000, "cache_creation": 90}
    assert cost == pytest.approx(0.0120825)


@pytest.mark.parametrize("signals", ["traces", "logs", "traces logs", "logs traces"])
def test_codex(signals: str) -> None:
    """Three requests of 102, 103 and 105 tokens of input, 50 of each cached, and 20 of output, 5 of each reasoning; the
    model has no price."""
    tokens, cost = totals(recorded("codex", signal) for signal in signals.split())
    assert tokens == {"input": 160, "cache_read": 150, "output": 45, "reasoning": 15}
    assert cost == 0


# --- what the recordings do not have, by documented names


def counter(name: str, *points: tuple[float, dict[str, str]]) -> Metric:
    metric = Metric(name=name)
    metric.sum.aggregation_temporality = 1  # type: ignore[assignment]
    metric.sum.is_monotonic = True
    for value, labels in points:
        metric.sum.data_points.add(
            start_time_unix_nano=1, time_unix_nano=2, as_double=value, attributes=attributes(labels)
        )
    return metric


OPENCLAW: dict[str, Any] = {"gen_ai__request__model": "claude-sonnet-4-5", "gen_ai__operation__name": "chat"}
CALLS = [
    make_span("openclaw.model.call", span=number, parent=9, **OPENCLAW, gen_ai__system="anthropic",
              gen_ai__usage__input_tokens=1150, gen_ai__usage__output_tokens=50,
              gen_ai__usage__cache_read__input_tokens=1000, gen_ai__usage__cache_creation__input_tokens=50)
    for number in (1, 2)
]  # fmt: skip
RUN_USAGE = make_span("openclaw.model.usage", span=3, parent=9, **OPENCLAW, openclaw__tokens__input=200,
                  openclaw__tokens__output=100, openclaw__tokens__cache_read=2000, openclaw__tokens__cache_write=100,
                  openclaw__tokens__total=2400, gen_ai__usage__input_tokens=2300)  # fmt: skip
KINDS = {"input": 200, "output": 100, "cache_read": 2000, "cache_write": 100, "prompt": 2300, "total": 2400}
POINTS = [
    counter("openclaw.tokens", *((count, {"openclaw.token": kind, "openclaw.model": "claude-sonnet-4-5"})
                                 for kind, count in KINDS.items())),
    counter("openclaw.cost.usd", (0.003075, {"openclaw.model": "claude-sonnet-4-5"})),
    counter("gen_ai.client.token.usage", (2300, {"gen_ai.token.type": "input"}), (100, {"gen_ai.token.type": "output"})),
]  # fmt: skip


@pytest.mark.parametrize("told", ["calls", "usage", "points", "calls usage points", "usage points"])
def test_openclaw(told: str) -> None:
    """Two calls, or the run's usage, or its counters: 200 at 3, 100 at 15, 2000 at 0.3 and 100 at 3.75 USD a million."""
    spans = [*(CALLS if "calls" in told else []), *([RUN_USAGE] if "usage" in told else [])]
    resource = {"service.name": "openclaw", "stage": "prd", "project": "demo"}
    batches = [make_traces(*spans, scope="openclaw", resource=resource)] if spans else []
    if "points" in told:
        batches.append(make_metrics(*POINTS, scope="openclaw", resource=resource))
    tokens, cost = totals(batches)
    assert tokens == {"input": 200, "output": 100, "cache_read": 2000, "cache_creation": 100}
    assert cost == pytest.approx(0.003075)
