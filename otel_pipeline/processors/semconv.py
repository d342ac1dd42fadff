"""Puts project, requirement, stage, agent, model, operation and outcome on telemetry, by semantic-convention files.

processors:
  semconv:
    directories: [./semconv]
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from otel_pipeline.component import Options, Processor, Settings
from otel_pipeline.pdata import Batch, EnrichFindings, enrich
from otel_pipeline.semconv import compile_plan, load

__all__ = ["Semconv"]

OTHER_SENDERS = "_other"


class SemconvConfig(Options):
    """Options of the processor."""

    directories: tuple[Path, ...] = ()
    """Folders with your own files, over the shipped ones: an attribute, metric or rule of the same name takes the place
    of the earlier one, and your rules are tried first."""
    unknown_senders_limit: Annotated[int, Field(ge=1)] = 100
    """How many senders are told apart in `otelcol_processor_semconv_unresolved_items`; all further ones are counted as
    `_other`."""


class Semconv(Processor):
    """Enriches batches of all signals. A problem in the files raises SemconvError at construction."""

    type = "semconv"
    Config = SemconvConfig
    config: SemconvConfig

    def __init__(self, config: SemconvConfig, settings: Settings) -> None:
        super().__init__(config, settings)
        self.registry = load(config.directories)
        self.plan = compile_plan(self.registry)
        self.senders: set[str] = set()
        self.unresolved = settings.telemetry.counter(
            "otelcol_processor_semconv_unresolved_items",
            unit="{item}",
            description="Items that have no value for an expected attribute, not even from an ancestor in their batch.",
            labels=("processor", "sender", "attribute"),
        )

    def process(self, batch: Batch) -> Batch | None:
        """The batch with canonical attributes; the same one where nothing was to be added."""
        enriched, findings = enrich(batch, self.plan)
        if findings is not None:
            self._count(findings)
        return enriched

    def _count(self, findings: EnrichFindings) -> None:
        for sender, attribute, items in findings.unresolved:
            self.unresolved.add(items, self.settings.id, self._known(sender), attribute)

    def _known(self, sender: str) -> str:
        """`sender`, shortened, or the name for all above the limit."""
        name = sender[:100] or "unknown_service"
        if name not in self.senders:
            if len(self.senders) >= self.config.unknown_senders_limit:
                return OTHER_SENDERS
            self.senders.add(name)
        return name
