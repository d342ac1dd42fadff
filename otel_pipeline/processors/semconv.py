"""Puts project, requirement, stage, agent, model, operation and outcome on telemetry, by semantic-convention files.

processors:
  semconv:
    directories: [./semconv]
    live_check: {enabled: true, every: 10}
"""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Annotated

from pydantic import Field

from otel_pipeline.component import Document, Options, Processor, Settings
from otel_pipeline.helpers.semconv_findings import LiveCheckOptions, LiveFindings, Unresolved, findings_document
from otel_pipeline.pdata import Batch
from otel_pipeline.semconv import compile_plan, load
from otel_pipeline.telemetry import Counter

__all__ = ["Semconv"]


class SemconvConfig(Options):
    """Options of the processor."""

    directories: tuple[Path, ...] = ()
    """Folders with your own files, over the shipped ones: an attribute, metric or rule of the same name takes the place
    of the earlier one, and your rules are tried first."""
    unknown_senders_limit: Annotated[int, Field(ge=1)] = 100
    """How many senders are told apart in `otelcol_processor_semconv_unresolved_items` and
    `otelcol_processor_semconv_unexpected_types`; all further ones are counted as `_other`."""
    live_check: LiveCheckOptions = LiveCheckOptions()
    """Comparing what arrives with the registry."""


class Semconv(Processor):
    """Enriches batches of all signals. A problem in the files raises SemconvError at construction."""

    type = "semconv"
    Config = SemconvConfig
    config: SemconvConfig
    flush_interval = 1.0

    def __init__(self, config: SemconvConfig, settings: Settings) -> None:
        super().__init__(config, settings)
        self.registry = load(config.directories)
        self.plan = compile_plan(self.registry, config.unknown_senders_limit)
        labels = ("processor", "sender", "attribute")
        self.unresolved = settings.telemetry.counter(
            "otelcol_processor_semconv_unresolved_items",
            unit="{item}",
            description="Items that have no value for an expected attribute, not even from an ancestor in their batch.",
            labels=labels,
        )
        self.unexpected = settings.telemetry.counter(
            "otelcol_processor_semconv_unexpected_types",
            unit="{attribute}",
            description="Canonical attributes with a value of a type that they do not take, which counts as absent.",
            labels=labels,
        )

        self.missing = Unresolved(self.registry, self._take)
        self._taking = Lock()
        live = config.live_check
        self.findings = LiveFindings(self.registry, live, settings) if live.enabled else None

    def process(self, batch: Batch) -> Batch | None:
        """The batch with canonical attributes; the same one where nothing was to be added."""
        if self.findings is not None:
            self.findings.look(batch)
        return self.plan.enrich(batch)

    def flush(self, now_unix_ns: int) -> Batch | None:
        """Shows what the plan has counted since the last call."""
        self._take()
        return None

    def _take(self) -> None:
        with self._taking:  # the document is read in a thread, and shows what has been counted up to that moment
            if (findings := self.plan.take_findings()) is None:
                return
            self._count(self.unresolved, findings.unresolved)
            for sender, attribute, items in findings.unresolved:
                self.missing.add(sender or "unknown_service", attribute, items)
            self._count(self.unexpected, findings.unexpected)

    def _count(self, counter: Counter, found: list[tuple[str, str, int]]) -> None:
        for sender, attribute, count in found:
            counter.add(count, self.settings.id, sender or "unknown_service", attribute)

    def documents(self) -> Sequence[Document]:
        """What it found out about senders."""
        return findings_document(self.findings, self.settings.id), self.missing.document()
