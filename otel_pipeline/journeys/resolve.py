"""From a requirement to the runs that were done for it: forward through the identity graph for candidates, then each
candidate is asked whose it is. Evidence that comes late changes the answer the next time it is asked."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from otel_pipeline.journeys.graph import ENDING, Graph, GraphRules, Limits
from otel_pipeline.journeys.model import Edge, Entity, Key, Note, Run, Sighting
from otel_pipeline.journeys.owners import Answer, Owners, short
from otel_pipeline.journeys.store import JourneyStore

__all__ = ["OwnedRun", "Resolution", "named", "requirements_behind", "resolve"]

ROUNDS = 3
"""How often what a requirement's runs name may lead to further traces."""


@dataclass(frozen=True, slots=True)
class OwnedRun:
    """A run that was done for the requirement, and for whom else."""

    run: Run
    others: tuple[Key, ...]
    """Further requirements, sorted."""
    because: str
    rank: int
    """Of the evidence; smaller is nearer."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """Everything that belongs to a requirement."""

    requirement: Key
    runs: tuple[OwnedRun, ...]
    """By start."""
    entities: tuple[Entity, ...]
    """By hops and first sight; the requirement itself is first."""
    notes: tuple[Note, ...]
    endings: tuple[Edge, ...] = ()
    """What tells that it ended, by time: the value of `product` is the outcome."""


@dataclass(slots=True)
class _Found:
    """How a key was reached."""

    hops: int
    because: Edge | None


def named(store: JourneyStore, kind: str, project: str, requirement: str) -> list[Key]:
    """The requirements of that name: of one project, or of any where it is empty. One that is also known without a
    project stands once where a single project has it."""
    found = [key for key in store.keys(kind, requirement, 100) if key.value == requirement]
    told = [key for key in found if key.scope]
    if not project:
        return told or found
    bare = [key for key in found if not key.scope and not told]
    return [key for key in told if key.scope == project] or bare


def resolve(store: JourneyStore, key: Key, rules: GraphRules, limits: Limits | None = None) -> Resolution:
    """What was done for the requirement. The number of queries depends on hops and rounds, never on how much it is."""
    return _Resolver(store, key, rules, limits or Limits()).resolution()


def requirements_behind(
    store: JourneyStore, rules: GraphRules, *, keys: Iterable[Key] = (), trace_ids: Collection[str] = ()
) -> set[Key]:
    """All requirements that new evidence of these keys and traces may matter to; more than in the end it does."""
    graph = Graph(store, rules, Limits())
    near = {trace_id for pair in store.linking(trace_ids) for trace_id in pair} if trace_ids else set()
    sighted = {one.key for one in store.sightings(trace_ids={*trace_ids, *near})} if trace_ids else set()
    behind = {key for key in {*keys, *sighted} if key.kind != "trace"}
    found = {key for key in behind if graph.is_requirement(key)}
    behind -= found
    graph.load_causes(behind)
    seen = set(behind)
    while behind:
        causes = {cause for key in behind for cause in graph.causes(key)}
        found |= {cause for cause in causes if graph.is_requirement(cause)}
        behind = {cause for cause in causes if not graph.is_requirement(cause)} - seen
        seen |= behind
    return found


class _Resolver:
    """Answers for one requirement."""

    def __init__(self, store: JourneyStore, key: Key, rules: GraphRules, limits: Limits) -> None:
        self._store = store
        self._limits = limits
        self._graph = Graph(store, rules, limits)
        self._graph.merge([key, *(one for one in store.keys(key.kind, key.value, 100) if one.value == key.value)])
        self._asked = self._graph.same(key)
        self._reached: dict[Key, _Found] = {self._asked: _Found(0, None)}
        if key != self._asked or not key.scope:
            self._reached[key] = _Found(0, None)
        elif self._graph.same(bare := Key(key.kind, "", key.value)) == key:
            self._reached[bare] = _Found(0, None)
        self._sightings: dict[Key, tuple[int, int]] = {}
        self._searched: set[Key] = set()
        self._runs: dict[tuple[str, str], Run] = {}
        self._traces: set[str] = set()
        self._seen: dict[str, set[Key]] = {}
        self._links: set[tuple[str, str]] = set()
        self._notes: dict[tuple[str, str], Note] = {}

    def resolution(self) -> Resolution:
        frontier = set(self._reached)
        for _ in range(ROUNDS):
            self._forward(frontier)
            self._read(self._search())
            owners = Owners(self._graph, self._runs.values(), self._links, self._seen)
            owners.decide()
            owned = {id: one for id, one in owners.answers.items() if self._asked in one.requirements}
            frontier = self._named_by(self._runs[id] for id in owned)
            if not frontier:
                break
        self._note(owners, owned.values())
        runs = (self._owned(self._runs[id], answer) for id, answer in owned.items())
        return Resolution(
            requirement=self._asked,
            runs=tuple(sorted(runs, key=lambda one: (one.run.start_ns, one.run.trace_id, one.run.span_id))),
            entities=self._entities(owners, [self._runs[id] for id in owned]),
            notes=tuple(self._notes[place] for place in sorted(self._notes)),
            endings=self._graph.endings(self._asked),
        )

    def _owned(self, run: Run, answer: Answer) -> OwnedRun:
        return OwnedRun(run, tuple(sorted(answer.requirements - {self._asked})), answer.because, answer.rank)

    # --- candidates

    def _forward(self, frontier: set[Key]) -> None:
        """Reaches what the keys brought about. What was seen together with other requirements only is theirs."""
        graph = self._graph
        for _ in range(self._limits.max_hops):
            graph.load(frontier)
            following: set[Key] = set()
            for key in sorted(frontier):
                if self._is_foreign(key):
                    self._reached.pop(key, None)
                    continue
                for product, edge in graph.products(key).items():
                    hops = self._reached[key].hops + 1
                    known = self._reached.get(product)
                    if graph.is_requirement(product) or product.kind == "trace":
                        continue
                    if known is None:
                        following.add(product)
                        self._reached[product] = _Found(hops, edge)
            frontier = following
            if len(self._reached) > self._limits.max_keys:
                self._say("truncated", f"more than {self._limits.max_keys} things: the rest is left out", "")
                return

    def _is_foreign(self, key: Key) -> bool:
        if not self._graph.is_followed(key):
            return False
        near = self._graph.requirements(key)
        if self._asked in near and len(near) > self._limits.max_shared:
            self._crowded(key)
            return True
        return bool(near) and self._asked not in near

    def _search(self) -> set[str]:
        """Traces in which what was reached was seen; new ones only."""
        wanted = self._reached.keys() - self._searched
        self._searched |= wanted
        sightings = self._store.sightings(keys=wanted) if wanted else []
        for one in sightings:
            first, last = self._sightings.get(one.key, (one.first_ns, one.last_ns))
            self._sightings[one.key] = (min(first, one.first_ns), max(last, one.last_ns))
        return self._within_limit(sightings)

    def _within_limit(self, sightings: Iterable[Sighting]) -> set[str]:
        """The oldest new traces, as many as there is room for."""
        starts: dict[str, int] = {}
        for one in sightings:
            if one.trace_id and one.trace_id not in self._traces:
                starts[one.trace_id] = min(starts.get(one.trace_id, one.first_ns), one.first_ns)
        room = max(0, self._limits.max_traces - len(self._traces))
        if len(starts) <= room:
            return set(starts)
        self._say("truncated", f"more than {self._limits.max_traces} traces: the latest are left out", "")
        return set(sorted(starts, key=lambda trace_id: (starts[trace_id], trace_id))[:room])

    def _read(self, traces: set[str]) -> None:
        """Reads the runs of the traces, of those that are linked to them, and of those by which these are judged."""
        found, frontier = set(traces), set(traces)
        for _ in range(2 * self._limits.max_link_hops):
            if not frontier:
                break
            pairs = self._store.linking(frontier)
            self._links.update(pairs)
            room = max(0, self._limits.max_traces - len(self._traces) - len(found))
            linked = {one for pair in pairs for one in pair} - found - self._traces
            if len(linked) > room:
                self._say("truncated", f"more than {self._limits.max_traces} traces: some linked ones are left out", "")
            frontier = set(sorted(linked)[:room])
            found |= frontier
        self._traces |= found
        if found:
            self._runs.update(((run.trace_id, run.span_id), run) for run in self._store.runs(found))
            for one in self._store.sightings(trace_ids=found):
                self._seen.setdefault(one.trace_id, set()).add(one.key)

    def _named_by(self, runs: Iterable[Run]) -> set[Key]:
        """Things that runs of the requirement name and that no item told together with it: reached one hop away."""
        new: dict[Key, Edge] = {}
        for run in runs:
            for key in run.keys:
                if key in self._reached or self._graph.is_requirement(key) or key.kind in ("trace", ENDING):
                    continue
                if key not in new or run.start_ns < new[key].first_ns:
                    new[key] = Edge(self._asked, key, run.start_ns, run.end_ns, 0, run.trace_id)
        self._graph.load(new)
        mine = {key for key in new if not self._is_foreign(key)}
        self._reached.update((key, _Found(1, new[key])) for key in mine)
        return mine

    # --- the answer

    def _entities(self, owners: Owners, runs: Iterable[Run]) -> tuple[Entity, ...]:
        """What was reached and is nearest to this requirement, or is named by its runs."""
        spans: dict[Key, tuple[int, int]] = {}
        for run in runs:
            for key in run.keys:
                first, last = spans.get(key, (run.start_ns, run.end_ns))
                spans[key] = (min(first, run.start_ns), max(last, run.end_ns))
        found: list[Entity] = []
        for key, how in self._reached.items():
            if key == self._asked or not self._graph.is_requirement(key):
                requirements = self._whose(key, owners)
                if key != self._asked and self._asked not in requirements and key not in spans:
                    continue
                if key not in spans and key in owners.crowded:
                    continue
                seen = [one for one in (self._sightings.get(key), spans.get(key)) if one]
                if how.because:
                    seen.append((how.because.first_ns, how.because.last_ns))
                others = tuple(sorted(one.value for one in requirements - {self._asked}))
                first = min((one[0] for one in seen), default=0)
                last = max((one[1] for one in seen), default=0)
                found.append(Entity(key, first, last, how.hops, how.because, others))
        return tuple(sorted(found, key=lambda one: (one.hops, one.first_ns, one.key)))

    def _whose(self, key: Key, owners: Owners) -> frozenset[Key]:
        if key == self._asked:
            return frozenset({key})
        if not self._graph.is_followed(key):
            return frozenset(self._graph.requirements(key))
        return owners.nearest(key)[1]

    def _note(self, owners: Owners, answers: Iterable[Answer]) -> None:
        for key in self._graph.cut & self._reached.keys():
            self._say("truncated", f"{short(key)} was seen with more things than are followed", short(key))
        for key in owners.crowded & self._reached.keys():
            self._crowded(key)
        claimed: dict[str, set[Key]] = {}
        mine = {id[0] for id, answer in owners.answers.items() if self._asked in answer.requirements}
        for id, answer in owners.answers.items():
            if id[0] in mine and answer.because == "named":
                claimed.setdefault(id[0], set()).update(answer.requirements)
        for trace_id, requirements in claimed.items():
            if len(requirements) > 1:
                names = ", ".join(sorted(one.value[:80] for one in requirements)[:5])
                text = f"one trace names {names}: each part counts for the requirement that it names"
                self._say("contradiction", text, trace_id)

    def _crowded(self, key: Key) -> None:
        text = f"more than {self._limits.max_shared} requirements are behind {short(key)}: it links to none of them"
        self._say("many_requirements", text, short(key))

    def _say(self, code: str, text: str, subject: str) -> None:
        self._notes.setdefault((code, subject), Note(code, text, subject))
