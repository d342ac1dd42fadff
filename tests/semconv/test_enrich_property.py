"""The native enrichment pass agrees with the plain oracle on any spans, attributes and choice of rules."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_pipeline.pdata import enrich, from_trusted
from otel_pipeline.semconv import compile_plan, load
from otel_pipeline.testing import any_value
from tests.oracle import enrich as oracle

REGISTRY = load([Path(__file__).parents[1] / "fixtures" / "semconv_rules"])
SHIPPED = load()
KEYS = sorted(
    {"service.name", "repo", "result", "code", "tier", "gen_ai.operation.name", "decision", "error_class", "other"}
    | {"exception.type", "http.response.status_code", "span.type"}
    | set(REGISTRY.canonical)
    | {alias for one in REGISTRY.canonical.values() for alias in one.aliases}
)
TEXTS = st.sampled_from(
    [
        "",
        "demo",
        "prd",
        "Code Review",
        "coding",
        "claude-code",
        "builder",
        "build-9",
        "SUCCESS",
        "ABORTED",
        "true",
        "claude-sonnet-4-5-20250929",
        "gpt-5",
        "chat",
        "execute_tool",
        "reject",
        "ShellError",
        "a b",
        "lib.x",
        "jenkins",
        "x" * 81,
        "1234567",
        "3",
        "é",
        "GET /users/{id}",
        "libs",
        "none*",
    ]
) | st.text(max_size=6)
VALUES = TEXTS | st.booleans() | st.integers(-5, 600) | st.sampled_from([2.5, 404.0, b"\x00", None, ["a"], {"a": 1}])
NAMES = st.sampled_from(
    [
        "Stage: prd",
        "Stage: ",
        "claude_code.tool.execution",
        "claude_code.tool.blocked_on_user",
        "claude_code.llm_request",
        "chat gpt-5",
        "work 123",
        "",
        "登录",
    ]
)
SCOPES = st.sampled_from(["com.anthropic.claude_code.tracing", "lib.x", "lib-y", "library", ""])


def key_values(keys: st.SearchStrategy[str]) -> st.SearchStrategy[list[KeyValue]]:
    one = st.builds(lambda key, value: KeyValue(key=key, value=any_value(value)), keys, VALUES)
    return st.lists(one, max_size=6)


ATTRIBUTES = key_values(st.sampled_from(KEYS))
EVENTS = st.builds(
    lambda name, attributes: Span.Event(name=name, attributes=attributes),
    st.sampled_from(["exception", "boom", "note"]),
    key_values(st.sampled_from(["exception.type", "code"])),
)


@st.composite
def spans(draw: st.DrawFn) -> Span:
    span = Span(
        trace_id=bytes([draw(st.integers(1, 2))]) * 16,
        span_id=bytes([draw(st.integers(1, 6))]) * 8,
        parent_span_id=draw(st.sampled_from([b"", bytes(8), *(bytes([number]) * 8 for number in range(1, 7))])),
        name=draw(NAMES),
        kind=draw(st.integers(0, 5)),  # type: ignore[arg-type]
        attributes=draw(ATTRIBUTES),
        events=draw(st.lists(EVENTS, max_size=2)),
    )
    span.status.code = draw(st.integers(0, 2))  # type: ignore[assignment]
    return span


@st.composite
def requests(draw: st.DrawFn) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    for _ in range(draw(st.integers(0, 2))):
        resource_spans = request.resource_spans.add()
        resource_spans.resource.attributes.extend(draw(ATTRIBUTES))
        for _ in range(draw(st.integers(0, 2))):
            scope_spans = resource_spans.scope_spans.add()
            scope_spans.scope.name = draw(SCOPES)
            scope_spans.scope.version = draw(st.sampled_from(["", "0.1", "1.0.0"]))
            scope_spans.scope.attributes.extend(draw(ATTRIBUTES))
            scope_spans.spans.extend(draw(st.lists(spans(), max_size=6)))
    return request


def plain(request: ExportTraceServiceRequest) -> list[Any]:
    """Everything of a request; attributes in any order."""

    def bag(attributes: Any) -> list[str]:
        return sorted(f"{one.key}={one.value}" for one in attributes)

    return [
        (bag(resource_spans.resource.attributes), [
            (scope_spans.scope.name, bag(scope_spans.scope.attributes), [
                (span.span_id, span.name, span.kind, span.status.code, len(span.events), bag(span.attributes))
                for span in scope_spans.spans
            ])
            for scope_spans in resource_spans.scope_spans
        ])
        for resource_spans in request.resource_spans
    ]  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(requests(), st.lists(st.sampled_from(REGISTRY.rules), unique_by=lambda rule: rule.id))
def test_native_agrees_with_the_oracle(request: ExportTraceServiceRequest, rules: list[Any]) -> None:
    """Same attributes at the same places, and the same counts of what is unresolved."""
    registry = replace(REGISTRY, rules=tuple(rules))
    batch = from_trusted("traces", request.SerializeToString())
    enriched, findings = enrich(batch, compile_plan(registry))
    expected, unresolved = oracle.enrich(request, registry)
    assert plain(ExportTraceServiceRequest.FromString(enriched.data)) == plain(expected)
    counted = findings.unresolved if findings else []
    assert Counter({(sender, key): items for sender, key, items in counted}) == unresolved


@settings(max_examples=100, deadline=None)
@given(requests())
def test_enriching_twice_changes_nothing_more(request: ExportTraceServiceRequest) -> None:
    """With the shipped files, what a first gateway wrote is what a second one finds: the same batch comes back."""
    plan = compile_plan(SHIPPED)
    once, _ = enrich(from_trusted("traces", request.SerializeToString()), plan)
    twice, _ = enrich(once, plan)
    assert twice is once
