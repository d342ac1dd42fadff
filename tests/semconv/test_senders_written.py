"""Senders without recordings: what their rules make of payloads written from their documentation.

tests/fixtures/written/README.md says what each payload was written from; tests/golden/senders holds the canonical
attributes of each item.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_pipeline.connectors.stage_metrics import StageMetrics, StageMetricsConfig
from otel_pipeline.pdata import Batch, Limits, decode, enrich, to_proto
from otel_pipeline.semconv import compile_plan, load
from otel_pipeline.testing import FakeTime, make_settings
from tests.oracle.stages import metrics_in, texts

TESTS = Path(__file__).parents[1]
WRITTEN = TESTS / "fixtures" / "written"
GOLDEN = TESTS / "golden" / "senders"
USAGE = TESTS / "fixtures" / "usage_metrics"
REGISTRY = load()
PLAN = compile_plan(REGISTRY)
FILES = sorted(path.name.removesuffix(".otlp.json") for path in WRITTEN.glob("*.otlp.json"))


def written(name: str) -> Batch:
    """A payload by its name without the ending: `jenkins.traces`. It is read as a receiver reads it, without findings."""
    batch, findings = decode(name.rpartition(".")[2], (WRITTEN / f"{name}.otlp.json").read_bytes(), True, Limits())
    assert findings is None
    return batch


def values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes if one.HasField("value")}


def items(batch: Batch) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and attributes of every item; where it has none, those of its scope, else of its resource."""
    request = to_proto(batch)
    groups, inner = FIELDS[batch.signal]
    for resource in getattr(request, f"resource_{groups}"):
        for scope in getattr(resource, f"scope_{groups}"):
            around = values(resource.resource.attributes) | values(scope.scope.attributes)
            for one in getattr(scope, inner):
                for name, attributes in named(batch.signal, one):
                    yield name, around | values(attributes)


FIELDS = {"traces": ("spans", "spans"), "logs": ("logs", "log_records"), "metrics": ("metrics", "metrics")}


def named(signal: str, one: Any) -> Iterator[tuple[str, Any]]:
    if signal == "traces":
        yield one.name, one.attributes
    elif signal == "logs":
        yield values(one.attributes).get("event.name", one.event_name), one.attributes
    else:
        for point in getattr(one, one.WhichOneof("data")).data_points:
            yield one.name, point.attributes


@pytest.mark.parametrize("name", FILES)
def test_canonical_attributes(name: str) -> None:
    """Every item of a written payload gets exactly the canonical attributes of its golden file; `observed` shows what
    came out instead."""
    enriched, _ = enrich(written(name), PLAN)
    observed = [
        json.dumps({"": item} | {key: value for key, value in sorted(known.items()) if key in REGISTRY.canonical})
        for item, known in items(enriched)
    ]
    expected = GOLDEN / f"{name}.jsonl"
    text = "\n".join(observed) + "\n"
    if not expected.exists() or expected.read_text() != text:
        (GOLDEN / f"observed.{name}.jsonl").write_text(text)
        pytest.fail(f"{name}: the golden file and what was observed differ")


class Counted:
    """What the stage metrics show once everything that a sender sent is counted."""

    def __init__(self, sender: str, *signals: str) -> None:
        time = FakeTime()
        connector = StageMetrics(StageMetricsConfig(directories=(USAGE,)), make_settings("stage_metrics", time=time))
        for signal in signals or ("traces", "logs", "metrics"):
            if (WRITTEN / f"{sender}.{signal}.otlp.json").exists():
                connector.process(enrich(written(f"{sender}.{signal}"), PLAN)[0])
        time.advance(60)
        connector.draining = True
        self.metrics = metrics_in(connector.flush(time.unix_ns))

    def by(self, metric: str, *labels: str) -> Counter[tuple[str, ...]]:
        """Observations of a metric by the values of some of its labels; of sums their value."""
        found: Counter[tuple[str, ...]] = Counter()
        data = self.metrics.get(metric)
        for point in [] if data is None else getattr(data, data.WhichOneof("data") or "sum").data_points:
            known = texts(point.attributes)
            number = point.count if hasattr(point, "count") else point.as_int or point.as_double
            found[tuple(known[label] for label in labels)] += number
        return found


STAGE_RUNS = {
    "gemini": {("coding", "gemini", "success"): 1},
    "copilot": {("coding", "copilot", "success"): 2},
    "jenkins": {
        ("ci_cd", "jenkins", "success"): 1,
        ("ci_cd", "jenkins", "failure"): 1,
        ("ci_cd", "jenkins", "cancelled"): 2,
        ("unit_test", "jenkins", "cancelled"): 1,
        ("ui_acceptance", "jenkins", "failure"): 1,
        ("deployment", "jenkins", "failure"): 1,
    },
    "github_receiver": {
        ("ci_cd", "github_actions", "failure"): 2,
        ("ci_cd", "github_actions", "cancelled"): 1,
        ("unit_test", "github_actions", "failure"): 1,
    },
    "github_otel_cicd_action": {
        ("ci_cd", "github_actions", "failure"): 2,
        ("integration_test", "github_actions", "failure"): 1,
    },
    "github_otel_export_trace": {
        ("ci_cd", "github_actions", "failure"): 2,
        ("integration_test", "github_actions", "failure"): 1,
    },
    "cicd": {
        ("ci_cd", "unknown", "failure"): 1,
        ("ci_cd", "unknown", "cancelled"): 1,
        ("unit_test", "unknown", "success"): 1,
        ("unit_test", "unknown", "failure"): 1,
        ("integration_test", "unknown", "failure"): 1,
        ("deployment", "unknown", "success"): 1,
        ("deployment", "unknown", "failure"): 1,
        ("ui_acceptance", "unknown", "failure"): 1,
    },
    "traceloop": {("prd_design", "unknown", "success"): 1},
    "openinference": {("technical_design", "unknown", "success"): 1},
    "gen_ai": {("api_design", "unknown", "success"): 1},
}


@pytest.mark.parametrize("sender", sorted(STAGE_RUNS))
def test_stage_runs(sender: str) -> None:
    """Runs by stage, agent and outcome: what was skipped is none, what is a part of a run is none of its own."""
    assert Counted(sender).by("sdlc.stage.runs", "stage", "agent", "outcome") == STAGE_RUNS[sender]


ERRORS = {
    "gemini": {("coding", "edit_no_occurrence_found"): 1, ("coding", "429"): 1},
    "copilot": {("coding", "CommandFailedError"): 1, ("coding", "failure"): 1},
    "jenkins": {
        ("ui_acceptance", "unstable"): 1,
        ("deployment", "hudson.AbortException"): 1,
        ("ci_cd", "org.jenkinsci.plugins.workflow.steps.FlowInterruptedException"): 1,
    },
    "github_receiver": {("unit_test", "_OTHER"): 1, ("ci_cd", "timeout"): 1},
    "github_otel_cicd_action": {("integration_test", "timeout"): 1, ("ci_cd", "_OTHER"): 1},
    "github_otel_export_trace": {("integration_test", "timeout"): 1, ("ci_cd", "_OTHER"): 1},
    "cicd": {
        ("integration_test", "timeout"): 1,
        ("ui_acceptance", "timeout"): 1,
        ("unit_test", "test_failure"): 1,
        ("deployment", "_OTHER"): 1,
    },
    "traceloop": {("prd_design", "RateLimitError"): 1},
    "openinference": {("technical_design", "KeyError"): 1},
    "gen_ai": {("api_design", "LintError"): 1},
}


@pytest.mark.parametrize("sender", sorted(ERRORS))
def test_errors(sender: str) -> None:
    """Each failure once, where it begins, with what it was; those that no status shows, too."""
    assert Counted(sender).by("sdlc.stage.errors", "stage", "error_type") == ERRORS[sender]


OPERATIONS = {
    "gemini": {
        ("chat", "success"): 1,
        ("chat", "failure"): 1,
        ("execute_tool", "success"): 1,
        ("execute_tool", "failure"): 1,
        ("execute_tool", "cancelled"): 1,
        ("invoke_agent", "success"): 1,
        ("agent_step", "success"): 1,
    },
    "copilot": {
        ("chat", "success"): 2,
        ("chat", "cancelled"): 1,
        ("execute_tool", "success"): 1,
        ("execute_tool", "failure"): 2,
        ("hook", "rejected"): 1,
    },
    "jenkins": {
        ("cicd.queue", "success"): 2,
        ("cicd.pipeline.task", "success"): 2,
        ("cicd.pipeline.task", "failure"): 1,
        ("cicd.pipeline.step", "success"): 1,
        ("cicd.pipeline.step", "failure"): 3,
        ("cicd.pipeline.step", "cancelled"): 1,
    },
    "github_receiver": {
        ("cicd.pipeline.run", "skipped"): 1,
        ("cicd.queue", "success"): 3,
        ("cicd.pipeline.task", "success"): 1,
        ("cicd.pipeline.task", "failure"): 1,
        ("cicd.pipeline.task", "skipped"): 1,
        ("cicd.pipeline.step", "success"): 1,
        ("cicd.pipeline.step", "failure"): 1,
        ("cicd.pipeline.step", "skipped"): 1,
        ("cicd.pipeline.step", "cancelled"): 1,
    },
    "github_otel_cicd_action": {
        ("cicd.queue", "success"): 1,
        ("cicd.pipeline.task", "success"): 1,
        ("cicd.pipeline.task", "failure"): 1,
        ("cicd.pipeline.task", "skipped"): 1,
        ("cicd.pipeline.step", "success"): 1,
        ("cicd.pipeline.step", "failure"): 1,
        ("cicd.pipeline.step", "cancelled"): 1,
    },
    "cicd": {
        ("cicd.pipeline.task", "success"): 1,
        ("cicd.pipeline.task", "skipped"): 1,
        ("test.case", "success"): 1,
        ("test.case", "failure"): 1,
        ("test.suite", "skipped"): 1,
    },
    "traceloop": {
        ("chat", "success"): 2,
        ("chat", "failure"): 1,
        ("execute_tool", "success"): 1,
        ("task", "success"): 1,
    },
    "openinference": {
        ("chat", "success"): 1,
        ("embeddings", "success"): 1,
        ("execute_tool", "failure"): 1,
        ("retrieval", "success"): 1,
        ("invoke_agent", "success"): 1,
    },
    "gen_ai": {("chat", "success"): 3, ("execute_tool", "failure"): 1},
}


@pytest.mark.parametrize("sender", sorted(OPERATIONS))
def test_operations(sender: str) -> None:
    """Operations by outcome, without the sender's inner workings."""
    assert Counted(sender, "traces").by("sdlc.operation.duration", "operation", "outcome") == OPERATIONS[sender]


TOKENS = {
    "gemini": {
        ("gemini-2.5-pro", "input"): 9000 + 40 - 6000,
        ("gemini-2.5-pro", "output"): 300,
        ("gemini-2.5-pro", "cache_read"): 6000,
        ("gemini-2.5-pro", "reasoning"): 500,
    },
    "copilot": {
        ("gpt-5", "input"): 1500 - 1200,
        ("gpt-5", "output"): 250 - 100,
        ("gpt-5", "cache_read"): 1200,
        ("gpt-5", "reasoning"): 100,
        ("claude-sonnet-4-5", "input"): 4000 - 3000 - 500,
        ("claude-sonnet-4-5", "output"): 400,
        ("claude-sonnet-4-5", "cache_read"): 3000,
        ("claude-sonnet-4-5", "cache_creation"): 500,
    },
    "traceloop": {
        ("claude-sonnet-4-5", "input"): 5000 - 3000 - 1000,
        ("claude-sonnet-4-5", "output"): 700,
        ("claude-sonnet-4-5", "cache_read"): 3000,
        ("claude-sonnet-4-5", "cache_creation"): 1000,
        ("gpt-4o", "input"): 1000 - 600,
        ("gpt-4o", "output"): 200 - 50,
        ("gpt-4o", "cache_read"): 600,
        ("gpt-4o", "reasoning"): 50,
    },
    "openinference": {
        ("gpt-5", "input"): 2000 - 1500,
        ("gpt-5", "output"): 500 - 300,
        ("gpt-5", "cache_read"): 1500,
        ("gpt-5", "reasoning"): 300,
        ("text-embedding-3-small", "input"): 80,
    },
    "gen_ai": {
        ("claude-sonnet-4-5", "input"): (3000 - 2000 - 500) + 200,
        ("claude-sonnet-4-5", "output"): 400 + 50,
        ("claude-sonnet-4-5", "cache_read"): 2000 + 5000,
        ("claude-sonnet-4-5", "cache_creation"): 500,
        ("gpt-4o", "input"): 1000,
        ("gpt-4o", "output"): 100,
        ("gpt-5-mini", "input"): 700,
        ("gpt-5-mini", "output"): 90 - 30,
        ("gpt-5-mini", "reasoning"): 30,
        ("gpt-4.1", "input"): 4000 + 300,
        ("gpt-4.1", "output"): 400 + 30,
        ("claude-haiku-4-5", "input"): 900 - 600 - 100,
        ("claude-haiku-4-5", "output"): 90 - 40,
        ("claude-haiku-4-5", "cache_read"): 600,
        ("claude-haiku-4-5", "cache_creation"): 100,
        ("claude-haiku-4-5", "reasoning"): 40,
    },
}


@pytest.mark.parametrize("sender", sorted(TOKENS))
def test_tokens(sender: str) -> None:
    """Tokens of each request once, though spans, log records and data points tell it, in kinds that never overlap."""
    counted = Counted(sender).by("usage.tokens", "model", "token_type")
    assert {labels: tokens for labels, tokens in counted.items() if tokens} == TOKENS[sender]


def test_tokens_of_gemini_from_data_points() -> None:
    """Where only metrics are sent, they tell the same."""
    assert Counted("gemini", "metrics").by("usage.tokens", "model", "token_type") == TOKENS["gemini"]


def test_tokens_of_copilot_from_data_points() -> None:
    """Where only metrics are sent, the kinds inside others are not known, and the sum is the same."""
    assert Counted("copilot", "metrics").by("usage.tokens", "model", "token_type") == {
        ("gpt-5", "input"): 1500,
        ("gpt-5", "output"): 250,
        ("claude-sonnet-4-5", "input"): 4000,
        ("claude-sonnet-4-5", "output"): 400,
    }


COST_USD = {
    "gemini": {("gemini-2.5-pro",): (3040 * 1.25 + (300 + 500) * 10 + 6000 * 0.125) / 1e6},
    "copilot": {
        ("gpt-5",): (300 * 1.25 + (150 + 100) * 10 + 1200 * 0.125) / 1e6,
        ("claude-sonnet-4-5",): (500 * 3 + 400 * 15 + 3000 * 0.3 + 500 * 3.75) / 1e6,
    },
    "traceloop": {
        ("claude-sonnet-4-5",): (1000 * 3 + 700 * 15 + 3000 * 0.3 + 1000 * 3.75) / 1e6,
        ("gpt-4o",): (400 * 2.5 + (150 + 50) * 10 + 600 * 1.25) / 1e6,
    },
    "openinference": {
        ("gpt-5",): (500 * 1.25 + (200 + 300) * 10 + 1500 * 0.125) / 1e6,
        ("text-embedding-3-small",): 0.0000016,
    },
    "gen_ai": {
        ("claude-sonnet-4-5",): (700 * 3 + 450 * 15 + 7000 * 0.3 + 500 * 3.75) / 1e6,
        ("gpt-4o",): (1000 * 2.5 + 100 * 10) / 1e6,
        ("gpt-5-mini",): (700 * 0.25 + (60 + 30) * 2) / 1e6,
        ("gpt-4.1",): (4300 * 2 + 430 * 8) / 1e6,
        ("claude-haiku-4-5",): (200 * 1 + (50 + 40) * 5 + 600 * 0.1 + 100 * 1.25) / 1e6,
    },
}


@pytest.mark.parametrize("sender", sorted(COST_USD))
def test_cost(sender: str) -> None:
    """Cost is what the sender tells in money, else by the price list of December 2025."""
    assert Counted(sender).by("usage.cost", "model") == pytest.approx(COST_USD[sender])
