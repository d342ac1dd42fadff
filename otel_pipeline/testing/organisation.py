"""A simulated organisation: projects whose requirements go from analysis to acceptance over weeks, told by the
telemetry that real senders would send of it, with the truth beside it.

    org = organisation(seed=7, days=30, projects=3, requirements_per_week=20)
    for time_ns, signal, body in org.deliveries():
        ...
    grade(journeys, org.truth)

The same arguments give the same bytes. Only what a real sender tells is in the telemetry: most spans know no
requirement.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

from otel_pipeline.testing.life import Life
from otel_pipeline.testing.noise import noise
from otel_pipeline.testing.outbox import SECOND, Delivery, Outbox
from otel_pipeline.testing.truth import Ref, RequirementTruth, Truth, order_visits, union
from otel_pipeline.testing.world import HOUR, PROJECTS, World

__all__ = ["DAY", "Organisation", "organisation"]

DAY = 24 * HOUR
STAGES = (
    "requirement_analysis",
    "prd_design",
    "technical_design",
    "api_design",
    "coding",
    "unit_test",
    "integration_test",
    "ci_cd",
    "deployment",
    "ui_acceptance",
)
"""In the order of semconv/catalogue/stages.yaml."""
WAITING = "intervention approval"
"""Spans of people who decide; the work waits for them."""
TITLES = {
    "feature": ("Pay by bank transfer", "Share a basket by link", "Export orders as CSV", "Sign in with a passkey"),
    "bug": ("Total is a cent off", "Search forgets its filters", "Order e-mail is sent twice", "Login loops on iPad"),
    "hotfix": ("Checkout times out", "Invoices show net prices", "Session cookie lasts for ever"),
    "chore": ("Rename the basket service", "Newer PostgreSQL", "Delete the old price list"),
}
CLASSES = ("feature", "feature", "feature", "bug", "bug", "hotfix", "chore")
DEFAULT_END = int(datetime(2026, 10, 31, tzinfo=UTC).timestamp()) * SECOND


@dataclass(frozen=True, slots=True)
class Organisation:
    """What was simulated."""

    truth: Truth
    start_ns: int
    end_ns: int
    """Everything ended before; what was late or repeated is delivered after it."""
    _outbox: Outbox

    def deliveries(self) -> Iterator[Delivery]:
        """Every export request, in the order in which they arrive. To be taken once."""
        return self._outbox.deliveries()


def organisation(
    *,
    seed: int = 7,
    days: float = 30,
    projects: int = 3,
    requirements_per_week: float = 20,
    work: float = 1.0,
    duplicates: float = 0.01,
    late: float = 0.03,
    skewed: float = 0.05,
    end_ns: int = DEFAULT_END,
) -> Organisation:
    """Simulates `days` that end at `end_ns`.

    `work` scales how many model requests and tool calls agents make, and so the number of spans; `duplicates`, `late`
    and `skewed` are the shares of requests that come twice, of sessions whose requests come days late, and of hosts
    whose clock is wrong by most of a minute.
    """
    rng, truth = Random(seed), Truth()
    start = end_ns - round(days * DAY)
    world = World(Outbox(rng, truth, duplicates), rng, work, late, skewed, end_ns - 4 * HOUR)
    schedule, count = _Schedule(world), min(projects, len(PROJECTS))
    for number in range(max(1, round(requirements_per_week * days / 7))):
        project = PROJECTS[number % count]
        kind = rng.choice(CLASSES)
        name = f"{project.prefix}-{100 + number}"
        titles = TITLES[kind]
        told = RequirementTruth(project.name, name, titles[number % len(titles)], kind)
        truth.requirements[told.ref] = told
        begin = world.work_time(start + round(rng.random() * 0.85 * days * DAY))
        schedule.add(begin, Life(world, project, told, number // count).run)
    for project in PROJECTS[:count]:
        schedule.add(start, lambda project=project: noise(world, project))  # type: ignore[misc]
    schedule.play()
    _sum_up(truth, world)
    return Organisation(truth, start, end_ns, world.out)


class _Schedule:
    """Plays processes against each other: each yields the time at which it wants to go on."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._heap: list[tuple[int, int, Iterator[int]]] = []
        self._waiting: list[tuple[int, Callable[[], Iterator[int]]]] = []

    def add(self, time_ns: int, process: Callable[[], Iterator[int]]) -> None:
        """Begins a process then."""
        heapq.heappush(self._heap, (time_ns, len(self._heap), self._begin(process)))

    @staticmethod
    def _begin(process: Callable[[], Iterator[int]]) -> Iterator[int]:
        yield from process()

    def play(self) -> None:
        """Until all have ended or time is up."""
        number = len(self._heap)
        while self._heap:
            now, _, process = heapq.heappop(self._heap)
            if now >= self.world.closing_ns:
                continue
            self.world.now = now
            until = next(process, None)
            if until is not None:
                number += 1
                heapq.heappush(self._heap, (max(until, now), number, process))


def _sum_up(truth: Truth, world: World) -> None:
    """Fills in what follows from the spans of each requirement."""
    order = {stage: place for place, stage in enumerate(STAGES)}
    intervals: dict[Ref, list[tuple[int, int]]] = {ref: [] for ref in truth.requirements}
    working: dict[Ref, list[tuple[int, int]]] = {ref: [] for ref in truth.requirements}
    for span in truth.spans.values():
        for ref in span.work.owners:
            one = truth.requirements[ref]
            intervals[ref].append((span.start_ns, span.end_ns))
            if span.name != WAITING:
                end = one.ended_ns or span.end_ns
                working[ref].append((min(span.start_ns, end), min(span.end_ns, end)))
            one.spans += 1
            if span.error_type:
                one.errors[span.error_type] = one.errors.get(span.error_type, 0) + 1
    for ref, one in list(truth.requirements.items()):
        if not intervals[ref]:
            del truth.requirements[ref]
            continue
        one.start_ns = min(start for start, _ in intervals[ref])
        one.end_ns = max(end for _, end in intervals[ref])
        one.active_ns = union(working[ref])
        one.visits = order_visits(world.stays[ref], order)
        usage = world.usage[ref]
        one.tokens, one.cost_usd = usage.tokens, usage.cost_usd
        one.interventions += usage.interventions
