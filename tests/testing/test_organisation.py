"""The simulated organisation: its telemetry is what real senders send, and its truth agrees with it."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_pipeline.pdata import from_trusted, to_proto
from otel_pipeline.semconv import compile_plan, load
from otel_pipeline.testing.organisation import STAGES, Organisation, organisation
from otel_pipeline.testing.outbox import Delivery
from otel_pipeline.testing.truth import SpanTruth, order_visits, union

REGISTRY = load()
TELLING = {
    "conductor": "it gives the work",
    "ui-agent": "it is told what to accept",
    "tracker": "it keeps the requirements",
    "claude-code": "OTEL_RESOURCE_ATTRIBUTES",
}
"""Who may name a requirement, and why."""


@cache
def simulated() -> tuple[Organisation, tuple[Delivery, ...]]:
    """One for all tests that only look."""
    org = organisation(seed=11, days=30, requirements_per_week=9, work=0.1, late=0.2)
    return org, tuple(org.deliveries())


def plain(message: Any) -> dict[str, Any]:
    """Attributes as a dict."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value") for one in message.attributes}


def items(request: Any) -> Iterator[tuple[dict[str, Any], Any]]:
    """Items of a request of any signal with the attributes of their resource."""
    for of_resource in getattr(request, "resource_spans", ()) or getattr(request, "resource_logs", ()):
        for of_scope in getattr(of_resource, "scope_spans", None) or of_resource.scope_logs:
            for one in getattr(of_scope, "spans", None) or of_scope.log_records:
                yield plain(of_resource.resource), one


@cache
def enriched() -> dict[tuple[str, str], dict[str, Any]]:
    """Attributes of every span, its resource's included, as the shipped rules leave them."""
    plan = compile_plan(REGISTRY)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for delivery in simulated()[1]:
        if delivery.signal == "traces":
            batch = plan.enrich(from_trusted("traces", delivery.body))
            for resource, span in items(to_proto(batch)):
                found[span.trace_id.hex(), span.span_id.hex()] = resource | plain(span)
    return found


def inherited(span: SpanTruth, key: str) -> str:
    """The value of the span itself, or else of the nearest span above that has one."""
    truth = simulated()[0].truth
    value = enriched()[span.trace_id, span.span_id].get(key)
    above = truth.spans.get((span.trace_id, span.parent_id))
    return value or (inherited(above, key) if above else "")


def above(span: SpanTruth) -> Iterator[tuple[str, str]]:
    """The spans around it."""
    spans = simulated()[0].truth.spans
    while (parent := spans.get((span.trace_id, span.parent_id))) is not None:
        yield parent.trace_id, parent.span_id
        span = parent


def test_the_same_arguments_give_the_same_bytes() -> None:
    """And another seed gives others."""

    def bodies(seed: int) -> list[Delivery]:
        return list(organisation(seed=seed, days=5, requirements_per_week=5, work=0.1).deliveries())

    first = bodies(3)
    assert first == bodies(3)
    assert first != bodies(4)


def test_every_span_is_delivered_and_has_a_truth() -> None:
    """Ids, times and parents that are sent are those of the truth, duplicates are the same span again."""
    org, deliveries = simulated()
    sent = Counter[tuple[str, str]]()
    for delivery in deliveries:
        if delivery.signal == "traces":
            for _, span in items(ExportTraceServiceRequest.FromString(delivery.body)):
                ids = span.trace_id.hex(), span.span_id.hex()
                known = org.truth.spans[ids]
                sent[ids] += 1
                told = (span.parent_span_id.hex(), span.name, span.start_time_unix_nano, span.end_time_unix_nano)
                assert told == (known.parent_id, known.name, known.start_ns, known.end_ns)
    assert sent.keys() == org.truth.spans.keys()
    assert max(sent.values()) > 1, "nothing came twice"


def test_deliveries_are_in_order_of_arrival_and_some_are_days_late() -> None:
    """A batch never arrives before its spans ended, save for a clock that is wrong."""
    _, deliveries = simulated()
    assert [one.time_ns for one in deliveries] == sorted(one.time_ns for one in deliveries)
    delays = []
    for delivery in deliveries:
        if delivery.signal == "traces":
            request = ExportTraceServiceRequest.FromString(delivery.body)
            delays += [delivery.time_ns - span.end_time_unix_nano for _, span in items(request)]
    assert min(delays) > -60e9
    assert max(delays) > 24 * 3600e9, "nothing was late"


def test_stages_come_out_as_they_were() -> None:
    """The shipped rules give every span of every sender its true stage, or none where it has none."""
    wrong = Counter[tuple[str, str, str]]()
    for span in simulated()[0].truth.spans.values():
        stage = inherited(span, "sdlc.stage.name")
        if stage != span.work.stage:
            wrong[span.name, stage, span.work.stage] += 1
    assert not wrong
    assert {span.work.stage for span in simulated()[0].truth.spans.values()} == {*STAGES, ""}


def test_failures_begin_where_the_truth_says() -> None:
    """A span that failed without a failed one inside is an error of the truth, of the same type, and there are no others."""
    truth = simulated()[0].truth
    failed = {ids for ids, found in enriched().items() if found.get("sdlc.outcome") == "failure"}
    around = {ids for span in failed for ids in above(truth.spans[span])}
    begun = {ids: enriched()[ids]["error.type"] for ids in failed - around}
    noise = {ids for ids in begun if truth.spans[ids].name == "openclaw.memory.pressure"}
    assert {ids: begun[ids] for ids in begun.keys() - noise} == {
        ids: span.error_type for ids, span in truth.spans.items() if span.error_type
    }


def test_no_sender_names_a_requirement_that_it_cannot_know() -> None:
    """Only who is given the requirement names it, and then the right one; nobody names it under another name."""
    org, deliveries = simulated()
    ids = {name for _, name in org.truth.requirements}
    for delivery in deliveries:
        kind = ExportTraceServiceRequest if delivery.signal == "traces" else ExportLogsServiceRequest
        for resource, one in items(kind.FromString(delivery.body)):
            values = resource | plain(one)
            for key, value in values.items():
                if isinstance(value, str) and value in ids:
                    assert key in ("sdlc.requirement.id", "requirement"), key
                    assert resource["service.name"] in TELLING, resource


def test_enrichment_names_the_right_requirement_or_none() -> None:
    """What rules read from branches and titles is true, and most spans know no requirement."""
    spans = simulated()[0].truth.spans
    named = {ids: found["sdlc.requirement.id"] for ids, found in enriched().items() if "sdlc.requirement.id" in found}
    for ids, requirement in named.items():
        assert requirement in {name for _, name in spans[ids].work.owners}, spans[ids]
    assert len(named) < len(spans) * 0.6


def test_numbers_of_requirements_follow_from_their_spans() -> None:
    """Times, active time and errors are those of the spans; nothing is active for longer than it took."""
    org, _ = simulated()
    spans: dict[tuple[str, str], list[SpanTruth]] = defaultdict(list)
    for span in org.truth.spans.values():
        for ref in span.work.owners:
            spans[ref].append(span)
    assert spans.keys() == org.truth.requirements.keys()
    for ref, one in org.truth.requirements.items():
        own = spans[ref]
        assert (one.start_ns, one.end_ns) == (min(s.start_ns for s in own), max(s.end_ns for s in own))
        work = [s for s in own if s.start_ns < (one.ended_ns or one.end_ns) and s.name != "intervention approval"]
        assert one.active_ns == union((s.start_ns, s.end_ns) for s in work) <= one.lead_ns
        assert sum(one.errors.values()) == sum(bool(s.error_type) for s in own)
        assert one.spans == len(own)
        runs = [s for s in own if s.name.startswith("deploy ")]
        assert one.deployments == len(runs)


def test_tokens_and_cost_are_those_of_the_requests() -> None:
    """Tokens are those on spans of requests, and cost what the shipped catalogue's prices make of them."""
    org, _ = simulated()
    sent: dict[Any, Counter[tuple[str, str]]] = defaultdict(Counter)
    kinds = ("input", "output", "cache_read", "cache_creation")
    for ids, found in enriched().items():
        span = org.truth.spans[ids]
        counts = {kind: found.get(f"{kind}_tokens", found.get(f"gen_ai.usage.{kind}_tokens", 0)) for kind in kinds}
        name = "codex.turn.token_usage."
        if f"{name}input_tokens" in found:
            counts = {"cache_read": found[f"{name}cached_input_tokens"]}
            counts["reasoning"] = found[f"{name}reasoning_output_tokens"]
            counts["input"] = found[f"{name}input_tokens"] - counts["cache_read"]
            counts["output"] = found[f"{name}output_tokens"] - counts["reasoning"]
        for ref in span.work.owners:
            sent[ref].update({(found["sdlc.model.name"], kind): n for kind, n in counts.items() if n})
    for ref, one in org.truth.requirements.items():
        told = {(model, kind): n for model, of in one.tokens.items() for kind, n in of.items() if n}
        assert told == dict(sent[ref])


@pytest.mark.parametrize(
    ("stays", "rework"),
    [
        (["coding", "unit_test", "coding", "unit_test"], [False, False, True, False]),
        (["coding", "coding", "ci_cd", "unit_test"], [False, False, False]),
        (["deployment", "integration_test", "deployment", "integration_test"], [False, False, False, True]),
    ],
)
def test_rework_is_coming_back_from_a_later_stage(stays: list[str], rework: list[bool]) -> None:
    """A stage that is entered for the first time, or from an earlier one, is none; runs of one stage are one visit."""
    order = {stage: place for place, stage in enumerate(STAGES)}
    visits = order_visits([(stage, at, at + 1) for at, stage in enumerate(stays)], order)
    assert [visit.is_rework for visit in visits] == rework


def test_what_makes_journeys_hard_is_there() -> None:
    """Shared builds, sessions of several requirements, equal branches, rework, rollbacks, cancelled ones, noise."""
    org = organisation(seed=7, days=30, requirements_per_week=20, work=0.05)
    truth = org.truth
    assert {one.state for one in truth.requirements.values()} >= {"accepted", "cancelled"}
    assert any(len(span.work.owners) > 1 for span in truth.spans.values())
    assert any(span.name.startswith("roll back") for span in truth.spans.values())
    assert any(one.rework > 1 for one in truth.requirements.values())
    assert sum(1 for _ in truth.noise()) > 1000
    assert any(one.ended_ns and one.end_ns > one.ended_ns + 24 * 3600 * 10**9 for one in truth.requirements.values())
    served: dict[Any, set[Any]] = defaultdict(set)
    branches: dict[Any, set[Any]] = defaultdict(set)
    for delivery in org.deliveries():
        kind = ExportTraceServiceRequest if delivery.signal == "traces" else ExportLogsServiceRequest
        for resource, one in items(kind.FromString(delivery.body)):
            if delivery.signal == "traces":
                values, owners = resource | plain(one), truth.spans[one.trace_id.hex(), one.span_id.hex()].work.owners
                served[values.get("session.id")].update(owners)
                if "vcs.ref.head.name" in values:
                    branches[values["vcs.ref.head.name"]].update(owners)
    served.pop(None)
    assert max(len(refs) for refs in served.values()) > 2
    assert max(len(refs) for name, refs in branches.items() if name.startswith("fix/login")) > 1
    assert order_matches_the_catalogue()


def order_matches_the_catalogue() -> bool:
    """Whether the simulated stages are the shipped ones, in their order."""
    members = REGISTRY.attributes["sdlc.stage.name"].members
    return tuple(member.value for member in members) == STAGES
