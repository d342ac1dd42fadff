"""Senders that mean no good, or that break: bounded memory and time, true answers, counted, and neighbours kept."""

import asyncio
import gzip
import json
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from otel_pipeline.pdata import Signal

MIB = 1 << 20
HEADER = b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n"


def gzip_bomb(size: int) -> bytes:
    """`size` zero bytes as gzip, made without holding them."""
    compressor = zlib.compressobj(9, wbits=31)
    parts = [compressor.compress(bytes(MIB)) for _ in range(size // MIB)]
    return b"".join((*parts, compressor.flush()))


def zstd_bomb(size: int) -> bytes:
    compressor = zstd.ZstdCompressor()
    parts = [compressor.compress(bytes(MIB)) for _ in range(size // MIB)]
    return b"".join((*parts, compressor.flush()))


BOMBS: dict[str, Callable[[int], bytes]] = {
    "gzip": gzip_bomb,
    "zstd": zstd_bomb,
    "deflate": lambda size: zlib.compress(bytes(size)),
}
PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress, "deflate": zlib.compress}


class PeakMemory:
    """How far the resident memory of this process rises inside the block."""

    def __enter__(self) -> "PeakMemory":
        Path("/proc/self/clear_refs").write_text("5")
        self._before = self._peak()
        return self

    def __exit__(self, *_error: object) -> None:
        self.rise = self._peak() - self._before

    @staticmethod
    def _peak() -> int:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "deflate"])
async def test_http_bomb_needs_no_more_memory_than_the_limit(serve: Any, encoding: str) -> None:
    """1 GiB in about 1 MiB (zstd: 32 KiB) is refused for good at the limit, ten at once too."""
    bomb = BOMBS[encoding](1024 * MIB if encoding != "deflate" else 256 * MIB)
    gateway = await serve(http={"max_request_body_size": 8 * MIB})
    with PeakMemory() as memory:
        answers = await asyncio.gather(
            *(gateway.http(Signal.TRACES, bomb, content_encoding=encoding) for _ in range(10))
        )
    assert [answer.code for answer in answers] == [413] * 10
    assert memory.rise < 200 * MIB
    await gateway.until(lambda: gateway.receiver.admission.used == 0)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_grpc_bomb_needs_no_more_memory_than_the_limit(serve: Any, encoding: str) -> None:
    """gRPC's own decompression stops at the limit: RESOURCE_EXHAUSTED, without a time to wait."""
    gateway = await serve(grpc={"max_recv_msg_size_mib": 8})
    port = gateway.receiver.grpc.endpoint.port
    bomb = gzip_bomb(1024 * MIB) if encoding == "gzip" else zlib.compress(bytes(256 * MIB))
    with PeakMemory() as memory:
        answers = await asyncio.gather(*(grpc_compressed(port, encoding, bomb) for _ in range(5)))
    for answer in answers:
        assert b"grpc-status\x018" in answer
        assert b"retryinfo" not in answer
        assert b"grpc-status-details-bin" not in answer
    assert memory.rise < 200 * MIB
    assert (await gateway.send("grpc", Signal.TRACES)).ok


async def grpc_compressed(port: int, encoding: str, message: bytes) -> bytes:
    """Sends one call with a message that is compressed already, and gives the header frames of the answer.

    A gRPC client would have to hold the expanded message to compress it.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    headers = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost", "te": "trailers"}
    headers |= {"content-type": "application/grpc", "grpc-encoding": encoding}
    literal = b"".join(b"\0%c%b%c%b" % (len(k), k.encode(), len(v), v.encode()) for k, v in headers.items())
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b"") + _frame(1, 4, 1, literal))
    data = b"\x01" + struct.pack(">I", len(message)) + message
    windows = {0: 65535, 1: 65535}
    answer = b""
    async with asyncio.timeout(60):
        while True:
            room = min(16384, *windows.values())
            if data and room > 0:
                part, data = data[:room], data[room:]
                windows = {stream: window - len(part) for stream, window in windows.items()}
                writer.write(_frame(0, 0 if data else 1, 1, part))
                continue
            head = await reader.readexactly(9)
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
            payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
            if kind == 8:
                windows[stream] += int.from_bytes(payload, "big")
            elif kind == 4 and not flags:
                settings = {
                    payload[i + 1]: int.from_bytes(payload[i + 2 : i + 6], "big") for i in range(0, len(payload), 6)
                }
                windows[1] += settings.get(4, 65535) - 65535
                writer.write(_frame(4, 1, 0, b""))
            elif kind == 6 and not flags:
                writer.write(_frame(6, 1, 0, payload))
            elif kind == 1:
                answer += payload
                if flags & 1:
                    break
    writer.close()
    return answer


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


@pytest.mark.parametrize("way", ["grpc", "http-protobuf"])
async def test_two_million_empty_spans(gateway: Any, way: str) -> None:
    """4 MiB that unfold to hundreds as objects cost about their own size here, and every one is told as rejected."""
    spans = b"\x12\x00" * (2 * MIB)
    body = _field(1, _field(2, spans))
    with PeakMemory() as memory:
        answer = await gateway.send(way, Signal.TRACES, body)
    assert gateway.response(Signal.TRACES, answer.body).partial_success.rejected_spans == 2 * MIB
    assert gateway.settings.counts[Signal.TRACES].dropped == {"rejected": 2 * MIB}
    assert memory.rise < 64 * MIB


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field."""
    length, size = b"", len(content)
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "deflate"])
async def test_small_bodies_may_not_expand_beyond_any_telemetry(gateway: Any, encoding: str) -> None:
    """Under the size limit the ratio counts: 10 KiB do not become 60 MiB."""
    bomb = BOMBS[encoding](60 * MIB)
    assert len(bomb) * 200 < 64 * MIB
    with PeakMemory() as memory:
        answer = await gateway.http(Signal.TRACES, bomb, content_encoding=encoding)
    assert answer.code == 413
    assert memory.rise < 60 * MIB


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("zstd", zstd.compress), ("deflate", zlib.compress), ("zlib", zlib.compress)],
)
async def test_members_are_joined_but_not_without_end(gateway: Any, encoding: str, pack: Any) -> None:
    """A body may have several compressed parts; thousands of tiny ones are refused."""
    body = gateway.protobuf_request(Signal.LOGS)
    answer = await gateway.http(Signal.LOGS, pack(body[:5]) + pack(body[5:]), content_encoding=encoding)
    assert answer.ok
    assert gateway.sinks[Signal.LOGS].items == 1
    answer = await gateway.http(Signal.LOGS, pack(b"") * 5000, content_encoding=encoding)
    assert answer.code == 400


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "deflate"])
async def test_damaged_bodies_of_every_encoding(gateway: Any, encoding: str) -> None:
    """Cut at any byte, or with any byte changed, a body is refused or taken whole; never an error of ours."""
    pack = PACK[encoding]
    packed = pack(gateway.protobuf_request(Signal.TRACES))
    random_ = random.Random(7)
    damaged = [packed[:cut] for cut in range(0, len(packed), 7)]
    for _ in range(40):
        position = random_.randrange(len(packed))
        damaged.append(
            packed[:position] + bytes([packed[position] ^ 1 << random_.randrange(8)]) + packed[position + 1 :]
        )
    for body in damaged:
        answer = await gateway.http(Signal.TRACES, body, content_encoding=encoding)
        assert answer.code in (200, 400, 413), body
    assert not any(reason == "internal_error" for _, _, reason in gateway.counted())


async def test_huge_zstd_windows_are_refused(gateway: Any) -> None:
    """A frame that asks for a window above 8 MiB would cost that memory before its first byte."""
    options: dict[int, int] = {
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }
    compressor = zstd.ZstdCompressor(options=options)
    body = compressor.compress(random.Random(1).randbytes(9 * MIB)) + compressor.flush()
    answer = await gateway.http(Signal.TRACES, body, content_encoding="zstd")
    assert answer.code == 400


async def test_concurrent_senders_never_get_each_others_bytes(gateway: Any) -> None:
    """A decompressor that is used again may mix payloads: many bodies of two kinds, at once, stay apart."""
    kinds = {name: json.dumps(_logs(name, 400)).encode() for name in ("A", "B")}
    sends = []
    for number in range(60):
        encoding = ("gzip", "zstd", "deflate")[number % 3]
        pack = PACK[encoding]
        body = pack(kinds["AB"[number % 2]])
        sends.append(gateway.http(Signal.LOGS, body, content_type="application/json", content_encoding=encoding))
    assert all(answer.ok for answer in await asyncio.gather(*sends))
    batches = gateway.sinks[Signal.LOGS].batches
    assert len(batches) == 60
    for batch in batches:
        assert (b"AAAA" in batch.data) != (b"BBBB" in batch.data)
        assert batch.items == 400
    assert len({batch.data for batch in batches}) == 2


def _logs(name: str, count: int) -> Any:
    records = [{"body": {"stringValue": name * 50 + str(number)}} for number in range(count)]
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}


async def test_slow_senders_are_cut_and_counted(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Half a header, half a body and silence end at their deadlines, while a good sender is served."""
    gateway = await serve(http={"read_timeout": "200ms", "read_header_timeout": "200ms", "idle_timeout": "200ms"})
    held = []
    for data in (b"", b"POST /v1/tr", HEADER + b"Content-Length: 99\r\n\r\nabc") * 30:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.http_port)
        writer.write(data)
        held.append((reader, writer))
    assert (await gateway.send("http-protobuf", Signal.TRACES)).ok
    async with asyncio.timeout(60):
        for reader, writer in held:
            try:
                await reader.read()
            except ConnectionResetError:
                pass
            writer.close()
    counted = gateway.counted()
    assert counted["http", "failure", "slow_header"] == 60
    assert counted["http", "failure", "slow_body"] == 30
    await gateway.until(lambda: gateway.receiver.admission.used == 0)
    assert not caplog.records


async def test_clients_that_hang_up_cost_a_count_each(gateway: Any, caplog: pytest.LogCaptureFixture) -> None:
    """300 half bodies and as many lost connections: no traceback, and nothing stays in flight."""
    for _ in range(300):
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.http_port)
        writer.write(HEADER + b"Content-Length: 99\r\n\r\nabc")
        await writer.drain()
        writer.close()
    await gateway.until(lambda: gateway.counted().get(("http", "failure", "client_closed"), 0) >= 300)
    assert gateway.counted() == {("http", "failure", "client_closed"): 300}
    await gateway.until(lambda: gateway.receiver.admission.used == 0)
    assert not [record for record in caplog.records if record.levelname != "INFO"]


async def test_grpc_clients_that_hang_up(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A call that is cancelled while it waits is counted, and nothing stays in flight."""
    entered = asyncio.Event()

    async def waits(_batch: Any) -> None:
        entered.set()
        await asyncio.Event().wait()

    gateway = await serve(consumer=waits)
    call = asyncio.create_task(gateway.send("grpc", Signal.TRACES))
    await entered.wait()
    call.cancel()
    await gateway.until(gateway.counted)
    assert gateway.counted() == {("grpc", "failure", "client_closed"): 1}
    await gateway.until(lambda: gateway.receiver.admission.used == 0)
    assert not [record for record in caplog.records if record.levelname != "INFO"]


RAW = {
    "smuggled by length": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n5c\r\nGPOST / HTTP/1.1\r\n",
    "two lengths": b"Content-Length: 0\r\nContent-Length: 40\r\n\r\n",
    "two content types": b"Content-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n",
    "folded": b"X-A: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "chunk of no number": b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "nul": b"X: \x00\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", RAW)
async def test_raw_rubbish_is_answered_with_a_status(gateway: Any, name: str) -> None:
    """What the HTTP server itself refuses is answered in the encoding of the request too, once."""
    from google.rpc.status_pb2 import Status

    answer = await gateway.raw(HEADER + RAW[name], eof=False)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"content-type: application/x-protobuf" in head
    assert Status.FromString(body).code == 3


async def test_chunked_body_without_length(gateway: Any) -> None:
    """A body in chunks of any size is the same request; over the limit it is 413 too."""
    body = gateway.protobuf_request(Signal.TRACES)
    assert (await gateway.http(Signal.TRACES, [body[i : i + 1] for i in range(len(body))])).ok
    assert gateway.sinks[Signal.TRACES].items == 1


async def test_chunked_body_over_the_limit(serve: Any) -> None:
    """A length that was never told is counted while it comes."""
    gateway = await serve(http={"max_request_body_size": MIB})
    answer = await gateway.http(Signal.TRACES, (bytes(65536) for _ in range(40)))
    assert answer.code == 413
    await gateway.until(lambda: gateway.receiver.admission.used == 0)


async def test_expect_continue_is_refused_before_the_body(serve: Any) -> None:
    """A sender that asks first is told at once, and its body is never sent."""
    gateway = await serve(http={"max_request_body_size": MIB})
    answer = await gateway.raw(HEADER + b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n", eof=False)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_connections_above_the_limit_are_closed(serve: Any, protocol: str) -> None:
    """A storm of connections ends at the limit; those within it go on."""
    gateway = await serve(**{protocol: {"max_connections": 5}})
    server = getattr(gateway.receiver, protocol)
    held = [await asyncio.open_connection("127.0.0.1", server.endpoint.port) for _ in range(5)]
    await asyncio.sleep(0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.endpoint.port)
    async with asyncio.timeout(60):
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            pass
    writer.close()
    for _, open_writer in held:
        open_writer.close()


async def test_silent_grpc_connections_are_closed(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that never speaks HTTP/2, and one that has no calls, end at their deadlines."""
    from otel_pipeline.helpers.otlp_server_options import GrpcOptions

    arguments = GrpcOptions.channel_arguments
    monkeypatch.setattr(
        GrpcOptions, "channel_arguments", lambda self: arguments(self) | {"grpc.server_handshake_timeout_ms": 200}
    )
    idle = {"keepalive": {"server_parameters": {"max_connection_idle": "200ms"}}}
    gateway = await serve(grpc=idle)
    port = gateway.receiver.grpc.endpoint.port
    for preface in (b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(preface)
        async with asyncio.timeout(60):
            try:
                await reader.read()
            except ConnectionResetError:
                pass
        writer.close()
