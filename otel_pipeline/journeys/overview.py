"""What the overview tells: requirements by stage now, the last four weeks, what is under way for longest."""

from collections.abc import Callable, Sequence
from typing import Any

from otel_pipeline.journeys.document import PAGE_SCHEMA, summary_document
from otel_pipeline.journeys.model import State
from otel_pipeline.journeys.store import RequirementPage, RequirementQuery, RequirementSummary

__all__ = ["OVERVIEW_SCHEMA", "overview_document", "quantile"]

WINDOW_NS = 28 * 86400 * 10**9
MAX_ENDED = 2000
"""Requirements that medians are made of: those that ended last."""
_ROWS = 8
_OPEN = (State.RUNNING, State.WAITING)


def overview_document(
    ask: Callable[[RequirementQuery], RequirementPage], stages: Sequence[str], now_ns: int
) -> dict[str, Any]:
    """The overview as JSON. Numbers of the last four weeks are None where nothing was delivered in them: a median of
    nothing is unknown, not zero."""
    open_ = ask(RequirementQuery(now_ns, states=_OPEN, sort="start", descending=False, limit=_ROWS))
    latest = ask(RequirementQuery(now_ns, states=(State.ACCEPTED,), limit=MAX_ENDED))
    cancelled = ask(RequirementQuery(now_ns, states=(State.CANCELLED,), limit=MAX_ENDED))
    delivered = _recent(latest, now_ns)
    ended = delivered + _recent(cancelled, now_ns)
    leads = sorted(row.lead_ns / 1e9 for row in delivered)
    shares = sorted(row.active_ns / row.lead_ns for row in delivered if row.lead_ns)
    in_stage = {stage: open_.by_stage[stage] for stage in stages if stage in open_.by_stage}
    in_stage |= {stage: count for stage, count in open_.by_stage.items() if stage not in in_stage}
    return {
        "open": open_.total,
        "by_state": {str(state): count for state, count in open_.by_state.items()},
        "in_stage": in_stage,
        "stages": [_stage(stage, delivered) for stage in stages],
        "delivered": len(delivered),
        "cancelled": len(ended) - len(delivered),
        "lead_p50_seconds": quantile(leads, 0.5),
        "lead_p85_seconds": quantile(leads, 0.85),
        "active_p50": quantile(shares, 0.5),
        "cost_per_delivered_usd": sum(row.cost_usd for row in ended) / len(delivered) if delivered else None,
        "reworked": sum(row.reruns > 0 for row in delivered) / len(delivered) if delivered else None,
        "oldest": [summary_document(row, now_ns) for row in open_.rows],
        "latest": [summary_document(row, now_ns) for row in delivered[:_ROWS]],
    }


def _stage(stage: str, delivered: Sequence[RequirementSummary]) -> dict[str, Any]:
    dots = [dot for row in delivered for dot in row.stages if dot.stage == stage]
    return {
        "stage": stage,
        "requirements": len(dots),
        "active_p50_seconds": quantile(sorted(dot.active_ns / 1e9 for dot in dots), 0.5),
        "waiting_p50_seconds": quantile(sorted(dot.waiting_ns / 1e9 for dot in dots), 0.5),
    }


def _recent(page: RequirementPage, now_ns: int) -> list[RequirementSummary]:
    return [row for row in page.rows if row.end_ns >= now_ns - WINDOW_NS]


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The value below which that share of the values is, with linear interpolation; None of nothing."""
    if not ordered:
        return None
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return round(ordered[below] + (ordered[above] - ordered[below]) * (place - below), 6)


_COUNT = {"type": "integer", "minimum": 0}
_COUNTS = {"type": "object", "additionalProperties": _COUNT}
_NUMBER = {"type": ["number", "null"]}
_MEDIANS = ("lead_p50_seconds", "lead_p85_seconds", "active_p50", "cost_per_delivered_usd", "reworked")
OVERVIEW_SCHEMA = {
    "type": "object",
    "required": ["open", "by_state", "in_stage", "stages", "delivered", "cancelled", *_MEDIANS, "oldest", "latest"],
    "properties": {
        **dict.fromkeys(("open", "delivered", "cancelled"), _COUNT),
        **dict.fromkeys(("by_state", "in_stage"), _COUNTS),
        "stages": {"type": "array", "items": {"type": "object"}},
        **dict.fromkeys(_MEDIANS, _NUMBER),
        **dict.fromkeys(("oldest", "latest"), PAGE_SCHEMA["properties"]["requirements"]),
    },
}
"""JSON schema of `overview_document`. Money of what was cancelled counts in the cost of what was delivered."""
