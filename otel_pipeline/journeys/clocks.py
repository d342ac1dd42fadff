"""Mends times that cannot be: ends before starts, and runs that begin before what called them, since hosts' clocks
differ."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from otel_pipeline.journeys.model import Note, Run

__all__ = ["mended"]

TOLERANCE_NS = 5 * 10**6
"""Clocks of hosts that are kept by NTP agree to within milliseconds."""


def mended(runs: Sequence[Run]) -> tuple[list[Run], list[Note]]:
    """The runs in the same order, and what was done to them.

    A run that ends before it starts takes no time. A run of the same trace that begins before the one that called it
    was timed by another clock: it is moved to that one's start, with everything below it, and keeps its length.
    """
    found = [replace(run, end_ns=max(run.start_ns, run.end_ns)) for run in runs]
    backwards = Counter(run.trace_id for run in runs if run.end_ns < run.start_ns)
    by_id = {(run.trace_id, run.span_id): at for at, run in enumerate(found)}
    shifts = _shifts(found, [by_id.get((run.trace_id, run.parent)) for run in found])
    most: dict[str, int] = {}
    for at, shift in enumerate(shifts):
        if shift:
            run = found[at]
            found[at] = replace(run, start_ns=run.start_ns + shift, end_ns=run.end_ns + shift)
            most[run.trace_id] = max(most.get(run.trace_id, 0), shift)
    notes = []
    for trace_id, count in sorted(backwards.items()):
        what = "1 run ends before it starts" if count == 1 else f"{count} runs end before they start"
        text = f"{what}: that counts as no time"
        notes.append(Note("end_before_start", text, trace_id))
    for trace_id, shift in sorted(most.items()):
        text = f"clocks differ: parts of this trace were moved by up to {shift / 1e9:.3g} s to after what called them"
        notes.append(Note("clock_skew", text, trace_id))
    return found, notes


def _shifts(runs: Sequence[Run], parents: Sequence[int | None]) -> list[int]:
    """How far each run moves, from the top down; runs in a circle of parents stay where they are."""
    children: dict[int | None, list[int]] = {}
    for at, parent in enumerate(parents):
        children.setdefault(parent, []).append(at)
    shifts = [0] * len(runs)
    pending = list(children.get(None, ()))
    while pending:
        parent = pending.pop()
        start = runs[parent].start_ns + shifts[parent]
        for at in children.get(parent, ()):
            begins = runs[at].start_ns + shifts[parent]
            late = start - begins
            shifts[at] = shifts[parent] + (late if late > TOLERANCE_NS else 0)
            pending.append(at)
    return shifts
