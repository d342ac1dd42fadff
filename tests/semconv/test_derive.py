"""The plan of the native aggregator, from files that say one of everything."""

import json
from pathlib import Path

from otel_pipeline.semconv import load, metric_plan

GOLDEN = Path(__file__).parents[1] / "golden" / "derive"
OWN = (
    "analysis.tasks",
    "review.duration",
    "test_pod_phase",
    "llm.tokens",
    "stage.order",
    "requirement.lead_time",
)


def test_plan_of_everything() -> None:
    """Every key of a derived metric and of usage stands in the plan as the aggregator reads it."""
    registry = load([GOLDEN])
    plan = metric_plan(registry)
    usage = plan["usage"] or {}
    usage["rules"] = [rule for rule in usage["rules"] if "acme" in json.dumps(rule["selector"])]
    usage["prices"] = [price for price in usage["prices"] if price["model"] == "acme-1"]
    plan["metrics"] = [metric for metric in plan["metrics"] if metric["name"] in OWN]
    observed = json.dumps(plan, indent=1) + "\n"
    expected = GOLDEN / "expected.json"
    if not expected.exists() or json.loads(expected.read_text()) != json.loads(observed):
        (GOLDEN / "observed.json").write_text(observed)
    assert json.loads(observed) == json.loads(expected.read_text())


def test_facts_of_members() -> None:
    """Stages, models and projects are told with what the files say of them."""
    registry = load([GOLDEN])
    stages = {stage.value: stage.stage for stage in registry.stages}
    assert (stages["coding"].role, stages["coding"].expected_duration_seconds) == ("coding_agent", 7200.0)  # type: ignore[union-attr]
    (project,) = [one.project for one in registry.projects if one.value == "shop"]
    assert project
    assert (project.owner, project.ticket_patterns) == ("team-a", ("SHOP-[0-9]+",))
    document = registry.attributes["doc.id"]
    assert document.identifies
    assert (document.identifies.kind, document.content, document.canonical) == ("document", "prompt", False)
