"""Compares journeys that were put together from telemetry with what really happened."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from otel_pipeline.journeys.model import Journey
from otel_pipeline.testing.truth import Ref, RequirementTruth, SpanTruth, Truth

__all__ = ["Difference", "Grade", "Place", "grade"]

Place = tuple[str, str]
"""Trace and span id."""
SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Difference:
    """A number of a journey that is not the true one. Times are seconds."""

    requirement: Ref
    what: str
    expected: float | str
    found: float | str


@dataclass(slots=True)
class Grade:
    """How good the journeys are. A span of n requirements counts n times."""

    told: int = 0
    """Spans whose requirement something in the telemetry tells."""
    right: int = 0
    """Of those, in the journey where they belong."""
    wrong: int = 0
    """Spans in a journey where they do not belong."""
    missed: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By project and span name."""
    misplaced: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By project, span name and requirement of the journey."""
    differences: list[Difference] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Of told spans that are in the right journey."""
        return self.right / self.told if self.told else 1.0

    @property
    def is_good(self) -> bool:
        """Every told span is in the right journey, none in a wrong one, and every number is the true one."""
        return self.right == self.told and not self.wrong and not self.differences

    def __str__(self) -> str:
        """A page for people: the shares, and what is most often wrong."""
        lines = [
            f"{self.right} of {self.told} spans in the right journey ({self.share:.2%}), {self.wrong} in a wrong one"
        ]
        lines += [f"  missed {count}: {' '.join(what)}" for what, count in self.missed.most_common(10)]
        lines += [f"  misplaced {count}: {' '.join(what)}" for what, count in self.misplaced.most_common(10)]
        by_field = Counter(one.what for one in self.differences)
        lines += [f"  {what} differs in {count}" for what, count in by_field.most_common()]
        lines += [
            f"    {' '.join(one.requirement)} {one.what}: expected {one.expected}, found {one.found}"
            for one in self.differences[:20]
        ]
        return "\n".join(lines)


def grade(journeys: Iterable[Journey], truth: Truth, tops: Collection[Place] = ()) -> Grade:
    """Compares all journeys with the truth.

    A journey names runs by their topmost span; a span belongs to the run of the nearest topmost span above it. `tops`
    are those of the runs of all traces, `(run.trace_id, run.span_id)`; without them only runs of journeys are known,
    and a run that is in none counts as a part of the one above it.
    """
    found = {(one.project, one.requirement): one for one in journeys}
    known = set(tops) | {(run.trace_id, run.span_id) for one in found.values() for run in one.runs}
    holders: dict[Place, set[Ref]] = defaultdict(set)
    for ref, journey in found.items():
        for run in journey.runs:
            holders[run.trace_id, run.span_id].add(ref)
    result = Grade()
    for span in truth.spans.values():
        _grade_span(result, span, holders.get(_top(truth, span, known), set()))
    for ref, expected in truth.requirements.items():
        if ref in found:
            result.differences += _differences(expected, found[ref])
        elif any(span.work.is_told for span in truth.of(ref)):
            result.differences.append(Difference(ref, "journey", "there", "missing"))
    unknown = found.keys() - truth.requirements.keys()
    result.differences += [Difference(ref, "journey", "none", "there") for ref in sorted(unknown)]
    return result


def _top(truth: Truth, span: SpanTruth, known: Collection[Place]) -> Place:
    place = span.trace_id, span.span_id
    while place not in known:
        above = truth.spans.get((span.trace_id, span.parent_id))
        if above is None:
            break
        span, place = above, (above.trace_id, above.span_id)
    return place


def _grade_span(result: Grade, span: SpanTruth, holders: Collection[Ref]) -> None:
    owners = span.work.owners
    for ref in owners if span.work.is_told else ():
        result.told += 1
        if ref in holders:
            result.right += 1
        else:
            result.missed[ref[0], span.name] += 1
    for ref in holders:
        if ref not in owners:
            result.wrong += 1
            result.misplaced[ref[0], span.name, ref[1]] += 1


def _differences(expected: RequirementTruth, found: Journey) -> Iterator[Difference]:
    tokens = {model: dict(kinds) for model, kinds in expected.tokens.items()}
    used = {one.model: {kind: count for kind, count in one.tokens.items() if count} for one in found.usage}
    state = found.state.value if found.state in ("accepted", "cancelled") else "open"
    pairs: list[tuple[str, float | str, float | str, float]] = [
        ("title", expected.title, found.title, 0),
        ("state", expected.state, state, 0),
        ("active", expected.active_ns / SECOND, found.active_ns / SECOND, 1e-3),
        ("rework", expected.rework, sum(visit.is_rework for visit in found.visits), 0),
        ("errors", sum(expected.errors.values()), sum(found.errors.values()), 0),
        ("interventions", expected.interventions, found.interventions, 0),
        ("tokens", _told(tokens), _told(used), 0),
        ("cost", expected.cost_usd, found.cost_usd, 1e-6),
    ]
    if state != "open":
        pairs.append(("lead", expected.lead_ns / SECOND, found.lead_ns / SECOND, 1e-3))
    for what, want, got, tolerance in pairs:
        same = want == got or (not isinstance(want, str) and not isinstance(got, str) and abs(want - got) <= tolerance)
        if not same:
            yield Difference(expected.ref, what, want, got)


def _told(tokens: dict[str, dict[str, int]]) -> str:
    return ", ".join(
        f"{model} {kind} {count}" for model in sorted(tokens) for kind, count in sorted(tokens[model].items()) if count
    )
