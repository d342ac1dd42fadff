"""The journey store in one SQLite file: one writer, readers with connections of their own.

A row of `trace` stands for a trace; `chunk` has its spans, `run` what they came to until new ones come. `change` notes
what was written since the summaries were made.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from math import ceil
from pathlib import Path
from queue import Empty, LifoQueue

from otel_pipeline._native import JourneyPlan
from otel_pipeline.errors import CorruptStoreError, StoreError
from otel_pipeline.journeys import sqlite_answers as answers
from otel_pipeline.journeys import summaries
from otel_pipeline.journeys.extract import make_runs, pack_runs, unpack_runs
from otel_pipeline.journeys.known import Known
from otel_pipeline.journeys.model import Edge, Key, Run, Sighting
from otel_pipeline.journeys.sqlite_schema import MIGRATIONS, migrate
from otel_pipeline.journeys.store import (
    Changed,
    Expired,
    Extract,
    RequirementPage,
    RequirementQuery,
    RequirementSummary,
    StoreStats,
    TraceChunk,
    TraceHead,
    TraceQuery,
)

__all__ = ["SqliteStore", "set_aside"]

EXPIRED_AT_ONCE = 500
"""Traces that one transaction lets go of."""
_CORRUPT = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
REQUIREMENT = "requirement"


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "") or ""
        kind = CorruptStoreError if name.startswith(_CORRUPT) else StoreError
        raise kind(f"{path}: {error}") from None
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from None


def set_aside(path: Path, now_ns: int) -> Path:
    """Renames a file that cannot be used, with what belongs to it; gives its new name."""
    aside = path.with_name(f"{path.name}.unreadable-{now_ns}")
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).replace(aside.with_name(aside.name + suffix))
    return aside


class SqliteStore:
    """A `JourneyStore`; see there. Raises StoreError where the file cannot be used now, CorruptStoreError where it is
    damaged.

    `retention_ns` is the age, `max_bytes` the size of the file, over which the oldest traces are let go; 0: no limit.
    With `read_only` nothing may be written, and another process or part of this one may have the file at the time.
    """

    def __init__(
        self,
        path: Path,
        plan: JourneyPlan,
        *,
        retention_ns: int = 0,
        max_bytes: int = 0,
        time_ns: Callable[[], int] = time.time_ns,
        read_only: bool = False,
    ) -> None:
        self._path = path
        self._time_ns = time_ns
        self._plan = plan
        self._retention_ns = retention_ns
        self._max_bytes = max_bytes
        self._readers: LifoQueue[sqlite3.Connection] = LifoQueue()
        self._keys: Known[Key, int] = Known()
        self._operations: Known[tuple[str, str], int] = Known()
        self._edges: Known[tuple[int, int], bool] = Known()
        self._closed = False
        self._lock = -1
        if read_only:
            self._open_for_reading()
            return
        with _errors(path):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = self._take_lock()
        try:
            with _errors(path):
                self._writer = self._open()
                migrate(self._writer, path)
        except BaseException:
            os.close(self._lock)
            raise

    def _open_for_reading(self) -> None:
        with _errors(self._path):
            if not self._path.exists():
                raise StoreError(f"{self._path}: there is no such file yet")
            reader = self._open(read_only=True)
            try:
                (version,) = reader.execute("PRAGMA user_version").fetchone()
            finally:
                self._readers.put(reader)
        if version != len(MIGRATIONS):
            self.close()
            raise StoreError(f"{self._path}: was made by another version of the gateway")

    def _take_lock(self) -> int:
        """One process has the file; SQLite's own locks would let two take turns."""
        lock = os.open(self._path.with_name(self._path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise StoreError(f"{self._path}: another gateway uses it") from None
        return lock

    def _open(self, *, read_only: bool = False) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=5.0, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA cache_size = {-16_384 if read_only else -65_536}")
        if read_only:
            connection.execute("PRAGMA query_only = ON")
            return connection
        os.chmod(self._path, 0o600)
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
        connection.execute(f"PRAGMA journal_size_limit = {64 << 20}")
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _errors(self._path):
            writer = self._writer
            writer.execute("BEGIN IMMEDIATE")
            try:
                yield writer
                writer.execute("COMMIT")
            except BaseException:
                for known in (self._keys, self._operations, self._edges):
                    known.clear()
                if writer.in_transaction:
                    writer.execute("ROLLBACK")
                raise

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        if self._closed:
            raise StoreError(f"{self._path}: closed")
        with _errors(self._path):
            try:
                reader = self._readers.get_nowait()
            except Empty:
                reader = self._open(read_only=True)
            try:
                yield reader
            finally:
                self._readers.put(reader)

    # --- writing

    def write(self, extracts: Sequence[Extract]) -> None:
        """See `JourneyStore`."""
        with self._transaction() as db:
            for extract in extracts:
                keys = {key: self._key(db, key) for key in _keys_of(extract)}
                traces = {chunk.trace_id: self._add_chunk(db, chunk) for chunk in extract.chunks}
                for one in extract.sightings:
                    if one.trace_id not in traces:
                        traces[one.trace_id] = self._trace(db, one.trace_id, one.first_ns, one.last_ns)
                self._add_sightings(db, extract.sightings, keys, traces)
                db.executemany("INSERT INTO change (trace) VALUES (?)", [(trace,) for trace in traces.values()])
                self._add_edges(db, extract.edges, keys)

    def _key(self, db: sqlite3.Connection, key: Key) -> int:
        known = self._keys.get(key)
        if known is not None:
            return known
        row = (key.kind, key.scope, key.value)
        found = db.execute("SELECT id FROM key WHERE kind = ? AND scope = ? AND value = ?", row).fetchone()
        if found is None:
            found = db.execute("INSERT INTO key (kind, scope, value) VALUES (?, ?, ?) RETURNING id", row).fetchone()
        return self._keys.put(key, int(found[0]))

    def _operation(self, db: sqlite3.Connection, operation: tuple[str, str]) -> int:
        known = self._operations.get(operation)
        if known is not None:
            return known
        found = db.execute("SELECT id FROM operation WHERE service = ? AND name = ?", operation).fetchone()
        if found is None:
            found = db.execute("INSERT INTO operation (service, name) VALUES (?, ?) RETURNING id", operation).fetchone()
        return self._operations.put(operation, int(found[0]))

    def _trace(self, db: sqlite3.Connection, trace_id: str, start_ns: int, end_ns: int) -> int:
        row = db.execute(
            "INSERT INTO trace (trace_id, start_ns, end_ns) VALUES (?, ?, ?) ON CONFLICT (trace_id) DO UPDATE"
            " SET start_ns = min(start_ns, excluded.start_ns), end_ns = max(end_ns, excluded.end_ns) RETURNING id",
            (bytes.fromhex(trace_id), start_ns, end_ns),
        ).fetchone()
        return int(row[0])

    def _add_chunk(self, db: sqlite3.Connection, chunk: TraceChunk) -> int:
        trace = self._trace(db, chunk.trace_id, chunk.start_ns, chunk.end_ns)
        digest = int.from_bytes(blake2b(chunk.blob, digest_size=8).digest(), "big", signed=True)
        added = db.execute(
            "INSERT OR IGNORE INTO chunk (trace, digest, blob) VALUES (?, ?, ?)", (trace, digest, chunk.blob)
        )
        if not added.rowcount:
            return trace
        db.execute("UPDATE trace SET spans = spans + ?, unmade = ? WHERE id = ?", (chunk.spans, self._time_ns(), trace))
        db.execute("DELETE FROM run WHERE trace = ?", (trace,))
        if chunk.links:
            links = [(trace, bytes.fromhex(link)) for link in chunk.links]
            db.executemany("INSERT OR IGNORE INTO link (trace, target) VALUES (?, ?)", links)
        operations = [(self._operation(db, operation), trace) for operation in chunk.operations]
        db.executemany("INSERT OR IGNORE INTO trace_operation (operation, trace) VALUES (?, ?)", operations)
        return trace

    def _add_sightings(
        self, db: sqlite3.Connection, sightings: Iterable[Sighting], keys: dict[Key, int], traces: dict[str, int]
    ) -> None:
        rows = [(keys[one.key], traces[one.trace_id], one.first_ns, one.last_ns, one.items) for one in sightings]
        db.executemany(
            "INSERT INTO sighting (key, trace, first_ns, last_ns, items) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET first_ns = min(first_ns, excluded.first_ns), last_ns = max(last_ns, excluded.last_ns),"
            " items = items + excluded.items",
            rows,
        )

    def _add_edges(self, db: sqlite3.Connection, edges: Sequence[Edge], keys: dict[Key, int]) -> None:
        pairs = [(keys[edge.cause], keys[edge.product]) for edge in edges]
        new = [pair for pair in dict.fromkeys(pairs) if self._is_new(db, pair)]
        touched = dict.fromkeys(key for pair in new for key in pair)
        db.executemany("INSERT INTO change (key) VALUES (?)", [(key,) for key in touched])
        rows = [
            (*pair, edge.first_ns, edge.last_ns, edge.items, bytes.fromhex(edge.trace_id))
            for pair, edge in zip(pairs, edges, strict=True)
        ]
        db.executemany(
            "INSERT INTO edge (cause, product, first_ns, last_ns, items, trace_id) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET first_ns = min(first_ns, excluded.first_ns),"
            " last_ns = max(last_ns, excluded.last_ns), items = items + excluded.items,"
            " trace_id = CASE trace_id WHEN x'' THEN excluded.trace_id ELSE trace_id END",
            rows,
        )

    def _is_new(self, db: sqlite3.Connection, pair: tuple[int, int]) -> bool:
        if self._edges.get(pair):
            return False
        self._edges.put(pair, True)
        return db.execute("SELECT 1 FROM edge WHERE cause = ? AND product = ?", pair).fetchone() is None

    def put_summaries(self, rows: Sequence[RequirementSummary], gone: Sequence[Key] = (), mark: int = 0) -> None:
        """See `JourneyStore`."""
        marks = ", ".join("?" * len(summaries.COLUMNS))
        insert = f"INSERT OR REPLACE INTO summary ({', '.join(summaries.COLUMNS)}) VALUES ({marks})"
        with self._transaction() as db:
            db.executemany(insert, [summaries.row(one) for one in rows])
            db.executemany("DELETE FROM summary WHERE project = ? AND id = ?", [(key.scope, key.value) for key in gone])
            db.execute("DELETE FROM change WHERE seq <= ?", (mark,))

    # --- upkeep

    def settle(self, before_ns: int, limit: int = 500) -> int:
        """Computes and keeps the runs of traces that got no span since then; gives how many. Only the writer thread
        calls it."""
        find = "SELECT id, trace_id FROM trace WHERE unmade < ? ORDER BY unmade LIMIT ?"
        with self._reader() as db:
            rows = db.execute(find, (before_ns, limit)).fetchall()
            made = [(trace, trace_id, make_runs(self._plan, answers.blobs(db, trace))) for trace, trace_id in rows]
        if not made:
            return 0
        with self._transaction() as db:
            for trace, trace_id, runs in made:
                told = unpack_runs(trace_id.hex(), runs, packed=False)
                name, service = (told[0].name, told[0].service) if told else ("", "")
                errors = sum(error.count for run in told for error in run.errors)
                db.execute("INSERT OR REPLACE INTO run (trace, runs) VALUES (?, ?)", (trace, pack_runs(runs)))
                head = (name, service, errors, trace)
                db.execute("UPDATE trace SET unmade = NULL, name = ?, service = ?, errors = ? WHERE id = ?", head)
        return len(made)

    def expire(self, now_ns: int) -> Expired:
        """See `JourneyStore`; at most `EXPIRED_AT_ONCE` traces for each reason."""
        traces: dict[str, int] = {}
        edges = requirements = 0
        if self._retention_ns:
            horizon_ns = now_ns - self._retention_ns
            traces["age"] = self._let_go("end_ns < ? ORDER BY end_ns", (horizon_ns,))
            edges, requirements = self._forget(horizon_ns)
        if self._max_bytes and (used := self._used_bytes()) > self._max_bytes:
            share = (used - self._max_bytes) / used
            traces["size"] = self._let_go("1 ORDER BY start_ns", (), share)
            with self._reader() as db:
                (horizon_ns,) = db.execute("SELECT coalesce(min(start_ns), 0) FROM trace").fetchone()
            more_edges, more_requirements = self._forget(horizon_ns)
            edges, requirements = edges + more_edges, requirements + more_requirements
        with _errors(self._path):
            self._writer.execute("PRAGMA incremental_vacuum(1000)").fetchall()
        return Expired({reason: count for reason, count in traces.items() if count}, edges, requirements)

    def _used_bytes(self) -> int:
        with self._reader() as db:
            find = "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, "
            return int(db.execute(find + "pragma_page_size").fetchone()[0])

    def _let_go(self, which: str, values: tuple[int, ...], share: float = 1.0) -> int:
        with self._transaction() as db:
            (count,) = db.execute("SELECT count(*) FROM trace").fetchone()
            limit = min(EXPIRED_AT_ONCE, ceil(count * share))
            traces = db.execute(f"SELECT id FROM trace WHERE {which} LIMIT ?", (*values, limit)).fetchall()
            keys = [key for trace in traces for key in db.execute("SELECT key FROM sighting WHERE trace = ?", trace)]
            for table in ("chunk", "run", "sighting", "link", "trace_operation"):
                db.executemany(f"DELETE FROM {table} WHERE trace = ?", traces)
            db.executemany("DELETE FROM trace WHERE id = ?", traces)
            self._drop_keys(db, {*keys})
        return len(traces)

    def _forget(self, before_ns: int) -> tuple[int, int]:
        """Lets go of edges and summaries whose last evidence is older."""
        with self._transaction() as db:
            find = f"SELECT cause, product FROM edge WHERE last_ns < ? LIMIT {10 * EXPIRED_AT_ONCE}"
            edges = db.execute(find, (before_ns,)).fetchall()
            db.executemany("DELETE FROM edge WHERE cause = ? AND product = ?", edges)
            self._drop_keys(db, {(key,) for pair in edges for key in pair})
            requirements = db.execute("DELETE FROM summary WHERE end_ns < ?", (before_ns,)).rowcount
            if edges:
                self._edges.clear()
        return len(edges), requirements

    def _drop_keys(self, db: sqlite3.Connection, keys: Collection[tuple[int]]) -> None:
        """Those that nothing refers to."""
        if not keys:
            return
        db.executemany(
            "DELETE FROM key WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM sighting WHERE key = ?1)"
            " AND NOT EXISTS (SELECT 1 FROM edge WHERE cause = ?1)"
            " AND NOT EXISTS (SELECT 1 FROM edge WHERE product = ?1)",
            [*keys],
        )
        self._keys.clear()

    def close(self) -> None:
        """See `JourneyStore`. May be called twice."""
        if self._closed:
            return
        self._closed = True
        with suppress(Empty):
            while True:
                self._readers.get_nowait().close()
        if self._lock < 0:
            return
        with suppress(sqlite3.Error):
            self._writer.close()
        os.close(self._lock)

    # --- reading

    def edges(self, keys: Collection[Key], limit: int = 1000) -> list[Edge]:
        """See `JourneyStore`."""
        with self._reader() as db:
            return answers.edges(db, keys, limit)

    def sightings(self, *, keys: Collection[Key] = (), trace_ids: Collection[str] = ()) -> list[Sighting]:
        """See `JourneyStore`."""
        with self._reader() as db:
            return answers.sightings(db, keys, trace_ids)

    def runs(self, trace_ids: Collection[str]) -> list[Run]:
        """See `JourneyStore`."""
        with self._reader() as db:
            return answers.runs(db, self._plan, trace_ids)

    def linking(self, trace_ids: Collection[str]) -> list[tuple[str, str]]:
        """See `JourneyStore`."""
        with self._reader() as db:
            return answers.linking(db, trace_ids)

    def trace(self, trace_id: str) -> list[bytes]:
        """See `JourneyStore`."""
        with self._reader() as db:
            return answers.trace(db, trace_id)

    def traces(self, query: TraceQuery) -> list[TraceHead]:
        """See `JourneyStore`."""
        with self._reader() as db:
            return answers.traces(db, query)

    def operations(self) -> list[tuple[str, str]]:
        """See `JourneyStore`."""
        with self._reader() as db:
            return answers.operations(db)

    def keys(self, kind: str, value_prefix: str, limit: int) -> list[Key]:
        """See `JourneyStore`."""
        with self._reader() as db:
            return answers.keys(db, kind, value_prefix, limit)

    def requirements(self, query: RequirementQuery) -> RequirementPage:
        """See `JourneyStore`."""
        with self._reader() as db:
            return answers.requirements(db, query)

    def changed(self, limit: int) -> Changed:
        """See `JourneyStore`."""
        with self._reader() as db:
            return answers.changed(db, limit)

    def due(self, now_ns: int, limit: int) -> list[Key]:
        """See `JourneyStore`."""
        find = "SELECT project, id FROM summary WHERE due_ns > 0 AND due_ns <= ? ORDER BY due_ns, project, id LIMIT ?"
        with self._reader() as db:
            return [Key(REQUIREMENT, *row) for row in db.execute(find, (now_ns, limit))]

    def stats(self) -> StoreStats:
        """See `JourneyStore`."""
        with self._reader() as db:
            return answers.stats(db)


def _keys_of(extract: Extract) -> set[Key]:
    ends = {key for edge in extract.edges for key in (edge.cause, edge.product)}
    return ends | {one.key for one in extract.sightings}
