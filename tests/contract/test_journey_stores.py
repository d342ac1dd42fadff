"""What every journey store promises, for SQLite and for a real PostgreSQL server."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from otel_pipeline.errors import StoreError
from otel_pipeline.journeys.model import Edge, Key, Sighting, State
from otel_pipeline.journeys.postgres import PostgresStore
from otel_pipeline.journeys.sqlite import SqliteStore
from otel_pipeline.journeys.store import Extract, RequirementQuery, TraceQuery
from otel_pipeline.journeys.writer import KeptStore
from otel_pipeline.testing import make_log, make_logs, make_span, make_traces
from tests.journeys.postgres_server import postgres_server, skip_without_server
from tests.journeys.stores import PLAN, SECOND, at, commit, extracted, req, summary, trace_id, work

SHA = "9d59409c1f0f4f0e8d0a7c6b5a49382716051423"
NEVER = 1 << 62

Open = Callable[..., KeptStore]


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    skip_without_server()
    with postgres_server() as dsn:
        yield dsn


@pytest.fixture(params=["sqlite", "postgresql"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens a store that is empty the first time, and the same one again."""
    opened: list[KeptStore] = []
    dsn = request.getfixturevalue("server") if request.param == "postgresql" else ""
    paths = (tmp_path / f"{number}.sqlite" for number in range(10))
    path = next(paths)

    def open_one(*, empty: bool = False, **options: Any) -> KeptStore:
        nonlocal path
        for store in opened:
            store.close()
        if not dsn:
            path = next(paths) if empty else path
            opened.append(SqliteStore(path, PLAN, **options))
            return opened[-1]
        if empty or not opened:
            with psycopg.connect(dsn, autocommit=True) as db:
                db.execute("DROP SCHEMA public CASCADE")
                db.execute("CREATE SCHEMA public")
        opened.append(PostgresStore(dsn, PLAN, **options))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Open) -> KeptStore:
    return open_store()


def everything(store: KeptStore) -> tuple[Any, ...]:
    """All that a store answers of evidence, in one order."""
    traces = [head.trace_id for head in store.traces(TraceQuery(limit=10_000))]
    keys = [key for kind in ("requirement", "session", "commit", "branch") for key in store.keys(kind, "", 10_000)]
    return (
        sorted(traces),
        sorted(store.edges(keys), key=lambda one: (one.cause, one.product)),
        sorted(store.sightings(keys=keys), key=lambda one: (one.key, one.trace_id)),
        sorted(store.runs(traces), key=lambda one: (one.trace_id, one.start_ns, one.span_id)),
        sorted(store.linking(traces)),
    )


def test_what_was_written_is_answered(store: KeptStore) -> None:
    """Traces, keys with their edges and sightings, runs and links come back as they were told."""
    batch = work(7, requirement="REQ-1", commit=SHA, start=5, seconds=2, sdlc__stage__name="coding")
    store.write([extracted(batch)])
    edge = Edge(req("REQ-1"), commit(SHA), at(5), at(7), 1, trace_id(7))
    assert store.edges([req("REQ-1")]) == store.edges([commit(SHA)]) == [edge]
    assert set(store.sightings(keys=[commit(SHA)])) == {Sighting(commit(SHA), trace_id(7), at(5), at(7), 1)}
    assert {one.key for one in store.sightings(trace_ids=[trace_id(7)])} == {req("REQ-1"), commit(SHA)}
    (run,) = store.runs([trace_id(7)])
    assert (run.stage, run.service, run.is_stage, run.spans) == ("coding", "agent", True, 1)
    assert run.keys == (req("REQ-1"), commit(SHA))
    (head,) = store.traces(TraceQuery())
    assert (head.trace_id, head.start_ns, head.end_ns, head.spans) == (trace_id(7), at(5), at(7), 1)
    assert store.keys("commit", "9d59", 10) == [commit(SHA)]
    (message,) = store.trace(trace_id(7))
    assert message == batch.data


def test_nothing_is_answered_for_what_is_unknown(store: KeptStore) -> None:
    """Unknown, malformed and empty questions have empty answers."""
    for trace in (trace_id(1), "", "xyz", "0" * 31):
        assert store.trace(trace) == []
        assert [*store.runs([trace]), *store.linking([trace]), *store.sightings(trace_ids=[trace])] == []
    assert [*store.edges([]), *store.edges([req("REQ-1")]), *store.sightings(keys=[req("x\0y")])] == []
    assert store.keys("nothing", "", 10) == []
    assert store.traces(TraceQuery(keys=(req("REQ-1"),))) == []
    assert store.changed(10).mark == 0


def test_a_batch_that_is_delivered_twice_counts_once(store: KeptStore) -> None:
    """Traces, spans, keys and runs are the same; only numbers of items may add up."""
    extract = extracted(work(1, requirement="REQ-1", commit=SHA, sdlc__stage__name="coding"))
    store.write([extract])
    before = store.stats()
    runs = store.runs([trace_id(1)])
    store.write([extract, extract])
    after = store.stats()
    assert (after.traces, after.spans, after.keys, after.edges) == (
        before.traces,
        before.spans,
        before.keys,
        before.edges,
    )
    assert store.runs([trace_id(1)]) == runs


def test_spans_in_other_batches_count_once_in_runs(store: KeptStore) -> None:
    """A span that comes again beside new ones is one span."""
    one, two = make_span(sdlc__stage__name="coding"), make_span(span=2, parent=1, start=0.5)
    store.write([extracted(make_traces(one))])
    store.write([extracted(make_traces(one, two))])
    (run,) = store.runs([trace_id(1)])
    assert run.spans == 2


def test_late_spans_change_runs_that_were_kept(store: KeptStore) -> None:
    """A parent that comes after the runs of its trace were computed gives its stage to its children."""
    store.write([extracted(work(1, span=2, parent=1, start=1))])
    assert store.settle(NEVER) == 1
    assert store.settle(NEVER) == 0
    assert [run.stage for run in store.runs([trace_id(1)])] == [""]
    store.write([extracted(work(1, span=1, seconds=9, sdlc__stage__name="testing", name="suite"))])
    for _ in range(2):
        assert [(run.stage, run.spans) for run in store.runs([trace_id(1)])] == [("testing", 2)]
        assert store.settle(NEVER) in (0, 1)
    (head,) = store.traces(TraceQuery())
    assert (head.name, head.service, head.spans) == ("suite", "agent", 2)


def test_the_order_of_arrival_makes_no_difference(open_store: Open) -> None:
    """Batches in any order, in one transaction or in many, come to the same answers."""
    batches = [
        work(trace, span=span, parent=span - 1, start=span, requirement=f"REQ-{trace % 3}" if span == 1 else "",
             commit=f"{trace:040x}" if span == 2 else "", sdlc__stage__name=("coding", "testing")[span % 2])
        for trace in range(1, 9) for span in range(1, 5)
    ]  # fmt: skip
    store = open_store()
    extracts = [extracted(batch) for batch in batches]
    store.write(extracts)
    expected = everything(store)
    assert len(expected[0]) == 8
    random.Random(4).shuffle(extracts)
    fresh = open_store(empty=True)
    for extract in extracts:
        fresh.write([extract])
    assert everything(fresh) == expected


def test_edges_of_a_busy_key_are_bounded_and_told(store: KeptStore) -> None:
    """The oldest ones, and one more than the limit; each edge once."""
    edges = tuple(Edge(req("REQ-1"), commit(f"{n:040x}"), at(n), at(n), 1, "") for n in range(1, 30))
    store.write([Extract(edges=edges)])
    found = store.edges([req("REQ-1")], 10)
    assert sorted(one.first_ns for one in found) == [at(n) for n in range(1, 12)]
    assert len(store.edges([req("REQ-1"), commit(f"{1:040x}")], 10)) == 11


def test_log_records_without_spans_are_evidence(store: KeptStore) -> None:
    """With a trace id they are sightings, without one edges only; neither makes a trace."""
    log = make_log(sdlc__requirement__id="REQ-1", vcs__ref__head__revision=SHA)
    store.write([extracted(make_logs(log, resource={"sdlc.project.id": "shop"}))])
    assert [(edge.cause, edge.product) for edge in store.edges([commit(SHA)])] == [(req("REQ-1"), commit(SHA))]
    assert store.sightings(keys=[commit(SHA)]) == []
    assert store.traces(TraceQuery()) == []


def test_links_are_found_from_both_ends(store: KeptStore) -> None:
    """A trace that links to another, which may not have come."""
    span = make_span(trace=1)
    span.links.add(trace_id=(2).to_bytes(16, "big"), span_id=b"12345678")
    store.write([extracted(make_traces(span))])
    pair = (trace_id(1), trace_id(2))
    assert store.linking([trace_id(1)]) == store.linking([trace_id(2)]) == [pair]
    assert store.linking([trace_id(1), trace_id(2)]) == [pair]
    (run,) = store.runs([trace_id(1)])
    assert run.links == (trace_id(2),)


def test_traces_are_found_by_what_is_asked(store: KeptStore) -> None:
    """Service, operation, keys, time and duration together; newest first."""
    for trace in range(1, 5):
        requirement = "REQ-1" if trace % 2 else "REQ-2"
        store.write(
            [extracted(work(trace, requirement=requirement, name=f"op {trace}", start=trace * 10, seconds=trace))]
        )

    def found(**query: Any) -> list[int]:
        return [int(head.trace_id, 16) for head in store.traces(TraceQuery(**query))]

    assert found() == [4, 3, 2, 1]
    assert found(limit=2) == [4, 3]
    assert found(service="agent", operation="op 2") == [2]
    assert found(service="other") == []
    assert found(keys=(req("REQ-1"),)) == [3, 1]
    assert found(keys=(req("REQ-1"), req("REQ-2"))) == []
    assert found(start_ns=at(25), end_ns=at(40)) == [3]
    assert found(min_duration_ns=3 * SECOND) == [4, 3]
    assert found(max_duration_ns=2 * SECOND) == [2, 1]
    assert sorted(store.operations()) == [("agent", f"op {trace}") for trace in range(1, 5)]


def test_changes_are_told_until_they_are_taken(store: KeptStore) -> None:
    """New traces and keys with new edges, oldest first, each once; what comes after the mark comes again."""
    store.write([extracted(work(1, requirement="REQ-1", commit=SHA))])
    store.write([extracted(work(2, requirement="REQ-2"))])
    first = store.changed(1)
    assert first.trace_ids == (trace_id(1),)
    whole = store.changed(100)
    assert whole.trace_ids == (trace_id(1), trace_id(2))
    assert set(whole.keys) == {req("REQ-1"), commit(SHA)}
    store.put_summaries([], mark=first.mark)
    assert trace_id(2) in store.changed(100).trace_ids
    store.put_summaries([], mark=whole.mark)
    assert (store.changed(100).trace_ids, store.changed(100).keys) == ((), ())
    store.write([extracted(work(1, span=2, requirement="REQ-1", commit=SHA))])
    later = store.changed(100)
    assert (later.trace_ids, later.keys) == ((trace_id(1),), ())
    assert later.mark > whole.mark


def test_all_changes_are_taken_in_steps(store: KeptStore) -> None:
    """However small the steps, every change is told once it is its turn."""
    store.write(
        [extracted(*(work(trace, requirement=f"REQ-{trace}", commit=f"{trace:040x}") for trace in range(1, 20)))]
    )
    traces, keys = set[str](), set[Key]()
    while (step := store.changed(3)).mark:
        assert len(step.trace_ids) <= 3
        assert len(step.keys) <= 3
        traces |= {*step.trace_ids}
        keys |= {*step.keys}
        store.put_summaries([], mark=step.mark)
    assert len(traces) == 19
    assert len(keys) == 38


def test_rows_of_the_list_come_back(store: KeptStore) -> None:
    """Whole, replaced by newer ones, and gone when told so."""
    store.put_summaries([summary("REQ-1"), summary("REQ-2", title="Häuser & <b>'quotes'</b> 需求")])
    page = store.requirements(RequirementQuery(now_ns=at(200), sort="id", descending=False))
    assert page.rows == (summary("REQ-1"), summary("REQ-2", title="Häuser & <b>'quotes'</b> 需求"))
    assert (page.total, page.by_stage, page.by_state) == (2, {"coding": 2}, {State.RUNNING: 2})
    store.put_summaries([summary("REQ-1", errors=0)], gone=[req("REQ-2")])
    assert store.requirements(RequirementQuery(now_ns=at(200))).rows == (summary("REQ-1", errors=0),)
    assert store.stats().requirements == 1


def test_the_list_is_filtered_sorted_and_counted(store: KeptStore) -> None:
    """Filters hold together; counts by stage and state leave out their own filter; ties stand by project and id."""
    rows = [
        summary("REQ-1", stage="coding", state=State.RUNNING, cost_usd=3, errors=0),
        summary("REQ-2", stage="testing", state=State.WAITING, cost_usd=1, title="ÄRGER im Lager"),
        summary("REQ-3", stage="testing", state=State.ACCEPTED, cost_usd=2, lead_ns=1, project="billing"),
        summary("REQ-4", stage="coding", state=State.ACCEPTED, cost_usd=2, lead_ns=2, requirement_class="defect"),
    ]
    store.put_summaries(rows)

    def found(**query: Any) -> list[str]:
        return [one.requirement for one in store.requirements(RequirementQuery(now_ns=at(500), **query)).rows]

    assert found(sort="cost") == ["REQ-1", "REQ-3", "REQ-4", "REQ-2"]
    assert found(sort="lead") == ["REQ-1", "REQ-2", "REQ-4", "REQ-3"]
    assert found(sort="id", limit=2, offset=1, descending=False) == ["REQ-2", "REQ-3"]
    assert found(project="billing") == ["REQ-3"]
    assert found(stage="testing", states=(State.WAITING,)) == ["REQ-2"]
    assert found(requirement_class="defect") == ["REQ-4"]
    assert found(text="ärger") == found(text="q-2") == ["REQ-2"]
    assert found(text="%") == []
    assert "REQ-1" not in found(with_errors=True)
    page = store.requirements(RequirementQuery(now_ns=at(500), stage="testing", states=(State.ACCEPTED,), limit=0))
    assert (page.rows, page.total) == ((), 1)
    assert page.by_stage == {"testing": 1, "coding": 1}
    assert page.by_state == {State.WAITING: 1, State.ACCEPTED: 1}
    assert page.projects == ("billing", "shop")


def test_rows_fall_due(store: KeptStore) -> None:
    """By their time, the oldest first; 0 is never."""
    store.put_summaries([summary("REQ-1", due_ns=at(20)), summary("REQ-2", due_ns=at(10)), summary("REQ-3")])
    assert store.due(at(9), 10) == []
    assert store.due(at(30), 10) == [req("REQ-2"), req("REQ-1")]
    assert store.due(at(30), 1) == [req("REQ-2")]


def test_what_is_too_old_is_let_go(open_store: Open) -> None:
    """Traces by their last end; edges, keys and rows that nothing newer tells go with them."""
    store = open_store(retention_ns=100 * SECOND)
    store.write(
        [extracted(work(1, requirement="REQ-1", commit=SHA), work(2, requirement="REQ-2", commit=SHA, start=90))]
    )
    store.put_summaries([summary("REQ-1", end_ns=at(1)), summary("REQ-2", end_ns=at(91))])
    assert store.expire(at(50)).traces == {}
    expired = store.expire(at(150))
    assert (expired.traces, expired.edges, expired.requirements) == ({"age": 1}, 1, 1)
    assert [head.trace_id for head in store.traces(TraceQuery())] == [trace_id(2)]
    assert [*store.trace(trace_id(1)), *store.runs([trace_id(1)])] == []
    assert store.keys("requirement", "", 10) == [req("REQ-2")]
    assert store.keys("commit", "", 10) == [commit(SHA)]
    store.write([extracted(work(1, requirement="REQ-1", commit=SHA, start=120))])
    assert store.keys("requirement", "", 10) == [req("REQ-1"), req("REQ-2")]
    assert len(store.edges([commit(SHA)])) == 2


def test_the_oldest_are_let_go_where_there_is_too_much(open_store: Open) -> None:
    """Down to the size, the newest trace stays."""
    store = open_store(max_bytes=400_000)
    noise = random.Random(1)
    for trace in range(1, 1500):
        text = noise.randbytes(300).hex()
        store.write([extracted(work(trace, start=trace, requirement=f"REQ-{trace}", text=text))])
    while sum(store.expire(at(5000)).traces.values()):
        pass
    traces = [int(head.trace_id, 16) for head in store.traces(TraceQuery(limit=10_000))]
    assert 0 < len(traces) < 1499
    assert traces == [*range(1499, 1499 - len(traces), -1)]
    assert {key.value for key in store.keys("requirement", "", 10_000)} == {f"REQ-{trace}" for trace in traces}


def test_everything_is_there_after_a_restart(open_store: Open) -> None:
    """Evidence, rows, changes and the mark."""
    store = open_store()
    store.write([extracted(work(1, requirement="REQ-1", commit=SHA))])
    store.put_summaries([summary()], mark=store.changed(10).mark)
    store.write([extracted(work(2, requirement="REQ-1"))])
    store.settle(NEVER)
    before = everything(store), store.requirements(RequirementQuery(now_ns=at(1))), store.changed(10)
    fresh = open_store()
    assert (everything(fresh), fresh.requirements(RequirementQuery(now_ns=at(1))), fresh.changed(10)) == before


def test_hostile_texts_come_back_as_they_are(store: KeptStore) -> None:
    """Quotes, wildcards, emoji and long values are values; the character 0 becomes U+FFFD."""
    values = ["'; DROP TABLE key; --", 'a"b\\c', "%_a%", "需求-🚀", "x" * 1000, "a\0b", "../../etc", "\u202eREQ"]
    for trace, value in enumerate(values, start=1):
        store.write([extracted(work(trace, requirement=value, name=value, resource={"service.name": value}))])
    expected = sorted(value.replace("\0", "\ufffd") for value in values)
    assert [key.value for key in store.keys("requirement", "", 100)] == expected
    for value in expected:
        assert len(store.sightings(keys=[req(value)])) == 1
        assert [key.value for key in store.keys("requirement", value[:3], 100)]
        assert len(store.traces(TraceQuery(service=value[:200], operation=value[:200]))) == 1
    assert store.settle(NEVER) == len(values)


def test_a_write_is_whole_or_nothing(store: KeptStore) -> None:
    """What fails in the middle leaves nothing, and the next write works."""
    good = extracted(work(1, requirement="REQ-1", commit=SHA))
    bad = replace(good, chunks=(replace(good.chunks[0], trace_id="no hex"),))
    with pytest.raises(Exception, match=r".*"):
        store.write([good, bad])
    assert store.traces(TraceQuery()) == []
    assert store.keys("commit", "", 10) == []
    store.write([good])
    assert len(store.edges([commit(SHA)])) == 1


def test_a_damaged_chunk_costs_only_itself(store: KeptStore) -> None:
    """What cannot be unpacked is left out of runs and traces."""
    good = extracted(work(1, sdlc__stage__name="coding"))
    bad = replace(good.chunks[0], blob=b"\x01\xff\xff\xff\x7f" + good.chunks[0].blob[5:])
    store.write([good, Extract(chunks=(bad,)), Extract(chunks=(replace(bad, blob=b""),))])
    assert len(store.trace(trace_id(1))) == 1
    assert [run.spans for run in store.runs([trace_id(1)])] == [1]


def test_a_closed_store_says_so(store: KeptStore) -> None:
    """Reading after `close`, and closing twice."""
    store.close()
    store.close()
    with pytest.raises(StoreError):
        store.stats()
