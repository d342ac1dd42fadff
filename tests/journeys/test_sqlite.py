"""The SQLite store alone: migration, a process that is killed, two gateways, files that are not what they seem."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_pipeline.errors import CorruptStoreError, StoreError
from otel_pipeline.journeys.model import Edge, Key, Sighting
from otel_pipeline.journeys.sqlite import SqliteStore
from otel_pipeline.journeys.sqlite_schema import MIGRATIONS
from otel_pipeline.journeys.store import Extract, RequirementQuery, TraceQuery
from tests.journeys.stores import PLAN, at, commit, extracted, req, summary, trace_id, work

WRITER = """
import sys
from pathlib import Path
from otel_pipeline.journeys.sqlite import SqliteStore
from tests.journeys.stores import PLAN, extracted, work

store = SqliteStore(Path(sys.argv[1]), PLAN)
for trace in range(1, 1_000_000):
    store.write([extracted(work(trace, requirement=f"REQ-{trace}", commit=f"{trace:040x}"))])
    print(trace, flush=True)
"""


def test_a_file_of_the_first_version_is_migrated(tmp_path: Path) -> None:
    """What was in it is still there, and what is new works."""
    path = tmp_path / "j.sqlite"
    with closing(sqlite3.connect(path)) as file:
        file.executescript(f"{MIGRATIONS[0]} PRAGMA user_version = 1;")
        file.execute("INSERT INTO key (kind, scope, value) VALUES ('commit', '', 'abc')")
        file.commit()
    with closing(SqliteStore(path, PLAN)) as store:
        assert store.keys("commit", "", 10) == [commit("abc")]
        store.write([extracted(work(1, requirement="REQ-1", name="deploy"))])
        assert len(store.traces(TraceQuery(operation="deploy"))) == 1
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    """It is neither used nor set aside."""
    path = tmp_path / "j.sqlite"
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer version") as raised:
        SqliteStore(path, PLAN)
    assert not isinstance(raised.value, CorruptStoreError)


def test_a_killed_writer_loses_at_most_the_open_transaction(tmp_path: Path) -> None:
    """After SIGKILL the file is whole, and everything that was told to be written is there."""
    path = tmp_path / "j.sqlite"
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": os.getcwd()}) as writer:
        assert writer.stdout is not None
        told = 0
        while told < 50:
            told = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        told = int(([str(told), *writer.stdout.read().decode().split()])[-1])
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with closing(SqliteStore(path, PLAN)) as store:
        stats = store.stats()
        assert told <= stats.traces <= told + 1
        assert (stats.keys, stats.edges) == (2 * stats.traces, stats.traces)
        store.write([extracted(work(1, span=2, requirement="REQ-1"))])


def test_only_one_has_the_file(tmp_path: Path) -> None:
    """The second is told; when the first closes, the file is free."""
    first = SqliteStore(tmp_path / "j.sqlite", PLAN)
    with pytest.raises(StoreError, match="another gateway"):
        SqliteStore(tmp_path / "j.sqlite", PLAN)
    first.close()
    SqliteStore(tmp_path / "j.sqlite", PLAN).close()


def test_the_files_are_ours_alone(tmp_path: Path) -> None:
    """Nobody else may read what agents did."""
    with closing(SqliteStore(tmp_path / "data" / "j.sqlite", PLAN)):
        for file in (tmp_path / "data").iterdir():
            assert file.stat().st_mode & 0o077 == 0, file


KEYS = st.builds(Key, st.sampled_from(["requirement", "commit"]), st.sampled_from(["", "shop"]), st.sampled_from("abc"))
TIMES = st.integers(0, 1000)
SIGHTINGS = st.builds(
    lambda k, t, a, b: Sighting(k, trace_id(t), min(a, b), max(a, b), 1), KEYS, st.integers(1, 4), TIMES, TIMES
)
EDGES = st.builds(lambda c, p, a, b: Edge(c, p, min(a, b), max(a, b), 1, ""), KEYS, KEYS, TIMES, TIMES)
EXTRACTS = st.builds(
    lambda edges, sightings: Extract((), tuple(edges), tuple(sightings)),
    st.lists(EDGES, max_size=6),
    st.lists(SIGHTINGS, max_size=6),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(EXTRACTS, max_size=6))
def test_evidence_adds_up_as_in_a_plain_dict(tmp_path_factory: pytest.TempPathFactory, extracts: list[Extract]) -> None:
    """Whatever is written in whatever pieces: first and last times, and numbers of items."""
    edges: dict[tuple[Key, Key], tuple[int, int, int]] = {}
    sightings: dict[tuple[Key, str], tuple[int, int, int]] = {}
    for extract in extracts:
        for edge in extract.edges:
            first, last, items = edges.get((edge.cause, edge.product), (edge.first_ns, edge.last_ns, 0))
            edges[edge.cause, edge.product] = min(first, edge.first_ns), max(last, edge.last_ns), items + 1
        for one in extract.sightings:
            first, last, items = sightings.get((one.key, one.trace_id), (one.first_ns, one.last_ns, 0))
            sightings[one.key, one.trace_id] = min(first, one.first_ns), max(last, one.last_ns), items + 1
    with closing(SqliteStore(tmp_path_factory.mktemp("store") / "j.sqlite", PLAN)) as store:
        for extract in extracts:
            store.write([extract])
        keys = {key for pair in edges for key in pair} | {key for key, _ in sightings}
        found = {(e.cause, e.product): (e.first_ns, e.last_ns, e.items) for e in store.edges(keys)}
        seen = {(s.key, s.trace_id): (s.first_ns, s.last_ns, s.items) for s in store.sightings(keys=keys)}
        assert found == edges
        assert seen == sightings
        changed = store.changed(1000)
        assert {*changed.trace_ids} == {trace for _, trace in sightings}
        assert {*changed.keys} == {key for pair in edges for key in pair}


def test_rows_of_the_list_survive_what_people_type(tmp_path: Path) -> None:
    """Searches are texts, not patterns."""
    with closing(SqliteStore(tmp_path / "j.sqlite", PLAN)) as store:
        store.put_summaries([summary("REQ-1", title="100% _done_ 'x'")])
        for text, total in (("100%", 1), ("_done", 1), ("'x'", 1), ("1__", 0), ("%", 1), ("\0", 0)):
            assert store.requirements(RequirementQuery(now_ns=at(1), text=text)).total == total
        assert store.due(at(1), 1) == []
        assert store.edges([req("REQ-1")]) == []
