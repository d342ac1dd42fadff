"""Totals of unmodified SDKs: several processes, one of them killed and started again, in either temporality."""

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.harness import Gateway, StartGateway, node_package, program, wait_for

HERE = Path(__file__).parent
SENDERS = {
    "python-grpc": ("grpc", "python", "send_metrics.py"),
    "python-http": ("http/protobuf", "python", "send_metrics.py"),
    "node-grpc": ("grpc", "node", "send_metrics.mjs"),
    "node-protobuf": ("http/protobuf", "node", "send_metrics.mjs"),
    "node-json": ("http/json", "node", "send_metrics.mjs"),
}
ROUNDS = {"one": 4, "two": 3}
BEFORE, AFTER = 3, 2
"""Rounds of the third process before it is killed, and after it has been started again."""

Process = subprocess.Popen[str]


@pytest.fixture
def started() -> Iterator[list[Process]]:
    """Processes that are ended with the test."""
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def send(sender: str, gateway: Gateway, temporality: str, instance: str, rounds: int, *stay: str) -> Process:
    """Starts one process."""
    protocol, language, script = SENDERS[sender]
    if language == "node":
        node_package("@opentelemetry/exporter-metrics-otlp-proto")
    command = [sys.executable, script] if language == "python" else [program("node"), script]
    endpoint = f"http://127.0.0.1:{gateway.grpc if protocol == 'grpc' else gateway.http}"
    return subprocess.Popen(
        [*command, protocol, endpoint, instance, str(rounds), *stay],
        cwd=HERE / "node" if language == "node" else HERE,
        env=os.environ | {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until_sent(process: Process) -> None:
    """Every round is acknowledged then."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == "sent\n", process.communicate()[1]


def shown(gateway: Gateway) -> dict[str, float]:
    """The numbers of the workers, added up over labels that are not theirs."""
    found: defaultdict[str, float] = defaultdict(float)
    for name in (
        "work_items_total", "work_active", "work_duration_seconds_bucket", "work_duration_seconds_sum",
        "work_duration_seconds_count", "work_size_bytes_sum", "work_size_bytes_count", "work_level",
        "work_cpu_seconds_total",
    ):  # fmt: skip
        for labels, value in gateway.samples(name):
            assert "instance" not in labels
            own = labels.get("kind") or labels.get("le") or labels.get("worker") or ""
            found[f"{name} {own}".strip()] += value
    return dict(found)


def expected() -> dict[str, float]:
    """By arithmetic: counters and histograms of all rounds; of what rises and falls, the state of the living."""
    rounds = sum(ROUNDS.values()) + BEFORE + AFTER
    alive = sum(ROUNDS.values()) + AFTER
    return {
        "work_items_total small": rounds,
        "work_items_total large": 2 * rounds,
        "work_active": 2 * alive,
        "work_duration_seconds_bucket 0.5": rounds,
        "work_duration_seconds_bucket 1": rounds,
        "work_duration_seconds_bucket 5": 2 * rounds,
        "work_duration_seconds_bucket +Inf": 2 * rounds,
        "work_duration_seconds_sum": 2.75 * rounds,
        "work_duration_seconds_count": 2 * rounds,
        "work_size_bytes_sum": 1003.0 * rounds,
        "work_size_bytes_count": 2 * rounds,
        "work_level one": ROUNDS["one"],
        "work_level two": ROUNDS["two"],
        "work_level three": AFTER,
        "work_cpu_seconds_total": 10 * rounds,
    }


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
@pytest.mark.parametrize("sender", SENDERS)
def test_totals_are_exact(sender: str, temporality: str, start_gateway: StartGateway, started: list[Process]) -> None:
    """Three processes of one service send at once, the third is killed in mid-flow and starts again: nothing of what
    was acknowledged is missing, and nothing counts twice."""
    gateway = start_gateway()
    third = send(sender, gateway, temporality, "three", BEFORE, "stay")
    started.append(third)
    started += [send(sender, gateway, temporality, instance, rounds) for instance, rounds in ROUNDS.items()]
    wait_until_sent(third)
    third.kill()
    third.wait()
    started.append(send(sender, gateway, temporality, "three", AFTER))
    for process in started[1:]:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    wait_for("the totals", lambda: shown(gateway) == expected() or None, 60, state=lambda: shown(gateway))
    assert shown(gateway) == expected()
    assert all(row["missing"] == 0 for row in gateway.status()["balance"])
