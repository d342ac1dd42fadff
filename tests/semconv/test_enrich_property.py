"""The native enrichment pass agrees with the plain oracle on any spans, attributes and choice of rules."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import HistogramDataPoint, Metric, NumberDataPoint
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_pipeline.pdata import enrich, from_trusted
from otel_pipeline.semconv import compile_plan, load
from otel_pipeline.testing import any_value
from tests.oracle import enrich as oracle

REGISTRY = load([Path(__file__).parents[1] / "fixtures" / "semconv_rules"])
SHIPPED = load()
KEYS = sorted(
    {"service.name", "repo", "result", "code", "tier", "gen_ai.operation.name", "decision", "error_class", "other"}
    | {"exception.type", "http.response.status_code", "span.type", "event.name"}
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
        "tool_result",
        "any.event",
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


RECORDS = st.builds(
    lambda event_name, body, attributes: LogRecord(
        event_name=event_name, body=any_value(body) if body is not None else None, attributes=attributes
    ),
    st.sampled_from(["", "", "tool_result", "any.event"]),
    st.none() | VALUES | st.sampled_from(["tool_result", "x" * 128, "x" * 129]),
    ATTRIBUTES,
)
POINTS = st.builds(lambda attributes: NumberDataPoint(as_int=1, attributes=attributes), ATTRIBUTES)
HISTOGRAM_POINTS = st.builds(lambda attributes: HistogramDataPoint(count=1, attributes=attributes), ATTRIBUTES)


@st.composite
def metrics(draw: st.DrawFn) -> Metric:
    metric = Metric(name=draw(st.sampled_from(["token.usage", "tokens", "cost"])))
    match draw(st.sampled_from(["gauge", "sum", "histogram", "none"])):
        case "gauge":
            metric.gauge.data_points.extend(draw(st.lists(POINTS, max_size=3)))
        case "sum":
            metric.sum.data_points.extend(draw(st.lists(POINTS, max_size=3)))
        case "histogram":
            metric.histogram.data_points.extend(draw(st.lists(HISTOGRAM_POINTS, max_size=3)))
    return metric


REQUESTS: dict[str, tuple[type[Any], str, st.SearchStrategy[Any]]] = {
    "traces": (ExportTraceServiceRequest, "spans", spans()),
    "logs": (ExportLogsServiceRequest, "log_records", RECORDS),
    "metrics": (ExportMetricsServiceRequest, "metrics", metrics()),
}


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, Any]:
    """A signal and a request of it."""
    signal = draw(st.sampled_from(list(REQUESTS)))
    message, items, item = REQUESTS[signal]
    request = message()
    part = items.removesuffix("_records").rstrip("s") + "s"
    for _ in range(draw(st.integers(0, 2))):
        resource_items = getattr(request, f"resource_{part}").add()
        resource_items.resource.attributes.extend(draw(ATTRIBUTES))
        for _ in range(draw(st.integers(0, 2))):
            scope_items = getattr(resource_items, f"scope_{part}").add()
            scope_items.scope.name = draw(SCOPES)
            scope_items.scope.version = draw(st.sampled_from(["", "0.1", "1.0.0"]))
            scope_items.scope.attributes.extend(draw(ATTRIBUTES))
            getattr(scope_items, items).extend(draw(st.lists(item, max_size=6)))
    return signal, request


def plain(message: Any) -> Any:
    """Everything of a message; attributes in any order."""
    if not isinstance(message, Message):
        return message
    return [
        (field.name, sorted(map(str, value)) if field.name == "attributes" else each(value))
        for field, value in message.ListFields()
    ]


def each(value: Any) -> Any:
    """`plain` of a field, which may be repeated."""
    return (
        [plain(one) for one in value]
        if hasattr(value, "__len__") and not isinstance(value, str | bytes)
        else plain(value)
    )


@settings(max_examples=200, deadline=None)
@given(requests(), st.lists(st.sampled_from(REGISTRY.rules), unique_by=lambda rule: rule.id))
def test_native_agrees_with_the_oracle(sent: tuple[str, Any], rules: list[Any]) -> None:
    """Same attributes at the same places, and the same counts of what is unresolved or of unexpected type."""
    signal, request = sent
    registry = replace(REGISTRY, rules=tuple(rules))
    batch = from_trusted(signal, request.SerializeToString())
    enriched, findings = enrich(batch, compile_plan(registry))
    expected, unresolved, unexpected = oracle.enrich(request, registry)
    assert plain(type(request).FromString(enriched.data)) == plain(expected)
    for counted, told in (("unresolved", unresolved), ("unexpected", unexpected)):
        found = getattr(findings, counted) if findings else []
        assert Counter({(sender, key): count for sender, key, count in found}) == told


@settings(max_examples=100, deadline=None)
@given(requests())
def test_enriching_twice_changes_nothing_more(sent: tuple[str, Any]) -> None:
    """With the shipped files, what a first gateway wrote is what a second one finds: the same batch comes back."""
    plan = compile_plan(SHIPPED)
    once, _ = enrich(from_trusted(sent[0], sent[1].SerializeToString()), plan)
    twice, _ = enrich(once, plan)
    assert twice is once


@settings(max_examples=50, deadline=None)
@given(st.lists(requests(), min_size=2, max_size=5))
def test_batches_leave_nothing_to_those_behind_them(sent: list[tuple[str, Any]]) -> None:
    """A plan that has seen other batches gives what a new one gives, and counts what all of them left."""
    used, total = compile_plan(REGISTRY), Counter[Any]()
    for signal, request in sent:
        batch = from_trusted(signal, request.SerializeToString())
        enriched, findings = enrich(batch, compile_plan(REGISTRY))
        assert used.enrich(batch).data == enriched.data
        total.update({(sender, key): count for sender, key, count in findings.unresolved} if findings else {})
    findings = used.take_findings()
    assert total == Counter({(sender, key): count for sender, key, count in findings.unresolved} if findings else {})
    assert used.take_findings() is None
