"""The page at /metrics, as clients of all kinds see it."""

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.parser import text_string_to_metric_families as parse_text
from pydantic import ValidationError

from otel_pipeline._native import prometheus_name
from otel_pipeline.component import Settings
from otel_pipeline.exporters.prometheus import Prometheus, PrometheusConfig
from otel_pipeline.pdata import Limits, Signal, decode
from otel_pipeline.processors.semconv import Semconv, SemconvConfig
from otel_pipeline.testing import FakeTime, make_counter, make_gauge, make_metrics, make_settings
from tests.prometheus.metric_families import parse_protobuf

RECORDED = Path(__file__).parents[1] / "fixtures" / "recorded"
SCRAPE = {"X-Prometheus-Scrape-Timeout-Seconds": "10"}
OPENMETRICS = {"Accept": "application/openmetrics-text;version=1.0.0"}

Start = Callable[..., Awaitable[tuple[Prometheus, httpx.AsyncClient]]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts exporters with some options; gives each with a client of its own."""
    async with AsyncExitStack() as stack:

        async def started(
            time: FakeTime | None = None, settings: Settings | None = None, **options: Any
        ) -> tuple[Prometheus, httpx.AsyncClient]:
            config = PrometheusConfig(**{"endpoint": "127.0.0.1:0", **options})
            exporter = Prometheus(config, settings or make_settings("prometheus", time=time))
            await exporter.start()
            stack.push_async_callback(exporter.shutdown)
            client = httpx.AsyncClient(base_url=f"http://{exporter.endpoint}")
            return exporter, await stack.enter_async_context(client)

        yield started


async def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_page_in_the_format_that_is_asked_for(start: Start) -> None:
    exporter, client = await start()
    await exporter.consume(make_metrics(make_gauge("g", 1, time_ns=1)))
    plain = await client.get("/metrics")
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert plain.text.endswith("\n# TYPE g gauge\ng 1\n")
    assert plain.headers["x-content-type-options"] == "nosniff"
    openmetrics = await client.get("/metrics", headers=OPENMETRICS)
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    assert openmetrics.text.endswith("\n# TYPE g gauge\ng 1\n# EOF\n")


async def test_openmetrics_can_be_switched_off(start: Start) -> None:
    _, client = await start(enable_open_metrics=False)
    answer = await client.get("/metrics", headers=OPENMETRICS)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_a_long_page_arrives_whole(start: Start, encoding: str) -> None:
    exporter, client = await start(max_series_per_metric=20_000)
    metrics = [make_gauge("g", number, {"series": number, "text": "x" * 50}, time_ns=1) for number in range(20_000)]
    await exporter.consume(make_metrics(*metrics))
    request = client.build_request("GET", "/metrics", headers={"Accept-Encoding": encoding})
    async with asyncio.timeout(60):
        answer = await client.send(request, stream=True)
        raw = b"".join([piece async for piece in answer.aiter_raw()])
        await answer.aclose()
    assert int(answer.headers["content-length"]) == len(raw)
    page = gzip.decompress(raw) if encoding == "gzip" else raw
    assert page.count(b"\ng{") == 20_000
    assert answer.headers.get("content-encoding", "identity") == encoding


async def test_prometheus_sees_0_first_and_a_plain_reader_changes_nothing(start: Start) -> None:
    time = FakeTime()
    exporter, client = await start(time=time)
    await exporter.consume(make_metrics(make_counter("c", 5, start_ns=time.unix_ns, time_ns=time.unix_ns + 1)))

    async def value(**headers: str) -> str:
        return (await client.get("/metrics", headers=headers)).text.split()[-1]

    assert await value() == "5"
    head = await client.head("/metrics", headers=SCRAPE)
    assert (head.status_code, head.content) == (200, b"")
    assert [await value(**SCRAPE), await value(**SCRAPE)] == ["0", "5"]
    assert await value(**SCRAPE, **{"User-Agent": "another"}) == "5"


async def test_a_series_that_is_dated_to_the_making_of_its_connector_is_0_first(start: Start) -> None:
    """Connectors are made some moments before or after the exporter."""
    time = FakeTime()
    exporter, client = await start(time=time)
    for age, shown in ((1, "0"), (60, "5")):
        made = time.unix_ns - age * 1_000_000_000
        await exporter.consume(make_metrics(make_counter(f"c{age}", 5, start_ns=made, time_ns=time.unix_ns)))
        assert (await client.get("/metrics", headers=SCRAPE)).text.split()[-1] == shown


async def test_only_get_and_head_of_the_one_path(start: Start) -> None:
    _, client = await start()
    assert (await client.get("/")).status_code == 404
    assert (await client.get("/metrics/")).status_code == 404
    refused = await client.post("/metrics", content=b"x" * 1000)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:9464", 200),
        ("[::1]:9464", 200),
        ("prometheus.internal:9464", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
    ],
)
async def test_only_known_host_names_are_served(start: Start, host: str, status: int) -> None:
    exporter, client = await start(allowed_hosts=["prometheus.internal"])
    assert (await client.get("/metrics", headers={"Host": host})).status_code == status
    refused = exporter.settings.telemetry.counter("otelcol_exporter_prometheus_refused_requests")
    assert sum(refused.values.values()) == (status == 403)


async def test_every_data_point_is_counted(start: Start) -> None:
    exporter, _ = await start(max_series_per_metric=1)
    batch = make_metrics(
        make_gauge("g", 1, {"s": 1}, time_ns=1),
        make_gauge("g", 1, {"s": 1}, time_ns=1),
        make_gauge("g", 1, {"s": 2}, time_ns=1),
        make_counter("c", 1, {"s": 1}, start_ns=1, time_ns=2),
        make_counter("c", 1, {"s": 2}, start_ns=1, time_ns=2),
        make_gauge("c", 1, time_ns=1),
    )
    await exporter.consume(batch)
    counts = exporter.settings.counts[Signal.METRICS]
    assert counts.sent == 3
    assert counts.dropped == {"old_point": 1, "series_limit": 1, "type_conflict": 1}
    notes = exporter.settings.telemetry.counter("otelcol_exporter_prometheus_notes")
    assert notes.values == {("prometheus", "overflow"): 1}


async def test_conflicts_of_names_are_told_at_status(start: Start) -> None:
    """Nothing where there are none; else each with both types, the job and the scope."""
    exporter, _ = await start()
    await exporter.consume(make_metrics(make_gauge("g", 1, time_ns=1)))
    assert exporter.details() == {}
    counter = make_counter("g", 1, start_ns=1, time_ns=2)
    await exporter.consume(make_metrics(counter, resource={"service.name": "s"}))
    [conflict] = exporter.details()["conflicts"]
    assert conflict.pop("last_seen_unix_ns") > 0
    assert conflict == {
        "metric": "g",
        "reason": "type_conflict",
        "held": "gauge",
        "told": "counter",
        "job": "s",
        "scope": "",
        "count": 1,
    }


async def test_protobuf_with_the_gateways_own_metrics(start: Start) -> None:
    exporter, client = await start()
    await exporter.consume(make_metrics(make_gauge("g", 1, time_ns=1)))
    accept = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
    answer = await client.get("/metrics", headers={"Accept": accept})
    assert answer.headers["content-type"].startswith("application/vnd.google.protobuf; proto=io.prometheus.client.")
    families = {family.name: family for family in parse_protobuf(answer.content)}
    assert families["g"].metric[0].gauge.value == 1
    assert families["otelcol_process_uptime_seconds_total"].metric[0].counter.value > 0


async def test_a_large_batch_does_not_differ(start: Start) -> None:
    """Over 64 KiB a batch is ingested in a worker thread."""
    exporter, client = await start()
    metrics = [make_gauge("g", 1, {"series": number, "text": "x" * 100}, time_ns=1) for number in range(1000)]
    batch = make_metrics(*metrics)
    assert batch.size_bytes > 1 << 16
    await exporter.consume(batch)
    assert exporter.settings.counts[Signal.METRICS].sent == 1000
    assert (await client.get("/metrics")).text.count("\ng{") == 1000


async def test_the_gateways_own_metrics_stand_first_and_keep_their_names(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings("prometheus")
    asked: list[bool] = []

    def exposition(*, openmetrics: bool) -> bytes:
        asked.append(openmetrics)
        return b"# TYPE otelcol_own gauge\notelcol_own 7\n"

    monkeypatch.setattr(settings.telemetry, "exposition", exposition)
    exporter, client = await start(settings=settings)
    await exporter.consume(make_metrics(make_gauge("otelcol_own", 1, time_ns=1), make_gauge("g", 1, time_ns=1)))
    page = (await client.get("/metrics", headers=OPENMETRICS)).text
    assert page == "# TYPE otelcol_own gauge\notelcol_own 7\n# TYPE g gauge\ng 1\n# EOF\n"
    await client.get("/metrics")
    assert asked == [True, False]


async def test_recorded_deltas_can_be_read_exactly_by_project_stage_and_model(start: Start) -> None:
    """What Claude Code sent: the total of each metric, with given labels, and neither session nor user."""
    body = (RECORDED / "claude-code-2.1.330_default.metrics.otlp.pb").read_bytes()
    exporter, client = await start()
    enriched = Semconv(SemconvConfig(), make_settings("semconv")).process(decode("metrics", body, False, Limits())[0])
    assert enriched is not None
    await exporter.consume(enriched)
    assert exporter.settings.counts[Signal.METRICS].sent == enriched.items
    told = {
        prometheus_name(metric.name, metric.unit, "counter"): sum(
            point.as_double or point.as_int for point in metric.sum.data_points
        )
        for metric in ExportMetricsServiceRequest.FromString(body).resource_metrics[0].scope_metrics[0].metrics
    }
    families = parse_text((await client.get("/metrics")).text)
    samples = [sample for family in families for sample in family.samples if sample.name in told]
    for name, total in told.items():
        assert sum(sample.value for sample in samples if sample.name == name) == pytest.approx(total)
    for sample in samples:
        assert (sample.labels["project_id"], sample.labels["stage"]) == ("demo", "coding")
        assert "model" in sample.labels or "token" not in sample.name
        assert not {"session_id", "user_id"} & sample.labels.keys()


async def test_names_in_utf8_for_a_scraper_that_asks(start: Start) -> None:
    exporter, client = await start(translation_strategy="NoTranslation")
    await exporter.consume(make_metrics(make_gauge("a.b", 1, time_ns=1)))
    plain = await client.get("/metrics")
    assert plain.text.endswith("# TYPE a_b gauge\na_b 1\n")
    accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8"
    asked = await client.get("/metrics", headers={"Accept": accept})
    assert asked.headers["content-type"].endswith("escaping=allow-utf-8")
    assert asked.text.endswith('# TYPE "a.b" gauge\n{"a.b"} 1\n# EOF\n')


async def test_what_identifies_never_becomes_a_label(start: Start) -> None:
    exporter, client = await start(drop_labels=["mine.*"])
    labels = {"mine.a": 1, "session.id": "s", "vcs.ref.head.name": "b", "gen_ai.input.messages": "secret", "kept": 1}
    await exporter.consume(make_metrics(make_gauge("g", 1, labels, time_ns=1)))
    assert (await client.get("/metrics")).text.endswith('\ng{kept="1"} 1\n')


async def test_series_expire_without_a_scrape(start: Start) -> None:
    time = FakeTime()
    exporter, _ = await start(time=time, metric_expiration="20ms")
    await exporter.consume(make_metrics(make_gauge("g", 1, time_ns=1)))
    assert exporter.store.stats()["series"] == 1
    time.advance(1)
    await until(lambda: exporter.store.stats()["series"] == 0)


async def test_a_client_that_hangs_up_leaves_no_traceback(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    exporter, client = await start(max_series_per_metric=50_000, checkpoint={"enabled": False})
    metrics = [make_gauge("g", 1, {"series": number, "text": "x" * 100}, time_ns=1) for number in range(50_000)]
    await exporter.consume(make_metrics(*metrics))
    caplog.set_level(logging.DEBUG)
    for _ in range(3):
        _, writer = await asyncio.open_connection("127.0.0.1", exporter.endpoint.port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await writer.drain()
        writer.transport.abort()
    assert (await client.get("/metrics")).status_code == 200
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_shutdown_may_come_twice_and_without_start() -> None:
    exporter = Prometheus(PrometheusConfig(endpoint="127.0.0.1:0"), make_settings())
    await exporter.shutdown()
    await exporter.start()
    await exporter.shutdown()
    await exporter.shutdown()


async def test_an_address_in_use_is_told(start: Start) -> None:
    exporter, _ = await start()
    with pytest.raises(OSError, match="another process"):
        await start(endpoint=str(exporter.endpoint))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint": "0.0.0.0:9464"}, "insecure_ok: true"),
        ({"endpoint": ":9464"}, "insecure_ok: true"),
        ({"endpoint": "prometheus.internal:9464"}, "insecure_ok: true"),
        ({"endpoint": "nonsense"}, "not an address"),
        ({"namespace": "a-b"}, "not a metric name"),
        ({"const_labels": {"a.b": "c"}}, "not a label name"),
        ({"const_labels": {"__a": "c"}}, "not a label name"),
        ({"const_labels": {"job": "c"}}, "meaning of its own"),
        ({"metric_expiration": "0s"}, "greater than 0"),
        ({"drop_labels": ["a*b"]}, "not an attribute key"),
        ({"drop_labels": ["*"]}, "not an attribute key"),
        ({"translation_strategy": "None"}, "NoTranslation"),
        ({"max_series": 0}, "greater than or equal to 1"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PrometheusConfig(**options)


def test_an_open_address_is_taken_when_the_user_says_so() -> None:
    assert PrometheusConfig(endpoint="0.0.0.0:9464", insecure_ok=True).endpoint == "0.0.0.0:9464"


async def test_what_a_client_has_read_is_on_disk(start: Start, tmp_path: Path) -> None:
    """As soon as it has it: a copy of the file is enough to show the same again."""
    exporter, client = await start(checkpoint={"directory": tmp_path / "one"})
    for value in (5, 6):
        await exporter.consume(make_metrics(make_counter("c", value, start_ns=1, time_ns=value)))
        page = (await client.get("/metrics")).text
        copy = tmp_path / f"copy-{value}"
        copy.mkdir()
        (copy / "prometheus.checkpoint").write_bytes((tmp_path / "one" / "prometheus.checkpoint").read_bytes())
        _, reader = await start(checkpoint={"directory": copy})
        assert page.endswith(f"c_total {value}\n")
        assert (await reader.get("/metrics")).text.endswith(f"c_total {value}\n")


async def test_the_next_exporter_goes_on_where_this_one_ended(start: Start, tmp_path: Path) -> None:
    """With values that nobody has read yet, and with what each scraper has seen; in the data directory."""
    time = FakeTime()
    settings = make_settings("prometheus/second", time=time, data_dir=tmp_path)
    exporter, client = await start(settings=settings)
    await client.get("/metrics", headers=SCRAPE)
    await exporter.consume(make_metrics(make_counter("c", 5, start_ns=time.unix_ns, time_ns=time.unix_ns + 1)))
    await exporter.shutdown()
    assert (tmp_path / "prometheus" / "prometheus_second.checkpoint").is_file()
    _, client = await start(settings=make_settings("prometheus/second", time=time, data_dir=tmp_path))
    shown = [(await client.get("/metrics", headers=SCRAPE)).text.split()[-1] for _ in range(2)]
    assert shown == ["0", "5"]


async def test_without_a_checkpoint_nothing_is_written(start: Start, tmp_path: Path) -> None:
    exporter, client = await start(
        settings=make_settings("prometheus", data_dir=tmp_path), checkpoint={"enabled": False}
    )
    await exporter.consume(make_metrics(make_counter("c", 5, start_ns=1, time_ns=2)))
    await client.get("/metrics")
    await exporter.shutdown()
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240


async def test_a_checkpoint_that_is_damaged_or_in_use_is_counted(start: Start, tmp_path: Path) -> None:
    (tmp_path / "prometheus.checkpoint").write_bytes(b"nonsense")
    exporter, client = await start(checkpoint={"directory": tmp_path})
    page = (await client.get("/metrics")).text
    assert 'otelcol_exporter_prometheus_checkpoint_problems_total{exporter="prometheus",reason="foreign"} 1' in page
    assert exporter.store.stats()["series"] == 0
