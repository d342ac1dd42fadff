"""What the journey store in SQLite answers: questions over one connection that reads."""

import json
import sqlite3
from collections.abc import Collection, Iterable

from otel_pipeline._native import JourneyPlan
from otel_pipeline.journeys import summaries
from otel_pipeline.journeys.extract import make_runs, unpack, unpack_runs
from otel_pipeline.journeys.model import Edge, Key, Run, Sighting
from otel_pipeline.journeys.store import (
    Changed,
    RequirementPage,
    RequirementQuery,
    StoreStats,
    TraceHead,
    TraceQuery,
)

__all__ = [
    "blobs",
    "changed",
    "edges",
    "keys",
    "linking",
    "requirements",
    "runs",
    "sightings",
    "stats",
    "trace",
    "traces",
]

_NO_END = (1 << 63) - 1
_EDGES_OF_KEY = """
    SELECT cause, product, first_ns, last_ns, items, trace_id FROM edge WHERE cause = ?1
    UNION ALL
    SELECT cause, product, first_ns, last_ns, items, trace_id FROM edge WHERE product = ?1
    ORDER BY first_ns, cause, product LIMIT ?2
"""
_SIGHTINGS = """
    SELECT key.kind, key.scope, key.value, trace.trace_id, sighting.first_ns, sighting.last_ns, sighting.items
    FROM sighting JOIN key ON key.id = sighting.key JOIN trace ON trace.id = sighting.trace
"""


def _list(values: Iterable[int]) -> str:
    """A parameter for `IN (SELECT value FROM json_each(?))`, which has no limit of parameters."""
    return json.dumps([*values])


def _key_ids(db: sqlite3.Connection, keys: Collection[Key]) -> dict[int, Key]:
    find = "SELECT id FROM key WHERE kind = ? AND value = ? AND scope = ?"
    rows = ((db.execute(find, (key.kind, key.value, key.scope)).fetchone(), key) for key in {*keys})
    return {row[0]: key for row, key in rows if row}


def _trace_ids(db: sqlite3.Connection, trace_ids: Collection[str]) -> dict[int, str]:
    find = "SELECT id FROM trace WHERE trace_id = ?"
    rows = ((db.execute(find, (_bytes(trace_id),)).fetchone(), trace_id) for trace_id in {*trace_ids})
    return {row[0]: trace_id for row, trace_id in rows if row}


def _bytes(trace_id: str) -> bytes:
    try:
        return bytes.fromhex(trace_id)
    except ValueError:
        return b""


def edges(db: sqlite3.Connection, keys: Collection[Key], limit: int) -> list[Edge]:
    """See `JourneyStore.edges`."""
    known = _key_ids(db, keys)
    rows = {row[:2]: row for key in known for row in db.execute(_EDGES_OF_KEY, (key, limit + 1))}
    others = {key for pair in rows for key in pair} - known.keys()
    find = "SELECT id, kind, scope, value FROM key WHERE id IN (SELECT value FROM json_each(?))"
    names = known | {row[0]: Key(*row[1:]) for row in db.execute(find, (_list(others),))}
    return [
        Edge(names[cause], names[product], first_ns, last_ns, items, trace_id.hex())
        for cause, product, first_ns, last_ns, items, trace_id in rows.values()
        if cause in names and product in names
    ]


def sightings(db: sqlite3.Connection, keys: Collection[Key], trace_ids: Collection[str]) -> list[Sighting]:
    """See `JourneyStore.sightings`."""
    of_keys = _list(_key_ids(db, keys))
    of_traces = _list(_trace_ids(db, trace_ids))
    rows = [
        *db.execute(_SIGHTINGS + "WHERE sighting.key IN (SELECT value FROM json_each(?))", (of_keys,)),
        *db.execute(_SIGHTINGS + "WHERE sighting.trace IN (SELECT value FROM json_each(?))", (of_traces,)),
    ]
    found = {row[:4]: row for row in rows}
    return [Sighting(Key(*row[:3]), row[3].hex(), *row[4:]) for row in found.values()]


def blobs(db: sqlite3.Connection, trace: int) -> list[bytes]:
    """The chunks of a trace by its row."""
    return [row[0] for row in db.execute("SELECT blob FROM chunk WHERE trace = ? ORDER BY id", (trace,))]


def trace(db: sqlite3.Connection, trace_id: str) -> list[bytes]:
    """See `JourneyStore.trace`."""
    return [piece for row in _trace_ids(db, [trace_id]) for piece in unpack(blobs(db, row))]


def runs(db: sqlite3.Connection, plan: JourneyPlan, trace_ids: Collection[str]) -> list[Run]:
    """See `JourneyStore.runs`."""
    traces = _trace_ids(db, trace_ids)
    find = "SELECT trace, runs FROM run WHERE trace IN (SELECT value FROM json_each(?))"
    kept = dict(db.execute(find, (_list(traces),)))
    found: list[Run] = []
    for trace, trace_id in traces.items():
        if trace in kept:
            found += unpack_runs(trace_id, kept[trace], packed=True)
        elif chunks := blobs(db, trace):
            found += unpack_runs(trace_id, make_runs(plan, chunks), packed=False)
    return found


def linking(db: sqlite3.Connection, trace_ids: Collection[str]) -> list[tuple[str, str]]:
    """See `JourneyStore.linking`."""
    find = "SELECT trace.trace_id, link.target FROM link JOIN trace ON trace.id = link.trace WHERE "
    starting = db.execute(find + "link.trace IN (SELECT value FROM json_each(?))", (_list(_trace_ids(db, trace_ids)),))
    pairs = {(source.hex(), target.hex()) for source, target in starting}
    for trace_id in {*trace_ids}:
        pointing = db.execute(find + "link.target = ?", (_bytes(trace_id),))
        pairs |= {(source.hex(), target.hex()) for source, target in pointing}
    return [*pairs]


def traces(db: sqlite3.Connection, query: TraceQuery) -> list[TraceHead]:
    """See `JourneyStore.traces`."""
    known = {key: id for id, key in _key_ids(db, query.keys).items()}
    if len(known) < len({*query.keys}):
        return []
    tests = ["spans > 0", "end_ns >= ?", "start_ns < ?", "end_ns - start_ns >= ?", "end_ns - start_ns <= ?"]
    values: list[object] = [query.start_ns, query.end_ns or _NO_END, query.min_duration_ns]
    values.append(query.max_duration_ns or _NO_END)
    for key in known.values():
        tests.append("EXISTS (SELECT 1 FROM sighting WHERE key = ? AND sighting.trace = trace.id)")
        values.append(key)
    if query.service or query.operation:
        tests.append(
            "EXISTS (SELECT 1 FROM trace_operation JOIN operation ON operation.id = trace_operation.operation"
            " WHERE trace_operation.trace = trace.id AND ? IN ('', operation.service) AND ? IN ('', operation.name))"
        )
        values += [query.service, query.operation]
    find = f"""
        SELECT trace_id, name, service, start_ns, end_ns, spans, errors FROM trace
        WHERE {" AND ".join(tests)} ORDER BY start_ns DESC, trace_id LIMIT ?
    """
    return [TraceHead(row[0].hex(), *row[1:]) for row in db.execute(find, (*values, query.limit))]


def operations(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """See `JourneyStore.operations`."""
    return [(service, name) for service, name in db.execute("SELECT service, name FROM operation LIMIT 10000")]


def keys(db: sqlite3.Connection, kind: str, value_prefix: str, limit: int) -> list[Key]:
    """See `JourneyStore.keys`."""
    find = """
        SELECT kind, scope, value FROM key
        WHERE kind = ?1 AND value >= ?2 AND substr(value, 1, length(?2)) = ?2 ORDER BY value, scope LIMIT ?3
    """
    return [Key(*row) for row in db.execute(find, (kind, value_prefix, limit))]


def requirements(db: sqlite3.Connection, query: RequirementQuery) -> RequirementPage:
    """See `JourneyStore.requirements`."""
    (total,) = db.execute(*summaries.select(query, "count(*)")).fetchone()
    by_stage = summaries.select(query, "stage, count(*)", but="stage")
    by_state = summaries.select(query, "state, count(*)", but="state")
    return summaries.made_page(
        (body for (body,) in db.execute(*summaries.page(query))),
        total,
        db.execute(by_stage.sql + " GROUP BY stage", by_stage.parameters).fetchall(),
        db.execute(by_state.sql + " GROUP BY state", by_state.parameters).fetchall(),
        (project for (project,) in db.execute("SELECT DISTINCT project FROM summary")),
    )


def changed(db: sqlite3.Connection, limit: int) -> Changed:
    """See `JourneyStore.changed`."""
    traces: dict[int, None] = {}
    keys: dict[int, None] = {}
    mark = 0
    for seq, trace, key in db.execute("SELECT seq, trace, key FROM change ORDER BY seq"):
        mine, row = (keys, key) if trace is None else (traces, trace)
        if row not in mine and len(mine) >= limit:
            break
        mine[row] = None
        mark = seq
    of_traces = "SELECT id, trace_id FROM trace WHERE id IN (SELECT value FROM json_each(?))"
    of_keys = "SELECT id, kind, scope, value FROM key WHERE id IN (SELECT value FROM json_each(?))"
    named = {row[0]: Key(*row[1:]) for row in db.execute(of_keys, (_list(keys),))}
    told = {row[0]: row[1].hex() for row in db.execute(of_traces, (_list(traces),))}
    return Changed(
        tuple(told[trace] for trace in traces if trace in told), tuple(named[key] for key in keys if key in named), mark
    )


def stats(db: sqlite3.Connection) -> StoreStats:
    """See `JourneyStore.stats`."""

    def one(find: str) -> int:
        (number,) = db.execute(find).fetchone()
        return int(number or 0)

    return StoreStats(
        traces=one("SELECT count(*) FROM trace WHERE spans > 0"),
        spans=one("SELECT sum(spans) FROM trace"),
        keys=one("SELECT count(*) FROM key"),
        edges=one("SELECT count(*) FROM edge"),
        requirements=one("SELECT count(*) FROM summary"),
        bytes=one("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"),
        oldest_ns=one("SELECT min(start_ns) FROM trace WHERE spans > 0"),
    )
