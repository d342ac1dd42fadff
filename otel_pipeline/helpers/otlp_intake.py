"""What both OTLP servers do with a received body: decode, count what was rejected and repaired, hand on."""

import asyncio
from collections.abc import Callable, Mapping
from contextvars import ContextVar

from otel_pipeline.component import Consumer, Settings
from otel_pipeline.errors import RetryableError
from otel_pipeline.helpers.admission import Admission
from otel_pipeline.helpers.otlp_answers import answer_error
from otel_pipeline.pdata import Batch, Findings, Limits, Signal, decode, first_service

__all__ = ["PROTOCOL", "Intake", "RequestCounter", "make_intakes"]

PROTOCOL: ContextVar[str] = ContextVar("PROTOCOL", default="")
"""How the request under way came in: `grpc` (which hides compression from servers), `http/protobuf`, `http/json gzip`.
Empty for batches that were held on
their way, as these may be of several requests."""

_OFFLOAD_BYTES = {False: 1 << 20, True: 1 << 16}
"""Larger bodies are decoded in a worker thread, so that the loop stays free: protobuf, and JSON."""

RequestCounter = Callable[[str, str, str], None]
"""Counts a request by transport, outcome and reason."""


class Intake:
    """Takes in the requests of one signal."""

    __slots__ = ("_consumer", "_counts", "_limits", "_repaired", "_settings", "admission", "signal")

    def __init__(
        self, signal: Signal, consumer: Consumer, settings: Settings, limits: Limits, admission: Admission
    ) -> None:
        self.signal = signal
        self.admission = admission
        self._consumer = consumer
        self._counts = settings.counts[signal]
        self._limits = limits
        self._settings = settings
        self._repaired = settings.telemetry.counter(
            "otelcol_receiver_findings",
            unit="{finding}",
            description="What receivers rejected and repaired inside requests, by reason.",
            labels=("receiver", "signal", "reason"),
        )

    async def take(self, body: bytes, json: bool, protocol: str) -> Findings | None:
        """Returns when every pipeline holds the batch. Raises DecodeError or a ConsumeError.

        What was rejected or repaired is in the result. A request without items ends here. `protocol` as in PROTOCOL.
        """
        PROTOCOL.set(protocol)
        batch = None
        try:
            batch, findings = await self._decode(body, json)
            if batch.items:
                await self._consumer(batch)
        except Exception as error:
            self.note_refused(body, error, batch)
            raise
        if findings is not None:
            self._count(findings, body, batch)
        return findings

    async def _decode(self, body: bytes, json: bool) -> tuple[Batch, Findings | None]:
        if len(body) > _OFFLOAD_BYTES[json]:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(None, decode, self.signal, body, json, self._limits)
        return decode(self.signal, body, json, self._limits)

    def note_refused(self, body: bytes, error: Exception, batch: Batch | None = None) -> None:
        """Remembers for its sender why a request was refused. `body` is protobuf, or says nothing of the sender."""
        reply = answer_error(error)
        service = first_service(body if batch is None else batch.data)
        self._note(service, reply.reason, reply.status.message)

    def overloaded(self, body: bytes, reason: str) -> RetryableError:
        """What to raise where `admission` did not let the request in."""
        error = RetryableError(reason)
        self.note_refused(body, error)
        return error

    def _note(self, service: str, reason: str, message: str) -> None:
        now = self._settings.clock.time_ns()
        self._settings.telemetry.sender_errors.note(service, self.signal, reason, message, now)

    def _count(self, findings: Findings, body: bytes, batch: Batch) -> None:
        if findings.rejected:
            service = first_service(batch.data) or first_service(body)  # nothing is left where all was rejected
            self._note(service, "rejected_items", findings.message)
            self._counts.consumed += findings.rejected
            self._counts.dropped["rejected"] += findings.rejected
        for reason, count in findings.counts.items():
            self._repaired.add(count, self._settings.id, self.signal, reason)
        if findings.message:
            self._settings.log.debug("%s of a sender: %s", self.signal, findings.message)


def make_intakes(
    consumers: Mapping[Signal, Consumer], settings: Settings, limits: Limits, admission: Admission
) -> dict[Signal, Intake]:
    """One intake for each signal that has a pipeline."""
    return {signal: Intake(signal, consumer, settings, limits, admission) for signal, consumer in consumers.items()}
