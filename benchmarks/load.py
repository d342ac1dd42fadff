"""Spans to send, servers to send them to, clients that send them: shared by the benchmarks."""

import asyncio
import multiprocessing
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_pipeline.testing import attributes

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
START_NS = 1_767_225_600_000_000_000


_MARK = b"\xf0trace\xf1\xf2"
MODELS = ("claude-sonnet-4-5", "claude-haiku-4-5-20251001", "gpt-5", "our-own-model")


def make_request(spans: int) -> bytes:
    """An agent's export request: LLM and tool spans of about 370 bytes with 8 attributes, in traces of 16.

    `unique` makes requests with traces of their own of it.
    """
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource = {"service.name": "claude-code", "project": "checkout", "stage": "coding", "requirement": "REQ-1042"}
    resource_spans.resource.attributes.extend(attributes(resource))
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name = "bench.agent"
    for number in range(spans):
        span = scope_spans.spans.add(
            trace_id=_MARK + (number // 16).to_bytes(8, "big"),
            span_id=(number + 1).to_bytes(8, "big"),
            parent_span_id=(number - number % 16 + 1).to_bytes(8, "big") if number % 16 else b"",
            name=f"chat {MODELS[number % 4]}" if number % 2 else "execute_tool run_shell_command",
            kind=1,
            start_time_unix_nano=START_NS + number * 1_000_000,
            end_time_unix_nano=START_NS + number * 1_000_000 + 850_000_000,
        )
        operation = "chat" if number % 2 else "execute_tool"
        span.attributes.extend(
            attributes(
                {
                    "gen_ai.operation.name": operation,
                    "gen_ai.request.model": MODELS[number % 4],
                    "gen_ai.provider.name": "anthropic",
                    "gen_ai.conversation.id": "5f3c1b7e-session",
                    "gen_ai.tool.name": "shell",
                    "gen_ai.usage.input_tokens": 1000 + number,
                    "gen_ai.usage.output_tokens": 100 + number,
                    "user.id": "0f8fad5b-d9cb",
                }
            )
        )
        if number % 50 == 49:
            span.status.code = 2  # type: ignore[assignment]
            span.status.message = "tool failed"
    return request.SerializeToString()


def unique(request: bytes, number: int) -> bytes:
    """The request with other trace ids for every number, as senders never repeat them."""
    return request.replace(_MARK, number.to_bytes(8, "big"))


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and its threads, in nanosecond resolution where the kernel gives it."""
    total = 0
    for schedstat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        total += int(schedstat.read_text().split()[0])
    return total / 1e9


def rss_mib(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, seconds: float = 30.0) -> None:
    """Returns when something listens there; TimeoutError after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


def send(protocol: str, port: int, request: bytes, numbers: range, concurrency: int) -> float:
    """Sends the request once for each number, each with its own traces, from another process; seconds it took.

    All must succeed.
    """
    context = multiprocessing.get_context("spawn")
    parent, child = context.Pipe()
    process = context.Process(target=_send_main, args=(child, protocol, port, request, numbers, concurrency))
    process.start()
    seconds: float = parent.recv()
    process.join()
    return seconds


def _send_main(pipe: Connection, protocol: str, port: int, request: bytes, numbers: range, concurrency: int) -> None:
    _pin(1)
    run = _send_grpc if protocol == "grpc" else _send_http
    pipe.send(asyncio.run(run(port, request, iter(numbers), concurrency)))


async def _send_grpc(port: int, request: bytes, numbers: Iterator[int], concurrency: int) -> float:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(EXPORT)

        async def worker() -> None:
            for number in numbers:
                await call(unique(request, number), timeout=30)

        begin = time.monotonic()
        await asyncio.gather(*[worker() for _ in range(concurrency)])
        return time.monotonic() - begin


async def _send_http(port: int, request: bytes, numbers: Iterator[int], concurrency: int) -> float:
    head = b"POST /v1/traces HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-protobuf\r\n"
    head += b"Content-Length: %d\r\n\r\n"

    async def worker() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            body = unique(request, number)
            writer.write(head % len(body) + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(answer.decode())
            length = next(
                (int(line[15:]) for line in answer.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
            )
            if length:
                await reader.readexactly(length)
        writer.close()

    begin = time.monotonic()
    await asyncio.gather(*[worker() for _ in range(concurrency)])
    return time.monotonic() - begin


@contextmanager
def sink() -> Iterator[tuple[int, "Received"]]:
    """A gRPC server process that takes everything; its port, and the number of spans it got."""
    context = multiprocessing.get_context("spawn")
    parent, child = context.Pipe()
    process = context.Process(target=_sink_main, args=(child,), daemon=True)
    process.start()
    try:
        yield parent.recv(), Received(parent)
    finally:
        process.terminate()
        process.join()


class Received:
    """What a sink has received so far."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def spans(self) -> int:
        """Spans in all requests together."""
        self._pipe.send("spans")
        spans: int = self._pipe.recv()
        return spans

    def wait(self, spans: int, seconds: float = 60.0) -> None:
        """Returns when so many spans came; TimeoutError says how many did."""
        deadline = time.monotonic() + seconds
        while (got := self.spans()) < spans:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{got} of {spans} spans arrived")
            time.sleep(0.02)


def _sink_main(pipe: Connection) -> None:
    _pin(1)
    asyncio.run(_sink(pipe))


async def _sink(pipe: Connection) -> None:
    bodies: list[bytes] = []
    pipe.send(await _serve(bodies))
    spans = 0
    while True:
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        spans += sum(_count(bodies.pop()) for _ in range(len(bodies)))
        pipe.send(spans)


def _count(body: bytes) -> int:
    request = ExportTraceServiceRequest.FromString(body)
    return sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)


async def _serve(bodies: list[bytes]) -> int:
    async def export(body: bytes, _: object) -> bytes:
        bodies.append(body)
        return b""

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, call: object) -> object:
            return grpc.unary_unary_rpc_method_handler(export)

    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 64 << 20)])
    server.add_generic_rpc_handlers((Handler(),))
    port: int = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    _keep.append(server)
    return port


_keep: list[object] = []


def _pin(core: int) -> None:
    if (os.cpu_count() or 1) > core:
        os.sched_setaffinity(0, {core})


@contextmanager
def started(command: list[str], environment: dict[str, str], port: int) -> Iterator[int]:
    """A process on the first core, once its port is open; its pid."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, preexec_fn=_on_core_0)
        try:
            wait_for_port(port)
            yield process.pid
            if process.poll() is not None:
                log.seek(0)
                raise RuntimeError(f"{command[0]} ended early:\n{log.read().decode()[-4000:]}")
        finally:
            process.terminate()
            process.wait(timeout=30)


def _on_core_0() -> None:
    os.sched_setaffinity(0, {0})
