"""The data plane alone: decode, enrich by the shipped rules, stage metrics, encode; native beside plain Python."""

import logging
import time
from pathlib import Path

from benchmarks.load import make_request, unique
from benchmarks.plain import PlainGateway
from otel_pipeline.component import Settings
from otel_pipeline.connectors.stage_metrics import StageMetrics, StageMetricsConfig
from otel_pipeline.pdata import Limits, decode
from otel_pipeline.processors.semconv import Semconv, SemconvConfig
from otel_pipeline.telemetry import Telemetry

SPANS = 512
ROUNDS = 400


def settings(component: str) -> Settings:
    """Settings as the service gives them."""
    return Settings(
        id=component, telemetry=Telemetry(), data_dir=Path("/nonexistent"), log=logging.getLogger(component)
    )


def measure() -> dict[str, float]:
    """Microseconds of CPU for each span; every request holds new traces."""
    request = make_request(SPANS)
    bodies = [unique(request, number) for number in range(1, ROUNDS + 1)]
    native = min(_native(bodies) for _ in range(3))
    python = _python(bodies[:20])
    return {"native_us_per_span": native, "python_us_per_span": python, "native_times_faster": python / native}


def _native(bodies: list[bytes]) -> float:
    limits = Limits()
    enrich = Semconv(SemconvConfig(), settings("semconv"))
    stages = StageMetrics(StageMetricsConfig(decision_wait=0.0), settings("stage_metrics"))
    begin = time.process_time()
    for number, body in enumerate(bodies):
        batch, _ = decode("traces", body, False, limits)
        enriched = enrich.process(batch)
        assert enriched is not None
        stages.process(enriched)
        if number % 100 == 99:
            stages.flush(time.time_ns())
        assert len(enriched.data) > len(body)
    return (time.process_time() - begin) / (len(bodies) * SPANS) * 1e6


def _python(bodies: list[bytes]) -> float:
    gateway = PlainGateway()
    begin = time.process_time()
    for body in bodies:
        gateway.process(body)
    gateway.flush()
    return (time.process_time() - begin) / (len(bodies) * SPANS) * 1e6
