"""The exporter `sender_health`: who sends what, how it came in, who is missing; bounded whatever comes."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_pipeline.exporters.sender_health import SenderHealth, SenderHealthOptions
from otel_pipeline.helpers.otlp_intake import PROTOCOL
from otel_pipeline.pdata import Batch, SenderTable, Signal, first_service, from_proto, from_trusted
from otel_pipeline.testing import (
    FakeTime,
    attributes,
    make_counter,
    make_gauge,
    make_histogram,
    make_log,
    make_logs,
    make_metrics,
    make_settings,
    make_span,
    make_traces,
)

SDK = {"telemetry.sdk.name": "opentelemetry", "telemetry.sdk.language": "python", "telemetry.sdk.version": "1.38.0"}
SHOP = {"service.name": "shop-api", "sdlc.project.id": "shop", **SDK}
PROJECTS = """
file_format: definition/2
attributes:
  - key: sdlc.project.id
    type:
      members:
        - id: shop
          brief: The web shop.
          annotations: {otel_pipeline: {project: {services: [shop-api, "job-*"]}}}
    brief: Our projects.
    stability: development
    annotations: {otel_pipeline: {extend: true}}
"""


def make(time: FakeTime | None = None, **options: Any) -> SenderHealth:
    config = SenderHealthOptions.model_validate(options)
    return SenderHealth(config, make_settings("sender_health", time=time or FakeTime()))


def read(exporter: SenderHealth) -> dict[str, Any]:
    document = exporter.documents()[0].read()
    assert isinstance(document, dict)
    return document


def gauges(exporter: SenderHealth, name: str) -> dict[tuple[str, ...], float]:
    gauge = exporter.settings.telemetry._shared.gauges[name]
    return {labels: value for callback in gauge.callbacks for labels, value in callback().items()}


async def came(exporter: SenderHealth, batch: Batch, protocol: str = "grpc") -> None:
    PROTOCOL.set(protocol)
    await exporter.consume(batch)


async def test_a_sender_is_told_with_all_that_is_known() -> None:
    """Signals with amounts and times, protocols, SDK, and the signals that it leaves out."""
    time = FakeTime()
    exporter = make(time)
    await came(exporter, make_traces(make_span(), make_span(span=2), resource=SHOP), "http/protobuf gzip")
    time.advance(20)
    await came(exporter, make_logs(make_log(), resource=SHOP), "grpc")
    time.advance(10)
    (sender,) = read(exporter)["senders"]
    assert (sender["service"], sender["project"]) == ("shop-api", "shop")
    assert sender["first_seen"] == "2026-01-01T00:00:00.000Z"
    assert sender["last_seen"] == "2026-01-01T00:00:20.000Z"
    assert sender["silent_seconds"] == 10
    assert sender["protocols"] == ["http/protobuf gzip", "grpc"]
    assert sender["sdk"] == {"name": "opentelemetry", "language": "python", "version": "1.38.0"}
    assert {name: (one["requests"], one["items"]) for name, one in sender["signals"].items()} == {
        "traces": (1, 2),
        "logs": (1, 1),
    }
    assert sender["missing_signals"] == ["metrics"]
    assert sender["last_error"] is None


async def test_items_are_counted_as_sent() -> None:
    """The item balance of the exporter is even, for each signal."""
    exporter = make()
    batches = [make_traces(make_span()), make_logs(make_log(), make_log())]
    for batch in batches:
        await exporter.consume(batch)
    assert {signal: exporter.settings.counts[signal].sent for signal in Signal} == {
        Signal.TRACES: 1,
        Signal.METRICS: 0,
        Signal.LOGS: 2,
    }


async def test_each_resource_of_a_batch_is_a_sender() -> None:
    """Items are counted below their own resource; data points, not metrics."""
    request = ExportTraceServiceRequest()
    for name, spans in (("a", 2), ("b", 3)):
        resource_spans = request.resource_spans.add()
        resource_spans.resource.attributes.extend(attributes({"service.name": name}))
        resource_spans.scope_spans.add().spans.extend(make_span(span=number) for number in range(1, spans + 1))
    exporter = make()
    await exporter.consume(from_proto(request))
    one, two = make_counter("m", 1, start_ns=1, time_ns=2), make_histogram("h", [1], [], sum=1, start_ns=1, time_ns=2)
    both = [make_metrics(one, two, resource={"service.name": name}).data for name in ("a", "c")]
    await exporter.consume(from_trusted("metrics", b"".join(both)))
    assert gauges(exporter, "otel_pipeline_sender_items") == {
        ("a", "unknown", "traces"): 2,
        ("b", "unknown", "traces"): 3,
        ("a", "unknown", "metrics"): 2,
        ("c", "unknown", "metrics"): 2,
    }


@pytest.mark.parametrize(
    "batch",
    [
        make_traces(make_span(sdlc__project__id="shop")),
        make_logs(make_log(sdlc__project__id="shop")),
        make_metrics(make_gauge("g", 1, {"sdlc.project.id": "shop"}, time_ns=1)),
        make_metrics(make_histogram("h", [1], [], {"sdlc.project.id": "shop"}, sum=1, start_ns=1, time_ns=2)),
    ],
    ids=["span", "log", "gauge", "histogram"],
)
async def test_the_project_may_stand_at_the_items(batch: Batch) -> None:
    """Where the resource has none, that of the first item counts; so `semconv` may find it anywhere."""
    exporter = make()
    await exporter.consume(batch)
    assert [one["project"] for one in read(exporter)["senders"]] == ["shop"]


async def test_a_sender_without_sdk_is_known_by_its_scope() -> None:
    """Agents that speak OTLP themselves name their instrumentation scope only."""
    exporter = make()
    point = make_gauge("g", 1, time_ns=1)
    await exporter.consume(make_metrics(point, resource={"service.name": "x"}, scope="agent.core", scope_version="2.1"))
    assert read(exporter)["senders"][0]["sdk"] == {"name": "agent.core", "language": "", "version": "2.1"}


async def test_rates_are_those_of_the_last_minute() -> None:
    """What is older does not count; a young sender's rate is over the time that it is known."""
    time = FakeTime()
    exporter = make(time)

    def rate() -> float:
        value = read(exporter)["senders"][0]["signals"]["traces"]["items_per_second"]
        assert isinstance(value, float)
        return value

    for _ in range(20):
        await exporter.consume(make_traces(make_span(), make_span(span=2)))
        time.advance(1)
    assert rate() == pytest.approx(2)
    time.advance(30)
    assert rate() == pytest.approx(40 / 50)
    time.advance(60)
    assert rate() == 0


async def test_expected_senders_are_silent_after_the_time_given(tmp_path: Path) -> None:
    """Those never seen count from the start of the gateway; a glob is silent when all that it stands for are."""
    (tmp_path / "projects.yaml").write_text(PROJECTS)
    time = FakeTime()
    exporter = make(time, directories=[tmp_path], silent_after="60s")

    def silent() -> dict[tuple[str, ...], float]:
        return gauges(exporter, "otel_pipeline_sender_silent")

    assert silent() == {("shop-api", "shop"): 0, ("job-*", "shop"): 0}
    await exporter.consume(make_logs(make_log(), resource={"service.name": "job-7"}))
    time.advance(61)
    assert silent() == {("shop-api", "shop"): 1, ("job-*", "shop"): 1}
    await exporter.consume(make_logs(make_log(), resource={"service.name": "job-8"}))
    assert silent() == {("shop-api", "shop"): 1, ("job-*", "shop"): 0}
    expected = {one["service"]: one for one in read(exporter)["expected"]}
    assert list(expected) == ["shop-api", "job-*"]
    assert expected["shop-api"] == {
        "service": "shop-api",
        "project": "shop",
        "silent": True,
        "last_seen": None,
        "silent_seconds": None,
    }
    assert expected["job-*"]["silent_seconds"] == 0
    assert not exporter.stale()
    (tmp_path / "projects.yaml").write_text(PROJECTS.replace("shop-api", "shop-web"))
    assert exporter.stale()


async def test_last_errors_stand_at_their_sender_also_where_nothing_else_came() -> None:
    """Receivers note them in the telemetry that components share."""
    exporter = make()
    await exporter.consume(make_traces(make_span(), resource=SHOP))
    errors = exporter.settings.telemetry.sender_errors
    errors.note("shop-api", "traces", "refused", "too much", 1_767_225_600_000_000_000)
    errors.note("shop-api", "logs", "rejected_items", "1 log record rejected", 1_767_225_601_000_000_000)
    errors.note("", "logs", "undecodable", "truncated message", 1_767_225_601_000_000_000)
    shop, unknown = read(exporter)["senders"]
    assert shop["last_error"] == {
        "signal": "logs",
        "reason": "rejected_items",
        "message": "1 log record rejected",
        "at": "2026-01-01T00:00:01.000Z",
        "requests": 2,
    }
    assert (unknown["service"], unknown["signals"]) == ("unknown_service", {})
    assert unknown["last_error"]["reason"] == "undecodable"


async def test_senders_over_the_limit_are_added_up_and_the_forgotten_make_room() -> None:
    """Series stay bounded, items stay exact, and a gateway that runs for months still sees new senders."""
    time = FakeTime()
    exporter = make(time, max_senders=2, forget_after="1h")
    for name in ("a", "b", "c", "d", "a"):
        await exporter.consume(make_traces(make_span(), resource={"service.name": name}))
    counted = gauges(exporter, "otel_pipeline_sender_items")
    assert counted == {("a", "unknown", "traces"): 2, ("b", "unknown", "traces"): 1, ("_other", "_other", "traces"): 2}
    time.advance(3000)
    await exporter.consume(make_traces(make_span(), resource={"service.name": "a"}))
    time.advance(1000)
    await exporter.consume(make_traces(make_span(), resource={"service.name": "e"}))
    assert set(gauges(exporter, "otel_pipeline_sender_items")) == {
        ("a", "unknown", "traces"),
        ("e", "unknown", "traces"),
    }


def test_errors_are_bounded() -> None:
    """However many names come, no more than the first few hundred are kept."""
    errors = make().settings.telemetry.sender_errors
    for number in range(1000):
        errors.note(f"s{number}", "logs", "refused", "", number)
    kept = errors.read()
    assert len(kept) <= 201
    assert sum(one.count for one in kept.values()) == 1000


@given(body=st.binary(max_size=200))
def test_any_bytes_have_a_first_service_or_none(body: bytes) -> None:
    """What could not be decoded is looked at for the sender's name all the same."""
    assert isinstance(first_service(body), str)
    named = make_traces(make_span(), resource={"service.name": "x"}).data
    assert first_service(named + body) == "x"


def test_long_names_are_cut_between_characters() -> None:
    """A name of a megabyte does not become a label."""
    table = SenderTable(max_senders=2, forget_after_ns=1)
    table.update(make_traces(make_span(), resource={"service.name": "é" * 500_000 + "x"}), "grpc", 1)
    (sender,) = table.read(1)
    assert sender.service == "é" * 100
