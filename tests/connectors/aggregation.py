"""An aggregator for tests of single derivations: plans in short, what comes out by metric and labels."""

import json
from collections.abc import Mapping
from typing import Any

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_pipeline.pdata import Batch, SpanAggregator
from otel_pipeline.testing import make_log, make_logs, make_metrics, make_traces
from tests.oracle.stages import metrics_in, texts

SECOND = 1_000_000_000
BEGIN_NS = 1_767_225_600 * SECOND

LATE = {
    "stage": "sdlc.stage.name",
    "model": "sdlc.model.name",
    "outcome": "sdlc.outcome",
    "stage_run": "sdlc.stage.run",
    "noise": "sdlc.noise",
    "inherited": ["sdlc.project.id", "sdlc.stage.name"],
    "success": "success",
    "failure": "failure",
    "decision_wait_ns": 30 * SECOND,
    "max_wait_ns": 3600 * SECOND,
    "max_spans": 1000,
}

Values = dict[frozenset[tuple[str, str]], float]


def label(name: str, *keys: str, **more: Any) -> dict[str, Any]:
    """A label that is read from the attributes `keys`, or from the one of its own name."""
    return {"name": name, "from": {"attributes": list(keys or (name,))}, "default": "-", **more}


def derivation(source: str, value: Any = "one", **more: Any) -> dict[str, Any]:
    """A derivation; `value` may be the key of a number."""
    words = ("one", "duration", "point")
    written = value if value in words else {"attributes": [value] if isinstance(value, str) else list(value)}
    return {"source": source, "value": written, **more}


def metric(
    name: str, *derivations: Mapping[str, Any], instrument: str = "counter", unit: str = "1", **more: Any
) -> dict[str, Any]:
    """A metric without labels, if `more` has none."""
    plan = {"name": name, "unit": unit, "instrument": instrument, "labels": [], "derivations": list(derivations)}
    return plan | more


def make_record(event: str = "", *, sampled: bool = True, **more: Any) -> LogRecord:
    """As `testing.make_log`, of a span that is exported or not."""
    record = make_log(event, **more)
    record.flags = int(sampled)
    return record


class Aggregation:
    """A native aggregator with clocks set by hand."""

    def __init__(self, *metrics: Mapping[str, Any], late: bool = True, **plan: Any) -> None:
        whole = {"metrics": metrics, "late_binding": LATE if late else None, **plan}
        self.native = SpanAggregator(json.dumps(whole), BEGIN_NS)
        self.seconds = 0
        self.metrics: dict[str, Metric] = {}

    @property
    def now_ns(self) -> int:
        return self.seconds * SECOND

    def send(self, batch: Batch) -> Batch | None:
        """What is given back."""
        return self.native.update(batch, self.now_ns)[1]

    def spans(self, *spans: Span, scope: str = "test", **resource: Any) -> None:
        self.send(make_traces(*spans, scope=scope, resource=_dotted(resource)))

    def logs(self, *records: LogRecord, **resource: Any) -> None:
        self.send(make_logs(*records, resource=_dotted(resource)))

    def points(self, *metrics: Metric, **resource: Any) -> Batch | None:
        return self.send(make_metrics(*metrics, resource=_dotted(resource)))

    def flush(self, seconds: int = 30) -> None:
        """Lets time go by; then `metrics` holds what is flushed."""
        self.seconds += seconds
        self.metrics = metrics_in(self.native.flush(self.now_ns, BEGIN_NS + self.now_ns))

    def values(self, name: str, seconds: int = 30) -> Values:
        """After a flush: the value by labels; of a histogram the sum."""
        self.flush(seconds)
        if name not in self.metrics:
            return {}
        found = self.metrics[name]
        numbers = [*found.sum.data_points, *found.gauge.data_points]
        values = {
            frozenset(texts(point.attributes).items()): point.as_double or float(point.as_int) for point in numbers
        }
        sums = {frozenset(texts(point.attributes).items()): point.sum for point in found.histogram.data_points}
        return values | sums

    def value(self, name: str, seconds: int = 30, /, **labels: str) -> float | None:
        """After a flush: the value of the series with exactly these labels, written as in `make_span`."""
        return self.values(name, seconds).get(frozenset(_dotted(labels).items()))


def _dotted(names: Mapping[str, Any]) -> dict[str, Any]:
    return {key.replace("__", "."): value for key, value in names.items()}
