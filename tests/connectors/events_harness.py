"""The part of the default configuration that makes spans of log records and metrics of both, with a clock set by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_pipeline.connectors.agent_events import AgentEvents, AgentEventsConfig
from otel_pipeline.connectors.stage_metrics import StageMetrics, StageMetricsConfig
from otel_pipeline.pdata import Batch, Limits, decode, from_proto, to_proto
from otel_pipeline.processors.semconv import Semconv, SemconvConfig
from otel_pipeline.testing import FakeTime, make_settings

__all__ = ["RECORDED", "WRITTEN", "Gateway", "Series", "log_records", "read", "spans", "untraced"]

FIXTURES = Path(__file__).parents[1] / "fixtures"
RECORDED, WRITTEN = FIXTURES / "recorded", FIXTURES / "written"
WAIT, PROMPT_IDLE = 15, 300

Series = dict[tuple[str, ...], float]


def read(path: Path, edit: Callable[[LogRecord], object] | None = None) -> Batch:
    """A recorded request; `edit` changes its log records."""
    signal = "logs" if ".logs." in path.name else "traces"
    batch, _ = decode(signal, path.read_bytes(), True, Limits())
    if edit:
        request = to_proto(batch)
        for record in log_records(request):
            edit(record)
        batch = from_proto(request)
    return batch


def log_records(request: Any) -> list[LogRecord]:
    """All records of a logs request."""
    return [one for group in request.resource_logs for scope in group.scope_logs for one in scope.log_records]


def untraced(record: LogRecord) -> None:
    """Makes of a record what its sender writes where traces are off."""
    record.trace_id, record.span_id, record.flags = b"", b"", 0


def spans(batch: Batch | None) -> list[Span]:
    """All spans of a batch."""
    if batch is None:
        return []
    request = to_proto(batch)
    return [one for group in request.resource_spans for scope in group.scope_spans for one in scope.spans]


class Gateway:
    """Enrichment, `agent_events` and `stage_metrics`, wired as in the default configuration."""

    def __init__(self, config: AgentEventsConfig | None = None) -> None:
        self.time = FakeTime()
        settings = make_settings("semconv", time=self.time)
        self.semconv = Semconv(SemconvConfig(), settings)
        self.settings = make_settings("agent_events", time=self.time)
        self.events = AgentEvents(config or AgentEventsConfig(), self.settings)
        self.stages = StageMetrics(StageMetricsConfig(), make_settings("stage_metrics", time=self.time))
        self.derived: list[Span] = []
        self.series: Series = {}

    def receive(self, batch: Batch) -> None:
        """Takes in what a sender sent."""
        enriched = self.semconv.process(batch)
        assert enriched is not None
        self.stages.process(enriched)
        self.events.process(enriched)

    def wait(self, seconds: float) -> None:
        """Lets time pass, and hands on what is due."""
        self.time.advance(seconds)
        self._flush()

    def end(self) -> Series:
        """Waits until everything is told, and gives the series: counts and sums by metric and labels."""
        for seconds in (WAIT, PROMPT_IDLE, 60, 3600):
            self.wait(seconds)
        return self.series

    def stop(self) -> list[Span]:
        """The last flush; gives all spans that were made."""
        self.events.draining = True
        self._flush()
        return self.derived

    def findings(self) -> dict[str, float]:
        """What the connector counted."""
        counter = self.settings.telemetry.counter("otel_pipeline_connector_findings")
        return {finding: value for (_, finding), value in counter.values.items()}

    def _flush(self) -> None:
        made = self.events.flush(self.time.unix_ns)
        if made is not None:
            self.derived += spans(made)
            enriched = self.semconv.process(made)
            assert enriched is not None
            self.stages.process(enriched)
        flushed = self.stages.flush(self.time.unix_ns)
        for metric in to_proto(flushed).resource_metrics[0].scope_metrics[0].metrics if flushed else ():
            kind = metric.WhichOneof("data")
            for point in getattr(metric, kind).data_points:
                labels = (metric.name, *(one.value.string_value for one in point.attributes))
                if kind == "histogram":
                    self.series[(*labels, "count")] = point.count
                    self.series[(*labels, "sum")] = round(point.sum, 6)
                else:
                    self.series[labels] = round(getattr(point, point.WhichOneof("value")), 9)
