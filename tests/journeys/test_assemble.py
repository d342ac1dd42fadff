"""Journeys out of runs: stays, waiting, rework, money and what is missing, on stories that are written down."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_pipeline.journeys.assemble import assemble
from otel_pipeline.journeys.model import Journey, Key, Run, State, Usage
from otel_pipeline.journeys.resolve import OwnedRun, Resolution
from otel_pipeline.journeys.rules import assembly_rules
from otel_pipeline.semconv import load
from tests.journeys.memory import HOUR, at, req, run

RULES = assembly_rules(load())
R1, R2 = req("REQ-1"), req("REQ-2")
STAGES = tuple(RULES.order)
Story = tuple[Run, Any]


def journey(*stories: Story, now: float = 1000, others: Mapping[str, tuple[Key, ...]] | None = None) -> Journey:
    """Assembles the runs; `others` share those of a trace."""
    shared = others or {}
    owned = tuple(OwnedRun(run, shared.get(run.trace_id, ()), "named", 0) for run, _ in stories)
    made = assemble(Resolution(R1, owned, (), ()), RULES, at(now))
    assert made is not None
    return made


def codes(journey: Journey) -> list[str]:
    return [note.code for note in journey.notes]


def test_nothing_known_is_no_journey() -> None:
    """A requirement without runs has none."""
    assert assemble(Resolution(R1, (), (), ()), RULES, at(0)) is None


def test_from_analysis_to_acceptance() -> None:
    """Lead time is from the first start to the acceptance, active what was worked, and the gaps are the rest."""
    told = journey(
        run("a", "requirement_analysis", 0, 2),
        run("b", "coding", 26, 29),
        run("c", "ui_acceptance", 99, 100),
    )
    assert (told.state, told.stage) == (State.ACCEPTED, "ui_acceptance")
    assert (told.lead_ns, told.active_ns) == (100 * HOUR, 6 * HOUR)
    assert told.flow_efficiency == pytest.approx(0.06)
    assert [(gap.after, gap.before, gap.end_ns - gap.start_ns) for gap in told.gaps] == [
        ("requirement_analysis", "coding", 24 * HOUR),
        ("coding", "ui_acceptance", 70 * HOUR),
    ]
    assert [visit.stage for visit in told.visits] == ["requirement_analysis", "coding", "ui_acceptance"]
    assert {total.stage: total.waiting_ns for total in told.stages}["coding"] == 24 * HOUR


@pytest.mark.parametrize(
    ("now", "state", "lead"),
    [(2.1, State.RUNNING, 2.1), (3, State.WAITING, 3), (24 * 90 + 2, State.CANCELLED, 2)],
)
def test_state_without_acceptance(now: float, state: State, lead: float) -> None:
    """Under way for a quarter of an hour after the last run, then waiting; after ninety days it was given up when it
    was last worked on. The lead time of what is open goes on."""
    told = journey(run("a", "coding", 0, 2), now=now)
    assert (told.state, told.lead_ns) == (state, round(lead * HOUR))
    assert told.visits[0].is_running == (state == State.RUNNING)
    assert [(gap.after, gap.before) for gap in told.gaps] == ([("coding", "")] if state == State.WAITING else [])


def test_what_is_inside_a_later_stage_is_no_rework() -> None:
    """Unit tests inside a build send nothing back; those that go on after it do."""
    told = journey(
        run("a", "unit_test", 0, 1),
        run("b", "ci_cd", 2, 4),
        run("b", "unit_test", 2.5, 3, parent="ci_cd@2"),
        run("c", "ci_cd", 5, 7),
        run("d", "unit_test", 6, 8),
    )
    stays = [("unit_test", False), ("ci_cd", False), ("unit_test", False), ("ci_cd", False), ("unit_test", True)]
    assert [(visit.stage, visit.is_rework) for visit in told.visits] == stays


def test_failed_acceptance_ends_nothing() -> None:
    """Only success accepts; what follows a failure is rework."""
    told = journey(
        run("a", "coding", 0, 1),
        run("b", "ui_acceptance", 2, 3, outcome="failure"),
        run("c", "coding", 4, 5),
        now=5.1,
    )
    assert told.state == State.RUNNING
    assert [(visit.stage, visit.outcome, visit.is_rework) for visit in told.visits] == [
        *(("coding", "success", False), ("ui_acceptance", "failure", False), ("coding", "success", True)),
    ]
    assert {total.stage: total.failed_runs for total in told.stages} == {"coding": 0, "ui_acceptance": 1}


def test_work_after_acceptance() -> None:
    """It is shown and noted; lead time and active time end with the acceptance."""
    told = journey(run("a", "ui_acceptance", 0, 1), run("b", "deployment", 5, 6))
    assert (told.lead_ns, told.active_ns, told.end_ns) == (HOUR, HOUR, at(6))
    assert "after_acceptance" in codes(told)


def test_parallel_work_counts_once() -> None:
    """Runs beside and inside each other take no more time than the clock."""
    told = journey(run("a", "coding", 0, 4), run("b", "unit_test", 1, 3), run("c", "coding", 2, 6), now=6)
    assert told.active_ns == 6 * HOUR
    assert {total.stage: total.active_ns for total in told.stages} == {"coding": 6 * HOUR, "unit_test": 2 * HOUR}


def test_parts_of_a_stage_belong_to_its_stay() -> None:
    """What is no run of its stage opens no stay, and counts in that one."""
    told = journey(
        run("a", "coding", 0, 4, span="x"),
        run("b", "unit_test", 5, 6),
        run("c", "coding", 5.5, 7, is_stage=False),
        run("d", "", 8, 9),
    )
    assert [visit.stage for visit in told.visits] == ["coding", "unit_test"]
    assert told.visits[0].end_ns == at(7)
    assert [total.stage for total in told.stages] == ["coding", "unit_test", ""]


@pytest.mark.parametrize(
    ("before", "waiting", "reason"),
    [
        ({}, {"sdlc.wait.reason": "review"}, "review"),
        ({}, {"sdlc.operation.name": "cicd.queue"}, "queue"),
        ({}, {"sdlc.intervention.type": "permission"}, "approval"),
        ({"sdlc.document.approval_status": "in_review"}, {}, "approval"),
        ({"sdlc.wait.reason": "peer review"}, {}, "peer_review"),
        ({"sdlc.wait.reason": "peer-review"}, {"sdlc.wait.reason": "queued"}, "queue"),
        ({"vcs.change.state": "opened"}, {}, "review"),
        ({"sdlc.review.outcome": "needs_changes"}, {}, "rework"),
        ({}, {}, ""),
    ],
)
def test_why_it_waits(before: dict[str, str], waiting: dict[str, str], reason: str) -> None:
    """What waited at that time tells it first, then what the work before ended with; else nobody knows."""
    stories = [run("a", "coding", 0, 1, facts=before, spans=9), run("b", "ci_cd", 50, 51)]
    if waiting:
        stories.append(run("w", "ci_cd", 2, 40, facts=waiting, is_stage=False))
    told = journey(*stories, now=51)
    expected = {"peer_review": "review"}.get(reason, reason)
    assert [(gap.reason, gap.end_ns - gap.start_ns) for gap in told.gaps] == [(expected, 49 * HOUR)]
    assert told.active_ns == 2 * HOUR


def test_a_change_waits_for_review_until_it_is_merged() -> None:
    """What was told of a change holds until something else is told of it, whatever happens in between."""
    told = journey(
        run("a", "coding", 0, 1),
        run("p", "", 1, 1.1, facts={"vcs.change.state": "opened"}),
        run("b", "ci_cd", 1, 2),
        run("m", "", 50, 50.1, facts={"vcs.change.state": "merged"}),
        run("c", "ci_cd", 60, 61),
        now=61,
    )
    assert [gap.reason for gap in told.gaps] == ["review", ""]


def test_shared_work_is_split() -> None:
    """A build for three requirements costs each a third; its errors and its time are everybody's."""
    use = (Usage("sonnet", {"input": 900, "output": 90}, 3.0), Usage("other", {"input": 3}, None))
    told = journey(
        run("a", "coding", 0, 1, usage=use[:1]),
        run("b", "ci_cd", 2, 3, usage=use, errors={"Timeout": 2}),
        others={"b": (R2, req("REQ-3"))},
    )
    assert told.shares == pytest.approx((1, 1 / 3))
    assert told.cost_usd == pytest.approx(4.0)
    assert told.usage[1].tokens == {"input": 1200, "output": 120}
    assert told.errors == {"Timeout": 2}
    assert told.traces[1].shared_with == ("REQ-2", "REQ-3")
    assert [(note.code, note.subject) for note in told.notes if note.code == "missing_price"] == [
        ("missing_price", "other")
    ]


def test_stages_without_telemetry() -> None:
    """Between the first and the last stage that were seen, each that was not is named."""
    told = journey(run("a", "coding", 0, 1), run("b", "ci_cd", 2, 3))
    missing = [(note.subject, note.text) for note in told.notes if note.code == "missing_stage"]
    assert missing == [
        ("unit_test", "no telemetry for unit_test"),
        ("integration_test", "no telemetry for integration_test"),
    ]


def test_stages_that_a_project_expects() -> None:
    """Only these are missed, also before the first one that was seen."""
    rules = replace(RULES, expected={"shop": ("requirement_analysis", "unit_test", "deployment")})
    owned = tuple(OwnedRun(one, (), "named", 0) for one, _ in (run("a", "coding", 0, 1), run("b", "ci_cd", 2, 3)))
    told = assemble(Resolution(R1, owned, (), ()), rules, at(4))
    assert told is not None
    assert [note.subject for note in told.notes] == ["requirement_analysis", "unit_test"]


def test_clocks_of_two_hosts() -> None:
    """What begins before its caller is moved behind it with all that is below, keeps its length, and is noted."""
    told = journey(
        run("a", "ci_cd", 10, 12, span="top"),
        run("a", "unit_test", 9, 9.5, span="mid", parent="top"),
        run("a", "unit_test", 9.1, 9.2, span="low", parent="mid"),
        now=12,
    )
    times = {run.span_id: (run.start_ns, run.end_ns) for run in told.runs}
    assert times == {"top": (at(10), at(12)), "mid": (at(10), at(10.5)), "low": (at(10.1), at(10.2))}
    assert (told.lead_ns, told.active_ns) == (2 * HOUR, 2 * HOUR)
    assert codes(told) == ["clock_skew", "missing_stage"]


def test_end_before_start() -> None:
    """It takes no time, and is noted."""
    told = journey(run("a", "coding", 5, 3), run("b", "coding", 4, 5), now=5)
    assert (told.lead_ns, told.active_ns) == (HOUR, HOUR)
    assert codes(told) == ["end_before_start"]


def test_forty_days_late() -> None:
    """A run of long ago that comes now is put where it belongs, and changes the lead time."""
    told = journey(run("b", "ci_cd", 960, 961), run("a", "coding", 0, 1), now=961)
    assert [visit.stage for visit in told.visits] == ["coding", "ci_cd"]
    assert told.lead_ns == 961 * HOUR


def test_title_and_class() -> None:
    """Told last by the requirement's own runs; classes in the senders' words are translated."""
    told = journey(
        run("a", "coding", 0, 1, facts={"sdlc.requirement.title": "Old", "sdlc.requirement.class": "Bug"}),
        run("b", "coding", 2, 3, facts={"sdlc.requirement.title": "New"}),
        run("c", "ci_cd", 4, 5, facts={"sdlc.requirement.title": "Another's"}),
        others={"c": (R2,)},
    )
    assert (told.title, told.requirement_class) == ("New", "defect")


RUNS = st.lists(
    st.tuples(
        st.sampled_from(("", *STAGES)), st.integers(0, 60), st.integers(-3, 20), st.booleans(), st.integers(0, 2)
    ),
    min_size=1,
    max_size=12,
)


@settings(deadline=None)
@given(RUNS, st.integers(0, 200), st.randoms())
def test_sums_hold(drawn: list[tuple[str, int, int, bool, int]], now: int, random: Any) -> None:
    """The critical path adds up to the lead time, work and gaps to no more, nothing is invented, and the order in which
    runs are told does not matter."""
    stories = []
    for number, (stage, start, length, is_stage, parents) in enumerate(drawn):
        parent = f"s{number - parents}" if parents else ""
        told = run(
            "t", stage, start, start + length, span=f"s{number}", parent=parent, is_stage=bool(stage and is_stage)
        )
        stories.append(told)
    made = journey(*stories, now=now)
    pieces = [(one.start_ns, one.end_ns) for one in made.critical_path]
    assert sum(end - start for start, end in pieces) == made.lead_ns
    assert all(one[1] == other[0] for one, other in pairwise(pieces))
    working = sum(one.end_ns - one.start_ns for one in made.critical_path if one.run is not None)
    assert working == made.active_ns <= made.lead_ns
    waiting = sum(gap.end_ns - gap.start_ns for gap in made.gaps)
    assert waiting + working <= made.lead_ns
    if made.state != State.RUNNING:
        assert waiting + working == made.lead_ns
    hours = {hour for one in made.runs for hour in range(one.start_ns, one.end_ns, HOUR) if made.start_ns <= hour}
    if made.state in (State.WAITING, State.CANCELLED):
        assert made.active_ns == len(hours) * HOUR
    assert sorted(one.span_id for one in made.runs) == sorted(one.span_id for one, _ in stories)
    in_stays = [place for visit in made.visits for place in visit.runs]
    assert len(in_stays) == len(set(in_stays))
    random.shuffle(stories)
    assert journey(*stories, now=now) == made
