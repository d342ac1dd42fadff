"""A real Prometheus scrapes the gateway: histograms, exemplars, and counters whose first event counts."""

import json
import subprocess
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.harness import Gateway, StartGateway, free_port, get, program, wait_for
from tests.end_to_end.test_senders import python_grpc

CONFIG = """
global: {{scrape_interval: {interval}, scrape_timeout: {interval}}}
scrape_configs:
  - job_name: gateway
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


class Prometheus:
    """The query API of a running server."""

    def __init__(self, port: int) -> None:
        self.port = port

    def api(self, path: str, **parameters: str) -> Any:
        """`data` of an answer."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        return json.loads(get(url))["data"]

    def query(self, expression: str) -> float | None:
        """The value of an expression with one result; None while there is none."""
        result = self.api("query", query=expression)["result"]
        return float(result[0]["value"][1]) if result else None

    def samples(self, expression: str) -> list[float]:
        """All samples of the one series that matches."""
        result = self.api("query", query=f"{expression}[1h]")["result"]
        (series,) = result or [{"values": []}]
        return [float(value) for _, value in series["values"]]


@pytest.fixture
def gateway(start_gateway: StartGateway) -> Gateway:
    """A gateway as shipped, with short waits."""
    return start_gateway()


@pytest.fixture
def prometheus(gateway: Gateway, tmp_path: Path) -> Iterator[Prometheus]:
    """Debian's Prometheus, scraping that gateway four times a second."""
    with scraping(gateway, tmp_path) as server:
        yield server


@contextmanager
def scraping(gateway: Gateway, tmp_path: Path, interval: str = "250ms") -> Iterator[Prometheus]:
    """Debian's Prometheus, which has scraped that gateway."""
    port = free_port()
    config = tmp_path / "prometheus.yml"
    config.write_text(CONFIG.format(port=gateway.metrics, interval=interval))
    command = [
        program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage",
    ]  # fmt: skip
    with (tmp_path / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    server = Prometheus(port)
    try:
        wait_for("a first scrape", lambda: server.query('up{job="gateway"}') or None)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_a_stage_run_can_be_queried_with_its_exemplar(gateway: Gateway, prometheus: Prometheus) -> None:
    """What an unmodified SDK sent answers a quantile query, and its exemplar names the trace."""
    trace_id = python_grpc(gateway)
    labels = 'stage="coding",project_id="python",agent="codex",model="gpt-5",outcome="success"'
    expression = f"sdlc_stage_duration_seconds_sum{{{labels}}}"
    assert wait_for(expression, lambda: prometheus.query(expression) or None) == 45
    quantile = prometheus.query(f"histogram_quantile(0.5, sdlc_stage_duration_seconds_bucket{{{labels}}})")
    assert quantile is not None
    assert 30 < quantile <= 60

    def exemplars() -> list[dict[str, Any]] | None:
        found = prometheus.api(
            "query_exemplars", query="sdlc_stage_duration_seconds_bucket", start="0", end="9999999999"
        )
        return [exemplar for series in found for exemplar in series["exemplars"]] or None

    (exemplar,) = wait_for("an exemplar", exemplars)
    assert exemplar["labels"]["trace_id"] == trace_id
    assert float(exemplar["value"]) == 45


def test_the_first_event_of_a_series_counts(gateway: Gateway, prometheus: Prometheus) -> None:
    """increase() sees the very first error, because the series was shown at zero before."""
    python_grpc(gateway)
    increase = 'sum(increase(sdlc_stage_errors_total{error_type="ShellError"}[5m]))'
    assert wait_for(increase, lambda: prometheus.query(increase) or None) > 0


def test_promtool_finds_nothing_to_complain_of(gateway: Gateway) -> None:
    """The whole page, the gateway's own metrics included, passes `promtool check metrics`."""
    promtool = program("promtool")
    python_grpc(gateway)
    gateway.wait_for_sample("sdlc_stage_runs_total", stage="coding")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=gateway.page(), capture_output=True, text=True, timeout=30
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
