"""OTLP over HTTP: an ASGI application for the three paths, protobuf and JSON, compressed or not."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from otel_pipeline.errors import RetryableError, TooLargeError
from otel_pipeline.helpers.admission import Admission
from otel_pipeline.helpers.decompress import DECOMPRESSORS, Decompress, output_bound
from otel_pipeline.helpers.http_origin import OriginPolicy
from otel_pipeline.helpers.http_server import Exchange
from otel_pipeline.helpers.otlp_answers import (
    JSON,
    PROTOBUF,
    Reply,
    answer_error,
    answer_http,
    answer_no_pipeline,
    encode,
    partial_success,
)
from otel_pipeline.helpers.otlp_intake import Intake, RequestCounter
from otel_pipeline.pdata import Signal

__all__ = ["Cors", "OtlpHttpApp", "server_answer"]

_OFFLOAD_BYTES = 32 * 1024
"""Larger compressed bodies are expanded in a worker thread."""
_EMPTY_RESPONSE = {PROTOBUF: b"", JSON: b"{}"}
_PROTOCOLS = {PROTOBUF: "http/protobuf", JSON: "http/json"}

_Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Cors:
    """What browsers are told about requests from pages of other origins."""

    origins: OriginPolicy
    allowed_headers: tuple[str, ...] = ()
    exposed_headers: tuple[str, ...] = ()
    max_age: int = 0

    def headers(self, origin: bytes | None) -> _Headers:
        """For an answer to a page of `origin`."""
        if origin is None or not self.origins.cross_origin(origin):
            return []
        headers = [(b"access-control-allow-origin", origin), (b"vary", b"origin")]
        if self.exposed_headers:
            headers.append((b"access-control-expose-headers", ", ".join(self.exposed_headers).encode()))
        return headers

    def preflight(self, fields: Mapping[bytes, bytes]) -> _Headers:
        """For the question whether a page may send; nothing where it is no such question, or the answer is no."""
        headers = self.headers(fields.get(b"origin"))
        if not headers or b"access-control-request-method" not in fields:
            return []
        allowed = ", ".join(("content-type", "content-encoding", *self.allowed_headers)).encode()
        if "*" in self.allowed_headers:
            allowed = fields.get(b"access-control-request-headers", allowed)
        headers += [(b"access-control-allow-methods", b"POST"), (b"access-control-allow-headers", allowed)]
        if self.max_age:
            headers.append((b"access-control-max-age", b"%d" % self.max_age))
        return headers


class _Refusal(Exception):
    """Ends a request with a status of HTTP's own."""

    def __init__(self, reply: Reply, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(reply.reason)
        self.reply = reply
        self.headers = list(headers)


class _HungUp(Exception):
    """The client is gone; there is nobody to answer."""


class OtlpHttpApp:
    """Serves each intake at the path of its signal; a signal without one is 404, as is any other path.

    `max_body` bounds a body before and after decompression. `encodings` are names of DECOMPRESSORS. `log_error` is
    told of exceptions that are our own bugs.
    """

    def __init__(
        self,
        paths: Mapping[str, Signal],
        intakes: Mapping[Signal, Intake],
        *,
        max_body: int,
        encodings: tuple[str, ...],
        response_headers: Mapping[str, str],
        cors: Cors | None,
        count: RequestCounter,
        log_error: Callable[[BaseException], None],
    ) -> None:
        self._paths = dict(paths)
        self._routes = {path: intakes[signal] for path, signal in paths.items() if signal in intakes}
        self._max_body = max_body
        self._decompressors: dict[bytes, Decompress | None] = {
            name.encode(): DECOMPRESSORS[name] for name in encodings if name
        }
        self._decompressors[b"identity"] = None
        if b"gzip" in self._decompressors:
            self._decompressors[b"x-gzip"] = self._decompressors[b"gzip"]
        self._extra = [(name.lower().encode(), value.encode()) for name, value in response_headers.items()]
        self._cors = cors
        self._count = count
        self._log_error = log_error
        self._success = {kind: self._head(200, kind, len(body)) for kind, body in _EMPTY_RESPONSE.items()}
        self._success_body = {kind: _body(body) for kind, body in _EMPTY_RESPONSE.items()}
        self._success_reply = {kind: _raw(self._success[kind], body) for kind, body in _EMPTY_RESPONSE.items()}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers one request."""
        fields = scope["fields"]
        content_type = fields.get(b"content-type", b"")
        if content_type != PROTOBUF and content_type != JSON:
            content_type = content_type.partition(b";")[0].strip().lower()
        if scope["method"] == "OPTIONS" and self._cors is not None:
            headers = self._cors.preflight(fields)
            if headers:
                await send({"type": "http.response.start", "status": 204, "headers": headers + self._extra})
                await send(_body(b""))
                return
        try:
            intake = self._route(scope, content_type)
            findings = await self._take(intake, scope["connection"], receive, fields, content_type)
        except _HungUp:
            return  # counted by the server
        except _Refusal as refusal:
            await self._refuse(send, fields, content_type, refusal.reply, refusal.headers)
            return
        except Exception as error:
            reply = answer_error(error)
            if reply.reason == "internal_error":
                self._log_error(error)
            await self._refuse(send, fields, content_type, reply, [])
            return
        self._count("http", "success", "")
        response = None if findings is None else partial_success(intake.signal, findings)
        if response is None and b"origin" not in fields:
            if not scope["connection"].reply(self._success_reply[content_type]):
                await send(self._success[content_type])
                await send(self._success_body[content_type])
        else:
            body = _EMPTY_RESPONSE[content_type] if response is None else encode(response, content_type)
            await self._answer(send, fields, 200, content_type, body)

    def _route(self, scope: Any, content_type: bytes) -> Intake:
        """The intake of this request. Raises _Refusal."""
        path = scope["path"]
        intake = self._routes.get(path)
        if intake is None or scope["method"] != "POST":
            if path not in self._paths:
                raise _Refusal(answer_http(404, "unknown_path", f"the paths are {', '.join(self._paths)}"))
            if scope["method"] != "POST":
                raise _Refusal(answer_http(405, "method", "OTLP is sent with POST"), (b"allow", b"POST"))
            raise _Refusal(answer_no_pipeline(self._paths[path]))
        if content_type not in _EMPTY_RESPONSE:
            known = "the content-type must be application/x-protobuf or application/json"
            raise _Refusal(answer_http(415, "content_type", known))
        return intake

    async def _take(
        self, intake: Intake, connection: Exchange, receive: Any, fields: Mapping[bytes, bytes], kind: bytes
    ) -> Any:
        """Reads the body and hands it on; what it holds of the bytes in flight is given back at the end."""
        encoding = fields.get(b"content-encoding")
        decompress = None if encoding is None else self._decompressor(encoding)
        if int(fields.get(b"content-length", b"0")) > self._max_body:
            raise TooLargeError(f"the body is larger than {self._max_body} bytes")
        admission = intake.admission
        held = 0
        parts: list[bytes] = []
        more = True
        try:
            while more:
                part = connection.whole_body() if not parts else None
                more = part is None
                if part is None:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _HungUp
                    part, more = message["body"], message["more_body"]
                overload = admission.take(len(part))
                if overload:
                    raise intake.overloaded(b"" if parts or decompress else part, overload)
                held += len(part)
                if held > self._max_body:
                    raise TooLargeError(f"the body is larger than {self._max_body} bytes")
                parts.append(part)
            body = parts[0] if len(parts) == 1 else b"".join(parts)
            if decompress is not None:
                body = await self._expand(decompress, body, admission)
                held += len(body)
            protocol = _PROTOCOLS[kind]
            if encoding is not None:
                protocol = f"{protocol} {encoding.decode('ascii', 'replace').strip().lower()}"
            return await intake.take(body, kind == JSON, protocol)
        finally:
            admission.give(held)

    def _decompressor(self, encoding: bytes) -> Decompress | None:
        try:
            return self._decompressors[encoding.strip().lower()]
        except KeyError:
            names = b", ".join(name for name in self._decompressors if name != b"x-gzip")
            reply = answer_http(415, "content_encoding", f"the content-encoding must be one of {names.decode()}")
            raise _Refusal(reply, (b"accept-encoding", names)) from None

    async def _expand(self, decompress: Decompress, body: bytes, admission: Admission) -> bytes:
        """The decompressed body; its bytes are in flight then, and its bound is while it grows."""
        bound = output_bound(len(body), self._max_body)
        overload = admission.take(bound)
        if overload:
            raise RetryableError(overload)
        expanded = 0
        try:
            if len(body) > _OFFLOAD_BYTES:
                loop = asyncio.get_running_loop()
                body = await loop.run_in_executor(None, decompress, body, self._max_body)
            else:
                body = decompress(body, self._max_body)
            expanded = len(body)
        finally:
            admission.give(bound - expanded)
        return body

    async def _refuse(
        self, send: Any, fields: Mapping[bytes, bytes], content_type: bytes, reply: Reply, headers: _Headers
    ) -> None:
        self._count("http", reply.answer.outcome, reply.reason)
        if reply.retry_after is not None:
            headers = [*headers, (b"retry-after", reply.retry_after)]
        if (
            b"expect" in fields
        ):  # the client may or may not send the body now: the next request could not be told from it
            headers = [*headers, (b"connection", b"close")]
        content_type, body = _status_body(reply, content_type)
        await self._answer(send, fields, reply.answer.http, content_type, body, headers)

    async def _answer(
        self,
        send: Any,
        fields: Mapping[bytes, bytes],
        status: int,
        content_type: bytes,
        body: bytes,
        headers: _Headers | None = None,
    ) -> None:
        head = self._head(status, content_type, len(body))
        head["headers"] += headers or []
        if self._cors is not None:
            head["headers"] += self._cors.headers(fields.get(b"origin"))
        await send(head)
        await send(_body(body))

    def _head(self, status: int, content_type: bytes, length: int) -> dict[str, Any]:
        headers = [(b"content-type", content_type), (b"content-length", b"%d" % length), *self._extra]
        return {"type": "http.response.start", "status": status, "headers": headers}


def _raw(head: dict[str, Any], body: bytes) -> bytes:
    fields = b"".join(b"%b: %b\r\n" % field for field in head["headers"])
    return b"%b\r\n%b" % (fields, body)


def _body(body: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body}


def _status_body(reply: Reply, content_type: bytes) -> tuple[bytes, bytes]:
    """In the encoding of the request; JSON, which people can read, where that is unknown."""
    content_type = PROTOBUF if content_type == PROTOBUF else JSON
    return content_type, encode(reply.status, content_type)


def server_answer(status: int, message: str, content_type: bytes) -> tuple[bytes, bytes]:
    """Content type and body of errors that the HTTP server answers itself (`HttpServer.answer`)."""
    content_type = content_type.partition(b";")[0].strip().lower()
    return _status_body(answer_http(status, "", message), content_type)
