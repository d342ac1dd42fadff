"""What the checkpoint costs of a scrape of 10,000 series, as a Prometheus asks for it: OpenMetrics, gzip, HTTP.

Two gateways that differ only in whether they keep one get the same points and are scraped in turns; CPU is that of the
whole process.
"""

import http.client
import os
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from benchmarks.load import free_port, started
from otel_pipeline.testing import attributes

METRICS = 20
SERIES = 10_000
ROUNDS = 30
CONFIG = Path(__file__).parent / "checkpoint.yaml"
START_NS = time.time_ns()
DELTA, CUMULATIVE = 1, 2
_START, _TIME, _VALUE = b"\xf1start\xf1\xf1", b"\xf2time\xf2\xf2\xf2", b"\xf3val\xf3\xf3\xf3?"
_SCRAPER = {
    "Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
    "Accept-Encoding": "gzip",
    "User-Agent": "Prometheus/2.53.0",
    "X-Prometheus-Scrape-Timeout-Seconds": "10",
}


def measure() -> dict[str, float]:
    """Every counter has changed since the scrape before: told by a cumulative sender, and by one of deltas."""
    return _share("checkpoint_cumulative", CUMULATIVE) | _share("checkpoint_delta", DELTA)


def _share(name: str, temporality: int, sessions: int = 1, part: float = 1.0, rounds: int = ROUNDS) -> dict[str, float]:
    """Milliseconds of CPU of a scrape without it, and how many percent more it takes with it; medians."""
    requests = [_request(metric, temporality, sessions, part) for metric in range(METRICS)]
    cpu: dict[bool, list[float]] = {False: [], True: []}
    with ExitStack() as stack:
        gateways = {kept: stack.enter_context(_gateway(kept)) for kept in cpu}
        everything = [_request(metric, temporality, sessions, 1.0) for metric in range(METRICS)]
        for step in range(rounds + 3):
            for kept, gateway in gateways.items():
                gateway.send(requests if step else everything, step)
                seconds = gateway.scrape()
                if step > 2:  # the first ones write everything, and show new series at 0
                    cpu[kept].append(seconds)
    without, with_it = (statistics.median(cpu[kept]) for kept in (False, True))
    return {f"{name}_scrape_ms": without * 1e3, f"{name}_percent": (with_it / without - 1) * 100}


@dataclass
class _Gateway:
    pid: int
    intake: http.client.HTTPConnection
    page: http.client.HTTPConnection
    end_ns: int = START_NS

    def send(self, requests: list[bytes], step: int) -> None:
        """All that changes between two scrapes; each point says that it counted on since the last one."""
        start_ns, self.end_ns = self.end_ns, time.time_ns()
        for request in requests:
            body = request.replace(_START, struct.pack("<Q", start_ns)).replace(_TIME, struct.pack("<Q", self.end_ns))
            body = body.replace(_VALUE, struct.pack("<d", step + 1.5))
            self.intake.request("POST", "/v1/metrics", body, {"Content-Type": "application/x-protobuf"})
            answer = self.intake.getresponse()
            assert (answer.read(), answer.status)[1] == 200

    def scrape(self) -> float:
        """Seconds of CPU."""
        before = _cpu_seconds(self.pid)
        self.page.request("GET", "/metrics", headers=_SCRAPER)
        answer = self.page.getresponse()
        assert (len(answer.read()) > SERIES, answer.status) == (True, 200)
        return _cpu_seconds(self.pid) - before


@contextmanager
def _gateway(kept: bool) -> Iterator[_Gateway]:
    ports = {name: free_port() for name in ("HTTP", "METRICS")}
    with tempfile.TemporaryDirectory() as data_dir:
        environment = os.environ | {f"{name}_PORT": str(port) for name, port in ports.items()}
        environment |= {"OTEL_PIPELINE_DATA_DIR": data_dir, "KEPT": str(kept).lower()}
        command = [sys.executable, "-m", "otel_pipeline", "run", "--config", str(CONFIG)]
        with started(command, environment, ports["METRICS"]) as pid:
            intake, page = (http.client.HTTPConnection("127.0.0.1", port) for port in ports.values())
            yield _Gateway(pid, intake, page)
            intake.close()
            page.close()


def _cpu_seconds(pid: int) -> float:
    """Of all its threads, to the nanosecond: by the clock that clock_getcpuclockid(3) names."""
    return time.clock_gettime((~pid << 3) | 2)


def _request(metric: int, temporality: int, sessions: int, part: float) -> bytes:
    """One metric's points of so many sessions for each series, with marks where times and values belong."""
    request = ExportMetricsServiceRequest()
    resource_metrics = request.resource_metrics.add()
    resource_metrics.resource.attributes.extend(attributes({"service.name": "agent"}))
    sum = resource_metrics.scope_metrics.add().metrics.add(name=f"bench.part{metric}").sum
    sum.is_monotonic, sum.aggregation_temporality = True, temporality  # type: ignore[assignment]
    for number in range(int(SERIES / METRICS * part)):
        labels = {"sdlc.project.id": "checkout", "stage": f"stage-{number % 10}", "model": f"m{number % 7}"}
        labels |= {"outcome": "success", "number": str(number)}
        for session in range(sessions):
            sum.data_points.add(
                start_time_unix_nano=int.from_bytes(_START, "little") if temporality == DELTA else START_NS,
                time_unix_nano=int.from_bytes(_TIME, "little"),
                as_double=struct.unpack("<d", _VALUE)[0],
                attributes=attributes(labels | ({"session.id": f"{session:036}"} if temporality == DELTA else {})),
            )
    return request.SerializeToString()


def _main() -> None:
    for name, temporality, sessions, part in (
        ("nothing changed", CUMULATIVE, 1, 0.0),
        ("10 % changed", CUMULATIVE, 1, 0.1),
        ("all changed", CUMULATIVE, 1, 1.0),
        ("all changed, deltas", DELTA, 1, 1.0),
        ("all changed, deltas of four sessions each", DELTA, 4, 1.0),
    ):
        share = _share("checkpoint", temporality, sessions, part)
        print(f"{name}: {share['checkpoint_percent']:.1f} % of {share['checkpoint_scrape_ms']:.2f} ms", flush=True)


if __name__ == "__main__":
    _main()
