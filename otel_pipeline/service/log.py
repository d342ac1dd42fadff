"""The gateway's own log: one line a record on stderr, nothing in it that a terminal obeys, and no floods."""

import json
import logging
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

from otel_pipeline.config.model import LogsOptions
from otel_pipeline.errors import OtelPipelineError

__all__ = ["RateLimit", "configure", "escape", "formatter", "write_summaries"]

RECORDS_PER_MINUTE = 60
"""Of one message of one logger; more are counted, and told in one record when the minute is over."""

_WINDOW_SECONDS = 60.0
_MAX_MESSAGES = 1000
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_USER_IN_URL = re.compile(r"(?<=://)[^/\s@]+@")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}


def escape(text: str) -> str:
    """`text` on one line: control characters, line separators and marks that turn the direction of writing become
    `\\uXXXX`, which is also how JSON writes them."""
    return _CONTROL.sub(lambda match: _SHORT.get(match[0]) or f"\\u{ord(match[0]):04x}", text)


def _seconds(record: logging.LogRecord) -> str:
    instant = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{instant}.{int(record.msecs):03d}Z"


def _message(record: logging.LogRecord) -> str:
    """The message with the traceback, where there is one to show: exceptions of our own tell all in their text."""
    text = record.getMessage()
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, OtelPipelineError):
        text = f"{text}: {error}"
    elif error is not None and record.exc_info:
        text = f"{text}\n{logging.Formatter().formatException(record.exc_info)}"
    return _USER_IN_URL.sub("***@", text)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class _Console(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        extra = "".join(f" {key}={value}" for key, value in _extra(record).items())
        line = f"{_seconds(record)} {record.levelname.lower():7} {record.name}: {_message(record)}{extra}"
        return escape(line)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": _seconds(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            **_extra(record),
        }
        return escape(json.dumps(fields, ensure_ascii=False, default=str))


def formatter(encoding: str) -> logging.Formatter:
    """The formatter for `console` or `json`."""
    return _Json() if encoding == "json" else _Console()


@dataclass(slots=True)
class _Window:
    began: float
    passed: int = 0
    suppressed: int = 0
    last: logging.LogRecord | None = None


class RateLimit(logging.Filter):
    """Lets through a number of records a minute of each message (before its arguments) of each logger."""

    def __init__(
        self, records_per_minute: int = RECORDS_PER_MINUTE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._limit = records_per_minute
        self._clock = clock
        self._windows: dict[tuple[str, str], _Window] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        now = self._clock()
        key = (record.name, str(record.msg))
        window = self._windows.get(key)
        if window is None or now - window.began >= _WINDOW_SECONDS:
            if len(self._windows) >= _MAX_MESSAGES:
                self._windows.clear()
            suppressed = window.suppressed if window else 0
            window = self._windows[key] = _Window(now)
            if suppressed:
                record.suppressed = suppressed
        window.passed += 1
        if window.passed <= self._limit:
            return True
        window.suppressed += 1
        window.last = record
        return False

    def summaries(self) -> list[logging.LogRecord]:
        """One record for each message whose minute is over and of which records were left out."""
        now = self._clock()
        over = [key for key, window in self._windows.items() if now - window.began >= _WINDOW_SECONDS]
        records: list[logging.LogRecord] = []
        for window in map(self._windows.pop, over):
            last = window.last
            if last is not None and window.suppressed:
                arguments = (window.suppressed, last.msg)
                text = "left out %d more records like: %s"
                records.append(logging.LogRecord(last.name, last.levelno, "", 0, text, arguments, None))
        return records


class _Handler(logging.StreamHandler[TextIO]):
    """Writes records, within the limit."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.limit = RateLimit()
        self.addFilter(self.limit)


def configure(options: LogsOptions, stream: TextIO | None = None) -> Callable[[], None]:
    """Sends all logging of the process to stderr (or `stream`) as `options` say; returns what puts back as it was.

    Other libraries are heard from `warning` on. Called again at a reload.
    """
    root, own = logging.getLogger(), logging.getLogger("otel_pipeline")
    before = (root.handlers[:], root.level, own.level)
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(formatter(options.encoding))
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    own.setLevel(options.level.upper())

    def restore() -> None:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        own.setLevel(before[2])

    return restore


def write_summaries() -> None:
    """Logs what the limit left out in the minutes that are over. To be called every minute."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _Handler):
            for summary in handler.limit.summaries():
                handler.emit(summary)
