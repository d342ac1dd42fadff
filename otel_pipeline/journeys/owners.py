"""Whose runs are: for each run of some traces the requirements that it was done for. The nearest evidence wins."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from otel_pipeline.journeys.graph import Graph
from otel_pipeline.journeys.model import Key, Run

__all__ = ["Answer", "Owners", "RunId", "short"]

RunId = tuple[str, str]
"""Trace and topmost span."""

ROUNDS = 4
"""How often what was found may lead to more within the same traces."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The requirements of a run, and what tells it."""

    requirements: frozenset[Key]
    because: str
    rank: int
    """Of the evidence; smaller is nearer."""


NAMED, ABOVE, KEYS, RECORDS, REUSE, RUNS, TRACE, LINK = range(8)


class Owners:
    """Decides in this order:

    1. a requirement that the run's own spans name; 2. the one that the nearest run above it names;
    3. the one with the fewest hops backwards from its own keys, never down and up again; 4. from the keys of the runs
    above it; then what log records of the trace name, such as a commit that an agent tells of in an event only; then,
    by their keys that serve several requirements in turn, the one that was worked on at that time; then the
    requirements of other runs that name the same key; 5. those of the other runs of its trace; 6. those of the traces
    that it links to, and of those that link to it. Where one step tells several, all of them share the run.
    """

    def __init__(
        self,
        graph: Graph,
        runs: Iterable[Run],
        links: Collection[tuple[str, str]],
        seen: Mapping[str, Collection[Key]],
    ) -> None:
        """`seen` are the keys on all items of the traces: those that no run names are on log records."""
        self.runs: dict[RunId, Run] = {(run.trace_id, run.span_id): run for run in runs}
        self.answers: dict[RunId, Answer] = {}
        self.crowded: set[Key] = set()
        """Keys with too many requirements behind them."""
        self._graph = graph
        in_runs: dict[str, set[Key]] = {}
        for run in self.runs.values():
            in_runs.setdefault(run.trace_id, set()).update(run.keys)
        self._records = {trace_id: set(seen.get(trace_id, ())) - keys for trace_id, keys in in_runs.items()}
        self._chains = {id: tuple(self._chain(id)) for id in self.runs}
        self._nearest: dict[Key, tuple[int, frozenset[Key]]] = {}
        self._targets: dict[str, set[str]] = {}
        self._sources: dict[str, set[str]] = {}
        for source, target in links:
            self._targets.setdefault(source, set()).add(target)
            self._sources.setdefault(target, set()).add(source)

    def decide(self) -> None:
        """Fills `answers`. Each step looks only at what earlier ones found: the order of runs does not matter."""
        graph = self._graph
        keys = {key for run in self.runs.values() for key in run.keys}.union(*self._records.values())
        graph.load_causes({key for key in keys if not graph.is_requirement(key)})
        graph.merge(key for key in keys if graph.is_requirement(key))
        self._settle({id: self._by_keys(id) for id in self.runs})
        self._settle({id: self._by_records(id) for id in self._open()})
        self._settle(self._by_time())
        for _ in range(ROUNDS):
            before = len(self.answers)
            self._settle(self._by_other_runs(RUNS))
            self._settle(self._by_trace())
            self._settle(self._by_links())
            self._settle(self._by_other_runs(LINK))
            if len(self.answers) in (before, len(self.runs)):
                return

    def _settle(self, found: Mapping[RunId, Answer | None]) -> None:
        self.answers.update((id, answer) for id, answer in found.items() if answer is not None)

    def _open(self) -> list[RunId]:
        return [id for id in self.runs if id not in self.answers]

    def _chain(self, id: RunId) -> Iterator[Run]:
        """The run and those above it; a circle ends where it closes."""
        seen: set[RunId] = set()
        while id in self.runs and id not in seen:
            seen.add(id)
            yield self.runs[id]
            id = (id[0], self.runs[id].parent)

    # --- steps 1 to 4

    def _by_keys(self, id: RunId) -> Answer | None:
        for above, run in enumerate(self._chains[id]):
            named = frozenset(self._graph.same(key) for key in run.keys if self._graph.is_requirement(key))
            if named:
                return Answer(named, "run above" if above else "named", ABOVE if above else NAMED)
        for run in self._chains[id]:
            if answer := self._by_nearest(run.keys):
                return answer
        return None

    def _by_records(self, id: RunId) -> Answer | None:
        keys = self._records[id[0]]
        named = frozenset(self._graph.same(key) for key in keys if self._graph.is_requirement(key))
        return self._shared(named, "log record", RECORDS) or self._by_nearest(sorted(keys), RECORDS)

    def _by_nearest(self, keys: Iterable[Key], rank: int = KEYS) -> Answer | None:
        best: dict[Key, frozenset[Key]] = {}
        fewest = 0
        for key in keys:
            if not self._graph.is_followed(key):
                continue
            hops, found = self.nearest(key)
            if found and (not fewest or hops <= fewest):
                best = {**(best if hops == fewest else {}), key: found}
                fewest = hops
        return self._answer(best, rank)

    def nearest(self, key: Key) -> tuple[int, frozenset[Key]]:
        """Hops to the requirements behind a key; none where there are too many."""
        if key not in self._nearest:
            hops, found = self._graph.nearest(key, self._graph.requirements)
            if len(found) > self._graph.limits.max_shared:
                self.crowded.add(key)
                hops, found = 0, frozenset()
            self._nearest[key] = (hops, found)
        return self._nearest[key]

    def _answer(self, found: Mapping[Key, frozenset[Key]], rank: int) -> Answer | None:
        """By the keys that told it."""
        requirements: frozenset[Key] = frozenset().union(*found.values())
        if not requirements:
            return None
        if len(requirements) > self._graph.limits.max_shared:
            self.crowded.update(found)
            return None
        return Answer(requirements, short(min(key for key in found if found[key])), rank)

    # --- keys that serve several requirements in turn

    def _by_time(self) -> dict[RunId, Answer | None]:
        turns = self._turns()
        return {id: self._at_time(id, turns) for id in self._open()}

    def _turns(self) -> dict[Key, list[tuple[int, int, frozenset[Key]]]]:
        """When each such key was seen with which requirements: in runs, and on items that are in no run."""
        turns: dict[Key, list[tuple[int, int, frozenset[Key]]]] = {}
        for id, answer in self.answers.items():
            run = self.runs[id]
            for key in run.keys:
                if key.kind in self._graph.rules.reuse:
                    turns.setdefault(key, []).append((run.start_ns, run.end_ns, answer.requirements))
        for key in {key for run in self.runs.values() for key in run.keys} | set(turns):
            if key.kind in self._graph.rules.reuse:
                told = frozenset().union(*(found for _, _, found in turns.get(key, ())))
                for cause, edge in self._graph.causes(key).items():
                    owner = self._graph.same(cause)
                    if self._graph.is_requirement(cause) and owner not in told:
                        turns.setdefault(key, []).append((edge.first_ns, edge.last_ns, frozenset({owner})))
        return turns

    def _at_time(self, id: RunId, turns: Mapping[Key, list[tuple[int, int, frozenset[Key]]]]) -> Answer | None:
        for run in self._chains[id]:
            frontier = {(key, self.runs[id].start_ns) for key in run.keys}
            seen = set(run.keys)
            for _ in range(self._graph.limits.max_hops):
                found: dict[Key, frozenset[Key]] = {}
                for key, time in frontier:
                    if key.kind in self._graph.rules.reuse:
                        found[key] = found.get(key, frozenset()) | _turn_at(turns.get(key, ()), time)
                if answer := self._answer(found, REUSE):
                    return answer
                frontier = {
                    (cause, edge.first_ns)
                    for key, _ in frontier
                    if self._graph.is_followed(key)
                    for cause, edge in self._graph.causes(key).items()
                    if cause not in seen
                }
                seen.update(cause for cause, _ in frontier)
        return None

    # --- other runs

    def _by_other_runs(self, rank: int) -> dict[RunId, Answer | None]:
        """Keys that no item told with a requirement belong to those of the runs that name them."""
        told = self._told(by_links=rank == LINK)
        if not told:
            return {}
        nearest: dict[Key, tuple[int, frozenset[Key]]] = {}
        for key in {key for id in self._open() for run in self._chains[id] for key in run.keys}:
            if self._graph.is_followed(key):
                nearest[key] = self._graph.nearest(key, lambda one: told.get(one, set()))
        return {id: self._by_told(id, nearest, rank) for id in self._open()}

    def _by_told(self, id: RunId, nearest: Mapping[Key, tuple[int, frozenset[Key]]], rank: int) -> Answer | None:
        for run in self._chains[id]:
            hops = {key: nearest[key] for key in run.keys if key in nearest and nearest[key][1]}
            fewest = min((count for count, _ in hops.values()), default=0)
            best = {key: found for key, (count, found) in hops.items() if count == fewest}
            if answer := self._answer(best, rank):
                return answer
        return None

    def _told(self, *, by_links: bool) -> dict[Key, set[Key]]:
        """What runs tell of keys that have no requirement behind them; of several runs those with the best evidence."""
        told: dict[Key, tuple[int, set[Key]]] = {}
        for id, answer in self.answers.items():
            if (answer.rank == LINK) != by_links:
                continue
            for key in self.runs[id].keys:
                if self._graph.is_followed(key) and not self.nearest(key)[1] and key not in self.crowded:
                    rank, found = told.setdefault(key, (answer.rank, set()))
                    if answer.rank < rank:
                        told[key] = (answer.rank, set(answer.requirements))
                    elif answer.rank == rank:
                        found |= answer.requirements
        return {key: found for key, (_, found) in told.items()}

    def _of_traces(self) -> dict[str, frozenset[Key]]:
        """Requirements of the runs that are decided, by trace; those found by links lead no further."""
        found: dict[str, frozenset[Key]] = {}
        for (trace_id, _), answer in self.answers.items():
            if answer.rank < LINK:
                found[trace_id] = found.get(trace_id, frozenset()) | answer.requirements
        return found

    def _by_trace(self) -> dict[RunId, Answer | None]:
        found = self._of_traces()
        return {id: self._shared(found.get(id[0], frozenset()), "trace", TRACE) for id in self._open()}

    def _by_links(self) -> dict[RunId, Answer | None]:
        found = self._of_traces()
        return {id: self._linked(id, found) for id in self._open()}

    def _linked(self, id: RunId, found: Mapping[str, frozenset[Key]]) -> Answer | None:
        """Links point to what came before: first only backwards, then only forwards, never both."""
        own = {trace_id for run in self._chains[id] for trace_id in run.links}
        for first, steps in ((own, self._targets), ({id[0]}, self._targets), ({id[0]}, self._sources)):
            seen, frontier = {id[0]}, first
            for _ in range(self._graph.limits.max_link_hops):
                requirements: frozenset[Key] = frozenset().union(*(found.get(one, frozenset()) for one in frontier))
                if requirements:
                    return self._shared(requirements, "link", LINK)
                seen |= frontier
                frontier = {target for one in frontier for target in steps.get(one, ())} - seen
        return None

    def _shared(self, requirements: frozenset[Key], because: str, rank: int) -> Answer | None:
        if not requirements or len(requirements) > self._graph.limits.max_shared:
            return None
        return Answer(requirements, because, rank)


def _turn_at(turns: Collection[tuple[int, int, frozenset[Key]]], time: int) -> frozenset[Key]:
    """The requirements that were worked on at a time: then, else last before it. Before all of them nothing tells,
    unless there has only ever been one."""
    covering = [turn for turn in turns if turn[0] <= time <= turn[1]]
    if covering:
        latest = max(start for start, _, _ in covering)
        return frozenset().union(*(found for start, _, found in covering if start == latest))
    before = [turn for turn in turns if turn[1] < time]
    if before:
        latest = max(end for _, end, _ in before)
        return frozenset().union(*(found for _, end, found in before if end == latest))
    ever: frozenset[Key] = frozenset().union(*(found for _, _, found in turns))
    return ever if len(ever) == 1 else frozenset()


def short(key: Key) -> str:
    """How evidence is told: `commit 9d59409`. Long hexadecimal values are cut to what people write of them."""
    value = key.value.removeprefix("sha256:")
    is_hash = len(value) >= 32 and all(c in "0123456789abcdef" for c in value)
    most = 7 if is_hash else 80
    return f"{key.kind} {value[:most]}{'…' if len(value) > most and not is_hash else ''}"
