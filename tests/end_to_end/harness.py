"""A gateway as a process of its own, seen from outside."""

import contextlib
import itertools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from prometheus_client.parser import text_string_to_metric_families

Labels = dict[str, str]
QUICK = ("connectors.stage_metrics.decision_wait=200ms", "connectors.stage_metrics.metrics_flush_interval=100ms")


# Below those that the kernel gives to clients and to port 0, which might take a port before the gateway binds it.
_PORTS = range(12_000, 32_000)
_ports = itertools.cycle(_PORTS)
next(itertools.islice(_ports, secrets.randbelow(len(_PORTS)), None))  # other test runs begin elsewhere


def free_port() -> int:
    """A loopback port that nothing listens on, and that is given to nobody else in this run."""
    for port in itertools.islice(_ports, len(_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("all ports are taken")


T = TypeVar("T")


def wait_for(
    what: str, probe: Callable[[], T | None], seconds: float = 60.0, *, state: Callable[[], object] = lambda: ""
) -> T:
    """The first result of `probe` that is not None; errors of the network count as None. `state` is told at failure."""
    deadline = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            result = probe()
        except OSError as error:
            result, last = None, error
        if result is not None:
            return result
        time.sleep(0.05)
    raise TimeoutError(f"{what}: nothing after {seconds} s (last: {last!r}) {state()}")


def get(url: str, headers: dict[str, str] | None = None) -> str:
    """The body of a page."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=30) as answer:
            text: str = answer.read().decode()
            return text
    except urllib.error.HTTPError as error:
        error.close()
        raise OSError(f"{url}: {error.code}") from None


def program(name: str) -> str:
    """The path of a program; the test is skipped by its name where it is missing, which is an error in CI."""
    found = shutil.which(name)
    if found is None:
        message = f"{name} is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


def node_package(name: str) -> None:
    """Skips the test, or fails in CI, where that package for Node is not installed."""
    if not (Path(__file__).parent / "node" / "node_modules" / name).is_dir():
        program(f"{name} for Node (npm ci in tests/end_to_end/node)")


@dataclass
class Gateway:
    """A running gateway and its addresses."""

    process: "subprocess.Popen[bytes]"
    grpc: int
    http: int
    metrics: int
    health: int
    web: int
    log: Path
    launch: Callable[[], None] = field(default=lambda: None)
    """Starts it with the same ports, options and data, and waits until it is ready."""

    def status(self) -> dict[str, Any]:
        """/status as it is now."""
        status: dict[str, Any] = json.loads(get(f"http://127.0.0.1:{self.health}/status"))
        return status

    def page(self, headers: dict[str, str] | None = None) -> str:
        """/metrics as it is now."""
        return get(f"http://127.0.0.1:{self.metrics}/metrics", headers)

    def samples(self, name: str) -> list[tuple[Labels, float]]:
        """Labels and values of all samples of that name."""
        families = text_string_to_metric_families(self.page())
        return [(s.labels, s.value) for family in families for s in family.samples if s.name == name]

    def wait_for_sample(self, name: str, **labels: str) -> float:
        """The value of the sample with these labels, as soon as it is there."""

        def probe() -> float | None:
            found = [value for own, value in self.samples(name) if labels.items() <= own.items()]
            return sum(found) if found else None

        return wait_for(f"{name}{labels}", probe)

    def kill(self) -> None:
        """SIGKILL: it does nothing more."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, then the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


StartGateway = Callable[..., Gateway]
