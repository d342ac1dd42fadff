"""Unmodified SDKs send; stage metrics come out, and the same spans arrive downstream, enriched and complete."""

import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Status, StatusCode, set_span_in_context

from tests.end_to_end.harness import Gateway, StartGateway, free_port, node_package, program, wait_for

NODE = Path(__file__).parent / "node"
FORWARD = """
exporters:
  otlp_grpc: {{endpoint: "127.0.0.1:{port}", tls: {{insecure: true}}}}
service:
  pipelines:
    traces/forward: {{receivers: [otlp], processors: [semconv], exporters: [otlp_grpc]}}
"""


@dataclass
class Backend(TraceServiceServicer):
    """What an OTLP backend got."""

    port: int = 0
    requests: list[Any] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def Export(self, request: Any, context: Any) -> Any:
        """Takes everything."""
        with self.lock:
            self.requests.append(request)
        return ExportTraceServiceResponse()

    def spans(self) -> dict[str, dict[str, Any]]:
        """Attributes of every span by its name, the resource's beneath."""
        found: dict[str, dict[str, Any]] = {}
        with self.lock:
            for request in self.requests:
                for resource_spans in request.resource_spans:
                    around = _attributes(resource_spans.resource)
                    for scope_spans in resource_spans.scope_spans:
                        found |= {span.name: around | _attributes(span) for span in scope_spans.spans}
        return found


def _attributes(message: Any) -> dict[str, Any]:
    values = {pair.key: pair.value for pair in message.attributes}
    return {key: getattr(value, value.WhichOneof("value") or "string_value") for key, value in values.items()}


@pytest.fixture
def backend() -> Iterator[Backend]:
    """A real gRPC server that keeps what it is sent."""
    server = grpc.server(futures.ThreadPoolExecutor(4))
    backend = Backend()
    add_TraceServiceServicer_to_server(backend, server)  # type: ignore[no-untyped-call]
    backend.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield backend
    server.stop(None).wait()


def forwarding(start_gateway: StartGateway, backend: Backend, tmp_path: Path) -> Gateway:
    """A gateway that sends traces on to the backend."""
    file = tmp_path / "forward.yaml"
    file.write_text(FORWARD.format(port=backend.port))
    return start_gateway(file)


def send_delivery(exporter: SpanExporter, service: str) -> str:
    """One coding run of 45 s with a model request and a failed tool call; its trace id."""
    resource = Resource({"service.name": service, "project": "python", "stage": "coding", "agent": "codex"})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("python-sender")
    begin = 1_767_225_600_000_000_000
    root = tracer.start_span(
        "invoke_agent coder", start_time=begin, attributes={"gen_ai.operation.name": "invoke_agent"}
    )
    inside = set_span_in_context(root)
    chat = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-5", "note": "naïve – 你好 🚀"}
    tracer.start_span("chat gpt-5", inside, start_time=begin, attributes=chat).end(begin + 20_000_000_000)
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "shell", "error.type": "ShellError"}
    failed = tracer.start_span("execute_tool shell", inside, start_time=begin, attributes=tool)
    failed.set_status(Status(StatusCode.ERROR, "exit 1"))
    failed.end(begin + 30_000_000_000)
    root.end(begin + 45_000_000_000)
    provider.shutdown()
    return f"{root.get_span_context().trace_id:032x}"


def python_grpc(gateway: Gateway) -> str:
    """Python, gRPC."""
    return send_delivery(GrpcExporter(f"http://127.0.0.1:{gateway.grpc}", insecure=True), "python-grpc")


def python_http(gateway: Gateway) -> str:
    """Python, HTTP with gzip."""
    endpoint = f"http://127.0.0.1:{gateway.http}/v1/traces"
    return send_delivery(HttpExporter(endpoint, compression=Compression.Gzip), "python-http")


def node(protocol: str) -> Callable[[Gateway], str]:
    """Node, one of its three protocols."""

    def send(gateway: Gateway) -> str:
        port = gateway.grpc if protocol == "grpc" else gateway.http
        node_package("@opentelemetry/sdk-trace-base")
        command = [program("node"), "send.mjs", protocol, f"http://127.0.0.1:{port}"]
        sent = subprocess.run(command, cwd=NODE, capture_output=True, text=True, timeout=60, check=True)
        return sent.stdout.strip()

    return send


SENDERS = {
    "python-grpc": python_grpc,
    "python-http-gzip": python_http,
    "node-grpc": node("grpc"),
    "node-http-protobuf": node("http/protobuf"),
    "node-http-json": node("http/json"),
}


@pytest.mark.parametrize("sender", SENDERS)
def test_a_delivery_is_measured_and_forwarded(
    sender: str, start_gateway: StartGateway, backend: Backend, tmp_path: Path
) -> None:
    """From every SDK and protocol: the stage run and its error in /metrics, the enriched spans at the backend."""
    gateway = forwarding(start_gateway, backend, tmp_path)
    SENDERS[sender](gateway)
    labels = {"stage": "coding", "agent": "codex"}
    assert gateway.wait_for_sample("sdlc_stage_duration_seconds_sum", model="gpt-5", outcome="success", **labels) == 45
    assert gateway.wait_for_sample("sdlc_stage_runs_total", outcome="success", **labels) == 1
    assert gateway.wait_for_sample("sdlc_stage_errors_total", error_type="ShellError", **labels) == 1
    assert gateway.wait_for_sample("sdlc_operation_duration_seconds_count", operation="chat", **labels) == 1

    spans = wait_for("three spans", lambda: found if len(found := backend.spans()) == 3 else None)
    assert {span["sdlc.stage.name"] for span in spans.values()} == {"coding"}
    assert {span["sdlc.agent.name"] for span in spans.values()} == {"codex"}
    assert {span["sdlc.project.id"] for span in spans.values()} == {sender.partition("-")[0]}
    assert spans["chat gpt-5"]["note"] == "naïve – 你好 🚀"
    assert spans["chat gpt-5"]["sdlc.model.name"] == "gpt-5"
    assert spans["execute_tool shell"]["sdlc.outcome"] == "failure"
    assert all(row["missing"] == 0 for row in gateway.status()["balance"])
    assert gateway.stop() == 0


def test_rotel_may_stand_between_sdk_and_gateway(start_gateway: StartGateway, tmp_path: Path) -> None:
    """A real OTLP relay gets the same answers from the gateway as a backend would give."""
    rotel = pytest.importorskip("rotel")
    gateway = start_gateway()
    grpc_port, http_port = free_port(), free_port()
    command = [
        str(Path(rotel.__file__).parent / "rotel-agent"), "start",
        "--otlp-grpc-endpoint", f"127.0.0.1:{grpc_port}",
        "--otlp-http-endpoint", f"127.0.0.1:{http_port}",
        "--exporter", "otlp",
        "--otlp-exporter-endpoint", f"http://127.0.0.1:{gateway.grpc}",
    ]  # fmt: skip
    with (tmp_path / "rotel.log").open("wb") as log:
        relay = subprocess.Popen(command, stdout=log, stderr=log)

    def listening() -> bool:
        socket.create_connection(("127.0.0.1", grpc_port), 5).close()
        return True

    try:
        wait_for("rotel", listening)
        send_delivery(GrpcExporter(f"http://127.0.0.1:{grpc_port}", insecure=True), "python-rotel")
        assert gateway.wait_for_sample("sdlc_stage_duration_seconds_sum", stage="coding") == 45
        assert gateway.wait_for_sample("sdlc_stage_errors_total", error_type="ShellError") == 1
    finally:
        relay.terminate()
        relay.wait(timeout=60)
