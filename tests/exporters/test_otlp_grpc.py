"""The gRPC exporter against real servers that answer as scripted."""

import asyncio
import logging
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from pydantic import ValidationError

from otel_pipeline.component import Health, Settings
from otel_pipeline.errors import ConfigError, ConsumeError, PermanentError, RetryableError
from otel_pipeline.exporters.otlp_grpc import OtlpGrpc, OtlpGrpcOptions
from otel_pipeline.pdata import Batch, Signal, from_proto
from otel_pipeline.testing import make_settings, make_span, make_traces, until

CANARY = "canary-4711-token"
FAST_RETRY = {"initial_interval": "1ms", "max_interval": "2ms"}
DIRECT = {"enabled": False}
NO_RETRY = {"enabled": False}

Answer = Callable[[grpc.aio.ServicerContext], Any]


def refuse(code: grpc.StatusCode, message: str = "no", metadata: tuple[tuple[str, bytes], ...] = ()) -> Answer:
    async def answer(context: grpc.aio.ServicerContext) -> None:
        await context.abort(code, message, metadata)

    return answer


@dataclass
class Server(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers calls from a list, the last entry over and over; keeps what it was sent."""

    answers: list[bytes | Answer] = field(default_factory=lambda: [b""])
    bodies: list[tuple[str, bytes]] = field(default_factory=list)
    metadata: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        async def export(body: bytes, context: grpc.aio.ServicerContext) -> bytes:
            self.bodies.append((handler_call_details.method, body))
            self.metadata.append(dict(context.invocation_metadata() or ()))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if isinstance(answer, bytes):
                return answer
            return bytes(await answer(context) or b"")

        return grpc.unary_unary_rpc_method_handler(export)


@asynccontextmanager
async def serve(
    *answers: bytes | Answer,
    options: list[tuple[str, int]] | None = None,
    credentials: grpc.ServerCredentials | None = None,
    port: int = 0,
) -> AsyncIterator[Server]:
    scripted = Server(list(answers) or [b""])
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0), *(options or [])])
    server.add_generic_rpc_handlers((scripted,))
    address = f"127.0.0.1:{port}"
    scripted.port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    await server.start()
    try:
        yield scripted
    finally:
        await server.stop(None)


@asynccontextmanager
async def export_to(
    endpoint: str, options: dict[str, Any] | None = None, given: Settings | None = None
) -> AsyncIterator[OtlpGrpc]:
    config = OtlpGrpcOptions.model_validate(
        {"endpoint": endpoint, "tls": {"insecure": True}, "retry_on_failure": FAST_RETRY, **(options or {})}
    )
    exporter = OtlpGrpc(config, given or make_settings("otlp_grpc"))
    await exporter.start()
    try:
        yield exporter
    finally:
        await asyncio.wait_for(exporter.shutdown(), 20)


def spans(count: int = 2) -> Batch:
    return make_traces(*[make_span(span=number + 1) for number in range(count)])


def logs() -> Batch:
    record = LogRecord(severity_text="INFO")
    return from_proto(
        ExportLogsServiceRequest(resource_logs=[ResourceLogs(scope_logs=[ScopeLogs(log_records=[record])])])
    )


async def consume_error(server: Server, options: dict[str, Any] | None = None) -> ConsumeError | None:
    """What one direct export, without retry, ends in."""
    direct = {"sending_queue": DIRECT, "retry_on_failure": NO_RETRY, **(options or {})}
    async with export_to(f"127.0.0.1:{server.port}", direct) as exporter:
        try:
            await exporter.consume(spans())
        except ConsumeError as error:
            return error
    return None


@pytest.mark.parametrize("compression", ["gzip", "deflate", "none"])
async def test_each_signal_arrives_at_its_service_as_it_was(compression: str) -> None:
    """The peer gets the very bytes of each batch at the service of its signal, with headers and our name."""
    own = make_settings()
    headers = {"Authorization": CANARY}
    async with serve() as server:
        options = {"compression": compression, "headers": headers, "sending_queue": {"batch": {"min_size": 0}}}
        async with export_to(f"http://127.0.0.1:{server.port}", options, own) as exporter:
            sent = [spans(), logs()]
            for batch in sent:
                await exporter.consume(batch)
            await until(lambda: len(server.bodies) == 2)
    assert sorted(server.bodies) == sorted(
        [
            ("/opentelemetry.proto.collector.trace.v1.TraceService/Export", sent[0].data),
            ("/opentelemetry.proto.collector.logs.v1.LogsService/Export", sent[1].data),
        ]
    )
    assert server.metadata[0]["authorization"] == CANARY
    assert str(server.metadata[0]["user-agent"]).startswith("otel-pipeline/")
    assert (own.counts[Signal.TRACES].sent, own.counts[Signal.LOGS].sent) == (2, 1)


RETRYABLE = ["CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"]
PERMANENT = [
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "FAILED_PRECONDITION",
    "UNIMPLEMENTED",
    "INTERNAL",
]


@pytest.mark.parametrize("code", RETRYABLE + PERMANENT)
async def test_only_the_codes_of_the_specification_are_retryable(code: str) -> None:
    """Items 45 and 46 of the OTLP checklist: each gRPC code is retried, or never."""
    async with serve(refuse(grpc.StatusCode[code], "reason")) as server:
        error = await consume_error(server)
    assert type(error) is (RetryableError if code in RETRYABLE else PermanentError)
    assert str(error) == f"{code}: reason"
    assert len(server.bodies) == 1


def in_details(seconds: float) -> tuple[tuple[str, bytes], ...]:
    detail = AnyMessage()
    detail.Pack(RetryInfo(retry_delay=Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))))
    return (("grpc-status-details-bin", Status(code=14, details=[detail]).SerializeToString()),)


def in_own_trailer(seconds: int) -> tuple[tuple[str, bytes], ...]:
    return (("google.rpc.retryinfo-bin", RetryInfo(retry_delay=Duration(seconds=seconds)).SerializeToString()),)


@pytest.mark.parametrize(
    ("metadata", "delay"),
    [
        (in_details(2.5), 2.5),
        (in_own_trailer(3), 3.0),
        (in_own_trailer(-3), 0.0),
        ((("grpc-status-details-bin", b"\xff\xff\xff"),), None),
        ((("google.rpc.retryinfo-bin", b"\x0a\xff"),), None),
    ],
)
async def test_the_delay_that_a_server_asks_for_is_read(metadata: Any, delay: float | None) -> None:
    """RetryInfo is read from both places where servers put it; garbage there is no delay."""
    async with serve(refuse(grpc.StatusCode.UNAVAILABLE, "busy", metadata)) as server:
        error = await consume_error(server)
    assert isinstance(error, RetryableError)
    assert error.retry_after == delay


async def test_resource_exhausted_is_retryable_by_retry_info_or_by_option() -> None:
    """Without RetryInfo the option decides; a message about sizes is never retried as it is."""
    exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED
    strict = {"retry_bare_resource_exhausted": False}
    async with serve(refuse(exhausted, "memory", in_details(1))) as server:
        assert isinstance(await consume_error(server, strict), RetryableError)
    async with serve(refuse(exhausted, "data refused due to high memory usage")) as server:
        assert isinstance(await consume_error(server), RetryableError)
        assert isinstance(await consume_error(server, strict), PermanentError)


async def test_a_busy_peer_gets_everything_in_the_end() -> None:
    """Retryable answers, then success: each item is sent once and nothing is dropped."""
    own = make_settings()
    busy = refuse(grpc.StatusCode.UNAVAILABLE)
    async with serve(busy, busy, b"") as server, export_to(f"127.0.0.1:{server.port}", {}, own) as exporter:
        await exporter.consume(spans(5))
        await until(lambda: own.counts[Signal.TRACES].sent == 5)
    assert len(server.bodies) == 3
    assert not own.counts[Signal.TRACES].dropped


async def test_what_a_real_server_finds_too_large_arrives_in_pieces() -> None:
    """Against grpcio's own message limit a large batch is cut until it fits."""
    own = make_settings()
    batch = make_traces(*[make_span(span=number + 1, text="x" * 1000) for number in range(40)])
    async with (
        serve(options=[("grpc.max_receive_message_length", 15_000)]) as server,
        export_to(f"127.0.0.1:{server.port}", {"compression": "none"}, own) as exporter,
    ):
        await exporter.consume(batch)
        await until(lambda: own.counts[Signal.TRACES].sent == 40)
    assert len(server.bodies) >= 3
    assert not own.counts[Signal.TRACES].dropped


@pytest.mark.parametrize(
    "message",
    [
        "Received message larger than max (5242880 vs. 4194304)",
        "grpc: received message larger than max (5242880 vs. 4194304)",
        "gRPC message exceeds maximum size 4194304: 5242880",
        "Error, decoded message length too large: found 5242880 bytes, the limit is: 4194304 bytes",
    ],
)
@pytest.mark.parametrize("code", ["RESOURCE_EXHAUSTED", "OUT_OF_RANGE"])
async def test_the_size_errors_of_other_servers_are_known(message: str, code: str) -> None:
    """C++, Go, Java and tonic servers say it in their words; a single item over the limit is dropped, not retried."""
    own = make_settings()
    async with (
        serve(refuse(grpc.StatusCode[code], message)) as server,
        export_to(f"127.0.0.1:{server.port}", {}, own) as exporter,
    ):
        await exporter.consume(spans(1))
        await until(lambda: own.counts[Signal.TRACES].dropped)
    assert dict(own.counts[Signal.TRACES].dropped) == {"too_large": 1}
    assert len(server.bodies) == 1


async def test_partial_success_is_read_for_each_signal(caplog: pytest.LogCaptureFixture) -> None:
    """Rejected items are counted and never sent again; the message of the peer is scrubbed and escaped."""
    own = make_settings()
    trace_answer, log_answer = ExportTraceServiceResponse(), ExportLogsServiceResponse()
    trace_answer.partial_success.rejected_spans = 2
    trace_answer.partial_success.error_message = f"bad\x1b[31m {CANARY}"
    log_answer.partial_success.rejected_log_records = 1
    options = {"sending_queue": DIRECT, "headers": {"authorization": f"Bearer {CANARY}"}}
    async with (
        serve(trace_answer.SerializeToString(), log_answer.SerializeToString(), b"\xff\xff") as server,
        export_to(f"127.0.0.1:{server.port}", options, own) as exporter,
    ):
        await exporter.consume(spans(5))
        await exporter.consume(logs())
        await exporter.consume(spans(1))
    assert (own.counts[Signal.TRACES].sent, dict(own.counts[Signal.TRACES].dropped)) == (4, {"rejected_by_peer": 2})
    assert dict(own.counts[Signal.LOGS].dropped) == {"rejected_by_peer": 1}
    assert len(server.bodies) == 3
    assert "bad\\x1b[31m ***" in caplog.text
    assert CANARY not in caplog.text


async def test_a_response_over_4_mib_is_not_kept_and_not_retried() -> None:
    """A peer cannot fill our memory with its answer, nor make us send again and again."""
    async with serve(b"\x0a" * (5 << 20)) as server:
        error = await consume_error(server)
    assert isinstance(error, PermanentError)
    assert "4194304" in str(error)


async def test_a_slow_peer_costs_the_timeout() -> None:
    """A try ends at `timeout`, as retryable."""

    async def never(_context: grpc.aio.ServicerContext) -> None:
        await asyncio.sleep(60)

    async with serve(never) as server:
        error = await consume_error(server, {"timeout": "50ms"})
    assert isinstance(error, RetryableError)
    assert "DEADLINE_EXCEEDED" in str(error)


async def test_huge_metadata_of_a_peer_is_refused() -> None:
    """Trailing metadata over the limit is an error of the call, not our memory."""
    flood = refuse(grpc.StatusCode.INVALID_ARGUMENT, "no", (("x-flood-bin", b"x" * 300_000),))
    async with serve(flood) as server:
        assert isinstance(await consume_error(server), ConsumeError)


async def test_error_texts_are_fit_for_logs() -> None:
    """The message of a peer is one line without control characters or our headers, cut to a bearable length."""
    evil = refuse(grpc.StatusCode.INVALID_ARGUMENT, f"{CANARY}\n\x1b]0;x\x07" + "y" * 5000)
    async with serve(evil) as server:
        error = await consume_error(server, {"headers": {"x-key": CANARY}})
    text = str(error)
    assert CANARY not in text
    assert text.isprintable()
    assert len(text) < 400


async def test_the_connection_comes_back() -> None:
    """Items wait while the peer is away, its absence is reported, and they arrive when it is back."""
    own = make_settings()
    healths: list[Health] = []
    own.report = lambda health, _reason: healths.append(health)
    async with serve() as server:
        port = server.port
    async with export_to(f"127.0.0.1:{port}", {"retry_on_failure": {"initial_interval": "50ms"}}, own) as exporter:
        await exporter.consume(spans(3))
        await until(lambda: Health.RECOVERABLE_ERROR in healths)
        assert own.counts[Signal.TRACES].held() == 3
        async with serve(port=port):
            await until(lambda: own.counts[Signal.TRACES].sent == 3)
    assert healths[-1] is Health.OK


async def test_shutdown_does_not_wait_for_a_dead_peer(caplog: pytest.LogCaptureFixture) -> None:
    """With nobody listening, shutdown tries each request once, counts the rest and ends long before any deadline."""
    caplog.set_level(logging.INFO)
    own = make_settings()
    async with serve() as server:
        port = server.port
    async with export_to(f"127.0.0.1:{port}", {"retry_on_failure": {}}, own) as exporter:
        for _ in range(3):
            await exporter.consume(spans(4))
    assert dict(own.counts[Signal.TRACES].dropped) == {"shutdown": 12}
    assert own.counts[Signal.TRACES].held() == 0
    assert "12 items undelivered" in caplog.text


async def test_shutdown_without_start_and_twice() -> None:
    """The lifecycle contract of components."""
    exporter = OtlpGrpc(OtlpGrpcOptions(endpoint="localhost:4317"), make_settings())
    await exporter.shutdown()
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


async def test_tls_proves_the_peer(certificate: tuple[Path, Path]) -> None:
    """With the right authority and name the call goes through; without, nothing is sent. https:// beats `insecure`."""
    cert, key = certificate
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])
    trusted = {"ca_file": str(cert), "server_name_override": "peer.test"}
    async with serve(credentials=credentials) as server:
        endpoint = f"127.0.0.1:{server.port}"
        async with export_to(endpoint, {"tls": trusted, "sending_queue": DIRECT}) as exporter:
            await exporter.consume(spans())
        insecure = {"tls": {**trusted, "insecure": True}, "sending_queue": DIRECT}
        async with export_to(f"https://{endpoint}", insecure) as exporter:
            await exporter.consume(spans())
        for tls in ({}, {"ca_file": str(cert)}):
            options = {"tls": tls, "sending_queue": DIRECT, "retry_on_failure": NO_RETRY}
            async with export_to(endpoint, options) as exporter:
                with pytest.raises(RetryableError):
                    await exporter.consume(spans())
    assert len(server.bodies) == 2


async def test_a_missing_certificate_file_is_a_configuration_error() -> None:
    """The problem names the option and the file."""
    options = OtlpGrpcOptions.model_validate({"endpoint": "peer:4317", "tls": {"ca_file": "/nonexistent/ca.pem"}})
    exporter = OtlpGrpc(options, make_settings("otlp_grpc/eu"))
    with pytest.raises(ConfigError, match=r"exporters::otlp_grpc/eu::tls::ca_file: cannot read '/nonexistent/ca.pem'"):
        await exporter.start()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Field required"),
        ({"endpoint": "peer"}, "4317"),
        ({"endpoint": "http://peer:4317"}, "insecure: true"),
        ({"endpoint": "169.254.169.254:80"}, "link-local"),
        ({"endpoint": "peer:1", "tls": {"insecure_skip_verify": True}}, "insecure_skip_verify is not possible"),
        ({"endpoint": "peer:1", "tls": {"min_version": "1.3"}}, "min_version"),
        ({"endpoint": "peer:1", "tls": {"cert_file": "x"}}, "key_file belong together"),
        ({"endpoint": "peer:1", "headers": {"grpc-timeout": "x"}}, "not a name that can be set"),
        ({"endpoint": "peer:1", "headers": {"x": f"{CANARY}\n"}}, "not printable ASCII"),
        ({"endpoint": "peer:1", "timeout": "0s"}, "greater than 0"),
        ({"endpoint": "peer:1", "compresion": "gzip"}, "Extra inputs"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], message: str) -> None:
    """What is wrong is said before the start, without the values of headers."""
    with pytest.raises(ValidationError, match=message) as caught:
        OtlpGrpcOptions.model_validate(options)
    assert CANARY not in "".join(str(error["msg"]) for error in caught.value.errors())


def test_secrets_are_not_in_the_text_of_options() -> None:
    """Headers stay hidden when options are printed."""
    options = OtlpGrpcOptions.model_validate({"endpoint": "peer:1", "headers": {"x-key": CANARY}})
    assert CANARY not in repr(options) + options.model_dump_json()
