"""Telemetry recorded from real agents, through the shipped rules and metrics: each agent's golden folder says what every
item gets (`items.txt`) and which series come of all of it together (`series.txt`)."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_pipeline.connectors.stage_metrics import StageMetrics, StageMetricsConfig
from otel_pipeline.pdata import Batch, Limits, Signal, decode, to_proto
from otel_pipeline.processors.semconv import Semconv, SemconvConfig
from otel_pipeline.semconv import load
from otel_pipeline.testing import FakeTime, make_settings

TESTS = Path(__file__).parents[1]
GOLDEN = TESTS / "golden" / "recorded"
RECORDED = TESTS / "fixtures" / "recorded"
AGENTS = {"claude_code": "claude-code-*.pb", "openclaw": "openclaw-*", "codex": "codex-*"}
CANONICAL = tuple(load().canonical)


def recordings(agent: str) -> Iterator[Batch]:
    """What the agent sent, enriched."""
    enrichment = Semconv(SemconvConfig(), make_settings("semconv"))
    for path in sorted(RECORDED.glob(AGENTS[agent])):
        (signal,) = (signal for signal in Signal if f".{signal}." in path.name)
        batch, findings = decode(signal, path.read_bytes(), path.suffix == ".json", Limits())
        assert findings is None
        enriched = enrichment.process(batch)
        assert enriched is not None
        yield enriched


def lines_of(agent: str, name: str) -> list[str]:
    """The golden file without the comments between its lines."""
    lines = (GOLDEN / agent / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def compare(agent: str, name: str, observed: list[str]) -> None:
    """Compares with the golden file, in any order of lines; writes what came out instead."""
    if sorted(observed) != sorted(lines_of(agent, name)):
        (GOLDEN / agent / f"observed_{name}").write_text("\n".join(observed) + "\n")
    assert sorted(observed) == sorted(lines_of(agent, name))


# --- what every item gets


def text(value: Any) -> str:
    found = getattr(value, value.WhichOneof("value"))
    return str(found).lower() if isinstance(found, bool) else str(found)


def known(attributes: Any) -> str:
    found = {one.key: text(one.value) for one in attributes if one.key in CANONICAL}
    return " ".join(f"{key}={found[key]}" for key in CANONICAL if key in found)


def named_items(batch: Batch, scope: Any) -> Iterator[tuple[str, Any]]:
    if batch.signal == Signal.TRACES:
        yield from ((span.name, span.attributes) for span in scope.spans)
    elif batch.signal == Signal.LOGS:
        for record in scope.log_records:
            names = [one.value.string_value for one in record.attributes if one.key == "event.name"]
            yield names[0] if names else "(no name)", record.attributes
    else:
        for metric in scope.metrics:
            points = getattr(metric, metric.WhichOneof("data")).data_points
            yield from ((metric.name, point.attributes) for point in points)


def told(batch: Batch) -> Iterator[str]:
    """What stands on resources and scopes, and what on their items: equal ones in one line, with their number."""
    for resource in getattr(to_proto(batch), f"resource_{batch.signal}".replace("traces", "spans")):
        yield f"{batch.signal}: {known(resource.resource.attributes)}".rstrip()
        for scope in getattr(resource, f"scope_{batch.signal}".replace("traces", "spans")):
            yield f"  {scope.scope.name}: {known(scope.scope.attributes)}".rstrip()
            items = Counter(f"{name}: {known(have)}".rstrip() for name, have in named_items(batch, scope))
            yield from (f"    {count} {item}" for item, count in sorted(items.items()))


@pytest.mark.parametrize("agent", AGENTS)
def test_every_item_gets_what_its_sender_tells(agent: str) -> None:
    """Project, stage and agent stand on resource and scope; operation, model, tool, outcome and error on the item."""
    compare(agent, "items.txt", [line for batch in recordings(agent) for line in told(batch)])


# --- what is counted


def series(agent: str) -> Iterator[str]:
    """Every series that the recording gives, once all of it was decided."""
    time = FakeTime()
    connector = StageMetrics(StageMetricsConfig(), make_settings("stage_metrics", time=time))
    for batch in recordings(agent):
        if batch.signal in connector.signals:
            connector.process(batch)
    found: dict[str, str] = {}
    for seconds in (31, 31, 3600, 31):
        time.advance(seconds)
        flushed = connector.flush(time.unix_ns)
        if flushed is not None:
            found |= dict(shown(flushed))
    return (f"{name} {value}" for name, value in sorted(found.items()))


def shown(batch: Batch) -> Iterator[tuple[str, str]]:
    for resource in to_proto(batch).resource_metrics:
        for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
            for point in getattr(metric, metric.WhichOneof("data")).data_points:
                labels = ", ".join(f"{one.key}={one.value.string_value}" for one in point.attributes)
                if metric.HasField("histogram"):
                    yield f"{metric.name}{{{labels}}}", f"{point.count} in {point.sum:.3f} {metric.unit}"
                else:
                    value = point.as_double if point.HasField("as_double") else point.as_int
                    yield f"{metric.name}{{{labels}}}", f"{value:.6g}"


@pytest.mark.parametrize("agent", AGENTS)
def test_every_agent_is_measured_from_its_own_defaults(agent: str) -> None:
    """Stage runs, errors by type, operations, tool calls, tokens and cost, of nothing but OTEL_RESOURCE_ATTRIBUTES.

    Compared are the metrics that the golden file names, each with all its series.
    """
    named = {line.partition("{")[0] for line in lines_of(agent, "series.txt")}
    compare(agent, "series.txt", [line for line in series(agent) if line.partition("{")[0] in named])
