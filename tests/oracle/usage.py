"""Tokens and cost in plain Python: what must be counted of all that spans, log records and data points tell.

Knows no time: what is told in one round arrives before any of it is counted, and what is told in a later round comes
after all of an earlier one was.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["KINDS", "PREFERENCE", "Telling", "Totals", "count_rounds"]

KINDS = ("input", "output", "cache_read", "cache_creation", "reasoning")
Item = Literal["span", "event", "sum", "point"]
PREFERENCE: tuple[Item, ...] = ("span", "event", "sum", "point")


@dataclass(frozen=True)
class Telling:
    """What one item tells, in disjoint kinds."""

    item: Item
    """A sum is a span that tells several requests."""
    session: str
    model: str
    tokens: Mapping[str, int]
    cost: float | None = None
    request: str | None = None
    second: int = 0

    @property
    def rank(self) -> tuple[int, int, int]:
        return -len(self.tokens), PREFERENCE.index(self.item), self.second


@dataclass
class Totals:
    tokens: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By model and kind."""
    cost: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """By model."""
    missing: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    superseded: int = 0

    def add_tokens(self, model: str, tokens: Mapping[str, int]) -> None:
        self.tokens.update({(model, kind): count for kind, count in tokens.items()})

    def add_price(self, model: str, tokens: Mapping[str, int], prices: Mapping[str, Mapping[str, float]]) -> None:
        used = {kind: count for kind, count in tokens.items() if count}
        if used.keys() - prices.get(model, {}).keys():
            self.missing[model] += 1
        elif used:
            self.cost[model] += sum(count * prices[model][kind] for kind, count in used.items())


@dataclass
class Session:
    told: list[Telling] = field(default_factory=list)
    source: Literal["requests"] | Item | None = None
    points_cost: Literal["told", "listed"] | None = None

    def best(self, tellings: Iterable[Telling]) -> Item | None:
        items = {one.item for one in tellings}
        return next((item for item in PREFERENCE if item in items), None)

    def choose(self) -> None:
        """By all that was told until now, once something can be counted."""
        if self.source is None and self.told:
            identified = any(one.request for one in self.told)
            self.source = "requests" if identified else self.best(self.told)

    def admits(self, fact: Sequence[Telling]) -> bool:
        if self.source != "requests":
            return any(one.item == self.source for one in fact)
        return bool(fact[0].request) or fact[0].item == self.best(one for one in self.told if one.request)


def count_rounds(rounds: Iterable[Sequence[Telling]], prices: Mapping[str, Mapping[str, float]]) -> Totals:
    """All that is counted of `rounds`; prices are USD for one token, by model and kind."""
    totals, sessions, known = Totals(), dict[str, Session](), set[str]()
    for tellings in rounds:
        for telling in tellings:
            sessions.setdefault(telling.session, Session()).told.append(telling)
        for session in sessions.values():
            session.choose()
        facts: dict[object, list[Telling]] = {}
        for number, telling in enumerate(tellings):
            if telling.request in known:
                totals.duplicates += 1
            elif telling.item == "point":
                facts.setdefault((telling.session, telling.model), []).append(telling)
            else:
                facts.setdefault(telling.request or number, []).append(telling)
        known |= {telling.request for telling in tellings if telling.request}
        for fact in facts.values():
            session = sessions[fact[0].session]
            if not session.admits(fact):
                totals.superseded += 1
            elif fact[0].item == "point":
                _count_points(fact, session, totals, prices)
            else:
                _count_request(fact, totals, prices)
    return totals


def _count_request(fact: Sequence[Telling], totals: Totals, prices: Mapping[str, Mapping[str, float]]) -> None:
    ranked = sorted(fact, key=lambda one: one.rank)
    model = ranked[0].model
    tokens = {kind: next((one.tokens[kind] for one in ranked if kind in one.tokens), 0) for kind in KINDS}
    told = next((one.cost for one in ranked if one.cost is not None), None)
    totals.add_tokens(model, tokens)
    if told is None:
        totals.add_price(model, tokens, prices)
    else:
        totals.cost[model] += told


def _count_points(
    fact: Sequence[Telling], session: Session, totals: Totals, prices: Mapping[str, Mapping[str, float]]
) -> None:
    model, told = fact[0].model, [one.cost for one in fact if one.cost is not None]
    tokens = {kind: sum(one.tokens.get(kind, 0) for one in fact) for kind in KINDS}
    totals.add_tokens(model, tokens)
    if session.points_cost is None:
        any_told = any(one.cost is not None for one in session.told if one.item == "point")
        session.points_cost = "told" if any_told else "listed"
    elif session.points_cost == "listed" and told:
        totals.superseded += 1
    if session.points_cost == "listed":
        totals.add_price(model, tokens, prices)
    elif told:
        totals.cost[model] += sum(told)
