"""Questions about journeys, and the list that is kept up to date."""

from otel_pipeline.journeys.document import journey_document
from otel_pipeline.journeys.model import Journey, State
from otel_pipeline.journeys.queries import Journeys
from otel_pipeline.journeys.store import RequirementQuery, RequirementSummary, StageDot
from otel_pipeline.semconv import load
from tests.journeys.memory import HOUR, MemoryStore, Story, at, commit, image, key, req, run, session

REGISTRY = load()
C1 = commit("1" * 40)


def rows(journeys: Journeys, now: float = 100) -> dict[str, RequirementSummary]:
    while journeys.refresh(at(now)):
        pass
    page = journeys.requirements(RequirementQuery(now_ns=at(now)))
    return {row.requirement: row for row in page.rows}


def test_a_row_is_what_its_journey_came_to() -> None:
    """State, stages with the outcome of the last stay, reruns, errors, lead and work stand in the list."""
    store = MemoryStore(
        run("a", "coding", 0, 1, [req("REQ-1"), C1], errors={"Timeout": 2}),
        run("b", "unit_test", 2, 3, [C1], outcome="failure"),
        run("c", "coding", 4, 5, [req("REQ-1")]),
    )
    row = rows(Journeys(store, REGISTRY), now=5)["REQ-1"]
    coding, testing = row.stages
    assert coding == StageDot("coding", "success", active_ns=2 * HOUR, waiting_ns=HOUR)
    assert (testing.stage, testing.outcome, testing.active_ns) == ("unit_test", "failure", HOUR)
    assert (row.state, row.stage, row.reruns, row.errors) == (State.RUNNING, "coding", 1, 2)
    assert (row.lead_ns, row.active_ns, row.lead_at(at(7))) == (5 * HOUR, 3 * HOUR, 7 * HOUR)


def test_only_what_changed_is_made_again() -> None:
    """A deployment changes the row of the requirement behind its image, and no other."""
    store = MemoryStore(
        run("a", "coding", 0, 1, [req("REQ-1"), image("i")]),
        run("b", "coding", 0, 1, [req("REQ-2"), image("j")]),
    )
    journeys = Journeys(store, REGISTRY)
    before = rows(journeys)
    store.tell(run("d", "deployment", 90, 91, [image("i")]))
    assert journeys.refresh(at(101)) == 1
    after = rows(journeys)
    assert (after["REQ-1"].stage, after["REQ-1"].made_ns) == ("deployment", at(101))
    assert after["REQ-2"] == before["REQ-2"]


def test_time_alone_changes_states() -> None:
    """What was under way waits after a while, and is given up long after, without any new telemetry."""
    store = MemoryStore(run("a", "coding", 0, 1, [req("REQ-1")]))
    journeys = Journeys(store, REGISTRY)
    assert [rows(journeys, now)["REQ-1"].state for now in (1, 2, 24 * 91)] == [
        *(State.RUNNING, State.WAITING, State.CANCELLED),
    ]
    assert rows(journeys, 24 * 92)["REQ-1"].made_ns == at(24 * 91)


def test_a_row_under_two_names() -> None:
    """A requirement that is first named without and then with its project has one row in the end."""
    store = MemoryStore(run("a", "coding", 0, 1, [req("REQ-1", "")]))
    journeys = Journeys(store, REGISTRY)
    assert rows(journeys)["REQ-1"].project == ""
    store.tell(run("b", "coding", 2, 3, [req("REQ-1")]))
    rows(journeys)
    found = journeys.requirements(RequirementQuery(now_ns=at(100))).rows
    assert [(row.project, row.active_ns) for row in found] == [("shop", 2 * HOUR)]


def test_finding_a_requirement() -> None:
    """By its id in any project, or in one; what nobody named is not found and has no journey."""
    store = MemoryStore(
        run("a", "coding", 0, 1, [req("REQ-1")]),
        run("b", "coding", 0, 1, [req("REQ-1", "billing")]),
        run("c", "coding", 0, 1, [req("REQ-10")]),
    )
    journeys = Journeys(store, REGISTRY)
    assert journeys.find("REQ-1") == [req("REQ-1", "billing"), req("REQ-1")]
    assert journeys.find("REQ-1", "shop") == [req("REQ-1")]
    assert journeys.find("REQ-2") == []
    assert journeys.journey("shop", "REQ-2", at(5)) is None
    found = journeys.journey("shop", "REQ-1", at(5))
    assert found is not None
    assert journey_document(found, at(5))["requirement"] == "REQ-1"


def test_from_a_trace_to_its_journeys() -> None:
    """A trace leads to the requirements that own a part of it; not to those of a session at another time."""
    s = session("s")
    store = MemoryStore(
        run("a", "coding", 0, 1, [req("REQ-1"), s]),
        run("b", "coding", 10, 11, [req("REQ-2"), s]),
        run("c", "coding", 12, 13, [s]),
    )
    assert Journeys(store, REGISTRY).requirements_of("c", at(20)) == [req("REQ-2")]


def ended(outcome: str, hour: float, *stories: Story, now: float) -> Journey:
    """The journey of a requirement of which a tracker tells that it ended."""
    store = MemoryStore(*stories)
    store.link(req("REQ-1"), key("ending", outcome, "REQ-1"), start_ns=at(hour), end_ns=at(hour))
    made = Journeys(store, REGISTRY).journey("shop", "REQ-1", at(now))
    assert made is not None
    return made


def test_a_tracker_ends_a_requirement() -> None:
    """Its record needs no trace; what is done afterwards is shown, and in no time."""
    work = (run("a", "coding", 0, 1, [req("REQ-1")]), run("b", "coding", 5, 6, [req("REQ-1")]))
    told = ended("cancelled", 3, *work, now=7)
    assert (told.state, told.lead_ns, told.active_ns) == (State.CANCELLED, 3 * HOUR, HOUR)
    assert [note.code for note in told.notes if note.code.startswith("after")] == ["after_cancellation"]
    assert not any(entity.key.kind == "ending" for entity in told.entities)
    assert ended("success", 3, *work, now=7).state == State.ACCEPTED


def test_acceptance_goes_before_any_other_end() -> None:
    """A requirement that was accepted is not cancelled when its ticket is closed."""
    work = (run("a", "coding", 0, 1, [req("REQ-1")]), run("b", "ui_acceptance", 2, 3, [req("REQ-1")]))
    told = ended("cancelled", 9, *work, now=9)
    assert (told.state, told.lead_ns) == (State.ACCEPTED, 3 * HOUR)
