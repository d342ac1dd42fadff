"""A newcomer adds a delivery stage and an agent by copying one file."""

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from otel_pipeline.config import DEFAULT_FILE
from otel_pipeline.connectors.stage_metrics import StageMetrics, StageMetricsConfig
from otel_pipeline.pdata import Batch
from otel_pipeline.processors.semconv import Semconv, SemconvConfig
from otel_pipeline.semconv import load
from otel_pipeline.semconv.check import check
from otel_pipeline.testing import FakeTime, make_log, make_logs, make_settings, make_span, make_traces
from tests.oracle.stages import metrics_in, texts

EXAMPLE = DEFAULT_FILE.parent / "examples" / "semconv" / "review_agent.yaml"
SCHEMA = Path(__file__).parents[1] / "fixtures" / "schemas" / "semconv.schema.v2.json"
RESOURCE = {"service.name": "review-bot-2", "project": "shop"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder with a copy of the file."""
    shutil.copy(EXAMPLE, tmp_path / "reviewer.yaml")
    return tmp_path


class Pipeline:
    """The processor and the connector with a user's folder, as the gateway has them in a row."""

    def __init__(self, folder: Path) -> None:
        self.time = FakeTime()
        self.semconv = Semconv(SemconvConfig(directories=(folder,)), make_settings("semconv", time=self.time))
        options = StageMetricsConfig(directories=(folder,))
        self.stage_metrics = StageMetrics(options, make_settings("stage_metrics", time=self.time))

    def send(self, batch: Batch) -> None:
        enriched = self.semconv.process(batch)
        assert enriched
        self.stage_metrics.process(enriched)

    def series(self) -> dict[str, dict[str, str]]:
        """Labels of the only series of each metric, once everything is counted."""
        self.time.advance(3600)
        flushed = metrics_in(self.stage_metrics.flush(self.time.unix_ns))
        points: dict[str, Any] = {
            name: [*metric.sum.data_points, *metric.gauge.data_points, *metric.histogram.data_points]
            for name, metric in flushed.items()
        }
        return {name: texts(found[0].attributes) for name, found in points.items() if len(found) == 1}


def test_the_file_is_right(folder: Path) -> None:
    """It has no problem, and other tools can read it."""
    assert check([folder])[1] == []
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    assert [error.message for error in validator.iter_errors(yaml.safe_load(EXAMPLE.read_text()))] == []


def test_the_stage_has_its_place(folder: Path) -> None:
    """It is the eleventh stage, behind coding, with its role and duration."""
    stages = load([folder]).stages
    assert len(stages) == len(load().stages) + 1 == 11
    (index,) = [index for index, stage in enumerate(stages) if stage.value == "code_review"]
    assert stages[index - 1].value == "coding"
    facts = stages[index].stage
    assert facts
    assert (facts.role, facts.expected_duration_seconds) == ("review_agent", 1200)


def test_its_spans_are_runs_of_the_stage(folder: Path) -> None:
    """Stage metrics count them with stage, agent and outcome, though the agent says nothing of any of these."""
    pipeline = Pipeline(folder)
    review = make_span("review 17", span=1, seconds=60, review__verdict="rejected")
    inner = make_span("read", span=2, parent=1, seconds=5)
    pipeline.send(make_traces(inner, review, resource=RESOURCE))
    series = pipeline.series()
    common = {"project_id": "shop", "stage": "code_review", "agent": "reviewer"}
    assert series["sdlc.stage.runs"] == {**common, "outcome": "rejected"}
    assert series["sdlc.operation.duration"] == common | {
        "operation": "read",
        "model": "unknown",
        "outcome": "success",
    }


def test_its_log_records_are_read(folder: Path) -> None:
    """They make the metric of the file's own, and a model request carries its tokens."""
    pipeline = Pipeline(folder)
    pipeline.send(make_logs(make_log("review.finding", level="major"), resource=RESOURCE))
    assert pipeline.series()["review_agent.findings"] == {
        "project_id": "shop",
        "stage": "code_review",
        "severity": "major",
    }
    usage = next(rule.usage for rule in load([folder]).rules if rule.id == "review.model_request")
    assert usage
    assert usage.tokens == {"input": ("tokens_in",), "output": ("tokens_out",)}
