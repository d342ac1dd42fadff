"""A gateway scrapes: another gateway in each of its formats, and prom-client in Node."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from tests.end_to_end.harness import Gateway, StartGateway, get, node_package, program, wait_for
from tests.end_to_end.test_senders import NODE, python_grpc

CONFIG = """
receivers:
  prometheus:
    config:
      global: {{scrape_interval: 200ms, scrape_protocols: [{protocol}]}}
      scrape_configs:
        - {{job_name: scraped, honor_labels: true, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}
service:
  pipelines:
    metrics/scraped: {{receivers: [prometheus], exporters: [prometheus]}}
"""
OWN_SCOPE = ("otel_scope_name", "otel_pipeline/receivers/prometheus")
PROTOCOLS = ["PrometheusText0.0.4", "OpenMetricsText1.0.0", "PrometheusProto"]

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraping(start_gateway: StartGateway, folder: Path, port: int, protocol: str) -> Gateway:
    """A gateway that scrapes that port and shows what it found."""
    file = folder / "scrape.yaml"
    file.write_text(CONFIG.format(port=port, protocol=protocol))
    return start_gateway(file)


def samples(page: str, prefixes: tuple[str, ...], *, openmetrics: bool = False) -> Samples:
    """The samples of families of these names, without the labels of the target and the scope of the receiver."""
    found: Samples = {}
    for family in (read_openmetrics if openmetrics else read_text)(page):
        for sample in family.samples:
            if sample.name.startswith(prefixes) and not sample.name.endswith("_created"):
                labels = {pair for pair in sample.labels.items() if pair[0] not in ("job", "instance")} - {OWN_SCOPE}
                found[sample.name, frozenset(labels)] = sample.value
    return found


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_gateway_is_scraped_by_another(protocol: str, start_gateway: StartGateway, tmp_path: Path) -> None:
    """Every series of the delivery metrics is at the second as at the first: value, labels and scope."""
    first = start_gateway()
    python_grpc(first)
    first.wait_for_sample("sdlc_stage_runs_total", stage="coding")
    second = scraping(start_gateway, tmp_path, first.metrics, protocol)

    def shown(gateway: Gateway) -> Samples:
        return samples(gateway.page(), ("sdlc_",))

    def state() -> Any:
        here, there = shown(first), shown(second)
        return {key: (here.get(key), there.get(key)) for key in here | there if here.get(key) != there.get(key)}

    wait_for("the same page", lambda: (state() == {} and len(shown(second)) > 20) or None, 60, state=state)
    assert second.wait_for_sample("up", job="scraped") == 1


@pytest.fixture
def prom_client(request: pytest.FixtureRequest) -> Iterator["subprocess.Popen[str]"]:
    """An application in Node that counts with prom-client, in the format of the parameter; it prints its port."""
    node_package("prom-client")
    command = [program("node"), "metrics_page.mjs", request.param]
    process = subprocess.Popen(command, cwd=NODE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("prom_client", ["text", "openmetrics"], indirect=True)
def test_prom_client_is_scraped(
    prom_client: "subprocess.Popen[str]", start_gateway: StartGateway, tmp_path: Path
) -> None:
    """Counter, gauge, histogram and summary of the real library, with labels of every kind of character; and once it
    is gone they go at once."""
    names = ("jobs", "queue_length", "wait_seconds", "size_bytes")
    assert prom_client.stdout is not None
    port = int(prom_client.stdout.readline())
    page = get(f"http://127.0.0.1:{port}/metrics")
    wanted = samples(page, names, openmetrics="# EOF" in page)
    assert len(wanted) == 12
    gateway = scraping(start_gateway, tmp_path, port, "OpenMetricsText1.0.0")

    def shown() -> Samples:
        return samples(gateway.page(), names)

    wait_for("the same page", lambda: shown() == wanted or None, 60, state=lambda: (shown(), wanted))
    prom_client.kill()
    wait_for("their end", lambda: shown() == {} or None, 60, state=shown)
    assert gateway.wait_for_sample("up", job="scraped") == 0
