"""CPU of a whole process for each span: the gateway (receive, enrich, stage metrics, forward) beside rotel.

Both forward over gRPC without compression; rotel neither enriches nor derives anything.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load import cpu_seconds, free_port, make_request, rss_mib, send, sink, started

REQUESTS = {512: 600, 100: 3000, 10: 6000}
CONFIG = Path(__file__).parent / "gateway.yaml"


def measure(protocol: str, spans: int, repeats: int = 4) -> dict[str, float]:
    """Both processes under the same load, in turns, so that both meet the machine's moods; the best run of each."""
    results: dict[str, float] = {}
    runs = [(_run(gateway, protocol, spans), _run(rotel, protocol, spans)) for _ in range(repeats)]
    for name, of_one in zip(("", "rotel_"), zip(*runs, strict=True), strict=True):
        cpu, rate = min(of_one)
        results[f"{name}{protocol}_{spans}_us_per_span"] = cpu
        results[f"{name}{protocol}_{spans}_spans_per_second"] = rate
    return results


def _run(process: object, protocol: str, spans: int) -> tuple[float, float]:
    requests = REQUESTS[spans]
    request = make_request(spans)
    with sink() as (sink_port, received), process(protocol, sink_port) as (pid, port):  # type: ignore[operator]
        warm_up = max(50, requests // 10)
        send(protocol, port, request, range(1, warm_up + 1), 8)
        received.wait(warm_up * spans)
        before = cpu_seconds(pid)
        seconds = send(protocol, port, request, range(warm_up + 1, warm_up + requests + 1), 8)
        received.wait((warm_up + requests) * spans)
        cpu = cpu_seconds(pid) - before
    total = requests * spans
    return cpu / total * 1e6, total / seconds


@contextmanager
def gateway(protocol: str, sink_port: int) -> Iterator[tuple[int, int]]:
    """The gateway with benchmarks/gateway.yaml; its pid and the port of the protocol."""
    ports = {"grpc": free_port(), "http": free_port()}
    with tempfile.TemporaryDirectory() as data_dir:
        environment = os.environ | {
            "OTEL_PIPELINE_DATA_DIR": data_dir,
            "GRPC_PORT": str(ports["grpc"]),
            "HTTP_PORT": str(ports["http"]),
            "METRICS_PORT": str(free_port()),
            "HEALTH_PORT": str(free_port()),
            "SINK_PORT": str(sink_port),
        }
        command = [sys.executable, "-m", "otel_pipeline", "run", "--config", str(CONFIG)]
        with started(command, environment, ports[protocol]) as pid:
            yield pid, ports[protocol]


@contextmanager
def rotel(protocol: str, sink_port: int) -> Iterator[tuple[int, int]]:
    """The rotel agent, receiving and forwarding without compression; its pid and the port of the protocol."""
    import rotel as package

    ports = {"grpc": free_port(), "http": free_port()}
    command = [
        str(Path(package.__file__).parent / "rotel-agent"), "start",
        "--otlp-grpc-endpoint", f"127.0.0.1:{ports['grpc']}",
        "--otlp-http-endpoint", f"127.0.0.1:{ports['http']}",
        "--exporter", "otlp",
        "--otlp-exporter-endpoint", f"http://127.0.0.1:{sink_port}",
        "--otlp-exporter-compression", "none",
    ]  # fmt: skip
    with started(command, dict(os.environ), ports[protocol]) as pid:
        yield pid, ports[protocol]


def idle_rss_mib() -> float:
    """Resident memory of a gateway with the benchmark's configuration, two seconds after its start."""
    with sink() as (sink_port, _), gateway("grpc", sink_port) as (pid, _):
        time.sleep(2)
        return rss_mib(pid)
