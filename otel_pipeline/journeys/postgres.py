"""The journey store in a database that speaks PostgreSQL's protocol; several gateways may write one.

Writers take turns, transaction by transaction: each begins by changing the row `seq` of `journey_meta`, which also
numbers what changed.
"""

import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from math import ceil
from queue import Empty, LifoQueue
from typing import Any, cast
from uuid import UUID

import psycopg

from otel_pipeline._native import JourneyPlan
from otel_pipeline.errors import StoreError
from otel_pipeline.journeys import summaries
from otel_pipeline.journeys.extract import make_runs, pack_runs, unpack, unpack_runs
from otel_pipeline.journeys.model import Edge, Key, Run, Sighting
from otel_pipeline.journeys.postgres_schema import MIGRATIONS
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

__all__ = ["PostgresStore"]

EXPIRED_AT_ONCE = 500
_NO_END = (1 << 63) - 1
_Connection = psycopg.Connection[tuple[Any, ...]]
_TABLES_OF_TRACES = ("journey_chunk", "journey_sighting", "journey_link", "journey_operation", "journey_trace")


class PostgresStore:
    """A `JourneyStore`; see there. Raises StoreError where the server cannot be used now.

    `retention_ns` is the age, `max_bytes` the size of the spans that are kept, over which the oldest traces are let
    go; 0: no limit.
    """

    def __init__(
        self,
        dsn: str,
        plan: JourneyPlan,
        *,
        retention_ns: int = 0,
        max_bytes: int = 0,
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._dsn = dsn
        self._plan = plan
        self._retention_ns = retention_ns
        self._max_bytes = max_bytes
        self._time_ns = time_ns
        self._idle: LifoQueue[_Connection] = LifoQueue()
        self._closed = False
        self._migrate()

    def _migrate(self) -> None:
        create = "CREATE TABLE IF NOT EXISTS journey_meta (name text PRIMARY KEY, value bigint NOT NULL)"
        with self._connection() as db:
            with suppress(psycopg.errors.UniqueViolation):  # another gateway makes it at this moment
                db.execute(create)
            begin = "INSERT INTO journey_meta VALUES ('version', 0), ('seq', 0) ON CONFLICT DO NOTHING"
            db.execute(begin)
        with self._transaction() as db:
            (version,) = _one(db, "SELECT value FROM journey_meta WHERE name = 'version'")
            if version > len(MIGRATIONS):
                raise StoreError("the journey store in the database was made by a newer version of the gateway")
            for statement in (statement for step in MIGRATIONS[version:] for statement in step):
                db.execute(statement)
            db.execute("UPDATE journey_meta SET value = %s WHERE name = 'version'", (len(MIGRATIONS),))

    @contextmanager
    def _connection(self) -> Iterator[_Connection]:
        """A connection in autocommit mode; after an error it is thrown away."""
        if self._closed:
            raise StoreError("the journey store is closed")
        connection: _Connection | None = None
        try:
            try:
                connection = self._idle.get_nowait()
            except Empty:
                connection = psycopg.connect(self._dsn, autocommit=True, connect_timeout=10)
            yield connection
        except psycopg.Error as error:
            if connection is not None:
                connection.close()
            text = str(error).strip().splitlines() or [type(error).__name__]
            raise StoreError(f"postgresql: {text[0]}") from None
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        self._idle.put(connection)

    @contextmanager
    def _transaction(self) -> Iterator[_Connection]:
        """One that no other writer is in."""
        with self._connection() as db, db.transaction():
            db.execute("UPDATE journey_meta SET value = value WHERE name = 'seq'")
            yield db

    # --- writing

    def write(self, extracts: Sequence[Extract]) -> None:
        """See `JourneyStore`."""
        with self._transaction() as db:
            for extract in extracts:
                self._add_keys(db, extract)
                traces = self._add_traces(db, extract)
                self._add_sightings(db, extract.sightings)
                new = self._add_edges(db, extract.edges)
                self._note(db, traces, new)

    def _add_keys(self, db: _Connection, extract: Extract) -> None:
        keys = {key for edge in extract.edges for key in (edge.cause, edge.product)}
        keys |= {one.key for one in extract.sightings}
        rows = sorted((_id(key), key.kind, key.scope, key.value) for key in keys)
        _many(db, "INSERT INTO journey_key VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING", rows)

    def _add_traces(self, db: _Connection, extract: Extract) -> list[UUID]:
        heads = [(UUID(one.trace_id), one.start_ns, one.end_ns) for one in extract.chunks]
        heads += [(UUID(one.trace_id), one.first_ns, one.last_ns) for one in extract.sightings]
        bounds: dict[UUID, tuple[int, int]] = {}
        for trace_id, start_ns, end_ns in heads:
            first_ns, last_ns = bounds.get(trace_id, (start_ns, end_ns))
            bounds[trace_id] = min(first_ns, start_ns), max(last_ns, end_ns)
        _many(
            db,
            "INSERT INTO journey_trace (trace_id, start_ns, end_ns) VALUES (%s, %s, %s) ON CONFLICT (trace_id)"
            " DO UPDATE SET start_ns = least(journey_trace.start_ns, excluded.start_ns),"
            " end_ns = greatest(journey_trace.end_ns, excluded.end_ns)",
            [(trace_id, *times) for trace_id, times in bounds.items()],
        )
        _many(
            db,
            "WITH added AS (INSERT INTO journey_chunk VALUES (%s, %s, %s) ON CONFLICT DO NOTHING RETURNING trace_id)"
            " UPDATE journey_trace SET spans = spans + %s, bytes = bytes + %s, unmade = %s, runs = NULL"
            " WHERE trace_id = (SELECT trace_id FROM added)",
            [(*_chunk(one), one.spans, len(one.blob), self._time_ns()) for one in extract.chunks],
        )
        links = [(UUID(one.trace_id), UUID(link)) for one in extract.chunks for link in one.links]
        _many(db, "INSERT INTO journey_link VALUES (%s, %s) ON CONFLICT DO NOTHING", links)
        operations = [(UUID(one.trace_id), *operation) for one in extract.chunks for operation in one.operations]
        _many(db, "INSERT INTO journey_operation VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", operations)
        return [*bounds]

    def _add_sightings(self, db: _Connection, sightings: Iterable[Sighting]) -> None:
        _many(
            db,
            "INSERT INTO journey_sighting AS known VALUES (%s, %s, %s, %s, %s) ON CONFLICT (key_id, trace_id)"
            " DO UPDATE SET first_ns = least(known.first_ns, excluded.first_ns),"
            " last_ns = greatest(known.last_ns, excluded.last_ns), items = known.items + excluded.items",
            [(_id(one.key), UUID(one.trace_id), one.first_ns, one.last_ns, one.items) for one in sightings],
        )

    def _add_edges(self, db: _Connection, edges: Sequence[Edge]) -> list[UUID]:
        """Gives the keys that got a new edge."""
        pairs = [(_id(edge.cause), _id(edge.product)) for edge in edges]
        if not pairs:
            return []
        find = (
            "SELECT cause, product FROM journey_edge"
            " WHERE (cause, product) IN (SELECT * FROM unnest(%s::uuid[], %s::uuid[]))"
        )
        known = {*db.execute(find, ([cause for cause, _ in pairs], [product for _, product in pairs]))}
        _many(
            db,
            "INSERT INTO journey_edge AS known VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (cause, product)"
            " DO UPDATE SET first_ns = least(known.first_ns, excluded.first_ns),"
            " last_ns = greatest(known.last_ns, excluded.last_ns), items = known.items + excluded.items,"
            " trace_id = coalesce(known.trace_id, excluded.trace_id)",
            [
                (*pair, edge.first_ns, edge.last_ns, edge.items, UUID(edge.trace_id) if edge.trace_id else None)
                for pair, edge in zip(pairs, edges, strict=True)
            ],
        )
        return [*dict.fromkeys(key for pair in pairs if pair not in known for key in pair)]

    def _note(self, db: _Connection, traces: Sequence[UUID], keys: Sequence[UUID]) -> None:
        notes = [(trace, None) for trace in traces] + [(None, key) for key in keys]
        count = "UPDATE journey_meta SET value = value + %s WHERE name = 'seq' RETURNING value"
        (last,) = _one(db, count, (len(notes),))
        rows = [(last - len(notes) + at, *note) for at, note in enumerate(notes, start=1)]
        _many(db, "INSERT INTO journey_change VALUES (%s, %s, %s)", rows)

    def put_summaries(self, rows: Sequence[RequirementSummary], gone: Sequence[Key] = (), mark: int = 0) -> None:
        """See `JourneyStore`."""
        columns = ", ".join(summaries.COLUMNS)
        marks = ", ".join(["%s"] * len(summaries.COLUMNS))
        changes = ", ".join(f"{name} = excluded.{name}" for name in summaries.COLUMNS[2:])
        insert = f"INSERT INTO journey_summary ({columns}) VALUES ({marks})"
        insert += f" ON CONFLICT (project, id) DO UPDATE SET {changes}"
        with self._transaction() as db:
            _many(db, insert, [tuple(map(_clean, summaries.row(one))) for one in rows])
            ended = [(_clean(key.scope), _clean(key.value)) for key in gone]
            _many(db, "DELETE FROM journey_summary WHERE project = %s AND id = %s", ended)
            db.execute("DELETE FROM journey_change WHERE seq <= %s", (mark,))

    # --- upkeep

    def settle(self, before_ns: int, limit: int = 500) -> int:
        """Computes and keeps the runs of traces that got no span since then; gives how many."""
        find = "SELECT trace_id, unmade FROM journey_trace WHERE unmade < %s ORDER BY unmade LIMIT %s"
        with self._connection() as db:
            rows = db.execute(find, (before_ns, limit)).fetchall()
            made = [(trace, unmade, make_runs(self._plan, _blobs(db, trace))) for trace, unmade in rows]
        if not made:
            return 0
        heads = []
        for trace, unmade, runs in made:
            told = unpack_runs(trace.hex, runs, packed=False)
            name, service = (told[0].name, told[0].service) if told else ("", "")
            errors = sum(error.count for run in told for error in run.errors)
            heads.append((pack_runs(runs), _clean(name), _clean(service), errors, trace, unmade))
        with self._transaction() as db:
            _many(
                db,
                "UPDATE journey_trace SET unmade = NULL, runs = %s, name = %s, service = %s, errors = %s"
                " WHERE trace_id = %s AND unmade = %s",
                heads,
            )
        return len(made)

    def expire(self, now_ns: int) -> Expired:
        """See `JourneyStore`; at most `EXPIRED_AT_ONCE` traces for each reason."""
        traces: dict[str, int] = {}
        edges = requirements = 0
        if self._retention_ns:
            horizon_ns = now_ns - self._retention_ns
            traces["age"] = self._let_go("WHERE end_ns < %s ORDER BY end_ns", (horizon_ns,))
            edges, requirements = self._forget(horizon_ns)
        if self._max_bytes and (used := self.stats().bytes) > self._max_bytes:
            share = (used - self._max_bytes) / used
            traces["size"] = self._let_go("ORDER BY start_ns", (), share)
            with self._connection() as db:
                (horizon_ns,) = _one(db, "SELECT coalesce(min(start_ns), 0) FROM journey_trace")
            more_edges, more_requirements = self._forget(horizon_ns)
            edges, requirements = edges + more_edges, requirements + more_requirements
        return Expired({reason: count for reason, count in traces.items() if count}, edges, requirements)

    def _let_go(self, which: str, values: tuple[int, ...], share: float = 1.0) -> int:
        with self._transaction() as db:
            (count,) = _one(db, "SELECT count(*) FROM journey_trace")
            limit = min(EXPIRED_AT_ONCE, ceil(count * share))
            find = f"SELECT trace_id FROM journey_trace {which} LIMIT %s"
            traces = [row[0] for row in _rows(db, find, (*values, limit))]
            keys = _rows(db, "SELECT DISTINCT key_id FROM journey_sighting WHERE trace_id = ANY(%s)", (traces,))
            for table in _TABLES_OF_TRACES:
                _rows(db, f"DELETE FROM {table} WHERE trace_id = ANY(%s)", (traces,))
            _drop_keys(db, [row[0] for row in keys])
        return len(traces)

    def _forget(self, before_ns: int) -> tuple[int, int]:
        """Lets go of edges and summaries whose last evidence is older."""
        find = "SELECT cause, product FROM journey_edge WHERE last_ns < %s LIMIT %s"
        with self._transaction() as db:
            edges = _rows(db, find, (before_ns, 10 * EXPIRED_AT_ONCE))
            _many(db, "DELETE FROM journey_edge WHERE cause = %s AND product = %s", edges)
            _drop_keys(db, [*{key for pair in edges for key in pair}])
            requirements = db.execute("DELETE FROM journey_summary WHERE end_ns < %s", (before_ns,)).rowcount
        return len(edges), requirements

    def close(self) -> None:
        """See `JourneyStore`. May be called twice."""
        self._closed = True
        with suppress(Empty):
            while True:
                self._idle.get_nowait().close()

    # --- reading

    def edges(self, keys: Collection[Key], limit: int = 1000) -> list[Edge]:
        """See `JourneyStore`."""
        find = """
            SELECT DISTINCT found.* FROM unnest(%s::uuid[]) AS wanted (id), LATERAL (
                SELECT cause, product, first_ns, last_ns, items, trace_id FROM journey_edge
                WHERE cause = wanted.id OR product = wanted.id ORDER BY first_ns, cause, product LIMIT %s) AS found
        """
        with self._connection() as db:
            rows = _rows(db, find, ([_id(key) for key in keys], limit + 1))
            names = _names(db, {key for cause, product, *_ in rows for key in (cause, product)})
        return [
            Edge(names[cause], names[product], first_ns, last_ns, items, trace_id.hex if trace_id else "")
            for cause, product, first_ns, last_ns, items, trace_id in rows
            if cause in names and product in names
        ]

    def sightings(self, *, keys: Collection[Key] = (), trace_ids: Collection[str] = ()) -> list[Sighting]:
        """See `JourneyStore`."""
        find = """
            SELECT kind, scope, value, trace_id, first_ns, last_ns, items
            FROM journey_sighting JOIN journey_key ON journey_key.id = key_id
        """
        with self._connection() as db:
            rows = _rows(db, find + "WHERE key_id = ANY(%s)", ([_id(key) for key in keys],))
            rows += _rows(db, find + "WHERE trace_id = ANY(%s)", (_uuids(trace_ids),))
        found = {row[:4]: row for row in rows}
        return [Sighting(Key(*row[:3]), row[3].hex, *row[4:]) for row in found.values()]

    def runs(self, trace_ids: Collection[str]) -> list[Run]:
        """See `JourneyStore`."""
        found: list[Run] = []
        with self._connection() as db:
            find = "SELECT trace_id, runs FROM journey_trace WHERE trace_id = ANY(%s) AND spans > 0"
            for trace, runs in _rows(db, find, (_uuids(trace_ids),)):
                if runs is not None:
                    found += unpack_runs(trace.hex, runs, packed=True)
                else:
                    found += unpack_runs(trace.hex, make_runs(self._plan, _blobs(db, trace)), packed=False)
        return found

    def linking(self, trace_ids: Collection[str]) -> list[tuple[str, str]]:
        """See `JourneyStore`."""
        find = "SELECT trace_id, target FROM journey_link WHERE trace_id = ANY(%s) OR target = ANY(%s)"
        traces = _uuids(trace_ids)
        with self._connection() as db:
            return [(source.hex, target.hex) for source, target in _rows(db, find, (traces, traces))]

    def trace(self, trace_id: str) -> list[bytes]:
        """See `JourneyStore`."""
        with self._connection() as db:
            return [piece for trace in _uuids([trace_id]) for piece in unpack(_blobs(db, trace))]

    def traces(self, query: TraceQuery) -> list[TraceHead]:
        """See `JourneyStore`."""
        tests = ["spans > 0", "end_ns >= %s", "start_ns < %s", "end_ns - start_ns >= %s", "end_ns - start_ns <= %s"]
        values: list[Any] = [query.start_ns, query.end_ns or _NO_END, query.min_duration_ns]
        values.append(query.max_duration_ns or _NO_END)
        for key in {*query.keys}:
            tests.append(
                "EXISTS (SELECT 1 FROM journey_sighting WHERE key_id = %s"
                " AND journey_sighting.trace_id = journey_trace.trace_id)"
            )
            values.append(_id(key))
        if query.service or query.operation:
            tests.append(
                "EXISTS (SELECT 1 FROM journey_operation AS one WHERE one.trace_id = journey_trace.trace_id"
                " AND %s::text IN ('', one.service) AND %s::text IN ('', one.name))"
            )
            values += [_clean(query.service), _clean(query.operation)]
        find = (
            "SELECT trace_id, name, service, start_ns, end_ns, spans, errors FROM journey_trace"
            f" WHERE {' AND '.join(tests)} ORDER BY start_ns DESC, trace_id LIMIT %s"
        )
        with self._connection() as db:
            return [TraceHead(row[0].hex, *row[1:]) for row in _rows(db, find, (*values, query.limit))]

    def operations(self) -> list[tuple[str, str]]:
        """See `JourneyStore`."""
        with self._connection() as db:
            return [
                (row[0], row[1])
                for row in _rows(db, "SELECT DISTINCT service, name FROM journey_operation LIMIT 10000", ())
            ]

    def keys(self, kind: str, value_prefix: str, limit: int) -> list[Key]:
        """See `JourneyStore`."""
        prefix = _clean(value_prefix)
        find = """
            SELECT kind, scope, value FROM journey_key
            WHERE kind = %s AND value >= %s AND left(value, %s) = %s ORDER BY value, scope LIMIT %s
        """
        with self._connection() as db:
            return [Key(*row) for row in _rows(db, find, (_clean(kind), prefix, len(prefix), prefix, limit))]

    def requirements(self, query: RequirementQuery) -> RequirementPage:
        """See `JourneyStore`."""

        def found(selection: summaries.Selection, more: str = "") -> list[Any]:
            sql = selection.sql.replace("FROM summary", "FROM journey_summary").replace("?", "%s") + more
            return _rows(db, sql, tuple(map(_clean, selection.parameters)))

        def counted(what: str, but: str = "") -> summaries.Selection:
            return summaries.select(query, what, but=but, contains="strpos")

        with self._connection() as db:
            ((total,),) = found(counted("count(*)"))
            return summaries.made_page(
                [body for (body,) in found(summaries.page(query, contains="strpos"))],
                total,
                found(counted("stage, count(*)", "stage"), " GROUP BY stage"),
                found(counted("state, count(*)", "state"), " GROUP BY state"),
                [project for (project,) in _rows(db, "SELECT DISTINCT project FROM journey_summary")],
            )

    def changed(self, limit: int) -> Changed:
        """See `JourneyStore`."""
        traces: dict[UUID, None] = {}
        keys: dict[UUID, None] = {}
        mark = 0
        with self._connection() as db:
            rows = _rows(db, "SELECT seq, trace_id, key_id FROM journey_change ORDER BY seq LIMIT %s", (10 * limit,))
            for seq, trace, key in rows:
                mine, row = (keys, key) if trace is None else (traces, trace)
                if row not in mine and len(mine) >= limit:
                    break
                mine[row] = None
                mark = seq
            names = _names(db, keys)
            known = _rows(db, "SELECT trace_id FROM journey_trace WHERE trace_id = ANY(%s)", ([*traces],))
        there = {row[0] for row in known}
        told = tuple(trace.hex for trace in traces if trace in there)
        return Changed(told, tuple(names[key] for key in keys if key in names), mark)

    def due(self, now_ns: int, limit: int) -> list[Key]:
        """See `JourneyStore`."""
        find = """
            SELECT 'requirement', project, id FROM journey_summary
            WHERE due_ns > 0 AND due_ns <= %s ORDER BY due_ns, project, id LIMIT %s
        """
        with self._connection() as db:
            return [Key(*row) for row in _rows(db, find, (now_ns, limit))]

    def stats(self) -> StoreStats:
        """See `JourneyStore`. `bytes` are those of spans."""
        find = """
            SELECT count(*), coalesce(sum(spans), 0), coalesce(sum(bytes), 0), coalesce(min(start_ns), 0)
            FROM journey_trace WHERE spans > 0
        """
        with self._connection() as db:
            traces, spans, size, oldest_ns = _one(db, find)
            others = ("journey_key", "journey_edge", "journey_summary")
            keys, edges, requirements = (_one(db, f"SELECT count(*) FROM {table}")[0] for table in others)
        return StoreStats(traces, int(spans), keys, edges, requirements, int(size), oldest_ns)


def _clean(value: Any) -> Any:
    """Text without the character 0, which PostgreSQL does not take; native code has put U+FFFD in its place, too."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def _id(key: Key) -> UUID:
    """The same in every gateway."""
    text = json.dumps([_clean(key.kind), _clean(key.scope), _clean(key.value)])
    return UUID(bytes=blake2b(text.encode(), digest_size=16).digest())


def _chunk(chunk: TraceChunk) -> tuple[UUID, int, bytes]:
    digest = int.from_bytes(blake2b(chunk.blob, digest_size=8).digest(), "big", signed=True)
    return UUID(chunk.trace_id), digest, chunk.blob


def _uuids(trace_ids: Iterable[str]) -> list[UUID]:
    found = []
    for trace_id in {*trace_ids}:
        with suppress(ValueError):
            found.append(UUID(trace_id))
    return found


def _rows(db: _Connection, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
    cursor = db.execute(sql, parameters)
    return cursor.fetchall() if cursor.description else []


def _one(db: _Connection, sql: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...]:
    (row,) = _rows(db, sql, parameters)
    return cast("tuple[Any, ...]", row)


def _many(db: _Connection, sql: str, rows: Sequence[Sequence[Any]]) -> None:
    if rows:
        db.cursor().executemany(sql, rows)


def _blobs(db: _Connection, trace: UUID) -> list[bytes]:
    rows = _rows(db, "SELECT blob FROM journey_chunk WHERE trace_id = %s ORDER BY digest", (trace,))
    return [row[0] for row in rows]


def _names(db: _Connection, ids: Iterable[UUID]) -> dict[UUID, Key]:
    rows = _rows(db, "SELECT id, kind, scope, value FROM journey_key WHERE id = ANY(%s)", ([*ids],))
    return {row[0]: Key(*row[1:]) for row in rows}


def _drop_keys(db: _Connection, keys: Sequence[UUID]) -> None:
    """Those that nothing refers to."""
    _rows(
        db,
        "DELETE FROM journey_key WHERE id = ANY(%s)"
        " AND NOT EXISTS (SELECT 1 FROM journey_sighting WHERE key_id = journey_key.id)"
        " AND NOT EXISTS (SELECT 1 FROM journey_edge WHERE cause = journey_key.id OR product = journey_key.id)",
        (keys,),
    )
