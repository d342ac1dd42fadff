"""Number data points into the series store, 512 a request: one stream to a series, and many sessions to a series."""

import time

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from otel_pipeline.pdata import Batch, from_proto
from otel_pipeline.prometheus import SeriesStore
from otel_pipeline.testing import attributes

POINTS = 512
METRICS = 8
ROUNDS = 400
NOW = 1_767_225_600_000_000_000
SECOND = 1_000_000_000


def measure() -> dict[str, float]:
    """Microseconds of CPU for each point, of cumulative counters with five attributes and of deltas of 64 sessions."""
    return {
        "ingest_us_per_point": min(_seconds(2) for _ in range(3)) * 1e6,
        "ingest_us_per_summed_point": min(_seconds(1) for _ in range(3)) * 1e6,
    }


def _seconds(temporality: int) -> float:
    store = SeriesStore(epoch_ns=NOW, drop_labels=["session.id"])
    batches = [_batch(temporality, step) for step in range(1, ROUNDS + 1)]
    begin = time.process_time()
    for step, batch in enumerate(batches, start=1):
        kept = store.ingest(batch, NOW + step * SECOND).kept
        assert kept == POINTS
    return (time.process_time() - begin) / (ROUNDS * POINTS)


def _batch(temporality: int, step: int) -> Batch:
    request = ExportMetricsServiceRequest()
    resource_metrics = request.resource_metrics.add()
    resource_metrics.resource.attributes.extend(attributes({"service.name": "agent", "process.pid": 7}))
    scope_metrics = resource_metrics.scope_metrics.add()
    for name in range(METRICS):
        metric = scope_metrics.metrics.add(name=f"agent.usage.{name}", unit="{token}")
        metric.sum.is_monotonic = True
        metric.sum.aggregation_temporality = temporality  # type: ignore[assignment]
        for number in range(POINTS // METRICS):
            labels = {"sdlc.project.id": "checkout", "model": "m1", "type": "input", "outcome": "success"}
            labels |= {"session.id": f"{number:036}"} if temporality == 1 else {"number": str(number)}
            metric.sum.data_points.add(
                as_int=step if temporality == 2 else 1,
                start_time_unix_nano=NOW if temporality == 2 else NOW + (step - 1) * SECOND,
                time_unix_nano=NOW + step * SECOND,
                attributes=attributes(labels),
            )
    return from_proto(request)
