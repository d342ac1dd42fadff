"""A plain journey store in memory, filled with runs that are written down instead of spans."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from otel_pipeline.journeys.model import Edge, Key, Run, RunError, Sighting, Usage
from otel_pipeline.journeys.store import (
    Changed,
    Expired,
    Extract,
    RequirementPage,
    RequirementQuery,
    RequirementSummary,
    StoreStats,
    TraceHead,
    TraceQuery,
)
from otel_pipeline.semconv import kinds, load

__all__ = ["HOUR", "SECOND", "MemoryStore", "Story", "at", "branch", "commit", "image", "key", "req", "run", "session"]

SECOND = 10**9
HOUR = 3600 * SECOND
START = 1_790_000_000 * SECOND
Story = tuple[Run, tuple[tuple[Key, ...], ...]]
"""A run, and what each of its items names."""
RANKS = {one.name: rank for rank, one in enumerate(kinds(load()))}


def at(hours: float) -> int:
    """Unix nanoseconds, hours after the start of the story."""
    return START + round(hours * HOUR)


def key(kind: str, value: str, scope: str = "") -> Key:
    return Key(kind, scope, value)


def req(value: str, project: str = "shop") -> Key:
    return Key("requirement", project, value)


def branch(value: str, repository: str = "git.example/acme/shop") -> Key:
    return Key("branch", repository, value)


def commit(value: str) -> Key:
    return Key("commit", "", value)


def image(value: str) -> Key:
    return Key("image", "", value)


def session(value: str) -> Key:
    return Key("session", "", value)


def run(
    trace: str,
    stage: str,
    start: float,
    end: float,
    *items: Collection[Key],
    span: str = "",
    parent: str = "",
    errors: Mapping[str, int] | None = None,
    usage: Sequence[Usage] = (),
    **more: Any,
) -> Story:
    """A run from and to an hour of the story, and the items of which it is made: what each of them names."""
    told = tuple(dict.fromkeys(one for item in items for one in item))
    made = Run(
        trace_id=trace,
        span_id=span or f"{stage}@{start}",
        parent=parent,
        name=more.pop("name", stage or "work"),
        service=more.pop("service", "agent"),
        stage=stage,
        agent=more.pop("agent", "claude_code"),
        outcome=more.pop("outcome", "success"),
        is_stage=more.pop("is_stage", bool(stage)),
        start_ns=at(start),
        end_ns=at(end),
        spans=more.pop("spans", max(1, len(items))),
        keys=told,
        errors=tuple(RunError(type, f"{type} happened", "", count) for type, count in (errors or {}).items()),
        usage=tuple(usage),
        **more,
    )
    return made, tuple(tuple(item) for item in items)


class MemoryStore:
    """Answers as a real store does; counts what it is asked."""

    def __init__(self, *stories: Story) -> None:
        self.asked = 0
        self._edges: dict[tuple[Key, Key], Edge] = {}
        self._sightings: dict[tuple[Key, str], Sighting] = {}
        self._runs: dict[str, dict[str, Run]] = {}
        self._rows: dict[tuple[str, str], RequirementSummary] = {}
        self._log: list[tuple[str, Key | None]] = []
        self._mark = 0
        for story in stories:
            self.tell(story)

    def tell(self, story: Story) -> None:
        """One run and its items."""
        run, items = story
        self._runs.setdefault(run.trace_id, {})[run.span_id] = run
        self._log.append((run.trace_id, None))
        for item in items:
            for one in item:
                self._see(Sighting(one, run.trace_id, run.start_ns, run.end_ns, 1))
            self.link(*item, start_ns=run.start_ns, end_ns=run.end_ns, trace_id=run.trace_id)

    def link(self, *item: Key, start_ns: int, end_ns: int, trace_id: str = "") -> None:
        """Things on one item, such as a log record, in a trace or in none."""
        for one in item if trace_id else ():
            self._see(Sighting(one, trace_id, start_ns, end_ns, 1))
        for one, other in combinations(sorted(item, key=lambda one: (RANKS[one.kind], one)), 2):
            if one.kind != other.kind or one.kind != "requirement":
                self._edge(Edge(one, other, start_ns, end_ns, 1, trace_id))

    def _see(self, new: Sighting) -> None:
        old = self._sightings.get((new.key, new.trace_id), new)
        first, last = min(old.first_ns, new.first_ns), max(old.last_ns, new.last_ns)
        self._sightings[new.key, new.trace_id] = replace(new, first_ns=first, last_ns=last)

    def _edge(self, new: Edge) -> None:
        old = self._edges.get((new.cause, new.product))
        first, last = (min(old.first_ns, new.first_ns), max(old.last_ns, new.last_ns)) if old else (0, 0)
        self._edges[new.cause, new.product] = replace(old, first_ns=first, last_ns=last) if old else new
        if not old:
            self._log += [("", new.cause), ("", new.product)]

    def write(self, extracts: Sequence[Extract]) -> None:
        raise NotImplementedError

    def edges(self, keys: Collection[Key], limit: int = 1000) -> list[Edge]:
        self.asked += 1
        found: dict[tuple[Key, Key], Edge] = {}
        for one in keys:
            touching = [edge for ends, edge in self._edges.items() if one in ends]
            found |= {(e.cause, e.product): e for e in sorted(touching, key=lambda e: e.first_ns)[: limit + 1]}
        return list(found.values())

    def sightings(self, *, keys: Collection[Key] = (), trace_ids: Collection[str] = ()) -> list[Sighting]:
        self.asked += 1
        wanted, traces = set(keys), set(trace_ids)
        return [one for one in self._sightings.values() if one.key in wanted or one.trace_id in traces]

    def runs(self, trace_ids: Collection[str]) -> list[Run]:
        self.asked += 1
        return [run for one in trace_ids for run in self._runs.get(one, {}).values()]

    def linking(self, trace_ids: Collection[str]) -> list[tuple[str, str]]:
        self.asked += 1
        pairs = {(one.trace_id, to) for runs in self._runs.values() for one in runs.values() for to in one.links}
        return [pair for pair in pairs if set(pair) & set(trace_ids)]

    def trace(self, trace_id: str) -> list[bytes]:
        raise NotImplementedError

    def traces(self, query: TraceQuery) -> list[TraceHead]:
        raise NotImplementedError

    def operations(self) -> list[tuple[str, str]]:
        return []

    def keys(self, kind: str, value_prefix: str, limit: int) -> list[Key]:
        self.asked += 1
        known = {one for one, _ in self._sightings} | {one for ends in self._edges for one in ends}
        found = [one for one in known if one.kind == kind and one.value.startswith(value_prefix)]
        return sorted(found, key=lambda one: (one.value, one.scope))[:limit]

    def requirements(self, query: RequirementQuery) -> RequirementPage:
        rows = tuple(row for row in self._rows.values() if query.project in ("", row.project))
        return RequirementPage(rows, len(rows), _counts(row.stage for row in rows), {}, ())

    def put_summaries(self, rows: Sequence[RequirementSummary], gone: Sequence[Key] = (), mark: int = 0) -> None:
        self._rows |= {(row.project, row.requirement): row for row in rows}
        for one in gone:
            self._rows.pop((one.scope, one.value), None)
        self._mark = mark or self._mark

    def changed(self, limit: int) -> Changed:
        new = self._log[self._mark : self._mark + limit]
        keys = tuple(dict.fromkeys(one for _, one in new if one))
        return Changed(tuple(dict.fromkeys(one for one, _ in new if one)), keys, self._mark + len(new))

    def due(self, now_ns: int, limit: int) -> list[Key]:
        due = [row for row in self._rows.values() if 0 < row.due_ns <= now_ns]
        return [Key("requirement", row.project, row.requirement) for row in due][:limit]

    def expire(self, now_ns: int) -> Expired:
        return Expired()

    def stats(self) -> StoreStats:
        return StoreStats(len(self._runs), 0, 0, len(self._edges), len(self._rows), 0, 0)

    def close(self) -> None:
        pass


def _counts(texts: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for text in texts:
        found[text] = found.get(text, 0) + 1
    return found
