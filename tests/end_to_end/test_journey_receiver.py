"""What becomes of a requirement, from the spans of two senders to another gateway and to /metrics, over a restart."""

import json
from pathlib import Path
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_pipeline.journeys.journey_trace import journey_trace_id
from tests.end_to_end.harness import QUICK, Gateway, StartGateway, get, wait_for

CONFIG = """
receivers:
  journeys: {{interval: 100ms, decision_wait: 1s}}
processors:
  journey_links:
connectors:
  stage_metrics: {{requirements: journeys}}
exporters:
  journeys: {{idle_timeout: 200ms}}
  otlp_http/other: {{endpoint: "http://127.0.0.1:{port}", compression: none}}
service:
  pipelines:
    traces/linked: {{receivers: [otlp], processors: [semconv, journey_links], exporters: [otlp_http/other]}}
    traces/journeys: {{receivers: [journeys], exporters: [otlp_http/other]}}
    logs/journeys: {{receivers: [journeys], exporters: [stage_metrics]}}
    metrics/journeys: {{receivers: [journeys], exporters: [stage_metrics]}}
"""
LEAD = "sdlc_requirement_lead_time_seconds_count"
COMMIT = "9d594090bc0b5f8d1a1e2e70a3f4c0d6d4f5a6b7"


def send(gateway: Gateway, stage: str, **names: str) -> str:
    """One span; gives its trace id."""
    provider = TracerProvider(resource=Resource({"service.name": "agent", "sdlc.project.id": "shop"}))
    exporter = OTLPSpanExporter(f"http://127.0.0.1:{gateway.http}/v1/traces")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    attributes = {key.replace("__", "."): value for key, value in names.items()}
    with provider.get_tracer("test").start_as_current_span(
        stage, attributes={"sdlc.stage.name": stage, **attributes}
    ) as span:
        trace_id = span.get_span_context().trace_id
    provider.shutdown()
    return f"{trace_id:032x}"


def test_a_journey_reaches_another_store_and_the_metrics(start_gateway: StartGateway, tmp_path: Path) -> None:
    """The unit test only knows the commit, and counts in the journey. Its trace stands in the other gateway with links
    to the real ones and back, lead time and waiting count once, and a restart tells nothing again."""
    other = start_gateway()
    config = tmp_path / "journeys.yaml"
    config.write_text(CONFIG.format(port=other.http))
    gateway = start_gateway(config, sets=QUICK)
    real = send(gateway, "coding", sdlc__requirement__id="REQ-1", vcs__ref__head__revision=COMMIT)
    send(gateway, "unit_test", vcs__ref__head__revision=COMMIT)
    send(gateway, "ui_acceptance", sdlc__requirement__id="REQ-1")
    journey = journey_trace_id("shop", "REQ-1")

    def trace(trace_id: str) -> Any:
        return json.loads(get(f"http://127.0.0.1:{other.web}/api/traces/{trace_id}"))

    def links(trace_id: str) -> set[str]:
        spans = [trace(f"{trace_id}/spans/{span['span_id']}") for span in trace(trace_id)["spans"]]
        return {link["trace_id"] for span in spans for link in span["links"]}

    found = wait_for("the journey's trace", lambda: trace(journey), state=lambda: gateway.log.read_text()[-2000:])
    assert real in links(journey)
    wait_for("the real trace", lambda: trace(real))
    assert links(real) == {journey}
    assert gateway.wait_for_sample(LEAD) == 1
    assert gateway.wait_for_sample("sdlc_stage_wait_seconds_count", stage="unit_test") == 1
    gateway.stop()
    gateway.launch()
    send(gateway, "coding", sdlc__requirement__id="REQ-2")
    gateway.wait_for_sample("sdlc_requirements_in_stage", stage="coding")
    spans = len(trace(journey)["spans"])
    assert spans == len(found["spans"])
    assert gateway.wait_for_sample(LEAD) == 1
