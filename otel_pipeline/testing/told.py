"""Journeys as a gateway's API told them, read back for `grade`."""

from collections.abc import Mapping
from typing import Any

from otel_pipeline.journeys.model import Journey, Run, RunError, State, Usage, Visit

__all__ = ["told_journey"]

Document = Mapping[str, Any]


def told_journey(document: Document) -> Journey:
    """The journey of a `journeys.document.journey_document`, times to the millisecond; without what nobody grades:
    gaps, the critical path, entities, traces and keys."""
    return Journey(
        project=document["project"],
        requirement=document["requirement"],
        title=document["title"],
        requirement_class=document["class"],
        state=State(document["state"]),
        stage=document["stage"],
        start_ns=_ns(document["start_ms"]),
        end_ns=_ns(document["end_ms"]),
        lead_ns=round(document["lead_seconds"] * 1e9),
        active_ns=round(document["active_seconds"] * 1e9),
        runs=tuple(map(_run, document["runs"])),
        shares=tuple(one["share"] for one in document["runs"]),
        visits=tuple(map(_visit, document["visits"])),
        gaps=(),
        critical_path=(),
        stages=(),
        entities=(),
        traces=(),
        usage=_usage(document),
        errors=document["errors"],
        interventions=document["interventions"],
        notes=(),
    )


def _run(run: Document) -> Run:
    return Run(
        trace_id=run["trace_id"],
        span_id=run["span_id"],
        parent=run["parent"],
        name=run["name"],
        service=run["service"],
        stage=run["stage"],
        agent=run["agent"],
        outcome=run["outcome"],
        is_stage=run["is_stage"],
        start_ns=_ns(run["start_ms"]),
        end_ns=_ns(run["end_ms"]),
        spans=run["spans"],
        keys=(),
        errors=tuple(RunError(one["type"], one["message"], one["span_id"], one["count"]) for one in run["errors"]),
        usage=_usage(run),
        interventions=run["interventions"],
        facts=run["facts"],
    )


def _visit(visit: Document) -> Visit:
    return Visit(
        stage=visit["stage"],
        start_ns=_ns(visit["start_ms"]),
        end_ns=_ns(visit["end_ms"]),
        runs=tuple(visit["runs"]),
        outcome=visit["outcome"],
        is_rework=visit["is_rework"],
        is_running=visit["is_running"],
    )


def _usage(document: Document) -> tuple[Usage, ...]:
    return tuple(Usage(one["model"], one["tokens"], one["cost_usd"]) for one in document["usage"])


def _ns(unix_ms: float) -> int:
    return round(unix_ms * 1_000_000)
