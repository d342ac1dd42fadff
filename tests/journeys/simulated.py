"""The simulated organisation in a journey store: what its senders sent went through the rules and the native reader."""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from otel_pipeline.journeys.extract import extract
from otel_pipeline.journeys.model import Journey
from otel_pipeline.journeys.queries import Journeys
from otel_pipeline.journeys.sqlite import SqliteStore
from otel_pipeline.journeys.store import RequirementQuery
from otel_pipeline.pdata import Batch, from_trusted
from otel_pipeline.semconv import compile_plan, load
from otel_pipeline.testing.organisation import Organisation, organisation
from tests.journeys.stores import PLAN

__all__ = ["REGISTRY", "all_journeys", "end_ns", "enriched", "fill", "open_store", "sent", "simulated"]

REGISTRY = load()
AT_ONCE = 50


@cache
def simulated() -> Organisation:
    """One for all tests."""
    return organisation(seed=11, days=30, requirements_per_week=9, work=0.1, late=0.2)


@cache
def sent() -> tuple[Batch, ...]:
    """Its telemetry as the processor `semconv` leaves it, in the order in which it came."""
    return tuple(enriched(simulated()))


def enriched(org: Organisation) -> Iterator[Batch]:
    """Telemetry as the processor `semconv` leaves it. To be taken once."""
    plan = compile_plan(REGISTRY)
    return (plan.enrich(from_trusted(one.signal, one.body)) for one in org.deliveries())


def end_ns(org: Organisation | None = None) -> int:
    """When the last of it ended; of the one for all tests where none is given."""
    return max(span.end_ns for span in (org or simulated()).truth.spans.values())


def fill(store: SqliteStore, batches: Iterable[Batch]) -> None:
    """Writes as the exporter does, and makes the runs."""
    batches = list(batches)
    for start in range(0, len(batches), AT_ONCE):
        store.write([extract(PLAN, batches[start : start + AT_ONCE])[0]])
    while store.settle(1 << 62):
        pass


def open_store(path: Path) -> SqliteStore:
    """An empty one, or what was kept."""
    return SqliteStore(path, PLAN)


def all_journeys(journeys: Journeys, now_ns: int) -> list[Journey]:
    """Those of the list, made up to date."""
    while journeys.refresh(now_ns):
        pass
    rows = journeys.requirements(RequirementQuery(now_ns=now_ns, limit=100_000)).rows
    found = (journeys.journey(row.project, row.requirement, now_ns) for row in rows)
    return [journey for journey in found if journey is not None]
