"""The HTTP server of every component that listens: uvicorn's protocol on sockets of our own, with limits.

uvicorn closes no connection that is slow or silent, and does not look at Host and Origin. Here one sweep a second over
the open connections does the first, and each request is checked for the second before the application sees it.
"""

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Protocol

import httptools
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from otel_pipeline.helpers.endpoint import Endpoint
from otel_pipeline.helpers.http_origin import OriginPolicy

__all__ = ["Application", "Exchange", "HttpLimits", "HttpServer"]

Application = Callable[[Any, Any, Any], Any]
"""An ASGI application. `scope["fields"]` holds the header fields as a dict of bytes, names in lower case; fields that
decide how a request is read are single in it. `scope["connection"]` is the Exchange, for those in a hurry."""

_SINGLE_FIELDS = frozenset(
    (b"authorization", b"content-encoding", b"content-length", b"content-type", b"host", b"origin")
)
_BACKLOG = 512
_SILENT = logging.Logger("silent", logging.CRITICAL + 1)
_LINGER_SECONDS = 2.0
_RATE_GRACE_SECONDS = 10.0


class Exchange(Protocol):
    """Shortcuts past `receive` and `send`, which cost a small request a seventh of its time."""

    def whole_body(self) -> bytes | None:
        """The body where all of it is there; None where `receive` must be asked."""

    def reply(self, rest: bytes) -> bool:
        """Answers with status 200; `rest` is the header fields but for the date, the empty line and the body.

        False where `send` must be used: the connection is to be closed, is slow, or has more requests waiting.
        """


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of connections and requests, in seconds and bytes; 0 switches a time limit off."""

    read_header_timeout: float = 10.0
    """From the first byte of a request (or from the connection, for the first request) to the end of its header."""
    read_timeout: float = 0.0
    """From the end of the header to the end of the body."""
    min_body_rate: int = 1024
    """Bytes a second that a body has to arrive with, on average, after ten seconds."""
    write_timeout: float = 30.0
    """How long a client may leave an answer unread."""
    idle_timeout: float = 60.0
    """Between two requests of a connection."""
    keep_alive: bool = True
    """Whether a connection may carry more than one request."""
    max_connections: int = 1024
    """More are closed at once."""
    max_header_bytes: int = 32 * 1024
    """Request line and header fields together."""
    max_headers: int = 100
    """Header fields of one request."""


def text_answer(status: int, message: str, content_type: bytes) -> tuple[bytes, bytes]:
    """Content type and body of an error that the server itself answers, as plain text."""
    del status, content_type
    return b"text/plain; charset=utf-8", message.encode()


class HttpServer:
    """Serves an ASGI application on the running loop: HTTP/1.1, keep-alive, no signal handlers, no access log.

    `answer` makes the body of errors which the server itself answers, from status, message and the request's content
    type. `count` is called with a reason for each request or connection that was turned away: `bad_request`,
    `foreign_host`, `foreign_origin`, `header_too_large`, `too_many_connections`, `slow_header`, `slow_body`,
    `slow_reader`, `idle`, `client_closed`.
    """

    def __init__(
        self,
        app: Application,
        endpoint: Endpoint,
        *,
        limits: HttpLimits | None = None,
        origins: OriginPolicy | None = None,
        tls: ssl.SSLContext | None = None,
        answer: Callable[[int, str, bytes], tuple[bytes, bytes]] = text_answer,
        count: Callable[[str], None] = lambda _reason: None,
        log: logging.Logger | None = None,
    ) -> None:
        self.endpoint = endpoint
        """Where it listens; after `start` with the real port."""
        self.limits = limits or HttpLimits()
        self.origins = origins or OriginPolicy.for_endpoint(endpoint)
        self.answer = answer
        self.count = count
        self.log = log or logging.getLogger(__name__)
        self.head = b""
        """The first lines of an answer with status 200."""
        self.now = 0.0
        """Seconds of the loop's clock at the last sweep: exact enough for the limits, and free for each request."""
        self._tls = tls
        self._config = Config(
            app,
            lifespan="off",
            ws="none",
            access_log=False,
            log_config=None,
            interface="asgi3",
            http="httptools",
            proxy_headers=False,
        )
        self._state = ServerState()
        self._listeners: list[asyncio.AbstractServer] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._state.connections)

    async def start(self) -> None:
        """Binds and accepts connections. Raises endpoint.BindError; nothing stays open then."""
        self._config.load()
        sockets = self.endpoint.bind()
        if not self.endpoint.path:
            self.endpoint = Endpoint(self.endpoint.host, sockets[0].getsockname()[1])
        loop = asyncio.get_running_loop()
        create = loop.create_unix_server if self.endpoint.path else loop.create_server
        handshake = (self.limits.read_header_timeout or 60.0) if self._tls else None
        for listener in sockets:
            self._listeners.append(
                await create(
                    self._connect, sock=listener, ssl=self._tls, ssl_handshake_timeout=handshake, backlog=_BACKLOG
                )
            )
        self._sweep(loop)

    async def shutdown(self, grace: float = 5.0) -> None:
        """Stops accepting, lets requests under way finish for `grace` seconds, then cuts what is left."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for connection in self._open():
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._drained()
        for connection in self._open():
            connection.cut()
        for task in self._state.tasks:
            task.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._drained()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    async def _drained(self) -> None:
        while self._state.connections:
            self._empty.clear()
            await self._empty.wait()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks)

    def _connect(self) -> "_Connection":
        return _Connection(self, self._config, self._state)

    def _open(self) -> Iterable["_Connection"]:
        return [connection for connection in self._state.connections if isinstance(connection, _Connection)]

    def lost(self) -> None:
        """A connection is gone."""
        if not self._state.connections:
            self._empty.set()

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now = now = loop.time()
        date = formatdate(time.time(), usegmt=True).encode()
        self._state.default_headers = [(b"date", date)]
        self.head = STATUS_LINE[200] + b"date: %b\r\n" % date
        for connection in self._open():
            connection.check(now)
        self._sweeper = loop.call_later(self._sweep_interval(), self._sweep, loop)

    def _sweep_interval(self) -> float:
        limits = self.limits
        timeouts = (limits.read_header_timeout, limits.read_timeout, limits.write_timeout, limits.idle_timeout)
        return min(1.0, *(timeout / 4 for timeout in timeouts if timeout), 1.0)


class _Refused(Exception):
    """Raised in the parser's callbacks: this request is answered by the server."""

    def __init__(self, status: int, message: str, reason: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class _Connection(HttpToolsProtocol):
    """uvicorn's protocol with the limits of a server that strangers talk to."""

    def __init__(self, server: HttpServer, config: Config, state: ServerState) -> None:
        super().__init__(config, state, {})
        self.owner = server
        self.logger = server.log
        self.access_log = False
        self.since = 0.0  # when the present phase began: waiting, header, body
        self.partial = True  # a header is awaited: begun, or the first one of the connection
        self.unparsed = 0  # bytes taken in since the last piece of a body or end of a request
        self.body_bytes = 0
        self.stalled_since = 0.0  # when a sweep last saw all answers taken, or the connection began
        self.broken = False  # answered an error; what still comes is thrown away
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.since = self.stalled_since = self.loop.time()
        if self.owner.connections > self.owner.limits.max_connections:
            self._close("too_many_connections")

    def connection_lost(self, exc: Exception | None) -> None:
        cycle = self.cycle
        if cycle is not None and cycle.more_body and not cycle.response_complete and not self.broken:
            self.owner.count("client_closed")
        super().connection_lost(exc)
        if self.task is not None and not self.task.done():
            self.tasks.add(self.task)
            self.task.add_done_callback(self.tasks.discard)
        self.owner.lost()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keeps a half-closed connection until what was asked on it is answered."""
        cycle = self.cycle
        if self.broken or cycle is None or cycle.response_complete or cycle.more_body or self.scheme == "https":
            return False
        cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        if self.broken:
            return
        self.unparsed += len(data)
        try:
            self._feed(data)
            if self.unparsed > self.owner.limits.max_header_bytes:
                raise _Refused(431, "the request header is too large", "header_too_large")
        except httptools.HttpParserError as error:
            cause = error.__context__
            reason = error if cause is None else "the request target cannot be used"
            refused = cause if isinstance(cause, _Refused) else _Refused(400, f"not HTTP: {reason}", "bad_request")
            self._refuse(refused)
        except _Refused as refused:
            self._refuse(refused)

    def _feed(self, data: bytes) -> None:
        """Parses. A request to upgrade (Java's client asks for h2c) is read as the plain request that it also is.

        The parser takes all that follows such a header for another protocol, so it is given the header again without.
        """
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                data = self._plain_header() + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)

    def _plain_header(self) -> bytes:
        lines = [b"%b %b HTTP/1.1" % (self.parser.get_method(), self.url)]
        for name, value in self.headers:
            if name == b"connection":
                value = b"close" if b"close" in value.lower() else b"keep-alive"
            if name not in (b"upgrade", b"http2-settings"):
                lines.append(name + b": " + value)
        return b"\r\n".join((*lines, b"", b""))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.partial = True
        if self.cycle is None or self.cycle.response_complete:
            self.since = self.owner.now

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.partial:
            return  # a trailer, which nobody reads
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise _Refused(405, "this is no proxy", "bad_request")
            return
        headers = self.headers
        fields = dict(headers)
        self._check(headers, fields)
        self.scope["fields"] = fields  # type: ignore[typeddict-unknown-key]
        self.scope["connection"] = self  # type: ignore[typeddict-unknown-key]
        self.partial = False
        self.body_bytes = 0
        self.since = self.owner.now
        super().on_headers_complete()
        if not self.owner.limits.keep_alive:
            self.cycle.keep_alive = False

    def _check(self, headers: list[tuple[bytes, bytes]], fields: dict[bytes, bytes]) -> None:
        limits = self.owner.limits
        if len(headers) > limits.max_headers or (
            self.unparsed > limits.max_header_bytes
            and len(self.url) + sum(len(name) + len(value) + 4 for name, value in headers) > limits.max_header_bytes
        ):
            raise _Refused(431, "the request header is too large", "header_too_large")
        if len(fields) != len(headers):
            names = [name for name, _ in headers]
            for name in _SINGLE_FIELDS:
                if names.count(name) > 1:
                    raise _Refused(400, f"more than one {name.decode()} header", "bad_request")
        if fields.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
            raise _Refused(501, "the only transfer-encoding understood is chunked", "bad_request")
        host = fields.get(b"host")
        if host is None:
            if self.parser.get_http_version() != "1.0":
                raise _Refused(400, "no host header", "bad_request")
        elif not self.owner.origins.host_allowed(host):
            raise _Refused(403, "this host name is not served here (see allowed_hosts)", "foreign_host")
        origin = fields.get(b"origin")
        if origin is not None and not self.owner.origins.origin_allowed(origin, host or b""):
            raise _Refused(403, "this origin may not send here (see cors.allowed_origins)", "foreign_origin")

    def on_body(self, body: bytes) -> None:
        self.unparsed = 0
        self.body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.unparsed = 0
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def whole_body(self) -> bytes | None:
        """See Exchange. While requests wait in the pipeline, `cycle` is the last of them and not the one that asks."""
        cycle = self.cycle
        if self.pipeline or cycle.more_body or cycle.disconnected:
            return None
        return bytes(cycle.body)

    def reply(self, rest: bytes) -> bool:
        """See Exchange."""
        cycle = self.cycle
        if self.pipeline or cycle.disconnected or not cycle.keep_alive or self.flow.write_paused:
            return False
        cycle.response_started = cycle.response_complete = True
        self.transport.write(self.owner.head + rest)
        self.on_response_complete()
        return True

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """The connection keeps the task of its request; the server has only those that outlive their connection."""
        self.task = self.loop.create_task(cycle.run_asgi(app))

    def on_response_complete(self) -> None:
        self.since = self.owner.now
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)

    def check(self, now: float) -> None:
        """Closes the connection if its present phase has lasted too long. Called by the server's sweep."""
        limits, cycle = self.owner.limits, self.cycle
        spent = now - self.since
        if self.transport.get_write_buffer_size() == 0:
            self.stalled_since = now
        elif limits.write_timeout and now - self.stalled_since > limits.write_timeout:
            self._close("slow_reader")
        if self.broken:
            if spent > _LINGER_SECONDS:
                self._close("")
        elif cycle is None or cycle.response_complete:
            if cycle is not None and cycle.more_body:
                self._check_body(spent)
            elif self.partial:
                if limits.read_header_timeout and spent > limits.read_header_timeout:
                    self._close("slow_header")
            elif limits.idle_timeout and spent > limits.idle_timeout:
                self._close("idle")
        elif cycle.more_body and not self.flow.read_paused:
            self._check_body(spent)

    def _check_body(self, spent: float) -> None:
        limits = self.owner.limits
        late = limits.read_timeout and spent > limits.read_timeout
        slow = spent > _RATE_GRACE_SECONDS and self.body_bytes < limits.min_body_rate * spent
        if late or slow:
            self._close("slow_body")

    def cut(self) -> None:
        """Closes at once. What uvicorn would log of the request that this ends is no news."""
        if self.cycle is not None:
            self.cycle.logger = _SILENT
        if self.task is not None:
            self.task.cancel()
        self._close("")

    def _close(self, reason: str) -> None:
        if reason:
            self.owner.count(reason)
        self.broken = True
        self.transport.abort()

    def _refuse(self, refused: _Refused) -> None:
        """Answers an error and reads on for a moment, so that the answer is not lost in a reset connection."""
        self.owner.count(refused.reason)
        self.broken = True
        self.since = self.owner.now
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started or self.pipeline or not cycle.more_body:
                self.transport.close()  # an earlier request of this connection is still to be answered
                return
            cycle.disconnected = True
            cycle.message_event.set()
        content_type = dict(self.headers or ()).get(b"content-type", b"")
        content_type, body = self.owner.answer(refused.status, str(refused), content_type)
        self.transport.write(
            b"%bcontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (STATUS_LINE[refused.status], content_type, len(body), body)
        )
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()
