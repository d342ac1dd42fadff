"""Sends metrics by OpenTelemetry's SDK: python send_metrics.py grpc|http/protobuf ENDPOINT INSTANCE ROUNDS [stay]

Each round counts, observes and is exported before the next. With `stay` it then waits to be killed.
"""

import sys
import time
from collections.abc import Iterable

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

protocol, endpoint, instance, rounds, *stay = sys.argv[1:]
exporter = (
    GrpcExporter(endpoint, insecure=True) if protocol == "grpc" else HttpExporter(f"{endpoint}/v1/metrics", timeout=30)
)
reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
provider = MeterProvider(
    metric_readers=[reader],
    resource=Resource({"service.name": "worker", "service.instance.id": instance, "project": "sums"}),
    views=[View(instrument_name="work.size", aggregation=ExponentialBucketHistogramAggregation())],
)
meter = provider.get_meter("send_metrics", "1.0")
done = 0


def _observe(_options: CallbackOptions) -> Iterable[Observation]:
    yield Observation(10 * done)


items = meter.create_counter("work.items", unit="{item}")
active = meter.create_up_down_counter("work.active")
seconds = meter.create_histogram("work.duration", unit="s", explicit_bucket_boundaries_advisory=[0.5, 1, 5])
size = meter.create_histogram("work.size", unit="By")
level = meter.create_gauge("work.level")
meter.create_observable_counter("work.cpu", [_observe], unit="s")

for done in range(1, int(rounds) + 1):
    items.add(1, {"kind": "small"})
    items.add(2, {"kind": "large"})
    active.add(3)
    active.add(-1)
    seconds.record(0.25)
    seconds.record(2.5)
    size.record(3.0)
    size.record(1000.0)
    level.set(done, {"worker": instance})
    if not provider.force_flush(60_000):
        sys.exit("not sent")
print("sent", flush=True)
if stay:
    time.sleep(3600)
provider.shutdown()
