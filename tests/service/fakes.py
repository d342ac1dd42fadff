"""Components and configurations for tests of the service."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from otel_pipeline.component import (
    Component,
    Connector,
    Consumer,
    Exporter,
    Extension,
    Health,
    Kind,
    Processor,
    Receiver,
    Settings,
)
from otel_pipeline.config.model import ComponentConfig, Config, PipelineConfig, ServiceOptions
from otel_pipeline.errors import ConsumeError
from otel_pipeline.options import Options
from otel_pipeline.pdata import Batch, Signal, from_trusted
from otel_pipeline.service.lifecycle import Service
from otel_pipeline.testing import make_span, make_traces

EVENTS: list[str] = []
"""What happened, in order; tests clear it."""


class FakeOptions(Options):
    """Options of all fakes."""

    fail_start: bool = False
    """Whether start raises."""
    setting: str = ""
    """Any text."""
    interval: float | None = None
    """Seconds between flushes."""


class Fake(Component):
    """Writes down what happens to it."""

    Config = FakeOptions

    async def start(self) -> None:
        EVENTS.append(f"start {self.settings.id}")
        if self.config.fail_start:
            raise OSError("port 4317 is in use")

    async def shutdown(self) -> None:
        EVENTS.append(f"shutdown {self.settings.id}")


class FakeReceiver(Fake, Receiver):
    type = "receiver"

    async def send(self, batch: Batch) -> None:
        await self.consumers[Signal(batch.signal)](batch)


class FakeExtension(Fake, Extension):
    type = "extension"


class FakeExporter(Fake, Exporter):
    """Delivers to a list, or raises what `answer` says."""

    type = "exporter"

    def __init__(self, config: FakeOptions, settings: Settings) -> None:
        super().__init__(config, settings)
        self.batches: list[Batch] = []
        self.answer: Callable[[Batch], Exception | None] = lambda _batch: None
        self.opened: asyncio.Event | None = None

    @property
    def items(self) -> int:
        return sum(batch.items for batch in self.batches)

    async def consume(self, batch: Batch) -> None:
        if self.opened:
            await self.opened.wait()
        if error := self.answer(batch):
            raise error
        self.batches.append(batch)
        self.settings.counts[Signal(batch.signal)].sent += batch.items


class FakeProcessor(Fake, Processor):
    """Passes batches on; `change` replaces that."""

    type = "processor"

    def __init__(self, config: FakeOptions, settings: Settings) -> None:
        super().__init__(config, settings)
        self.change: Callable[[Batch], Batch | None] = lambda batch: batch
        self.flush_interval = config.interval

    def process(self, batch: Batch) -> Batch | None:
        return self.change(batch)

    def flush(self, now_unix_ns: int) -> Batch | None:
        EVENTS.append(f"flush {self.settings.id}")
        return None


class HoldingProcessor(FakeProcessor):
    """Holds every batch until it is flushed, one at a time; all that is left when draining."""

    type = "holding"
    drop_reason = "thinned"

    def __init__(self, config: FakeOptions, settings: Settings) -> None:
        super().__init__(config, settings)
        self.held: list[Batch] = []
        for counts in settings.counts.values():
            counts.held = lambda: sum(batch.items for batch in self.held)

    def process(self, batch: Batch) -> Batch | None:
        self.held.append(batch)
        return None

    def flush(self, now_unix_ns: int) -> Batch | None:
        EVENTS.append(f"flush {self.settings.id}")
        if not self.held:
            return None
        taken = self.held[:] if self.draining else self.held[:1]
        del self.held[: len(taken)]
        return from_trusted(taken[0].signal, b"".join(batch.data for batch in taken))


class FakeConnector(FakeProcessor, Connector):
    """Counts spans, and gives one log record... of the same traces when flushed."""

    type = "connector"


class SpanCounter(Fake, Connector):
    """Turns spans into one metrics batch at each flush."""

    type = "span_counter"
    signals = frozenset((Signal.TRACES,))
    produces = frozenset((Signal.METRICS,))

    def __init__(self, config: FakeOptions, settings: Settings) -> None:
        super().__init__(config, settings)
        self.spans = 0
        self.flush_interval = config.interval

    def process(self, batch: Batch) -> Batch | None:
        self.spans += batch.items
        return None

    def flush(self, now_unix_ns: int) -> Batch | None:
        EVENTS.append(f"flush {self.settings.id}")
        return make_metrics(points=1)


class StubbornExporter(FakeExporter):
    """Does not end its shutdown before it is cancelled."""

    type = "stubborn"

    async def shutdown(self) -> None:
        self.settings.report(Health.STOPPING, "waiting for a dead peer")
        await asyncio.Event().wait()


def make_metrics(points: int) -> Batch:
    """A metrics batch with one sum."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="spans")
    metric.sum.is_monotonic = True
    for point in range(points):
        metric.sum.data_points.add(as_int=point)
    body = request.SerializeToString()
    from otel_pipeline.pdata import Limits, decode

    return decode("metrics", body, False, Limits())[0]


def make_batch(items: int = 1, name: str = "work") -> Batch:
    """A traces batch."""
    return make_traces(*(make_span(name, span=number + 1) for number in range(items)))


_KINDS = (
    (Kind.RECEIVER, FakeReceiver),
    (Kind.PROCESSOR, FakeProcessor),
    (Kind.CONNECTOR, FakeConnector),
    (Kind.EXPORTER, FakeExporter),
    (Kind.EXTENSION, FakeExtension),
)


def make_config(
    pipelines: Mapping[str, tuple[str, str, str]],
    *,
    classes: Mapping[str, type[Component]] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    extensions: str = "",
    shutdown_timeout: float = 2.0,
    data_dir: Path = Path("/nonexistent"),
) -> Config:
    """A configuration: pipelines as (receivers, processors, exporters), ids joined by spaces. An id that is both an
    exporter and a receiver is a connector. `classes` and `options` are by id."""
    parsed = {
        id_: PipelineConfig(id_, Signal(id_.partition("/")[0]), *(tuple(part.split()) for part in parts))
        for id_, parts in pipelines.items()
    }
    starts = {id_ for pipeline in parsed.values() for id_ in pipeline.receivers}
    ends = {id_ for pipeline in parsed.values() for id_ in pipeline.exporters}
    ids = {
        Kind.RECEIVER: starts - ends,
        Kind.PROCESSOR: {id_ for pipeline in parsed.values() for id_ in pipeline.processors},
        Kind.CONNECTOR: starts & ends,
        Kind.EXPORTER: ends - starts,
        Kind.EXTENSION: set(extensions.split()),
    }
    components: dict[Kind, dict[str, ComponentConfig]] = {}
    for kind, default in _KINDS:
        components[kind] = {}
        for id_ in sorted(ids[kind]):
            cls: type[Component] = (classes or {}).get(id_, default)
            components[kind][id_] = ComponentConfig(id_, cls, cls.Config(**(options or {}).get(id_, {})))
    service = ServiceOptions.model_validate({"shutdown_timeout": shutdown_timeout})
    return Config(components, parsed, service, data_dir)


def component(service: Service, id_: str, pipeline: str = "") -> Any:
    """The running component of an id."""
    for key, node in service.graph.nodes.items():
        if key.id == id_ and pipeline in ("", key.pipeline):
            return node.component
    raise LookupError(id_)


def missing(service: Service) -> dict[str, int]:
    """What the item balance cannot explain; empty in a correct gateway."""
    return {
        f"{row.kind} {row.id} {row.signal}": row.counts.missing()
        for row in service.graph.rows()
        if row.counts.missing()
    }


async def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Waits until a condition holds; fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def failing(*answers: ConsumeError | Exception | None) -> Callable[[Batch], Exception | None]:
    """Answers of a FakeExporter, one for each call, then none."""
    left = list(answers)
    return lambda _batch: left.pop(0) if left else None


__all__ = ["EVENTS", "Consumer", "component", "eventually", "failing", "make_batch", "make_config", "missing"]
