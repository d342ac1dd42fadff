"""The gateway's own counts: plain integers on the hot path, read by OpenTelemetry instruments when somebody looks."""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from threading import Lock
from typing import Any

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest as text_page
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_page

__all__ = ["MAX_LABEL_SETS", "ComponentCounts", "Counter", "Counts", "SenderError", "SenderErrors", "Telemetry"]

MAX_LABEL_SETS = 200
"""Series of one counter; what comes after is added up under `other`."""

_Values = Mapping[tuple[str, ...], float]
_STARTED = time.monotonic()
_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class Counts:
    """Items of one signal at one component since its start.

    At every moment: consumed + created = produced + sent + refused + failed + sum(dropped) + held + pending.
    Who counts what is told in service/edge.py. Read and written on the event loop only.
    """

    consumed: int = 0
    """Came in."""
    created: int = 0
    """Made here: metrics out of spans, items added by a processor, items found in a durable queue at the start."""
    produced: int = 0
    """Handed on, and taken by everything behind."""
    sent: int = 0
    """Left the gateway: delivered to a peer, written to a file, ingested into the series store; or, at a connector,
    turned into items of another signal."""
    refused: int = 0
    """Answered with a retryable error."""
    failed: int = 0
    """Answered with a permanent error."""
    pending: int = 0
    """Being handed on right now."""
    dropped: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Given up, by reason."""
    held: Callable[[], int] = lambda: 0
    """In a queue or buffer now."""
    away: bool = False
    """A worker thread has the component: its own numbers run ahead of the edge's until the thread is back."""

    def missing(self) -> int:
        """How many items the balance cannot explain; 0 in a correct gateway, and while that cannot be told (`away`)."""
        if self.away:
            return 0
        explained = self.produced + self.sent + self.refused + self.failed + self.pending
        return self.consumed + self.created - explained - sum(self.dropped.values()) - self.held()

    def adopt(self, old: "Counts") -> None:
        """Goes on where the counts of a stopped component of the same id ended, so that series do not start again.

        What the old one still holds is taken back from `created`: the new one finds it, or it is gone with a warning.
        """
        for name in ("consumed", "created", "produced", "sent", "refused", "failed"):
            setattr(self, name, getattr(self, name) + getattr(old, name))
        self.created -= old.held()
        for reason, items in old.dropped.items():
            self.dropped[reason] += items


@dataclass(frozen=True, slots=True)
class ComponentCounts:
    """The counts of one signal at one component, with what labels them."""

    kind: str
    """`receiver`, `processor`, `connector` or `exporter`."""
    id: str
    pipeline: str
    """Only processors have one; else empty."""
    signal: str
    items: str
    """What the items are called in metric names: `spans`, `metric_points` or `log_records`."""
    counts: Counts

    def labels(self) -> dict[str, str]:
        """The labels that the Collector gives to a component's metrics, and the pipeline."""
        return {self.kind: self.id, "pipeline": self.pipeline} if self.pipeline else {self.kind: self.id}


class Counter:
    """A counter with labels, cheap enough to be added to per batch."""

    def __init__(self, name: str, unit: str, description: str, labels: tuple[str, ...]) -> None:
        self.name = name
        self.unit = unit
        self.description = description
        self.labels = labels
        self.values: dict[tuple[str, ...], int | float] = defaultdict(int)
        self._other = ("other",) * len(labels)

    def add(self, amount: float, *label_values: str) -> None:
        """Adds `amount` (zero or more) to the series with these label values, in the order of `labels`."""
        values = self.values
        if label_values not in values and len(values) >= MAX_LABEL_SETS:
            label_values = self._other
        values[label_values] += amount


@dataclass(frozen=True, slots=True)
class SenderError:
    """The last time that a sender was told of a problem with what it sent."""

    at_unix_ns: int
    reason: str
    """As in `otelcol_receiver_requests`; `rejected_items` where only some items were not taken."""
    message: str
    """What the sender was told."""
    count: int
    """How many requests of the sender had a problem since the start."""


class SenderErrors:
    """The last problem of each sender and signal. Receivers write it; what shows senders reads it."""

    def __init__(self) -> None:
        self._errors: dict[tuple[str, str], SenderError] = {}

    def note(self, service: str, signal: str, reason: str, message: str, at_unix_ns: int) -> None:
        """Remembers a problem; senders over MAX_LABEL_SETS are one, `_other`."""
        key = service or "unknown_service", signal
        if key not in self._errors and len(self._errors) >= MAX_LABEL_SETS:
            key = "_other", signal
        before = self._errors.get(key)
        count = before.count if before else 0
        self._errors[key] = SenderError(at_unix_ns, reason, message, count + 1)

    def read(self) -> dict[tuple[str, str], SenderError]:
        """By service and signal."""
        return dict(self._errors)


@dataclass(slots=True)
class _Gauge:
    name: str
    unit: str
    description: str
    labels: tuple[str, ...]
    callbacks: list[Callable[[], _Values]] = field(default_factory=list)
    grows: bool = False


class Telemetry:
    """Makes and keeps the gateway's own instruments, and shows them as a Prometheus page."""

    def __init__(self, _shared: "_Instruments | None" = None) -> None:
        self._shared = _shared or _Instruments()
        self._undo: list[Callable[[], None]] = []

    @property
    def counters(self) -> dict[str, Counter]:
        """Every counter, by name."""
        return self._shared.counters

    @property
    def sender_errors(self) -> SenderErrors:
        """The last problem of each sender."""
        return self._shared.sender_errors

    def counter(self, name: str, *, unit: str = "1", description: str = "", labels: tuple[str, ...] = ()) -> Counter:
        """The counter of this name; made at the first call. Names are the Collector's where it has one.

        Write the unit as UCUM (`s`, `By`, `1`): the page appends it to the name where it is not there yet.
        """
        if name not in self.counters:
            self.counters[name] = Counter(name, unit, description, labels)
        return self.counters[name]

    def gauge(
        self,
        name: str,
        callback: Callable[[], _Values],
        *,
        unit: str = "1",
        description: str = "",
        labels: tuple[str, ...] = (),
        grows: bool = False,
    ) -> None:
        """Shows what `callback` returns, values by label values in the order of `labels`, until `close`.

        It is shown as a counter where the values never fall (`grows`). Several components may give values to one name;
        then each puts its id into the label values.
        """
        gauge = self._shared.gauges.setdefault(name, _Gauge(name, unit, description, labels, grows=grows))
        gauge.callbacks.append(callback)
        self._undo.append(lambda: gauge.callbacks.remove(callback))

    def scope(self) -> "Telemetry":
        """The same instruments, for one component: its gauges end with `close`, its counters stay."""
        return Telemetry(self._shared)

    def close(self) -> None:
        """Takes back the gauges that were made through this scope."""
        for undo in self._undo:
            undo()
        self._undo.clear()

    def watch(self, rows: Callable[[], Iterable[ComponentCounts]]) -> None:
        """Says where the item counts of all components are."""
        self._shared.rows = rows

    def exposition(self, *, openmetrics: bool) -> bytes:
        """The own metrics as Prometheus text 0.0.4, or as OpenMetrics without its last line `# EOF`.

        To be called on the event loop, where counts are consistent; takes a few milliseconds.
        """
        page: bytes
        if openmetrics:
            page = openmetrics_page(self._shared.registry())  # type: ignore[no-untyped-call]
            return page.removesuffix(b"# EOF\n")
        page = text_page(self._shared.registry())
        return page

    def own_names(self) -> set[str]:
        """The names on the page, of families and of samples: nobody else's metric may use them there."""
        families = list(self._shared.registry().collect())
        samples = {sample.name for family in families for sample in family.samples}
        return samples | {family.name for family in families}


class _Instruments:
    """The instruments of one gateway, with an SDK provider and a registry of their own: nothing global."""

    def __init__(self) -> None:
        self.counters: dict[str, Counter] = {}
        self.gauges: dict[str, _Gauge] = {}
        self.sender_errors = SenderErrors()
        self.rows: Callable[[], Iterable[ComponentCounts]] = tuple
        self._registry = CollectorRegistry()
        self._meter: Any = None
        self._made: set[str] = set()
        self._lock = Lock()

    def registry(self) -> CollectorRegistry:
        """The registry with an instrument for everything that has been asked for until now."""
        with self._lock:
            if self._meter is None:
                self._start()
            for counter in list(self.counters.values()):
                self._counter(counter.name, counter.unit, counter.description, _reader(counter))
            for gauge in list(self.gauges.values()):
                add = self._counter if gauge.grows else self._gauge
                add(gauge.name, gauge.unit, gauge.description, _gauge_reader(gauge))
        return self._registry

    def _start(self) -> None:
        reader = PrometheusMetricReader(disable_target_info=True, scope_info_enabled=False, registry=self._registry)
        provider = MeterProvider([reader], resource=Resource({}), shutdown_on_exit=False)
        self._meter = provider.get_meter("otel_pipeline")
        self._counter("otelcol_process_uptime", "s", "Time since the start of the process.", _uptime)
        self._counter("otelcol_process_cpu", "s", "CPU time of the process, user and system.", _cpu)
        self._gauge("otelcol_process_memory_rss", "By", "Resident memory of the process.", _memory)
        for metric in _ITEM_METRICS:
            for items in _ITEMS if "{items}" in metric.name else ("items",):
                add = self._gauge if metric.gauge else self._counter
                add(metric.name.format(items=items), "1", metric.description, self._row_reader(metric, items))

    def _counter(self, name: str, unit: str, description: str, read: "_Read") -> None:
        if name not in self._made:
            self._made.add(name)
            self._meter.create_observable_counter(name, [read], unit, description)

    def _gauge(self, name: str, unit: str, description: str, read: "_Read") -> None:
        if name not in self._made:
            self._made.add(name)
            self._meter.create_observable_gauge(name, [read], unit, description)

    def _row_reader(self, metric: "_ItemMetric", items: str) -> "_Read":
        def read(_options: CallbackOptions) -> Iterable[Observation]:
            for row in self.rows():
                if metric.kind in ("", row.kind) and items in ("items", row.items):
                    labels = metric.labels(row) if items == "items" else row.labels()
                    values = metric.value(row.counts)
                    if isinstance(values, dict):
                        for reason, value in values.items():
                            yield Observation(value, {**labels, "reason": reason})
                    else:
                        yield Observation(values, labels)

        return read


_Read = Callable[[CallbackOptions], Iterable[Observation]]
_ITEMS = ("spans", "metric_points", "log_records")


@dataclass(frozen=True, slots=True)
class _ItemMetric:
    """How one metric is read from the counts of components of a kind (empty = of all)."""

    kind: str
    name: str
    value: Callable[[Counts], int | dict[str, int]]
    description: str
    gauge: bool = False

    def labels(self, row: ComponentCounts) -> dict[str, str]:
        """Labels where the name does not tell kind or signal."""
        if self.kind:
            return {**row.labels(), "otel_signal": row.signal}
        component = {"component_kind": row.kind, "component": row.id, "otel_signal": row.signal}
        return {**component, "pipeline": row.pipeline}


def _refused_or_failed(counts: Counts) -> int:
    return counts.refused + counts.failed


def _all_dropped(counts: Counts) -> int:
    return sum(counts.dropped.values())


_PRODUCED, _REFUSED, _FAILED = attrgetter("produced"), attrgetter("refused"), attrgetter("failed")
_CONSUMED, _SENT, _DROPPED = attrgetter("consumed"), attrgetter("sent"), attrgetter("dropped")

_ITEM_METRICS = (
    _ItemMetric("receiver", "otelcol_receiver_accepted_{items}", _PRODUCED, "Taken by every pipeline."),
    _ItemMetric("receiver", "otelcol_receiver_refused_{items}", _REFUSED, "Refused; the sender may try again."),
    _ItemMetric("receiver", "otelcol_receiver_failed_{items}", _FAILED, "Refused for good."),
    _ItemMetric("receiver", "otelcol_receiver_dropped_items", _DROPPED, "Left out of a request, by reason."),
    _ItemMetric("processor", "otelcol_processor_incoming_items", _CONSUMED, "Given to the processor."),
    _ItemMetric("processor", "otelcol_processor_outgoing_items", _PRODUCED, "Handed on, and taken."),
    _ItemMetric("processor", "otelcol_processor_dropped_items", _DROPPED, "Given up, by reason."),
    _ItemMetric("connector", "otelcol_connector_consumed_items", _CONSUMED, "Given to the connector."),
    _ItemMetric("connector", "otelcol_connector_produced_items", _PRODUCED, "Handed on, and taken."),
    _ItemMetric("connector", "otelcol_connector_dropped_items", _DROPPED, "Given up, by reason."),
    _ItemMetric("exporter", "otelcol_exporter_sent_{items}", _SENT, "Delivered."),
    _ItemMetric("exporter", "otelcol_exporter_send_failed_{items}", _all_dropped, "Taken, and given up later."),
    _ItemMetric("exporter", "otelcol_exporter_enqueue_failed_{items}", _refused_or_failed, "Not taken."),
    _ItemMetric("exporter", "otelcol_exporter_dropped_items", _DROPPED, "Taken, and given up later, by reason."),
    _ItemMetric("", "otel_pipeline_held_items", lambda counts: counts.held(), "In a queue or buffer now.", True),
    _ItemMetric("", "otel_pipeline_pending_items", attrgetter("pending"), "Being handed on now.", True),
    _ItemMetric("", "otel_pipeline_missing_items", Counts.missing, "What the item balance cannot explain.", True),
)


def _clean(label_value: str) -> str:
    """Text that UTF-8 can carry: one lone surrogate would cost the page."""
    return label_value.encode("utf-8", "replace").decode()


def _observations(labels: tuple[str, ...], values: _Values) -> Iterable[Observation]:
    for label_values, value in list(values.items()):
        yield Observation(value, dict(zip(labels, map(_clean, label_values), strict=False)))


def _reader(counter: Counter) -> _Read:
    return lambda _options: _observations(counter.labels, counter.values)


def _gauge_reader(gauge: _Gauge) -> _Read:
    def read(_options: CallbackOptions) -> Iterable[Observation]:
        for callback in list(gauge.callbacks):
            yield from _observations(gauge.labels, callback())

    return read


def _uptime(_options: CallbackOptions) -> Iterable[Observation]:
    yield Observation(time.monotonic() - _STARTED)


def _cpu(_options: CallbackOptions) -> Iterable[Observation]:
    yield Observation(time.process_time())


def _memory(_options: CallbackOptions) -> Iterable[Observation]:
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            yield Observation(int(statm.read().split()[1]) * _PAGE_SIZE)
    except OSError:
        return
