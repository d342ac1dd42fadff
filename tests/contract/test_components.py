"""What every component of the gateway's own folders keeps to."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from otel_pipeline import component as kinds
from otel_pipeline.component import Component, Connector, Kind, Processor, Receiver, discover
from otel_pipeline.options import Options
from otel_pipeline.pdata import Batch, Signal
from otel_pipeline.testing import Sink, make_settings, make_traces

FOUND = [(kind, cls) for kind in Kind for cls in discover(kind).values()]
NAMES = [f"{kind.singular} {cls.type}" for kind, cls in FOUND]

REQUIRED: dict[str, dict[str, Any]] = {
    "exporter otlp_grpc": {"endpoint": "127.0.0.1:1", "tls": {"insecure": True}},
    "exporter otlp_http": {"endpoint": "http://127.0.0.1:1"},
    "exporter prometheus_remote_write": {"endpoint": "http://127.0.0.1:1/api/v1/write"},
    "exporter file": {"path": "telemetry.jsonl"},
    "processor attributes": {"actions": [{"key": "a", "action": "delete"}]},
    "processor resource": {"attributes": [{"key": "a", "action": "delete"}]},
    "processor memory_limiter": {"limit_mib": 1000},
    "receiver prometheus": {
        "config": {"scrape_configs": [{"job_name": "a", "static_configs": [{"targets": ["127.0.0.1:1"]}]}]}
    },
    "processor python": {"class": "tests.contract.passing:Passing"},
}
"""The least that users have to write where a component has no default that works."""

components = pytest.mark.parametrize(("kind", "cls"), FOUND, ids=NAMES)


def options_of(kind: Kind, cls: type[Component], folder: Path) -> Options:
    required = dict(REQUIRED.get(f"{kind.singular} {cls.type}", {}))
    if "path" in required:
        required["path"] = str(folder / required["path"])
    return cls.Config.model_validate(required)


def built(kind: Kind, cls: type[Component], folder: Path) -> Component:
    settings = make_settings(cls.type, data_dir=folder)
    config: Any = options_of(kind, cls, folder)
    if issubclass(cls, Receiver):
        return cls(config, settings, dict.fromkeys(cls.signals, Sink()))
    return cls(config, settings)


def fields_below(options: type[Options], seen: set[type] | None = None) -> Iterator[tuple[str, FieldInfo]]:
    """Every option, also those of groups inside."""
    seen = set() if seen is None else seen
    seen.add(options)
    for name, info in options.model_fields.items():
        yield f"{options.__name__}.{name}", info
        for inner in _classes(info.annotation):
            if issubclass(inner, Options) and inner not in seen:
                yield from fields_below(inner, seen)


def _classes(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _classes(argument)


def test_components_are_found() -> None:
    """The checks below have something to check."""
    assert ("extension", "health_check") in [(kind.singular, cls.type) for kind, cls in FOUND]


@components
def test_the_file_is_named_as_the_type_and_lies_in_the_folder_of_its_kind(kind: Kind, cls: type[Component]) -> None:
    """A type is found by its file, and says its kind by its base class."""
    assert cls.__module__ == f"otel_pipeline.{kind}.{cls.type}"
    assert issubclass(cls, getattr(kinds, kind.singular.capitalize()))
    assert issubclass(cls, Connector) == (kind is Kind.CONNECTOR)
    assert cls.type not in cls.aliases
    assert cls.signals <= frozenset(Signal)


@components
def test_every_option_is_documented(kind: Kind, cls: type[Component]) -> None:
    """The docstring below an option is what users read; so is that of the class."""
    assert cls.__doc__
    assert cls.__doc__ != Component.__doc__
    missing = [name for name, info in fields_below(cls.Config) if not info.description]
    assert missing == []


@components
def test_the_least_configuration_is_valid_and_unknown_keys_are_not(
    kind: Kind, cls: type[Component], tmp_path: Path
) -> None:
    """Defaults fit together; what must be written is listed above, and must be."""
    options_of(kind, cls, tmp_path)
    if f"{kind.singular} {cls.type}" in REQUIRED:
        with pytest.raises(ValidationError):
            cls.Config()
    with pytest.raises(ValidationError):
        cls.Config.model_validate({**REQUIRED.get(f"{kind.singular} {cls.type}", {}), "no_such_option": 1})


@components
async def test_shutdown_may_come_without_start_and_twice(kind: Kind, cls: type[Component], tmp_path: Path) -> None:
    """Whatever the state, shutdown returns soon and raises nothing."""
    component = built(kind, cls, tmp_path)
    async with asyncio.timeout(60):
        await component.shutdown()
        await component.shutdown()
    assert all(counts.missing() == 0 for counts in component.settings.counts.values())


@components
async def test_processors_leave_an_empty_batch_and_its_bytes_alone(
    kind: Kind, cls: type[Component], tmp_path: Path
) -> None:
    """A batch without items is no reason to fail; the batch that went in is as it was."""
    if not issubclass(cls, Processor) or Signal.TRACES not in cls.signals:
        return
    component = built(kind, cls, tmp_path)
    assert isinstance(component, Processor)
    batch = make_traces()
    before = batch.data
    result = component.process(batch)
    assert result is None or isinstance(result, Batch)
    assert batch.data == before
    await component.shutdown()
