"""The OTLP specification (1.11), item by item, against a receiver on real sockets.

Numbers are those of the project's checklist of the specification's rules for servers. Rules for clients are proven with
the exporters: 51, reading Retry-After as seconds and as a date, in tests/exporters. Rule 9, gRPC and HTTP on one port,
is a MAY that is not offered.
"""

import asyncio
import gzip
import json
import re
import zlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import grpc
import httpx
import pytest
from backports import zstd
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from otel_pipeline.errors import PermanentError, RetryableError
from otel_pipeline.helpers.endpoint import BindError
from otel_pipeline.helpers.otlp_answers import answer_error, partial_success
from otel_pipeline.helpers.otlp_server_options import GrpcOptions, HttpOptions
from otel_pipeline.pdata import Signal, to_proto
from otel_pipeline.receivers.otlp import OtlpConfig
from otel_pipeline.testing import make_span, make_traces

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
WAYS = ["grpc", "http-protobuf", "http-json"]
MIB = 1 << 20
TRACE_ID = "5b8efff798038103d269b633813fc60c"
SPAN_ID = "eee19b7ec3c1b174"

every_way = pytest.mark.parametrize("way", WAYS)
every_signal = pytest.mark.parametrize("signal", list(Signal))


def traces(**span: Any) -> dict[str, Any]:
    """A JSON request with one span."""
    spans = [{"traceId": TRACE_ID, "spanId": SPAN_ID, "name": "work"} | span]
    return {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}


def metrics(metric: dict[str, Any]) -> dict[str, Any]:
    return {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "m"} | metric]}]}]}


async def taken(gateway: Any, signal: Signal, request: Any) -> Any:
    """The protobuf message that the pipeline gets of a JSON request."""
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    answer = await gateway.http(signal, body, content_type=JSON)
    assert answer.code == 200, answer.body
    return to_proto(gateway.sinks[signal].batches[-1])


async def taken_span(gateway: Any, **span: Any) -> Any:
    return (await taken(gateway, Signal.TRACES, traces(**span))).resource_spans[0].scope_spans[0].spans[0]


# --- transport


def test_f1_f2_default_ports() -> None:
    """gRPC listens at 4317 and HTTP at 4318, of this machine only."""
    protocols = OtlpConfig().protocols
    assert protocols.grpc is not None
    assert protocols.http is not None
    assert protocols.grpc.endpoint == "127.0.0.1:4317"
    assert protocols.http.endpoint == "127.0.0.1:4318"


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_f3_http_1_works(gateway: Any, version: bytes) -> None:
    """HTTP/1.1 is served, and 1.0."""
    body = gateway.protobuf_request(Signal.TRACES)
    head = b"POST /v1/traces HTTP/%b\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n"
    head += b"Content-Length: %d\r\n\r\n"
    answer = await gateway.raw(head % (version, len(body)) + body)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


@every_way
@every_signal
@pytest.mark.parametrize("compression", [None, "gzip"])
async def test_f4_f5_f6_f8_f26_each_signal_each_way(
    gateway: Any, way: str, signal: Signal, compression: str | None
) -> None:
    """Each signal is taken over each transport and encoding, plain and gzip, at the specified services and paths."""
    assert (await gateway.send(way, signal, compression=compression)).ok
    assert gateway.sinks[signal].items > 0


async def test_f5_services_answer_generated_stubs(gateway: Any) -> None:
    """The stubs generated from opentelemetry-proto work unchanged."""
    async with grpc.aio.insecure_channel(gateway.grpc_target) as channel:
        request = ExportTraceServiceRequest.FromString(gateway.protobuf_request(Signal.TRACES))
        response = await TraceServiceStub(channel).Export(request)  # type: ignore[no-untyped-call]
    assert not response.HasField("partial_success")


async def test_f6_paths_are_configurable(serve: Any) -> None:
    """Other paths can be set; the default ones are unknown then."""
    gateway = await serve(http={"traces_url_path": "/otlp/traces", "logs_url_path": "/"})
    body = gateway.protobuf_request(Signal.TRACES)
    assert (await gateway.http("/otlp/traces", body)).ok
    assert (await gateway.http("/v1/traces", body)).code == 404
    assert (await gateway.http("/", gateway.protobuf_request(Signal.LOGS))).ok
    assert (await gateway.send("http-protobuf", Signal.METRICS)).ok


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
async def test_f7_only_post(gateway: Any, method: str, content_type: str) -> None:
    """Other methods are 405 with a Status body (HEAD: its length), and the method to use."""
    answer = await gateway.http(Signal.TRACES, method=method, content_type=content_type)
    assert answer.code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.headers["content-type"] == content_type
    if method == "HEAD":
        assert int(answer.headers["content-length"]) > 0
    else:
        assert answer.status.message


async def test_f9_one_port_for_both_protocols_is_refused_cleanly(serve: Any, gateway: Any) -> None:
    """Sharing a port is not offered: the receiver says which address is taken, and leaves nothing open."""
    with pytest.raises(BindError, match=re.escape(gateway.grpc_target)):
        await serve(http={"endpoint": gateway.grpc_target})


async def test_f10_keep_alive(gateway: Any) -> None:
    """Many requests travel on one connection, also after an error."""
    async with httpx.AsyncClient(base_url=gateway.http_url, trust_env=False) as client:
        for body, code in ((b"", 200), (b"\xff", 400), (gateway.protobuf_request(Signal.TRACES), 200)) * 3:
            answer = await client.post("/v1/traces", content=body, headers={"content-type": PROTOBUF})
            assert answer.status_code == code
    assert gateway.counted()["http", "success", ""] == 6
    stats = gateway.receiver.http
    assert stats.connections <= 1


async def test_f11_concurrent_calls_of_one_connection(serve: Any) -> None:
    """Calls on one connection do not wait for each other."""
    arrived = 0
    everybody = asyncio.Event()

    async def waits_for_all(_batch: Any) -> None:
        nonlocal arrived
        arrived += 1
        if arrived == 60:
            everybody.set()
        await everybody.wait()

    gateway = await serve(consumer=waits_for_all)
    body = gateway.protobuf_request(Signal.TRACES)
    async with grpc.aio.insecure_channel(gateway.grpc_target) as channel, asyncio.timeout(60):
        call = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        assert await asyncio.gather(*(call(body) for _ in range(60))) == [b""] * 60


# --- size limits


@every_way
@pytest.mark.parametrize("compression", [None, "gzip"])
async def test_f12_f14_f15_f46_size_is_limited_also_after_decompression(
    serve: Any, way: str, compression: str | None
) -> None:
    """Over the limit: 413, or RESOURCE_EXHAUSTED that says nothing of a retry. At the limit: taken."""
    gateway = await serve(grpc={"max_recv_msg_size_mib": 1}, http={"max_request_body_size": MIB})
    padding = MIB - len(make_traces(make_span("")).data) - 100
    fits, over = make_traces(make_span("x" * padding)).data, bytes(MIB + 1)
    if way == "http-json":
        fits = json.dumps(traces(name="x" * (MIB - 400))).encode()
    assert len(fits) <= MIB
    assert (await gateway.send(way, Signal.TRACES, fits, compression=compression)).ok
    answer = await gateway.send(way, Signal.TRACES, over, compression=compression)
    assert answer.code == (8 if way == "grpc" else 413)
    assert "retry-after" not in answer.headers
    assert not answer.trailers


def test_f13_default_limit() -> None:
    """64 MiB on both transports, and configurable."""
    assert GrpcOptions().max_recv_msg_size_mib == 64
    assert HttpOptions().max_request_body_size == 64 * MIB
    assert GrpcOptions(max_recv_msg_size_mib=7).channel_arguments()["grpc.max_receive_message_length"] == 7 * MIB


async def test_f13_large_requests_are_taken(gateway: Any) -> None:
    """A request far above the old limit of 4 MiB passes on both transports."""
    body = make_traces(*(make_span("x" * 60_000, span=number + 1) for number in range(200))).data
    assert len(body) > 11 * MIB
    assert (await gateway.send("grpc", Signal.TRACES, body)).ok
    assert (await gateway.send("http-protobuf", Signal.TRACES, body)).ok


@every_signal
def test_f16_f17_f18_responses_are_small(signal: Signal) -> None:
    """The longest message there can be is cut, so that every response fits: no request fails for its answer."""
    findings: Any = SimpleNamespace(rejected=2**62, message="x" * 10 * MIB)
    response = partial_success(signal, findings)
    assert response is not None
    assert response.ByteSize() < 2000
    reply = answer_error(PermanentError("x" * 10 * MIB))
    assert reply.status.ByteSize() < 4000


def test_f19_bombs() -> None:
    """Bounded memory is proven in test_otlp_hostile; this names the codecs that it covers."""
    assert set(HttpOptions().compression_algorithms) == {"", "gzip", "zstd", "zlib", "deflate"}


# --- content types and encodings


@pytest.mark.parametrize(
    "content_type",
    [
        PROTOBUF,
        JSON,
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "Application/JSON",
        "APPLICATION/X-PROTOBUF",
        "application/x-protobuf ; v=1",
    ],
)
async def test_f20_f21_f22_f23_content_types(gateway: Any, content_type: str) -> None:
    """Both types are read, in any case and with parameters, and answered with the same type."""
    bare = content_type.partition(";")[0].strip().lower()
    body = gateway.json_request(Signal.LOGS) if bare == JSON else gateway.protobuf_request(Signal.LOGS)
    answer = await gateway.http(Signal.LOGS, body, content_type=content_type)
    assert answer.code == 200
    assert answer.headers["content-type"] == bare
    assert gateway.sinks[Signal.LOGS].items == 1


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON, "application/json; charset=utf-8"])
async def test_f24_f40_f41_errors_speak_the_encoding_of_the_request(gateway: Any, content_type: str) -> None:
    """Every error is a Status with a message for developers, in the type that was sent."""
    gateway.sinks[Signal.LOGS].answers = [RetryableError("busy"), PermanentError("no")]
    body = gateway.json_request(Signal.LOGS) if "json" in content_type else gateway.protobuf_request(Signal.LOGS)
    answers = [
        await gateway.http(Signal.LOGS, body, content_type=content_type),
        await gateway.http(Signal.LOGS, body, content_type=content_type),
        await gateway.http(Signal.LOGS, b"\xff", content_type=content_type),
        await gateway.http("/nowhere", body, content_type=content_type),
        await gateway.http(Signal.LOGS, body, content_type=content_type, content_encoding="br"),
        await gateway.http(Signal.LOGS, body, content_type=content_type, host="evil.example"),
    ]
    assert [answer.code for answer in answers] == [503, 400, 400, 404, 415, 403]
    for answer in answers:
        assert answer.headers["content-type"] == content_type.partition(";")[0]
        assert answer.status.message


async def test_f25_unknown_content_type(gateway: Any) -> None:
    """415, with a Status body."""
    answer = await gateway.http(Signal.LOGS, b"", content_type="application/xml")
    assert answer.code == 415
    assert "application/json" in answer.status.message


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip", "identity", "deflate", "zstd"])
async def test_f26_content_encodings(gateway: Any, encoding: str) -> None:
    """Known encodings are undone, in any case."""
    body = gateway.protobuf_request(Signal.LOGS)
    packs: dict[str, Callable[[bytes], bytes]] = {"identity": bytes, "deflate": zlib.compress, "zstd": zstd.compress}
    pack = packs.get(encoding, gzip.compress)
    assert (await gateway.http(Signal.LOGS, pack(body), content_encoding=encoding)).ok
    assert gateway.sinks[Signal.LOGS].batches[0].data == body


async def test_f26_encodings_can_be_switched_off(serve: Any) -> None:
    """What the configuration does not list is 415."""
    gateway = await serve(http={"compression_algorithms": ["", "zstd"]})
    body = gzip.compress(gateway.protobuf_request(Signal.LOGS))
    answer = await gateway.http(Signal.LOGS, body, content_encoding="gzip")
    assert answer.code == 415


async def test_f27_replies_are_plain(gateway: Any) -> None:
    """Replies are a few bytes and never compressed, whatever the sender accepts."""
    answer = await gateway.http(Signal.LOGS, b"\xff", accept_encoding="gzip")
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("body", [b"", b"notgzip", gzip.compress(b"x" * 100)[:20], gzip.compress(b"x") + b"y"])
async def test_f28_damaged_gzip(gateway: Any, body: bytes) -> None:
    """400, which is not retried."""
    assert (await gateway.http(Signal.LOGS, body, content_encoding="gzip")).code == 400


# --- success


@every_way
@every_signal
async def test_f29_f30_f33_f34_full_success(gateway: Any, way: str, signal: Signal) -> None:
    """200 or OK, with a response whose partial_success is unset; in JSON it is `{}`."""
    answer = await gateway.send(way, signal)
    assert answer.code == (0 if way == "grpc" else 200)
    if way == "http-json":
        assert answer.body == b"{}"
    else:
        assert not gateway.response(signal, answer.body).HasField("partial_success")


EMPTY = [
    "{}",
    '{"resourceSpans":[]}',
    '{"resourceSpans":[{}]}',
    '{"resourceSpans":[{"resource":{},"scopeSpans":[]}]}',
    '{"resourceSpans":[{"scopeSpans":[{}]}]}',
    '{"resourceSpans":[{"scopeSpans":[{"scope":{},"spans":[]}]}]}',
]


@pytest.mark.parametrize("request_json", EMPTY)
async def test_f31_f32_empty_requests_and_envelopes(gateway: Any, request_json: str) -> None:
    """A request without a single item succeeds at every depth."""
    assert (await gateway.http(Signal.TRACES, request_json.encode(), content_type=JSON)).code == 200
    for body in (b"", b"\n\0", b"\n\2\22\0", b"\n\4\n\0\22\0"):
        assert (await gateway.http(Signal.TRACES, body)).code == 200
    assert gateway.sinks[Signal.TRACES].items == 0


# --- partial success


@pytest.mark.parametrize("way", ["grpc", "http-protobuf"])
async def test_f35_f36_f38_f69_rejected_items_are_counted_and_the_rest_is_kept(gateway: Any, way: str) -> None:
    """All-zero ids reject their span, with the exact count and a reason in English; its neighbours are processed."""
    spans = [make_span(f"s{number}", span=number) for number in range(5)]  # number 0 has an all-zero span id
    spans.append(make_span("zero trace", trace=0))
    answer = await gateway.send(way, Signal.TRACES, make_traces(*spans).data)
    assert answer.ok
    partial = gateway.response(Signal.TRACES, answer.body).partial_success
    assert partial.rejected_spans == 2
    assert re.search(r"[a-z]{3,} [a-z]{2,}", partial.error_message)
    assert [span.name for span in gateway.sinks[Signal.TRACES].spans()] == ["s1", "s2", "s3", "s4"]


async def test_f37_warnings_reject_nothing(gateway: Any) -> None:
    """Text that is not UTF-8 is repaired: the item is kept, and the sender warned with zero rejected."""
    body = make_traces(make_span("repair me")).data.replace(b"repair me", b"repair\xffme")
    answer = await gateway.send("http-protobuf", Signal.TRACES, body)
    partial = gateway.response(Signal.TRACES, answer.body).partial_success
    assert partial.rejected_spans == 0
    assert partial.error_message
    assert [span.name for span in gateway.sinks[Signal.TRACES].spans()] == ["repair\ufffdme"]


def test_f39_metrics_are_counted_in_data_points() -> None:
    """Each signal has its own field, and what is rejected of metrics are data points."""
    findings: Any = SimpleNamespace(rejected=3, message="why")
    fields = {
        Signal.TRACES: "rejected_spans",
        Signal.METRICS: "rejected_data_points",
        Signal.LOGS: "rejected_log_records",
    }
    for signal, name in fields.items():
        response: Any = partial_success(signal, findings)
        assert getattr(response.partial_success, name) == 3
        assert response.partial_success.error_message == "why"


# --- failures


@every_way
@every_signal
async def test_f42_undecodable_carries_bad_request(gateway: Any, way: str, signal: Signal) -> None:
    """400 or INVALID_ARGUMENT, with a BadRequest that says what is wrong."""
    answer = await gateway.send(way, signal, b"\xff\xff")
    assert answer.code == (3 if way == "grpc" else 400)
    status = Status.FromString(answer.trailers["grpc-status-details-bin"]) if way == "grpc" else answer.status
    violation = BadRequest()
    assert status.details[0].Unpack(violation)
    assert violation.field_violations[0].description


@every_way
async def test_f43_f44_f45_f49_f50_overload_is_retryable(gateway: Any, way: str) -> None:
    """Overload is UNAVAILABLE or 503 with the time to wait: never 500, never RESOURCE_EXHAUSTED."""
    gateway.sinks[Signal.LOGS].answers = [RetryableError("the queue is full")]
    answer = await gateway.send(way, Signal.LOGS)
    assert answer.code == (14 if way == "grpc" else 503)
    assert "google.rpc.retryinfo-bin" in answer.trailers if way == "grpc" else "retry-after" in answer.headers


async def test_f47_who_may_not_send_is_told_so(gateway: Any) -> None:
    """A web page of another origin is 403 with PERMISSION_DENIED, before its body is read."""
    answer = await gateway.http(Signal.LOGS, b"", origin="https://evil.example")
    assert (answer.code, answer.status.code) == (403, 7)


@every_way
async def test_f48_unknown_path_and_signal(serve: Any, way: str) -> None:
    """UNIMPLEMENTED or 404."""
    gateway = await serve(signals=[Signal.TRACES])
    assert (await gateway.send(way, Signal.METRICS)).code == (12 if way == "grpc" else 404)
    assert (await gateway.http("/v1development/profiles", b"")).code == 404


# --- throttling


async def test_f51_f52_the_wait_is_short_and_in_whole_seconds(gateway: Any) -> None:
    """Long enough to recover, short enough that no sender gives up: Python's have ten seconds in all."""
    for asked in (None, 0.0, 0.5, 1.5, 3600.0):
        gateway.sinks[Signal.LOGS].answers = [RetryableError("busy", retry_after=asked)]
        answer = await gateway.send("http-protobuf", Signal.LOGS)
        assert answer.headers["retry-after"] in ("1", "2")


async def test_f53_retry_info_in_both_trailers(gateway: Any) -> None:
    """Go's exporters read it from the status details, Python's from a trailer of its own."""
    gateway.sinks[Signal.LOGS].answers = [RetryableError("busy", retry_after=1.5)]
    answer = await gateway.send("grpc", Signal.LOGS)
    status = Status.FromString(answer.trailers["grpc-status-details-bin"])
    from_details = RetryInfo()
    assert status.details[0].Unpack(from_details)
    from_trailer = RetryInfo.FromString(answer.trailers["google.rpc.retryinfo-bin"])
    assert from_details == from_trailer
    assert (from_trailer.retry_delay.seconds, from_trailer.retry_delay.nanos) == (1, 500_000_000)
    assert (status.code, status.message) == (14, "busy")


@every_way
async def test_f54_success_only_after_the_pipeline_has_it(serve: Any, way: str) -> None:
    """The answer waits for the consumer; what the consumer refuses is not answered with success."""
    release = asyncio.Event()

    async def waits(_batch: Any) -> None:
        await release.wait()
        raise RetryableError("after all not")

    gateway = await serve(consumer=waits)
    sending = asyncio.create_task(gateway.send(way, Signal.TRACES))
    await asyncio.sleep(0.1)
    assert not sending.done()
    release.set()
    assert not (await sending).ok


# --- JSON


async def test_f55_ids_are_hex_in_any_case(gateway: Any) -> None:
    """In spans, links, log records and exemplars."""
    mixed = TRACE_ID[:16].upper() + TRACE_ID[16:]
    link = {"traceId": mixed, "spanId": SPAN_ID.upper()}
    span = await taken_span(gateway, traceId=mixed, parentSpanId=SPAN_ID.upper(), links=[link])
    assert span.trace_id.hex() == span.links[0].trace_id.hex() == TRACE_ID
    assert span.span_id.hex() == span.parent_span_id.hex() == span.links[0].span_id.hex() == SPAN_ID
    record = {"traceId": mixed, "spanId": SPAN_ID, "body": {"stringValue": "x"}}
    logs = await taken(gateway, Signal.LOGS, {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]})
    assert logs.resource_logs[0].scope_logs[0].log_records[0].trace_id.hex() == TRACE_ID
    point = {"asInt": "1", "exemplars": [{"traceId": mixed, "spanId": SPAN_ID, "asDouble": 1}]}
    message = await taken(gateway, Signal.METRICS, metrics({"sum": {"dataPoints": [point]}}))
    exemplar = message.resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points[0].exemplars[0]
    assert exemplar.trace_id.hex() == TRACE_ID


@pytest.mark.parametrize(
    "trace_id", ["", "5b8e", TRACE_ID[:-1], TRACE_ID + "00", "z" * 32, "W47/95gDgQPSabYzgT/GDA==", 7, "0" * 32]
)
async def test_f56_wrong_ids_reject_the_item(gateway: Any, trace_id: Any) -> None:
    """A wrong id costs its span, or the request (400); never another span's data, and never a wrong id downstream."""
    request = traces(traceId=trace_id)
    request["resourceSpans"][0]["scopeSpans"][0]["spans"].append(
        {"traceId": TRACE_ID, "spanId": SPAN_ID, "name": "neighbour"}
    )
    answer = await gateway.http(Signal.TRACES, json.dumps(request).encode(), content_type=JSON)
    assert answer.code in (200, 400)
    names = [span.name for span in gateway.sinks[Signal.TRACES].spans()]
    assert names == (["neighbour"] if answer.code == 200 else [])
    if answer.code == 200:
        assert json.loads(answer.body)["partialSuccess"]["rejectedSpans"] == "1"


async def test_f57_f58_enums_are_integers(gateway: Any) -> None:
    """Known and unknown numbers are kept; names are not OTLP."""
    assert (await taken_span(gateway, kind=2)).kind == 2
    assert (await taken_span(gateway, kind=77)).kind == 77
    assert (await taken_span(gateway, status={"code": 2})).status.code == 2
    answer = await gateway.http(Signal.TRACES, json.dumps(traces(kind="SPAN_KIND_SERVER")).encode(), content_type=JSON)
    assert answer.code == 400 or "partialSuccess" in json.loads(answer.body)


async def test_f59_f60_unknown_fields_are_ignored(gateway: Any) -> None:
    """At every level; snake_case names are unknown fields."""
    request = traces(start_time_unix_nano="5", newField={"a": [1, {"b": None}]}, kind=3)
    request["future"] = [1, 2]
    request["resourceSpans"][0]["resource"] = {"x": 1, "attributes": [{"key": "k", "value": {"newValue": 1}, "y": 2}]}
    message = await taken(gateway, Signal.TRACES, request)
    span = message.resource_spans[0].scope_spans[0].spans[0]
    assert (span.kind, span.start_time_unix_nano) == (3, 0)
    assert message.resource_spans[0].resource.attributes[0].key == "k"


@pytest.mark.parametrize("number", ["1767225600000000001", 1767225600000000001])
async def test_f61_64_bit_numbers_as_text_or_number(gateway: Any, number: Any) -> None:
    """Exact both ways, in times, values, counts and buckets."""
    attribute = {"key": "k", "value": {"intValue": number}}
    span = await taken_span(gateway, startTimeUnixNano=number, attributes=[attribute])
    assert span.start_time_unix_nano == span.attributes[0].value.int_value == 1767225600000000001
    point = {"count": number, "bucketCounts": [number, "0"], "explicitBounds": [1.0]}
    message = await taken(gateway, Signal.METRICS, metrics({"histogram": {"dataPoints": [point]}}))
    histogram = message.resource_metrics[0].scope_metrics[0].metrics[0].histogram.data_points[0]
    assert histogram.count == histogram.bucket_counts[0] == 1767225600000000001


async def test_f62_f65_every_kind_of_value(gateway: Any) -> None:
    """All seven kinds of AnyValue are read, bytes as base64, and the empty one is no value."""
    values = [
        {"stringValue": "é\n\u2028"},
        {"boolValue": False},
        {"intValue": "-5"},
        {"doubleValue": 1e-7},
        {"arrayValue": {"values": [{"intValue": 1}, {}]}},
        {"kvlistValue": {"values": [{"key": "a", "value": {"stringValue": "b"}}]}},
        {"bytesValue": "AAH/"},
        {},
    ]
    span = await taken_span(gateway, attributes=[{"key": str(i), "value": value} for i, value in enumerate(values)])
    read = [attribute.value for attribute in span.attributes]
    assert [value.WhichOneof("value") for value in read] == [
        *("string_value", "bool_value", "int_value", "double_value"),
        *("array_value", "kvlist_value", "bytes_value", None),
    ]
    assert read[0].string_value == "é\n\u2028"
    assert read[2].int_value == -5
    assert read[5].kvlist_value.values[0].value.string_value == "b"
    assert read[6].bytes_value == b"\x00\x01\xff"


@pytest.mark.parametrize(("text", "value"), [("NaN", None), ("Infinity", float("inf")), ("-Infinity", -float("inf"))])
async def test_f63_special_doubles(gateway: Any, text: str, value: float | None) -> None:
    """Not-a-number and the infinities are texts."""
    message = await taken(gateway, Signal.METRICS, metrics({"gauge": {"dataPoints": [{"asDouble": text}]}}))
    read = message.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points[0].as_double
    assert read == value if value is not None else read != read


async def test_f64_null_is_the_default(gateway: Any) -> None:
    """A null field is as if it were not there."""
    span = await taken_span(gateway, parentSpanId=None, kind=None, attributes=None, status=None, links=None)
    assert (span.kind, span.parent_span_id, len(span.attributes)) == (0, b"", 0)


async def test_f66_presence_is_kept(gateway: Any) -> None:
    """A zero that was sent is not the same as nothing."""
    point = {"count": "0", "sum": 0, "min": 0, "max": 0}
    message = await taken(gateway, Signal.METRICS, metrics({"histogram": {"dataPoints": [point, {"count": "0"}]}}))
    given, absent = message.resource_metrics[0].scope_metrics[0].metrics[0].histogram.data_points
    assert [given.HasField(name) for name in ("sum", "min", "max")] == [True] * 3
    assert [absent.HasField(name) for name in ("sum", "min", "max")] == [False] * 3
    message = await taken(gateway, Signal.METRICS, metrics({"gauge": {"dataPoints": [{"asInt": "0"}]}}))
    assert message.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points[0].WhichOneof("value") == "as_int"


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"resourceSpans":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b"{} trailing",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b'{"resourceSpans": 5}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"\\ud800"}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":' + b"9" * 5000 + b"}]}]}]}",
        b'{"a":1,"a":2}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
    ],
)
async def test_f67_hostile_json_ends_in_an_answer(gateway: Any, body: bytes) -> None:
    """Nesting without end, wrong shapes and wrong text are 400 or harmless, at once, and never an error of ours."""
    answer = await gateway.http(Signal.TRACES, body, content_type=JSON)
    assert answer.code in (200, 400)
    assert (await gateway.send("http-json", Signal.TRACES)).ok


async def test_f68_json_replies_are_lower_camel_case(gateway: Any) -> None:
    """64-bit counts are texts, and names are as in the protobuf JSON mapping."""
    answer = await gateway.http(Signal.TRACES, json.dumps(traces(traceId="0" * 32)).encode(), content_type=JSON)
    partial = json.loads(answer.body)["partialSuccess"]
    assert partial["rejectedSpans"] == "1"
    assert partial["errorMessage"]
    answer = await gateway.http(Signal.TRACES, b"{", content_type=JSON)
    assert "fieldViolations" in json.loads(answer.body)["details"][0]


# --- data


async def test_f70_doubtful_data_is_no_protocol_error(gateway: Any) -> None:
    """An end before its start, no service name and a long value are taken."""
    span = make_span(start=5.0, seconds=-3.0, long="x" * 50_000)
    answer = await gateway.send("grpc", Signal.TRACES, make_traces(span, resource={"a": "b"}).data)
    assert (answer.ok, answer.body) == (True, b"")
    assert gateway.sinks[Signal.TRACES].items == 1


async def test_f71_duplicates_are_taken(gateway: Any) -> None:
    """At-least-once: the same request again is a success again; telling twins apart is up to what derives numbers."""
    for _ in range(2):
        assert (await gateway.send("grpc", Signal.TRACES)).ok
    first, second = gateway.sinks[Signal.TRACES].batches
    assert first.data == second.data


async def test_f72_fields_of_newer_versions_survive(gateway: Any) -> None:
    """A protobuf body is handed on byte by byte, with fields that nobody knows yet."""
    body = gateway.protobuf_request(Signal.TRACES) + b"\xf2\x3f\x05newer" + b"\xf8\x3f\x07"
    for way in ("grpc", "http-protobuf"):
        assert (await gateway.send(way, Signal.TRACES, body)).ok
    assert [batch.data for batch in gateway.sinks[Signal.TRACES].batches] == [body, body]


def test_every_rule_has_a_test() -> None:
    """The names of the tests above carry every number of the checklist."""
    numbers = {int(number) for name in globals() for number in re.findall(r"_f(\d+)(?=_)", name)}
    assert set(range(1, 73)) - numbers == set()
