"""Compressed bodies: what comes out is what went in, and never more than the limit."""

import gzip
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from otel_pipeline.errors import DecodeError, TooLargeError
from otel_pipeline.helpers.decompress import DECOMPRESSORS, output_bound

MIB = 1 << 20


def bare_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


CODECS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("zstd", zstd.compress),
    ("zlib", zlib.compress),
    ("deflate", zlib.compress),
    ("deflate", bare_deflate),
]
every_codec = pytest.mark.parametrize(("encoding", "pack"), CODECS)


@every_codec
@given(parts=st.lists(st.binary(max_size=300), min_size=1, max_size=5))
def test_round_trip(encoding: str, pack: Callable[[bytes], bytes], parts: list[bytes]) -> None:
    """Members in any number up to the limit are joined."""
    assert DECOMPRESSORS[encoding](b"".join(map(pack, parts)), MIB) == b"".join(parts)


@every_codec
@given(data=st.binary(min_size=1, max_size=300))
def test_limit_is_exact(encoding: str, pack: Callable[[bytes], bytes], data: bytes) -> None:
    """A body of just the limit passes, one byte more does not, in one member or two."""
    unpack, body = DECOMPRESSORS[encoding], pack(data)
    assert unpack(body, len(data)) == data
    with pytest.raises(TooLargeError):
        unpack(body, len(data) - 1)
    with pytest.raises(TooLargeError):
        unpack(body + pack(b"x"), len(data))


@every_codec
@given(data=st.binary(min_size=1, max_size=300), cut=st.integers(0, 10_000))
def test_truncated(encoding: str, pack: Callable[[bytes], bytes], data: bytes, cut: int) -> None:
    """A body that ends early is damaged, wherever it ends."""
    body = pack(data)
    with pytest.raises(DecodeError):
        DECOMPRESSORS[encoding](body[: cut % len(body)], MIB)


@pytest.mark.parametrize("encoding", DECOMPRESSORS)
@given(body=st.binary(max_size=200))
def test_rubbish(encoding: str, body: bytes) -> None:
    """Any bytes end in contents or in an error for the sender."""
    try:
        DECOMPRESSORS[encoding](body, 1000)
    except (DecodeError, TooLargeError):
        pass


@every_codec
def test_ratio(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    """Small bodies may grow to 4 MiB, and beyond only 200 times."""
    assert len(DECOMPRESSORS[encoding](pack(bytes(4 * MIB)), 64 * MIB)) == 4 * MIB
    with pytest.raises(TooLargeError):
        DECOMPRESSORS[encoding](pack(bytes(16 * MIB)), 64 * MIB)


def test_bound() -> None:
    """The bound that is reserved is the bound that holds."""
    assert output_bound(10, 64 * MIB) == 4 * MIB
    assert output_bound(10, MIB) == MIB
    assert output_bound(100_000, 64 * MIB) == 20_000_000
    assert output_bound(MIB, 64 * MIB) == 64 * MIB


@every_codec
def test_senders_at_once_stay_apart(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    """No state is shared between bodies: eight threads, two payloads."""
    payloads = [bytes([letter]) * 300_000 for letter in b"AB"]
    packed = [pack(payload) for payload in payloads]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda number: DECOMPRESSORS[encoding](packed[number % 2], MIB), range(100)))
    assert all(result == payloads[number % 2] for number, result in enumerate(results))
