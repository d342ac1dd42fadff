"""The journey store: spans in, journeys and the list of requirements out, disk and memory.

`python -m benchmarks.journeys 10000000` fills it with so many spans."""

import logging
import resource
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.load import START_NS
from otel_pipeline import semconv
from otel_pipeline._native import JourneyPlan
from otel_pipeline.journeys.extract import compile_plan
from otel_pipeline.journeys.queries import Journeys, summary
from otel_pipeline.journeys.sqlite import SqliteStore
from otel_pipeline.journeys.store import RequirementQuery
from otel_pipeline.journeys.writer import StoreWriter, WriterOptions
from otel_pipeline.pdata import Batch, from_trusted
from otel_pipeline.testing import make_span, make_traces

SPANS = 1_000_000
"""In `make bench`; the goals are for ten million."""
SPANS_OF_TRACE = 50
TRACES_OF_REQUIREMENT = 30
STAGES = ("requirement_analysis", "coding", "testing", "deployment")
_TRACE, _REQUIREMENT, _COMMIT, _DAY = b"\xf0trace\xf1\xf2", b"REQ-00000000", b"c" * 40, 86_400_000_000_000
LIST = RequirementQuery(now_ns=START_NS + _DAY, text="REQ-", sort="cost")


def measure(spans: int = SPANS) -> dict[str, float]:
    """Spans a second through the writer, milliseconds of answers, bytes of disk for each span."""
    folder = Path(tempfile.mkdtemp(prefix="journeys-"))
    try:
        return _measure(folder / "journeys.sqlite", spans)
    finally:
        shutil.rmtree(folder)


def _measure(path: Path, spans: int) -> dict[str, float]:
    registry = semconv.load()
    plan = compile_plan(registry)
    seconds = _fill(path, spans, plan)
    store = SqliteStore(path, plan)
    journeys = Journeys(store, registry)
    requirements = max(1, spans // (SPANS_OF_TRACE * TRACES_OF_REQUIREMENT))
    sample = [_name(number * requirements // 21) for number in range(21)]
    calls = [partial(journeys.journey, "shop", name, LIST.now_ns) for name in sample]
    first, again = _milliseconds(calls), _milliseconds(calls)
    found = journeys.journey("shop", sample[0], LIST.now_ns)
    assert found is not None
    assert sum(run.spans for run in found.runs) == SPANS_OF_TRACE * TRACES_OF_REQUIREMENT
    _fill_list(journeys, found.requirement, 20_000)
    results = {
        "journeys_spans_per_second": spans / seconds,
        "journeys_first_ms": first,
        "journeys_again_ms": again,
        "journeys_list_ms": _milliseconds([lambda: store.requirements(LIST)] * 9),
        "journeys_bytes_per_span": path.stat().st_size / spans,
        "journeys_peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    store.close()
    return results


def _fill(path: Path, spans: int, plan: JourneyPlan) -> float:
    """Seconds from the first batch to the last one on disk, as the exporter writes them."""
    template = _template()
    batches = max(1, spans // (SPANS_OF_TRACE * TRACES_OF_REQUIREMENT))
    room = threading.Semaphore(32)
    failures: list[str] = []

    def done(written: Sequence[Batch], reason: str) -> None:
        failures.extend([reason] if reason else [])
        room.release(len(written))

    writer = StoreWriter(
        plan=plan,
        options=WriterOptions(max_bytes=1 << 30, idle_ns=10**9),
        log=logging.getLogger("benchmark"),
        open=lambda: SqliteStore(path, plan),
        set_aside=str,
        done=done,
        report=failures.append,
    )
    begin = time.monotonic()
    writer.start()
    for number in range(batches):
        room.acquire()
        writer.offer(_batch(template, number))
    writer.close()
    writer.join()
    assert not failures, failures[0]
    return time.monotonic() - begin


def _template() -> bytes:
    """Traces of one stage each; the first span names requirement and commit."""
    batches = []
    for trace in range(TRACES_OF_REQUIREMENT):
        names: dict[str, Any] = {
            "sdlc__requirement__id": _REQUIREMENT.decode(),
            "vcs__ref__head__revision": _COMMIT.decode(),
        }
        spans = [
            make_span(
                f"step {number % 7}",
                span=trace * 1000 + number + 1,
                parent=trace * 1000 + 1 if number else 0,
                start=trace * 60 + number,
                sdlc__stage__name=STAGES[trace % len(STAGES)],
                gen_ai__operation__name="execute_tool",
                gen_ai__tool__name="shell",
                user__id="0f8fad5b-d9cb",
                **({} if number else names),
            )
            for number in range(SPANS_OF_TRACE)
        ]
        for span in spans:
            span.trace_id = _TRACE + trace.to_bytes(8, "big")
        batches.append(make_traces(*spans, resource={"service.name": "agent", "sdlc.project.id": "shop"}))
    return b"".join(batch.data for batch in batches)


def _batch(template: bytes, number: int) -> Batch:
    data = template.replace(_TRACE, (number + 1).to_bytes(8, "big")).replace(_REQUIREMENT, _name(number).encode())
    return from_trusted("traces", data.replace(_COMMIT, b"%040x" % (number + 1)))


def _name(requirement: int) -> str:
    return f"REQ-{requirement:08}"


def _fill_list(journeys: Journeys, requirement: str, rows: int) -> None:
    """As many rows as a large site has, like that of one requirement."""
    journey = journeys.journey("shop", requirement, LIST.now_ns)
    assert journey is not None
    row = summary(journey, LIST.now_ns)
    many = [replace(row, requirement=_name(number), cost_usd=float(number % 997)) for number in range(rows)]
    journeys.store.put_summaries(many)


def _milliseconds(calls: Sequence[Callable[[], object]]) -> float:
    """The median."""
    taken = []
    for call in calls:
        begin = time.perf_counter()
        call()
        taken.append((time.perf_counter() - begin) * 1000)
    return median(taken)


if __name__ == "__main__":
    for name, value in measure(int(sys.argv[1]) if len(sys.argv) > 1 else SPANS).items():
        print(f"{name}: {value:,.1f}")
