"""Reads files of OTLP requests: JSON, lines of JSON, protobuf, and what the exporter `file` writes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from otel_pipeline._native import Batch, Limits, decode
from otel_pipeline.errors import DecodeError, Problem, ProblemsError

__all__ = ["read_batches"]

_JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
_SIGNALS = {
    "resourceSpans": "traces",
    "resource_spans": "traces",
    "resourceMetrics": "metrics",
    "resource_metrics": "metrics",
    "resourceLogs": "logs",
    "resource_logs": "logs",
}
_LENGTH_BYTES = 4


def read_batches(path: Path, signal: str | None = None) -> Iterator[Batch]:
    """The requests of a file, in order. Raises ProblemsError, with the line, where it is none or cannot be read.

    JSON tells its own signal. Protobuf does not: it is `signal`, else the one that the file's name holds. Protobuf
    requests one after the other have their length in four bytes before each.
    """
    try:
        with path.open("rb") as file:
            first = file.read(1)
            file.seek(0)
            if first == b"{" or path.suffix in _JSON_SUFFIXES:
                yield from _json(file, path)
            else:
                yield from _protobuf(file.read(), path, signal)
    except OSError as error:
        raise _problem(path, f"cannot be read: {error.strerror}") from None


def _json(file: BinaryIO, path: Path) -> Iterator[Batch]:
    first = file.readline()
    if not _is_json(first):
        yield _decode_json(first + file.read(), path, 1)
        return
    yield _decode_json(first, path, 1)
    for number, line in enumerate(file, 2):
        if line.strip():
            yield _decode_json(line, path, number)


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _decode_json(text: bytes, path: Path, line: int) -> Batch:
    try:
        keys = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _problem(path, f"not JSON: {error}", line) from None
    found = [_SIGNALS[key] for key in keys if key in _SIGNALS] if isinstance(keys, dict) else []
    if not found:
        raise _problem(path, "no OTLP request: it has neither resourceSpans, resourceMetrics nor resourceLogs", line)
    try:
        return decode(found[0], text, True, Limits())[0]
    except DecodeError as error:
        raise _problem(path, str(error), line) from None


def _protobuf(data: bytes, path: Path, signal: str | None) -> Iterator[Batch]:
    named = [one for one in ("traces", "metrics", "logs") if one in path.name]
    if signal is None and len(named) != 1:
        hint = "say it with --signal, or name the file like spans.traces.pb"
        raise _problem(path, "protobuf does not tell its signal", hint=hint)
    for request in _requests(data, path):
        try:
            yield decode(signal or named[0], request, False, Limits())[0]
        except DecodeError as error:
            raise _problem(path, str(error)) from None


def _requests(data: bytes, path: Path) -> Iterator[bytes]:
    """The requests: the whole, which begins with the tag of field 1, or each after its length."""
    if data[:1] == b"\n":
        yield data
        return
    at = 0
    while at < len(data):
        begin = at + _LENGTH_BYTES
        at = begin + int.from_bytes(data[at:begin], "big")
        if at > len(data):
            raise _problem(path, "neither JSON nor protobuf requests, or cut off in the middle of one")
        yield data[begin:at]


def _problem(path: Path, message: str, line: int = 0, hint: str = "") -> ProblemsError:
    return ProblemsError([Problem("", message, hint, str(path), line)])
