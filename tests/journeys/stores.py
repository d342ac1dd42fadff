"""What tests of journey stores write: extracts of described spans."""

from collections.abc import Mapping
from typing import Any

from otel_pipeline import semconv
from otel_pipeline.journeys.extract import compile_plan, extract
from otel_pipeline.journeys.model import Key, State
from otel_pipeline.journeys.store import Extract, RequirementSummary, StageDot
from otel_pipeline.pdata import Batch
from otel_pipeline.testing import make_span, make_traces

PLAN = compile_plan(semconv.load())
START_NS = 1_767_225_600_000_000_000
SECOND = 10**9


def extracted(*batches: Batch) -> Extract:
    return extract(PLAN, batches)[0]


def trace_id(number: int) -> str:
    return f"{number:032x}"


def at(seconds: float) -> int:
    return START_NS + round(seconds * SECOND)


def work(
    trace: int, *, requirement: str = "", commit: str = "", resource: Mapping[str, Any] | None = None, **span: Any
) -> Batch:
    """One span of a trace that names a requirement, a commit, or both."""
    names = {"sdlc.requirement.id": requirement, "vcs.ref.head.revision": commit}
    keys = {key.replace(".", "__"): value for key, value in names.items() if value}
    around = {"service.name": "agent", "sdlc.project.id": "shop", **(resource or {})}
    return make_traces(make_span(trace=trace, **(keys | span)), resource=around)


def req(value: str, project: str = "shop") -> Key:
    return Key("requirement", project, value)


def commit(value: str) -> Key:
    return Key("commit", "", value)


def summary(requirement: str = "REQ-1", **more: Any) -> RequirementSummary:
    told = {
        "project": "shop",
        "requirement": requirement,
        "title": "Pay by card",
        "requirement_class": "feature",
        "state": State.RUNNING,
        "stage": "coding",
        "stages": (StageDot("prd_design", "success"), StageDot("coding", "failure")),
        "start_ns": at(0),
        "end_ns": at(100),
        "lead_ns": 100 * SECOND,
        "active_ns": 50 * SECOND,
        "reruns": 1,
        "errors": 2,
        "cost_usd": 0.5,
        "tokens": 1000,
        "made_ns": at(100),
        "due_ns": 0,
    }
    return RequirementSummary(**{**told, **more})
