"""Semantic-convention files under a running gateway: broken ones refuse the start, and at a reload the old set stays."""

import signal
import subprocess
import sys
import urllib.request
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from otel_pipeline.testing import make_span, make_traces
from tests.end_to_end.harness import Gateway, StartGateway, wait_for

GOOD = """file_format: definition/2
attributes:
  - key: sdlc.project.id
    type: string
    brief: Our name for it.
    stability: development
    annotations: {otel_pipeline: {extend: true, aliases: [%s]}}
"""
BROKEN = """file_format: definition/2
attributes:
  - {key: a, type: strin, brief: x, stability: stable}
  - {key: b, type: string, brief: x, stability: stable, annotations: {otel_pipeline: {lable: b}}}
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a user's file, and beside it the configuration that names it."""
    folder = tmp_path / "semconv"
    folder.mkdir()
    (folder / "own.yaml").write_text(GOOD % "acme.product")
    (tmp_path / "own.yaml").write_text(
        f"processors: {{semconv: {{directories: [{folder}]}}}}\n"
        f"connectors: {{stage_metrics: {{directories: [{folder}]}}}}\n"
    )
    return folder


def reloads(gateway: Gateway, done: int, failed: int) -> dict[str, Any]:
    """What /status tells of reloads, as soon as so many are over."""

    def probe() -> dict[str, Any] | None:
        told: dict[str, Any] = gateway.status()["reloads"]
        return told if (told["done"], told["failed"]) == (done, failed) else None

    return wait_for(f"{done} reloads and {failed} failures", probe)


def send(gateway: Gateway, **resource: str) -> None:
    """One stage run."""
    batch = make_traces(make_span(trace=next(_traces)), resource={"stage": "coding", **resource})
    headers = {"Content-Type": "application/x-protobuf"}
    url = f"http://127.0.0.1:{gateway.http}/v1/traces"
    with urllib.request.urlopen(urllib.request.Request(url, batch.data, headers), timeout=30):
        pass


_traces = count(1)


def test_a_broken_file_at_reload_keeps_the_old_set_and_says_why(start_gateway: StartGateway, files: Path) -> None:
    """Every problem stands in /status with its file and line, telemetry is read as before, and a mended file counts."""
    gateway = start_gateway(files.parent / "own.yaml")
    (files / "own.yaml").write_text(BROKEN)
    gateway.process.send_signal(signal.SIGHUP)
    told = reloads(gateway, done=0, failed=1)["problems"]
    assert [problem.split(": ")[0] for problem in told] == [f"{files}/own.yaml:3", f"{files}/own.yaml:4"]
    assert "did you mean 'label'?" in told[1]
    assert gateway.status()["ready"]
    send(gateway, **{"acme.product": "shop"})
    assert gateway.wait_for_sample("sdlc_stage_runs_total", project_id="shop") >= 0

    (files / "own.yaml").write_text(GOOD % "acme.thing")
    gateway.process.send_signal(signal.SIGHUP)
    assert reloads(gateway, done=1, failed=1)["problems"] == []
    send(gateway, **{"acme.thing": "till", "acme.product": "shop"})
    assert gateway.wait_for_sample("sdlc_stage_runs_total", project_id="till") >= 0


def test_a_broken_file_at_start_refuses_with_all_problems(files: Path) -> None:
    """The process ends with 1 and lists every problem with its line, without a traceback."""
    (files / "own.yaml").write_text(BROKEN)
    command = [sys.executable, "-m", "otel_pipeline", "run", "--config", "shipped:gateway.yaml"]
    ended = subprocess.run(
        [*command, "--config", files.parent / "own.yaml"], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    for line in (3, 4):
        assert f"{files}/own.yaml:{line}: " in ended.stderr
    assert "Traceback" not in ended.stderr
