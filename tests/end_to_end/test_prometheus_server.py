"""A real Prometheus scrapes the gateway: histograms, exemplars, and counters whose first event counts."""

import math
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from otel_pipeline.pdata import to_proto
from otel_pipeline.testing import make_metrics
from tests.end_to_end.harness import Gateway, StartGateway, program, wait_for
from tests.end_to_end.prometheus_server import Prometheus, scraping
from tests.end_to_end.test_senders import python_grpc


@pytest.fixture
def gateway(start_gateway: StartGateway) -> Gateway:
    """A gateway as shipped, with short waits."""
    return start_gateway()


@pytest.fixture
def prometheus(gateway: Gateway, tmp_path: Path) -> Iterator[Prometheus]:
    """Debian's Prometheus, scraping that gateway."""
    with scraping(gateway.metrics, tmp_path, "exemplar-storage") as server:
        yield server


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


def test_native_histograms_answer_quantiles(gateway: Gateway, tmp_path: Path) -> None:
    """A Prometheus that reads native histograms gets them of exponential ones, exact to the width of a bucket, also when
    they begin with 0; and on the same page it reads counters, exemplars, targets and the gateway's own metrics."""
    trace_id = python_grpc(gateway)
    with scraping(gateway.metrics, tmp_path, "native-histograms", "exemplar-storage") as server:
        start_ns = time.time_ns()
        for values in (range(-20, 51), range(51, 101)):
            send_exponential(gateway, values, start_ns)
        name = "test_latency_seconds"
        count = f"histogram_count({name})"
        wait_for(count, lambda: True if server.query(count) == 121 else None, 60)
        assert server.query(f"histogram_sum({name})") == sum(range(-20, 101))
        assert server.query(f"{name}_bucket") is None
        for quantile, expected in ((0.05, -15), (0.5, 40), (0.95, 95)):
            found = server.query(f"histogram_quantile({quantile}, {name})")
            assert found is not None
            assert abs(found - expected) < abs(expected) * (2 ** (1 / 8) - 1) + 1
        wait_for("an increase", lambda: server.query(f"histogram_count(increase({name}[5m]))") or None, 60)
        labels = 'stage="coding",project_id="python",model="gpt-5",outcome="success"'
        assert server.query(f"sdlc_stage_duration_seconds_sum{{{labels}}}") == 45
        assert server.query("otelcol_process_uptime_seconds_total") is not None
        assert server.query("target_info") is not None
        found = server.api("query_exemplars", query="sdlc_stage_duration_seconds_bucket", start="0", end="9999999999")
        assert [one["labels"]["trace_id"] for series in found for one in series["exemplars"]] == [trace_id]
        [target] = server.api("targets")["activeTargets"]
        assert (target["health"], target["lastError"]) == ("up", "")


def send_exponential(gateway: Gateway, values: range, start_ns: int) -> None:
    """Observations at scale 3, as a delta."""
    metric = Metric(name="test.latency", unit="s")
    metric.exponential_histogram.aggregation_temporality = 1  # type: ignore[assignment]
    point = metric.exponential_histogram.data_points.add(
        start_time_unix_nano=start_ns, time_unix_nano=time.time_ns(), scale=3, count=len(values), sum=sum(values)
    )
    point.zero_count = values.count(0)
    for sign, buckets in ((1, point.positive), (-1, point.negative)):
        places = [math.ceil(math.log2(abs(value)) * 8) - 1 for value in values if value * sign > 0]
        if places:
            buckets.offset = min(places)
            buckets.bucket_counts.extend(places.count(at) for at in range(min(places), max(places) + 1))
    url = f"http://127.0.0.1:{gateway.http}/v1/metrics"
    body = to_proto(make_metrics(metric, resource={"service.name": "test"})).SerializeToString()
    headers = {"Content-Type": "application/x-protobuf"}
    urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60).close()


def test_promtool_finds_nothing_to_complain_of(gateway: Gateway) -> None:
    """The whole page, the gateway's own metrics included, passes `promtool check metrics`."""
    promtool = program("promtool")
    python_grpc(gateway)
    gateway.wait_for_sample("sdlc_stage_runs_total", stage="coding")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=gateway.page(), capture_output=True, text=True, timeout=60
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
