"""Journeys and lists of requirements for a terminal, out of the same JSON that the API answers with."""

import unicodedata
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from otel_pipeline.helpers.printable import printable

__all__ = ["journey_text", "list_text"]

Document = Mapping[str, Any]
MIN_WIDTH = 60
BAND = 3
"""Columns of a wait that is not drawn to scale."""
LONG_WAIT_SECONDS = 8 * 3600
LONG_WAIT_SHARE = 0.1
_COLORS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34"}
_STATES = {"running": "blue", "waiting": "yellow", "accepted": "green", "cancelled": "dim"}
_LIST_HEAD = ("requirement", "project", "state", "stage", "lead", "active", "reruns", "errors", "cost", "title")
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def journey_text(journey: Document, *, width: int = 100, color: bool = False) -> str:
    """The whole way of a requirement: what it came to, then its stays in stages as bars on one axis, long waits
    compressed and named, then stages, things and what one has to know before believing the numbers."""
    paint = _Paint(color)
    parts = [
        _head(journey, paint),
        _waterfall(journey, max(width, MIN_WIDTH), paint),
        _stages(journey, paint),
        _entities(journey),
        _notes(journey, paint),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def list_text(page: Document, *, width: int = 100, color: bool = False) -> str:
    """A page of the list as a table, with how many there are."""
    paint = _Paint(color)
    rows: list[tuple[str, ...]] = [_LIST_HEAD]
    states = [""]
    for row in page["requirements"]:
        states.append(row["state"])
        active = f"{row['flow_efficiency']:.0%}"
        numbers = (str(row["reruns"]), str(row["errors"]), _money(row["cost_usd"]))
        texts = (row["requirement"], row["project"], row["state"], row["stage"], _took(row["lead_seconds"]), active)
        rows.append((*(printable(text, 40) for text in texts), *numbers, printable(row["title"], 80)))
    widths = [max(_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row, state in zip(rows, states, strict=True):
        line = "  ".join(_pad(text, widths[column]) for column, text in enumerate(row)).rstrip()
        line = _cut(line, max(width, MIN_WIDTH))
        lines.append(paint("bold", line) if not state else line.replace(state, paint(_STATES[state], state), 1))
    shown, total = len(page["requirements"]), page["total"]
    lines.append(f"\n{shown} of {total} requirements" if total else "no requirements")
    return "\n".join(lines if total else lines[-1:]) + "\n"


class _Paint:
    def __init__(self, on: bool) -> None:
        self._on = on

    def __call__(self, color: str, text: str) -> str:
        return f"\x1b[{_COLORS[color]}m{text}\x1b[0m" if self._on and text else text


# --- parts


def _head(journey: Document, paint: _Paint) -> list[str]:
    of = " · ".join(printable(text, 80) for text in (journey["project"], journey["class"]) if text)
    title = f"  {printable(journey['title'], 120)}" if journey["title"] else ""
    lead = _took(journey["lead_seconds"])
    facts = [
        paint(_STATES[journey["state"]], journey["state"]) + f" in {printable(journey['stage'] or 'no stage', 40)}",
        f"lead {lead}",
        f"active {_took(journey['active_seconds'])} ({journey['flow_efficiency']:.1%})",
    ]
    errors = sum(journey["errors"].values())
    told = ((journey["reruns"], "rerun"), (errors, "error"), (journey["interventions"], "intervention"))
    facts += [f"{count} {word}{'s' if count != 1 else ''}" for count, word in told if count]
    facts += [_money(journey["cost_usd"]), f"{journey['tokens']:,} tokens"] if journey["tokens"] else []
    return [
        f"{paint('bold', printable(journey['requirement'], 120))}{title}" + (f"  ({of})" if of else ""),
        " · ".join(facts),
        f"{journey['start']} to {journey['end']}",
    ]


def _waterfall(journey: Document, width: int, paint: _Paint) -> list[str]:
    visits = journey["visits"]
    if not visits:
        return []
    stage_width = min(24, max(_width(visit["stage"]) for visit in visits) + 2)
    axis = _Axis(journey, width - stage_width - 18)
    waits = [gap for gap in journey["gaps"] if axis.is_long(gap)]
    rows: list[tuple[float, str]] = []
    for visit in visits:
        mark, color = _mark(visit)
        name = _pad(_cut(printable(visit["stage"], 60), stage_width - 2), stage_width - 2)
        after = _took((visit["start_ms"] - journey["start_ms"]) / 1000)
        took = _took(visit["seconds"])
        bar = axis.bar(visit["start_ms"], visit["end_ms"], "░" if visit["is_running"] else "█")
        rows.append((visit["start_ms"], f"{mark} {name}{after:>8} {took:>7}  {paint(color, bar)}".rstrip()))
    for gap in waits:
        reason = f"waiting for {printable(gap['reason'], 40)}" if gap["reason"] else "waiting"
        label = f"{'':{stage_width}}{'':8} {_took(gap['seconds']):>7}  {axis.label(gap['start_ms'], reason)}"
        rows.append((gap["start_ms"], paint("dim", _cut(label, width))))
    head = f"  {_pad('stage', stage_width - 2)}{'after':>8} {'took':>7}"
    return [paint("bold", head), *(row for _, row in sorted(rows, key=lambda row: row[0]))]


def _mark(visit: Document) -> tuple[str, str]:
    """A sign and a colour, so that neither is needed for the other: failed, under way, rework, done."""
    if visit["outcome"] == "failure":
        return "✗", "red"
    if visit["is_running"]:
        return "▸", "blue"
    return ("↺", "yellow") if visit["is_rework"] else ("·", "green")


def _stages(journey: Document, paint: _Paint) -> list[str]:
    head = ("stage", "runs", "failed", "active", "waited", "errors", "cost")
    rows: list[tuple[str, ...]] = [head]
    for one in journey["stages"]:
        cost = sum(use["cost_usd"] or 0.0 for use in one["usage"])
        errors = ", ".join(f"{count} {printable(type, 40)}" for type, count in list(one["errors"].items())[:3])
        times = (_took(one["active_seconds"]), _took(one["waiting_seconds"]))
        counts = (str(one["runs"]), str(one["failed_runs"] or ""))
        stage = printable(one["stage"] or "outside of stages", 40)
        rows.append((stage, *counts, *times, errors, _money(cost) if one["usage"] else ""))
    widths = [max(_width(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(_pad(text, widths[at]) for at, text in enumerate(row)).rstrip() for row in rows]
    return [paint("bold", lines[0]), *lines[1:]]


def _entities(journey: Document) -> list[str]:
    kinds: dict[str, list[str]] = {}
    for one in journey["entities"]:
        if one["hops"]:
            shared = " (shared)" if one["shared_with"] else ""
            kinds.setdefault(one["kind"], []).append(printable(one["value"], 60) + shared)
    lines = []
    for kind, values in kinds.items():
        more = f" and {len(values) - 4} more" if len(values) > 4 else ""
        lines.append(f"{kind.replace('_', ' ')}: {', '.join(values[:4])}{more}")
    count = len(journey["traces"])
    return [*lines, f"{count} trace{'s' if count != 1 else ''}"]


def _notes(journey: Document, paint: _Paint) -> list[str]:
    missing = [printable(note["subject"], 60) for note in journey["notes"] if note["code"] == "missing_stage"]
    lines = [f"! no telemetry for {', '.join(missing)}"] if missing else []
    lines += [f"! {printable(note['text'])}" for note in journey["notes"] if note["code"] != "missing_stage"]
    return [paint("yellow", line) for line in lines]


# --- the axis


class _Axis:
    """From time to columns: to scale, save that long waits take a few columns each."""

    def __init__(self, journey: Document, columns: int) -> None:
        self._columns = columns
        start = journey["start_ms"]
        end = max(start + journey["lead_seconds"] * 1000, journey["end_ms"])
        self._work_ms = max(1.0, end - start - sum(gap["seconds"] * 1000 for gap in journey["gaps"]))
        long = [gap for gap in journey["gaps"] if self.is_long(gap)][: max(0, columns // (3 * BAND))]
        edges = sorted({start, end, *(gap["start_ms"] for gap in long), *(gap["end_ms"] for gap in long)})
        waits = {gap["start_ms"] for gap in long}
        drawn = sum(after - before for before, after in pairwise(edges) if before not in waits) or 1.0
        room = max(1, columns - BAND * len(waits))
        self._points: list[tuple[float, float]] = [(edges[0], 0.0)]
        for before, after in pairwise(edges):
            wide = BAND if before in waits else (after - before) / drawn * room
            self._points.append((after, self._points[-1][1] + wide))

    def is_long(self, gap: Document) -> bool:
        """Whether a wait is worth a line of its own, and is not drawn to scale."""
        seconds: float = gap["seconds"]
        return seconds >= LONG_WAIT_SECONDS or seconds * 1000 >= LONG_WAIT_SHARE * self._work_ms

    def column(self, ms: float) -> int:
        """Where a time is, from 0."""
        for (before, left), (after, right) in pairwise(self._points):
            if ms <= after:
                share = max(0.0, ms - before) / (after - before) if after > before else 0.0
                return int(left + share * (right - left))
        return int(self._points[-1][1])

    def label(self, ms: float, text: str) -> str:
        """A sign at a time, with a text to its right, or to its left where there is more room."""
        left = self.column(ms)
        if left + 2 + _width(text) > self._columns and left > _width(text):
            return f"{' ' * (left - _width(text) - 1)}{text} ┄"
        return f"{' ' * left}┄ {text}"

    def bar(self, start_ms: float, end_ms: float, sign: str) -> str:
        """From one time to another, at least one column."""
        left = self.column(start_ms)
        return " " * left + sign * max(1, self.column(end_ms) - left)


# --- words


def _took(seconds: float) -> str:
    """In the two largest units that say something: `1d 21h`, `16m`, `350ms`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms" if seconds else "0s"
    rest = round(seconds)
    for at, (size, unit) in enumerate(_UNITS):
        if rest >= size:
            smaller = _UNITS[at + 1 : at + 2]
            more = "".join(f" {rest % size // part}{name}" for part, name in smaller if rest % size // part)
            return f"{rest // size}{unit}{more}"
    return "0s"


def _money(usd: float) -> str:
    return f"${usd:,.2f}" if usd >= 0.01 or not usd else f"${usd:.4f}"


def _columns(text: str) -> Iterator[tuple[str, int]]:
    for letter in text:
        wide = 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        yield letter, 0 if unicodedata.combining(letter) else wide


def _width(text: str) -> int:
    return sum(columns for _, columns in _columns(text))


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _cut(text: str, width: int) -> str:
    """At most so many columns; what is cut off ends with `…`."""
    if _width(text) <= width:
        return text
    kept: list[str] = []
    used = 1
    for letter, columns in _columns(text):
        used += columns
        if used > width:
            break
        kept.append(letter)
    return "".join(kept) + "…"
