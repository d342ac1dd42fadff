"""Takes the spans and log records of simulated senders, notes the truth about each, and hands them out as the requests
that the senders would make: in batches, some late, some twice."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Literal, NamedTuple

from otel_pipeline.testing.truth import SpanTruth, Truth, Work
from otel_pipeline.testing.wire import (
    Attribute,
    log_bytes,
    request_bytes,
    resource_bytes,
    scope_bytes,
    span_bytes,
)

__all__ = ["SECOND", "Delivery", "Outbox", "Parent", "Sender"]

SECOND = 1_000_000_000


class Delivery(NamedTuple):
    """One export request, when it reaches the gateway."""

    time_ns: int
    signal: Literal["traces", "logs"]
    body: bytes
    """ExportTraceServiceRequest or ExportLogsServiceRequest."""


class Parent(NamedTuple):
    """What a span is called from."""

    trace: bytes
    span: bytes = b""


@dataclass(eq=False, slots=True)
class Sender:
    """A process that exports telemetry."""

    resource: Mapping[str, Attribute]
    scope: tuple[str, str] = ("", "")
    log_scope: tuple[str, str] = ("", "")
    common: Mapping[str, Attribute] = field(default_factory=dict)
    """Attributes that stand on every span and log record."""
    skew_ns: int = 0
    """How far its clock is ahead."""
    late_ns: int = 0
    """How long its requests are under way: a laptop that is offline, a queue that is stuck."""
    batch_ns: int = 60 * SECOND


class Outbox:
    """Collects what all senders send."""

    def __init__(self, rng: Random, truth: Truth, duplicates: float) -> None:
        self.truth = truth
        self._rng = rng
        self._duplicates = duplicates
        self._pending: dict[tuple[Sender, Literal["traces", "logs"], int], list[bytes]] = {}

    def new_trace(self) -> Parent:
        """A trace id that nothing has yet."""
        return Parent(self._rng.randbytes(16))

    def span(
        self,
        sender: Sender,
        work: Work,
        parent: Parent,
        name: str,
        start_ns: int,
        end_ns: int,
        attributes: Mapping[str, Attribute] | None = None,
        *,
        kind: int = 1,
        status: int = 0,
        message: str = "",
        error_type: str = "",
        links: Iterable[Parent] = (),
    ) -> Parent:
        """Adds a span, and returns what its children hang on. Times are true; the sender tells those of its clock.

        `error_type` is what a failure that began here is to be called by the gateway.
        """
        own = Parent(parent.trace, self._rng.randbytes(8))
        told = start_ns + sender.skew_ns, max(start_ns, end_ns) + sender.skew_ns
        body = span_bytes(
            name,
            (own.trace, own.span, parent.span),
            *told,
            {**sender.common, **(attributes or {})},
            kind=kind,
            status=status,
            message=message,
            links=links,
        )
        self._add(sender, "traces", end_ns, body)
        ids = own.trace.hex(), own.span.hex()
        self.truth.spans[ids] = SpanTruth(*ids, parent.span.hex(), name, *told, work, error_type)
        return own

    def log(self, sender: Sender, body: str, time_ns: int, attributes: Mapping[str, Attribute], at: Parent) -> None:
        """Adds a log record of a span."""
        values = {**sender.common, **attributes}
        record = log_bytes(body, time_ns + sender.skew_ns, values, trace=at.trace, span=at.span)
        self._add(sender, "logs", time_ns, record)

    def _add(self, sender: Sender, signal: Literal["traces", "logs"], time_ns: int, body: bytes) -> None:
        self._pending.setdefault((sender, signal, time_ns // sender.batch_ns), []).append(body)

    def deliveries(self) -> Iterator[Delivery]:
        """Every request in the order in which they arrive."""
        rng = Random(self._rng.getrandbits(64))
        found: list[tuple[int, int, Sender, Literal["traces", "logs"], list[bytes]]] = []
        for number, ((sender, signal, batch), items) in enumerate(self._pending.items()):
            sent = (batch + 1) * sender.batch_ns + sender.late_ns + rng.randrange(10 * SECOND)
            found.append((sent, number, sender, signal, items))
            if rng.random() < self._duplicates:
                found.append((sent + rng.randrange(5, 90) * SECOND, number, sender, signal, items))
        for sent, _, sender, signal, items in sorted(found, key=lambda one: one[:2]):
            scope = sender.scope if signal == "traces" else sender.log_scope
            yield Delivery(sent, signal, request_bytes(resource_bytes(sender.resource), scope_bytes(*scope), items))
