"""The part of the identity graph that a question needs, read from a store in layers and kept while it is answered."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from otel_pipeline.journeys.model import Edge, Key
from otel_pipeline.journeys.store import JourneyStore
from otel_pipeline.semconv import Registry, journey_plan, kinds

__all__ = ["ENDING", "Graph", "GraphRules", "Limits", "graph_rules"]

ENDING = "ending"
"""Kind of the end of a requirement: its value is the outcome. It is kept as evidence, and leads nowhere."""


@dataclass(frozen=True, slots=True)
class GraphRules:
    """What the semantic-convention files say of kinds of things."""

    requirement: str
    """The first kind in causal order."""
    reuse: frozenset[str]
    """Kinds that serve several requirements in turn."""
    prefixes: tuple[str, ...]
    """What scopes begin with that stand in for the real one: `project:`."""


def graph_rules(registry: Registry) -> GraphRules:
    """The rules of a registry."""
    found = kinds(registry)
    return GraphRules(
        requirement=found[0].name if found else "requirement",
        reuse=frozenset(one.name for one in found if one.reuse),
        prefixes=tuple({one["prefix"] for one in journey_plan(registry)["keys"] if one["prefix"]}),
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """How far evidence is followed. What is over a limit is left out and noted."""

    max_hops: int = 6
    max_link_hops: int = 3
    max_shared: int = 50
    """A key with more requirements behind it links to none of them."""
    max_keys: int = 20_000
    max_traces: int = 5_000
    max_edges: int = 1_000
    """Of one key."""


class Graph:
    """Edges of the keys that were asked for. A key's neighbours are known once it is loaded."""

    def __init__(self, store: JourneyStore, rules: GraphRules, limits: Limits) -> None:
        self.rules = rules
        self.limits = limits
        self.cut: set[Key] = set()
        """Keys with more edges than are read."""
        self._store = store
        self._loaded: set[Key] = set()
        self._causes: dict[Key, dict[Key, Edge]] = {}
        self._products: dict[Key, dict[Key, Edge]] = {}
        self._requirements: set[Key] = set()
        self._endings: set[Edge] = set()
        self._same: dict[Key, Key] = {}

    def load(self, keys: Iterable[Key]) -> None:
        """Reads the edges of keys that were not read yet: at most one query."""
        wanted = set(keys) - self._loaded
        if not wanted:
            return
        self._loaded |= wanted
        counts = dict.fromkeys(wanted, 0)
        for edge in self._store.edges(wanted, self.limits.max_edges):
            self._add(edge)
            for key in {edge.cause, edge.product} & wanted:
                counts[key] += 1
        self.cut.update(key for key, count in counts.items() if count > self.limits.max_edges)

    def _add(self, edge: Edge) -> None:
        """Two names of one thing are cause of each other; two requirements never are."""
        if edge.product.kind == ENDING:
            if self.is_requirement(edge.cause):
                self._endings.add(edge)
            return
        ends = [(edge.cause, edge.product)]
        self._requirements.update(key for key in ends[0] if self.is_requirement(key))
        if edge.cause.kind == edge.product.kind:
            if edge.cause.kind == self.rules.requirement:
                return
            ends.append((edge.product, edge.cause))
        for cause, product in ends:
            self._causes.setdefault(product, {}).setdefault(cause, edge)
            self._products.setdefault(cause, {}).setdefault(product, edge)

    def load_causes(self, keys: Collection[Key]) -> None:
        """Reads all that the keys may have come from: one query for each hop."""
        frontier, seen = set(keys), set(keys)
        for _ in range(self.limits.max_hops):
            self.load(frontier)
            frontier = {cause for key in frontier for cause in self.causes(key) if not self.is_requirement(cause)}
            frontier -= seen
            seen |= frontier
            if not frontier or len(seen) > self.limits.max_keys:
                return

    def causes(self, key: Key) -> Mapping[Key, Edge]:
        """What brought the key about, and its other names."""
        return {} if self._is_ambiguous(key) else self._causes.get(key, {})

    def products(self, key: Key) -> Mapping[Key, Edge]:
        """What the key brought about, and its other names."""
        return {} if self._is_ambiguous(key) else self._products.get(key, {})

    def _is_ambiguous(self, key: Key) -> bool:
        """A branch that is known by its project alone, of which the project has more than one of that name."""
        if not key.scope.startswith(self.rules.prefixes) or not self.rules.prefixes:
            return False
        names = [one for one in self._causes.get(key, ()) if one.kind == key.kind and one.value == key.value]
        return len(names) > 1

    def is_requirement(self, key: Key) -> bool:
        """Whether it is one."""
        return key.kind == self.rules.requirement

    def is_followed(self, key: Key) -> bool:
        """Whether it says by itself, at any time, whose it is."""
        return key.kind not in self.rules.reuse and key.kind not in (self.rules.requirement, "trace", ENDING)

    def endings(self, requirement: Key) -> tuple[Edge, ...]:
        """What tells that the requirement ended, by time."""
        found = (edge for edge in self._endings if self.same(edge.cause) == requirement)
        return tuple(sorted(found, key=lambda edge: (edge.first_ns, edge.product)))

    def same(self, key: Key) -> Key:
        """The requirement under the name by which it is told apart."""
        return self._same.get(key, key)

    def merge(self, requirements: Iterable[Key]) -> None:
        """A requirement that is named without its project is the one of that name, if only one project has such among
        those that are known: `requirements` and what was read so far."""
        self._requirements.update(requirements)
        scopes: dict[str, set[Key]] = {}
        for key in self._requirements:
            scopes.setdefault(key.value, set()).add(key)
        for keys in scopes.values():
            told = [key for key in keys if key.scope]
            if len(told) == 1:
                self._same.update((key, told[0]) for key in keys if not key.scope)
            else:
                for key in keys:
                    self._same.pop(key, None)

    def requirements(self, key: Key) -> set[Key]:
        """Those that were seen on one item with the key."""
        return {self.same(cause) for cause in self.causes(key) if self.is_requirement(cause)}

    def nearest(self, key: Key, owners: Callable[[Key], set[Key]]) -> tuple[int, frozenset[Key]]:
        """Hops to the nearest requirements behind a key, as `owners` tells them of the keys on the way; keys that serve
        several in turn are not followed. None behind it, or too many: no requirements."""
        seen, frontier = {key}, [key]
        for hop in range(1, self.limits.max_hops + 1):
            found = set().union(*(owners(one) for one in frontier))
            if found:
                return hop, frozenset(found)
            frontier = [
                *dict.fromkeys(
                    cause
                    for one in frontier
                    for cause in self.causes(one)
                    if cause not in seen and self.is_followed(cause)
                )
            ]
            seen.update(frontier)
            if not frontier:
                break
        return 0, frozenset()
