"""Journeys, lists of requirements and their parts as plain JSON: what `--json`, the API and the pages show.

Times are RFC 3339 to the millisecond beside Unix milliseconds (`…_ms`), durations are seconds.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from otel_pipeline.journeys.model import Edge, Entity, Journey, Key, Run, StageTotal, State, TraceLine, Usage
from otel_pipeline.journeys.store import RequirementPage, RequirementSummary
from otel_pipeline.times import time_or_none

__all__ = [
    "JOURNEY_SCHEMA",
    "PAGE_SCHEMA",
    "journey_document",
    "key_document",
    "page_document",
    "run_document",
    "summary_document",
]


def journey_document(journey: Journey, now_ns: int) -> dict[str, Any]:
    """The whole way of one requirement; `runs` elsewhere are places in its list of runs."""
    shares = zip(journey.runs, journey.shares, strict=True)
    return {
        "project": journey.project,
        "requirement": journey.requirement,
        "title": journey.title,
        "class": journey.requirement_class,
        "state": journey.state,
        "stage": journey.stage,
        "now_ms": _ms(now_ns),
        **_interval(journey.start_ns, journey.end_ns),
        "lead_seconds": _seconds(journey.lead_ns),
        "active_seconds": _seconds(journey.active_ns),
        "flow_efficiency": round(journey.flow_efficiency, 6),
        "cost_usd": round(journey.cost_usd, 6),
        "tokens": sum(sum(one.tokens.values()) for one in journey.usage),
        "reruns": sum(one.is_rework for one in journey.visits),
        "interventions": journey.interventions,
        "errors": dict(journey.errors),
        "usage": _usages(journey.usage),
        "stages": [_stage(one) for one in journey.stages],
        "visits": [
            {
                "stage": one.stage,
                **_interval(one.start_ns, one.end_ns),
                "outcome": one.outcome,
                "is_rework": one.is_rework,
                "is_running": one.is_running,
                "runs": list(one.runs),
            }
            for one in journey.visits
        ],
        "gaps": [
            {"after": one.after, "before": one.before, "reason": one.reason, **_interval(one.start_ns, one.end_ns)}
            for one in journey.gaps
        ],
        "critical_path": [{"run": one.run, **_interval(one.start_ns, one.end_ns)} for one in journey.critical_path],
        "runs": [{**run_document(run), "share": round(share, 6)} for run, share in shares],
        "entities": [_entity(one) for one in journey.entities],
        "traces": [_trace(one) for one in journey.traces],
        "notes": [{"code": one.code, "text": one.text, "subject": one.subject} for one in journey.notes],
    }


def run_document(run: Run) -> dict[str, Any]:
    """One run of a stage, or what was done outside of any."""
    return {
        "trace_id": run.trace_id,
        "span_id": run.span_id,
        "parent": run.parent,
        "name": run.name,
        "service": run.service,
        "stage": run.stage,
        "agent": run.agent,
        "outcome": run.outcome,
        "is_stage": run.is_stage,
        **_interval(run.start_ns, run.end_ns),
        "spans": run.spans,
        "errors": [
            {"type": one.type, "message": one.message, "span_id": one.span_id, "count": one.count} for one in run.errors
        ],
        "usage": _usages(run.usage),
        "interventions": run.interventions,
        "facts": dict(run.facts),
    }


def page_document(page: RequirementPage, stages: Sequence[str], now_ns: int) -> dict[str, Any]:
    """One page of the list, with what the filters would find. `stages` are all of them in the order of delivery."""
    return {
        "now_ms": _ms(now_ns),
        "total": page.total,
        "stages": list(stages),
        "by_stage": dict(sorted(page.by_stage.items(), key=lambda one: _place(stages, one[0]))),
        "by_state": {str(state): page.by_state[state] for state in State if state in page.by_state},
        "projects": list(page.projects),
        "requirements": [summary_document(one, now_ns) for one in page.rows],
    }


def _place(stages: Sequence[str], stage: str) -> tuple[int, str]:
    return (stages.index(stage), "") if stage in stages else (len(stages), stage)


def summary_document(row: RequirementSummary, now_ns: int) -> dict[str, Any]:
    """One requirement as the list shows it."""
    lead_ns = row.lead_at(now_ns)
    return {
        "project": row.project,
        "requirement": row.requirement,
        "title": row.title,
        "class": row.requirement_class,
        "state": row.state,
        "stage": row.stage,
        "stages": [
            {
                "stage": one.stage,
                "outcome": one.outcome,
                "active_seconds": _seconds(one.active_ns),
                "waiting_seconds": _seconds(one.waiting_ns),
            }
            for one in row.stages
        ],
        **_interval(row.start_ns, row.end_ns),
        "lead_seconds": _seconds(lead_ns),
        "active_seconds": _seconds(row.active_ns),
        "flow_efficiency": round(row.active_ns / lead_ns, 6) if lead_ns else 0.0,
        "reruns": row.reruns,
        "errors": row.errors,
        "cost_usd": round(row.cost_usd, 6),
        "tokens": row.tokens,
    }


def key_document(key: Key) -> dict[str, str]:
    """A thing that telemetry names."""
    return {"kind": key.kind, "scope": key.scope, "value": key.value}


def _interval(start_ns: int, end_ns: int) -> dict[str, Any]:
    return {
        "start": time_or_none(start_ns),
        "end": time_or_none(end_ns),
        "start_ms": _ms(start_ns),
        "end_ms": _ms(end_ns),
        "seconds": _seconds(max(0, end_ns - start_ns)),
    }


def _stage(total: StageTotal) -> dict[str, Any]:
    return {
        "stage": total.stage,
        "visits": total.visits,
        "runs": total.runs,
        "failed_runs": total.failed_runs,
        "active_seconds": _seconds(total.active_ns),
        "waiting_seconds": _seconds(total.waiting_ns),
        "errors": dict(total.errors),
        "usage": _usages(total.usage),
        "interventions": total.interventions,
    }


def _usages(usages: Iterable[Usage]) -> list[dict[str, Any]]:
    return [{"model": one.model, "tokens": dict(one.tokens), "cost_usd": _money(one.cost_usd)} for one in usages]


def _entity(entity: Entity) -> dict[str, Any]:
    return {
        **key_document(entity.key),
        "first": time_or_none(entity.first_ns),
        "last": time_or_none(entity.last_ns),
        "hops": entity.hops,
        "because": _edge(entity.because) if entity.because else None,
        "shared_with": list(entity.shared_with),
    }


def _edge(edge: Edge) -> dict[str, Any]:
    return {
        "cause": key_document(edge.cause),
        "product": key_document(edge.product),
        "first": time_or_none(edge.first_ns),
        "last": time_or_none(edge.last_ns),
        "items": edge.items,
        "trace_id": edge.trace_id,
    }


def _trace(line: TraceLine) -> dict[str, Any]:
    return {
        "trace_id": line.trace_id,
        "name": line.name,
        "service": line.service,
        **_interval(line.start_ns, line.end_ns),
        "spans": line.spans,
        "errors": line.errors,
        "because": line.because,
        "shared_with": list(line.shared_with),
    }


def _ms(unix_ns: int) -> float:
    return round(unix_ns / 1e6, 3)


def _seconds(duration_ns: int) -> float:
    return round(duration_ns / 1e9, 6)


def _money(usd: float | None) -> float | None:
    return None if usd is None else round(usd, 6)


_TEXT = {"type": "string"}
_TIME = {"type": ["string", "null"], "format": "date-time"}
_COUNT = {"type": "integer", "minimum": 0}
_NUMBER = {"type": "number"}
_BOOL = {"type": "boolean"}
_TEXTS = {"type": "array", "items": _TEXT}
_COUNTS: Mapping[str, Any] = {"type": "object", "additionalProperties": _COUNT}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _list(item: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


_INTERVAL = {"start": _TIME, "end": _TIME, "start_ms": _NUMBER, "end_ms": _NUMBER, "seconds": _NUMBER}
_USAGES = _list(_object(model=_TEXT, tokens=_COUNTS, cost_usd={"type": ["number", "null"]}))
_KEY = {"kind": _TEXT, "scope": _TEXT, "value": _TEXT}
_EDGE = _object(cause=_object(**_KEY), product=_object(**_KEY), first=_TIME, last=_TIME, items=_COUNT, trace_id=_TEXT)
_RUN = _object(
    **dict.fromkeys(("trace_id", "span_id", "parent", "name", "service", "stage", "agent", "outcome"), _TEXT),
    is_stage=_BOOL,
    **_INTERVAL,
    spans=_COUNT,
    errors=_list(_object(type=_TEXT, message=_TEXT, span_id=_TEXT, count=_COUNT)),
    usage=_USAGES,
    interventions=_COUNT,
    facts={"type": "object", "additionalProperties": _TEXT},
    share=_NUMBER,
)
_STAGE = _object(
    stage=_TEXT,
    visits=_COUNT,
    runs=_COUNT,
    failed_runs=_COUNT,
    active_seconds=_NUMBER,
    waiting_seconds=_NUMBER,
    errors=_COUNTS,
    usage=_USAGES,
    interventions=_COUNT,
)
_HEAD = {
    **dict.fromkeys(("project", "requirement", "title", "class", "state", "stage"), _TEXT),
    **_INTERVAL,
    "lead_seconds": _NUMBER,
    "active_seconds": _NUMBER,
    "flow_efficiency": _NUMBER,
    "cost_usd": _NUMBER,
    "tokens": _COUNT,
    "reruns": _COUNT,
}
JOURNEY_SCHEMA = _object(
    **_HEAD,
    now_ms=_NUMBER,
    interventions=_COUNT,
    errors=_COUNTS,
    usage=_USAGES,
    stages=_list(_STAGE),
    visits=_list(
        _object(
            stage=_TEXT, **_INTERVAL, outcome=_TEXT, is_rework=_BOOL, is_running=_BOOL, runs=_list(_COUNT)
        )
    ),
    gaps=_list(_object(after=_TEXT, before=_TEXT, reason=_TEXT, **_INTERVAL)),
    critical_path=_list(_object(run={"type": ["integer", "null"]}, **_INTERVAL)),
    runs=_list(_RUN),
    entities=_list(
        _object(**_KEY, first=_TIME, last=_TIME, hops=_COUNT, because={"oneOf": [{"type": "null"}, _EDGE]},
                shared_with=_TEXTS)
    ),
    traces=_list(
        _object(trace_id=_TEXT, name=_TEXT, service=_TEXT, **_INTERVAL, spans=_COUNT, errors=_COUNT, because=_TEXT,
                shared_with=_TEXTS)
    ),
    notes=_list(_object(code=_TEXT, text=_TEXT, subject=_TEXT)),
)  # fmt: skip
"""JSON schema of `journey_document`."""
PAGE_SCHEMA = _object(
    now_ms=_NUMBER,
    total=_COUNT,
    stages=_TEXTS,
    by_stage=_COUNTS,
    by_state=_COUNTS,
    projects=_TEXTS,
    requirements=_list(
        _object(
            **_HEAD,
            stages=_list(_object(stage=_TEXT, outcome=_TEXT, active_seconds=_NUMBER, waiting_seconds=_NUMBER)),
            errors=_COUNT,
        ),
    ),
)
"""JSON schema of `page_document`."""
