"""Where a configured gateway listens, as seen by a client."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from otel_pipeline.component import Kind
from otel_pipeline.config.model import Config
from otel_pipeline.helpers.endpoint import parse_endpoint
from otel_pipeline.pdata import Signal

__all__ = ["Addresses", "Listener", "find_addresses"]

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


@dataclass(frozen=True, slots=True)
class Listener:
    """One OTLP server."""

    option: str
    """Where it is configured: `receivers::otlp::protocols::grpc::endpoint`."""
    protocol: str
    """`grpc` or `http`."""
    address: str
    """`host:port`, or `unix:/path`."""
    signals: frozenset[Signal]
    """Those that a pipeline takes from it."""
    paths: dict[Signal, str] = field(default_factory=dict)
    """Only of HTTP."""
    certificate: Path | None = None
    """What it proves itself with in TLS; None where it speaks in the clear."""
    unusual: str = ""
    """Why the doctor cannot send to it; empty where it can."""

    @property
    def socket_path(self) -> str:
        """The path of its Unix socket; empty for a port."""
        return self.address.removeprefix("unix:") if self.address.startswith("unix:") else ""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Everything that a running gateway can be asked at; empty where the configuration has it not."""

    listeners: list[Listener]
    metrics: str = ""
    """`http://127.0.0.1:9464/metrics`."""
    health: str = ""
    """`http://127.0.0.1:13133`."""
    web: str = ""
    """`http://127.0.0.1:8088`."""


def find_addresses(config: Config, host: str = "") -> Addresses:
    """By the options of the components; `host` takes the place of their hosts."""
    metrics = _first(config, Kind.EXPORTER, "prometheus")
    health = _first(config, Kind.EXTENSION, "health_check")
    web = _first(config, Kind.EXTENSION, "web")
    return Addresses(
        listeners=list(_listeners(config, host)),
        metrics=f"http://{_address(metrics.endpoint, host)}/metrics" if metrics else "",
        health=f"http://{_address(health.endpoint, host)}" if health else "",
        web=f"http://{_address(web.endpoint, host)}" if web else "",
    )


def _first(config: Config, kind: Kind, type_name: str) -> Any:
    """The options of the first component of a type; None where there is none."""
    components = config.components.get(kind, {}).values()
    return next((one.options for one in components if one.component.type == type_name), None)


def _listeners(config: Config, host: str) -> Iterator[Listener]:
    for id_, component in config.components.get(Kind.RECEIVER, {}).items():
        if component.component.type != "otlp":
            continue
        signals = frozenset(one.signal for one in config.pipelines.values() if id_ in one.receivers)
        protocols: Any = component.options.protocols  # type: ignore[attr-defined]
        for name in ("grpc", "http"):
            options = getattr(protocols, name)
            if options is not None:
                paths = {signal: path for path, signal in options.paths.items()} if name == "http" else {}
                certificate = options.tls.cert_file if options.tls is not None else None
                mutual = options.tls is not None and options.tls.client_ca_file is not None
                unusual = "it asks for a certificate of the client" if mutual else ""
                option = f"receivers::{id_}::protocols::{name}::endpoint"
                yield Listener(option, name, _address(options.endpoint, host), signals, paths, certificate, unusual)


def _address(endpoint: str, host: str) -> str:
    parsed = parse_endpoint(endpoint)
    if parsed.path:
        return f"unix:{parsed.path}"
    name = host or _EVERYWHERE.get(parsed.host, parsed.host)
    return f"[{name}]:{parsed.port}" if ":" in name else f"{name}:{parsed.port}"
