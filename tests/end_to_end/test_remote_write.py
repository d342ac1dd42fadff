"""The gateway writes to a real Prometheus, which knows remote write 1.0 only, and to a real VictoriaMetrics."""

import json
import re
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from otel_pipeline.exporters.prometheus_remote_write import PrometheusRemoteWrite, PrometheusRemoteWriteConfig
from otel_pipeline.testing import make_counter, make_gauge, make_metrics, make_settings
from tests.end_to_end.harness import QUICK, Gateway, StartGateway, free_port, get, program, wait_for
from tests.end_to_end.test_restart import CUMULATIVE, Senders
from tests.end_to_end.test_senders import python_grpc

EXAMPLE = Path(__file__).parents[2] / "collector-config" / "examples" / "remote_write.yaml"
OFTEN = (
    *QUICK,
    "exporters.prometheus_remote_write.write_interval=100ms",
    "exporters.prometheus_remote_write.repeat_interval=1s",
    "exporters.prometheus_remote_write.retry_on_failure.max_interval=1s",
)
SECONDS = 60.0


@dataclass
class Peer:
    """A database of series as a process of its own, on a port and in a folder that outlive it."""

    command: list[str]
    log: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        """Where series are written."""
        return f"http://127.0.0.1:{self.port}/api/v1/write"

    def start(self) -> None:
        """Comes back when it answers queries."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        wait_for(self.command[0], lambda: self.query("vector(1)"), SECONDS)

    def stop(self) -> None:
        """Ends it; what it has stored stays."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=60)
            self.process = None

    def result(self, expression: str) -> list[Any]:
        """What a query finds."""
        parameters = urllib.parse.urlencode({"query": expression})
        found: list[Any] = json.loads(get(f"http://127.0.0.1:{self.port}/api/v1/query?{parameters}"))["data"]["result"]
        return found

    def query(self, expression: str) -> float | None:
        """The value of an expression with one result; None while there is none."""
        result = self.result(expression)
        return float(result[0]["value"][1]) if result else None

    def wait(self, expression: str, expected: float) -> None:
        """Comes back when the expression has that value."""
        with suppress(TimeoutError):
            wait_for(expression, lambda: self.query(expression) == expected or None, SECONDS)
        assert self.query(expression) == expected, expression


StartPeer = Callable[[str], Peer]


@pytest.fixture
def start_peer(tmp_path: Path) -> Iterator[StartPeer]:
    """Starts databases, and ends them after the test."""
    started: list[Peer] = []

    def start(name: str) -> Peer:
        port, data = free_port(), tmp_path / f"data-{name}"
        if name == "prometheus":
            config = tmp_path / "prometheus.yml"
            config.write_text("{}")
            features = "exemplar-storage,native-histograms"
            options = [f"--config.file={config}", f"--storage.tsdb.path={data}", f"--enable-feature={features}",
                       f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver"]  # fmt: skip
        else:
            options = [f"-storageDataPath={data}", f"-httpListenAddr=127.0.0.1:{port}", "-search.latencyOffset=0s",
                       "-retentionPeriod=100y"]  # fmt: skip
        peer = Peer([program(name), *options], tmp_path / f"{name}.log", port)
        started.append(peer)
        peer.start()
        return peer

    yield start
    for peer in started:
        peer.stop()


@pytest.fixture(params=["prometheus", "victoria-metrics"])
def peer(request: pytest.FixtureRequest, start_peer: StartPeer) -> Peer:
    """Each of the two."""
    return start_peer(request.param)


@pytest.fixture
def gateway(peer: Peer, start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """A gateway as shipped, with the example laid over, writing to that peer."""
    monkeypatch.setenv("REMOTE_WRITE_ENDPOINT", peer.endpoint)
    return start_gateway(EXAMPLE, sets=OFTEN)


def written_series(gateway: Gateway) -> dict[str, float]:
    """Delivery series on the page, as selectors, and their values; `instance` is what the example says."""
    series = {}
    for line in gateway.page().splitlines():
        found = re.fullmatch(r"(sdlc_\w+)\{(.*)\} (\S+)", line)
        if found:
            labels = re.sub(r'le="(\d+)"', r'le="\1.0"', found[2])
            series[f'{found[1]}{{instance="gateway",{labels}}}'] = float(found[3])
    return series


def test_every_series_of_the_page_is_in_the_database(peer: Peer, gateway: Gateway) -> None:
    """What an unmodified SDK sent is there, with project, stage and model, and all series have the page's values."""
    python_grpc(gateway)
    labels = 'stage="coding",project_id="python",agent="codex",model="gpt-5",outcome="success"'
    peer.wait(f"sdlc_stage_duration_seconds_sum{{{labels}}}", 45)
    series = written_series(gateway)
    assert len(series) > 50
    for selector, value in series.items():
        peer.wait(selector, value)
    assert peer.query('sum(increase(sdlc_stage_errors_total{error_type="ShellError"}[5m]))')


def test_a_peer_that_is_away_misses_nothing(peer: Peer, gateway: Gateway) -> None:
    """What came in while it was away is there when it is back, and nothing was given up."""
    runs = 'sum(sdlc_stage_runs_total{stage="coding"})'
    python_grpc(gateway)
    peer.wait(runs, 1)
    peer.stop()
    for _ in range(2):
        python_grpc(gateway)
    wait_for(
        "three runs", lambda: gateway.wait_for_sample("sdlc_stage_runs_total", stage="coding") == 3 or None, SECONDS
    )
    wait_for("a request that waits", lambda: sum(v for _, v in queue_sizes(gateway)) or None, SECONDS)
    peer.start()
    peer.wait(runs, 3)
    wait_for("an empty queue", lambda: sum(v for _, v in queue_sizes(gateway)) == 0 or None, SECONDS)
    assert gateway.samples("otelcol_exporter_prometheus_remote_write_dropped_points_total") == []


def queue_sizes(gateway: Gateway) -> list[tuple[dict[str, str], float]]:
    """Bytes that wait for the peer."""
    sizes = [("otelcol_exporter_queue_size" + unit) for unit in ("", "_bytes")]
    return [sample for name in sizes for sample in gateway.samples(name)]


async def write(peer: Peer, *metrics: Metric, **options: Any) -> PrometheusRemoteWrite:
    """Has an exporter write these metrics, and end."""
    config = PrometheusRemoteWriteConfig.model_validate({"endpoint": peer.endpoint, "write_interval": "1h", **options})
    exporter = PrometheusRemoteWrite(config, make_settings("remote"))
    await exporter.start()
    await exporter.consume(make_metrics(*metrics))
    await exporter.shutdown()
    return exporter


async def test_a_native_histogram_can_be_queried(start_peer: StartPeer) -> None:
    """An exponential histogram of a sender is a native one in Prometheus, with its count, sum and quantiles."""
    prometheus = start_peer("prometheus")
    metric = Metric(name="latency", unit="s")
    metric.exponential_histogram.aggregation_temporality = 2  # type: ignore[assignment]
    point = metric.exponential_histogram.data_points.add(count=4, sum=10, scale=0)
    point.positive.bucket_counts.extend([1, 2, 1])
    exporter = await write(prometheus, metric)
    assert not exporter._out.dropped
    prometheus.wait("histogram_count(latency_seconds)", 4)
    prometheus.wait("histogram_sum(latency_seconds)", 10)
    prometheus.wait("histogram_quantile(1, latency_seconds)", 8)


async def test_samples_that_prometheus_refuses_are_counted(start_peer: StartPeer) -> None:
    """Out of order: a series has a later sample already. The refusal is final, and its reason is known."""
    prometheus = start_peer("prometheus")
    later = await write(prometheus, make_gauge("g", 2, time_ns=0))
    assert not later._out.dropped
    prometheus.wait("g", 2)
    older_ns = time.time_ns() - 200_000_000_000
    exporter = await write(prometheus, make_gauge("g", 1, time_ns=older_ns))
    assert exporter._out.dropped == {"permanent_error": 1}
    refused = exporter.settings.telemetry.counter("otelcol_exporter_prometheus_remote_write_refused")
    assert {labels[1:]: value for labels, value in refused.values.items()}[("samples", "400")] == 1


async def test_the_first_event_of_a_counter_counts(start_peer: StartPeer) -> None:
    """increase() over the very first value of a counter sees it, since 0 stands before it."""
    prometheus = start_peer("prometheus")
    at = time.time_ns()
    await write(prometheus, make_counter("rollbacks", 1, start_ns=at - 1_000_000_000, time_ns=at))
    prometheus.wait("max_over_time(rollbacks_total[1m]) - min_over_time(rollbacks_total[1m])", 1)
    assert prometheus.query("increase(rollbacks_total[1m])")


def test_a_killed_gateway_is_no_reset_for_the_peer(
    start_peer: StartPeer, start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice, in mid-flow. In Prometheus no sample is below the one before; who counts from the start ends with exactly
    what it counted, and of deltas and spans at most what came after the last write is missing."""
    prometheus = start_peer("prometheus")
    monkeypatch.setenv("REMOTE_WRITE_ENDPOINT", prometheus.endpoint)
    gateway = start_gateway(EXAMPLE, sets=OFTEN)
    senders = Senders(gateway)
    names = (*CUMULATIVE, *senders.tried)

    def samples(name: str) -> list[float]:
        [series] = prometheus.result(f"{name}[1h]") or [{"values": []}]
        return [float(value) for _, value in series["values"]]

    def wait_for_more(than: dict[str, float]) -> dict[str, float]:
        def last() -> dict[str, float] | None:
            values = {name: (samples(name) or [0.0])[-1] for name in names}
            return values if all(values[name] >= than.get(name, 0) + 10 for name in names) else None

        return wait_for("10 more of each", last, SECONDS)

    at_kill: dict[str, float] = {}
    for _ in range(2):
        at_kill = wait_for_more(at_kill)
        gateway.kill()
        gateway.launch()
    wait_for_more(at_kill)
    senders.end()
    for name, times in zip(CUMULATIVE, (1, 2, 1), strict=True):
        prometheus.wait(name, times * senders.counted)
    for name, tried in senders.tried.items():
        assert samples(name)[-1] <= tried
    for name in names:
        found = samples(name)
        assert found[0] == 0
        assert found == sorted(found)
