"""What stage runs mean for their requirements and environments."""

from typing import Any

import pytest

from otel_pipeline.journeys.flow import Event, Flow, FlowRules, StageRun

HOUR = 3600 * 10**9
RULES = FlowRules(
    order={"analysis": 0, "coding": 1, "unit_test": 2, "deployment": 3, "acceptance": 4},
    milestones={"coding": "commit", "deployment": "deployment", "acceptance": "acceptance"},
    repairing=frozenset({"defect"}),
)


def make_flow(**options: int) -> Flow:
    return Flow(RULES, **{"idle_ns": 90 * 24 * HOUR, "limit": 1000} | options)


def run(stage: str, start: float, end: float, **more: str) -> StageRun:
    """A run of REQ-1 in project shop; times in hours."""
    values: dict[str, Any] = {
        "project": "shop",
        "requirement": "REQ-1",
        "outcome": "success",
        "requirement_class": "",
        "environment": "",
        "rollback_reason": "",
    }
    return StageRun(stage=stage, start_unix_ns=int(start * HOUR), end_unix_ns=int(end * HOUR), **values | more)


def told(flow: Flow, name: str) -> list[Event]:
    return [event for event in flow.events() if event.name == name]


def test_each_stage_is_entered_once_with_the_time_that_was_waited() -> None:
    """The first entry waits for nothing; a second run of the same stage is no entry; overlapping stages wait 0."""
    flow = make_flow()
    flow.runs([run("analysis", 1, 2), run("coding", 5, 6), run("coding", 7, 9), run("unit_test", 8, 10)])
    entered = told(flow, "sdlc.stage.entered")
    assert [(one.attributes["sdlc.stage.name"], one.attributes.get("sdlc.stage.wait")) for one in entered] == [
        ("analysis", None),
        ("coding", 3 * 3600),
        ("unit_test", 0),
    ]


def test_what_is_inside_a_later_stage_is_no_rework() -> None:
    """Tests inside a deployment send nothing back; those that go on after it do."""
    flow = make_flow()
    flow.runs([run("unit_test", 0, 1), run("deployment", 2, 4), run("unit_test", 2.5, 3)])
    flow.runs([run("deployment", 5, 7), run("unit_test", 6, 8)])
    again = [one.attributes.get("sdlc.stage.reentered") for one in told(flow, "sdlc.stage.entered")]
    assert again == [None, False, False, False, True]


def test_coming_back_from_a_later_stage_is_rework() -> None:
    """Only the stage that is entered again after a later one, not the way forward from there."""
    flow = make_flow()
    flow.runs([run("coding", 1, 2), run("unit_test", 2, 3), run("coding", 3, 4), run("unit_test", 4, 5)])
    again = [one.attributes.get("sdlc.stage.reentered") for one in told(flow, "sdlc.stage.entered")]
    assert again == [None, False, True, False]


def test_acceptance_ends_a_requirement_once() -> None:
    """Lead time from the first start, work time as a share of it with overlaps counted once, cost and class."""
    flow = make_flow()
    flow.runs([run("analysis", 0, 2, requirement_class="feature"), run("coding", 1, 3)])
    flow.cost("shop", "REQ-1", 2.5)
    flow.cost("shop", "REQ-of-others", 7)
    flow.runs([run("acceptance", 9, 10), run("acceptance", 11, 12)])
    (ended,) = told(flow, "sdlc.requirement.ended")
    assert ended.attributes == {
        "sdlc.project.id": "shop",
        "sdlc.requirement.id": "REQ-1",
        "sdlc.requirement.class": "feature",
        "sdlc.outcome": "success",
        "sdlc.requirement.lead_time": 10 * 3600,
        "sdlc.requirement.active_time_ratio": pytest.approx(0.4),
        "sdlc.requirement.cost_usd": 2.5,
    }


def test_a_run_that_comes_late_adds_work_but_no_entry() -> None:
    """Runs arrive when they end: one that began earlier than one that is known changes no order that was told."""
    flow = make_flow()
    flow.runs([run("coding", 5, 6)])
    flow.runs([run("analysis", 1, 8)])
    flow.runs([run("acceptance", 10, 11)])
    events = flow.events()
    assert [one.attributes["sdlc.stage.name"] for one in events if one.name == "sdlc.stage.entered"] == [
        "coding",
        "acceptance",
    ]
    assert events[-1].attributes["sdlc.requirement.lead_time"] == 10 * 3600


def test_gauges_show_open_requirements_by_stage_and_go_to_zero() -> None:
    """A requirement is in the stage of the run that began last; what has ended is in none."""
    flow = make_flow()
    flow.runs([run("coding", 1, 2), run("coding", 3, 4, requirement="REQ-2")])
    now = {(one.name, one.attributes["sdlc.stage.name"]): one.value for one in flow.gauges(11 * HOUR)}
    assert now == {("sdlc.requirements.in_stage", "coding"): 2, ("sdlc.requirement.oldest_age", "coding"): 10 * 3600}
    flow.runs([run("acceptance", 12, 13), run("acceptance", 12, 13, requirement="REQ-2")])
    assert {one.value for one in flow.gauges(14 * HOUR)} == {0}
    assert flow.gauges(15 * HOUR) == []


def test_what_is_idle_for_long_ends_as_cancelled() -> None:
    """Told with its lead time up to the last run, and forgotten."""
    flow = make_flow(idle_ns=10 * HOUR)
    flow.runs([run("coding", 1, 2)])
    flow.gauges(11 * HOUR)
    assert told(flow, "sdlc.requirement.ended") == []
    flow.gauges(12 * HOUR)
    (ended,) = told(flow, "sdlc.requirement.ended")
    assert ended.attributes["sdlc.outcome"] == "cancelled"
    assert ended.attributes["sdlc.requirement.lead_time"] == 3600
    assert flow.requirements == {}


def test_the_first_deployment_in_production_ends_a_change() -> None:
    """From the first run of a stage that commits; staging does not count, nor does a second deployment."""
    flow = make_flow()
    flow.runs([run("coding", 2, 3), run("deployment", 4, 5, environment="staging")])
    flow.runs([run("deployment", 6, 7, environment="production"), run("deployment", 8, 9, environment="production")])
    (deployed,) = told(flow, "sdlc.change.deployed")
    assert deployed.attributes["sdlc.change.lead_time"] == 5 * 3600


@pytest.mark.parametrize(
    "after",
    [
        run("deployment", 4, 5, environment="production", outcome="success", rollback_reason="error_rate"),
        run("acceptance", 4, 5, outcome="failure"),
        run("deployment", 4, 5, environment="production", requirement="BUG-7", requirement_class="defect"),
    ],
    ids=["rollback", "failed acceptance", "hotfix"],
)
def test_a_deployment_is_failed_once_by_what_comes_after(after: StageRun) -> None:
    """A rollback, an acceptance that failed, or a repair."""
    flow = make_flow()
    flow.runs([run("deployment", 1, 2, environment="production"), after, after])
    (failed,) = told(flow, "sdlc.deployment.failed")[:1]
    assert failed.attributes == {"sdlc.project.id": "shop", "deployment.environment.name": "production"}


def test_a_failed_deployment_is_recovered_by_the_next_good_one_which_is_rework() -> None:
    """Recovery runs from the end of the first failure; other environments are not touched."""
    flow = make_flow()
    flow.runs(
        [
            run("deployment", 1, 2, environment="production", outcome="failure"),
            run("deployment", 2, 3, environment="staging"),
            run("deployment", 3, 4, environment="production", outcome="failure"),
            run("deployment", 5, 6, environment="production"),
            run("deployment", 7, 8, environment="production"),
        ]
    )
    events = flow.events()
    names = [one.name for one in events if one.name.startswith("sdlc.deployment.")]
    assert names.count("sdlc.deployment.failed") == 2
    assert names.count("sdlc.deployment.repaired") == 2
    (recovered,) = [one for one in events if one.name == "sdlc.deployment.recovered"]
    assert recovered.attributes["sdlc.recovery.time"] == 4 * 3600


def test_memory_is_bounded() -> None:
    """Over the limit, requirements that were idle for longest are let go, and counted; intervals of one are joined."""
    flow = make_flow(limit=10)
    for number in range(25):
        flow.runs([run("coding", number, number + 0.5, requirement=f"REQ-{number}")])
    assert len(flow.requirements) <= 10
    assert ("shop", "REQ-24") in flow.requirements
    assert flow.forgotten == 15
    for number in range(500):
        flow.runs([run("coding", 100 + number, 100 + number + 0.5)])
    assert len(flow.requirements["shop", "REQ-1"].intervals) == 200
