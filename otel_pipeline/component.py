"""What a component is: receivers, processors, connectors, exporters and extensions, and how they are found.

Data flows one way. A receiver calls the consumer it was given; a processor turns a batch into a batch and never calls
the next component; an exporter takes a batch. What comes back is only the answer: taken, RetryableError or
PermanentError. Batches are immutable, so fan-out hands the same batch to every branch.
"""

import importlib
import logging
import pkgutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from time import monotonic, time_ns
from typing import Any, ClassVar, Protocol

from otel_pipeline.options import Options
from otel_pipeline.pdata import Batch, Signal
from otel_pipeline.telemetry import Counts, Telemetry

__all__ = [
    "Clock",
    "Component",
    "Connector",
    "Consumer",
    "Document",
    "Exporter",
    "Extension",
    "Health",
    "Kind",
    "NoOptions",
    "Options",
    "Processor",
    "Query",
    "Receiver",
    "Served",
    "ServiceView",
    "Settings",
    "discover",
]

Consumer = Callable[[Batch], Awaitable[None]]
"""Takes one batch. Returns when every branch behind it holds the batch; else raises a ConsumeError."""


class Kind(StrEnum):
    """The five kinds of components; the value is the section of the configuration."""

    RECEIVER = "receivers"
    PROCESSOR = "processors"
    CONNECTOR = "connectors"
    EXPORTER = "exporters"
    EXTENSION = "extensions"

    @property
    def singular(self) -> str:
        """`receiver` for `receivers`."""
        return self.value.removesuffix("s")


class Health(StrEnum):
    """How a component is, with the words of the Collector's component status."""

    STARTING = "starting"
    OK = "ok"
    RECOVERABLE_ERROR = "recoverable_error"
    PERMANENT_ERROR = "permanent_error"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Clock:
    """The two clocks; tests pass their own."""

    monotonic: Callable[[], float] = monotonic
    """Seconds, for every timeout, interval and expiry."""
    time_ns: Callable[[], int] = time_ns
    """Unix nanoseconds, for stored and sent timestamps only."""


@dataclass(frozen=True, slots=True)
class Document:
    """Something that a component shows as JSON, to be read only."""

    path: str
    """Below `/api/` of the extension `web`: `semconv/findings`. Several components may have one of the same path."""
    summary: str
    """One sentence, for the description of the API."""
    read: Callable[[], Any]
    """What to show, for `json.dumps`. Called in a worker thread, whatever the component does at that time."""
    schema: Mapping[str, Any] = field(default_factory=dict)
    """JSON schema of what `read` gives; empty for anything."""


@dataclass(frozen=True, slots=True)
class Query:
    """A question that a component answers with JSON; asking changes nothing."""

    path: str
    """Below `/api/` of the extension `web`; a segment `{name}` stands for one value: `traces/{trace_id}`. Where several
    components answer the same question, the first one of the configuration does."""
    summary: str
    """One sentence, for the description of the API."""
    read: Callable[[Mapping[str, str]], Any]
    """The answer, for `json.dumps`, to the values of the path and of the query string. Called in a worker thread,
    whatever the component does at that time. Raises LookupError where there is no such thing, ValueError where a value
    cannot be understood, and StoreError where nothing can be read now; their texts are shown to who asks."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """What the query string may hold, with what it means; all of it may be left out."""
    schema: Mapping[str, Any] = field(default_factory=dict)
    """JSON schema of the answer; empty for anything."""


@dataclass(frozen=True, slots=True)
class Served:
    """A document and the component that it is from."""

    kind: str
    """`processor`."""
    id: str
    pipeline: str
    """Only processors have one; else empty."""
    document: Document


class ServiceView(Protocol):
    """What an extension sees of the running gateway."""

    def unready(self) -> list[str]:
        """Why the gateway does not take data now, one reason each; empty when it does."""

    def describe(self) -> dict[str, Any]:
        """Components, pipelines, item balance, versions and the last reload, for JSON."""

    def documents(self) -> list[Served]:
        """What components show at this moment; a reload may change it."""

    def queries(self) -> list[Query]:
        """What components answer at this moment; a reload may change it."""


@dataclass(slots=True)
class Settings:
    """What the service gives to a component, beside the user's options."""

    id: str
    """`type` or `type/name`, as in the configuration."""
    telemetry: Telemetry
    data_dir: Path
    """Where the component may keep files; the folder may not exist yet."""
    log: logging.Logger
    clock: Clock = field(default_factory=Clock)
    counts: dict[Signal, Counts] = field(default_factory=lambda: {signal: Counts() for signal in Signal})
    """Items per signal at this component. Edges of the graph count what goes in and out; the component itself counts
    what only it knows (`dropped`, `sent`) and may set `held`."""
    report: Callable[[Health, str], None] = lambda _health, _reason: None
    """Tells how the component is; shown at /status."""
    service: ServiceView | None = None
    """The running gateway, for extensions that show it. Other kinds must not use it."""


class NoOptions(Options):
    """For components without options."""


_OptionsClass = type[Options]


class Component:
    """Common to all kinds. `start` and `shutdown` run once each, on the event loop.

    `shutdown` may come without `start`, and twice; before it returns, everything accepted has been handed on, queued
    durably, or counted as dropped. It is cancelled when the time for it is over: then count at once, and return.
    """

    type: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    """Older names of the type that are still read, with a warning."""
    signals: ClassVar[frozenset[Signal]] = frozenset(Signal)
    """The signals it takes (a receiver: gives)."""
    Config: ClassVar[_OptionsClass] = NoOptions

    def __init__(self, config: Any, settings: Settings) -> None:
        self.config = config
        self.settings = settings

    async def start(self) -> None:
        """Opens what it needs. An exception here ends the start of the gateway."""

    async def shutdown(self) -> None:
        """Flushes and closes."""

    def details(self) -> Mapping[str, Any]:
        """What /status shows of it besides its health, for JSON; empty where there is nothing to say."""
        return {}

    def documents(self) -> Sequence[Document]:
        """What it shows to people and programs; the same for as long as it runs."""
        return ()

    def queries(self) -> Sequence[Query]:
        """What it answers when it is asked; the same for as long as it runs."""
        return ()

    def stale(self) -> bool:
        """At reload, with the same options as before: whether what it was built from besides them (files) has changed.

        Exporters, connectors, extensions and receivers live through a reload where class and options are the same and
        this is False. Processors are always built anew.
        """
        return False


class Receiver(Component):
    """Brings batches in. One instance serves all signals that list its id."""

    def __init__(self, config: Any, settings: Settings, consumers: Mapping[Signal, Consumer]) -> None:
        super().__init__(config, settings)
        self.consumers = consumers
        """Only the signals that have a pipeline; any other is to be answered as not implemented."""
        self.refusal: Callable[[], str] = lambda: ""
        """Why its pipelines would refuse anything just now; empty where they would not. Worth asking before decoding:
        the graph sets it to what the first processors of the pipelines say."""


class Processor(Component):
    """Batch in, batch out; one instance for each pipeline that lists its id.

    It never calls the next component and does not wait. Items missing from the result are counted as dropped for
    `drop_reason`, except those that it counted as dropped for another reason itself, or shows as `held` in its counts.
    Batches above 1 MiB come in a worker thread; calls of `process` and `flush` never overlap.
    """

    drop_reason: ClassVar[str] = "dropped"
    flush_interval: float | None = None
    """Seconds between calls of `flush`; None = only called at shutdown."""
    draining: bool = False
    """Set before the last call of `flush`: everything that is held is due."""

    def process(self, batch: Batch) -> Batch | None:
        """The batch to hand on; the same object where nothing changed; None where nothing is left or all is held.

        Raises RetryableError or PermanentError to refuse the whole batch.
        """
        raise NotImplementedError

    def refusal(self) -> str:
        """Why any batch would be refused just now, whatever it holds; empty where none would. Must be cheap."""
        return ""

    def flush(self, now_unix_ns: int) -> Batch | None:
        """What was held and is due. Called every `flush_interval` and once at shutdown."""
        return None


class Connector(Processor):
    """Ends one pipeline and begins another: takes batches of `signals`, gives batches of `produces`.

    One instance for its id. What `process` and `flush` return goes to the pipelines that list it as receiver. When what
    `process` returns is refused, the sender is told to send again: one that keeps state gives its results in `flush`.
    """

    produces: ClassVar[frozenset[Signal]] = frozenset(Signal)


class Exporter(Component):
    """Takes batches out of the gateway. One instance serves all signals that list its id."""

    async def consume(self, batch: Batch) -> None:
        """Returns when the batch is delivered or queued; else raises a ConsumeError.

        Counts in its settings: `sent` when delivered, `dropped` by reason when given up, `held` for what is queued.
        Items of a call that is still running are counted by the edge: sets `sent`, `dropped` and `held` for them last,
        without waiting between that and its return.
        """
        raise NotImplementedError


class Extension(Component):
    """Runs beside the pipelines. Started first, shut down last."""


def discover(kind: Kind) -> dict[str, type[Component]]:
    """The component classes of the gateway's own folder for `kind`, by type. One public class per file."""
    package = importlib.import_module(f"otel_pipeline.{kind}")
    found: dict[str, type[Component]] = {}
    for module_info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(module_info.name)
        for value in vars(module).values():
            defined_here = isinstance(value, type) and value.__module__ == module.__name__
            if defined_here and issubclass(value, Component) and "type" in vars(value):
                found[value.type] = value
    return found
