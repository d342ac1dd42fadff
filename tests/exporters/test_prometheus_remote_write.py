"""The remote-write exporter against real servers with scripted answers."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from pydantic import ValidationError

from otel_pipeline import __version__
from otel_pipeline.component import Settings
from otel_pipeline.exporters.prometheus_remote_write import PrometheusRemoteWrite, PrometheusRemoteWriteConfig
from otel_pipeline.pdata import Signal
from otel_pipeline.testing import make_gauge, make_histogram, make_metrics, make_settings, until
from tests.exporters.http_harness import Server, answer, serve
from tests.oracle.remote_write import read

PATH = "/api/v1/write"
CANARY = "canary-4711-token"


def took(samples: int = 1) -> bytes:
    """The answer of a peer that reads version 2."""
    return answer(204, X_Prometheus_Remote_Write_Samples_Written=str(samples))


@asynccontextmanager
async def writing(server: Server, settings: Settings | None = None, **options: Any) -> AsyncIterator[Any]:
    """An exporter that writes often, to that server."""
    config = PrometheusRemoteWriteConfig.model_validate(
        {
            "endpoint": f"http://127.0.0.1:{server.port}{PATH}",
            "write_interval": "5ms",
            "target_info": {"enabled": False},
            "external_labels": {"instance": ""},
            "checkpoint": {"enabled": False},
            "retry_on_failure": {"initial_interval": "1ms", "max_interval": "2ms"},
            **options,
        }
    )
    exporter = PrometheusRemoteWrite(config, settings or make_settings("remote"))
    await exporter.start()
    try:
        yield exporter
    finally:
        await asyncio.wait_for(exporter.shutdown(), 60)


def gauge(value: float, name: str = "g") -> Metric:
    return make_gauge(name, value, time_ns=0)


def seen(server: Server) -> list[tuple[int, list[float]]]:
    """Version and values of each request."""
    requests = []
    for request in server.requests:
        version = 2 if "v2" in request.headers["content-type"] else 1
        requests.append((version, [value for one in read(request.body, version) for _, value in one.samples]))
    return requests


def counted(exporter: PrometheusRemoteWrite, name: str) -> dict[tuple[str, ...], float]:
    counter = exporter.settings.telemetry.counter(f"otelcol_exporter_prometheus_remote_write_{name}")
    return {labels[1:]: value for labels, value in counter.values.items() if value}


def dropped(exporter: PrometheusRemoteWrite) -> dict[str, int]:
    return dict(exporter._out.dropped)


async def test_requests_are_what_version_2_demands() -> None:
    """Headers, path, body: as the specification says, with the user's headers; what the peer wrote is counted."""
    async with serve(took(1)) as server:
        async with writing(server, headers={"Authorization": "Bearer b"}, external_labels={"cluster": "x"}) as exporter:
            await exporter.consume(make_metrics(gauge(7), resource={"service.name": "s"}))
            await until(lambda: server.requests, 60)
        [request] = server.requests
        assert request.path == PATH
        expected = {
            "content-type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
            "content-encoding": "snappy",
            "x-prometheus-remote-write-version": "2.0.0",
            "user-agent": f"otel-pipeline/{__version__}",
            "authorization": "Bearer b",
        }
        assert expected.items() <= request.headers.items()
        [series] = read(request.body, 2)
        assert series.labels.keys() == {"__name__", "cluster", "instance", "job"}
        assert series.samples[0][1] == 7
        assert exporter.settings.counts[Signal.METRICS].sent == 1
        assert counted(exporter, "written") == {("samples",): 1}


@pytest.mark.parametrize(
    "first", [answer(415), answer(204), answer(400, b"snappy: corrupt")], ids=["415", "silent", "400"]
)
async def test_a_peer_of_version_1_gets_version_1(first: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """However an old peer shows what it is, it gets the same request again in version 1, which is said once."""
    caplog.set_level(logging.INFO)
    async with serve(first, answer(204)) as server, writing(server) as exporter:
        await exporter.consume(make_metrics(gauge(1)))
        await until(lambda: len(server.requests) == 2, 60)
        await exporter.consume(make_metrics(gauge(2)))
        await until(lambda: len(server.requests) == 3, 60)
        assert seen(server) == [(2, [1]), (1, [1]), (1, [2])]
        assert server.requests[1].headers["x-prometheus-remote-write-version"] == "0.1.0"
        assert server.requests[1].headers["content-type"] == "application/x-protobuf"
        await until(lambda: counted(exporter, "written") == {("samples",): 2}, 60)
        assert dropped(exporter) == {}
    assert [record.message for record in caplog.records].count(
        "the peer does not read remote write 2.0: it gets version 1.0 from now on"
    ) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_what_may_pass_is_tried_again_in_order(status: int) -> None:
    """5xx and 429 are tried until the peer takes the request; later ones wait behind it."""
    async with serve(answer(status), answer(status, Retry_After="0"), took()) as server, writing(server) as exporter:
        for value in (1, 2, 3):
            await exporter.consume(make_metrics(gauge(value)))
            await until(lambda: exporter._queue.size > 0 or len(server.requests) > 2, 60)
        await until(lambda: (2, [3.0]) in seen(server), 60)
        values = [values[0] for _, values in seen(server)]
        assert values[:3] == [1, 1, 1]
        assert values == sorted(values)
        assert dropped(exporter) == {}


async def test_what_is_refused_is_dropped_counted_and_told(caplog: pytest.LogCaptureFixture) -> None:
    """A 400 is not tried again: what was not written is counted, and the peer's words are logged, fit to be read."""
    body = f"out of order sample {CANARY}\x1b[31m".encode() + b"x" * 5000
    refusal = answer(400, body, X_Prometheus_Remote_Write_Samples_Written="1")
    headers = {"Authorization": f"Bearer {CANARY}"}
    async with serve(refusal, took()) as server, writing(server, headers=headers) as exporter:
        await exporter.consume(make_metrics(gauge(1), gauge(2, "h")))
        await until(lambda: dropped(exporter), 60)
        assert dropped(exporter) == {"permanent_error": 2}
        assert counted(exporter, "written") == {("samples",): 1}
        assert counted(exporter, "refused") == {("samples", "400"): 1}
        assert len(server.requests) == 1
    [told] = [record.message for record in caplog.records if "permanent_error" in record.message]
    assert "answered 400: out of order sample ***\\x1b[31m" in told
    assert len(told) < 600
    assert CANARY not in caplog.text


async def test_a_partial_write_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """A peer that takes a request but writes only a part of it is not believed."""
    async with serve(took(1)) as server, writing(server) as exporter:
        await exporter.consume(make_metrics(make_histogram("h", [1, 2], [1], sum=3, start_ns=0, time_ns=0)))
        await until(lambda: counted(exporter, "refused") == {("samples", "204"): 3}, 60)
        assert counted(exporter, "written") == {("samples",): 1}
    assert "3 samples, histograms and exemplars were not written" in caplog.text


async def test_a_request_that_is_too_large_is_cut() -> None:
    """Over the limit of bytes, ours or the peer's, a request goes in parts, in order."""
    labels = {"long": "x" * 1000}
    points = [make_gauge(f"g{n}", n, {**labels, "n": str(n) * 900}, time_ns=0) for n in range(200)]
    async with serve(answer(413), took()) as server, writing(server, max_batch_size_bytes=100_000) as exporter:
        await exporter.consume(make_metrics(*points))
        await until(lambda: exporter._queue.size == 0 and len(server.requests) > 2, 60)
        sent = [value for _, values in seen(server)[1:] for value in values]
        assert sorted(sent) == list(range(200))


async def test_when_the_queue_is_full_changes_wait_in_the_series() -> None:
    """A peer that is away for long costs points between, never the last value; nothing is dropped."""
    async with serve(answer(503)) as server, writing(server, max_samples_per_send=1) as exporter:
        exporter._queue.capacity, value = 200, 0
        async with asyncio.timeout(60):
            while not exporter._waiting:
                value += 1
                await exporter.consume(make_metrics(gauge(value)))
                await asyncio.sleep(0.002)
        await exporter.consume(make_metrics(gauge(-1)))
        server.answers[:] = [took()]
        await until(lambda: (2, [-1.0]) in seen(server), 60)
        assert dropped(exporter) == {}
        assert exporter.settings.counts[Signal.METRICS].sent == value + 1


async def test_a_shutdown_writes_what_has_changed() -> None:
    async with serve(took()) as server, writing(server, write_interval="1h") as exporter:
        await exporter.consume(make_metrics(gauge(5)))
        await exporter.shutdown()
        assert seen(server) == [(2, [5])]


async def test_what_a_shutdown_cannot_write_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    async with serve(answer(503)) as server, writing(server, write_interval="1h") as exporter:
        await exporter.consume(make_metrics(gauge(5)))
        await exporter.shutdown()
        assert dropped(exporter) == {"shutdown": 1}


async def test_version_1_can_be_asked_for() -> None:
    """`protobuf_message` is the Collector's option; without native histograms classic ones are written."""
    async with serve(answer(200)) as server:
        async with writing(server, protobuf_message="prometheus.WriteRequest", send_metadata=False) as exporter:
            await exporter.consume(make_metrics(gauge(5)))
            await until(lambda: counted(exporter, "written"), 60)
        assert seen(server) == [(1, [5])]
        assert read(server.requests[0].body, 1)[0].meta is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs endpoint"),
        ({"endpoint": "http://169.254.169.254/write"}, "link-local"),
        ({"endpoint": "http://h/w", "external_labels": {"le": "1"}}, "has a meaning of its own"),
        ({"endpoint": "http://h/w", "headers": {"content-encoding": "gzip"}}, "not a name that can be set"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PrometheusRemoteWriteConfig.model_validate(options)
