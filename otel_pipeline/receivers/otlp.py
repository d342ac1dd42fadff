"""Receiver `otlp`: OTLP over gRPC and HTTP, as SDKs, agents and Collectors send it."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from otel_pipeline.component import Consumer, Options, Receiver, Settings
from otel_pipeline.helpers.admission import Admission
from otel_pipeline.helpers.http_origin import OriginPolicy
from otel_pipeline.helpers.http_server import HttpServer
from otel_pipeline.helpers.otlp_grpc_server import OtlpGrpcServer
from otel_pipeline.helpers.otlp_http_server import Cors, OtlpHttpApp, server_answer
from otel_pipeline.helpers.otlp_intake import make_intakes
from otel_pipeline.helpers.otlp_server_options import CorsOptions, GrpcOptions, HttpOptions, Protocols
from otel_pipeline.pdata import Limits, Signal

__all__ = ["Otlp"]

_MIB = 1 << 20
_SHUTDOWN_GRACE_SECONDS = 5.0


class ItemLimits(Options):
    """How much one item may carry. What is over is cut or left out and counted; the item is kept."""

    max_depth: Annotated[int, Field(ge=1, le=32)] = 32
    """How deep values may be nested."""
    max_attributes: Annotated[int, Field(ge=1)] = 128
    """Attributes of one item, resource, scope, event or link."""
    max_key_bytes: Annotated[int, Field(ge=1)] = 256
    """Bytes of an attribute's key."""
    max_value_bytes: Annotated[int, Field(ge=1)] = 65536
    """Bytes of any other text, and of a value of bytes."""


class OtlpConfig(Options):
    """Options of the receiver `otlp`."""

    protocols: Protocols = Protocols.model_validate({"grpc": None, "http": None})
    """What to serve: `grpc`, `http` or both."""
    max_bytes_in_flight_mib: Annotated[int, Field(ge=2)] = 256
    """Bytes of requests, both protocols together, that may be received and not yet answered. Above it senders are asked
    to come again a second later. At least twice the largest request."""

    limits: ItemLimits = ItemLimits()
    """How much one item may carry."""

    @model_validator(mode="after")
    def _check_room(self) -> Self:
        largest = max(
            self.protocols.grpc.max_recv_msg_size_mib * _MIB if self.protocols.grpc else 0,
            self.protocols.http.max_request_body_size if self.protocols.http else 0,
        )
        if self.max_bytes_in_flight_mib * _MIB < 2 * largest:
            raise ValueError(
                f"max_bytes_in_flight_mib is less than twice the largest request: set it to at least "
                f"{-(-2 * largest // _MIB)}, or lower max_recv_msg_size_mib and max_request_body_size"
            )
        return self


class Otlp(Receiver):
    """Takes OTLP requests and hands each on as one batch."""

    type = "otlp"
    Config = OtlpConfig
    config: OtlpConfig

    def __init__(self, config: OtlpConfig, settings: Settings, consumers: Mapping[Signal, Consumer]) -> None:
        super().__init__(config, settings, consumers)
        self.admission = Admission(config.max_bytes_in_flight_mib * _MIB, lambda: self.refusal())
        self._requests = settings.telemetry.counter(
            "otelcol_receiver_requests",
            unit="{request}",
            description="Requests to receivers, by how they were answered.",
            labels=("receiver", "transport", "outcome", "reason"),
        )
        self._intakes = make_intakes(consumers, settings, Limits(**config.limits.model_dump()), self.admission)
        self.grpc: OtlpGrpcServer | None = None
        """The gRPC server, after `start`."""
        self.http: HttpServer | None = None
        """The HTTP server, after `start`."""

    async def start(self) -> None:
        """Listens. Raises BindError or ConfigError; nothing stays open then."""
        protocols = self.config.protocols
        if protocols.grpc is not None:
            self.grpc = self._grpc_server(protocols.grpc)
        if protocols.http is not None:
            self.http = self._http_server(protocols.http)
        try:
            for server in (self.grpc, self.http):
                if server is not None:
                    await server.start()
                    self.settings.log.info("OTLP is received at %s", server.endpoint)
        except BaseException:
            await self.shutdown()
            raise

    async def shutdown(self) -> None:
        """Stops accepting and answers what is under way."""
        servers = [server for server in (self.grpc, self.http) if server is not None]
        self.grpc = self.http = None
        await asyncio.gather(*(server.shutdown(_SHUTDOWN_GRACE_SECONDS) for server in servers))

    def _grpc_server(self, options: GrpcOptions) -> OtlpGrpcServer:
        credentials = options.tls.grpc_credentials(self._tls_path("grpc")) if options.tls else None
        return OtlpGrpcServer(
            self._intakes,
            options.address,
            options=options.channel_arguments(),
            credentials=credentials,
            count=self._count,
            log_error=self._log_error,
        )

    def _http_server(self, options: HttpOptions) -> HttpServer:
        cors = options.cors or CorsOptions()
        origins = OriginPolicy.for_endpoint(options.address, options.allowed_hosts, cors.allowed_origins)
        app = OtlpHttpApp(
            options.paths,
            self._intakes,
            max_body=options.max_request_body_size,
            encodings=options.compression_algorithms,
            response_headers=options.response_headers,
            cors=Cors(origins, cors.allowed_headers, cors.exposed_headers, cors.max_age) if options.cors else None,
            count=self._count,
            log_error=self._log_error,
        )
        return HttpServer(
            app,
            options.address,
            limits=options.limits(),
            origins=origins,
            tls=options.tls.ssl_context(self._tls_path("http")) if options.tls else None,
            answer=server_answer,
            count=lambda reason: self._count("http", "failure", reason),
            log=self.settings.log,
        )

    def _count(self, transport: str, outcome: str, reason: str) -> None:
        self._requests.add(1, self.settings.id, transport, outcome, reason)

    def _tls_path(self, protocol: str) -> str:
        return f"receivers::{self.settings.id}::protocols::{protocol}::tls"

    def _log_error(self, error: BaseException) -> None:
        self.settings.log.error("a request failed for a fault of the gateway: %s", type(error).__name__)
        self.settings.log.debug("a request failed for a fault of the gateway, in full", exc_info=error)
