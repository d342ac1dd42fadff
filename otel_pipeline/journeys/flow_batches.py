"""What a flow tells, as telemetry: events as log records, gauges as data points."""

from collections.abc import Mapping, Sequence

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from otel_pipeline.journeys.flow import Event, Gauge
from otel_pipeline.pdata import Batch, from_proto, key_values

__all__ = ["SCOPE", "event_batch", "gauge_batch"]

SCOPE = "otel_pipeline.journeys"
"""Name of the instrumentation scope."""


def event_batch(events: Sequence[Event]) -> Batch:
    """One log record for each event; its name is `LogRecord.event_name`."""
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    scope.scope.name = SCOPE
    for event in events:
        scope.log_records.add(
            time_unix_nano=event.time_unix_ns,
            event_name=event.name,
            attributes=_attributes(event.attributes),
        )
    return from_proto(request)


def gauge_batch(gauges: Sequence[Gauge], now_unix_ns: int) -> Batch:
    """One metric for each name, with a data point for each gauge."""
    request = ExportMetricsServiceRequest()
    scope = request.resource_metrics.add().scope_metrics.add()
    scope.scope.name = SCOPE
    metrics = {}
    for gauge in gauges:
        if gauge.name not in metrics:
            metrics[gauge.name] = scope.metrics.add(name=gauge.name)
        metrics[gauge.name].gauge.data_points.add(
            time_unix_nano=now_unix_ns,
            as_double=gauge.value,
            attributes=_attributes(gauge.attributes),
        )
    return from_proto(request)


def _attributes(values: Mapping[str, str | float | bool]) -> list[KeyValue]:
    """Numbers are doubles, also whole ones: an attribute keeps its type."""
    return key_values({key: value if isinstance(value, str | bool) else float(value) for key, value in values.items()})
