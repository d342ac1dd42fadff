"""Write to the gateway's own log what passes: how much, which items, or every attribute.

Above `basic` it loops over items in Python, some microseconds each: for looking at a few, not for running all day.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from pydantic import Field

from otel_pipeline.component import Exporter, Settings
from otel_pipeline.helpers.printable import printable
from otel_pipeline.options import Options
from otel_pipeline.pdata import Batch, Signal, to_proto

__all__ = ["Debug"]

_MAX_CHARS = 128
_MAX_SEARCHED_CHARS = 512
"""A bound for the patterns below; a secret that begins later is cut away."""
_HIDDEN_KEY = re.compile(
    r"authoriz|cookie|passw|passphrase|secret|credential|api.?key|private.?key|access.?key|signature|token(?![a-z])"
    r"|prompt|completion(?!_tokens)|messages|instructions|arguments|parameters|command|query|body|email"
    r"|content(?!.?(type|length|encoding))|std(in|out|err)|(^|[._])(input|output|result)(\.value)?$",
    re.I,
)
"""Attributes whose values may be secrets, or what people and models wrote."""
_SECRET_VALUE = re.compile(
    r"\b(bearer|basic)\s+\S{8}|\bsk-[\w-]{16}|\bgh[pousr]_\w{20}|\bgithub_pat_\w{20}|\bglpat-[\w-]{16}|\bxox[a-z]-\w{8}"
    r"|\bAKIA[0-9A-Z]{16}|\beyJ[\w-]{8,}\.[\w-]{8,}\.|-----BEGIN|://[^/\s:@]*:[^/\s@]+@",
    re.I,
)
"""What well-known tokens and keys look like, wherever they stand."""
_HIDDEN = "(hidden)"


class DebugOptions(Options):
    """Options of `debug`."""

    verbosity: Literal["basic", "normal", "detailed"] = "basic"
    """`basic`: one line a batch, with numbers. `normal`: one line an item, with names and ids. `detailed`: attributes
    too, cut to 128 characters; values that may be secrets, prompts or other content are hidden."""
    sampling_initial: int = Field(2, ge=0)
    """Batches of each signal that are shown in every second, before sampling begins."""
    sampling_thereafter: int = Field(1, ge=0)
    """After those, one batch of so many is shown; 1 = all, 0 = none."""


class Debug(Exporter):
    """Logs batches. Nothing that telemetry contains can forge a line or reach the terminal as a control character."""

    type = "debug"
    Config = DebugOptions
    config: DebugOptions

    def __init__(self, config: DebugOptions, settings: Settings) -> None:
        super().__init__(config, settings)
        self._seen: dict[str, tuple[int, int]] = {}

    async def consume(self, batch: Batch) -> None:
        """Logs the batch, unless sampling leaves it out."""
        if self._is_shown(batch.signal):
            log = self.settings.log
            signal = Signal(batch.signal)
            log.info("%s: %s=%d size_bytes=%d", signal, signal.items, batch.items, batch.size_bytes)
            if self.config.verbosity != "basic":
                for line in describe(batch, detailed=self.config.verbosity == "detailed"):
                    log.info("%s", line)
        self.settings.counts[Signal(batch.signal)].sent += batch.items

    def _is_shown(self, signal: str) -> bool:
        second = int(self.settings.clock.monotonic())
        last, seen = self._seen.get(signal, (second, 0))
        seen = seen + 1 if last == second else 1
        self._seen[signal] = (second, seen)
        after = seen - self.config.sampling_initial
        every = self.config.sampling_thereafter
        return after <= 0 or (every > 0 and after % every == 0)


def describe(batch: Batch, *, detailed: bool) -> Iterator[str]:
    """Lines for the resources, scopes and items of a batch; with their attributes where `detailed`."""
    resources, scopes, items, item_line = _SHAPES[batch.signal]
    request: Any = to_proto(batch)
    for resource in getattr(request, resources):
        yield "resource"
        if detailed:
            yield from _attributes(resource.resource.attributes, "  ")
        for scope in getattr(resource, scopes):
            yield f"  scope {_text(scope.scope.name)} {_text(scope.scope.version)}".rstrip()
            if detailed:
                yield from _attributes(scope.scope.attributes, "    ")
            for item in getattr(scope, items):
                yield f"    {item_line(item)}"
                if detailed:
                    yield from _details(item)


def _span_line(span: Span) -> str:
    seconds = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
    kind = Span.SpanKind.Name(span.kind) if span.kind in Span.SpanKind.values() else span.kind
    status = ("UNSET", "OK", "ERROR")[span.status.code] if 0 <= span.status.code <= 2 else span.status.code
    return (
        f"span {_text(span.name)} trace_id={span.trace_id.hex()} span_id={span.span_id.hex()}"
        f" parent_span_id={span.parent_span_id.hex()} kind={str(kind).removeprefix('SPAN_KIND_')}"
        f" seconds={seconds:.6f} status={status}"
    )


def _metric_line(metric: Metric) -> str:
    kind = metric.WhichOneof("data") or "empty"
    points = len(_points(metric))
    return f"metric {_text(metric.name)} type={kind} unit={_text(metric.unit)} data_points={points}"


def _log_line(record: LogRecord) -> str:
    body = record.body.WhichOneof("value") or "empty"
    return (
        f"log_record {_text(record.event_name)} severity={_text(record.severity_text) or record.severity_number}"
        f" trace_id={record.trace_id.hex()} span_id={record.span_id.hex()} body={body} {_HIDDEN}"
    )


def _details(item: Any) -> Iterator[str]:
    if isinstance(item, Metric):
        for point in _points(item):
            yield f"      data_point {_point_value(point)}"
            yield from _attributes(point.attributes, "        ")
        return
    yield from _attributes(item.attributes, "      ")
    if isinstance(item, Span):
        if item.status.message:
            yield f"      status_message={_text(item.status.message)}"
        for event in item.events:
            yield f"      event {_text(event.name)}"
            yield from _attributes(event.attributes, "        ")
        for link in item.links:
            yield f"      link trace_id={link.trace_id.hex()} span_id={link.span_id.hex()}"
            yield from _attributes(link.attributes, "        ")


def _points(metric: Metric) -> Sequence[Any]:
    kind = metric.WhichOneof("data")
    return getattr(metric, kind).data_points if kind else ()


def _point_value(point: Any) -> str:
    if hasattr(point, "count"):
        return f"count={point.count} sum={point.sum}"
    kind = point.WhichOneof("value")
    return f"value={getattr(point, kind)}" if kind else "no value"


def _attributes(attributes: Iterable[KeyValue], indent: str) -> Iterator[str]:
    for attribute in attributes:
        value = _HIDDEN if _HIDDEN_KEY.search(attribute.key[:_MAX_SEARCHED_CHARS]) else _value(attribute.value)
        yield f"{indent}{_text(attribute.key)}={value}"


def _value(value: AnyValue) -> str:
    """Text of a value. Nested values are told by their size: what is in them has no reviewed name."""
    match value.WhichOneof("value"):
        case None:
            return "(empty)"
        case "string_value":
            return _text(value.string_value)
        case "bytes_value":
            return f"({len(value.bytes_value)} bytes)"
        case "array_value":
            return f"({len(value.array_value.values)} values)"
        case "kvlist_value":
            return f"({len(value.kvlist_value.values)} keys)"
        case kind:
            return str(getattr(value, kind))


def _text(text: str) -> str:
    text = text[:_MAX_SEARCHED_CHARS]
    return _HIDDEN if _SECRET_VALUE.search(text) else printable(text, _MAX_CHARS)


_Shape = tuple[str, str, str, Callable[[Any], str]]
_SHAPES: dict[str, _Shape] = {
    Signal.TRACES: ("resource_spans", "scope_spans", "spans", _span_line),
    Signal.METRICS: ("resource_metrics", "scope_metrics", "metrics", _metric_line),
    Signal.LOGS: ("resource_logs", "scope_logs", "log_records", _log_line),
}
