"""A sender that is expected falls silent: /api/senders, the metric and the shipped alert in a real Prometheus say so,
until it sends again."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.end_to_end.harness import Gateway, StartGateway, free_port, get, program, wait_for
from tests.exporters.test_sender_health import PROJECTS

RULES = Path(__file__).parents[2] / "collector-config" / "prometheus" / "rules" / "senders.yaml"
CONFIG = """
exporters:
  sender_health: {{silent_after: 3s, directories: ["{folder}"]}}
"""
PROMETHEUS = """
global: {{scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 250ms}}
rule_files: [rules.yaml]
scrape_configs:
  - job_name: gateway
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


@pytest.fixture
def gateway(start_gateway: StartGateway, tmp_path: Path) -> Gateway:
    """A gateway that expects `shop-api` and any `job-*`, and calls them silent after three seconds."""
    folder = tmp_path / "semconv"
    folder.mkdir()
    (folder / "projects.yaml").write_text(PROJECTS)
    file = tmp_path / "silent.yaml"
    file.write_text(CONFIG.format(folder=folder))
    return start_gateway(file)


@pytest.fixture
def alerts(gateway: Gateway, tmp_path: Path) -> Iterator[str]:
    """Where a Prometheus tells its alerts; it has the shipped rules, without the five minutes that they wait."""
    rules = RULES.read_text(encoding="utf-8")
    assert rules.count("for: 5m") == 1
    (tmp_path / "rules.yaml").write_text(rules.replace("for: 5m", "for: 0s"), encoding="utf-8")
    (tmp_path / "prometheus.yml").write_text(PROMETHEUS.format(port=gateway.metrics))
    port = free_port()
    command = [
        program("prometheus"), f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with (tmp_path / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}/api/v1/alerts"
    finally:
        process.terminate()
        process.wait(timeout=60)


def send(gateway: Gateway) -> None:
    """One span of shop-api."""
    provider = TracerProvider(resource=Resource({"service.name": "shop-api"}))
    provider.add_span_processor(
        SimpleSpanProcessor(OTLPSpanExporter(f"http://127.0.0.1:{gateway.grpc}", insecure=True))
    )
    provider.get_tracer("shop").start_span("work").end()
    provider.shutdown()


def expected(gateway: Gateway) -> dict[str, dict[str, Any]]:
    """What /api/senders says of those that are expected."""
    (component,) = json.loads(get(f"http://127.0.0.1:{gateway.web}/api/senders"))["components"]
    return {one["service"]: one for one in component["content"]["expected"]}


def firing(url: str) -> set[str]:
    """The services of alerts that fire."""
    found = json.loads(get(url))["data"]["alerts"]
    return {one["labels"]["service"] for one in found if one["state"] == "firing"}


def test_silence_is_told_and_so_is_its_end(gateway: Gateway, alerts: str) -> None:
    """The one that never sends is silent too; and whoever sends is not, neither here nor there."""

    def told(*silent: str, sending: bool = False) -> bool | None:
        if sending:
            send(gateway)
        here = {service for service, one in expected(gateway).items() if one["silent"]}
        shown = {labels["service"] for labels, value in gateway.samples("otel_pipeline_sender_silent") if value == 1}
        return here == shown == firing(alerts) == set(silent) or None

    wait_for("the silence of the one that never sends", lambda: told("job-*", sending=True))
    assert expected(gateway)["job-*"]["last_seen"] is None
    assert expected(gateway)["shop-api"]["last_seen"] is not None
    wait_for("the silence of both", lambda: told("job-*", "shop-api"))
    assert expected(gateway)["shop-api"]["silent_seconds"] >= 3
    wait_for("the end of one silence", lambda: told("job-*", sending=True))
