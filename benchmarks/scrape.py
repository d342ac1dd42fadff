"""One scrape of 100,000 series: how long it takes, and how much memory it needs beyond the series themselves."""

import time
from pathlib import Path

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from otel_pipeline.pdata import from_proto
from otel_pipeline.prometheus import SeriesStore
from otel_pipeline.testing import attributes

SERIES = 100_000
NOW = 1_767_225_600_000_000_000


def measure() -> dict[str, float]:
    """Pages of 100,000 counters with six labels each, read by a scraper of either format that has exemplars."""
    store = SeriesStore(epoch_ns=NOW, max_series_per_metric=SERIES, max_series=2 * SERIES)
    for part in range(10):
        store.ingest(from_proto(_request(part)), NOW)
    return _scrape(store, "openmetrics", "scrape_100k") | _scrape(store, "protobuf", "scrape_100k_protobuf")


def _scrape(store: SeriesStore, format: str, name: str) -> dict[str, float]:
    before = _resident_mib()
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    begin = time.perf_counter()
    page = store.render(format, 0, NOW)
    seconds = time.perf_counter() - begin
    assert len(page) > 100 * SERIES
    return {
        f"{name}_seconds": seconds,
        f"{name}_mib": _peak_mib() - before,
        f"{name}_page_mib": len(page) / 2**20,
    }


def _request(part: int) -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name=f"bench.part{part}")
    metric.sum.is_monotonic = True
    metric.sum.aggregation_temporality = 2  # type: ignore[assignment]
    for number in range(SERIES // 10):
        labels = {
            "project_id": "checkout",
            "stage": f"stage-{number % 10}",
            "agent": "claude_code",
            "model": f"m{number % 7}",
        }
        labels |= {"outcome": "success", "number": str(number)}
        metric.sum.data_points.add(
            as_double=number + 0.5,
            start_time_unix_nano=NOW,
            time_unix_nano=NOW,
            attributes=attributes(labels),
        )
    return request


def _resident_mib() -> float:
    return _status("VmRSS")


def _peak_mib() -> float:
    return _status("VmHWM")


def _status(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(name)
