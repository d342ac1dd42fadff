"""What really happened in a simulated organisation: what journeys that are put together from telemetry have to say."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

__all__ = ["Ref", "RequirementTruth", "SpanTruth", "Truth", "VisitTruth", "Work", "order_visits", "union"]

Ref: TypeAlias = tuple[str, str]
"""Project and requirement."""


@dataclass(frozen=True, slots=True)
class Work:
    """What some spans are for: their requirements (none: noise) and their stage."""

    owners: tuple[Ref, ...] = ()
    stage: str = ""
    is_told: bool = True
    """Whether anything in the telemetry tells the requirement. Where nothing does, no journey can have the spans."""


@dataclass(frozen=True, slots=True)
class SpanTruth:
    """One span. Times are those that its sender told: in Unix nanoseconds of its host's clock."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    start_ns: int
    end_ns: int
    work: Work
    error_type: str = ""
    """Where a failure began here; a span that failed because of one inside has none."""


@dataclass(frozen=True, slots=True)
class VisitTruth:
    """One stay in a stage."""

    stage: str
    start_ns: int
    end_ns: int
    is_rework: bool
    """Entered before, and now come back to from a later stage."""


@dataclass(slots=True)
class RequirementTruth:
    """One requirement from its first span to its last."""

    project: str
    requirement: str
    title: str
    requirement_class: str
    state: str = "open"
    """open, accepted, cancelled."""
    ended_ns: int = 0
    """When it was accepted or cancelled."""
    start_ns: int = 0
    end_ns: int = 0
    """Of the last span."""
    active_ns: int = 0
    """Union of all its spans up to its end, save those in which it waits for somebody to decide."""
    spans: int = 0
    visits: tuple[VisitTruth, ...] = ()
    sent_back: int = 0
    """Times that a review, a test or an acceptance sent it to an earlier stage."""
    errors: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, dict[str, int]] = field(default_factory=dict)
    """By model and kind; kinds are disjoint."""
    cost_usd: float = 0.0
    interventions: int = 0
    deployments: int = 0

    @property
    def ref(self) -> Ref:
        """Project and requirement."""
        return self.project, self.requirement

    @property
    def lead_ns(self) -> int:
        """From the first span to acceptance or cancellation, or to the last span of what is still open."""
        return (self.ended_ns or self.end_ns) - self.start_ns

    @property
    def rework(self) -> int:
        """Visits that are rework."""
        return sum(visit.is_rework for visit in self.visits)


@dataclass(slots=True)
class Truth:
    """Everything that happened."""

    requirements: dict[Ref, RequirementTruth] = field(default_factory=dict)
    spans: dict[tuple[str, str], SpanTruth] = field(default_factory=dict)
    """By trace and span id."""

    def noise(self) -> Iterator[SpanTruth]:
        """Spans that belong to no requirement."""
        return (span for span in self.spans.values() if not span.work.owners)

    def of(self, ref: Ref) -> Iterator[SpanTruth]:
        """Spans of a requirement, shared ones included."""
        return (span for span in self.spans.values() if ref in span.work.owners)


def union(intervals: Iterable[tuple[int, int]]) -> int:
    """Length of what at least one of the intervals covers."""
    total, reached = 0, 0
    for start, end in sorted(intervals):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


def order_visits(stays: Iterable[tuple[str, int, int]], order: Mapping[str, int]) -> tuple[VisitTruth, ...]:
    """Stays by their start, those in one stage that follow each other as one visit."""
    visits: list[VisitTruth] = []
    for stage, start, end in sorted(stays, key=lambda stay: stay[1]):
        last = visits[-1] if visits else None
        if last is not None and last.stage == stage:
            visits[-1] = VisitTruth(stage, last.start_ns, max(last.end_ns, end), last.is_rework)
            continue
        was_here = any(visit.stage == stage for visit in visits)
        is_back = was_here and last is not None and order[last.stage] > order[stage]
        visits.append(VisitTruth(stage, start, end, is_back))
    return tuple(visits)
