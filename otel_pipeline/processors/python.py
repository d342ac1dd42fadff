"""Runs a processor that the user wrote in Python: a class in a file, or in an installed module."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, ValidationInfo, model_validator

from otel_pipeline.component import Health, Options, Processor, Settings
from otel_pipeline.errors import ConsumeError, OtelPipelineError, PermanentError
from otel_pipeline.options import Duration
from otel_pipeline.pdata import Batch

__all__ = ["Python", "PythonConfig"]


class PythonConfig(Options):
    """Where the processor's class is, its own options, and what happens when it fails."""

    path: str = ""
    """A Python file with one subclass of `otel_pipeline.component.Processor`; relative to the configuration file."""
    class_name: str = Field(default="", alias="class")
    """`module:Class` of an installed module; with `path`, the name of the class where the file has several."""
    config: dict[str, Any] = {}
    """The options of the class, checked against its `Config`."""
    error_mode: Literal["propagate", "ignore"] = "propagate"
    """What becomes of a batch for which the class raises an exception: `propagate` refuses it for good, `ignore` passes
    it on unchanged."""
    time_budget: Duration = 0.05
    """How long one batch may take; batches over it are counted and the component is reported as slow."""

    @model_validator(mode="after")
    def _loadable(self, info: ValidationInfo) -> Self:
        directory = (info.context or {}).get("directory", Path())
        object.__setattr__(self, "path", str(directory / self.path) if self.path else "")
        try:
            _options(_load(self), self.config)
        except ValidationError as error:
            places = [f"config::{'::'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
            raise ValueError("; ".join(places)) from None
        return self


def _load(config: PythonConfig) -> type[Processor]:
    """The user's class. ValueError with a plain sentence where it cannot be had."""
    if config.path:
        module = _module_of_file(Path(config.path))
        wanted = config.class_name
    elif ":" in config.class_name:
        module_name, _, wanted = config.class_name.partition(":")
        module = _imported(module_name, lambda: importlib.import_module(module_name))
    else:
        raise ValueError("set path to a Python file, or class to module:Class")
    classes = [
        value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, Processor)
        and value.__module__ == module.__name__
        and wanted in ("", name)
    ]
    if len(classes) != 1:
        found = ", ".join(sorted(cls.__name__ for cls in classes)) or "none"
        raise ValueError(f"expected one Processor subclass {wanted or ''} in {module.__name__}, found {found}")
    return classes[0]


def _module_of_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    name = f"otel_pipeline_user_{path.stem}_{abs(hash(path.resolve())):x}"

    def load() -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    return _imported(str(path), load)


def _imported(what: str, load: Any) -> ModuleType:
    try:
        module: ModuleType = load()
    except Exception as error:
        raise ValueError(f"{what} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _options(cls: type[Processor], options: dict[str, Any]) -> Options:
    return cls.Config.model_validate(options)


class Python(Processor):
    """Calls the user's processor, and keeps its failures to itself.

    Exceptions are counted (otelcol_processor_python_errors) and treated by `error_mode`; time over the budget is
    counted (otelcol_processor_python_over_budget). ConsumeErrors that the class raises on purpose go through.
    """

    type = "python"
    Config = PythonConfig

    def __init__(self, config: PythonConfig, settings: Settings) -> None:
        super().__init__(config, settings)
        cls = _load(config)
        self._inner = cls(_options(cls, config.config), settings)
        self.signals = cls.signals  # type: ignore[misc]
        self.drop_reason = cls.drop_reason  # type: ignore[misc]
        self.flush_interval = self._inner.flush_interval
        count = settings.telemetry.counter
        self._errors = count("otelcol_processor_python_errors", labels=("processor", "error"))
        self._over_budget = count("otelcol_processor_python_over_budget", labels=("processor",))

    async def start(self) -> None:
        """Starts the user's processor."""
        await self._inner.start()

    async def shutdown(self) -> None:
        """Shuts the user's processor down."""
        await self._inner.shutdown()

    def process(self, batch: Batch) -> Batch | None:
        """What the user's processor makes of the batch."""
        begin = self.settings.clock.monotonic()
        try:
            result = self._inner.process(batch)
            if result is not None and not isinstance(result, Batch):
                raise OtelPipelineError(f"process returned {type(result).__name__}, not a Batch or None")
        except ConsumeError:
            raise
        except Exception as error:
            return self._failed(batch, error)
        self._watch(self.settings.clock.monotonic() - begin)
        return result

    def flush(self, now_unix_ns: int) -> Batch | None:
        """What the user's processor held."""
        self._inner.draining = self.draining
        try:
            return self._inner.flush(now_unix_ns)
        except Exception as error:
            self._failed(None, error)
            return None

    def _failed(self, batch: Batch | None, error: Exception) -> Batch | None:
        self._errors.add(1, self.settings.id, type(error).__name__)
        reason = f"{type(self._inner).__name__} raised {type(error).__name__}"
        self.settings.report(Health.RECOVERABLE_ERROR, reason)
        self.settings.log.warning("%s: %s", reason, error, exc_info=self.settings.log.isEnabledFor(10))
        if self.config.error_mode == "propagate" and batch is not None:
            raise PermanentError(f"processor {self.settings.id} failed: {reason}") from error
        return batch

    def _watch(self, seconds: float) -> None:
        if seconds > self.config.time_budget:
            self._over_budget.add(1, self.settings.id)
            budget = self.config.time_budget
            self.settings.report(
                Health.RECOVERABLE_ERROR, f"a batch took {seconds:.3f} s, over the budget of {budget} s"
            )
