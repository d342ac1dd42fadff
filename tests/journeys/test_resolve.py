"""Whose runs are: the nearest evidence wins, and nothing is invented."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_pipeline.journeys.graph import Limits, graph_rules
from otel_pipeline.journeys.model import Key
from otel_pipeline.journeys.resolve import Resolution, named, requirements_behind, resolve
from otel_pipeline.semconv import load
from tests.journeys.memory import MemoryStore, at, branch, commit, image, key, req, run, session

RULES = graph_rules(load())
R1, R2, R3 = req("REQ-1"), req("REQ-2"), req("REQ-3")
B1, B2 = branch("feature/one"), branch("feature/two")
C1, C2 = commit("1" * 40), commit("2" * 40)


def found(store: MemoryStore, requirement: Key = R1, limits: Limits | None = None) -> Resolution:
    return resolve(store, requirement, RULES, limits)


def names(resolution: Resolution) -> list[tuple[str, str]]:
    """Trace and evidence of each run."""
    return [(one.run.trace_id, one.because) for one in resolution.runs]


def test_the_whole_chain_from_requirement_to_deployment() -> None:
    """A branch, a commit, an artifact and an image lead to runs that know no requirement, and each says by what."""
    store = MemoryStore(
        run("a", "coding", 0, 1, [R1, B1]),
        run("b", "unit_test", 2, 3, [B1, C1]),
        run(
            "c", "ci_cd", 4, 5, [C1, key("pipeline_run", "7", "build")], [key("pipeline_run", "7", "build"), image("i")]
        ),
        run("d", "deployment", 200, 201, [image("i"), key("deployment", "d1")]),
        run("x", "coding", 0, 1, [R2, B2]),
    )
    answer = found(store)
    evidence = [("a", "named"), ("b", "branch feature/one"), ("c", "commit 1111111"), ("d", "image i")]
    assert names(answer) == evidence
    assert [(one.key.kind, one.hops) for one in answer.entities] == [
        *(("requirement", 0), ("branch", 1), ("commit", 2), ("pipeline_run", 3), ("image", 4), ("deployment", 5)),
    ]
    assert not answer.notes


def test_entities_tell_what_links_them() -> None:
    """Each thing names the edge it was found by, and the first and last time it was seen."""
    store = MemoryStore(run("a", "coding", 0, 1, [R1, B1]), run("b", "ci_cd", 2, 3, [B1, C1]), run("c", "", 8, 9, [C1]))
    entity = next(one for one in found(store).entities if one.key == C1)
    assert entity.because is not None
    assert (entity.because.cause, entity.because.trace_id) == (B1, "b")
    assert (entity.first_ns, entity.last_ns) == (at(2), at(9))


def test_what_spans_name_wins_over_what_is_above_and_behind() -> None:
    """A run that names its own requirement is its, whatever calls it and whatever its branch says."""
    store = MemoryStore(
        run("a", "coding", 0, 9, [R1, B1], span="top"),
        run("a", "coding", 1, 2, [R2, B1], span="sub", parent="top"),
        run("a", "unit_test", 3, 4, [C2], span="test", parent="sub"),
    )
    assert [one.run.span_id for one in found(store).runs] == ["top"]
    assert [(one.run.span_id, one.because) for one in found(store, R2).runs] == [
        ("sub", "named"),
        ("test", "run above"),
    ]
    assert [note.code for note in found(store).notes] == ["contradiction"]


def test_fewer_hops_win() -> None:
    """Of two things that a run names, the one with the shorter way to a requirement tells."""
    store = MemoryStore(
        run("a", "coding", 0, 1, [R1, B1]),
        run("b", "coding", 0, 1, [R2, B2]),
        run("b", "coding", 2, 3, [B2, C1], span="c"),
        run("x", "ci_cd", 4, 5, [C1], [B1]),
    )
    assert ("x", "branch feature/one") in names(found(store))
    assert "x" not in [trace for trace, _ in names(found(store, R2))]


def test_a_build_of_two_requirements_is_shared() -> None:
    """One build of two branches' commits appears in both journeys, and says so."""
    store = MemoryStore(
        run("a", "coding", 0, 1, [R1, C1]),
        run("b", "coding", 0, 1, [R2, C2]),
        run("x", "ci_cd", 4, 5, [C1, image("i")], [C2, image("i")]),
        run("y", "deployment", 6, 7, [image("i")]),
    )
    for requirement, other in ((R1, R2), (R2, R1)):
        shared = {one.run.trace_id: one.others for one in found(store, requirement).runs}
        assert shared["x"] == shared["y"] == (other,)
    assert {one.key: one.shared_with for one in found(store).entities}[image("i")] == ("REQ-2",)


def test_never_down_and_up_again() -> None:
    """Two requirements that ended in one image do not share what each of them did before."""
    store = MemoryStore(
        run("a", "coding", 0, 1, [R1, C1]),
        run("b", "coding", 0, 1, [R2, C2]),
        run("b2", "unit_test", 2, 3, [C2]),
        run("x", "ci_cd", 4, 5, [C1, image("i")], [C2, image("i")]),
    )
    assert {trace for trace, _ in names(found(store))} == {"a", "x"}


def test_a_session_serves_requirements_in_turn() -> None:
    """What knows only its session belongs to what the session worked on then, else last."""
    s = session("s")
    store = MemoryStore(
        run("a", "coding", 0, 2, [R1, s]),
        run("b", "coding", 10, 12, [R2, s]),
        *(run(f"at{hour}", "coding", hour, hour + 0.5, [s]) for hour in (1, 5, 11, 20)),
    )
    assert {trace for trace, _ in names(found(store))} == {"a", "at1", "at5"}
    assert {trace for trace, _ in names(found(store, R2))} == {"b", "at11", "at20"}


def test_before_a_session_named_anything() -> None:
    """A first run without a requirement belongs to the only one that the session ever had, and to none of several."""
    s, t = session("s"), session("t")
    store = MemoryStore(
        run("a0", "coding", 0, 1, [s]),
        run("a", "coding", 2, 3, [R1, s]),
        run("b0", "coding", 0, 1, [t]),
        run("b1", "coding", 2, 3, [R1, t]),
        run("b2", "coding", 4, 5, [R2, t]),
    )
    traces = {trace for trace, _ in names(found(store))}
    assert "a0" in traces
    assert "b0" not in traces


def test_a_session_is_asked_last() -> None:
    """A run of the session that has a commit of another requirement is the other's."""
    s = session("s")
    store = MemoryStore(
        run("a", "coding", 0, 9, [R1, s]),
        run("b", "coding", 0, 1, [R2, C2]),
        run("x", "coding", 3, 4, [s, C2]),
    )
    assert "x" not in [trace for trace, _ in names(found(store))]
    assert "x" in [trace for trace, _ in names(found(store, R2))]


def test_a_commit_that_only_a_session_made() -> None:
    """What a commit leads to days later belongs to what the session worked on when it was made."""
    s = session("s")
    store = MemoryStore(
        run("a", "coding", 0, 2, [R1, s]),
        run("a2", "coding", 3, 4, [s, C1]),
        run("b", "coding", 10, 12, [R2, s]),
        run("x", "ci_cd", 50, 51, [C1, image("i")]),
        run("y", "deployment", 60, 61, [image("i")]),
    )
    assert {trace for trace, _ in names(found(store))} == {"a", "a2", "x", "y"}
    assert {trace for trace, _ in names(found(store, R2))} == {"b"}


def test_a_log_record_names_what_the_spans_of_its_trace_do_not() -> None:
    """Prompts of one session for two requirements in turn: a record of each first one tells it, with its commit, after
    the prompt began; what comes later in the session follows it."""
    s = session("s")
    store = MemoryStore(*(run(trace, "coding", hour, hour + 1, [s]) for hour, trace in enumerate("abcd")))
    store.link(R1, B1, C1, s, start_ns=at(0.5), end_ns=at(0.5), trace_id="a")
    store.link(B2, C2, s, start_ns=at(2.5), end_ns=at(2.5), trace_id="c")
    store.tell(run("z", "", 9, 10, [R2, B2]))
    assert names(found(store)) == [("a", "log record"), ("b", "session s")]
    assert names(found(store, R2)) == [("c", "branch feature/two"), ("d", "session s"), ("z", "named")]


def test_two_branches_of_one_session_merged_together() -> None:
    """A commit of two branches that one session made in turn belongs to what the session did at both times."""
    s = session("s")
    store = MemoryStore(
        run("a", "coding", 0, 1, [R1, s], [s, B1]),
        run("b", "coding", 2, 3, [R2, s], [s, B2]),
        run("c", "ci_cd", 5, 6, [C1]),
    )
    for one in (B1, B2):
        store.link(one, C1, start_ns=at(4), end_ns=at(4))
    for requirement in (R1, R2):
        shared = [one for one in found(store, requirement).runs if one.run.trace_id == "c"]
        assert [len(one.others) for one in shared] == [1]


def test_other_runs_of_the_trace() -> None:
    """A run that knows nothing belongs to what the rest of its trace is for; to several where that has several."""
    store = MemoryStore(
        run("a", "coding", 0, 1, [R1], span="one"),
        run("a", "", 1, 2, [], span="rest"),
        run("b", "coding", 0, 1, [R1], span="one"),
        run("b", "coding", 1, 2, [R2], span="two"),
        run("b", "", 2, 3, [], span="rest"),
    )
    others = {(one.run.trace_id, one.run.span_id): one.others for one in found(store).runs}
    assert others == {("a", "one"): (), ("a", "rest"): (), ("b", "one"): (), ("b", "rest"): (R2,)}


def test_what_a_run_names_beside_its_requirement() -> None:
    """A commit that no item told together with the requirement still leads on from the run that names both."""
    store = MemoryStore(
        run("a", "coding", 0, 1, [R1], [C1]),
        run("b", "ci_cd", 2, 3, [C1, image("i")]),
        run("c", "deployment", 4, 5, [image("i")]),
        run("x", "coding", 0, 1, [R2, C2]),
    )
    answer = found(store)
    assert [trace for trace, _ in names(answer)] == ["a", "b", "c"]
    assert {one.key for one in answer.entities} == {R1, C1, image("i")}


def test_links_lead_both_ways_but_not_to_and_fro() -> None:
    """A trace belongs to what it links to, or to what links to it; never to another cause of what it led to."""
    store = MemoryStore(
        run("a", "coding", 0, 1, [R1]),
        run("b", "", 2, 3, links=("a",)),
        run("c", "", 4, 5, links=("b",)),
        run("before", "", -1, 0),
        run("a", "coding", 0.1, 0.2, [R1], span="s2", links=("before",)),
        run("other", "coding", 0, 1, [R2]),
        run("d", "", 6, 7, links=("c", "other")),
    )
    assert {trace for trace, _ in names(found(store))} == {"a", "b", "before", "c"}
    by = {one.run.trace_id: one for one in found(store).runs}
    assert by["c"].because == "link"
    assert not by["c"].others
    assert {trace for trace, _ in names(found(store, R2))} == {"d", "other"}


def test_loops_end() -> None:
    """Links, parents and names of one thing in circles are harmless."""
    i, j = image("i"), image("j")
    store = MemoryStore(
        run("a", "coding", 0, 1, [R1, i], [i, j], span="p", parent="q", links=("b",)),
        run("a", "coding", 0, 1, [], span="q", parent="p", links=("a",)),
        run("b", "", 2, 3, [j], links=("c",)),
        run("c", "", 2, 3, [], links=("a", "b")),
    )
    assert {trace for trace, _ in names(found(store))} == {"a", "b", "c"}


def test_a_commit_of_two_hundred_requirements_links_to_none() -> None:
    """What everybody has is no evidence; it is noted, and costs nobody a share."""
    requirements = [req(f"REQ-{number}") for number in range(200)]
    store = MemoryStore(
        *(run(f"t{number}", "coding", 0, 1, [one, C1]) for number, one in enumerate(requirements)),
        run("x", "ci_cd", 2, 3, [C1]),
    )
    answer = found(store, requirements[7])
    assert names(answer) == [("t7", "named")]
    assert [note.code for note in answer.notes] == ["many_requirements"]
    assert [one.key for one in answer.entities] == [requirements[7]]


def test_a_branch_without_repository() -> None:
    """It stands for the one repository's branch of that name that its project knows, and for none of two."""
    bare, other = Key("branch", "project:shop", B1.value), branch(B1.value, "git.example/acme/api")
    store = MemoryStore(run("a", "coding", 0, 1, [R1, B1]), run("b", "ci_cd", 2, 3, [bare]))
    store.link(B1, bare, start_ns=at(0), end_ns=at(1))
    assert {trace for trace, _ in names(found(store))} == {"a", "b"}
    store.link(other, bare, start_ns=at(0), end_ns=at(1))
    assert {trace for trace, _ in names(found(store))} == {"a"}


def test_a_requirement_without_project() -> None:
    """It is the one of that name where a single project has one, and stands by itself where two have."""
    bare = req("REQ-1", "")
    store = MemoryStore(run("a", "coding", 0, 1, [R1]), run("b", "coding", 2, 3, [bare]))
    assert {trace for trace, _ in names(found(store))} == {"a", "b"}
    assert found(store, bare).requirement == R1
    assert named(store, "requirement", "", "REQ-1") == [R1]
    store.tell(run("c", "coding", 0, 1, [req("REQ-1", "billing")]))
    assert {trace for trace, _ in names(found(store))} == {"a"}
    assert {trace for trace, _ in names(found(store, bare))} == {"b"}
    assert len(named(store, "requirement", "", "REQ-1")) == 2
    assert named(store, "requirement", "shop", "REQ-1") == [R1]


@pytest.mark.parametrize(
    "value", ['it\'s "quoted"', "a/b\\c%00", "🛒 加购物车", "x" * 10_000, "' OR 1=1 --", "REQ-1\n"]
)
def test_hostile_names(value: str) -> None:
    """Any text may name a requirement and a branch."""
    mine, b = req(value), branch(value)
    store = MemoryStore(run("a", "coding", 0, 1, [mine, b]), run("b", "ci_cd", 2, 3, [b]), run("c", "", 0, 1, [R2]))
    assert {trace for trace, _ in names(found(store, mine))} == {"a", "b"}


def test_evidence_that_comes_late() -> None:
    """A log record that links a branch days later gives earlier runs to the requirement."""
    store = MemoryStore(run("a", "coding", 0, 1, [B1]), run("r", "requirement_analysis", -5, -4, [R1]))
    assert {trace for trace, _ in names(found(store))} == {"r"}
    store.link(R1, B1, start_ns=at(900), end_ns=at(900))
    assert {trace for trace, _ in names(found(store))} == {"a", "r"}


def test_nothing_known() -> None:
    """A requirement that nobody ever named has no runs, and no error."""
    answer = found(MemoryStore(run("a", "coding", 0, 1, [R2])))
    assert not answer.runs


def test_queries_do_not_grow_with_what_there_is() -> None:
    """Twenty times the branches and commits cost no further query."""

    def asked(width: int) -> int:
        store = MemoryStore()
        for number in range(width):
            b, c = branch(f"b{number}"), commit(f"{number:040d}")
            store.tell(run(f"a{number}", "coding", 0, 1, [R1, b]))
            store.tell(run(f"b{number}", "unit_test", 1, 2, [b, c]))
            store.tell(run(f"c{number}", "ci_cd", 3, 4, [c]))
        store.asked = 0
        assert len(found(store).runs) == 3 * width
        return store.asked

    assert asked(40) == asked(2) <= 20


def test_more_traces_than_are_read() -> None:
    """Over the limit the oldest are answered, and the reader is told."""
    store = MemoryStore(*(run(f"t{hour}", "coding", hour, hour + 1, [R1]) for hour in range(20)))
    answer = found(store, limits=Limits(max_traces=5))
    assert [trace for trace, _ in names(answer)] == [f"t{hour}" for hour in range(5)]
    assert [note.code for note in answer.notes] == ["truncated"]


@pytest.mark.parametrize("seed", range(5))
def test_order_of_arrival_does_not_matter(seed: int) -> None:
    """The same telemetry in any order gives the same answer."""
    s = session("s")
    stories = [
        run("a", "coding", 0, 2, [R1, s], [s, C1]),
        run("b", "coding", 5, 6, [R2, s], [C2]),
        run("c", "ci_cd", 7, 8, [C1, image("i")], [C2, image("i")]),
        run("d", "deployment", 9, 10, [image("i")], links=("c",)),
        run("e", "", 11, 12, [], links=("d",)),
        run("f", "coding", 3, 4, [s]),
        run("g", "", 3, 4, [R1], [B1]),
        run("h", "", 30, 40, [B1]),
    ]
    expected = found(MemoryStore(*stories))
    random.Random(seed).shuffle(stories)
    assert found(MemoryStore(*stories)) == expected


def test_new_evidence_tells_whom_it_matters_to() -> None:
    """A deployment's trace leads back to the requirements behind its image."""
    store = MemoryStore(
        run("a", "coding", 0, 1, [R1, C1]),
        run("b", "ci_cd", 2, 3, [C1, image("i")]),
        run("c", "deployment", 4, 5, [image("i")]),
        run("l", "", 6, 7, [], links=("c",)),
        run("x", "coding", 0, 1, [R2]),
    )
    assert requirements_behind(store, RULES, trace_ids=["c"]) == {R1}
    assert requirements_behind(store, RULES, trace_ids=["l"]) == {R1}
    assert requirements_behind(store, RULES, keys=[image("i"), R3]) == {R1, R3}


KEYS = (R1, R2, R3, B1, B2, C1, C2, image("i"), session("s"), session("t"))
ITEMS = st.lists(st.lists(st.sampled_from(KEYS), max_size=3, unique=True), max_size=2)
STORIES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 30), ITEMS), min_size=1, max_size=8)


@settings(deadline=None)
@given(STORIES)
def test_every_journey_says_the_same_of_a_run(drawn: list[tuple[int, int, list[list[Key]]]]) -> None:
    """Whoever is asked, a run has the same requirements: so its shares add up to one, and each of them is named."""
    stories = []
    for number, (trace, start, items) in enumerate(drawn):
        single = [[one for one in item if one.kind != "requirement" or one == _first(item)] for item in items]
        stories.append(run(f"t{trace}", "coding", start, start + 1, *single, span=f"s{number}"))
    store = MemoryStore(*stories)
    named = {one for story, _ in stories for one in story.keys if one.kind == "requirement"}
    claims: dict[tuple[str, str], list[frozenset[Key]]] = {}
    for requirement in (R1, R2, R3):
        for owned in found(store, requirement).runs:
            owners = frozenset({requirement, *owned.others})
            claims.setdefault((owned.run.trace_id, owned.run.span_id), []).append(owners)
    for said in claims.values():
        assert set(said) == {said[0]}
        assert len(said) == len(said[0])
        assert said[0] <= named


def _first(item: list[Key]) -> Key | None:
    return next((one for one in item if one.kind == "requirement"), None)
