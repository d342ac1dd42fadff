"""Lays a journey out for its page: bars and bands in percent of the width, and texts; the template only places them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from otel_pipeline.ui.scale import Scale, honest_scale, journey_scale
from otel_pipeline.ui.words import Words

__all__ = ["Band", "Bar", "JourneyView", "Row", "Tick", "journey_lines", "journey_view", "note_text"]

MIN_WIDTH = 0.4
"""Percent: the shortest run can still be seen and clicked."""
NAMED_PERCENT = 6.0
"""Waits at least so wide have room for their words."""
MAX_ROWS = 400
"""Rows of runs; further runs of the longest visits are summed up."""
_LABEL_PERCENT = 15.0
Document = Mapping[str, Any]
_NOTES = {
    "missing_stage": "no telemetry for {subject}",
    "missing_price": "no price is known for some requests to {subject}",
    "after_acceptance": "work went on after the requirement was accepted; it is shown, and not in the lead time",
    "clock_skew": "clocks differ: parts of trace {subject} were moved to after what called them",
    "end_before_start": "spans of trace {subject} end before they start; they count as points in time",
    "contradiction": "trace {subject} names several requirements: each part counts for the one that it names",
    "many_requirements": "so many requirements are behind {subject} that it links to none of them",
    "truncated": "{subject} was seen with more things than are followed",
}
"""Texts of notes, by their code (`journeys.assemble`, `clocks`, `resolve`)."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle of the waterfall."""

    left: float
    width: float
    look: str
    """CSS class: success, failure, running, unknown, work, wait."""
    title: str


@dataclass(frozen=True, slots=True)
class Band:
    """A wait with its words: compressed, across all rows, or drawn as long as it is."""

    left: float
    width: float
    text: str
    """How long."""
    short: str
    """What for, where it fits."""
    detail: str
    is_compressed: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """A time on the axis."""

    left: float
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """A visit of a stage, or one run in it."""

    level: int
    key: str
    parent: str
    label: str
    sub: str
    errors: int
    duration: str
    cost: str
    bars: tuple[Bar, ...]
    trace_id: str = ""
    span_id: str = ""
    children: int = 0
    flags: tuple[str, ...] = ()
    description: str = ""
    """The row in words, for those who do not see the bar."""


@dataclass(frozen=True, slots=True)
class JourneyView:
    """All of the waterfall."""

    rows: tuple[Row, ...]
    left_out: int
    bands: tuple[Band, ...]
    ticks: tuple[Tick, ...]
    honest: tuple[Bar, ...]
    """One thin line in true proportion: work and wait."""
    path: tuple[Bar, ...]
    """The critical path."""
    is_compressed: bool
    can_compress: bool
    lead_text: str


def journey_view(journey: Document, words: Words, *, compress: bool) -> JourneyView:
    """The waterfall of a `journeys.document.journey_document`."""
    start = journey["start_ms"]
    end = max(start + journey["lead_seconds"] * 1000, journey["end_ms"], start + 1.0)
    runs = journey["runs"]
    work = [(run["start_ms"], run["end_ms"]) for run in runs]
    compressed = journey_scale(start, end, work)
    scale = compressed if compress else honest_scale(start, end)
    rows, left_out = _rows(journey, scale, words)
    return JourneyView(
        rows=rows,
        left_out=left_out,
        bands=tuple(_bands(journey, scale, words)),
        ticks=tuple(_ticks(scale, words)),
        honest=tuple(_honest(journey, honest_scale(start, end), words)),
        path=tuple(_path(journey, scale, words)),
        is_compressed=scale.is_compressed,
        can_compress=compressed.is_compressed,
        lead_text=words.duration(journey["lead_seconds"]),
    )


def _rows(journey: Document, scale: Scale, words: Words) -> tuple[tuple[Row, ...], int]:
    runs = journey["runs"]
    visits = journey["visits"]
    placed = {place for visit in visits for place in visit["runs"]}
    rows: list[Row] = []
    left_out = 0
    room = MAX_ROWS
    for number, visit in enumerate(visits):
        rows.append(_visit_row(f"v{number}", visit, [runs[place] for place in visit["runs"]], scale, words))
        shown = visit["runs"][:room] if len(visit["runs"]) > 1 else visit["runs"]
        left_out += len(visit["runs"]) - len(shown)
        room = max(0, room - len(shown))
        rows.extend(_run_row(f"r{place}", f"v{number}", runs[place], scale, words) for place in shown)
    others = [place for place in range(len(runs)) if place not in placed]
    if others:
        left_out += max(0, len(others) - room)
        rows.append(_others_row(others, runs, scale, words))
        rows.extend(_run_row(f"r{place}", "other", runs[place], scale, words) for place in others[:room])
    return tuple(rows), left_out


def _visit_row(key: str, visit: Document, runs: Sequence[Document], scale: Scale, words: Words) -> Row:
    seconds = visit["seconds"]
    flags = []
    if visit["is_rework"]:
        flags.append(words.text("rework"))
    if visit["is_running"]:
        flags.append(words.text("running"))
    look = "running" if visit["is_running"] else visit["outcome"] or "unknown"
    label = words.word(visit["stage"])
    agents = sorted({run["agent"] for run in runs if run["agent"]})
    return Row(
        level=1,
        key=key,
        parent="",
        label=label,
        sub=", ".join(agents),
        errors=_errors(runs),
        duration=words.duration(seconds),
        cost=_cost(runs, words),
        bars=tuple(_bar(run, scale, words) for run in runs[:200]),
        children=len(runs),
        flags=tuple(flags),
        description=f"{label}, {words.duration(seconds)}, {words.word(look)}, {words.time(visit['start_ms'])}",
    )


def _others_row(places: Sequence[int], runs: Sequence[Document], scale: Scale, words: Words) -> Row:
    mine = [runs[place] for place in places]
    seconds = sum(run["seconds"] for run in mine)
    label = words.text("outside of any stage")
    return Row(
        level=1,
        key="other",
        parent="",
        label=label,
        sub="",
        errors=_errors(mine),
        duration=words.duration(seconds),
        cost=_cost(mine, words),
        bars=tuple(_bar(run, scale, words) for run in mine[:200]),
        children=len(mine),
        description=label,
    )


def _run_row(key: str, parent: str, run: Document, scale: Scale, words: Words) -> Row:
    flags = [words.text("shared, {share}", share=words.percent(run["share"]))] if run["share"] < 1 else []
    duration = words.duration(run["seconds"])
    return Row(
        level=2,
        key=key,
        parent=parent,
        label=run["name"] or words.text("unnamed"),
        sub=run["agent"] or run["service"],
        errors=_errors([run]),
        duration=duration,
        cost=_cost([run], words),
        bars=(_bar(run, scale, words),),
        trace_id=run["trace_id"],
        span_id=run["span_id"],
        flags=tuple(flags),
        description=f"{run['name']}, {duration}, {words.word(run['outcome'])}, {words.time(run['start_ms'])}",
    )


def _bar(run: Document, scale: Scale, words: Words) -> Bar:
    left, right = scale.at(run["start_ms"]), scale.at(run["end_ms"])
    width = max(MIN_WIDTH, right - left)
    look = run["outcome"] if run["outcome"] in ("success", "failure", "cancelled", "running") else "unknown"
    title = f"{run['name']} · {words.duration(run['seconds'])} · {words.time(run['start_ms'])}"
    return Bar(min(left, 100.0 - width), round(width, 4), look, title)


def _errors(runs: Iterable[Document]) -> int:
    return sum(error["count"] for run in runs for error in run["errors"])


def _cost(runs: Iterable[Document], words: Words) -> str:
    known = [one["cost_usd"] for run in runs for one in run["usage"] if one["cost_usd"] is not None]
    return words.money(sum(known)) if known else ""


def journey_lines(journey: Document, words: Words) -> list[Document]:
    """Runs and waits by start: the same as the waterfall, for a table."""
    waits = [{**gap, "gap": True, "text": gap_text(gap, words)} for gap in journey["gaps"]]
    runs = [{**run, "gap": False} for run in journey["runs"]]
    return sorted((*waits, *runs), key=lambda line: float(line["start_ms"]))


def note_text(note: Document, words: Words) -> str:
    """A note in the reader's language; one that is not known here as it was written."""
    text = _NOTES.get(note["code"])
    if text is None:
        return str(note["text"])
    subject = note["subject"]
    return words.text(text, subject=words.word(subject) if note["code"] == "missing_stage" else subject)


def gap_text(gap: Document, words: Words) -> str:
    """What is waited for: `waiting for review`, `waiting before coding`."""
    if gap["reason"]:
        return words.text("waiting for {what}", what=words.word(gap["reason"]))
    if gap["before"]:
        return words.text("waiting before {stage}", stage=words.word(gap["before"]))
    return words.text("waiting")


def _bands(journey: Document, scale: Scale, words: Words) -> Iterable[Band]:
    gaps = journey["gaps"]
    compressed = [piece for piece in scale.pieces if piece.is_gap]
    for piece in compressed:
        fitting = [one for one in gaps if one["start_ms"] < piece.end_ms and one["end_ms"] > piece.start_ms]
        longest = max(fitting, key=lambda one: one["seconds"], default=None)
        yield _band(piece.left, piece.right, (piece.end_ms - piece.start_ms) / 1000, longest, words, is_compressed=True)
    for gap in gaps:
        left, right = scale.at(gap["start_ms"]), scale.at(gap["end_ms"])
        is_apart = not any(piece.left < right and piece.right > left for piece in compressed)
        if is_apart and right - left >= NAMED_PERCENT:
            yield _band(left, right, gap["seconds"], gap, words, is_compressed=False)


def _band(
    left: float, right: float, seconds: float, gap: Document | None, words: Words, *, is_compressed: bool
) -> Band:
    return Band(
        left=round(left, 4),
        width=round(right - left, 4),
        text=words.duration(seconds),
        short=words.word(gap["reason"]) if gap and gap["reason"] else words.text("waiting"),
        detail=gap_text(gap, words) if gap else words.text("waiting"),
        is_compressed=is_compressed,
    )


def _ticks(scale: Scale, words: Words) -> Iterable[Tick]:
    reached = -_LABEL_PERCENT
    for piece in scale.pieces:
        if piece.is_gap:
            continue
        steps = max(1, int((piece.right - piece.left) / (2 * _LABEL_PERCENT)))
        for step in range(steps):
            left = piece.left + (piece.right - piece.left) * step / steps
            if left - reached >= _LABEL_PERCENT and left <= 100 - _LABEL_PERCENT:
                reached = left
                time_ms = piece.start_ms + (piece.end_ms - piece.start_ms) * step / steps
                yield Tick(round(left, 4), words.time(time_ms))


def _honest(journey: Document, scale: Scale, words: Words) -> Iterable[Bar]:
    for gap in journey["gaps"]:
        left, right = scale.at(gap["start_ms"]), scale.at(gap["end_ms"])
        text = f"{gap_text(gap, words)} · {words.duration(gap['seconds'])}"
        yield Bar(left, round(right - left, 4), "wait", text)


def _path(journey: Document, scale: Scale, words: Words) -> Iterable[Bar]:
    for segment in journey["critical_path"]:
        left, right = scale.at(segment["start_ms"]), scale.at(segment["end_ms"])
        look = "wait" if segment["run"] is None else "work"
        yield Bar(left, round(max(0.0, right - left), 4), look, words.duration(segment["seconds"]))
