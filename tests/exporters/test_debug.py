"""The debug exporter: what it shows, what it never shows, and what telemetry cannot do to the log."""

import logging
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)

from otel_pipeline.exporters.debug import Debug, DebugOptions, describe
from otel_pipeline.pdata import Batch, Signal, from_proto
from otel_pipeline.testing import FakeTime, attributes, make_settings, make_span, make_traces

CANARY = "canary-4711"


def logs(record: LogRecord) -> Batch:
    return from_proto(
        ExportLogsServiceRequest(resource_logs=[ResourceLogs(scope_logs=[ScopeLogs(log_records=[record])])])
    )


def metrics(*made: Metric) -> Batch:
    scope = ScopeMetrics(metrics=made)
    return from_proto(ExportMetricsServiceRequest(resource_metrics=[ResourceMetrics(scope_metrics=[scope])]))


def shown(batch: Batch) -> str:
    return "\n".join(describe(batch, detailed=True))


async def test_basic_is_one_line_with_numbers(caplog: pytest.LogCaptureFixture) -> None:
    """By default only counts and sizes are shown, and each item counts as sent."""
    caplog.set_level(logging.INFO)
    own = make_settings("debug")
    batch = make_traces(make_span(CANARY), make_span(CANARY))
    await Debug(DebugOptions(), own).consume(batch)
    assert [record.getMessage() for record in caplog.records] == [f"traces: spans=2 size_bytes={batch.size_bytes}"]
    assert own.counts[Signal.TRACES].sent == 2


async def test_normal_is_one_line_an_item_without_attributes(caplog: pytest.LogCaptureFixture) -> None:
    """`normal` shows names and ids, no attribute."""
    caplog.set_level(logging.INFO)
    batch = make_traces(make_span("plan", span=2, parent=1, seconds=1.5, error=CANARY, note=CANARY))
    await Debug(DebugOptions(verbosity="normal"), make_settings("debug")).consume(batch)
    assert [record.getMessage() for record in caplog.records][1:] == [
        "resource",
        "  scope test",
        f"    span plan trace_id={1:032x} span_id={2:016x} parent_span_id={1:016x}"
        " kind=INTERNAL seconds=1.500000 status=ERROR",
    ]
    assert CANARY not in caplog.text


def test_detailed_shows_attributes_events_and_links() -> None:
    """Every level is there, nested values by their size."""
    span = make_span("plan", a=1, b=2.5, c=True, d="text", e=[1, 2], f={"x": CANARY}, g=b"abc", h=None, error="broke")
    span.events.add(name="exception", attributes=attributes({"exception.type": "ValueError"}))
    span.links.add(trace_id=b"\x01" * 16, span_id=b"\x02" * 8, attributes=attributes({"why": "retry"}))
    lines = shown(make_traces(span, resource={"service.name": "agent"}, scope_attributes={"s": 1}))
    for expected in (
        "  service.name=agent",
        "    s=1",
        "a=1\n",
        "b=2.5",
        "c=True",
        "d=text",
        "e=(2 values)",
        "f=(1 keys)",
        "g=(3 bytes)",
        "h=(empty)",
        "status_message=broke",
        "event exception\n        exception.type=ValueError",
        f"link trace_id={'01' * 16} span_id={'02' * 8}\n        why=retry",
    ):
        assert expected in lines
    assert CANARY not in lines


def test_metrics_and_logs_are_shown() -> None:
    """Metrics with their points, log records without their body."""
    gauge = Metric(name="load", unit="1", gauge=Gauge(data_points=[NumberDataPoint(as_double=0.5)]))
    point = HistogramDataPoint(count=3, sum=4.5, attributes=attributes({"stage": "coding"}))
    lines = shown(metrics(gauge, Metric(name="empty"), Metric(name="d", histogram=Histogram(data_points=[point]))))
    assert "metric load type=gauge unit=1 data_points=1\n      data_point value=0.5" in lines
    assert "metric empty type=empty" in lines
    assert "data_point count=3 sum=4.5\n        stage=coding" in lines
    record = LogRecord(severity_text="INFO", event_name="user_asked", body=AnyValue(string_value=CANARY))
    line = shown(logs(record))
    assert "log_record user_asked severity=INFO" in line
    assert CANARY not in line


@pytest.mark.parametrize(
    "key",
    [
        "authorization",
        "http.request.header.Authorization",
        "set-cookie",
        "db.password",
        "PASSWD",
        "client_secret",
        "api_key",
        "apiKey",
        "x-api-key",
        "aws.access_key",
        "token",
        "session.token",
        "accessToken",
        "prompt",
        "user_prompt",
        "gen_ai.prompt",
        "gen_ai.completion",
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.system_instructions",
        "gen_ai.tool.call.arguments",
        "gen_ai.tool.call.result",
        "input.value",
        "output.value",
        "tool_parameters",
        "bash_command",
        "url.query",
        "db.query.text",
        "user.email",
        "message.content",
    ],
)
def test_values_that_may_be_secret_or_content_are_hidden(key: str) -> None:
    """The key is shown, the value is not, on spans, events, resources and data points alike."""
    span = make_span("s")
    span.attributes.extend(attributes({key: CANARY}))
    span.events.add(name="e", attributes=attributes({key: CANARY}))
    point = NumberDataPoint(as_int=1, attributes=attributes({key: CANARY}))
    lines = shown(make_traces(span, resource={key: CANARY}, scope_attributes={key: CANARY}))
    lines += shown(metrics(Metric(name="m", gauge=Gauge(data_points=[point]))))
    assert CANARY not in lines
    assert lines.count(f"{key}=(hidden)") == 5


@pytest.mark.parametrize(
    "key",
    [
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
        "gen_ai.request.model",
        "http.request.method",
        "http.response.header.content-type",
        "sdlc.stage.name",
        "error.type",
        "session.id",
    ],
)
def test_ordinary_values_are_shown(key: str) -> None:
    """Hiding does not swallow what people look for."""
    span = make_span("s")
    span.attributes.extend(attributes({key: "seen"}))
    assert f"{key}=seen" in shown(make_traces(span))


@pytest.mark.parametrize(
    "value",
    [
        "Bearer abcdefghijkl",
        "use sk-abcdefghijklmnop1234 please",
        "ghp_abcdefghijklmnopqrstuvwx",
        "AKIAABCDEFGHIJKLMNOP",
        "eyJhbGciOiJI.eyJzdWIiOiIx.c2ln",
        "-----BEGIN PRIVATE KEY-----",
        "postgres://user:pa55@db/x",
    ],
)
def test_values_that_look_like_secrets_are_hidden_wherever_they_stand(value: str) -> None:
    """Well-known shapes of keys and tokens are hidden in names, messages and attributes."""
    lines = shown(make_traces(make_span(value, note=value, error=value), scope=value))
    assert value not in lines
    assert lines.count("(hidden)") == 4


def test_telemetry_cannot_forge_lines_or_reach_the_terminal() -> None:
    """Control characters in any field are escaped; long texts are cut."""
    evil = "a\nWARNING forged\r\x1b[2J\u2028\x9b"
    span = make_span(evil, note="x" * 10_000, error=evil)
    span.attributes.extend(attributes({evil: evil}))
    batch = make_traces(span, scope=evil, resource={evil: evil})
    for line in describe(batch, detailed=True):
        assert line.isprintable()
        assert len(line) < 400


@pytest.mark.timeout(60)
def test_hostile_texts_cost_no_time() -> None:
    """Texts made to slow down pattern search are bounded before they are searched."""
    evil = "eyJ-" * 16_000
    assert shown(make_traces(*[make_span(evil, note=evil) for _ in range(50)]))


@pytest.mark.parametrize(
    ("initial", "thereafter", "expected"), [(2, 1, 10), (2, 3, 4), (2, 0, 2), (0, 5, 2), (100, 0, 10)]
)
async def test_sampling_is_per_second_and_signal(
    initial: int, thereafter: int, expected: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The first of each second are shown, then every n-th; all of them count as sent."""
    caplog.set_level(logging.INFO)
    time = FakeTime()
    own = make_settings("debug", time=time)
    exporter = Debug(DebugOptions(sampling_initial=initial, sampling_thereafter=thereafter), own)
    for second in range(2):
        for _ in range(10):
            await exporter.consume(make_traces(make_span()))
        assert len(caplog.records) == expected * (second + 1)
        time.advance(1)
    assert own.counts[Signal.TRACES].sent == 20


def test_options_are_checked() -> None:
    """An unknown verbosity is refused."""
    wrong: Any = {"verbosity": "loud"}
    with pytest.raises(ValueError, match="basic"):
        DebugOptions.model_validate(wrong)
