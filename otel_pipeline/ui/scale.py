"""Where a time stands on a page: a scale that gives work its true proportions and long waits a narrow, named band."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Piece", "Scale", "honest_scale", "journey_scale"]

BAND_PERCENT = 9.0
"""Width of a compressed wait: room for its words on a page of usual width."""
MAX_BANDS_PERCENT = 45.0
LONG_SHARE = 0.1
LONG_MS = 8 * 3600 * 1000.0

Interval = tuple[float, float]
"""Start and end in Unix milliseconds."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of time, and where it is drawn, in percent of the width."""

    start_ms: float
    end_ms: float
    left: float
    right: float
    is_gap: bool
    """Compressed: its width tells nothing of its length."""


class Scale:
    """Pieces that follow each other without holes, from 0 to 100 %."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces = tuple(pieces)
        self._starts = [one.start_ms for one in pieces]

    def at(self, time_ms: float) -> float:
        """Percent of the width; times outside are at the edges."""
        piece = self.pieces[max(0, bisect_right(self._starts, time_ms) - 1)]
        length = piece.end_ms - piece.start_ms
        share = (time_ms - piece.start_ms) / length if length > 0 else 0.0
        return round(piece.left + min(1.0, max(0.0, share)) * (piece.right - piece.left), 4)

    @property
    def is_compressed(self) -> bool:
        """Whether some of it is drawn shorter than it is."""
        return any(one.is_gap for one in self.pieces)


def honest_scale(start_ms: float, end_ms: float) -> Scale:
    """All in true proportions."""
    return Scale([Piece(start_ms, max(end_ms, start_ms + 1.0), 0.0, 100.0, is_gap=False)])


def journey_scale(start_ms: float, end_ms: float, work: Iterable[Interval]) -> Scale:
    """Times without work that are at least a tenth of the whole, or eight hours, become bands of one width.

    What is left is drawn in true proportion. `work` may overlap and come in any order.
    """
    end_ms = max(end_ms, start_ms + 1.0)
    gaps = [one for one in _between(start_ms, end_ms, work) if _is_long(one, end_ms - start_ms)]
    if not gaps:
        return honest_scale(start_ms, end_ms)
    edges = [start_ms, *(edge for gap in gaps for edge in gap), end_ms]
    compressed = set(gaps)
    stretches = [one for one in pairwise(edges) if one[1] > one[0]]
    real = sum(end - start for start, end in stretches if (start, end) not in compressed)
    if not real:
        return honest_scale(start_ms, end_ms)
    band = min(BAND_PERCENT, MAX_BANDS_PERCENT / len(gaps))
    room = 100.0 - band * len(gaps)
    pieces: list[Piece] = []
    left = 0.0
    for start, end in stretches:
        is_gap = (start, end) in compressed
        right = left + (band if is_gap else room * (end - start) / real)
        pieces.append(Piece(start, end, left, right, is_gap))
        left = right
    return Scale(pieces)


def _between(start_ms: float, end_ms: float, work: Iterable[Interval]) -> list[Interval]:
    gaps: list[Interval] = []
    reached = start_ms
    for start, end in sorted(work):
        if start > reached:
            gaps.append((reached, min(start, end_ms)))
        reached = max(reached, end)
    if reached < end_ms:
        gaps.append((reached, end_ms))
    return [(start, end) for start, end in gaps if end > start]


def _is_long(gap: Interval, whole_ms: float) -> bool:
    length = gap[1] - gap[0]
    return length >= LONG_MS or length >= LONG_SHARE * whole_ms
