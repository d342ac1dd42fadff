"""What enrichment does, by golden folders and by telemetry recorded from real agents."""

import base64
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_pipeline.pdata import Batch, enrich, from_trusted, to_proto
from otel_pipeline.semconv import compile_plan, load
from otel_pipeline.testing import make_gauge, make_metrics, make_span, make_traces

TESTS = Path(__file__).parents[1]
GOLDEN = TESTS / "golden" / "enrich"
RECORDED = TESTS / "fixtures" / "recorded" / "claude-code-2.1.330_default"
PLAN = compile_plan(load())


def convert_ids(value: Any, convert: Any) -> Any:
    """`value` with trace and span ids converted: OTLP/JSON has them in hex, protobuf's own JSON in base64."""
    if isinstance(value, list):
        return [convert_ids(one, convert) for one in value]
    if not isinstance(value, dict):
        return value
    ids = ("traceId", "spanId", "parentSpanId")
    return {key: convert(one) if key in ids else convert_ids(one, convert) for key, one in value.items()}


def read(path: Path) -> Batch:
    document = convert_ids(json.loads(path.read_text()), lambda text: base64.b64encode(bytes.fromhex(text)).decode())
    return from_trusted("traces", ParseDict(document, ExportTraceServiceRequest()).SerializeToString())


def written(batch: Batch) -> Any:
    return convert_ids(MessageToDict(to_proto(batch)), lambda text: base64.b64decode(text).hex())


@pytest.mark.parametrize("case", sorted(path.name for path in GOLDEN.iterdir()))
def test_golden(case: str) -> None:
    """Each folder's README says what it guarantees; `observed.json` is what came out instead."""
    folder = GOLDEN / case
    own = folder / "semconv"
    plan = compile_plan(load([own])) if own.exists() else PLAN
    enriched, findings = enrich(read(folder / "input.json"), plan)
    unresolved = sorted(findings.unresolved) if findings else []
    observed = {"enriched": written(enriched), "unresolved": [list(one) for one in unresolved]}
    expected = folder / "expected.json"
    if not expected.exists() or json.loads(expected.read_text()) != observed:
        (folder / "observed.json").write_text(json.dumps(observed, indent=1, ensure_ascii=False) + "\n")
        pytest.fail(f"{case}: expected.json and observed.json differ")


def recorded(signal: str) -> Batch:
    return from_trusted(signal, Path(f"{RECORDED}.{signal}.otlp.pb").read_bytes())


def values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes if one.HasField("value")}


def claude_code_spans() -> list[tuple[Span, dict[str, Any]]]:
    """Every recorded span with its values: its own, else those of its scope, else of its resource."""
    enriched, _ = enrich(recorded("traces"), PLAN)
    return [
        (span, values(resource.resource.attributes) | values(scope.scope.attributes) | values(span.attributes))
        for resource in to_proto(enriched).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def test_recorded_claude_code_spans_are_known() -> None:
    """Every span has project, stage, agent and operation, model requests a model; only interactions may be stages."""
    spans = claude_code_spans()
    assert len(spans) == 29
    for span, known in spans:
        assert (known["sdlc.project.id"], known["sdlc.stage.name"]) == ("demo", "coding")
        assert known["sdlc.agent.name"] == "claude_code"
        assert known["sdlc.operation.name"] in {"invoke_agent", "chat", "tool.call", "execute_tool", "tool.wait"}
        assert (known.get("sdlc.model.name") == "claude-sonnet-4-5") == (span.name == "claude_code.llm_request")
        assert known.get("sdlc.stage.run") == (None if span.name == "claude_code.interaction" else False)


def test_recorded_claude_code_failure_is_one() -> None:
    """The one failing Bash call is one failure, with the class of error that Claude Code names."""
    failed = [
        (span.name, known) for span, known in claude_code_spans() if "sdlc.outcome" in known or "error.type" in known
    ]
    assert [(name, known["sdlc.outcome"], known["error.type"]) for name, known in failed] == [
        ("claude_code.tool.execution", "failure", "ShellError")
    ]


def test_what_the_resource_tells_stands_there_once() -> None:
    """Claude Code repeats project and stage on every span; the canonical attributes go on the resource only."""
    enriched, _ = enrich(recorded("traces"), PLAN)
    (resource_spans,) = to_proto(enriched).resource_spans
    assert values(resource_spans.resource.attributes)["sdlc.project.id"] == "demo"
    for span in resource_spans.scope_spans[0].spans:
        assert not {"sdlc.project.id", "sdlc.stage.name", "sdlc.agent.name"} & set(values(span.attributes))


@pytest.mark.parametrize(("signal", "field"), [("metrics", "resource_metrics"), ("logs", "resource_logs")])
def test_recorded_metrics_and_logs(signal: str, field: str) -> None:
    """Metrics and logs get project and stage on the resource, the agent on the scope, and keep all their items."""
    batch = recorded(signal)
    enriched, findings = enrich(batch, PLAN)
    (resource,) = getattr(to_proto(enriched), field)
    assert values(resource.resource.attributes)["sdlc.project.id"] == "demo"
    assert values(resource.resource.attributes)["sdlc.stage.name"] == "coding"
    (scope,) = getattr(resource, field.replace("resource", "scope"))
    assert values(scope.scope.attributes)["sdlc.agent.name"] == "claude_code"
    assert enriched.items == batch.items
    assert findings is not None
    assert findings.unresolved == [("claude-code", "sdlc.requirement.id", batch.items)]


def test_untouched_batch_comes_back_itself() -> None:
    """Nothing to write: the very same batch, not a copy."""
    span = make_span("x", sdlc__operation__name="x")
    batch = make_traces(span, resource={"service.name": "s", "sdlc.project.id": "p"})
    assert enrich(batch, PLAN)[0] is batch


def test_unknown_fields_survive() -> None:
    """Fields that no protocol version knows yet are still there after an edit."""
    request = to_proto(make_traces(make_span("x"), resource={"project": "p"}))
    unknown = b"\xfa\x01\x03new"
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.MergeFromString(unknown)
    enriched, _ = enrich(from_trusted("traces", request.SerializeToString()), PLAN)
    assert enriched.data.count(unknown) == 1


def test_data_points_and_log_records_get_what_they_tell() -> None:
    """Each its own; what is around them, and what no protocol version knows yet, keeps its bytes."""
    request = to_proto(make_metrics(*(make_gauge(name, 1.0, time_ns=1) for name in "ab")))
    request.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points.add(as_int=2)
    unknown = b"\xfa\x01\x03new"
    (first, second) = request.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points
    second.attributes.extend(make_span(stage="prd", sdlc__agent__name="Claude-Code").attributes)
    second.MergeFromString(unknown)
    before = first.SerializeToString()
    enriched, _ = enrich(from_trusted("metrics", request.SerializeToString()), PLAN)
    assert enriched.data.count(unknown) == 1
    (a, b) = to_proto(enriched).resource_metrics[0].scope_metrics[0].metrics
    assert a.gauge.data_points[0].SerializeToString() == before
    told = {"stage": "prd", "sdlc.stage.name": "prd_design", "sdlc.agent.name": "claude_code"}
    assert values(a.gauge.data_points[1].attributes) == told
    assert b == request.resource_metrics[0].scope_metrics[0].metrics[1]


def test_a_long_chain_and_a_long_circle_end() -> None:
    """Ancestors are followed without recursion and each once, however deep, and round circles too."""
    count = 20_000
    chain = [make_span("s", span=number, parent=number - 1) for number in range(count, 1, -1)]
    chain.append(make_span("root", span=1, project="p"))
    enriched, _ = enrich(make_traces(*chain), PLAN)
    spans = to_proto(enriched).resource_spans[0].scope_spans[0].spans
    assert all(values(span.attributes)["sdlc.project.id"] == "p" for span in spans)
    circle = [make_span("s", span=number + 1, parent=(number + 1) % count + 1) for number in range(count)]
    circle[7].attributes.extend(make_span(project="p").attributes)
    enriched, findings = enrich(make_traces(*circle), PLAN)
    assert findings is not None
    assert ("test", "sdlc.project.id", count - 1) in findings.unresolved


@pytest.mark.parametrize(
    "data", [b"\xff" * 40, b"\x0a\x05\x0a\xff\xff\xff\xff", b"\x0a\x04\x12\x02\x12\xff", b"\x12\x00"]
)
def test_bad_bytes_never_panic(data: bytes) -> None:
    """Bytes that no check has seen are passed over, not fallen over."""
    for signal in ("traces", "metrics", "logs"):
        assert enrich(from_trusted(signal, data), PLAN)[0].items == 0


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["traces", "metrics", "logs"]), st.randoms(use_true_random=False))
def test_damaged_bytes_never_panic(signal: str, random: Random) -> None:
    """Recorded telemetry with bytes changed, lost and doubled is read as far as it goes."""
    data = bytearray(recorded(signal).data)
    for _ in range(random.randint(1, 8)):
        at = random.randrange(len(data))
        data[at : at + random.choice([0, 1, 1, 40])] = random.randbytes(random.choice([0, 1, 1, 3]))
    enrich(from_trusted(signal, bytes(data)), PLAN)
