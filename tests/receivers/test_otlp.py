"""The receiver `otlp` as a component: its options, its life, TLS, browsers, and the real SDK."""

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from pydantic import ValidationError

from otel_pipeline.component import Kind, discover
from otel_pipeline.errors import ConfigError, PermanentError, RetryableError
from otel_pipeline.helpers.endpoint import BindError
from otel_pipeline.helpers.otlp_intake import PROTOCOL
from otel_pipeline.pdata import Signal
from otel_pipeline.receivers.otlp import Otlp, OtlpConfig
from otel_pipeline.testing import Sink, make_settings, make_span, make_traces


def test_is_found_by_its_type() -> None:
    """The folder of receivers gives it to the service."""
    assert discover(Kind.RECEIVER)["otlp"] is Otlp


def test_protocols_without_values_have_their_defaults() -> None:
    """As in the Collector: `grpc:` alone serves gRPC and nothing else."""
    protocols = OtlpConfig.model_validate({"protocols": {"grpc": None}}).protocols
    assert protocols.grpc is not None
    assert protocols.http is None
    assert OtlpConfig().protocols.http is not None


def test_a_configuration_of_the_collector_carries_over() -> None:
    """Its keys have its meaning."""
    config = OtlpConfig.model_validate(
        {
            "protocols": {
                "grpc": {
                    "endpoint": "localhost:4317",
                    "max_recv_msg_size_mib": 16,
                    "max_concurrent_streams": 50,
                    "keepalive": {
                        "server_parameters": {
                            "max_connection_idle": "11s",
                            "max_connection_age": "12s",
                            "max_connection_age_grace": "13s",
                            "time": "30s",
                            "timeout": "5s",
                        },
                        "enforcement_policy": {"min_time": "10s", "permit_without_stream": True},
                    },
                },
                "http": {
                    "endpoint": "localhost:4318",
                    "traces_url_path": "/a",
                    "max_request_body_size": 20971520,
                    "compression_algorithms": ["", "gzip"],
                    "cors": {"allowed_origins": ["https://*.example.com"], "allowed_headers": ["*"], "max_age": 7200},
                    "response_headers": {"X-Served-By": "gateway"},
                    "read_timeout": "1m",
                    "read_header_timeout": "20s",
                    "idle_timeout": "1m",
                    "keep_alives_enabled": False,
                },
            }
        }
    )
    assert config.protocols.grpc is not None
    arguments = config.protocols.grpc.channel_arguments()
    assert arguments["grpc.max_connection_age_ms"] == 12_000
    assert arguments["grpc.max_concurrent_streams"] == 50


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocols": {}}, "at least one protocol"),
        ({"protocols": {"thrift": None}}, "Extra inputs"),
        ({"protocols": {"grpc": {"endpoint": "http://localhost:4317"}}}, "without http://"),
        ({"protocols": {"grpc": {"endpoint": "0.0.0.0:4317"}}}, "insecure_ok: true"),
        ({"protocols": {"http": {"endpoint": ":4318"}}}, "insecure_ok: true"),
        ({"protocols": {"http": {"traces_url_path": "v1/traces"}}}, "not a path"),
        ({"protocols": {"http": {"traces_url_path": "/v1/logs"}}}, "must differ"),
        ({"protocols": {"http": {"compression_algorithms": ["snappy"]}}}, "compression_algorithms"),
        ({"protocols": {"http": {"response_headers": {"a": "b\r\nc"}}}}, "not a header"),
        ({"protocols": {"http": {"response_headers": {"Content-Length": "1"}}}}, "set by the server"),
        ({"protocols": {"grpc": {"tls": {"cert_file": "a", "key_file": "b", "min_version": "1.3"}}}}, "TLS 1.3"),
        ({"max_bytes_in_flight_mib": 100}, "at least 128"),
    ],
)
def test_wrong_options_say_what_to_do(options: dict[str, Any], message: str) -> None:
    """Each problem is found before anything is opened."""
    with pytest.raises(ValidationError, match=message):
        OtlpConfig.model_validate(options)


@pytest.mark.parametrize(
    "listener", [{"insecure_ok": True}, {"tls": {"cert_file": "a", "key_file": "b", "client_ca_file": "c"}}]
)
def test_open_addresses_need_proof_or_consent(listener: dict[str, Any]) -> None:
    """Client certificates, or the user's word, open an address to other machines."""
    for protocol in ("grpc", "http"):
        OtlpConfig.model_validate({"protocols": {protocol: {"endpoint": "0.0.0.0:1"} | listener}})


async def test_shutdown_twice_and_without_start() -> None:
    """Stopping is safe at any time, and can be followed by nothing."""
    receiver = Otlp(OtlpConfig(), make_settings("otlp"), {})
    await receiver.shutdown()
    await receiver.shutdown()


async def test_a_start_that_fails_leaves_nothing_open(serve: Any, gateway: Any) -> None:
    """When the second address is taken, the first is free again, and the error names the second."""
    taken = gateway.http_url.removeprefix("http://")
    protocols = {"grpc": {"endpoint": "127.0.0.1:0"}, "http": {"endpoint": taken}}
    receiver = Otlp(OtlpConfig.model_validate({"protocols": protocols}), make_settings("otlp"), {})
    with pytest.raises(BindError, match=taken):
        await receiver.start()
    assert receiver.grpc is None


async def test_localhost_is_served_on_every_family(serve: Any) -> None:
    """Senders that resolve `localhost` to either address are served."""
    gateway = await serve(grpc={"endpoint": "localhost:0"}, http={"endpoint": "localhost:0"})
    assert (await gateway.send("grpc", Signal.TRACES)).ok
    assert (await gateway.send("http-protobuf", Signal.TRACES)).ok


async def test_unix_sockets(serve: Any, tmp_path: Path) -> None:
    """Both protocols listen on paths too."""
    gateway = await serve(grpc={"endpoint": f"unix:{tmp_path}/g"}, http={"endpoint": f"unix:{tmp_path}/h"})
    body = gateway.protobuf_request(Signal.TRACES)
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=f"{tmp_path}/h")) as client:
        headers = {"content-type": "application/x-protobuf"}
        answer = await client.post("http://localhost/v1/traces", content=body, headers=headers)
    assert answer.status_code == 200
    assert (await gateway.grpc(Signal.TRACES, body)).ok


async def test_response_headers_are_on_every_answer(serve: Any) -> None:
    """Success and failure carry what the configuration adds."""
    gateway = await serve(http={"response_headers": {"X-Served-By": "gateway"}})
    for body in (b"", b"\xff"):
        assert (await gateway.http(Signal.LOGS, body)).headers["x-served-by"] == "gateway"


async def test_item_limits(serve: Any) -> None:
    """What is over a limit is cut and counted, and the item kept."""
    gateway = await serve(limits={"max_attributes": 2, "max_value_bytes": 10})
    span = make_span(a="x" * 50, b=1, c=2)
    assert (await gateway.send("grpc", Signal.TRACES, make_traces(span).data)).ok
    (kept,) = gateway.sinks[Signal.TRACES].spans()
    assert [attribute.key for attribute in kept.attributes] == ["a", "b"]
    assert kept.attributes[0].value.string_value == "x" * 10
    findings = gateway.settings.telemetry.counters["otelcol_receiver_findings"].values
    assert findings["otlp", "traces", "attribute_dropped"] == 1
    assert findings["otlp", "traces", "value_truncated"] == 1


async def test_allowed_hosts(serve: Any) -> None:
    """Names that the configuration lists are served, the local ones then only if listed."""
    gateway = await serve(http={"allowed_hosts": ["gateway.internal"]})
    assert (await gateway.http(Signal.LOGS, b"", host="gateway.internal:4318")).ok
    assert (await gateway.http(Signal.LOGS, b"")).code == 403


# --- browsers

ORIGIN = "https://app.example.com"
PREFLIGHT = {
    "origin": ORIGIN,
    "access_control_request_method": "POST",
    "access_control_request_headers": "content-type,x-team",
}


async def test_cors_preflight_and_request(serve: Any) -> None:
    """A listed page may ask and send; it reads the answer, errors too."""
    cors = {"allowed_origins": ["https://*.example.com"], "allowed_headers": ["x-team"], "max_age": 60}
    gateway = await serve(http={"cors": cors | {"exposed_headers": ["retry-after"]}})
    answer = await gateway.http(Signal.LOGS, method="OPTIONS", content_type=None, **PREFLIGHT)
    assert answer.code == 204
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-methods"] == "POST"
    assert answer.headers["access-control-allow-headers"] == "content-type, content-encoding, x-team"
    assert answer.headers["access-control-max-age"] == "60"
    assert answer.headers["vary"] == "origin"
    for body, code in ((b"", 200), (b"\xff", 400)):
        answer = await gateway.http(Signal.LOGS, body, origin=ORIGIN)
        assert answer.code == code
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["access-control-expose-headers"] == "retry-after"


async def test_cors_allows_all_headers_by_a_star(serve: Any) -> None:
    """`*` answers with what was asked for."""
    gateway = await serve(http={"cors": {"allowed_origins": ["*"], "allowed_headers": ["*"]}})
    answer = await gateway.http(Signal.LOGS, method="OPTIONS", content_type=None, **PREFLIGHT)
    assert answer.headers["access-control-allow-headers"] == "content-type,x-team"


@pytest.mark.parametrize("cors", [None, {"allowed_origins": ["https://other.example"]}])
async def test_pages_that_are_not_listed_may_not_ask(serve: Any, cors: Any) -> None:
    """Without CORS, or from another origin, the browser gets no permission and the gateway takes nothing."""
    gateway = await serve(http={"cors": cors} if cors else {})
    answer = await gateway.http(Signal.LOGS, method="OPTIONS", content_type=None, **PREFLIGHT)
    assert answer.code == 403
    assert "access-control-allow-origin" not in answer.headers
    assert (await gateway.http(Signal.LOGS, b"", origin=ORIGIN)).code == 403


# --- TLS


@pytest.mark.parametrize("mutual", [False, True])
async def test_tls(serve: Any, certificates: Path, mutual: bool) -> None:
    """Both protocols speak TLS; with a client authority, only to clients that it signed."""
    tls = {"cert_file": str(certificates / "server.pem"), "key_file": str(certificates / "server.key")}
    if mutual:
        tls["client_ca_file"] = str(certificates / "ca.pem")
    gateway = await serve(grpc={"tls": tls}, http={"tls": tls})
    body = gateway.protobuf_request(Signal.TRACES)
    for with_certificate in (True, False):
        context = ssl.create_default_context(cafile=certificates / "ca.pem")
        if with_certificate:
            context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
        expected = contextlib.nullcontext() if with_certificate or not mutual else pytest.raises(httpx.TransportError)
        with expected:
            async with httpx.AsyncClient(verify=context, trust_env=False) as client:
                url = gateway.http_url.replace("http:", "https:") + "/v1/traces"
                answer = await client.post(url, content=body, headers={"content-type": "application/x-protobuf"})
            assert answer.status_code == 200
        credentials = grpc.ssl_channel_credentials(
            (certificates / "ca.pem").read_bytes(),
            (certificates / "client.key").read_bytes() if with_certificate else None,
            (certificates / "client.pem").read_bytes() if with_certificate else None,
        )
        expected = contextlib.nullcontext() if with_certificate or not mutual else pytest.raises(grpc.aio.AioRpcError)
        with expected:
            async with grpc.aio.secure_channel(gateway.grpc_target, credentials) as channel:
                call = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
                assert await call(body, timeout=60) == b""
    assert gateway.sinks[Signal.TRACES].items == (2 if mutual else 4)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize(
    ("cert", "key", "message"),
    [
        ("missing.pem", "server.key", r"otlp::protocols::\w+::tls::cert_file: cannot read .*missing\.pem"),
        ("server.pem", "client.key", r"tls: a certificate or key cannot be used"),
        ("server.key", "server.key", r"tls: a certificate or key cannot be used"),
    ],
)
async def test_unusable_tls_files_are_named(
    serve: Any, certificates: Path, protocol: str, cert: str, key: str, message: str
) -> None:
    """A missing file, or a key of another certificate, ends the start with the option's path."""
    tls = {"cert_file": str(certificates / cert), "key_file": str(certificates / key)}
    with pytest.raises(ConfigError, match=message):
        await serve(**{protocol: {"tls": tls}})


# --- the real SDK


@pytest.mark.parametrize("transport", ["grpc", "http"])
@pytest.mark.parametrize("compressed", [False, True])
async def test_python_sdk_delivers(gateway: Any, transport: str, compressed: bool) -> None:
    """The exporters of opentelemetry-python deliver spans, metrics and log records, and report no error."""
    sending = asyncio.to_thread(_send_with_sdk, gateway, transport, compressed)
    assert await sending
    assert {span.name for span in gateway.sinks[Signal.TRACES].spans()} == {"parent", "child"}
    assert gateway.sinks[Signal.METRICS].items >= 1
    assert gateway.sinks[Signal.LOGS].items == 1


def _send_with_sdk(gateway: Any, transport: str, compressed: bool) -> bool:
    span_exporter, metric_exporter, log_exporter = _exporters(gateway, transport, compressed)
    tracing = TracerProvider()
    tracing.add_span_processor(BatchSpanProcessor(span_exporter))
    tracer = tracing.get_tracer("test")
    with tracer.start_as_current_span("parent"), tracer.start_as_current_span("child"):
        pass
    metering = MeterProvider([PeriodicExportingMetricReader(metric_exporter, export_interval_millis=3_600_000)])
    metering.get_meter("test").create_counter("deliveries").add(1, {"stage": "build"})
    logging_ = LoggerProvider()
    logging_.add_log_record_processor(BatchLogRecordProcessor(log_exporter))
    logging_.get_logger("test").emit(body="hello", severity_number=SeverityNumber.INFO)
    flushed = [provider.force_flush(10_000) for provider in (tracing, metering, logging_)]
    for provider in (tracing, metering, logging_):
        provider.shutdown()
    return all(flushed)


def _exporters(gateway: Any, transport: str, compressed: bool) -> tuple[Any, Any, Any]:
    if transport == "grpc":
        options: dict[str, Any] = {"endpoint": gateway.grpc_target, "insecure": True}
        options["compression"] = grpc.Compression.Gzip if compressed else None
        return GrpcSpanExporter(**options), GrpcMetricExporter(**options), GrpcLogExporter(**options)
    compression = Compression.Gzip if compressed else Compression.NoCompression
    exporters = []
    for exporter, path in ((HttpSpanExporter, "traces"), (HttpMetricExporter, "metrics"), (HttpLogExporter, "logs")):
        exporters.append(exporter(endpoint=f"{gateway.http_url}/v1/{path}", compression=compression))
    return tuple(exporters)  # type: ignore[return-value]


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_python_sdk_sends_again_what_was_refused(gateway: Any, transport: str) -> None:
    """A refusal costs a second, not the data."""
    sink: Sink = gateway.sinks[Signal.TRACES]
    sink.answers = [RetryableError("the queue is full", retry_after=0.1)]
    assert await asyncio.to_thread(_send_with_sdk, gateway, transport, False)
    assert {span.name for span in sink.spans()} == {"parent", "child"}
    assert gateway.counted()[transport, "refused", "refused"] == 1


# --- what is known of senders


@pytest.mark.parametrize(
    ("way", "compression", "expected"),
    [
        ("grpc", None, "grpc"),
        ("http-protobuf", None, "http/protobuf"),
        ("http-protobuf", "gzip", "http/protobuf gzip"),
        ("http-json", None, "http/json"),
    ],
)
async def test_what_is_behind_can_tell_the_protocol(
    serve: Any, way: str, compression: str | None, expected: str
) -> None:
    """It is that of the request under way."""
    protocols: list[str] = []

    async def consume(_batch: Any) -> None:
        protocols.append(PROTOCOL.get())

    gateway = await serve(consumer=consume)
    assert (await gateway.send(way, Signal.TRACES, compression=compression)).ok
    assert protocols == [expected]


@pytest.mark.parametrize("way", ["grpc", "http-protobuf", "http-json"])
async def test_a_refusal_is_remembered_for_its_sender(serve: Any, way: str) -> None:
    """With the reason and the words that the sender got, by all protocols."""
    sink = Sink(answers=[RetryableError("full"), PermanentError("no")])
    gateway = await serve(consumer=sink)
    for reason, message in (("refused", "full"), ("rejected", "no")):
        await gateway.send(way, Signal.TRACES)
        ((sender, error),) = gateway.settings.telemetry.sender_errors.read().items()
        assert sender == ("test", "traces")
        assert (error.reason, error.message) == (reason, message)


async def test_rejected_items_and_bad_bodies_are_remembered_too(gateway: Any) -> None:
    """A span without a trace id; a request that breaks off; one that says nothing of its sender."""
    errors = gateway.settings.telemetry.sender_errors
    bad = make_span()
    bad.trace_id = b""
    assert (await gateway.send("grpc", Signal.TRACES, make_traces(bad, resource={"service.name": "a"}).data)).ok
    assert errors.read()["a", "traces"].reason == "rejected_items"
    named = make_traces(make_span(), resource={"service.name": "b"}).data
    assert not (await gateway.send("http-protobuf", Signal.TRACES, named + b"\x0a\xff")).ok
    assert errors.read()["b", "traces"].reason == "undecodable"
    assert not (await gateway.send("http-json", Signal.LOGS, b"{")).ok
    assert errors.read()["unknown_service", "logs"].reason == "undecodable"


@pytest.mark.parametrize("way", ["grpc", "http-protobuf"])
async def test_overload_is_remembered_for_its_sender(gateway: Any, way: str) -> None:
    """Also where a request is turned away before it is decoded."""
    gateway.receiver.refusal = lambda: "memory is used up"
    assert not (await gateway.send(way, Signal.TRACES)).ok
    error = gateway.settings.telemetry.sender_errors.read()["test", "traces"]
    assert (error.reason, error.message) == ("refused", "memory is used up")
