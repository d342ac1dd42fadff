"""A gateway as a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.harness import QUICK, Gateway, StartGateway, free_port, get, wait_for


@pytest.fixture
def start_gateway(tmp_path: Path) -> Iterator[StartGateway]:
    """Starts gateways on free ports with the shipped configuration, more files and `--set` options; stops them after."""
    started: list[Gateway] = []

    def start(*files: str | Path, sets: tuple[str, ...] = QUICK, python: str = sys.executable) -> Gateway:
        gateway = Gateway(
            process=None,  # type: ignore[arg-type]
            grpc=free_port(), http=free_port(), metrics=free_port(), health=free_port(), web=free_port(),
            log=tmp_path / f"gateway-{len(started)}.log",
        )  # fmt: skip
        sets = (
            f"receivers.otlp.protocols.grpc.endpoint=127.0.0.1:{gateway.grpc}",
            f"receivers.otlp.protocols.http.endpoint=127.0.0.1:{gateway.http}",
            f"exporters.prometheus.endpoint=127.0.0.1:{gateway.metrics}",
            f"extensions.health_check.endpoint=127.0.0.1:{gateway.health}",
            f"extensions.web.endpoint=127.0.0.1:{gateway.web}",
            *sets,
        )
        command = [python, "-m", "otel_pipeline", "run"]
        command += [part for file in ("shipped:gateway.yaml", *files) for part in ("--config", str(file))]
        command += [part for option in sets for part in ("--set", option)]
        environment = os.environ | {"OTEL_PIPELINE_DATA_DIR": str(tmp_path / f"data-{len(started)}")}

        def ready() -> bool | None:
            if gateway.process.poll() is not None:
                raise RuntimeError(f"the gateway ended at once:\n{gateway.log.read_text()}")
            get(f"http://127.0.0.1:{gateway.health}/ready")
            return True

        def launch() -> None:
            with gateway.log.open("ab") as log:
                gateway.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            wait_for("readiness", ready, 60)

        started.append(gateway)
        gateway.launch = launch
        launch()
        return gateway

    yield start
    for gateway in started:
        if gateway.process and gateway.process.poll() is None:
            gateway.process.kill()
            gateway.process.wait()
