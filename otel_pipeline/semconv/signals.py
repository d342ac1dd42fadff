"""Metrics and events as the registry describes them, whoever sends them: what live-check compares with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Deprecated", "RequirementLevel", "Signal", "read_deprecated"]

RequirementLevel = Literal["required", "recommended", "opt_in", "conditionally_required"]


@dataclass(frozen=True, slots=True)
class Deprecated:
    """Why something is not to be used any more."""

    reason: str
    """`renamed`, `obsoleted` or `uncategorized`."""
    note: str


@dataclass(frozen=True, slots=True)
class Signal:
    """One metric or event."""

    kind: Literal["metric", "event"]
    name: str
    aliases: tuple[str, ...]
    """Other names under which it is sent: literals of the `name` that its rule asks for."""
    instrument: str
    """Of a metric; else empty."""
    unit: str
    brief: str
    stability: str
    deprecated: Deprecated | None
    attributes: Mapping[str, RequirementLevel]
    """By key, in the order of the file; those without a level are recommended."""


def read_deprecated(value: Mapping[str, Any] | None) -> Deprecated | None:
    """From `{reason: renamed, renamed_to: …, note: …}`; a note that is left out follows from the rest."""
    if value is None:
        return None
    reason = str(value.get("reason", "uncategorized"))
    renamed_to = value.get("renamed_to")
    fallback = f"Replaced by `{renamed_to}`." if renamed_to else f"{reason.capitalize()}."
    return Deprecated(reason, str(value.get("note") or fallback))
