"""Recorded telemetry of a real agent, through decoder, enrichment and stage metrics as they are shipped."""

from pathlib import Path
from typing import Any

import pytest

from otel_pipeline.connectors.stage_metrics import StageMetrics, StageMetricsConfig
from otel_pipeline.pdata import Limits, decode, to_json, to_proto
from otel_pipeline.processors.semconv import Semconv, SemconvConfig
from otel_pipeline.testing import FakeTime, make_settings

RECORDED = Path(__file__).parents[1] / "fixtures" / "recorded"
NAME = "claude-code-2.1.330_default.traces.otlp"


def measure(body: bytes, *, json: bool) -> dict[tuple[str, tuple[tuple[str, str], ...]], Any]:
    """What the shipped rules count: value, or sum and number, by metric and labels."""
    batch, findings = decode("traces", body, json, Limits())
    assert findings is None
    time = FakeTime()
    enriched = Semconv(SemconvConfig(), make_settings("semconv")).process(batch)
    assert enriched is not None
    connector = StageMetrics(StageMetricsConfig(), make_settings("stage_metrics", time=time))
    connector.process(enriched)
    time.advance(31)
    metrics = connector.flush(time.unix_ns)
    assert metrics is not None
    found = {}
    for metric in to_proto(metrics).resource_metrics[0].scope_metrics[0].metrics:
        for point in getattr(metric, metric.WhichOneof("data")).data_points:
            labels = tuple(sorted((pair.key, pair.value.string_value) for pair in point.attributes))
            histogram = metric.HasField("histogram")
            found[metric.name, labels] = (
                (point.count, round(point.sum, 6)) if histogram else point.as_int or point.as_double
            )
    return found


def test_protobuf_and_json_give_the_same_result() -> None:
    """The same recording in both encodings is counted alike, to the last label."""
    recorded = (RECORDED / f"{NAME}.pb").read_bytes()
    batch, _ = decode("traces", recorded, False, Limits())
    assert measure(to_json(batch), json=True) == measure(recorded, json=False)


@pytest.mark.parametrize("encoding", ["json", "pb"])
def test_claude_code_is_measured_from_its_defaults(encoding: str) -> None:
    """Stage runs of the project and stage that it was told, the model from its requests, and the one failed command."""
    found = measure((RECORDED / f"{NAME}.{encoding}").read_bytes(), json=encoding == "json")
    common = {("project_id", "demo"), ("stage", "coding"), ("agent", "claude_code")}
    for name, labels in found:
        told = {pair for pair in labels if pair[0] in ("project_id", "stage", "agent")}
        assert told <= common or name == "sdlc.stage.order"
    runs = {labels: value for (name, labels), value in found.items() if name == "sdlc.stage.runs"}
    assert sum(runs.values()) == 2
    errors = {labels: value for (name, labels), value in found.items() if name == "sdlc.stage.errors"}
    ((labels, value),) = errors.items()
    assert value == 1
    assert ("error_type", "ShellError") in labels
    durations = [dict(labels)["model"] for name, labels in found if name == "sdlc.stage.duration"]
    assert durations == ["claude-sonnet-4-5"]
