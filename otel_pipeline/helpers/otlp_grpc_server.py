"""OTLP over gRPC: the three Export methods on raw bytes.

Two habits of grpcio would lose data of senders: a deserializer of its own answers INTERNAL for a bad body, and its
limit of concurrent calls answers RESOURCE_EXHAUSTED without a time to wait. So bodies are decoded here, and overload is
answered here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc

from otel_pipeline.helpers.endpoint import BindError, Endpoint
from otel_pipeline.helpers.otlp_answers import (
    PROTOBUF,
    Reply,
    answer_error,
    answer_no_pipeline,
    encode,
    partial_success,
)
from otel_pipeline.helpers.otlp_intake import Intake, RequestCounter
from otel_pipeline.pdata import Signal

__all__ = ["SERVICES", "OtlpGrpcServer"]

SERVICES = {
    Signal.TRACES: "opentelemetry.proto.collector.trace.v1.TraceService",
    Signal.METRICS: "opentelemetry.proto.collector.metrics.v1.MetricsService",
    Signal.LOGS: "opentelemetry.proto.collector.logs.v1.LogsService",
}

_Handler = Callable[[bytes, Any], Awaitable[bytes]]


class OtlpGrpcServer:
    """Serves the intakes at `endpoint`; a signal without one is answered UNIMPLEMENTED.

    `options` are gRPC channel arguments. `log_error` is told of exceptions that are our own bugs.
    """

    def __init__(
        self,
        intakes: Mapping[Signal, Intake],
        endpoint: Endpoint,
        *,
        options: Mapping[str, int],
        credentials: grpc.ServerCredentials | None = None,
        count: RequestCounter,
        log_error: Callable[[BaseException], None],
    ) -> None:
        self.endpoint = endpoint
        """Where it listens; after `start` with the real port."""
        self._intakes = intakes
        self._options = {"grpc.so_reuseport": 0, **options}
        self._credentials = credentials
        self._count = count
        self._log_error = log_error
        self._server: Any = None

    async def start(self) -> None:
        """Binds and accepts connections. Raises BindError."""
        for listener in self.endpoint.bind():  # grpcio's own error does not say why
            listener.close()
        self._server = grpc.aio.server(options=list(self._options.items()))
        self._server.add_generic_rpc_handlers([self._service(signal) for signal in Signal])
        address = str(self.endpoint)
        try:
            if self._credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, self._credentials)
        except RuntimeError:
            self._server = None
            raise BindError(f"cannot listen on {address}") from None
        if not self.endpoint.path:
            self.endpoint = Endpoint(self.endpoint.host, port)
        await self._server.start()

    async def shutdown(self, grace: float = 5.0) -> None:
        """Stops accepting, lets calls under way finish for `grace` seconds, then cancels what is left."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop(grace)

    def _service(self, signal: Signal) -> grpc.GenericRpcHandler:
        intake = self._intakes.get(signal)
        handler = self._unimplemented(signal) if intake is None else self._export(intake)
        return grpc.method_handlers_generic_handler(
            SERVICES[signal], {"Export": grpc.unary_unary_rpc_method_handler(handler)}
        )

    def _export(self, intake: Intake) -> _Handler:
        take, admission, count, signal = intake.take, intake.admission, self._count, intake.signal

        async def export(body: bytes, context: Any) -> bytes:
            size = len(body)
            overload = admission.take(size)
            if overload:
                await self._abort(context, answer_error(intake.overloaded(body, overload)))
            try:
                findings = await take(body, False, "grpc")
            except Exception as error:
                reply = answer_error(error)
                if reply.reason == "internal_error":
                    self._log_error(error)
                await self._abort(context, reply)
                raise  # not reached: abort raises
            except asyncio.CancelledError:
                count("grpc", "failure", "client_closed")
                raise
            finally:
                admission.give(size)
            count("grpc", "success", "")
            if findings is None:
                return b""
            response = partial_success(signal, findings)
            return b"" if response is None else encode(response, PROTOBUF)

        return export

    def _unimplemented(self, signal: Signal) -> _Handler:
        reply = answer_no_pipeline(signal)

        async def export(_body: bytes, context: Any) -> bytes:
            await self._abort(context, reply)
            return b""

        return export

    async def _abort(self, context: Any, reply: Reply) -> None:
        self._count("grpc", reply.answer.outcome, reply.reason)
        await context.abort(reply.answer.grpc, reply.status.message, reply.trailers())
