"""Follows requirements through their stages, one stage run after the other: what each entry, each deployment and each
end of a requirement means, told as events that metrics are derived from (`semconv/registry/flow.yaml`)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from otel_pipeline.semconv import Milestone

__all__ = ["PRODUCTION", "Environment", "Event", "Flow", "FlowRules", "Gauge", "Requirement", "StageRun"]

PRODUCTION = "production"
"""Of `deployment.environment.name` (OpenTelemetry's resource conventions)."""
NANOSECONDS = 1_000_000_000
MAX_INTERVALS = 200


@dataclass(frozen=True, slots=True)
class StageRun:
    """One run of a stage, with labels after inheritance. Texts are empty where nothing is known."""

    project: str
    requirement: str
    stage: str
    outcome: str
    requirement_class: str
    environment: str
    rollback_reason: str
    """Not empty where the run takes a deployment back."""
    start_unix_ns: int
    end_unix_ns: int


@dataclass(frozen=True, slots=True)
class FlowRules:
    """What the semantic-convention files say of stages and classes."""

    order: Mapping[str, int]
    """Position of each stage in the order of delivery."""
    milestones: Mapping[str, Milestone]
    """By stage."""
    repairing: frozenset[str]
    """Classes of requirements whose deployments repair an earlier one."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a requirement or an environment."""

    name: str
    time_unix_ns: int
    attributes: Mapping[str, str | float | bool]


@dataclass(frozen=True, slots=True)
class Gauge:
    """The value of a gauge now."""

    name: str
    attributes: Mapping[str, str]
    value: float


@dataclass(slots=True)
class Requirement:
    """All that is remembered of one requirement. Times are Unix nanoseconds."""

    first_start: int
    last_start: int
    last_end: int
    stage: str
    """Of the run that began last."""
    stages: list[str] = field(default_factory=list)
    """Every stage that was entered."""
    intervals: list[list[int]] = field(default_factory=list)
    """When runs were under way: disjoint, ascending."""
    requirement_class: str = ""
    cost_usd: float = 0.0
    first_commit: int = 0
    """Start of the first run of a stage that commits."""
    deployed: bool = False
    """In production."""
    environment: str = ""
    """Of its last deployment."""
    ended: bool = False


@dataclass(slots=True)
class Environment:
    """The last deployment to one environment of a project."""

    end: int
    counted: bool = False
    """As a failed one."""
    failing_since: int = 0


class Flow:
    """Takes stage runs in the order in which they are known to have ended; `events` gives what they meant.

    A run that began before one that is known already belongs to the work time of its requirement and enters no stage.
    Requirements idle for `idle_ns` end as cancelled and are forgotten; over `limit` the ones idle for longest are.
    """

    def __init__(self, rules: FlowRules, *, idle_ns: int, limit: int) -> None:
        self.rules = rules
        self.forgotten = 0
        """Requirements that were let go because there were too many."""
        self.requirements: dict[tuple[str, str], Requirement] = {}
        self.environments: dict[tuple[str, str], Environment] = {}
        self.changed: set[tuple[str, str]] = set()
        """Keys of `requirements` that were touched or removed since the owner last cleared this."""
        self._idle_ns = idle_ns
        self._limit = limit
        self._events: list[Event] = []
        self._shown: set[tuple[str, str]] = set()

    def runs(self, runs: Iterable[StageRun]) -> None:
        """Takes in runs; those without a requirement count for deployments only."""
        for run in sorted(runs, key=lambda one: (one.start_unix_ns, one.end_unix_ns)):
            requirement = self._requirement(run) if run.requirement else None
            if requirement is not None:
                self._follow(requirement, run)
            milestone = self.rules.milestones.get(run.stage)
            if run.rollback_reason:
                self._rollback(run)
            elif milestone == "deployment":
                self._deployment(requirement, run)
            elif milestone == "acceptance" and requirement is not None:
                self._acceptance(requirement, run)

    def cost(self, project: str, requirement: str, usd: float) -> None:
        """Adds money that was spent on a requirement; where none of its runs is known, nothing is remembered."""
        known = self.requirements.get((project, requirement))
        if known is not None:
            known.cost_usd += usd
            self.changed.add((project, requirement))

    def events(self) -> list[Event]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def gauges(self, now_unix_ns: int) -> list[Gauge]:
        """Requirements by stage now, and the age of the oldest; 0 once for a stage that has none any more."""
        self._end_idle(now_unix_ns)
        counts: dict[tuple[str, str], int] = {}
        oldest: dict[tuple[str, str], int] = {}
        for (project, _), requirement in self.requirements.items():
            if not requirement.ended:
                key = (project, requirement.stage)
                counts[key] = counts.get(key, 0) + 1
                oldest[key] = min(oldest.get(key, now_unix_ns), requirement.first_start)
        keys = sorted(self._shown | set(counts))
        self._shown = set(counts)
        return [gauge for key in keys for gauge in _gauges(key, counts.get(key, 0), oldest.get(key), now_unix_ns)]

    # --- requirements

    def _requirement(self, run: StageRun) -> Requirement:
        key = (run.project, run.requirement)
        self.changed.add(key)
        known = self.requirements.get(key)
        if known is None:
            self._make_room()
            known = Requirement(run.start_unix_ns, 0, 0, "")
            self.requirements[key] = known
        known.requirement_class = run.requirement_class or known.requirement_class
        return known

    def _follow(self, known: Requirement, run: StageRun) -> None:
        if self.rules.milestones.get(run.stage) == "commit":
            known.first_commit = min(known.first_commit or run.start_unix_ns, run.start_unix_ns)
        known.first_start = min(known.first_start, run.start_unix_ns)
        if run.start_unix_ns >= known.last_start:
            if run.stage != known.stage:
                self._enter(known, run)
            known.last_start = run.start_unix_ns
        known.last_end = max(known.last_end, run.end_unix_ns)
        _add_interval(known.intervals, run.start_unix_ns, run.end_unix_ns)

    def _enter(self, known: Requirement, run: StageRun) -> None:
        facts: dict[str, str | float | bool] = {"sdlc.stage.name": run.stage}
        if known.stages:
            facts["sdlc.stage.wait"] = max(0, run.start_unix_ns - known.last_end) / NANOSECONDS
            order = self.rules.order
            is_back = order.get(known.stage, -1) > order.get(run.stage, len(order))
            # Unit tests inside a build: nothing was sent back, the later stage goes on meanwhile.
            is_back = is_back and run.end_unix_ns > known.last_end
            facts["sdlc.stage.reentered"] = is_back and run.stage in known.stages
        if run.stage not in known.stages:
            known.stages.append(run.stage)
        known.stage = run.stage
        self._tell("sdlc.stage.entered", run.start_unix_ns, run.project, run.requirement, facts)

    def _acceptance(self, known: Requirement, run: StageRun) -> None:
        if run.outcome == "success":
            self._end(known, run.project, run.requirement, "success", run.end_unix_ns)
        elif run.outcome == "failure" and known.environment:
            self._failed(run.project, known.environment, run.end_unix_ns)

    def _end(self, known: Requirement, project: str, requirement: str, outcome: str, end: int) -> None:
        if known.ended:
            return
        known.ended = True
        lead = max(0, end - known.first_start)
        work = sum(last - first for first, last in known.intervals)
        facts: dict[str, str | float | bool] = {
            "sdlc.outcome": outcome,
            "sdlc.requirement.class": known.requirement_class,
            "sdlc.requirement.lead_time": lead / NANOSECONDS,
            "sdlc.requirement.cost_usd": known.cost_usd,
        }
        if lead:
            facts["sdlc.requirement.active_time_ratio"] = min(1.0, work / lead)
        self._tell("sdlc.requirement.ended", end, project, requirement, facts)

    def _end_idle(self, now_unix_ns: int) -> None:
        idle = [key for key, one in self.requirements.items() if now_unix_ns - one.last_end >= self._idle_ns]
        for key in idle:
            known = self.requirements.pop(key)
            self.changed.add(key)
            self._end(known, *key, "cancelled", known.last_end)

    def _make_room(self) -> None:
        if len(self.requirements) < self._limit:
            return
        by_age = sorted(self.requirements, key=lambda key: self.requirements[key].last_end)
        for key in by_age[: max(1, self._limit // 10)]:
            del self.requirements[key]
            self.changed.add(key)
            self.forgotten += 1

    # --- environments

    def _deployment(self, requirement: Requirement | None, run: StageRun) -> None:
        environment = run.environment or "unknown"
        before = self.environments.get((run.project, environment))
        failing_since = before.failing_since if before else 0
        if failing_since or run.requirement_class in self.rules.repairing:
            self._tell("sdlc.deployment.repaired", run.end_unix_ns, run.project, run.requirement, {})
            if before is not None and not before.counted:
                self._failed(run.project, environment, before.end)
        here = Environment(run.end_unix_ns, failing_since=failing_since)
        self.environments[run.project, environment] = here
        if requirement is not None:
            requirement.environment = environment
        if run.outcome == "failure":
            self._failed(run.project, environment, run.end_unix_ns)
        elif run.outcome == "success":
            self._recovered(run, here)
            self._delivered(requirement, run)

    def _rollback(self, run: StageRun) -> None:
        environment = run.environment or "unknown"
        before = self.environments.get((run.project, environment))
        if before is None:
            return
        self._failed(run.project, environment, before.end)
        if run.outcome == "success":
            self._recovered(run, before)

    def _failed(self, project: str, environment: str, since: int) -> None:
        here = self.environments.get((project, environment))
        if here is None:
            return
        here.failing_since = here.failing_since or since
        if not here.counted:
            here.counted = True
            facts = {"deployment.environment.name": environment}
            self._tell("sdlc.deployment.failed", since, project, "", facts)

    def _recovered(self, run: StageRun, here: Environment) -> None:
        if here.failing_since:
            seconds = max(0, run.end_unix_ns - here.failing_since) / NANOSECONDS
            facts = {"sdlc.recovery.time": seconds}
            self._tell("sdlc.deployment.recovered", run.end_unix_ns, run.project, run.requirement, facts)
            here.failing_since = 0

    def _delivered(self, known: Requirement | None, run: StageRun) -> None:
        if known is None or known.deployed or run.environment != PRODUCTION or not known.first_commit:
            return
        known.deployed = True
        seconds = max(0, run.end_unix_ns - known.first_commit) / NANOSECONDS
        facts = {"sdlc.change.lead_time": seconds}
        self._tell("sdlc.change.deployed", run.end_unix_ns, run.project, run.requirement, facts)

    def _tell(
        self, name: str, time_unix_ns: int, project: str, requirement: str, facts: Mapping[str, str | float | bool]
    ) -> None:
        ids = {"sdlc.project.id": project, "sdlc.requirement.id": requirement}
        known = {key: value for key, value in (ids | dict(facts)).items() if value != ""}
        self._events.append(Event(name, time_unix_ns, known))


def _add_interval(intervals: list[list[int]], start: int, end: int) -> None:
    """Adds one, keeping them disjoint; where there are too many, the two nearest become one."""
    merged: list[list[int]] = []
    for first, last in sorted([*intervals, [start, max(start, end)]]):
        if merged and first <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], last)
        else:
            merged.append([first, last])
    if len(merged) > MAX_INTERVALS:
        nearest = min(range(1, len(merged)), key=lambda at: merged[at][0] - merged[at - 1][1])
        merged[nearest - 1][1] = merged.pop(nearest)[1]
    intervals[:] = merged


def _gauges(key: tuple[str, str], count: int, oldest: int | None, now_unix_ns: int) -> Iterator[Gauge]:
    labels = {"sdlc.project.id": key[0], "sdlc.stage.name": key[1]}
    age = 0.0 if oldest is None else max(0, now_unix_ns - oldest) / NANOSECONDS
    yield Gauge("sdlc.requirements.in_stage", labels, float(count))
    yield Gauge("sdlc.requirement.oldest_age", labels, age)
