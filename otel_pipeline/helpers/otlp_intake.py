"""What both OTLP servers do with a received body: decode, count what was rejected and repaired, hand on."""

import asyncio
from collections.abc import Callable, Mapping

from otel_pipeline.component import Consumer, Settings
from otel_pipeline.helpers.admission import Admission
from otel_pipeline.pdata import Findings, Limits, Signal, decode

__all__ = ["Intake", "RequestCounter", "make_intakes"]

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

    async def take(self, body: bytes, json: bool) -> Findings | None:
        """Returns when every pipeline holds the batch. Raises DecodeError or a ConsumeError.

        What was rejected or repaired is in the result. A request without items ends here.
        """
        if len(body) > _OFFLOAD_BYTES[json]:
            loop = asyncio.get_running_loop()
            batch, findings = await loop.run_in_executor(None, decode, self.signal, body, json, self._limits)
        else:
            batch, findings = decode(self.signal, body, json, self._limits)
        if batch.items:
            await self._consumer(batch)
        if findings is not None:
            self._count(findings)
        return findings

    def _count(self, findings: Findings) -> None:
        if findings.rejected:
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
