"""What a user runs first: the demo, and a wheel in an empty environment."""

import os
import signal
import subprocess
import sys
import venv
from itertools import takewhile
from pathlib import Path
from subprocess import PIPE

import pytest

from tests.end_to_end.harness import free_port, get

ROOT = Path(__file__).parents[2]


def command(python: str, *extra: str) -> list[str]:
    """`otel-pipeline demo` on free ports."""
    sets = [
        f"receivers.otlp.protocols.grpc.endpoint=127.0.0.1:{free_port()}",
        f"receivers.otlp.protocols.http.endpoint=127.0.0.1:{free_port()}",
        f"exporters.prometheus.endpoint=127.0.0.1:{free_port()}",
        f"extensions.health_check.endpoint=127.0.0.1:{free_port()}",
        f"extensions.web.endpoint=127.0.0.1:{free_port()}",
        *extra,
    ]
    return [python, "-m", "otel_pipeline", "demo", *(part for text in sets for part in ("--set", text))]


def environment() -> dict[str, str]:
    """Without the way into the checkout."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


def demo(python: str, cwd: Path, *extra: str) -> "subprocess.CompletedProcess[str]":
    """`otel-pipeline demo --once`."""
    once = [*command(python, *extra), "--once"]
    return subprocess.run(once, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=200)


def test_the_demo_reads_back_what_it_sent() -> None:
    """Exit code 0, a table with every stage and the one failure, and journeys that are what happened."""
    result = demo(sys.executable, ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Everything that was sent was read back" in result.stdout
    assert "1 ShellError" in result.stdout
    assert "spans in the right journey (100.00%), 0 in a wrong one\n" in result.stdout
    for stage in ("requirement_analysis", "prd_design", "technical_design", "coding", "unit_test", "deployment"):
        assert stage in result.stdout


@pytest.mark.timeout(300)
def test_what_the_demo_prints_to_look_at_works() -> None:
    """The command for a terminal and the address for a browser show the same requirement, until Ctrl-C."""
    with subprocess.Popen(command(sys.executable), cwd=ROOT, env=environment(), stdout=PIPE, text=True) as running:
        try:
            assert running.stdout
            printed = list(takewhile(lambda line: not line.startswith("Running until Ctrl-C"), running.stdout))
            (typed,) = (line for line in printed if " trace " in line)
            (address,) = (line.strip() for line in printed if "/requirements/" in line)
            shown = subprocess.run(typed, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60)
            requirement = address.rpartition("/")[2]
            title = shown.stdout.partition("  ")[2].partition("  ")[0]
            assert shown.stdout.startswith(f"{requirement}  {title}"), shown.stderr
            assert "\naccepted in ui_acceptance · lead " in shown.stdout
            assert f"<small>{title}</small>" in get(address)
            assert "waiting for review" in shown.stdout
        finally:
            running.send_signal(signal.SIGINT)
    assert running.returncode == 0


def test_the_demo_fails_where_the_metrics_are_not_what_was_sent() -> None:
    """A gateway that drops spans of one stage is found out, with the series that differ."""
    drop = "processors.filter={traces: {span: [{name: invoke_agent unit_test}]}}"
    use = "service.pipelines.traces.processors=[memory_limiter, filter, semconv]"
    result = demo(sys.executable, ROOT, drop, use)
    assert result.returncode == 1
    assert "sdlc_stage_runs_total" in result.stderr
    assert "stage='unit_test'" in result.stderr


@pytest.mark.timeout(1800)
def test_a_wheel_works_in_an_empty_environment(tmp_path: Path) -> None:
    """Outside the checkout, with the pinned runtime packages alone: its own files are found, and the demo succeeds."""
    build = [sys.executable, "-m", "maturin", "build", "--release", "--locked", "--quiet", "--out", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "-r", str(ROOT / "requirements.lock")], check=True)
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True)
    subprocess.run([python, "-m", "pip", "--disable-pip-version-check", "check"], check=True)
    result = demo(python, tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
