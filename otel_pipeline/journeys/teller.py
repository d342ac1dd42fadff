"""Finds out what is new in journeys, for those who are told: events, and the trace of a journey that has ended."""

from collections.abc import Iterator
from dataclasses import dataclass

from otel_pipeline.journeys.events import journey_events
from otel_pipeline.journeys.flow import Event, Gauge
from otel_pipeline.journeys.journey_trace import journey_trace
from otel_pipeline.journeys.model import Journey, State
from otel_pipeline.journeys.queries import Journeys
from otel_pipeline.journeys.store import RequirementQuery, RequirementSummary
from otel_pipeline.journeys.told_store import Ref, ToldStore

__all__ = ["TRACE", "News", "Teller"]

ROWS_AT_ONCE = 2000
NANOSECONDS = 1_000_000_000
TRACE = "trace"
_OPEN = (State.RUNNING, State.WAITING)


@dataclass(frozen=True, slots=True)
class News:
    """What is new of one requirement."""

    ref: Ref
    events: tuple[Event, ...]
    names: tuple[str, ...]
    """Of the events, in their order; for `ToldStore.add`."""
    trace: bytes
    """OTLP TracesData, told under the name `trace`; empty where it has not ended or was told."""


class Teller:
    """Looks through the list of requirements for rows that were made anew.

    A requirement is told of when its row has been quiet for `decision_wait_ns`, as parts of a trace come in whatever
    order; what is still missing then is told when it comes. Only what is asked for is new: `events`, `traces`.
    """

    def __init__(self, told: ToldStore, *, decision_wait_ns: int, events: bool = True, traces: bool = True) -> None:
        self._told = told
        self._events = events
        self._traces = traces
        self._decision_wait_ns = decision_wait_ns
        self._looked: dict[Ref, int] = {}
        """Rows that nothing new was in, by when they were made."""
        self._shown: set[tuple[str, str]] = set()

    def look(self, journeys: Journeys, now_ns: int) -> Iterator[News]:
        """What is new, one requirement after the other. Until `ToldStore` knows it, it is new each time."""
        for row in _rows(journeys, now_ns):
            ref = (row.project, row.requirement)
            if self._looked.get(ref) == row.made_ns or now_ns - row.made_ns < self._decision_wait_ns:
                continue
            journey = journeys.journey(*ref, now_ns)
            news = self._news(journeys, journey) if journey else None
            if news is not None and (news.names or news.trace):
                yield news
            else:
                self._looked[ref] = row.made_ns

    def _news(self, journeys: Journeys, journey: Journey) -> News:
        ref = (journey.project, journey.requirement)
        known = self._told.names(ref)
        events = journey_events(journey, journeys.rules) if self._events else ()
        new = [one for one in events if one.name not in known]
        has_ended = self._traces and journey.state not in _OPEN and TRACE not in known
        trace = journey_trace(journey) if has_ended else b""
        return News(ref, tuple(one.event for one in new), tuple(one.name for one in new), trace)

    def gauges(self, journeys: Journeys, now_ns: int) -> list[Gauge]:
        """Requirements by the stage that they entered last, and the age of the oldest since its first run, of those
        that have not ended; 0 once for a stage that has none any more."""
        starts: dict[tuple[str, str], list[int]] = {}
        for row in _rows(journeys, now_ns, _OPEN):
            starts.setdefault((row.project, row.stage), []).append(row.start_ns)
        shown = sorted(self._shown | set(starts))
        self._shown = set(starts)
        return [gauge for place in shown for gauge in _gauges(place, starts.get(place, []), now_ns)]


def _rows(journeys: Journeys, now_ns: int, states: tuple[State, ...] = ()) -> Iterator[RequirementSummary]:
    offset = 0
    while True:
        query = RequirementQuery(
            now_ns, states=states, sort="id", descending=False, limit=ROWS_AT_ONCE, offset=offset
        )  # fmt: skip
        rows = journeys.requirements(query).rows
        yield from rows
        offset += len(rows)
        if len(rows) < ROWS_AT_ONCE:
            return


def _gauges(place: tuple[str, str], starts: list[int], now_ns: int) -> Iterator[Gauge]:
    labels = {"sdlc.project.id": place[0], "sdlc.stage.name": place[1]}
    age = max(0, now_ns - min(starts)) / NANOSECONDS if starts else 0.0
    yield Gauge("sdlc.requirements.in_stage", labels, float(len(starts)))
    yield Gauge("sdlc.requirement.oldest_age", labels, age)
