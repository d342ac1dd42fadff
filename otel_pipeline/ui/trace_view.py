"""Lays one trace out for its page: rows of the tree, many alike siblings in one row, and the minimap."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from otel_pipeline.ui.words import Words

__all__ = ["Mark", "SpanRow", "TraceView", "trace_view"]

MANY_ALIKE = 20
"""So many siblings of one name stand apart; more are one row that opens to them."""
MIN_WIDTH = 0.2
MINIMAP_ROWS = 200
_MAX_INDENT = 24
Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SpanRow:
    """A span, or many spans of one name below one parent."""

    key: str
    parent: str
    span_id: str
    """Empty for a row of many."""
    depth: int
    name: str
    sub: str
    failed: bool
    failed_below: int
    has_children: bool
    is_open: bool
    is_hidden: bool
    left: float
    width: float
    duration: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A span in the small picture, in percent."""

    left: float
    width: float
    top: float
    failed: bool


@dataclass(frozen=True, slots=True)
class TraceView:
    """All of the waterfall."""

    rows: tuple[SpanRow, ...]
    minimap: tuple[Mark, ...]


def trace_view(trace: Document, words: Words) -> TraceView:
    """The waterfall of a `journeys.trace_document.trace_document`."""
    place = _Place(trace["start_ms"], max(trace["end_ms"] - trace["start_ms"], 0.001))
    spans = trace["spans"]
    rows = tuple(_rows(spans, place, words))
    return TraceView(rows, tuple(_minimap(spans, place)))


@dataclass(frozen=True, slots=True)
class _Place:
    start_ms: float
    length_ms: float

    def of(self, start_ms: float, end_ms: float) -> tuple[float, float]:
        """Left and width in percent: never so narrow that it cannot be seen, never over the edge."""
        width = min(100.0, max(MIN_WIDTH, 100 * (end_ms - start_ms) / self.length_ms))
        left = 100 * (start_ms - self.start_ms) / self.length_ms
        return round(max(0.0, min(left, 100 - width)), 4), round(width, 4)


def _rows(spans: Sequence[Document], place: _Place, words: Words) -> Iterator[SpanRow]:
    alike: defaultdict[tuple[str, str], list[Document]] = defaultdict(list)
    for span in spans:
        alike[span["parent"], span["name"]].append(span)
    groups = {key: f"many-{number}" for number, key in enumerate(alike) if len(alike[key]) > MANY_ALIKE}
    shown: set[str] = set()
    deeper: dict[str, int] = {}
    hidden: set[str] = set()
    for span in spans:
        group = (span["parent"], span["name"])
        key = groups.get(group)
        level = deeper.get(span["parent"], 0)
        below_hidden = span["parent"] in hidden
        if key and key not in shown:
            shown.add(key)
            yield _many(key, alike[group], level, below_hidden, place, words)
        if key or below_hidden:
            hidden.add(span["span_id"])
        deeper[span["span_id"]] = level + bool(key)
        yield _one(span, key or span["parent"], level + bool(key), bool(key) or below_hidden, place, words)


def _one(span: Document, parent: str, level: int, is_hidden: bool, place: _Place, words: Words) -> SpanRow:
    left, width = place.of(span["start_ms"], span["end_ms"])
    return SpanRow(
        key=span["span_id"],
        parent=parent,
        span_id=span["span_id"],
        depth=min(_MAX_INDENT, span["depth"] + level),
        name=span["name"] or words.text("unnamed"),
        sub=" · ".join(part for part in (span["service"], span["model"]) if part),
        failed=span["failed"],
        failed_below=span["failed_below"],
        has_children=span["children"] > 0,
        is_open=True,
        is_hidden=is_hidden,
        left=left,
        width=width,
        duration=words.duration(span["seconds"]),
    )


def _many(key: str, spans: Sequence[Document], level: int, is_hidden: bool, place: _Place, words: Words) -> SpanRow:
    first = spans[0]
    left, width = place.of(min(one["start_ms"] for one in spans), max(one["end_ms"] for one in spans))
    return SpanRow(
        key=key,
        parent=first["parent"],
        span_id="",
        depth=min(_MAX_INDENT, first["depth"] + level),
        name=f"{len(spans)} × {first['name'] or words.text('unnamed')}",
        sub=first["service"],
        failed=False,
        failed_below=sum(one["failed"] + one["failed_below"] for one in spans),
        has_children=True,
        is_open=False,
        is_hidden=is_hidden,
        left=left,
        width=width,
        duration=words.duration(sum(one["seconds"] for one in spans)),
    )


def _minimap(spans: Sequence[Document], place: _Place) -> Iterable[Mark]:
    """At most so many of the spans, evenly picked; those that failed are all there."""
    step = max(1, -(-len(spans) // MINIMAP_ROWS))
    failed = 0
    for number, span in enumerate(spans):
        failed += span["failed"]
        if number % step and not (span["failed"] and failed <= MINIMAP_ROWS):
            continue
        left, width = place.of(span["start_ms"], span["end_ms"])
        yield Mark(left, width, round(100 * number / len(spans), 2), span["failed"])
