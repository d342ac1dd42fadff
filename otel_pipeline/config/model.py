"""A checked configuration: which components exist with which options, and how pipelines join them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from otel_pipeline.component import Component, Kind
from otel_pipeline.options import Duration, Options
from otel_pipeline.pdata import Signal

__all__ = ["ComponentConfig", "Config", "LogsOptions", "PipelineConfig", "ServiceOptions", "TelemetryOptions"]


@dataclass(frozen=True, slots=True)
class ComponentConfig:
    """One component of the configuration."""

    id: str
    """`type` or `type/name`."""
    component: type[Component]
    options: Options
    """An instance of `component.Config`."""


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """One pipeline: ids in order. A connector's id stands among the exporters of one and the receivers of another."""

    id: str
    """`signal` or `signal/name`."""
    signal: Signal
    receivers: tuple[str, ...]
    processors: tuple[str, ...]
    exporters: tuple[str, ...]


class LogsOptions(Options):
    """The gateway's own log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Records below this level are left out."""
    encoding: Literal["json", "console"] = "console"
    """`json` gives one object a line."""


class TelemetryOptions(Options):
    """What the gateway tells of itself."""

    logs: LogsOptions = LogsOptions()
    """The gateway's own log, written to standard error."""


class ServiceOptions(Options):
    """The `service` section, without its pipelines."""

    telemetry: TelemetryOptions = TelemetryOptions()
    """What the gateway tells of itself."""
    shutdown_timeout: Duration = 30.0
    """How long SIGTERM waits for queues to drain. The rest is counted as dropped, or stays in a durable queue."""


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration, every reference checked. Components that no pipeline uses are left out."""

    components: Mapping[Kind, Mapping[str, ComponentConfig]]
    pipelines: Mapping[str, PipelineConfig]
    service: ServiceOptions
    data_dir: Path
