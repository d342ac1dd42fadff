"""Debian's Prometheus as a process of its own, scraping a gateway, and its query API."""

import json
import subprocess
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.end_to_end.harness import free_port, get, program, wait_for

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


@contextmanager
def scraping(gateway_metrics_port: int, folder: Path, *features: str, interval: str = "1s") -> Iterator[Prometheus]:
    """A server that has scraped the gateway, and goes on."""
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text(CONFIG.format(port=gateway_metrics_port, interval=interval))
    command = [
        program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}", f"--enable-feature={','.join(features)}",
    ]  # fmt: skip
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    server = Prometheus(port)
    try:
        wait_for("a first scrape", lambda: server.query('up{job="gateway"}') or None, 60)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=60)
