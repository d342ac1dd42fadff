"""The receiver `prometheus` against real pages: prometheus_client, Debian's Prometheus, and targets that mean harm."""

import asyncio
import base64
import gzip
import logging
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.json_format import ParseDict
from prometheus_client import CollectorRegistry, Counter, start_http_server
from pydantic import ValidationError

from otel_pipeline.config import read
from otel_pipeline.config.printed import print_config
from otel_pipeline.pdata import Signal, to_proto
from otel_pipeline.receivers.prometheus import Prometheus, PrometheusReceiverConfig
from otel_pipeline.testing import Sink, make_settings, until
from tests.end_to_end.harness import free_port, program
from tests.oracle.metric_family import MetricFamily, delimited

SECRET = "canary-4711-token"
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def page(body: bytes, status: str = "200 OK", content_type: str = "text/plain; version=0.0.4", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-type: {content_type}", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n")
    while True:
        writer.write(b"a 1\n" * 4096)
        await writer.drain()


async def dripping(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A byte now and then: never quiet, never done."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n")
    while True:
        writer.write(b"#")
        await writer.drain()
        await asyncio.sleep(0.01)


async def endless_line(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\na{b="')
    while True:
        writer.write(b"x" * 4096)
        await writer.drain()


async def endless_headers(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x: y\r\n" * 1000)
        await writer.drain()


async def silent(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


@dataclass
class Site:
    """Gives one answer to every request, by path; keeps the heads of requests."""

    answers: dict[str, bytes | Script]
    port: int = 0
    heads: list[str] = field(default_factory=list)
    tasks: set[Any] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.current_task())
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                answer = self.answers[head.split()[1]]
                if isinstance(answer, bytes):
                    writer.write(answer)
                    await writer.drain()
                else:
                    await answer(reader, writer)
        writer.close()


@asynccontextmanager
async def site(tls: ssl.SSLContext | None = None, /, **answers: bytes | Script) -> AsyncIterator[Site]:
    made = Site({f"/{path}": answer for path, answer in answers.items()})
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in made.tasks:
            task.cancel()
        await asyncio.gather(*made.tasks, return_exceptions=True)


@asynccontextmanager
async def scraping(port: int, everywhere: dict[str, Any] | None = None, **job: Any) -> AsyncIterator[Sink]:
    """A receiver that scrapes ten times a second, but waits for slow machines; `everywhere` is the block `global`."""
    target = {"job_name": "job", "scrape_interval": "100ms", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    config = {"global": everywhere or {}, "scrape_configs": [{**target, **job}]}
    options = PrometheusReceiverConfig.model_validate({"config": config})
    if "scrape_timeout" not in job:
        options = patient(options)
    sink = Sink()
    receiver = Prometheus(options, make_settings("prometheus"), {Signal.METRICS: sink})
    await receiver.start()
    try:
        yield sink
    finally:
        await receiver.shutdown()


def patient(options: PrometheusReceiverConfig) -> PrometheusReceiverConfig:
    """With a timeout longer than the interval, which nobody may configure."""
    jobs = tuple(job.model_copy(update={"scrape_timeout": 60.0}) for job in options.config.scrape_configs)
    return options.model_copy(update={"config": options.config.model_copy(update={"scrape_configs": jobs})})


def last(sink: Sink) -> dict[str, float]:
    """The gauges and sums of the last batch."""
    found: dict[str, float] = {}
    for resource in to_proto(sink.batches[-1]).resource_metrics if sink.batches else ():
        for metric in resource.scope_metrics[0].metrics:
            data = getattr(metric, metric.WhichOneof("data"))
            if metric.WhichOneof("data") in ("gauge", "sum") and data.data_points:
                found[metric.name] = data.data_points[0].as_double
    return found


async def shows(sink: Sink, **numbers: float) -> None:
    """Waits for a batch with these gauges and sums."""
    await until(lambda: numbers.items() <= last(sink).items(), 60)


async def scraped(sink: Sink, times: int) -> None:
    """Waits for so many scrapes."""
    await until(lambda: len(sink.batches) >= times, 60)


async def test_prometheus_client_is_scraped() -> None:
    """A page of the real library comes with its target's resource and the receiver's own series."""
    registry = CollectorRegistry()
    Counter("work", "Work done.", registry=registry).inc(3)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        port = server.server_port
        async with scraping(port) as sink:
            await shows(sink, work_total=3)
        resource = to_proto(sink.batches[-1]).resource_metrics[0].resource
        assert {a.key: a.value.string_value for a in resource.attributes} == {
            "service.name": "job",
            "service.instance.id": f"127.0.0.1:{port}",
            "server.address": "127.0.0.1",
            "server.port": str(port),
            "url.scheme": "http",
        }
        assert last(sink)["up"] == 1
        assert last(sink)["scrape_samples_scraped"] == 2
        assert last(sink)["scrape_duration_seconds"] > 0
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def test_a_prometheus_server_is_scraped(tmp_path: Path) -> None:
    """Everything on the page of Debian's Prometheus is taken, in each of its formats."""
    port = free_port()
    (tmp_path / "prometheus.yml").write_text("{}")
    command = [program("prometheus"), f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
               f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        found = {}
        for protocol in ("PrometheusText0.0.4", "OpenMetricsText0.0.1", "PrometheusProto"):
            async with scraping(port, scrape_protocols=[protocol]) as sink:
                await shows(sink, up=1, prometheus_build_info=1)
            found[protocol] = last(sink)
            assert found[protocol]["up"] == 1
            assert found[protocol]["scrape_samples_scraped"] > 200
            assert {"process_cpu_seconds_total", "go_goroutines"} <= found[protocol].keys()
        text, _openmetrics, protobuf = found.values()
        assert text.keys() <= protobuf.keys()  # it has been asked more often by then
    finally:
        process.terminate()
        await process.wait()


BOMB = gzip.compress(bytes(100 << 20), mtime=0)
PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
HOSTILE: dict[str, tuple[bytes | Script, str]] = {
    "endless": (endless, "body_size_limit"),
    "endless_line": (endless_line, "body_size_limit"),
    "endless_headers": (endless_headers, ""),
    "silent": (silent, "scrape_timeout"),
    "dripping": (dripping, "scrape_timeout"),
    "large": (page(b"a 1\n" * 50_000), "body_size_limit"),
    "bomb": (page(BOMB, content_encoding="gzip"), "body_size_limit"),
    "no_gzip": (page(b"a 1\n", content_encoding="gzip"), "not the gzip"),
    "brotli": (page(b"a 1\n", content_encoding="br"), "content encoding"),
    "html": (page(b"<html></html>", content_type="text/html"), "content type"),
    "other_protobuf": (page(b"", content_type="application/vnd.google.protobuf"), "content type"),
    "cut_protobuf": (page(b"\x20a", content_type=PROTOBUF), "whole metric families"),
    "cut_openmetrics": (page(b"a 1\n", content_type="application/openmetrics-text"), "# EOF"),
    "no_page": (page(b"{}"), "nothing on the page"),
    "elsewhere": (page(b"", "302 Found", location="http://169.254.169.254/secret"), "another host"),
    "circle": (page(b"", "302 Found", location="/metrics"), "too many redirects"),
    "refusal": (page(SECRET.encode(), "401 Unauthorized"), "answered 401"),
    "no_http": (b"\x00\x01\x02\r\n\r\n", "RemoteProtocolError"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_targets_are_down(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A target that does what it should not is down, and the reason is logged once."""
    caplog.set_level(logging.INFO)
    answer, reason = HOSTILE[name]
    limits: dict[str, Any] = {"body_size_limit": "64KB"}
    if reason == "scrape_timeout":
        limits["scrape_timeout"] = "100ms"
    async with site(metrics=answer) as target, scraping(target.port, **limits) as sink:
        await scraped(sink, 3)
    assert last(sink)["up"] == 0
    assert last(sink)["scrape_samples_scraped"] == (1 if name == "cut_openmetrics" else 0)
    assert "a" not in last(sink)
    told = [record.message for record in caplog.records if "scrape of" in record.message]
    assert len(told) == 1
    assert reason in told[0]
    assert SECRET not in caplog.text


async def test_a_redirect_on_the_same_host_and_gzip_are_followed() -> None:
    """As Jenkins answers /prometheus with /prometheus/."""
    body = gzip.compress(b"a 4\n", mtime=0)
    answers = {"metrics": page(b"", "302 Found", location="/there"), "there": page(body, content_encoding="gzip")}
    async with site(**answers) as target, scraping(target.port) as sink:
        await shows(sink, a=4)


async def test_tls(certificates: Path) -> None:
    """Only targets that prove who they are, and only to those, unless told otherwise; with our own certificate."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    mutual = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "ca.pem")
    mutual.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    mutual.verify_mode = ssl.CERT_REQUIRED
    authority = {"ca_file": str(certificates / "ca.pem")}
    own = {"cert_file": str(certificates / "client.pem"), "key_file": str(certificates / "client.key")}
    for context, options, up in [
        (server, authority, 1),
        (server, {}, 0),
        (server, {"insecure_skip_verify": True}, 1),
        (server, {**authority, "server_name": "localhost"}, 1),
        (server, {**authority, "server_name": "other.example"}, 0),
        (mutual, {**authority, **own}, 1),
        (mutual, authority, 0),
    ]:
        async with site(context, metrics=page(b"a 1\n")) as target:
            async with scraping(target.port, scheme="https", tls_config=options) as sink:
                await scraped(sink, 2)
            assert (last(sink)["up"], last(sink).get("a", 0)) == (up, up), options


async def test_formats_are_asked_for_in_order_and_told_by_the_content_type() -> None:
    """The best first; what comes is read as what it says it is."""
    body = delimited([ParseDict({"name": "a", "type": 1, "metric": [{"gauge": {"value": 4}}]}, MetricFamily())])
    names = ["PrometheusProto", "OpenMetricsText1.0.0", "PrometheusText0.0.4"]
    for content_type, content in [
        (PROTOBUF, body),
        ("application/openmetrics-text; version=1.0.0", b"a 4\n# EOF\n"),
        ("text/plain", b"a 4\n"),
        ("", b"a 4\n"),
    ]:
        async with (
            site(metrics=page(content, content_type=content_type)) as target,
            scraping(target.port, scrape_protocols=names) as sink,
        ):
            await shows(sink, a=4)
    (accept,) = [line for line in target.heads[0].lower().splitlines() if line.startswith("accept:")]
    kinds = [one.strip().split(";")[0] for one in accept.removeprefix("accept:").split(",")]
    assert kinds == ["application/vnd.google.protobuf", "application/openmetrics-text", "text/plain", "*/*"]
    weights = [float(one.rpartition("q=")[2]) for one in accept.split(",")]
    assert weights == sorted(weights, reverse=True)


async def test_a_page_of_an_unknown_type_is_read_by_the_fallback() -> None:
    """Where there is one."""
    async with (
        site(metrics=page(b"a 4\n", content_type="application/octet-stream")) as target,
        scraping(target.port, fallback_scrape_protocol="PrometheusText0.0.4") as sink,
    ):
        await shows(sink, a=4)


async def test_a_target_that_comes_and_goes() -> None:
    """Its series are told as gone at the first scrape that fails, not again, and come back."""
    answers: dict[str, bytes | Script] = {"metrics": page(b"a 1\n")}
    async with site(**answers) as target, scraping(target.port) as sink:
        await shows(sink, a=1)
        target.answers["/metrics"] = page(b"", "503 Service Unavailable")
        await until(lambda: [flags(batch) for batch in sink.batches][-2:] == [set(), set()], 60)
        assert sum(flags(batch) == {"a"} for batch in sink.batches) == 1
        target.answers["/metrics"] = page(b"a 2\n")
        await shows(sink, a=2)


def flags(batch: Any) -> set[str]:
    """The gauges of a batch that have no value any more."""
    found = [m for r in to_proto(batch).resource_metrics for s in r.scope_metrics for m in s.metrics]
    return {one.name for one in found if one.gauge.data_points[0].flags}


def test_what_is_global_holds_for_all_jobs() -> None:
    """Unless a job says otherwise; a common timeout gives way to a shorter interval."""
    static = [{"targets": ["a:1"]}]
    config = {
        "global": {
            "scrape_interval": "30s",
            "scrape_timeout": "20s",
            "scrape_protocols": ["PrometheusProto"],
            "sample_limit": 7,
            "body_size_limit": "1MB",
            "external_labels": {"site": "fra"},
        },
        "scrape_configs": [
            {"job_name": "one", "static_configs": static},
            {"job_name": "two", "static_configs": static, "scrape_interval": "5s", "sample_limit": 0},
        ],
    }
    read_back = PrometheusReceiverConfig.model_validate({"config": config}).config
    one, two = read_back.scrape_configs
    assert (one.scrape_interval, one.scrape_timeout, one.sample_limit) == (30, 20, 7)
    assert (one.body_size_limit, one.scrape_protocols) == (1 << 20, ("PrometheusProto",))
    assert (two.scrape_interval, two.scrape_timeout, two.sample_limit) == (5, 5, 0)
    assert read_back.for_all.external_labels == {"site": "fra"}


async def test_external_labels_come_with_the_samples() -> None:
    """From the block `global` to the batch."""
    async with (
        site(metrics=page(b"a 1\n")) as target,
        scraping(target.port, {"external_labels": {"site": "fra"}}) as sink,
    ):
        await shows(sink, a=1)
    found = [m for m in to_proto(sink.batches[-1]).resource_metrics[0].scope_metrics[0].metrics if m.name == "a"]
    assert [(one.key, one.value.string_value) for one in found[0].gauge.data_points[0].attributes] == [("site", "fra")]


async def test_jenkins() -> None:
    """A page as the Prometheus plugin of Jenkins writes it, behind its redirect."""
    body = (Path(__file__).parents[1] / "golden" / "scrape" / "jenkins" / "page.txt").read_bytes()
    moved = page(b"", "302 Found", location="/prometheus/")
    there = page(body, content_type="text/plain; version=0.0.4; charset=utf-8")
    answers: dict[str, bytes | Script] = {"prometheus": moved, "prometheus/": there}
    async with site(**answers) as target, scraping(target.port, metrics_path="/prometheus") as sink:
        await shows(sink, up=1)
    assert last(sink)["default_jenkins_builds_success_build_count_total"] == 41
    assert last(sink)["default_jenkins_builds_last_build_result"] == 1


@pytest.mark.parametrize("scheme", ["basic", "bearer", "file"])
async def test_credentials_are_sent_and_not_shown(
    scheme: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The target gets them; logs, and the printed options, do not."""
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "token"
    file.write_text(f"{SECRET}\n")
    options: dict[str, Any] = {
        "basic": {"basic_auth": {"username": "me", "password": SECRET}},
        "bearer": {"authorization": {"credentials": SECRET}},
        "file": {"authorization": {"type": "Token", "credentials_file": str(file)}},
    }[scheme]
    async with site(metrics=page(b"a 1\n")) as target, scraping(target.port, **options) as sink:
        await shows(sink, a=1)
    sent = {
        "basic": f"Basic {base64.b64encode(f'me:{SECRET}'.encode()).decode()}",
        "bearer": f"Bearer {SECRET}",
        "file": f"Token {SECRET}",
    }[scheme]
    assert f"authorization: {sent}\r\n" in target.heads[0].replace("Authorization", "authorization")
    assert SECRET not in caplog.text


def test_print_config_masks_secrets(tmp_path: Path) -> None:
    """What is shown of a configuration has no password and no token."""
    jobs = [
        {"job_name": "a", "static_configs": [{"targets": ["a:1"]}], "authorization": {"credentials": SECRET}},
        {
            "job_name": "b",
            "static_configs": [{"targets": ["b:1"]}],
            "basic_auth": {"username": "me", "password": SECRET},
        },
    ]
    config = {
        "receivers": {"prometheus": {"config": {"scrape_configs": jobs}}},
        "exporters": {"debug": None},
        "service": {"pipelines": {"metrics": {"receivers": ["prometheus"], "exporters": ["debug"]}}},
    }
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    checked = read([file], environment={})
    assert SECRET not in repr(checked.config())
    assert SECRET not in print_config(checked)
    assert "job_name: b" in print_config(checked)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scrape_protocols": []}, "at least 1 item"),
        ({"scrape_protocols": ["PrometheusProto", "PrometheusProto"]}, "twice"),
        ({"scrape_protocols": ["Proto"]}, "PrometheusText0.0.4"),
        ({"scrape_timeout": "2m"}, "longer than scrape_interval"),
        ({"static_configs": [{"targets": ["http://a:1/x"]}]}, "host:port"),
        ({"static_configs": [{"targets": ["169.254.169.254:80"]}]}, "link-local"),
        ({"metric_relabel_configs": [{"action": "drop", "source_labels": ["a"], "regex": "("}]}, "regular expression"),
        ({"relabel_configs": [{"action": "replace"}]}, "target_label"),
        ({"basic_auth": {"username": "me"}}, "one of password"),
        ({"authorization": {"credentials": "a", "credentials_file": "b"}}, "one of credentials"),
        ({"tls_config": {"cert_file": "a"}}, "belong together"),
    ],
)
def test_mistakes_in_options_are_told(change: dict[str, Any], message: str) -> None:
    """Each is found when the configuration is read."""
    job = {"job_name": "a", "static_configs": [{"targets": ["a:1"]}]}
    with pytest.raises(ValidationError, match=message):
        PrometheusReceiverConfig.model_validate({"config": {"scrape_configs": [{**job, **change}]}})


def test_targets_are_relabelled() -> None:
    """Labels decide which targets there are, where they are, and what they are called."""
    rules = [
        {"action": "drop", "source_labels": ["__address__"], "regex": "b:.*"},
        {"source_labels": ["__address__"], "regex": "(.*):1", "replacement": "$1", "target_label": "instance"},
        {"source_labels": ["env"], "regex": "prod", "replacement": "/prod", "target_label": "__metrics_path__"},
    ]
    job = {
        "job_name": "x",
        "params": {"match": ["1", "2"]},
        "static_configs": [{"targets": ["a:1", "b:1"], "labels": {"env": "prod"}}],
        "relabel_configs": rules,
    }
    config = PrometheusReceiverConfig.model_validate({"config": {"scrape_configs": [job]}}).config.scrape_configs[0]
    (target,) = config.targets()
    assert (target.url, target.job, target.instance) == ("http://a:1/prod?match=1&match=2", "x", "a")
    assert target.labels == (("env", "prod"),)


async def test_no_task_stays_after_shutdown() -> None:
    """Shutdown ends scrapes that are under way, without waiting for their timeout."""
    before = {*asyncio.all_tasks()}
    async with site(metrics=silent) as target:
        async with scraping(target.port, scrape_interval="60s", scrape_timeout="60s", relabel_configs=[]):
            await asyncio.sleep(0)
        assert not {task for task in asyncio.all_tasks() - before if "scrape" in repr(task.get_coro()).lower()}
