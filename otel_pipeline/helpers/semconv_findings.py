"""What the processor `semconv` tells of the telemetry it sees: findings of live-check, and what senders leave out."""

import json
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from otel_pipeline.component import Document, Settings
from otel_pipeline.options import Options
from otel_pipeline.pdata import Batch
from otel_pipeline.semconv import LiveCheck, Registry, compile_live_check

__all__ = ["LiveCheckOptions", "LiveFindings", "Unresolved", "findings_document"]

_OBJECT = {"type": "object"}
_COUNT = {"type": "integer", "minimum": 0}
_TEXT = {"type": "string"}
_TEXT_OR_NULL = {"type": ["string", "null"]}


class LiveCheckOptions(Options):
    """Comparing what arrives with the registry, as `otel-pipeline semconv live-check` does."""

    enabled: bool = False
    """Off by default, because it costs about 50 ns for each attribute. Findings are counted in
    `otelcol_processor_semconv_findings` and shown at `/api/semconv/findings` of the extension `web`."""
    every: Annotated[int, Field(ge=1)] = 1
    """Only one of so many batches is looked at."""
    max_findings: Annotated[int, Field(ge=100, le=100_000)] = 5000
    """How many findings are told apart by signal and attribute, which takes about 100 bytes each."""


class LiveFindings:
    """Live-check of one processor: what its batches showed since it was made."""

    def __init__(self, registry: Registry, options: LiveCheckOptions, settings: Settings) -> None:
        self._options = options
        self._id = settings.id
        self._check: LiveCheck = compile_live_check(registry, max_findings=options.max_findings)
        self._seen = 0
        self._counter = settings.telemetry.counter(
            "otelcol_processor_semconv_findings",
            unit="{finding}",
            description="Differences between telemetry and the registry, by Weaver's ids and levels.",
            labels=("processor", "id", "level"),
        )

    def look(self, batch: Batch) -> None:
        """Counts what is to be found in the batch, if its turn has come."""
        turn = self._seen % self._options.every == 0
        self._seen += 1
        if not turn:
            return
        for id_, level, count in self._check.update(batch):
            self._counter.add(count, self._id, id_, level)

    def read(self) -> dict[str, Any]:
        """The report, and how much of the telemetry it is about."""
        report: dict[str, Any] = json.loads(self._check.report())
        batches = {"seen": self._seen, "checked": -(-self._seen // self._options.every)}
        return {"enabled": True, "batches": batches, **report}


def findings_document(findings: LiveFindings | None, id_: str) -> Document:
    """`/api/semconv/findings`; says how to switch it on where it is off."""
    hint = f"set processors::{id_}::live_check::enabled to true"
    return Document(
        "semconv/findings",
        "How telemetry differs from the registry: findings and statistics of live-check, with Weaver's names.",
        findings.read if findings else lambda: {"enabled": False, "hint": hint},
        {
            "type": "object",
            "required": ["enabled"],
            "properties": {
                "enabled": {"type": "boolean"},
                "hint": _TEXT,
                "batches": {"type": "object", "properties": {"seen": _COUNT, "checked": _COUNT}},
                "findings": {"type": "array", "items": _finding_schema()},
                "overflow": _COUNT,
                "statistics": _OBJECT,
            },
        },
    )


def _finding_schema() -> dict[str, Any]:
    texts = dict.fromkeys(("id", "level", "message"), _TEXT)
    signal = dict.fromkeys(("signal_type", "signal_name"), _TEXT_OR_NULL)
    properties = {**texts, **signal, "context": _OBJECT, "count": _COUNT, "example": _OBJECT}
    return {"type": "object", "required": list(properties), "properties": properties}


class Unresolved:
    """What senders leave out that the gateway expects, and what they would have to set."""

    def __init__(self, registry: Registry, refresh: Callable[[], None]) -> None:
        """`refresh` adds what has been counted and not been told yet; it is called before each reading."""
        self._registry = registry
        self._refresh = refresh
        self._items: dict[tuple[str, str], int] = {}

    def add(self, sender: str, attribute: str, items: int) -> None:
        """Counts items of a sender that have no value for an attribute."""
        key = sender, attribute
        self._items[key] = self._items.get(key, 0) + items

    def read(self) -> list[dict[str, Any]]:
        """One entry for each sender and attribute, the most frequent first, with the line that mends it."""
        self._refresh()
        ordered = sorted(self._items.items(), key=lambda one: (-one[1], one[0]))  # copies at once, as threads need it
        return [
            {
                "sender": sender,
                "attribute": attribute,
                "items": items,
                "fix": f"export OTEL_RESOURCE_ATTRIBUTES={attribute}=VALUE",
                "values": [member.value for member in self._registry.members(attribute)],
            }
            for (sender, attribute), items in ordered
        ]

    def document(self) -> Document:
        """`/api/semconv/unresolved`."""
        texts = dict.fromkeys(("sender", "attribute", "fix"), _TEXT)
        values = {"type": "array", "items": _TEXT}
        entry = {"type": "object", "properties": {**texts, "items": _COUNT, "values": values}}
        return Document(
            "semconv/unresolved",
            "Which senders leave out which attributes, and the line of their environment that would tell them.",
            self.read,
            {"type": "array", "items": entry},
        )
