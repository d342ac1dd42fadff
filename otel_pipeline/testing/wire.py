"""OTLP requests written straight as protobuf bytes: several times faster than message objects, for telemetry in bulk.

Field numbers are those of opentelemetry-proto 1.x; what comes out is read back by its own classes in the tests.
"""

import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TypeAlias

__all__ = ["Attribute", "log_bytes", "request_bytes", "resource_bytes", "scope_bytes", "span_bytes"]

Attribute: TypeAlias = str | bool | int | float | tuple[str, ...]


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + _varint(len(content)) + content


def _value(value: Attribute) -> bytes:
    match value:
        case bool():
            return b"\x10" + _varint(value)
        case int():
            return b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
        case float():
            return b"\x21" + struct.pack("<d", value)
        case str():
            return _field(b"\x0a", value.encode())
    return _field(b"\x2a", b"".join(_field(b"\x0a", _value(one)) for one in value))


@lru_cache(16_384)
def _key_value(kind: str, key: str, value: Attribute) -> bytes:
    """The content of a KeyValue; `kind` keeps 1, 1.0 and True apart."""
    return _field(b"\x0a", key.encode()) + _field(b"\x12", _value(value))


def _attributes(tag: bytes, values: Mapping[str, Attribute]) -> bytes:
    return b"".join([_field(tag, _key_value(type(value).__name__, key, value)) for key, value in values.items()])


def span_bytes(
    name: str,
    ids: tuple[bytes, bytes, bytes],
    start_ns: int,
    end_ns: int,
    attributes: Mapping[str, Attribute],
    *,
    kind: int = 1,
    status: int = 0,
    message: str = "",
    links: Iterable[tuple[bytes, bytes]] = (),
) -> bytes:
    """A Span; `ids` are its trace, itself and its parent (empty for none)."""
    trace, span, parent = ids
    parts = [b"\x0a\x10", trace, b"\x12\x08", span]
    if parent:
        parts += [b"\x22\x08", parent]
    parts += [_field(b"\x2a", name.encode()), b"\x30", _varint(kind), b"\x39", start_ns.to_bytes(8, "little")]
    parts += [b"\x41", end_ns.to_bytes(8, "little"), _attributes(b"\x4a", attributes)]
    parts += [_field(b"\x6a", b"\x0a\x10" + to_trace + b"\x12\x08" + to_span) for to_trace, to_span in links]
    if status:
        said = _field(b"\x12", message.encode()) if message else b""
        parts.append(_field(b"\x7a", said + b"\x18" + _varint(status)))
    return b"".join(parts)


def log_bytes(
    body: str, time_ns: int, attributes: Mapping[str, Attribute], *, trace: bytes = b"", span: bytes = b""
) -> bytes:
    """A LogRecord with a text as body."""
    parts = [b"\x09", time_ns.to_bytes(8, "little"), _field(b"\x2a", _value(body)), _attributes(b"\x32", attributes)]
    if trace:
        parts += [b"\x4a\x10", trace, b"\x52\x08", span]
    parts += [b"\x59", time_ns.to_bytes(8, "little")]
    return b"".join(parts)


def resource_bytes(attributes: Mapping[str, Attribute]) -> bytes:
    """The content of a Resource."""
    return _attributes(b"\x0a", attributes)


def scope_bytes(name: str, version: str = "") -> bytes:
    """The content of an InstrumentationScope."""
    return (_field(b"\x0a", name.encode()) if name else b"") + (_field(b"\x12", version.encode()) if version else b"")


def request_bytes(resource: bytes, scope: bytes, items: Iterable[bytes]) -> bytes:
    """An export request for traces or logs (their fields have the same numbers) with one resource and one scope."""
    inside = _field(b"\x0a", scope) + b"".join([_field(b"\x12", item) for item in items])
    return _field(b"\x0a", _field(b"\x0a", resource) + _field(b"\x12", inside))
