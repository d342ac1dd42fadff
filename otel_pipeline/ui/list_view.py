"""Lays the list of requirements out: dots of stages, links that keep the filters, and the scatter of lead times."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log10
from typing import Any

from otel_pipeline.journeys.overview import quantile
from otel_pipeline.ui.words import Words

__all__ = ["Dot", "Scatter", "scatter"]

Document = Mapping[str, Any]
_MIN_POINTS = 3


@dataclass(frozen=True, slots=True)
class Dot:
    """A requirement of the scatter, in percent from the left and from the top."""

    x: float
    y: float
    look: str
    row: Document


@dataclass(frozen=True, slots=True)
class Scatter:
    """When requirements ended and how long they took; the axis of lead times is logarithmic."""

    dots: tuple[Dot, ...]
    lines: tuple[tuple[float, str], ...]
    """Percent from the top, and text."""
    first: str
    last: str


def scatter(rows: Sequence[Document], words: Words) -> Scatter | None:
    """Of rows that have ended; None where there are too few for a picture."""
    ended = [row for row in rows if row["state"] in ("accepted", "cancelled") and row["lead_seconds"] > 0]
    if len(ended) < _MIN_POINTS:
        return None
    times = [row["end_ms"] for row in ended]
    leads = [log10(row["lead_seconds"]) for row in ended]
    first, last = min(times), max(times)
    low, high = min(leads), max(leads)
    x_room, y_room = max(last - first, 1.0), max(high - low, 0.1)

    def y(lead: float) -> float:
        return round(92 - 84 * (lead - low) / y_room, 3)

    dots = tuple(
        Dot(round(2 + 96 * (row["end_ms"] - first) / x_room, 3), y(lead), row["state"], row)
        for row, lead in zip(ended, leads, strict=True)
    )
    seconds = sorted(row["lead_seconds"] for row in ended if row["state"] == "accepted")
    lines = []
    for share in (0.5, 0.85):
        value = quantile(seconds, share)
        if value is not None and len(seconds) >= _MIN_POINTS:
            lines.append((y(log10(value)), f"p{share * 100:.0f} {words.duration(value)}"))
    return Scatter(dots, tuple(lines), words.time(first), words.time(last))
