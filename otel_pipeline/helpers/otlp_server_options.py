"""Options of servers that speak OTLP, under the Collector's keys."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from otel_pipeline.helpers.endpoint import Endpoint, check_exposure, parse_endpoint
from otel_pipeline.helpers.http_server import HttpLimits
from otel_pipeline.helpers.tls import ServerTls
from otel_pipeline.options import Duration, Options
from otel_pipeline.pdata import Signal

__all__ = ["CorsOptions", "GrpcOptions", "HttpOptions", "Protocols"]

_MIB = 1 << 20


def _address(text: str) -> str:
    parse_endpoint(text)
    return text


def _path(text: str) -> str:
    if not re.fullmatch(r"/[!-~]*", text) or "?" in text:
        raise ValueError(f"not a path: {text!r} (write it like /v1/traces)")
    return text


_Address = Annotated[str, AfterValidator(_address)]
_Path = Annotated[str, AfterValidator(_path)]


class ServerParameters(Options):
    """Life time of gRPC connections."""

    max_connection_idle: Duration = 300.0
    """Closes a connection without calls after this time. 0 = never."""
    max_connection_age: Duration = 0.0
    """Closes a connection after this time, so that senders behind a load balancer spread anew. 0 = never."""
    max_connection_age_grace: Duration = 30.0
    """How long calls under way may go on after `max_connection_age`."""
    time: Duration = 7200.0
    """Asks a silent client for a sign of life after this time."""
    timeout: Duration = 20.0
    """Closes the connection when that sign does not come."""


class EnforcementPolicy(Options):
    """What clients may ask for in gRPC's keepalive; one that asks more often is disconnected."""

    min_time: Duration = 10.0
    """The shortest time between two pings of a client."""
    permit_without_stream: bool = True
    """Whether a client may ping when it has no call under way."""


class Keepalive(Options):
    """Life time and signs of life of gRPC connections."""

    server_parameters: ServerParameters = ServerParameters()
    """What the server does."""
    enforcement_policy: EnforcementPolicy = EnforcementPolicy()
    """What clients may do."""


class Listener(Options):
    """What both protocols have."""

    endpoint: _Address
    """Where to listen: `host:port`, or `unix:/path`."""
    tls: ServerTls | None = None
    """Serve TLS. Without it, in the clear."""
    insecure_ok: bool = False
    """Allow an address that other machines can reach although nothing checks who sends."""
    max_connections: Annotated[int, Field(ge=1)] = 1024
    """Connections above this number are closed at once."""

    @property
    def address(self) -> Endpoint:
        """The endpoint, read."""
        return parse_endpoint(self.endpoint)

    @model_validator(mode="after")
    def _check_exposure(self) -> Self:
        authenticates = self.tls is not None and self.tls.client_ca_file is not None
        check_exposure(self.address, authenticates=authenticates, insecure_ok=self.insecure_ok)
        return self


class GrpcOptions(Listener):
    """OTLP over gRPC. gzip and deflate are understood always."""

    endpoint: _Address = "127.0.0.1:4317"
    """Where to listen: `host:port`, or `unix:/path`."""
    max_recv_msg_size_mib: Annotated[int, Field(ge=1, le=1024)] = 64
    """The largest request, before and after decompression. 64 is what the OTLP specification recommends; a request
    needs about its own size in memory, because it is never unfolded into objects."""
    max_concurrent_streams: Annotated[int, Field(ge=1)] = 1000
    """Calls that one connection may have under way. More are answered UNAVAILABLE, or wait at the client."""
    keepalive: Keepalive = Keepalive()
    """Life time and signs of life of connections."""

    @field_validator("tls")
    @classmethod
    def _check_version(cls, tls: ServerTls | None) -> ServerTls | None:
        if tls is not None and tls.min_version != "1.2":
            raise ValueError("a gRPC server cannot be limited to TLS 1.3: leave min_version at 1.2 (1.3 is preferred)")
        return tls

    def channel_arguments(self) -> dict[str, int]:
        """What gRPC's C core is told."""
        server, clients = self.keepalive.server_parameters, self.keepalive.enforcement_policy
        return {
            "grpc.max_receive_message_length": self.max_recv_msg_size_mib * _MIB,
            "grpc.max_send_message_length": 4 * _MIB,
            "grpc.http2.bdp_probe": 0,  # pings that size a window which requests of senders never fill
            "grpc.max_concurrent_streams": self.max_concurrent_streams,
            "grpc.max_allowed_incoming_connections": self.max_connections,
            "grpc.max_metadata_size": 16 * 1024,
            "grpc.absolute_max_metadata_size": 32 * 1024,
            "grpc.server_handshake_timeout_ms": 10_000,
            "grpc.max_connection_idle_ms": _milliseconds(server.max_connection_idle),
            "grpc.max_connection_age_ms": _milliseconds(server.max_connection_age),
            "grpc.max_connection_age_grace_ms": _milliseconds(server.max_connection_age_grace),
            "grpc.keepalive_time_ms": _milliseconds(server.time),
            "grpc.keepalive_timeout_ms": _milliseconds(server.timeout),
            "grpc.http2.min_ping_interval_without_data_ms": _milliseconds(clients.min_time),
            "grpc.keepalive_permit_without_calls": int(clients.permit_without_stream),
        }


class CorsOptions(Options):
    """Which web pages may send."""

    allowed_origins: tuple[str, ...] = ()
    """Origins of pages, such as `https://app.example.com`; `*` stands for any text, as in `https://*.example.com`."""
    allowed_headers: tuple[str, ...] = ()
    """Request headers that pages may set beside Content-Type and Content-Encoding; `*` = all."""
    exposed_headers: tuple[str, ...] = ()
    """Response headers that pages may read."""
    max_age: Annotated[int, Field(ge=0)] = 0
    """Seconds for which a browser may remember these rules. 0 = its own default."""


class HttpOptions(Listener):
    """OTLP over HTTP/1.1, protobuf and JSON on the same port."""

    endpoint: _Address = "127.0.0.1:4318"
    """Where to listen: `host:port`, or `unix:/path`."""
    traces_url_path: _Path = "/v1/traces"
    """Where traces are sent to."""
    metrics_url_path: _Path = "/v1/metrics"
    """Where metrics are sent to."""
    logs_url_path: _Path = "/v1/logs"
    """Where logs are sent to."""
    max_request_body_size: Annotated[int, Field(ge=1024, le=1 << 30)] = 64 * _MIB
    """Bytes of the largest body, before and after decompression. 64 MiB is what the OTLP specification recommends."""
    compression_algorithms: tuple[Literal["", "gzip", "zstd", "zlib", "deflate"], ...] = (
        "",
        "gzip",
        "zstd",
        "zlib",
        "deflate",
    )
    """Content encodings to accept; the empty one, an uncompressed body, always is."""
    cors: CorsOptions | None = None
    """Lets web pages of other origins send. Without it, none can."""
    response_headers: dict[str, str] = Field(default={})
    """Headers to put on every answer."""
    read_timeout: Duration = 0.0
    """From the end of a request's header to the end of its body. 0 = no limit but a lowest rate: 1 KiB a second on
    average, after ten seconds."""
    read_header_timeout: Duration = 10.0
    """From the first byte of a request to the end of its header. 0 = no limit."""
    write_timeout: Duration = 30.0
    """How long a client may leave an answer unread. 0 = no limit."""
    idle_timeout: Duration = 60.0
    """Closes a connection after this time without a request. 0 = never."""
    keep_alives_enabled: bool = True
    """Whether a connection may carry more than one request."""
    allowed_hosts: tuple[str, ...] = ()
    """Host names (without port) under which requests are served; `*` stands for any text. Default: the local names
    where only this machine can connect, else all. This keeps foreign web pages out (DNS rebinding)."""

    @field_validator("response_headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or not re.fullmatch(r"[\t -~]*", value):
                raise ValueError(f"not a header: {name!r}: {value!r}")
            if name.lower() in ("content-type", "content-length", "connection", "transfer-encoding", "date"):
                raise ValueError(f"{name} is set by the server")
        return headers

    @model_validator(mode="after")
    def _check_paths(self) -> Self:
        if len(self.paths) < len(Signal):
            raise ValueError("traces_url_path, metrics_url_path and logs_url_path must differ")
        return self

    @property
    def paths(self) -> dict[str, Signal]:
        """The signal of each path."""
        return {
            self.traces_url_path: Signal.TRACES,
            self.metrics_url_path: Signal.METRICS,
            self.logs_url_path: Signal.LOGS,
        }

    def limits(self) -> HttpLimits:
        """The limits of the HTTP server."""
        return HttpLimits(
            read_header_timeout=self.read_header_timeout,
            read_timeout=self.read_timeout,
            write_timeout=self.write_timeout,
            idle_timeout=self.idle_timeout,
            keep_alive=self.keep_alives_enabled,
            max_connections=self.max_connections,
        )


class Protocols(Options):
    """What to serve. A protocol that is left out is not served; one without a value has its defaults."""

    grpc: GrpcOptions | None = None
    """OTLP over gRPC."""
    http: HttpOptions | None = None
    """OTLP over HTTP."""

    @model_validator(mode="before")
    @classmethod
    def _default(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        if not given:
            raise ValueError("name at least one protocol: grpc, http")
        return {protocol: {} if options is None else options for protocol, options in given.items()}


def _milliseconds(seconds: float) -> int:
    """0 stands for never."""
    return round(seconds * 1000) if seconds else 2**31 - 1
