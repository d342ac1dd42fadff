"""The HTTP exporter against real servers: scripted answers, and one that does everything a peer should not."""

import asyncio
import gzip
import json
import logging
import ssl
import subprocess
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from backports import zstd
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from pydantic import ValidationError

from otel_pipeline import pdata
from otel_pipeline.component import Settings
from otel_pipeline.errors import ConfigError, ConsumeError, PermanentError, RetryableError
from otel_pipeline.exporters.otlp_http import OtlpHttp, OtlpHttpOptions
from otel_pipeline.pdata import Batch, Signal
from otel_pipeline.testing import FakeTime, make_settings, make_span, make_traces, until
from tests.exporters.http_harness import Script, Server, answer, serve

CANARY = "canary-4711-token"
FAST_RETRY = {"initial_interval": "1ms", "max_interval": "2ms"}
DIRECT = {"enabled": False}
NO_RETRY = {"enabled": False}


@asynccontextmanager
async def export_to(
    endpoint: str, options: dict[str, Any] | None = None, given: Settings | None = None
) -> AsyncIterator[OtlpHttp]:
    config = OtlpHttpOptions.model_validate({"endpoint": endpoint, "retry_on_failure": FAST_RETRY, **(options or {})})
    exporter = OtlpHttp(config, given or make_settings("otlp_http"))
    await exporter.start()
    try:
        yield exporter
    finally:
        await asyncio.wait_for(exporter.shutdown(), 20)


def spans(count: int = 2, **attributes: Any) -> Batch:
    return make_traces(*[make_span(span=number + 1, **attributes) for number in range(count)])


async def consume_error(
    server: Server, options: dict[str, Any] | None = None, given: Settings | None = None
) -> ConsumeError | None:
    """What one direct export, without retry, ends in."""
    direct = {"sending_queue": DIRECT, "retry_on_failure": NO_RETRY, **(options or {})}
    async with export_to(f"http://127.0.0.1:{server.port}", direct, given) as exporter:
        try:
            await exporter.consume(spans())
        except ConsumeError as error:
            return error
    return None


DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "zstd": zstd.decompress,
    "none": bytes,
}


@pytest.mark.parametrize("count", [2, 2000])
@pytest.mark.parametrize("compression", list(DECOMPRESS))
async def test_requests_arrive_as_they_were(compression: str, count: int) -> None:
    """Path, headers and, after decompression, the very bytes of the batch, small and large."""
    batch = spans(count)
    async with serve() as server:
        options = {"compression": compression, "headers": {"X-Key": CANARY}, "sending_queue": DIRECT}
        async with export_to(f"http://127.0.0.1:{server.port}/otlp/", options) as exporter:
            await exporter.consume(batch)
    request = server.requests[0]
    assert request.path == "/otlp/v1/traces"
    assert DECOMPRESS[compression](request.body) == batch.data
    assert request.headers["content-type"] == "application/x-protobuf"
    assert request.headers.get("content-encoding", "none") == compression
    assert request.headers["x-key"] == CANARY
    assert request.headers["user-agent"].startswith("otel-pipeline/")


@pytest.mark.skipif(not hasattr(pdata, "to_json"), reason="batches cannot be written as JSON yet")
async def test_json_is_the_otlp_mapping() -> None:
    """With `encoding: json` the body is OTLP/JSON: hex ids, integer enums."""
    async with serve() as server:
        options = {"encoding": "json", "compression": "none", "sending_queue": DIRECT}
        async with export_to(f"http://127.0.0.1:{server.port}", options) as exporter:
            await exporter.consume(spans(1))
    request = server.requests[0]
    span = json.loads(request.body)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert request.headers["content-type"] == "application/json"
    assert (span["spanId"], span["kind"]) == ("0000000000000001", 1)


async def test_each_signal_may_have_its_own_endpoint() -> None:
    """A signal's own URL is used as it is; a signal without any URL is a permanent error."""
    async with serve() as server:
        url = f"http://127.0.0.1:{server.port}/custom?tenant=a"
        async with export_to("", {"traces_endpoint": url, "sending_queue": DIRECT}) as exporter:
            await exporter.consume(spans())
            with pytest.raises(PermanentError, match="no endpoint for logs"):
                await exporter.consume(pdata.from_trusted(Signal.LOGS, b""))
    assert server.requests[0].path == "/custom?tenant=a"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 415, 500, 501, 505, 301, 302, 307, 308])
async def test_all_other_codes_are_permanent(status: int) -> None:
    """Items 43 and 44 of the OTLP checklist; redirects are never followed."""
    async with serve(answer(status, location="http://127.0.0.1:1/elsewhere")) as server:
        error = await consume_error(server)
    assert type(error) is PermanentError
    assert str(status) in str(error)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_only_four_codes_are_retryable(status: int) -> None:
    """429, 502, 503 and 504 are retried, and then everything has arrived once."""
    own = make_settings()
    async with (
        serve(answer(status), answer(status), answer()) as server,
        export_to(f"http://127.0.0.1:{server.port}", {}, own) as exporter,
    ):
        await exporter.consume(spans(5))
        await until(lambda: own.counts[Signal.TRACES].sent == 5)
    assert len(server.requests) == 3
    assert not own.counts[Signal.TRACES].dropped


NOW = FakeTime()


@pytest.mark.parametrize(
    ("header", "delay"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        (formatdate(NOW.unix_ns / 1e9 + 90, usegmt=True), 90.0),
        (formatdate(NOW.unix_ns / 1e9 - 90, usegmt=True), 0.0),
        ("-5", None),
        ("1e9", None),
        ("999999999999999999999", None),
        ("Fri, 99 Foo 99999 99:99:99", None),
        ("soon", None),
        ("٣", None),
    ],
)
async def test_retry_after_is_seconds_or_a_date(header: str, delay: float | None) -> None:
    """Item 51 of the OTLP checklist: both forms are read, garbage is no delay."""
    async with serve(answer(503, retry_after=header)) as server:
        error = await consume_error(server, given=make_settings(time=NOW))
    assert isinstance(error, RetryableError)
    assert error.retry_after == delay


async def test_413_is_cut_in_halves() -> None:
    """A request over the peer's limit arrives in pieces; an item that alone is too large is dropped for `too_large`."""
    own = make_settings()
    batch = make_traces(make_span(span=1), make_span(span=2), make_span(span=3, text="x" * 9000))

    async def limited(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(413 if len(server.requests[-1].body) > 400 else 200))
        await writer.drain()

    async with (
        serve(limited) as server,
        export_to(f"http://127.0.0.1:{server.port}", {"compression": "none"}, own) as exporter,
    ):
        await exporter.consume(batch)
        await until(lambda: not own.counts[Signal.TRACES].held())
    assert (own.counts[Signal.TRACES].sent, dict(own.counts[Signal.TRACES].dropped)) == (2, {"too_large": 1})


def partial_success() -> bytes:
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = 2
    response.partial_success.error_message = "too old"
    return response.SerializeToString()


@pytest.mark.parametrize(
    ("body", "content_type", "rejected"),
    [
        (partial_success(), "application/x-protobuf", 2),
        (b'{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}}', "application/json; charset=utf-8", 2),
        (b'{"partialSuccess":{"rejectedSpans":2}}', "application/json", 2),
        (b'{"partialSuccess":{}}', "application/json", 0),
        (b"{}", "application/json", 0),
        (b"[" * 100_000, "application/json", 0),
        (b'{"partialSuccess":{"rejectedSpans":"many"}}', "application/json", 0),
        (b"\xff\xff", "application/x-protobuf", 0),
        (b"<html>ok</html>", "text/html", 0),
        (b"", "", 0),
    ],
)
async def test_partial_success_is_counted_and_never_retried(body: bytes, content_type: str, rejected: int) -> None:
    """Rejected items are dropped for `rejected_by_peer`; an answer that cannot be read is a plain success."""
    own = make_settings()
    async with (
        serve(answer(200, body, content_type)) as server,
        export_to(f"http://127.0.0.1:{server.port}", {"sending_queue": DIRECT}, own) as exporter,
    ):
        await exporter.consume(spans(5))
    assert own.counts[Signal.TRACES].sent == 5 - rejected
    assert sum(own.counts[Signal.TRACES].dropped.values()) == rejected
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (Status(code=3, message=f"bad \x1b[31m {CANARY} end").SerializeToString(), "application/x-protobuf"),
        (json.dumps({"message": f"bad \x1b[31m {CANARY} end"}).encode(), "application/json"),
        (f"bad \x1b[31m {CANARY} end".encode(), "text/plain"),
    ],
)
async def test_error_bodies_are_read_scrubbed_and_escaped(body: bytes, content_type: str) -> None:
    """The message of a Status, in either encoding, is shown without our secrets and without control characters."""
    async with serve(answer(400, body, content_type)) as server:
        error = await consume_error(server, {"headers": {"authorization": f"Bearer {CANARY}"}})
    assert str(error) == f"http://127.0.0.1:{server.port}/v1/traces answered 400: bad \\x1b[31m *** end"


async def test_no_secret_of_an_endpoint_reaches_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """User name, password and query of a URL are sent, and appear in no log record and no error."""
    caplog.set_level(logging.DEBUG)
    own = make_settings()
    async with serve(
        answer(503), answer(401, b"who is dXNlcjpjYW5hcnktNDcxMS10b2tlbg== / key=canary-4711-key")
    ) as server:
        url = f"http://user:{CANARY}@127.0.0.1:{server.port}/v1?key=canary-4711-key"
        async with export_to("", {"traces_endpoint": url, "headers": {"x-key": CANARY}}, own) as exporter:
            await exporter.consume(spans())
            await until(lambda: own.counts[Signal.TRACES].dropped)
    assert server.requests[0].path == "/v1?key=canary-4711-key"
    assert server.requests[0].headers["authorization"] == "Basic dXNlcjpjYW5hcnktNDcxMS10b2tlbg=="
    assert "answered 401" in caplog.text
    assert "canary" not in caplog.text
    assert "dXNlcjpjYW5hcnkt" not in caplog.text


async def _forever(writer: asyncio.StreamWriter, head: bytes, chunk: bytes, pause: float = 0.0) -> None:
    writer.write(head)
    with suppress(ConnectionError):
        while not writer.is_closing():
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(pause)


async def endless_body(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _forever(writer, b"HTTP/1.1 500 X\r\n\r\n", b"x" * 65536)


async def endless_success(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _forever(writer, b"HTTP/1.1 200 X\r\n\r\n", b"x" * 65536)


async def endless_headers(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _forever(writer, b"HTTP/1.1 200 X\r\n", b"x-flood: " + b"x" * 4000 + b"\r\n")


async def dripping(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _forever(writer, b"HTTP/1.1 200 X\r\ncontent-length: 100000\r\n\r\n", b"x", 0.02)


async def silent(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def half_an_answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 X\r\ncontent-length: 10\r\n\r\nabc")
    await writer.drain()
    writer.close()


async def not_http(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n" * 3)
    await writer.drain()
    writer.close()


@pytest.mark.parametrize(
    ("script", "patience", "expected"),
    [
        (endless_body, "30s", PermanentError),
        (endless_success, "30s", None),
        (endless_headers, "30s", RetryableError),
        (dripping, "500ms", RetryableError),
        (silent, "500ms", RetryableError),
        (reset, "30s", RetryableError),
        (half_an_answer, "30s", RetryableError),
        (not_http, "30s", RetryableError),
    ],
)
async def test_an_evil_peer_costs_a_bounded_time_and_amount(
    script: Script, patience: str, expected: type[ConsumeError] | None
) -> None:
    """Endless, slow, broken and absent answers end, at the timeout at the latest, in the right kind of error."""
    async with serve(script) as server, asyncio.timeout(60):
        error = await consume_error(server, {"timeout": patience})
    assert (type(error) if error else None) is expected
    assert len(str(error)) < 500


async def test_compressed_answers_are_not_unpacked() -> None:
    """A bomb as answer stays packed: we ask for plain answers and never decompress."""
    bomb = gzip.compress(bytes(50_000_000))
    async with serve(answer(400, bomb, content_encoding="gzip")) as server:
        error = await consume_error(server)
    assert server.requests[0].headers["accept-encoding"] == "identity"
    assert isinstance(error, PermanentError)


async def test_cookies_are_not_kept() -> None:
    """What one answer sets is not sent with the next request."""
    async with (
        serve(answer(200, set_cookie="id=1; Path=/")) as server,
        export_to(f"http://127.0.0.1:{server.port}", {"sending_queue": DIRECT}) as exporter,
    ):
        await exporter.consume(spans())
        await exporter.consume(spans())
    assert [request.headers.get("cookie") for request in server.requests] == [None, None]


async def test_proxy_variables_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Telemetry goes where the configuration says, whatever the environment says."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serve() as server:
        assert await consume_error(server) is None


async def test_nobody_listening_is_retryable_and_shutdown_counts_it() -> None:
    """A refused connection keeps items; shutdown does not wait for a dead peer and counts what is lost."""
    own = make_settings()
    async with serve() as server:
        port = server.port
    async with export_to(f"http://127.0.0.1:{port}", {"retry_on_failure": {}}, own) as exporter:
        await exporter.consume(spans(4))
        assert own.counts[Signal.TRACES].held() == 4
    assert dict(own.counts[Signal.TRACES].dropped) == {"shutdown": 4}


async def test_shutdown_without_start_and_twice() -> None:
    """The lifecycle contract of components; a batch before the start is retryable."""
    exporter = OtlpHttp(OtlpHttpOptions(endpoint="http://peer:4318", sending_queue=DIRECT), make_settings())
    with pytest.raises(RetryableError):
        await asyncio.wait_for(asyncio.gather(exporter.consume(spans()), exporter.shutdown()), 10)
    await exporter.shutdown()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for `peer.test`, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=peer.test"
    extra = ["-addext", "subjectAltName=DNS:peer.test", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command.split(), *extra], check=True, capture_output=True)
    return cert, key


@pytest.mark.parametrize(
    ("tls", "accepted"),
    [
        ({"ca_file": "CERT", "server_name_override": "peer.test"}, True),
        ({"ca_file": "CERT", "server_name_override": "peer.test", "min_version": "1.3"}, False),
        ({"insecure_skip_verify": True}, True),
        ({"ca_file": "CERT"}, False),
        ({}, False),
    ],
)
async def test_tls_proves_the_peer(certificate: tuple[Path, Path], tls: dict[str, Any], accepted: bool) -> None:
    """Authority, name and version are checked, unless told not to; nothing is sent to a peer that fails."""
    cert, key = certificate
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    options = {
        "tls": {name: str(cert) if value == "CERT" else value for name, value in tls.items()},
        "sending_queue": DIRECT,
        "retry_on_failure": NO_RETRY,
    }
    async with serve(context=context) as server, export_to(f"https://127.0.0.1:{server.port}", options) as exporter:
        if accepted:
            await exporter.consume(spans())
        else:
            with pytest.raises(RetryableError):
                await exporter.consume(spans())
    assert len(server.requests) == int(accepted)


@pytest.mark.parametrize("name", ["ca_file", "cert_file"])
async def test_unusable_certificates_are_configuration_errors(tmp_path: Path, name: str) -> None:
    """A file that is missing, or is not PEM, is a problem with the option's path, found at the start."""
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    for file in (garbage, tmp_path / "missing.pem"):
        tls = {name: str(file), **({"key_file": str(file)} if name == "cert_file" else {})}
        options = OtlpHttpOptions.model_validate({"endpoint": "https://peer:4318", "tls": tls})
        with pytest.raises(ConfigError, match="exporters::otlp_http::tls"):
            await OtlpHttp(options, make_settings("otlp_http")).start()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs endpoint"),
        ({"endpoint": "peer:4318"}, "must begin with http"),
        ({"endpoint": "ftp://peer"}, "must begin with http"),
        ({"endpoint": "file:///etc/passwd"}, "must begin with http"),
        ({"endpoint": "http://"}, "no host"),
        ({"endpoint": "http://peer:99999"}, "not a URL"),
        ({"endpoint": "http://peer/\x01"}, "not a URL"),
        ({"endpoint": "http://ex ample"}, "odd characters"),
        ({"endpoint": "http://169.254.169.254/latest"}, "link-local"),
        ({"endpoint": "http://[fe80::1]:4318"}, "link-local"),
        ({"logs_endpoint": "http://2852039166/"}, "link-local"),
        ({"endpoint": "http://peer", "headers": {"content-type": "x"}}, "not a name that can be set"),
        ({"endpoint": "http://peer", "headers": {"x": f"{CANARY}\r\ny: z"}}, "not printable ASCII"),
        ({"endpoint": "http://peer", "compression": "snappy"}, "'gzip', 'deflate', 'zstd' or 'none'"),
        ({"endpoint": "http://peer", "endpiont": "x"}, "Extra inputs"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], message: str) -> None:
    """What is wrong is said before the start, without the values of headers."""
    with pytest.raises(ValidationError, match=message) as caught:
        OtlpHttpOptions.model_validate(options)
    assert CANARY not in "".join(str(error["msg"]) for error in caught.value.errors())


def test_link_local_can_be_meant() -> None:
    """The option allows what is refused by default."""
    OtlpHttpOptions(endpoint="http://169.254.1.1:4318", allow_link_local=True)
