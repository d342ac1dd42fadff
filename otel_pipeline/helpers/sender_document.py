"""What `/api/senders` shows: the rows of the sender table by service, beside what senders were told went wrong."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from otel_pipeline.pdata import Sender, Signal
from otel_pipeline.telemetry import SenderError
from otel_pipeline.times import time_or_none

__all__ = ["SENDERS_SCHEMA", "Expected", "expected_document", "senders_document"]

Errors = Mapping[tuple[str, str], SenderError]


@dataclass(frozen=True, slots=True)
class Expected:
    """A service, or a glob of services, that a project says it has."""

    service: str
    project: str
    last_seen_ns: int
    """0 for never."""
    silent: bool


def senders_document(senders: Sequence[Sender], errors: Errors, now_ns: int) -> list[dict[str, Any]]:
    """One entry for each service and project, by name; services that only had errors follow with no signals."""
    groups = groupby(senders, lambda one: (one.service, one.project))
    seen = {one.service for one in senders}
    entries = [_sender(service, project, list(rows), errors, now_ns) for (service, project), rows in groups]
    refused = sorted({service for service, _signal in errors} - seen)
    return entries + [_sender(service, "unknown", [], errors, now_ns) for service in refused]


def _sender(service: str, project: str, rows: Sequence[Sender], errors: Errors, now_ns: int) -> dict[str, Any]:
    sent = {row.signal for row in rows}
    last_seen_ns = max((row.last_seen_ns for row in rows), default=0)
    own = {signal: error for (name, signal), error in errors.items() if name == service}
    return {
        "service": service,
        "project": project,
        "first_seen": time_or_none(min((row.first_seen_ns for row in rows), default=0)),
        "last_seen": time_or_none(last_seen_ns),
        "silent_seconds": round((now_ns - last_seen_ns) / 1e9, 3) if rows else None,
        "protocols": _unique(protocol for row in rows for protocol in row.protocols),
        "sdk": _sdk(rows),
        "signals": {row.signal: _signal(row) for row in rows},
        "missing_signals": [signal.value for signal in Signal if signal not in sent] if rows else [],
        "last_error": _last_error(own),
    }


def _signal(row: Sender) -> dict[str, Any]:
    return {
        "first_seen": time_or_none(row.first_seen_ns),
        "last_seen": time_or_none(row.last_seen_ns),
        "requests": row.requests,
        "items": row.items,
        "items_per_second": round(row.items_per_second, 3),
        "protocols": row.protocols,
    }


def _sdk(rows: Sequence[Sender]) -> dict[str, str]:
    """What the signal that came last tells; of equal ones, the one that tells most."""
    newest = max(rows, key=lambda row: (any(row.sdk), bool(row.sdk[1]), row.last_seen_ns), default=None)
    return dict(zip(("name", "language", "version"), newest.sdk if newest else ("", "", ""), strict=True))


def _last_error(errors: Mapping[str, SenderError]) -> dict[str, Any] | None:
    if not errors:
        return None
    signal, error = max(errors.items(), key=lambda one: one[1].at_unix_ns)
    requests = sum(one.count for one in errors.values())
    texts = {"signal": signal, "reason": error.reason, "message": error.message}
    return {**texts, "at": time_or_none(error.at_unix_ns), "requests": requests}


def expected_document(expected: Iterable[Expected], now_ns: int) -> list[dict[str, Any]]:
    """One entry for each, silent ones first."""
    return [
        {
            "service": one.service,
            "project": one.project,
            "silent": one.silent,
            "last_seen": time_or_none(one.last_seen_ns),
            "silent_seconds": round((now_ns - one.last_seen_ns) / 1e9, 3) if one.last_seen_ns else None,
        }
        for one in sorted(expected, key=lambda one: (not one.silent, one.project, one.service))
    ]


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


_TEXT = {"type": "string"}
_TIME = {"type": ["string", "null"], "format": "date-time"}
_COUNT = {"type": "integer", "minimum": 0}
_NUMBER = {"type": "number"}
_SECONDS = {"type": ["number", "null"]}
_TEXTS = {"type": "array", "items": _TEXT}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


_SIGNAL = _object(
    first_seen=_TIME, last_seen=_TIME, requests=_COUNT, items=_COUNT, items_per_second=_NUMBER, protocols=_TEXTS
)
_ERROR = _object(signal=_TEXT, reason=_TEXT, message=_TEXT, at=_TIME, requests=_COUNT)
_SENDER = _object(
    service=_TEXT,
    project=_TEXT,
    first_seen=_TIME,
    last_seen=_TIME,
    silent_seconds=_SECONDS,
    protocols=_TEXTS,
    sdk=_object(name=_TEXT, language=_TEXT, version=_TEXT),
    signals={"type": "object", "additionalProperties": _SIGNAL},
    missing_signals=_TEXTS,
    last_error={"oneOf": [{"type": "null"}, _ERROR]},
)
_EXPECTED = _object(service=_TEXT, project=_TEXT, silent={"type": "boolean"}, last_seen=_TIME, silent_seconds=_SECONDS)
SENDERS_SCHEMA = _object(
    now_unix_ns=_COUNT,
    silent_after_seconds=_NUMBER,
    senders={"type": "array", "items": _SENDER},
    expected={"type": "array", "items": _EXPECTED},
)
"""JSON schema of the document."""
