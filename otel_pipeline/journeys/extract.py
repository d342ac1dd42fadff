"""Between native code and the journey stores: what batches tell, and the runs that stored spans come to."""

import json
import zlib
from collections.abc import Sequence
from typing import Any

from otel_pipeline import semconv
from otel_pipeline._native import Batch, JourneyPlan, unpack_chunk
from otel_pipeline.journeys.model import Edge, Key, Run, RunError, Sighting, Usage
from otel_pipeline.journeys.store import Extract, TraceChunk
from otel_pipeline.semconv import Registry

__all__ = ["compile_plan", "extract", "make_runs", "pack_runs", "unpack", "unpack_runs"]


def compile_plan(registry: Registry) -> JourneyPlan:
    """The plan of the semantic-convention files, ready for use."""
    return JourneyPlan(json.dumps(semconv.journey_plan(registry)))


def extract(plan: JourneyPlan, batches: Sequence[Batch]) -> tuple[Extract, dict[str, int]]:
    """What all the batches together tell of journeys; and how many names and spans were left out, by reason:

    `too_long`, `too_many` (names on one item), `no_scope` (nothing says what the name is unique within), `no_trace`
    (spans without a trace id).
    """
    chunk_rows, operations, key_rows, edge_rows, sighting_rows, left_out = plan.extract(batches)
    keys = [Key(*row) for row in key_rows]
    chunks = tuple(
        TraceChunk(trace_id, start_ns, end_ns, spans, blob, tuple(links), tuple(operations[at] for at in places))
        for trace_id, start_ns, end_ns, spans, blob, links, places in chunk_rows
    )
    edges = tuple(
        Edge(keys[cause], keys[product], first_ns, last_ns, items, trace_id)
        for cause, product, first_ns, last_ns, items, trace_id in edge_rows
    )
    sightings = tuple(
        Sighting(keys[key], trace_id, first_ns, last_ns, items)
        for key, trace_id, first_ns, last_ns, items in sighting_rows
    )
    return Extract(chunks, edges, sightings), {reason: count for reason, count in left_out if count}


def unpack(blobs: Sequence[bytes]) -> list[bytes]:
    """The OTLP TracesData in blobs of chunks; damaged ones are left out."""
    messages = (unpack_chunk(blob) for blob in blobs)
    return [message for message in messages if message is not None]


def make_runs(plan: JourneyPlan, blobs: Sequence[bytes]) -> bytes:
    """The runs of the trace with these chunks, as they are kept. Damaged blobs are left out."""
    return plan.runs(list(blobs))


def pack_runs(runs: bytes) -> bytes:
    """Runs as they are stored."""
    return zlib.compress(runs, 1)


def unpack_runs(trace_id: str, runs: bytes, *, packed: bool) -> list[Run]:
    """Runs that were kept; none where they are damaged."""
    try:
        rows = json.loads(zlib.decompress(runs) if packed else runs)
        return [_run(trace_id, row) for row in rows]
    except (zlib.error, ValueError, TypeError):
        return []


def _run(trace_id: str, row: list[Any]) -> Run:
    *head, keys, links, errors, usage, interventions, facts = row
    fields: list[Any] = [
        *head,
        tuple(Key(*key) for key in keys),
        tuple(links),
        tuple(RunError(*error) for error in errors),
        tuple(Usage(*one) for one in usage),
        interventions,
        facts,
    ]
    return Run(trace_id, *fields)
