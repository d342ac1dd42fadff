"""Small components with every sort of option, so that these tests say what the configuration does and nothing else."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import pytest
from pydantic import Field, model_validator

from otel_pipeline.component import Component, Connector, Exporter, Extension, Kind, Options, Processor, Receiver
from otel_pipeline.config import read
from otel_pipeline.config.check import Checked, Classes
from otel_pipeline.options import Duration, Percentage, Secret
from otel_pipeline.pdata import Signal


class TlsOptions(Options):
    """Transport security."""

    cert_file: Path
    """The certificate, as PEM."""
    min_version: Literal["1.2", "1.3"] = "1.2"
    """The oldest version to accept."""


class ServerOptions(Options):
    """One protocol."""

    endpoint: str = "127.0.0.1:4317"
    """Where to listen."""
    tls: TlsOptions | None = None
    """Plain text where it is left out."""
    max_connections: int = Field(default=100, ge=1)
    """How many at once."""


class ProtocolsOptions(Options):
    """The protocols to serve."""

    grpc: ServerOptions | None = None
    """OTLP over gRPC."""
    http: ServerOptions | None = None
    """OTLP over HTTP."""


class OtlpOptions(Options):
    protocols: ProtocolsOptions = ProtocolsOptions()
    """Which protocols are served; one that is left out is off."""


class Otlp(Receiver):
    """Receives everything. Over every protocol."""

    type = "otlp"
    Config = OtlpOptions


class SpansOnly(Receiver):
    """Receives spans."""

    type = "spans_only"
    signals = frozenset({Signal.TRACES})


class BatchOptions(Options):
    timeout: Duration = 0.2
    """How long to wait for more."""
    send_batch_size: int = 8192
    """How many items start a batch."""
    send_batch_max_size: int = 0
    """The most that one batch may hold; 0 = no limit."""
    metadata_keys: tuple[str, ...] = ()
    """One batcher for each combination of these."""

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.send_batch_max_size and self.send_batch_max_size < self.send_batch_size:
            raise ValueError(
                f"send_batch_max_size ({self.send_batch_max_size}) must be 0 or at least "
                f"send_batch_size ({self.send_batch_size})"
            )
        return self


class Batch(Processor):
    """Joins batches."""

    type = "batch"
    Config = BatchOptions


class ProbabilisticSampler(Processor):
    """Keeps a share of the traces."""

    type = "probabilistic_sampler"
    signals = frozenset({Signal.TRACES})

    class Config(Options):
        """Options of the sampler."""

        sampling_percentage: Percentage
        """How much is kept."""


class Python(Processor):
    """Runs a class from a file."""

    type = "python"

    class Config(Options):
        """Options of Python processors."""

        path: Path
        """The file."""
        directory: Path | None = None
        """Filled with the folder of the configuration file, to show that it is known."""

        @model_validator(mode="before")
        @classmethod
        def _note_directory(cls, value: Any, info: Any) -> Any:
            return {**value, "directory": str(info.context["directory"])} if isinstance(value, dict) else value


class StageMetrics(Connector):
    """Spans to metrics."""

    type = "stage_metrics"
    signals = frozenset({Signal.TRACES})
    produces = frozenset({Signal.METRICS})


class Forward(Connector):
    """Joins pipelines of one signal."""

    type = "forward"


class ActionOptions(Options):
    """One action."""

    key: str
    """The attribute."""
    action: Literal["insert", "update", "delete"] = "insert"
    """What to do with it."""


class BackendOptions(Options):
    endpoint: str
    """Where to send."""
    api_key: Secret | None = None
    """Proves who is asking."""
    headers: Mapping[str, Secret] = Field(default_factory=dict)
    """Sent with every request."""
    labels: Mapping[str, str] = Field(default_factory=dict)
    """Put on everything."""
    actions: tuple[ActionOptions, ...] = ()
    """Done in this order."""
    ratio: float = Field(default=1.0, gt=0, le=1)
    """The share to send."""
    compress: bool = True
    """Whether to compress."""
    queue: int | Literal["unlimited"] = 1000
    """How much may wait."""
    first: ActionOptions | str | None = None
    """Done before the others."""

    @model_validator(mode="after")
    def _key_is_long(self) -> Self:
        if self.api_key is not None and 0 < len(self.api_key.get_secret_value()) < 8:
            raise ValueError(f"api_key {self.api_key.get_secret_value()!r} is too short")
        return self


class Backend(Exporter):
    """Sends to a backend."""

    type = "backend"
    aliases = ("back_end",)
    Config = BackendOptions


class Debug(Exporter):
    """Prints."""

    type = "debug"


class HealthCheck(Extension):
    """Answers how the gateway is."""

    type = "health_check"


COMPONENTS: Mapping[Kind, tuple[type[Component], ...]] = {
    Kind.RECEIVER: (Otlp, SpansOnly),
    Kind.PROCESSOR: (Batch, ProbabilisticSampler, Python),
    Kind.CONNECTOR: (StageMetrics, Forward),
    Kind.EXPORTER: (Backend, Debug),
    Kind.EXTENSION: (HealthCheck,),
}

ReadText = Callable[..., Checked]


@pytest.fixture(scope="session")
def components() -> Classes:
    return {kind: {component.type: component for component in known} for kind, known in COMPONENTS.items()}


@pytest.fixture
def read_text(tmp_path: Path, components: Classes) -> ReadText:
    """Reads configurations given as texts, in order; `sets` and variables as keywords."""

    def call(*texts: str, sets: tuple[str, ...] = (), **environment: str) -> Checked:
        files = [tmp_path / f"{number}.yaml" for number, _ in enumerate(texts, 1)]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text, encoding="utf-8")
        return read(files, sets, environment=environment, components=components)

    return call


class Pipeline:
    """A configuration that is right, to be laid under what a test is about."""

    text: ClassVar[str] = """
receivers: {otlp: }
exporters: {debug: }
service: {pipelines: {traces: {receivers: [otlp], exporters: [debug]}}}
"""


@pytest.fixture
def valid() -> str:
    return Pipeline.text
