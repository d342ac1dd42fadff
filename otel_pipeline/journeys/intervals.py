"""Time that runs take: joined where they overlap, the holes between them, and the way back from the end."""

from collections.abc import Iterable, Iterator, Sequence

from otel_pipeline.journeys.model import Segment

__all__ = ["Interval", "critical_path", "holes", "length", "union"]

Interval = tuple[int, int]
"""Start and end."""


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The same time as disjoint intervals, ascending; those without length are left out."""
    joined: list[Interval] = []
    for start, end in sorted(intervals):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        elif start < end:
            joined.append((start, end))
    return joined


def length(intervals: Iterable[Interval]) -> int:
    """Of disjoint intervals, together."""
    return sum(end - start for start, end in intervals)


def holes(intervals: Sequence[Interval], start: int, end: int) -> list[Interval]:
    """What disjoint ascending intervals leave free between two times."""
    edges = [start, *(time for one in intervals for time in one), end]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [(first, last) for first, last in pairs if first < last]


class _Level:
    """Runs beside each other, asked at times that go down: each is looked at once."""

    def __init__(self, runs: Iterable[int], spans: Sequence[Interval]) -> None:
        self._spans = spans
        self._pending = sorted(runs, key=lambda run: (spans[run][1], -spans[run][0], run))
        self._open: list[int] = []

    def active(self, time: int) -> int | None:
        """Of the runs under way just before `time` the one that ended first after it: what may have led on."""
        while self._pending and self._spans[self._pending[-1]][1] >= time:
            self._open.append(self._pending.pop())
        while self._open and self._spans[self._open[-1]][0] >= time:
            self._open.pop()
        return self._open[-1] if self._open else None

    def ended_before(self, earliest: int) -> int:
        """End of the last run that had ended by the time asked last, not before `earliest`."""
        return max(earliest, self._spans[self._pending[-1]][1]) if self._pending else earliest


def critical_path(
    spans: Sequence[Interval], parents: Sequence[int | None], start: int, end: int
) -> tuple[Segment, ...]:
    """From `end` back to `start`: the run that something waited for, its parts instead of it where it waited for them;
    nothing where no run was under way. The segments follow each other without holes.

    `parents` are places in `spans`. A run that outlasts its parent, or begins before it, stands by itself.
    """
    children = _children(spans, parents)
    levels = {parent: _Level(runs, spans) for parent, runs in children.items()}
    empty = _Level((), spans)
    found: list[Segment] = []
    path: list[int] = []
    time = end
    while time > start:
        while path and spans[path[-1]][0] >= time:
            path.pop()
        here = path[-1] if path else None
        while (below := levels.get(here, empty).active(time)) is not None:
            path.append(below)
            here = below
        earliest = start if here is None else max(start, spans[here][0])
        before = levels.get(here, empty).ended_before(earliest)
        found.append(Segment(before, time, here))
        time = before
    return tuple(_joined(reversed(found)))


def _children(spans: Sequence[Interval], parents: Sequence[int | None]) -> dict[int | None, list[int]]:
    """Runs by the one that they are inside of; those in a circle stand by themselves."""
    found: dict[int | None, list[int]] = {}
    for run, (first, last) in enumerate(spans):
        parent = parents[run]
        inside = parent is not None and spans[parent][0] <= first and last <= spans[parent][1]
        found.setdefault(parent if inside else None, []).append(run)
    reached, pending = set[int](), list(found.get(None, ()))
    while pending:
        run = pending.pop()
        reached.add(run)
        pending.extend(found.get(run, ()))
    circling = [run for run in range(len(spans)) if run not in reached]
    kept = {parent: runs for parent, runs in found.items() if parent is None or parent in reached}
    kept[None] = [*kept.get(None, ()), *circling]
    return kept


def _joined(segments: Iterable[Segment]) -> Iterator[Segment]:
    """Neighbours of one run as one."""
    last: Segment | None = None
    for one in segments:
        if last is not None and last.run == one.run:
            last = Segment(last.start_ns, one.end_ns, one.run)
            continue
        if last is not None:
            yield last
        last = one
    if last is not None:
        yield last
