"""Kinds of values that configuration options take: durations, sizes, secrets."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, SecretStr

__all__ = ["Duration", "Options", "Percentage", "Secret", "format_duration", "parse_duration"]

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)")


def parse_duration(value: Any) -> float:
    """Seconds of a duration written as the Collector does: `200ms`, `1m30s`, `0`. Raises ValueError for the rest."""
    if value in (0, "0"):
        return 0.0
    if isinstance(value, str):
        parts = _PART.findall(value)
        if parts and "".join(number + unit for number, unit in parts) == value:
            return float(sum(float(number) * _UNITS[unit] for number, unit in parts))
    raise ValueError(f"not a duration: {value!r} (write it like 200ms, 5s or 1m30s)")


def format_duration(seconds: float) -> str:
    """The shortest way to write `seconds` that `parse_duration` reads back: 90.0 -> `1m30s`."""
    nanoseconds = round(seconds * 1e9)
    written = ""
    for unit in ("h", "m", "s", "ms", "us", "ns"):
        count, nanoseconds = divmod(nanoseconds, round(_UNITS[unit] * 1e9))
        written += f"{count}{unit}" if count else ""
    return written or "0s"


def _duration(value: Any) -> float:
    return value if isinstance(value, float) else parse_duration(value)


Duration = Annotated[
    float,
    BeforeValidator(_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    Field(ge=0, json_schema_extra={"type": "string", "format": "duration"}),
]
"""Seconds, written as `200ms`, `5s` or `1m30s`."""

Percentage = Annotated[int, Field(ge=0, le=100)]

Secret = SecretStr
"""Text that is never printed: `repr` and serialisation show asterisks."""


class Options(BaseModel):
    """A group of options. Unknown keys are errors; the docstring below an option is its documentation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
