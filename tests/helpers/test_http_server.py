"""The HTTP server: what it answers to hostile bytes, when it closes connections, how it stops."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from otel_pipeline.helpers.endpoint import parse_endpoint
from otel_pipeline.helpers.http_origin import OriginPolicy
from otel_pipeline.helpers.http_server import HttpLimits, HttpServer

HOST = b"Host: localhost\r\n"
POST = b"POST /echo HTTP/1.1\r\n" + HOST
HELLO = POST + b"Content-Length: 5\r\n\r\nhello"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the body; `/big` with 8 MiB, `/fail` with an exception, `/early` before the body is read."""
    body = b""
    while scope["path"] != "/early":
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        if not message["more_body"]:
            break
    if scope["path"] == "/fail":
        raise ValueError("a bug")
    if scope["path"] == "/big":
        body = b"x" * (8 << 20)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[tuple[HttpServer, Counter[str]]]:
    counted: Counter[str] = Counter()
    server = HttpServer(
        options.pop("app", echo),
        parse_endpoint("127.0.0.1:0"),
        count=lambda reason: counted.update([reason]),
        **options,
    )
    await server.start()
    try:
        yield server, counted
    finally:
        await server.shutdown(1.0)


async def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def next_sweep(server: HttpServer) -> None:
    last = server.now
    await until(lambda: server.now > last)


async def exchange(server: HttpServer, data: bytes, *, eof: bool = True) -> bytes:
    """All that the server says to `data` until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.endpoint.port)
    try:
        writer.write(data)
        if eof:
            writer.write_eof()
        async with asyncio.timeout(60):
            return await reader.read()
    finally:
        writer.close()


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


SERVED = {
    "get": (b"GET / HTTP/1.1\r\n" + HOST + b"\r\n", b""),
    "post": (HELLO, b"hello"),
    "http 1.0 without host": (b"GET / HTTP/1.0\r\n\r\n", b""),
    "chunked": (POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello"),
    "chunked with trailer": (
        POST + b"Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\nHost: other\r\nContent-Type: x\r\n\r\n",
        b"hello",
    ),
    "host with port": (b"GET / HTTP/1.1\r\nHost: 127.0.0.1:4318\r\n\r\n", b""),
    "ipv6 host": (b"GET / HTTP/1.1\r\nHost: [::1]:4318\r\n\r\n", b""),
    "upper case host": (b"GET / HTTP/1.1\r\nHost: LOCALHOST\r\n\r\n", b""),
    "own page": (b"GET / HTTP/1.1\r\nHost: localhost:1\r\nOrigin: http://localhost:1\r\n\r\n", b""),
    "absolute target": (b"GET http://localhost/ HTTP/1.1\r\n" + HOST + b"\r\n", b""),
}


@pytest.mark.parametrize("name", SERVED)
async def test_serves_well_formed_requests(name: str) -> None:
    """Every legal form of a request reaches the application with its whole body."""
    request, body = SERVED[name]
    async with serving() as (server, counted):
        answer = await exchange(server, request)
    assert statuses(answer) == [200]
    assert answer.endswith(b"\r\n\r\n" + body)
    assert b"date: " in answer
    assert not counted


REFUSED = {
    "length and chunked": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked and length": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    "two equal lengths": (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    "list of lengths": (POST + b"Content-Length: 5, 5\r\n\r\nhello", 400),
    "signed length": (POST + b"Content-Length: +5\r\n\r\nhello", 400),
    "negative length": (POST + b"Content-Length: -5\r\n\r\nhello", 400),
    "huge length": (POST + b"Content-Length: 99999999999999999999\r\n\r\nhello", 400),
    "two content types": (POST + b"Content-Type: a/b\r\nContent-Type: a/b\r\n\r\n", 400),
    "two authorizations": (POST + b"Authorization: a\r\nauthorization: b\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "two encodings": (POST + b"Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n\r\n", 400),
    "folded header": (POST + b"X-A: b\r\n c\r\nContent-Length: 5\r\n\r\nhello", 400),
    "bare line feeds": (b"POST / HTTP/1.1\nHost: localhost\nContent-Length: 5\n\nhello", 400),
    "space before colon": (b"POST / HTTP/1.1\r\nHost : localhost\r\nContent-Length: 5\r\n\r\nhello", 400),
    "nul in value": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "bad chunk size": (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n", 400),
    "chunk without line end": (POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n", 400),
    "unknown transfer coding": (POST + b"Transfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 501),
    "stacked transfer coding": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 501),
    "http 2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "tls hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "zero bytes": (b"\x00" * 100, 400),
    "unknown method": (b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "no version": (b"GET /\r\n\r\n", 400),
    "proxy": (b"CONNECT example.org:443 HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "odd target": (b"GET http:// HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "foreign host": (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
    "host that begins well": (b"GET / HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n", 403),
    "empty host": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 403),
    "foreign origin": (b"GET / HTTP/1.1\r\n" + HOST + b"Origin: http://evil.example\r\n\r\n", 403),
    "null origin": (b"GET / HTTP/1.1\r\n" + HOST + b"Origin: null\r\n\r\n", 403),
    "large header": (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 40_000 + b"\r\n\r\n", 431),
    "large header with a body": (POST + b"Content-Length: 5\r\nX: " + b"a" * 40_000 + b"\r\n\r\nhello", 431),
    "large target": (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431),
    "many headers": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 100 + b"\r\n", 431),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_refuses_with_one_answer_and_closes(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A request that could be read in two ways, or comes from a foreign page, gets one error and no second chance."""
    request, status = REFUSED[name]
    async with serving() as (server, counted):
        answer = await exchange(server, request + HELLO, eof=False)
    assert statuses(answer) == [status]
    assert b"connection: close" in answer
    assert counted.total() == 1
    assert not caplog.records


async def test_pipelined_requests_are_answered_in_order() -> None:
    """Requests sent without waiting come back one after another on the same connection."""
    async with serving() as (server, _):
        answer = await exchange(server, HELLO + HELLO.replace(b"hello", b"world"))
    assert statuses(answer) == [200, 200]
    assert answer.index(b"hello") < answer.index(b"world")


async def test_rubbish_after_a_request_spoils_only_itself() -> None:
    """The first answer is never replaced by the error of what follows it."""
    async with serving() as (server, _):
        answer = await exchange(server, HELLO + b"\x00\x00\x00\x00", eof=False)
    assert statuses(answer) in ([], [200], [200, 400])


async def test_upgrade_request_is_read_as_the_plain_request_it_also_is() -> None:
    """Java's HTTP client asks for h2c with each first request; its body must not be taken for another protocol."""
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    request = POST + upgrade + b"Content-Length: 5\r\n\r\nhello"
    async with serving() as (server, counted):
        whole = await exchange(server, request + HELLO)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.endpoint.port)
        for position in range(len(request)):
            writer.write(request[position : position + 1])
            await writer.drain()
        split = await reader.readuntil(b"hello")
        writer.close()
    assert statuses(whole) == [200, 200]
    assert statuses(split) == [200]
    assert not counted


async def test_large_body_comes_through_whole() -> None:
    """Bodies above the flow-control mark arrive complete, with length or in chunks."""
    body = bytes(range(256)) * 8192
    async with serving() as (server, _):
        plain = await exchange(server, POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        chunked = await exchange(
            server, POST + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
        )
    assert plain.endswith(body)
    assert chunked.endswith(body)


async def test_early_answer_keeps_the_connection_in_step() -> None:
    """What the application did not read of a body is thrown away, never taken for the next request."""
    early = b"POST /early HTTP/1.1\r\n" + HOST + b"Content-Length: 200000\r\n\r\n" + b"G" * 200_000
    async with serving() as (server, _):
        answer = await exchange(server, early + HELLO)
    assert statuses(answer) == [200, 200]
    assert answer.endswith(b"hello")


async def test_expect_100_continue() -> None:
    """The body is asked for only when the application reads it."""
    request = POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    async with serving() as (server, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.endpoint.port)
        writer.write(request)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hello")
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        writer.close()


SLOW = {
    "silent": (b"", "slow_header"),
    "half header": (b"POST / HT", "slow_header"),
    "half header after a request": (HELLO + b"POST / HT", "slow_header"),
    "half body": (POST + b"Content-Length: 50\r\n\r\nhe", "slow_body"),
    "half chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\n50\r\nhe", "slow_body"),
    "unread half body": (b"POST /early HTTP/1.1\r\n" + HOST + b"Content-Length: 50\r\n\r\nhe", "slow_body"),
    "idle": (HELLO, "idle"),
}


# Only what is tried is short: on a slow machine another limit may be reached first.
SHORT = {
    "slow_header": HttpLimits(read_header_timeout=0.2),
    "slow_body": HttpLimits(read_timeout=0.2),
    "idle": HttpLimits(idle_timeout=0.2),
}


@pytest.mark.parametrize("name", SLOW)
async def test_closes_slow_and_idle_connections(name: str) -> None:
    """A connection that brings nothing is closed by the server, and the reason counted."""
    data, reason = SLOW[name]
    limits = SHORT[reason]
    async with serving(limits=limits) as (server, counted):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.endpoint.port)
        writer.write(data)
        try:
            await reader.read()
        except ConnectionResetError:
            pass
        writer.close()
        await until(lambda: not server.connections)
    assert counted[reason] == 1


async def test_a_trickle_of_header_bytes_does_not_extend_the_deadline() -> None:
    """The deadline of a header counts from its first byte."""
    async with serving(limits=HttpLimits(read_header_timeout=0.3)) as (server, counted):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.endpoint.port)
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        while not counted:
            writer.write(b"a")
            await asyncio.sleep(0.01)
        writer.close()
        del reader
    assert counted == {"slow_header": 1}


async def test_body_below_the_minimum_rate_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body may take long, but not for ever: after the grace its average rate counts."""
    monkeypatch.setattr("otel_pipeline.helpers.http_server._RATE_GRACE_SECONDS", 0.1)
    async with serving(limits=HttpLimits(idle_timeout=0.2)) as (server, counted):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.endpoint.port)
        writer.write(POST + b"Content-Length: 5000\r\n\r\nhe")
        await until(lambda: counted)
        writer.close()
        del reader
    assert counted["slow_body"] == 1


async def test_client_that_does_not_read_is_cut() -> None:
    """An answer nobody reads is given up after the write timeout, and its memory freed."""
    async with serving(limits=HttpLimits(write_timeout=0.2)) as (server, counted):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.endpoint.port, limit=1024)
        writer.write(b"GET /big HTTP/1.1\r\n" + HOST + b"\r\n")
        await until(lambda: counted["slow_reader"])
        await until(lambda: not server.connections)
        writer.close()
        del reader


async def test_answer_under_way_has_its_time_from_the_first_sweep_on() -> None:
    """A young connection whose answer is not yet taken when the sweep comes is not cut for that."""
    async with serving(limits=HttpLimits(read_timeout=0.4)) as (server, counted):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.endpoint.port, limit=1024)
        writer.write(b"GET /big HTTP/1.1\r\n" + HOST + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(2):
            await next_sweep(server)
        assert len(await reader.readexactly(8 << 20)) == 8 << 20
        writer.close()
    assert not counted


async def test_connections_above_the_limit_are_closed() -> None:
    """A storm of connections costs the ones above the limit, not those that work."""
    async with serving(limits=HttpLimits(max_connections=3)) as (server, counted):
        held = [await asyncio.open_connection("127.0.0.1", server.endpoint.port) for _ in range(3)]
        await until(lambda: server.connections == 3)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.endpoint.port)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await _one(reader, writer)
        writer.close()
        assert statuses(await _one(*held[0])) == [200]
        for _, writer in held:
            writer.close()
    assert counted["too_many_connections"] == 1


async def _one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(HELLO)
    return await reader.readuntil(b"hello")


async def test_hang_ups_leave_a_count_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """Clients that go away in the middle of a body cost one increment each."""
    async with serving() as (server, counted):
        for _ in range(50):
            _, writer = await asyncio.open_connection("127.0.0.1", server.endpoint.port)
            writer.write(POST + b"Content-Length: 50\r\n\r\nhe")
            await writer.drain()
            writer.close()
        await until(lambda: counted["client_closed"] == 50)
        await until(lambda: not server.connections)
    assert not caplog.records


async def test_a_bug_in_the_application_is_logged_and_answered(caplog: pytest.LogCaptureFixture) -> None:
    """An exception of the application is 500, and in the log with its cause."""
    async with serving(log=logging.getLogger("otel_pipeline.test")) as (server, _):
        answer = await exchange(server, b"GET /fail HTTP/1.1\r\n" + HOST + b"\r\n")
    assert statuses(answer) == [500]
    assert [record.name for record in caplog.records] == ["otel_pipeline.test"]


async def test_keep_alive_can_be_switched_off() -> None:
    """Without keep-alive each answer ends its connection."""
    async with serving(limits=HttpLimits(keep_alive=False)) as (server, _):
        answer = await exchange(server, HELLO, eof=False)
    assert b"connection: close" in answer


async def test_shutdown_finishes_requests_under_way() -> None:
    """After shutdown begins no connection is accepted, and a request that had begun is answered."""
    begun, release = asyncio.Event(), asyncio.Event()

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await release.wait()
        await echo(scope, receive, send)

    async with serving(app=waits) as (server, _):
        idle, _w = await asyncio.open_connection("127.0.0.1", server.endpoint.port)
        busy = asyncio.create_task(exchange(server, HELLO, eof=False))
        await until(lambda: server.connections == 2)
        await begun.wait()
        stopping = asyncio.create_task(server.shutdown(20.0))
        assert await idle.read() == b""
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", server.endpoint.port)
        assert not stopping.done()
        release.set()
        assert statuses(await busy) == [200]
        await stopping
        _w.close()


async def test_shutdown_ends_at_its_deadline(caplog: pytest.LogCaptureFixture) -> None:
    """A request that never ends does not hold the gateway, and is cut without a traceback."""

    async def never(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async with serving(app=never) as (server, _):
        task = asyncio.create_task(exchange(server, HELLO, eof=False))
        await until(lambda: server.connections)
        await server.shutdown(0.1)
        assert server.connections == 0
        with contextlib.suppress(ConnectionError):
            assert await task == b""
    assert not caplog.records


async def test_shutdown_twice_and_without_start() -> None:
    """Stopping is safe at any time."""
    server = HttpServer(echo, parse_endpoint("127.0.0.1:0"))
    await server.shutdown()
    await server.start()
    await server.shutdown()
    await server.shutdown()


@pytest.mark.parametrize(
    ("hosts", "host", "allowed"),
    [
        ((), b"localhost:4318", True),
        ((), b"gateway:4318", False),
        (("gateway",), b"gateway:4318", True),
        (("*.internal",), b"a.internal", True),
        (("*.internal",), b"internal", False),
        (("*",), b"anything", True),
    ],
)
def test_allowed_hosts(hosts: tuple[str, ...], host: bytes, allowed: bool) -> None:
    """Given host names replace the local ones; a star stands for any text."""
    policy = OriginPolicy.for_endpoint(parse_endpoint("127.0.0.1:0"), hosts)
    assert policy.host_allowed(host) is allowed
    assert policy.host_allowed(host) is allowed


def test_open_addresses_take_any_host() -> None:
    """Where other machines send, their name for this one cannot be known."""
    assert OriginPolicy.for_endpoint(parse_endpoint("0.0.0.0:4318")).host_allowed(b"gateway:4318")


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ((), b"http://app.example", False),
        (("http://app.example",), b"http://app.example", True),
        (("https://*.example",), b"https://app.example", True),
        (("https://*",), b"http://app.example", False),
        (("*",), b"null", False),
    ],
)
def test_allowed_origins(origins: tuple[str, ...], origin: bytes, allowed: bool) -> None:
    """Only listed origins and the called host itself may send from a page."""
    policy = OriginPolicy(("localhost",), origins)
    assert policy.origin_allowed(origin, b"localhost") is allowed
