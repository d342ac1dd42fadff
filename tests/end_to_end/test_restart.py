"""The gateway is killed and started again while senders go on: what a real Prometheus then has of their counters."""

import itertools
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Lock, Thread

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from otel_pipeline.pdata import Batch, to_proto
from otel_pipeline.testing import make_counter, make_gauge, make_histogram, make_metrics, make_span, make_traces
from tests.end_to_end.harness import Gateway, StartGateway, wait_for
from tests.end_to_end.prometheus_server import Prometheus, scraping

PATIENCE = 90.0
TIMES_OF_SPANS = 1_767_225_600
"""`make_span` counts seconds from here."""
TRACES = itertools.count(1)
ROLLBACKS = "deploy_agent_rollbacks_total"
CUMULATIVE = ("work_total", "sessions_total", "load_count")


@pytest.fixture
def gateway(start_gateway: StartGateway) -> Gateway:
    """A gateway as shipped, with short waits."""
    return start_gateway()


@pytest.fixture
def prometheus(gateway: Gateway, tmp_path: Path) -> Iterator[Prometheus]:
    """Debian's Prometheus, scraping once a second."""
    with scraping(gateway.metrics, tmp_path) as server:
        yield server


def post(gateway: Gateway, batch: Batch) -> bool:
    """Whether the gateway took it."""
    url = f"http://127.0.0.1:{gateway.http}/v1/{batch.signal}"
    body = to_proto(batch).SerializeToString()
    request = urllib.request.Request(url, body, {"Content-Type": "application/x-protobuf"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def rollback() -> Batch:
    """A deployment that was rolled back just now."""
    span = make_span(
        "rollback checkout",
        trace=next(TRACES),
        start=time.time() - TIMES_OF_SPANS - 1,
        sdlc__rollback__reason="latency",
    )
    return make_traces(span, resource={"service.name": "deployer", "sdlc.project.id": "shop"})


class Senders:
    """They send all the time: one that counts from its start, by itself and in two sessions; one that sends what is new;
    one that sends spans. Nobody sends anything twice, except the first, whose next point has all there is."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.start_ns = self.end_ns = time.time_ns()
        self.counted = 0
        self.tried = {"jobs_total": 0, ROLLBACKS: 0}
        self.taken = {"jobs_total": 0, ROLLBACKS: 0}
        self._sending = Lock()
        self._end = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """No more, but for what the first one has to say."""
        self._end.set()
        self._thread.join()
        wait_for("the last points are taken", lambda: post(self.gateway, self._cumulative()) or None, PATIENCE)

    def _run(self) -> None:
        while not self._end.wait(0.02):
            self.counted += 1
            post(self.gateway, self._cumulative())
            self._send("jobs_total", self._delta())
            self._send(ROLLBACKS, rollback())

    def _send(self, name: str, batch: Batch) -> None:
        with self._sending:
            self.tried[name] += 1
            self.taken[name] += post(self.gateway, batch)

    def taken_so_far(self) -> dict[str, int]:
        """With the answer that one may just be reading."""
        with self._sending:
            return dict(self.taken)

    def _cumulative(self) -> Batch:
        start_ns, now_ns, counted = self.start_ns, time.time_ns(), self.counted
        metrics = [
            make_counter("work", counted, start_ns=start_ns, time_ns=now_ns),
            make_counter("sessions", counted, {"session.id": "a"}, start_ns=start_ns, time_ns=now_ns),
            make_counter("sessions", counted, {"session.id": "b"}, start_ns=start_ns, time_ns=now_ns),
            make_histogram("load", [counted, 0], [1], sum=counted / 2, start_ns=start_ns, time_ns=now_ns),
        ]
        return make_metrics(*metrics, resource={"service.name": "worker"})

    def _delta(self) -> Batch:
        start_ns, self.end_ns = self.end_ns, time.time_ns()
        metric: Metric = make_counter("jobs", 1, start_ns=start_ns, time_ns=self.end_ns)
        metric.sum.aggregation_temporality = 1  # type: ignore[assignment]
        return make_metrics(metric, resource={"service.name": "worker"})


def scraped(prometheus: Prometheus, name: str, at_least: float) -> float:
    """What Prometheus has, once it has so much."""

    def probe() -> float | None:
        samples = prometheus.samples(name)
        return samples[-1] if samples and samples[-1] >= at_least else None

    return wait_for(f"{name} >= {at_least}", probe, PATIENCE)


def test_no_counter_falls_or_jumps_when_the_gateway_is_killed_in_mid_flow(
    gateway: Gateway, prometheus: Prometheus
) -> None:
    """Twice. In Prometheus no sample is below the one before. Who counts from the start ends with exactly what it
    counted; of deltas and spans at most what came after the last scrape is missing, and none counts twice."""
    senders = Senders(gateway)
    names = (*CUMULATIVE, *senders.tried)
    at_kill: dict[str, float] = {}
    taken: dict[str, int] = {}
    for _ in range(2):
        for name in names:
            scraped(prometheus, name, at_kill.get(name, 0) + 10)
        gateway.kill()
        taken = senders.taken_so_far()
        at_kill = {name: prometheus.samples(name)[-1] for name in names}
        gateway.launch()
    for name in names:
        scraped(prometheus, name, at_kill[name] + 10)
    senders.end()
    exact = dict(zip(CUMULATIVE, (senders.counted, 2 * senders.counted, senders.counted), strict=True))
    for name in names:
        least = exact.get(name) or at_kill[name] + senders.taken[name] - taken[name]
        last = scraped(prometheus, name, least)
        assert least <= last <= exact.get(name, senders.tried.get(name, 0))
        samples = prometheus.samples(name)
        assert samples == sorted(samples)


def test_the_first_rollback_of_a_day_is_an_increase_of_1(gateway: Gateway, prometheus: Prometheus) -> None:
    """`increase(deploy_agent_rollbacks_total[1h])` of samples 0, 1, 1, 1, ...: 1, and up to half of a scrape interval
    in proportion, by which PromQL extrapolates. Also after the gateway was killed, and for the next one."""
    assert post(gateway, rollback())
    expect_rollbacks(prometheus, 1)
    gateway.kill()
    gateway.launch()
    before = len(prometheus.samples(ROLLBACKS))
    wait_for("scrapes after the restart", lambda: len(prometheus.samples(ROLLBACKS)) > before + 1 or None, PATIENCE)
    expect_rollbacks(prometheus, 1)
    assert post(gateway, rollback())
    expect_rollbacks(prometheus, 2)


def test_the_first_rollback_directly_after_a_restart_is_an_increase_of_1(
    gateway: Gateway, prometheus: Prometheus
) -> None:
    """The gateway had other series, which continue; the first span after the kill makes this one."""
    counter = make_counter("work", 7, start_ns=time.time_ns(), time_ns=time.time_ns())
    assert post(gateway, make_metrics(counter, resource={"service.name": "worker"}))
    scraped(prometheus, "work_total", 7)
    gateway.kill()
    gateway.launch()
    assert post(gateway, rollback())
    expect_rollbacks(prometheus, 1)
    samples = prometheus.samples("work_total")
    assert samples == sorted(samples)
    assert set(samples) <= {0, 7}


def expect_rollbacks(prometheus: Prometheus, rollbacks: int) -> None:
    """After four scrapes that show them."""

    def settled() -> list[float] | None:
        samples = prometheus.samples(ROLLBACKS)
        return samples if samples[-4:] == [rollbacks] * 4 else None

    samples = wait_for(f"{rollbacks} rollbacks", settled, PATIENCE)
    assert samples[0] == 0
    assert samples == sorted(samples)
    assert prometheus.query(f"round(increase({ROLLBACKS}[1h]))") == rollbacks


def agent_and_cluster(start_ns: int, counted: int) -> Batch:
    """What is told by senders that count from their own start: tokens of an OpenClaw, and restarts of two containers, as
    a counter whose start is not known and as a gauge."""
    now_ns = time.time_ns()
    tokens = {"openclaw.token": "input", "openclaw.model": "claude-sonnet-4-5"}
    return make_metrics(
        make_counter("openclaw.tokens", 1000 * counted, tokens, start_ns=start_ns, time_ns=now_ns),
        make_counter("kube_pod_container_status_restarts_total", counted, {"pod": "web-1"}, start_ns=0, time_ns=now_ns),
        make_gauge("k8s.container.restarts", counted, {"k8s.pod.name": "db-1"}, time_ns=now_ns),
        resource={"service.name": "openclaw", "project": "shop", "stage": "coding"},
        scope="openclaw",
    )


def test_what_is_derived_from_running_senders_does_not_jump(start_gateway: StartGateway) -> None:
    """The gateway is killed while they count on. Their first points after it add nothing, for how much of them had been
    counted is not known, and are a finding; what they gain from there on counts, on top of what was shown."""
    gateway = start_gateway()
    start_ns = time.time_ns()
    restarts = "kube_pod_container_status_restarts_total"

    def derived() -> dict[str, float]:
        found = {labels["pod"]: value for labels, value in gateway.samples(restarts)}
        tokens = gateway.samples("sdlc_llm_tokens_total")
        return found | {labels["token_type"]: value for labels, value in tokens}

    def met_running() -> float:
        found = gateway.samples("otel_pipeline_connector_findings_total")
        return sum(value for labels, value in found if labels["finding"] == "stream_met_running")

    def expect(tokens: float, restarts: float) -> None:
        expected = {"input": tokens, "web-1": restarts, "db-1": restarts}
        wait_for(str(expected), lambda: derived() == expected or None, PATIENCE, state=derived)

    assert post(gateway, agent_and_cluster(start_ns, 100))
    expect(100_000, 0)
    assert post(gateway, agent_and_cluster(start_ns, 103))
    expect(103_000, 3)
    assert met_running() == 2
    gateway.kill()
    gateway.launch()
    expect(103_000, 3)
    assert post(gateway, agent_and_cluster(start_ns, 105))
    wait_for("the first points", lambda: met_running() == 3 or None, PATIENCE, state=met_running)
    expect(103_000, 3)
    assert post(gateway, agent_and_cluster(start_ns, 109))
    expect(107_000, 7)


RELOADED = """
exporters: {{prometheus: {{max_series: {max_series}}}}}
connectors: {{stage_metrics: {{max_wait: {max_wait}}}}}
"""


@pytest.mark.parametrize("again", [{"max_series": 50_000}, {"max_wait": "1h30m"}], ids=["exporter", "connector"])
def test_a_reload_lets_no_counter_fall(start_gateway: StartGateway, tmp_path: Path, again: dict[str, object]) -> None:
    """The exporter is replaced by one that goes on from its checkpoint; or the connector by one that counts anew, which
    is added up."""
    options: dict[str, object] = {"max_series": 60_000, "max_wait": "1h"}
    file = tmp_path / "reloaded.yaml"
    file.write_text(RELOADED.format(**options))
    gateway = start_gateway(file)
    assert post(gateway, rollback())
    assert gateway.wait_for_sample(ROLLBACKS) == 1
    file.write_text(RELOADED.format(**options | again))
    gateway.process.send_signal(signal.SIGHUP)
    wait_for("the reload", lambda: gateway.status()["reloads"]["done"] or None, PATIENCE)
    assert gateway.wait_for_sample(ROLLBACKS) == 1
    assert post(gateway, rollback())
    wait_for("the next rollback", lambda: gateway.wait_for_sample(ROLLBACKS) == 2 or None, PATIENCE)
