"""A journey as one OTLP trace: a span for each run, a root over all of them once the requirement has ended, and links
to the real traces. Ids follow from project and requirement, so that the same journey is the same trace everywhere."""

from collections.abc import Iterable
from hashlib import sha256

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status, TracesData

from otel_pipeline import __version__
from otel_pipeline._native import journey_ids
from otel_pipeline.journeys.model import Journey, Run, State, Usage
from otel_pipeline.pdata import key_values

__all__ = ["JOURNEY_SERVICE", "journey_trace", "journey_trace_id"]

JOURNEY_SERVICE = "otel-pipeline-journeys"
"""`service.name` of journey traces."""
_SCOPE = "otel_pipeline.journeys"
Value = str | int | float | bool


def journey_trace_id(project: str, requirement: str) -> str:
    """32 hex digits, of `_native.journey_ids`: the processor `journey_links` links to them."""
    return journey_ids(project, requirement)[0].hex()


def journey_trace(journey: Journey) -> bytes:
    """OTLP TracesData. The root comes with the end only: backends take no span that is under way."""
    trace_id, root_id = journey_ids(journey.project, journey.requirement)
    spans = [_run(trace_id, root_id, run, share, journey)
             for run, share in zip(journey.runs, journey.shares, strict=True)]  # fmt: skip
    if journey.state in (State.ACCEPTED, State.CANCELLED):
        spans.insert(0, _root(trace_id, root_id, journey))
    scope = ScopeSpans(spans=spans)
    scope.scope.name, scope.scope.version = _SCOPE, __version__
    resource = ResourceSpans(scope_spans=[scope])
    names = {"service.name": JOURNEY_SERVICE, "sdlc.project.id": journey.project}
    resource.resource.attributes.extend(_pairs(names))
    return TracesData(resource_spans=[resource]).SerializeToString()


def _root(trace_id: bytes, root_id: bytes, journey: Journey) -> Span:
    facts: dict[str, Value] = {
        "sdlc.requirement.id": journey.requirement,
        "sdlc.requirement.title": journey.title,
        "sdlc.requirement.class": journey.requirement_class,
        "sdlc.outcome": "success" if journey.state is State.ACCEPTED else "cancelled",
        "sdlc.requirement.active_time_ratio": round(journey.flow_efficiency, 6),
        **_usage(journey.usage, 1.0),
    }
    name = f"{journey.requirement} {journey.title}".strip()
    return Span(
        trace_id=trace_id,
        span_id=root_id,
        name=name,
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=journey.start_ns,
        end_time_unix_nano=max(journey.start_ns, journey.end_ns),
        attributes=_pairs(facts),
    )


def _run(trace_id: bytes, root_id: bytes, run: Run, share: float, journey: Journey) -> Span:
    facts: dict[str, Value] = {
        "sdlc.requirement.id": journey.requirement,
        "sdlc.stage.name": run.stage,
        "gen_ai.agent.name": run.agent,
        "sdlc.outcome": run.outcome,
        "error.type": run.errors[0].type if run.errors else "",
        "sdlc.journey.share": share if share < 1 else "",
        **_usage(run.usage, share),
    }
    failed = run.outcome == "failure"
    message = run.errors[0].message if failed and run.errors else ""
    return Span(
        trace_id=trace_id,
        span_id=_span_id(trace_id, run.trace_id + run.span_id),
        parent_span_id=root_id,
        name=run.stage or run.name,
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=run.start_ns,
        end_time_unix_nano=max(run.start_ns, run.end_ns),
        attributes=_pairs(facts),
        links=[Span.Link(trace_id=bytes.fromhex(run.trace_id), span_id=bytes.fromhex(run.span_id))],
        status=Status(code=Status.STATUS_CODE_ERROR, message=message) if failed else None,
    )


def _usage(usages: Iterable[Usage], share: float) -> dict[str, Value]:
    known = list(usages)
    cost = sum(one.cost_usd or 0.0 for one in known) * share
    tokens = sum(sum(one.tokens.values()) for one in known)
    found: dict[str, Value] = {}
    if tokens:
        found["sdlc.llm.tokens"] = round(tokens * share)
    if cost:
        found["sdlc.llm.cost_usd"] = round(cost, 9)
    return found


def _span_id(trace_id: bytes, name: str) -> bytes:
    return sha256(trace_id + name.encode()).digest()[:8]


def _pairs(values: dict[str, Value] | dict[str, str]) -> list[KeyValue]:
    """Without those that are not known."""
    return key_values({key: value for key, value in values.items() if value != ""})
