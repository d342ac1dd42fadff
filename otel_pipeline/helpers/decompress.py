"""Reading compressed request bodies within bounds: of the result, of its ratio to the body, of the number of parts."""

import sys
import zlib
from collections.abc import Callable
from typing import Any, Protocol

from otel_pipeline.errors import DecodeError, TooLargeError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["DECOMPRESSORS", "Decompress", "output_bound"]

Decompress = Callable[[bytes, int], bytes]
"""`(body, limit) -> contents`. Raises DecodeError for a damaged body and TooLargeError for one that expands to more
than `output_bound`; needs no more memory than that. The GIL is released."""

_MAX_RATIO = 200
_ALWAYS_ALLOWED = 4 << 20
_MAX_MEMBERS = 64
_MAX_WINDOW_LOG = 23  # 8 MiB, what RFC 8878 asks every decoder to offer


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def output_bound(body_size: int, limit: int) -> int:
    """The most bytes that a body of this size may expand to: `limit`, or less for a small body.

    200 times its size is beyond what telemetry compresses to; 4 MiB are always allowed.
    """
    return min(limit, max(_ALWAYS_ALLOWED, body_size * _MAX_RATIO))


def _members(make: Callable[[bytes], _Decompressor], body: bytes, limit: int) -> bytes:
    """The joined contents of one compressed member after another, as gzip and zstd allow."""
    bound = output_bound(len(body), limit)
    parts: list[bytes] = []
    size = 0
    for _ in range(_MAX_MEMBERS):
        decompressor = make(body)  # new for every body: a used one may mix the payloads of two senders
        part = decompressor.decompress(body, bound - size + 1)
        parts.append(part)
        size += len(part)
        if size > bound:
            raise TooLargeError(f"the body expands to more than {bound} bytes")
        if not decompressor.eof:
            raise DecodeError("the compressed body is cut short")
        body = decompressor.unused_data
        if not body:
            return parts[0] if len(parts) == 1 else b"".join(parts)
    raise DecodeError(f"the compressed body has more than {_MAX_MEMBERS} parts")


def _gunzip(body: bytes, limit: int) -> bytes:
    try:
        return _members(lambda _: zlib.decompressobj(31), body, limit)
    except zlib.error as error:
        raise DecodeError(f"the body is not gzip: {error}") from None


def _inflate(body: bytes, limit: int) -> bytes:
    try:
        return _members(_inflater, body, limit)
    except zlib.error as error:
        raise DecodeError(f"the body is not deflate: {error}") from None


def _inflater(body: bytes) -> Any:
    """For the zlib format that RFC 9110 means by `deflate`, or the bare one that some clients send."""
    wrapped = len(body) > 1 and body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0
    return zlib.decompressobj(15 if wrapped else -15)


def _unzstd(body: bytes, limit: int) -> bytes:
    try:
        return _members(lambda _: zstd.ZstdDecompressor(options=_ZSTD_OPTIONS), body, limit)
    except zstd.ZstdError as error:
        raise DecodeError(f"the body is not zstd: {error}") from None


_ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _MAX_WINDOW_LOG}

DECOMPRESSORS: dict[str, Decompress] = {
    "gzip": _gunzip,
    "deflate": _inflate,
    "zlib": _inflate,
    "zstd": _unzstd,
}
"""By content encoding."""
