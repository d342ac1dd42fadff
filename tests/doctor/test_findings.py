"""What `otel-pipeline doctor` says, where no gateway is needed to prove it."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from otel_pipeline import cli
from otel_pipeline.config import read
from otel_pipeline.config.model import Config
from otel_pipeline.doctor.addresses import find_addresses
from otel_pipeline.pdata import Signal
from tests.end_to_end.harness import free_port

CONFIG = """
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{grpc}"}}, http: {{endpoint: "unix:{socket}"}}}}}}
exporters: {{debug: , sender_health: }}
extensions: {{web: {{endpoint: "127.0.0.1:{web}"}}}}
service:
  extensions: [web]
  pipelines:
    traces: {{receivers: [otlp], exporters: [debug, sender_health]}}
"""


@pytest.fixture
def ahead() -> Iterator[int]:
    """The port of a page whose clock is a minute ahead."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = {"now_unix_ns": time.time_ns() + 60_000_000_000, "senders": [], "expected": []}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"components": [{"content": content}]}).encode())

        def log_message(self, format: str, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def config(folder: Path, web: int) -> Path:
    file = folder / "config.yaml"
    file.write_text(CONFIG.format(grpc=free_port(), web=web, socket=folder / "no.sock"))
    return file


def test_faults_of_the_configuration_and_of_clocks_are_told(
    tmp_path: Path, ahead: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Signals without a way out, a clock that is off, what is switched off, and what cannot be tried."""
    assert cli.main(["doctor", "--config", str(config(tmp_path, ahead))]) == 1
    text = capsys.readouterr().out
    for line in (
        "PROBLEM pipelines: traces go nowhere: their pipelines end in debug, sender_health",
        "-> service::pipelines::traces::exporters: add stage_metrics, prometheus or otlp_grpc",
        "PROBLEM pipelines: no pipeline takes logs",
        "PROBLEM clock: the gateway's clock is 60 s ahead of the one here",
        "warning status: the extension health_check is off",
        "warning metrics: the exporter prometheus is off",
        "grpc at 127.0.0.1:",
        "http at unix:",
        "nothing listens there",
        "6 problems",
    ):
        assert line in text, line


def test_findings_as_json_have_the_same(tmp_path: Path, ahead: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Level, check, what and fix of each, and one word for all."""
    assert cli.main(["doctor", "--json", "--config", str(config(tmp_path, ahead))]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    assert {tuple(one) for one in answer["findings"]} == {("level", "check", "what", "fix")}
    assert sum(one["level"] == "problem" for one in answer["findings"]) == 6


def default() -> Config:
    return read([], environment={}).config()


def test_addresses_are_those_of_the_configuration_at_the_host_given() -> None:
    """The host may be another; ports and paths stay."""
    addresses = find_addresses(default(), "::1")
    assert [(one.protocol, one.address) for one in addresses.listeners] == [
        ("grpc", "[::1]:4317"),
        ("http", "[::1]:4318"),
    ]
    assert addresses.listeners[1].paths[Signal.LOGS] == "/v1/logs"
    assert addresses.listeners[0].signals == set(Signal)
    assert addresses.metrics == "http://[::1]:9464/metrics"
    assert find_addresses(default()).web == "http://127.0.0.1:8088"
