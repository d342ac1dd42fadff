"""What keeps the evidence of journeys, and what it is asked: the contract of every journey store.

Times are Unix nanoseconds, trace ids lower-case hex. Every answer that is a list is in no order unless one is told.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from otel_pipeline.journeys.model import Edge, Key, Run, Sighting, State

__all__ = [
    "Changed",
    "Expired",
    "Extract",
    "JourneyStore",
    "RequirementPage",
    "RequirementQuery",
    "RequirementSort",
    "RequirementSummary",
    "StageDot",
    "StoreStats",
    "TraceChunk",
    "TraceHead",
    "TraceQuery",
]


# --- what is written


@dataclass(frozen=True, slots=True)
class TraceChunk:
    """The spans of one trace that came in one batch."""

    trace_id: str
    start_ns: int
    end_ns: int
    spans: int
    blob: bytes
    """OTLP ResourceSpans, compressed. Content attributes are left out."""
    links: tuple[str, ...] = ()
    """Traces that its spans link to."""
    operations: tuple[tuple[str, str], ...] = ()
    """Distinct pairs of `service.name` and span name, for the search for traces."""


@dataclass(frozen=True, slots=True)
class Extract:
    """What one batch tells. Written twice, it counts once in traces and keys; its numbers of items may add up."""

    chunks: tuple[TraceChunk, ...] = ()
    edges: tuple[Edge, ...] = ()
    """Pairs of keys on one item. Two keys of one kind are two names of one thing: a digest and an id of an image, or a
    branch told with its repository and the same one as its project knows it (`identifies.or_within`)."""
    sightings: tuple[Sighting, ...] = ()


# --- traces


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """Traces that have all of what is asked for; newest first."""

    service: str = ""
    operation: str = ""
    keys: tuple[Key, ...] = ()
    start_ns: int = 0
    """Traces that were under way at or after this time."""
    end_ns: int = 0
    """And that began before this one; 0: no end."""
    min_duration_ns: int = 0
    max_duration_ns: int = 0
    """0: however long."""
    limit: int = 20


@dataclass(frozen=True, slots=True)
class TraceHead:
    """What is known of a trace without reading its spans."""

    trace_id: str
    name: str
    """Of its topmost span; empty while its runs have not been computed."""
    service: str
    start_ns: int
    end_ns: int
    spans: int
    errors: int


# --- the list of requirements


@dataclass(frozen=True, slots=True)
class StageDot:
    """A stage that was seen, how its last run ended, and the time that it took."""

    stage: str
    outcome: str
    active_ns: int = 0
    waiting_ns: int = 0
    """Before its visits."""


@dataclass(frozen=True, slots=True)
class RequirementSummary:
    """A row of the list: what a journey came to when it was last assembled."""

    project: str
    requirement: str
    title: str
    requirement_class: str
    state: State
    stage: str
    """Entered last."""
    stages: tuple[StageDot, ...]
    """In the order of delivery."""
    start_ns: int
    end_ns: int
    """Of the last run."""
    lead_ns: int
    """As of `made_ns` where it has not ended; a reader adds what has passed since."""
    active_ns: int
    reruns: int
    """Visits that are rework."""
    errors: int
    cost_usd: float
    tokens: int
    made_ns: int
    due_ns: int
    """When its state changes without new evidence, since it ran or waited for long enough; 0: never."""

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.state in (State.RUNNING, State.WAITING)

    def lead_at(self, now_ns: int) -> int:
        """The lead time then: of an open requirement, up to now."""
        return max(0, now_ns - self.start_ns) if self.is_open else self.lead_ns


RequirementSort = Literal["last_seen", "start", "lead", "active", "cost", "tokens", "errors", "reruns", "id"]
"""`last_seen` is `end_ns`; `lead` of what is open counts up to `now_ns` of the query."""


@dataclass(frozen=True, slots=True)
class RequirementQuery:
    """Requirements that have all of what is asked for; an empty field asks for nothing."""

    now_ns: int
    project: str = ""
    stage: str = ""
    """Entered last."""
    states: tuple[State, ...] = ()
    requirement_class: str = ""
    text: str = ""
    """Stands in the id or the title, in whatever case."""
    with_errors: bool = False
    sort: RequirementSort = "last_seen"
    descending: bool = True
    limit: int = 50
    offset: int = 0


@dataclass(frozen=True, slots=True)
class RequirementPage:
    """Rows of one page. Equal ones in the sort stand by project and id."""

    rows: tuple[RequirementSummary, ...]
    total: int
    """How many the query finds without `limit` and `offset`."""
    by_stage: Mapping[str, int]
    """Of these, by stage entered last; without the query's own filter on the stage."""
    by_state: Mapping[State, int]
    """Of these, by state; without the query's own filter on the state."""
    projects: tuple[str, ...]
    """All that the store has, sorted."""


# --- upkeep


@dataclass(frozen=True, slots=True)
class Changed:
    """Evidence whose requirements have to be assembled again."""

    trace_ids: tuple[str, ...]
    """That got spans or keys."""
    keys: tuple[Key, ...]
    """That got a new edge."""
    mark: int
    """How far this reaches; goes to `put_summaries` once the rows are made."""


@dataclass(frozen=True, slots=True)
class Expired:
    """What was let go, by reason: `age`, `size`."""

    traces: Mapping[str, int] = field(default_factory=dict)
    edges: int = 0
    requirements: int = 0


@dataclass(frozen=True, slots=True)
class StoreStats:
    """How much there is."""

    traces: int
    spans: int
    keys: int
    edges: int
    requirements: int
    bytes: int
    oldest_ns: int
    """Start of the oldest trace; 0 where there is none."""


class JourneyStore(Protocol):
    """Keeps chunks of traces, keys, edges, sightings and summaries. One thread writes; any may read at the same time.

    Reading methods take many keys or traces in one call, so that a question never costs a query for each key.
    """

    def write(self, extracts: Sequence[Extract]) -> None:
        """Adds all of them, or nothing: one transaction. Only the writer thread calls it."""
        ...

    def edges(self, keys: Collection[Key], limit: int = 1000) -> list[Edge]:
        """All edges that touch one of the keys, each edge once; of a key that has more than `limit`, the oldest ones by
        `first_ns`, so many and one more: that tells the reader that there are others."""
        ...

    def sightings(self, *, keys: Collection[Key] = (), trace_ids: Collection[str] = ()) -> list[Sighting]:
        """Where one of the keys was seen, and what was seen in one of the traces; each sighting once."""
        ...

    def runs(self, trace_ids: Collection[str]) -> list[Run]:
        """All runs of the traces, computed now where they are not kept; of one trace by start, a run after the one that
        it was called from."""
        ...

    def linking(self, trace_ids: Collection[str]) -> list[tuple[str, str]]:
        """Links of spans that start in one of the traces or point to it: from trace, to trace; each pair once."""
        ...

    def trace(self, trace_id: str) -> list[bytes]:
        """The spans of a trace as OTLP TracesData, one piece for each chunk; empty where there is none."""
        ...

    def traces(self, query: TraceQuery) -> list[TraceHead]:
        """Traces that answer the query, newest first."""
        ...

    def operations(self) -> list[tuple[str, str]]:
        """Pairs of `service.name` and span name, at most 10,000."""
        ...

    def keys(self, kind: str, value_prefix: str, limit: int) -> list[Key]:
        """Keys of a kind whose value starts so, by value and scope."""
        ...

    def requirements(self, query: RequirementQuery) -> RequirementPage:
        """The rows of the list."""
        ...

    def put_summaries(self, rows: Sequence[RequirementSummary], gone: Sequence[Key] = (), mark: int = 0) -> None:
        """Keeps the rows in place of older ones of the same project and id, drops those of the requirements in `gone`,
        and remembers `mark` (0: the one that is there stays): one transaction. Only the writer thread calls it."""
        ...

    def changed(self, limit: int) -> Changed:
        """What came after the mark that was last given to `put_summaries`, oldest first, at most so many traces and so
        many keys."""
        ...

    def due(self, now_ns: int, limit: int) -> list[Key]:
        """Requirements whose row is due by then, the one that has been for longest first."""
        ...

    def expire(self, now_ns: int) -> Expired:
        """Lets go of what is too old, and of the oldest where there is too much."""
        ...

    def stats(self) -> StoreStats:
        """How much there is."""
        ...

    def close(self) -> None:
        """Ends all use; what was written is kept."""
        ...
