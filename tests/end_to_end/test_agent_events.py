"""Claude Code with its traces off, sending to a gateway as it is shipped: Prometheus sees what it sees with spans, and
the spans that were made go on to the next OTLP endpoint."""

import json
import urllib.request
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

from tests.end_to_end.harness import QUICK, Gateway, StartGateway, wait_for

RECORDED = Path(__file__).parents[1] / "fixtures" / "recorded"
NAME = "claude-code-2.1.330_default"
SETS = (
    *QUICK,
    "connectors.agent_events.wait=2s",
    "connectors.agent_events.prompt_idle_timeout=3s",
    "connectors.agent_events.flush_interval=100ms",
)
FORWARD = """
exporters:
  otlp_grpc: {{endpoint: "127.0.0.1:{port}", tls: {{insecure: true}}}}
service:
  pipelines:
    traces/events: {{receivers: [agent_events], processors: [semconv], exporters: [stage_metrics, otlp_grpc]}}
"""


class Backend(TraceServiceServicer):
    """What an OTLP backend got."""

    def __init__(self) -> None:
        self.port = 0
        self.spans: list[Any] = []

    def Export(self, request: Any, context: Any) -> Any:
        """Takes everything."""
        for group in request.resource_spans:
            self.spans += [span for scope in group.scope_spans for span in scope.spans]
        return ExportTraceServiceResponse()


@pytest.fixture
def backend() -> Iterator[Backend]:
    """A backend on a free port."""
    servicer, server = Backend(), grpc.server(futures.ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    servicer.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer
    server.stop(None)


def post(gateway: Gateway, signal: str, body: bytes) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{gateway.http}/v1/{signal}", body)
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


def logs_without_traces() -> bytes:
    document = json.loads((RECORDED / f"{NAME}.logs.otlp.json").read_bytes())
    for group in document["resourceLogs"]:
        for record in (record for scope in group["scopeLogs"] for record in scope["logRecords"]):
            for key in ("traceId", "spanId", "flags"):
                record.pop(key, None)
    return json.dumps(document).encode()


def test_a_session_without_traces(start_gateway: StartGateway, backend: Backend, tmp_path: Path) -> None:
    """Two stage runs, nine model requests, one failed tool and the tokens, each once; 23 spans reach the backend."""
    forward = tmp_path / "forward.yaml"
    forward.write_text(FORWARD.format(port=backend.port))
    gateway = start_gateway(forward, sets=SETS)
    for _ in range(2):
        post(gateway, "logs", logs_without_traces())

    def counted(name: str, value: float, **labels: str) -> None:
        common = {"project_id": "demo", "stage": "coding", **labels}

        def probe() -> bool | None:
            found = [own_value for own, own_value in gateway.samples(name) if common.items() <= own.items()]
            return True if sum(found) == value else None

        wait_for(f"{name}{common} {value}", probe, 60)

    counted("sdlc_stage_runs_total", 2)
    counted("sdlc_stage_duration_seconds_count", 2)
    counted("sdlc_operation_duration_seconds_count", 9, operation="chat")
    counted("sdlc_stage_errors_total", 1, error_type="ShellError")
    counted("sdlc_tool_calls_total", 6)
    counted("sdlc_llm_tokens_total", 1125, token_type="input")
    wait_for("spans at the backend", lambda: len({span.span_id for span in backend.spans}) >= 23 or None, 60)
    assert len({span.span_id for span in backend.spans}) == 23
    assert [row for row in gateway.status()["balance"] if row["missing"]] == []
    assert gateway.stop() == 0


def test_a_session_with_traces(start_gateway: StartGateway) -> None:
    """The same session with its spans: nothing is made of the log records, and that is counted."""
    gateway = start_gateway(sets=SETS)
    post(gateway, "traces", (RECORDED / f"{NAME}.traces.otlp.json").read_bytes())
    post(gateway, "logs", (RECORDED / f"{NAME}.logs.otlp.json").read_bytes())
    left = {"connector": "agent_events", "finding": "left_to_spans"}

    def probe() -> bool | None:
        found = gateway.samples("otel_pipeline_connector_findings_total")
        return True if sum(value for labels, value in found if left.items() <= labels.items()) == 23 else None

    wait_for("log records left to spans", probe, 60)
    assert gateway.wait_for_sample("sdlc_stage_runs_total", project_id="demo", stage="coding") == 2
    assert gateway.stop() == 0
