"""A receiver `otlp` on real sockets, and clients that send it raw bytes."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceResponse,
)

from otel_pipeline.component import Settings
from otel_pipeline.helpers.otlp_grpc_server import SERVICES
from otel_pipeline.pdata import Signal
from otel_pipeline.receivers.otlp import Otlp, OtlpConfig
from otel_pipeline.testing import Sink, attributes, make_settings, make_span, make_traces

PROTOBUF = "application/x-protobuf"
JSON = "application/json"

_RESPONSES: dict[Signal, type[Message]] = {
    Signal.TRACES: ExportTraceServiceResponse,
    Signal.METRICS: ExportMetricsServiceResponse,
    Signal.LOGS: ExportLogsServiceResponse,
}
_JSON_REQUESTS: dict[Signal, dict[str, Any]] = {
    Signal.TRACES: {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "test"}}]},
                "scopeSpans": [
                    {
                        "spans": [
                            {
                                "traceId": "5B8EFFF798038103D269B633813FC60C",
                                "spanId": "eee19b7ec3c1b174",
                                "name": "work",
                                "kind": 2,
                                "startTimeUnixNano": "1767225600000000000",
                                "endTimeUnixNano": 1767225601000000000,
                            }
                        ]
                    }
                ],
            }
        ]
    },
    Signal.METRICS: {
        "resourceMetrics": [
            {
                "scopeMetrics": [
                    {"metrics": [{"name": "m", "gauge": {"dataPoints": [{"asInt": "0"}, {"asDouble": 1.5}]}}]}
                ]
            }
        ]
    },
    Signal.LOGS: {
        "resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "hello"}, "severityNumber": 9}]}]}]
    },
}


def protobuf_request(signal: Signal) -> bytes:
    """One span, two data points, or one log record."""
    if signal is Signal.TRACES:
        return make_traces(make_span()).data
    if signal is Signal.METRICS:
        metrics = ExportMetricsServiceRequest()
        resource = metrics.resource_metrics.add()
        resource.resource.attributes.extend(attributes({"service.name": "test"}))
        metric = resource.scope_metrics.add().metrics.add(name="m")
        metric.gauge.data_points.add(as_int=0)
        metric.gauge.data_points.add(as_double=1.5)
        return metrics.SerializeToString()
    logs = ExportLogsServiceRequest()
    record = logs.resource_logs.add().scope_logs.add().log_records.add(severity_number=9)
    record.body.string_value = "hello"
    return logs.SerializeToString()


@dataclass
class Answered:
    """What a client got, whatever the transport."""

    ok: bool
    code: int
    """gRPC status code, or HTTP status."""
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    trailers: Mapping[str, bytes] = field(default_factory=dict)
    message: str = ""

    @property
    def status(self) -> Status:
        """The Status message of an error, in whichever encoding it came."""
        if self.headers.get("content-type") == JSON:
            from google.protobuf.json_format import Parse

            return Parse(self.body, Status())
        return Status.FromString(self.body)


@dataclass
class Gateway:
    """A started receiver, what is behind it, and ways to send to it."""

    receiver: Otlp
    settings: Settings
    sinks: dict[Signal, Sink]

    @property
    def grpc_target(self) -> str:
        assert self.receiver.grpc is not None
        return str(self.receiver.grpc.endpoint)

    @property
    def http_url(self) -> str:
        assert self.receiver.http is not None
        return f"http://{self.receiver.http.endpoint}"

    @property
    def http_port(self) -> int:
        assert self.receiver.http is not None
        return self.receiver.http.endpoint.port

    async def grpc(
        self, signal: Signal, body: bytes, *, compression: str | None = None, method: str = "Export", **options: Any
    ) -> Answered:
        """One call on a channel of its own."""
        algorithm = {None: None, "gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}[compression]
        arguments = [("grpc.max_send_message_length", -1)]
        async with grpc.aio.insecure_channel(self.grpc_target, options=arguments, compression=algorithm) as channel:
            call = channel.unary_unary(f"/{SERVICES[signal]}/{method}")(body, timeout=30, **options)
            try:
                return Answered(True, 0, await call)
            except grpc.aio.AioRpcError as error:
                trailers = {key: value for key, value in error.trailing_metadata() or () if isinstance(value, bytes)}
                return Answered(False, error.code().value[0], trailers=trailers, message=error.details() or "")

    async def http(
        self,
        signal: Signal | str,
        body: bytes | Iterable[bytes] = b"",
        *,
        content_type: str | None = PROTOBUF,
        method: str = "POST",
        **headers: str,
    ) -> Answered:
        """One request on a connection of its own. Header names are written with `_` for the dash."""
        path = f"/v1/{signal}" if isinstance(signal, Signal) else signal
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if content_type is not None:
            sent["content-type"] = content_type
        content = body if isinstance(body, bytes) else _chunks(body)
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            answer = await client.request(method, self.http_url + path, content=content, headers=sent)
        return Answered(answer.is_success, answer.status_code, answer.content, answer.headers)

    async def send(
        self, way: str, signal: Signal, body: bytes | None = None, *, compression: str | None = None
    ) -> Answered:
        """Sends over `grpc`, `http-protobuf` or `http-json`; by default a good request."""
        if way == "grpc":
            body = protobuf_request(signal) if body is None else body
            return await self.grpc(signal, body, compression=compression)
        if body is None:
            body = protobuf_request(signal) if way == "http-protobuf" else self.json_request(signal)
        headers = {"content_encoding": compression} if compression else {}
        if compression:
            body = gzip.compress(body)
        return await self.http(signal, body, content_type=PROTOBUF if way == "http-protobuf" else JSON, **headers)

    async def raw(self, data: bytes, *, eof: bool = True) -> bytes:
        """All that the HTTP server says to these bytes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.http_port)
        try:
            writer.write(data)
            if eof:
                writer.write_eof()
            async with asyncio.timeout(60):
                return await reader.read()
        finally:
            writer.close()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Waits for what other tasks bring about."""
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    def protobuf_request(self, signal: Signal) -> bytes:
        return protobuf_request(signal)

    def json_request(self, signal: Signal) -> bytes:
        return json.dumps(_JSON_REQUESTS[signal]).encode()

    def response(self, signal: Signal, body: bytes) -> Any:
        """The Export response of a signal, parsed."""
        return _RESPONSES[signal].FromString(body)

    def counted(self) -> dict[tuple[str, str, str], float]:
        """Requests by transport, outcome and reason."""
        values = self.settings.telemetry.counters["otelcol_receiver_requests"].values
        return {labels[1:]: value for labels, value in values.items()}  # type: ignore[misc]


async def _chunks(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


Serve = Callable[..., Awaitable[Gateway]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts receivers: `await serve(grpc={…}, http={…}, signals=…, **options)`; they are stopped after the test."""
    started: list[Otlp] = []

    async def start(
        *,
        grpc: dict[str, Any] | None = None,
        http: dict[str, Any] | None = None,
        signals: Iterable[Signal] = Signal,
        consumer: Any = None,
        **options: Any,
    ) -> Gateway:
        endpoint = {"endpoint": "127.0.0.1:0"}
        protocols = {"grpc": endpoint | (grpc or {}), "http": endpoint | (http or {})}
        sinks = {signal: Sink() for signal in signals}
        settings = make_settings("otlp")
        consumers = {signal: consumer or sink for signal, sink in sinks.items()}
        receiver = Otlp(OtlpConfig.model_validate({"protocols": protocols} | options), settings, consumers)
        await receiver.start()
        started.append(receiver)
        return Gateway(receiver, settings, sinks)

    yield start
    for receiver in started:
        await receiver.shutdown()


@pytest.fixture
async def gateway(serve: Serve) -> Gateway:
    """A receiver with default options on free ports."""
    return await serve()
