"""What tests of components need: batches from short descriptions, a sink, a clock that is set by hand."""

import asyncio
import builtins
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar, Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_pipeline.component import Clock, Settings
from otel_pipeline.errors import ConsumeError
from otel_pipeline.pdata import Batch, any_value, from_proto, to_proto
from otel_pipeline.pdata import key_values as attributes
from otel_pipeline.telemetry import Telemetry

__all__ = [
    "FakeTime",
    "Sink",
    "any_value",
    "attributes",
    "make_counter",
    "make_gauge",
    "make_histogram",
    "make_log",
    "make_logs",
    "make_metrics",
    "make_settings",
    "make_span",
    "make_traces",
    "until",
]


def make_span(
    name: str = "work",
    *,
    trace: int = 1,
    span: int = 1,
    parent: int = 0,
    start: float = 0.0,
    seconds: float = 1.0,
    error: str | None = None,
    kind: int = Span.SPAN_KIND_INTERNAL,
    remote_parent: bool | None = None,
    **span_attributes: Any,
) -> Span:
    """A span; ids are small numbers, times are seconds after 2026-01-01, `error` is the status message of a failure.

    Attribute names are written with `__` for the dot: `gen_ai__request__model="m"`.
    """
    begin = 1_767_225_600_000_000_000 + round(start * 1e9)
    made = Span(
        trace_id=trace.to_bytes(16, "big"),
        span_id=span.to_bytes(8, "big"),
        parent_span_id=parent.to_bytes(8, "big") if parent else b"",
        name=name,
        kind=kind,  # type: ignore[arg-type]
        start_time_unix_nano=begin,
        end_time_unix_nano=begin + round(seconds * 1e9),
        attributes=attributes({key.replace("__", "."): value for key, value in span_attributes.items()}),
    )
    if error is not None:
        made.status.code = 2  # type: ignore[assignment]
        made.status.message = error
    if remote_parent is not None:
        made.flags = 0x301 if remote_parent else 0x101
    return made


def make_traces(
    *spans: Span,
    resource: Mapping[str, Any] | None = None,
    scope: str = "test",
    scope_attributes: Mapping[str, Any] | None = None,
) -> Batch:
    """A batch with one resource and one scope."""
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.extend(attributes(resource or {"service.name": "test"}))
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name = scope
    scope_spans.scope.attributes.extend(attributes(scope_attributes or {}))
    scope_spans.spans.extend(spans)
    return from_proto(request)


def make_log(
    name: str = "event",
    *,
    trace: int = 0,
    span: int = 0,
    start: float = 0.0,
    body: Any = None,
    **log_attributes: Any,
) -> LogRecord:
    """A log record with `event_name`; ids, times and attribute names as in `make_span`, 0 for no id."""
    return LogRecord(
        event_name=name,
        time_unix_nano=1_767_225_600_000_000_000 + round(start * 1e9),
        trace_id=trace.to_bytes(16, "big") if trace else b"",
        span_id=span.to_bytes(8, "big") if span else b"",
        body=None if body is None else any_value(body),
        attributes=attributes({key.replace("__", "."): value for key, value in log_attributes.items()}),
    )


def make_logs(*records: LogRecord, resource: Mapping[str, Any] | None = None, scope: str = "test") -> Batch:
    """A batch with one resource and one scope."""
    request = ExportLogsServiceRequest()
    resource_logs = request.resource_logs.add()
    resource_logs.resource.attributes.extend(attributes(resource or {"service.name": "test"}))
    scope_logs = resource_logs.scope_logs.add()
    scope_logs.scope.name = scope
    scope_logs.log_records.extend(records)
    return from_proto(request)


def make_metrics(
    *metrics: Metric,
    resource: Mapping[str, Any] | None = None,
    scope: str = "",
    scope_version: str = "",
    scope_attributes: Mapping[str, Any] | None = None,
) -> Batch:
    """A batch with one resource and one scope; both are empty where they are not given."""
    request = ExportMetricsServiceRequest()
    resource_metrics = request.resource_metrics.add()
    resource_metrics.resource.attributes.extend(attributes(resource or {}))
    scope_metrics = resource_metrics.scope_metrics.add()
    scope_metrics.scope.name = scope
    scope_metrics.scope.version = scope_version
    scope_metrics.scope.attributes.extend(attributes(scope_attributes or {}))
    scope_metrics.metrics.extend(metrics)
    return from_proto(request)


def make_gauge(
    name: str, value: float, labels: Mapping[str, Any] | None = None, *, time_ns: int, unit: str = "", help: str = ""
) -> Metric:
    """A gauge with one data point."""
    metric = Metric(name=name, unit=unit, description=help)
    metric.gauge.data_points.add(time_unix_nano=time_ns, as_double=value, attributes=attributes(labels or {}))
    return metric


def make_counter(
    name: str,
    value: float,
    labels: Mapping[str, Any] | None = None,
    *,
    start_ns: int,
    time_ns: int,
    unit: str = "",
    help: str = "",
    exemplars: Sequence[Exemplar] = (),
) -> Metric:
    """A cumulative monotonic sum with one data point."""
    metric = Metric(name=name, unit=unit, description=help)
    metric.sum.is_monotonic = True
    metric.sum.aggregation_temporality = 2  # type: ignore[assignment]
    metric.sum.data_points.add(
        start_time_unix_nano=start_ns,
        time_unix_nano=time_ns,
        as_double=value,
        attributes=attributes(labels or {}),
        exemplars=exemplars,
    )
    return metric


def make_histogram(
    name: str,
    counts: Sequence[int],
    bounds: Sequence[float],
    labels: Mapping[str, Any] | None = None,
    *,
    sum: float | None,
    start_ns: int,
    time_ns: int,
    unit: str = "",
    help: str = "",
    exemplars: Sequence[Exemplar] = (),
) -> Metric:
    """A cumulative histogram with one data point; `counts` are of each bucket alone."""
    metric = Metric(name=name, unit=unit, description=help)
    metric.histogram.aggregation_temporality = 2  # type: ignore[assignment]
    metric.histogram.data_points.add(
        start_time_unix_nano=start_ns,
        time_unix_nano=time_ns,
        bucket_counts=counts,
        explicit_bounds=bounds,
        count=builtins.sum(counts),
        sum=sum,
        attributes=attributes(labels or {}),
        exemplars=exemplars,
    )
    return metric


@dataclass
class Sink:
    """A consumer that keeps what it is given; raises the errors of `answers` first, one for each call."""

    batches: list[Batch] = field(default_factory=list)
    answers: list[ConsumeError | None] = field(default_factory=list)

    async def __call__(self, batch: Batch) -> None:
        """Takes a batch, or raises the next answer."""
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        self.batches.append(batch)

    @property
    def items(self) -> int:
        """Items of all batches together."""
        return sum(batch.items for batch in self.batches)

    def spans(self) -> Iterable[Span]:
        """Every span, in order of arrival."""
        for batch in self.batches:
            for resource_spans in to_proto(batch).resource_spans:
                for scope_spans in resource_spans.scope_spans:
                    yield from scope_spans.spans


async def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Waits on the event loop until `condition` is true; AssertionError when that takes too long."""
    end = monotonic() + seconds
    while not condition():
        assert monotonic() < end, "the condition did not come true"
        await asyncio.sleep(0.002)


@dataclass
class FakeTime:
    """A clock that stands still until it is told: `time.advance(30)`."""

    seconds: float = 1000.0
    unix_ns: int = 1_767_225_600_000_000_000

    def advance(self, seconds: float) -> None:
        """Moves both clocks."""
        self.seconds += seconds
        self.unix_ns += round(seconds * 1e9)

    @property
    def clock(self) -> Clock:
        """The clock to hand to a component."""
        return Clock(monotonic=lambda: self.seconds, time_ns=lambda: self.unix_ns)


def make_settings(
    component_id: str = "test", *, time: FakeTime | None = None, data_dir: Path | None = None
) -> Settings:
    """Settings as the service would give them, with telemetry of their own."""
    return Settings(
        id=component_id,
        telemetry=Telemetry(),
        data_dir=data_dir or Path("/dev/null/none"),
        log=logging.getLogger(f"otel_pipeline.{component_id}"),
        clock=time.clock if time else Clock(),
    )
