"""Every row of the code table, over real gRPC and HTTP: what a sender is told decides whether data is lost."""

import asyncio
import gzip
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status

from otel_pipeline.errors import PermanentError, RetryableError, TooLargeError
from otel_pipeline.pdata import Signal
from otel_pipeline.testing import make_span, make_traces

WAYS = ["grpc", "http-protobuf", "http-json"]
MIB = 1 << 20
INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 3, 8, 12, 13, 14

every_way = pytest.mark.parametrize("way", WAYS)
every_signal = pytest.mark.parametrize("signal", list(Signal))
every_compression = pytest.mark.parametrize("compression", [None, "gzip"])


def retry_seconds(answer: Any) -> float | None:
    """How long a sender is told to wait; checks that all ways of saying so agree."""
    details = [detail for detail in _status(answer).details if detail.Is(RetryInfo.DESCRIPTOR)]
    if "retry-after" in answer.headers:
        assert details
        return float(answer.headers["retry-after"])
    legacy = answer.trailers.get("google.rpc.retryinfo-bin")
    assert (legacy is None) == (not details)
    if legacy is None:
        return None
    delay = RetryInfo.FromString(legacy).retry_delay
    assert details[0].value == legacy
    return float(delay.seconds + delay.nanos / 1e9)


def _status(answer: Any) -> Status:
    if answer.headers:
        status: Status = answer.status
        return status
    return Status.FromString(answer.trailers.get("grpc-status-details-bin", b""))


def assert_told(answer: Any, way: str, *, grpc_code: int, http_code: int, retry: bool) -> None:
    """The answer is this row of the table, in the encoding of the request."""
    assert not answer.ok
    assert answer.code == (grpc_code if way == "grpc" else http_code)
    assert (retry_seconds(answer) is not None) == retry
    if way != "grpc":
        assert answer.headers["content-type"] == (
            "application/json" if way == "http-json" else "application/x-protobuf"
        )
        assert answer.status.code == grpc_code
        assert answer.status.message


@every_way
@every_signal
@every_compression
async def test_accepted(gateway: Any, way: str, signal: Signal, compression: str | None) -> None:
    """A good request is taken, and answered with an empty response in its own encoding."""
    answer = await gateway.send(way, signal, compression=compression)
    assert answer.ok
    assert answer.body == (b"{}" if way == "http-json" else b"")
    assert gateway.sinks[signal].items == (2 if signal is Signal.METRICS else 1)
    assert gateway.counted() == {(way.partition("-")[0], "success", ""): 1}


@every_way
@every_signal
@every_compression
async def test_empty_request_is_a_success(gateway: Any, way: str, signal: Signal, compression: str | None) -> None:
    """A request without items succeeds, and nothing is handed on."""
    answer = await gateway.send(way, signal, b"{}" if way == "http-json" else b"", compression=compression)
    assert answer.ok
    assert gateway.sinks[signal].batches == []


@every_way
async def test_partial(gateway: Any, way: str) -> None:
    """One bad span is named in the answer, and its neighbour is kept."""
    good, bad = make_span("good"), make_span("bad", trace=0)
    body = make_traces(good, bad).data
    if way == "http-json":
        body = (
            b'{"resourceSpans":[{"scopeSpans":[{"spans":['
            b'{"traceId":"%032x","spanId":"%016x","name":"good"},{"traceId":"%032x","spanId":"%016x","name":"bad"}]}]}]}'
            % (1, 1, 0, 1)
        )
    answer = await gateway.send(way, Signal.TRACES, body)
    assert answer.ok
    if way == "http-json":
        assert b'"rejectedSpans":"1"' in answer.body.replace(b" ", b"")
    else:
        partial = gateway.response(Signal.TRACES, answer.body).partial_success
        assert partial.rejected_spans == 1
        assert partial.error_message
    assert [span.name for span in gateway.sinks[Signal.TRACES].spans()] == ["good"]
    counts = gateway.settings.counts[Signal.TRACES]
    assert (counts.consumed, dict(counts.dropped)) == (1, {"rejected": 1})


async def test_warning_only(gateway: Any) -> None:
    """What was altered and kept is told with nothing rejected."""
    body = make_traces(make_span("bad text")).data.replace(b"bad text", b"bad\xff\xfeext")
    answer = await gateway.send("grpc", Signal.TRACES, body)
    partial = gateway.response(Signal.TRACES, answer.body).partial_success
    assert (partial.rejected_spans, gateway.sinks[Signal.TRACES].items) == (0, 1)
    assert partial.error_message
    findings = gateway.settings.telemetry.counters["otelcol_receiver_findings"].values
    assert findings == {("otlp", "traces", "invalid_utf8"): 1}


@every_way
@every_signal
@every_compression
async def test_undecodable(gateway: Any, way: str, signal: Signal, compression: str | None) -> None:
    """Rubbish is the sender's fault, for good, and the answer says where."""
    answer = await gateway.send(way, signal, b"\xff" * 50, compression=compression)
    assert_told(answer, way, grpc_code=INVALID_ARGUMENT, http_code=400, retry=False)
    assert any(detail.Is(BadRequest.DESCRIPTOR) for detail in _status(answer).details)
    assert gateway.sinks[signal].batches == []
    assert gateway.counted() == {(way.partition("-")[0], "failure", "undecodable"): 1}


@every_way
@every_signal
@every_compression
async def test_too_large(serve: Any, way: str, signal: Signal, compression: str | None) -> None:
    """What is over the limit, before or after decompression, must never be sent again."""
    limits = {"grpc": {"max_recv_msg_size_mib": 1}, "http": {"max_request_body_size": MIB}}
    gateway = await serve(**limits)
    answer = await gateway.send(way, signal, bytes(MIB + 1), compression=compression)
    assert_told(answer, way, grpc_code=RESOURCE_EXHAUSTED, http_code=413, retry=False)
    assert (await gateway.send(way, signal)).ok


@every_way
@every_signal
@every_compression
async def test_refused_for_now(gateway: Any, way: str, signal: Signal, compression: str | None) -> None:
    """Queue full, memory high, shutting down: come again soon enough for Python's ten seconds."""
    gateway.sinks[signal].answers = [RetryableError("the queue is full")]
    answer = await gateway.send(way, signal, compression=compression)
    assert_told(answer, way, grpc_code=UNAVAILABLE, http_code=503, retry=True)
    assert retry_seconds(answer) == 1.0
    assert gateway.counted() == {(way.partition("-")[0], "refused", "refused"): 1}
    assert (await gateway.send(way, signal, compression=compression)).ok


@every_way
@pytest.mark.parametrize(("asked", "told"), [(0.0, 0.0), (0.25, 0.25), (2.0, 2.0), (300.0, 2.0)])
async def test_wait_is_bounded(gateway: Any, way: str, asked: float, told: float) -> None:
    """A wait that is longer than a sender's patience would lose its data."""
    gateway.sinks[Signal.LOGS].answers = [RetryableError("busy", retry_after=asked)]
    answer = await gateway.send(way, Signal.LOGS)
    assert retry_seconds(answer) == (told if way == "grpc" else max(1.0, told))


@every_way
async def test_too_many_bytes_in_flight(serve: Any, way: str) -> None:
    """Above the limit of bytes in flight a sender is asked to come again, before its body is decoded."""
    release = asyncio.Event()
    entered = asyncio.Event()

    async def waits(_batch: Any) -> None:
        entered.set()
        await release.wait()

    limits = {"grpc": {"max_recv_msg_size_mib": 1}, "http": {"max_request_body_size": MIB}}
    gateway = await serve(consumer=waits, max_bytes_in_flight_mib=2, **limits)
    gateway.receiver.admission.limit = 100
    first = asyncio.create_task(gateway.send("grpc", Signal.TRACES))
    await entered.wait()
    assert gateway.receiver.admission.used > 0
    answer = await gateway.send(way, Signal.TRACES)
    assert_told(answer, way, grpc_code=UNAVAILABLE, http_code=503, retry=True)
    release.set()
    assert (await first).ok
    assert (await gateway.send(way, Signal.TRACES)).ok
    await gateway.until(lambda: gateway.receiver.admission.used == 0)


@every_way
async def test_refused_by_a_component_for_good(gateway: Any, way: str) -> None:
    """A component's permanent no is the sender's to know; too large stays too large."""
    gateway.sinks[Signal.LOGS].answers = [PermanentError("never"), TooLargeError("too long")]
    answer = await gateway.send(way, Signal.LOGS)
    assert_told(answer, way, grpc_code=INVALID_ARGUMENT, http_code=400, retry=False)
    answer = await gateway.send(way, Signal.LOGS)
    assert_told(answer, way, grpc_code=RESOURCE_EXHAUSTED, http_code=413, retry=False)


@every_way
async def test_a_bug_of_ours(serve: Any, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """A fault of the gateway is said to be one, counted and logged; its text, which may hold telemetry, is not told."""

    async def broken(_batch: Any) -> None:
        raise ZeroDivisionError("secret")

    gateway = await serve(consumer=broken)
    answer = await gateway.send(way, Signal.LOGS)
    assert_told(answer, way, grpc_code=INTERNAL, http_code=500, retry=False)
    assert "secret" not in answer.message + repr(answer.body)
    assert gateway.counted() == {(way.partition("-")[0], "failure", "internal_error"): 1}
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert "ZeroDivisionError" in errors[0].getMessage()
    assert errors[0].exc_info is None


async def test_a_bug_wrapped_by_an_edge(gateway: Any) -> None:
    """An edge reports a component's bug as PermanentError with its cause: still our fault, not the sender's."""
    fault = PermanentError("internal error in processor x")
    fault.__cause__ = ZeroDivisionError()
    gateway.sinks[Signal.LOGS].answers = [fault]
    answer = await gateway.send("http-protobuf", Signal.LOGS)
    assert answer.code == 500


@every_way
@every_signal
async def test_signal_without_pipeline(serve: Any, way: str, signal: Signal) -> None:
    """A signal that no pipeline takes is not implemented; the others are."""
    gateway = await serve(signals=[other for other in Signal if other is not signal])
    answer = await gateway.send(way, signal)
    assert_told(answer, way, grpc_code=UNIMPLEMENTED, http_code=404, retry=False)
    for other in gateway.sinks:
        assert (await gateway.send(way, other)).ok


@pytest.mark.parametrize(
    ("path", "method", "headers", "code", "reason"),
    [
        ("/", "POST", {}, 404, "unknown_path"),
        ("/v1/traces/", "POST", {}, 404, "unknown_path"),
        ("/V1/traces", "POST", {}, 404, "unknown_path"),
        ("/v1/profiles", "POST", {}, 404, "unknown_path"),
        ("/v1/traces", "PUT", {}, 405, "method"),
        ("/v1/traces", "OPTIONS", {}, 405, "method"),
        ("/v1/traces", "POST", {"content_encoding": "br"}, 415, "content_encoding"),
        ("/v1/traces", "POST", {"content_encoding": "gzip, gzip"}, 415, "content_encoding"),
        ("/v1/traces", "POST", {"content_encoding": "snappy"}, 415, "content_encoding"),
        ("/v1/traces", "POST", {"host": "evil.example"}, 403, "foreign_host"),
        ("/v1/traces", "POST", {"origin": "http://evil.example"}, 403, "foreign_origin"),
        ("/v1/traces", "POST", {"x_long": "a" * 40_000}, 431, "header_too_large"),
    ],
)
@pytest.mark.parametrize("content_type", ["application/x-protobuf", "application/json"])
async def test_requests_that_http_knows_to_be_wrong(
    gateway: Any, path: str, method: str, headers: dict[str, str], code: int, reason: str, content_type: str
) -> None:
    """Each is answered with a Status in the encoding of the request, and counted with its reason."""
    answer = await gateway.http(path, b"", method=method, content_type=content_type, **headers)
    assert answer.code == code
    assert answer.headers["content-type"] == content_type
    assert answer.status.message
    assert retry_seconds(answer) is None
    assert gateway.counted() == {("http", "failure", reason): 1}


async def test_errors_name_what_is_possible(gateway: Any) -> None:
    """405 says which method, 415 which encodings, 404 which paths."""
    assert (await gateway.http("/v1/logs", method="GET")).headers["allow"] == "POST"
    answer = await gateway.http("/v1/logs", b"", content_encoding="br")
    assert answer.headers["accept-encoding"] == "gzip, zstd, zlib, deflate, identity"
    assert "/v1/traces" in (await gateway.http("/other", b"")).status.message


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/grpc", "application/protobuf", "a;b;c"])
async def test_unknown_content_type(gateway: Any, content_type: str | None) -> None:
    """415, with a Status that people can read."""
    answer = await gateway.http("/v1/logs", b"", content_type=content_type)
    assert answer.code == 415
    assert answer.headers["content-type"] == "application/json"
    assert "application/x-protobuf" in answer.status.message


@pytest.mark.parametrize("body", [b"notgzip", b"", gzip.compress(b"abc" * 99)[:-9], gzip.compress(b"") + b"tail"])
async def test_damaged_gzip_over_http(gateway: Any, body: bytes) -> None:
    """A damaged body is 400, never 500 and never taken as it is."""
    answer = await gateway.http("/v1/logs", body, content_encoding="gzip")
    assert answer.code == 400
    assert answer.status.code == INVALID_ARGUMENT


async def test_calls_beyond_the_services(gateway: Any) -> None:
    """An unknown gRPC method is not implemented."""
    assert (await gateway.grpc(Signal.LOGS, b"", method="Import")).code == UNIMPLEMENTED


async def test_many_calls_at_once_are_not_refused(gateway: Any) -> None:
    """There is no limit of concurrent calls that grpcio would answer without a time to wait."""
    body = gateway.protobuf_request(Signal.LOGS)
    answers = await asyncio.gather(*(gateway.grpc(Signal.LOGS, body) for _ in range(150)))
    assert {(answer.code, answer.message) for answer in answers} == {(0, "")}


async def test_calls_during_shutdown_may_be_sent_again(serve: Any) -> None:
    """What is under way is answered; what comes later finds a closed door, which every client retries."""
    release = asyncio.Event()
    entered: list[Any] = []

    async def waits(batch: Any) -> None:
        entered.append(batch)
        await release.wait()

    gateway = await serve(consumer=waits)
    target, url = gateway.grpc_target, gateway.http_url
    under_way = [asyncio.create_task(gateway.send(way, Signal.TRACES)) for way in ("grpc", "http-protobuf")]
    await gateway.until(lambda: len(entered) == 2)
    stopping = asyncio.create_task(gateway.receiver.shutdown())
    await asyncio.sleep(0.05)
    release.set()
    assert all(answer.ok for answer in await asyncio.gather(*under_way))
    await stopping
    async with grpc.aio.insecure_channel(target) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await channel.unary_unary("/x/y")(b"", timeout=60)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    with pytest.raises(OSError, match=r".*"):
        await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
