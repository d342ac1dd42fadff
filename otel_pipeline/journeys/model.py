"""What a journey is made of: keys seen together, runs of stages in traces, and the whole way of one requirement.

Times are Unix nanoseconds, trace and span ids lower-case hex; an empty text means that nothing is known.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = [
    "Edge",
    "Entity",
    "Gap",
    "Journey",
    "Key",
    "Note",
    "Run",
    "RunError",
    "Segment",
    "Sighting",
    "StageTotal",
    "State",
    "TraceLine",
    "Usage",
    "Visit",
]


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """One thing that telemetry names: a requirement, a branch, a commit, an image, a trace."""

    kind: str
    """`identifies.kind` of the registry; `trace` for a trace id."""
    scope: str
    """What the value is unique within: a repository, a project, a pipeline. Empty where it is unique by itself."""
    value: str


@dataclass(frozen=True, slots=True)
class Edge:
    """Two keys seen together on items. `cause` comes before `product` in the order of kinds."""

    cause: Key
    product: Key
    first_ns: int
    last_ns: int
    items: int
    trace_id: str
    """Of one of the items: the evidence that one can look at."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A key on items of a trace."""

    key: Key
    trace_id: str
    first_ns: int
    last_ns: int
    items: int


@dataclass(frozen=True, slots=True)
class RunError:
    """Failures of one kind that began in a run."""

    type: str
    message: str
    span_id: str
    """Of the first one."""
    count: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What one model took. Kinds of tokens are disjoint; the cost is in US dollars, None where no price is known."""

    model: str
    tokens: Mapping[str, int]
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class Run:
    """Connected spans of one trace that belong to the same stage and name the same requirement: what one agent, job or
    person did at a stretch. `parent` is the run that its topmost span was called from."""

    trace_id: str
    span_id: str
    """Of the topmost span."""
    parent: str
    """`span_id` of the run above, in the same trace."""
    name: str
    service: str
    stage: str
    agent: str
    outcome: str
    """success, failure, cancelled; empty where unknown."""
    is_stage: bool
    """Counts as a run of its stage: a rule marks it, or it is the topmost of its stage in its trace."""
    start_ns: int
    end_ns: int
    spans: int
    keys: tuple[Key, ...]
    """Named by its spans or their resources."""
    links: tuple[str, ...] = ()
    """Traces that its spans link to."""
    errors: tuple[RunError, ...] = ()
    usage: tuple[Usage, ...] = ()
    interventions: int = 0
    facts: Mapping[str, str] = field(default_factory=dict)
    """What the assembly needs besides: environment, class of requirement, reason of a rollback, by attribute."""


class State(StrEnum):
    """Where a requirement is."""

    RUNNING = "running"
    """Something is under way, or ended not long ago."""
    WAITING = "waiting"
    ACCEPTED = "accepted"
    CANCELLED = "cancelled"
    """Ended without acceptance, or idle for longer than the set time."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One stay of a requirement in a stage: its runs until another stage is entered. Stays may overlap."""

    stage: str
    start_ns: int
    end_ns: int
    runs: tuple[int, ...]
    """Places in `Journey.runs`."""
    outcome: str
    is_rework: bool
    """Entered again after a later stage."""
    is_running: bool


@dataclass(frozen=True, slots=True)
class Gap:
    """Time in which nothing was done."""

    start_ns: int
    end_ns: int
    after: str
    """Stage that was left."""
    before: str
    """Stage that came next; empty while it still waits."""
    reason: str
    """Such as `review`, `approval`, `queue`; empty where nothing tells it."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the critical path. All pieces follow each other without holes and add up to the lead time."""

    start_ns: int
    end_ns: int
    run: int | None
    """Place in `Journey.runs`, or None while waiting."""


@dataclass(frozen=True, slots=True)
class StageTotal:
    """Everything that happened in one stage. Shared work counts by its share."""

    stage: str
    visits: int
    runs: int
    failed_runs: int
    active_ns: int
    """Union of its runs: parallel work counts once."""
    waiting_ns: int
    """Gaps before its visits."""
    errors: Mapping[str, int]
    usage: tuple[Usage, ...]
    interventions: int


@dataclass(frozen=True, slots=True)
class Entity:
    """A thing that belongs to the journey, and what links it."""

    key: Key
    first_ns: int
    last_ns: int
    hops: int
    """From the requirement."""
    because: Edge | None
    """The edge by which it was found; None for the requirement itself."""
    shared_with: tuple[str, ...] = ()
    """Other requirements of the project that it belongs to as well."""


@dataclass(frozen=True, slots=True)
class TraceLine:
    """A trace of which a part belongs to the journey."""

    trace_id: str
    name: str
    service: str
    start_ns: int
    end_ns: int
    spans: int
    """That belong to the journey."""
    errors: int
    because: str
    """What it was found by, such as `named`, `commit 9d59409`, `link`."""
    shared_with: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a reader has to know before believing the numbers."""

    code: str
    """missing_stage, contradiction, clock_skew, end_before_start, many_requirements, truncated, missing_price, …"""
    text: str
    subject: str = ""
    """The stage, trace or key that it is about."""


@dataclass(frozen=True, slots=True)
class Journey:
    """The whole way of one requirement."""

    project: str
    requirement: str
    title: str
    requirement_class: str
    state: State
    stage: str
    """Entered last."""
    start_ns: int
    end_ns: int
    """Of the last run; with `state` running it is not the end yet."""
    lead_ns: int
    """From the start to the end, or to now while it has not ended."""
    active_ns: int
    """Union of all runs: never more than `lead_ns`."""
    runs: tuple[Run, ...]
    """By start. `Run.usage` and `errors` are whole; shares are told by `shares`."""
    shares: tuple[float, ...]
    """For each run: 1, or 1/n where n requirements share it."""
    visits: tuple[Visit, ...]
    gaps: tuple[Gap, ...]
    critical_path: tuple[Segment, ...]
    stages: tuple[StageTotal, ...]
    """In the order of delivery; only those that were seen."""
    entities: tuple[Entity, ...]
    traces: tuple[TraceLine, ...]
    usage: tuple[Usage, ...]
    errors: Mapping[str, int]
    interventions: int
    notes: tuple[Note, ...]

    @property
    def flow_efficiency(self) -> float:
        """Share of the lead time in which something was done; 0 where there is no time at all."""
        return self.active_ns / self.lead_ns if self.lead_ns else 0.0

    @property
    def cost_usd(self) -> float:
        """Of all models whose price is known."""
        return sum(one.cost_usd or 0.0 for one in self.usage)
