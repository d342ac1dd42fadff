"""The printed reference: complete, true and loadable."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from otel_pipeline.component import Component, Kind, discover
from otel_pipeline.config.check import Classes
from otel_pipeline.config.load import load_tree
from otel_pipeline.config.model import ServiceOptions
from otel_pipeline.config.reference import overview, reference, references
from otel_pipeline.config.shape import Shape, shape_of
from otel_pipeline.errors import ConfigError

COMPONENTS = [(kind, component) for kind in Kind for component in discover(kind).values()]
each_component = pytest.mark.parametrize(
    ("kind", "component"), COMPONENTS, ids=[f"{kind}/{component.type}" for kind, component in COMPONENTS]
)


def undocumented(shape: Shape, path: str = "", depth: int = 8) -> Iterator[str]:
    """The options without documentation."""
    for name, option in shape.option_shapes().items():
        here = f"{path}::{name}"
        if not option.description:
            yield here
        for below in (option, option.value, option.entry):
            if depth:
                yield from undocumented(below, here, depth - 1)


@each_component
def test_every_option_is_documented(kind: Kind, component: type[Component]) -> None:
    """The component and each of its options, at every depth, say what they are for."""
    assert component.__doc__
    assert list(undocumented(shape_of(component.Config))) == []


def test_every_service_option_is_documented() -> None:
    """So does the service section."""
    assert list(undocumented(shape_of(ServiceOptions))) == []


def outcome(component: type[Component], values: Any) -> BaseModel | set[str]:
    """The options of these values, or what is wrong with them."""
    try:
        return component.Config.model_validate(values, context={"directory": Path()})
    except ValidationError as error:
        return {f"{detail['loc']}: {detail['type']}" for detail in error.errors()}


def check_loads_back(kind: Kind, component: type[Component], file: Path) -> None:
    file.write_text(reference(kind, component), encoding="utf-8")
    tree, problems = load_tree([file])
    assert (problems, list(tree.children())) == ([], [component.type])
    printed = shape_of(component.Config).fit(tree.children()[component.type])
    assert outcome(component, printed) == outcome(component, {})


@each_component
def test_the_reference_loads_back_to_the_defaults(kind: Kind, component: type[Component], tmp_path: Path) -> None:
    """What is printed is a configuration that changes nothing."""
    check_loads_back(kind, component, tmp_path / "printed.yaml")


def test_every_sort_of_option_loads_back(components: Classes, tmp_path: Path) -> None:
    """The same for components with groups, lists, durations, secrets and options that must be given."""
    for kind, known in components.items():
        for component in known.values():
            check_loads_back(kind, component, tmp_path / "printed.yaml")


def test_what_is_off_can_be_turned_on(components: Classes) -> None:
    """Taking the comment marks from options gives options that exist, in YAML that holds together."""
    text = references("receivers/otlp", components)
    while (live := re.sub(r"^( *)#(?! \S|$)", r"\1", text, flags=re.MULTILINE)) != text:
        text = live
    assert "    http:\n      # the same options as protocols::grpc\n" in text
    written: dict[str, Any] = yaml.safe_load(text)["otlp"]
    grpc = {"endpoint": "127.0.0.1:4317", "tls": {"cert_file": None, "min_version": "1.2"}, "max_connections": 100}
    assert written == {"protocols": {"grpc": grpc, "http": None}}


def test_the_reference_reads_as_expected(components: Classes) -> None:
    """The full text for a component with every sort of option."""
    expected = Path(__file__).parents[1] / "golden" / "reference" / "backend.yaml"
    assert references("backend", components) == expected.read_text(encoding="utf-8")


def test_a_type_may_be_named_with_or_without_its_kind(components: Classes) -> None:
    """`batch`, `processors/batch`, `processor/batch` and older names find the component; anything else is told."""
    assert references("processors/batch", components) == references("processor/batch", components)
    assert references("batch", components) == references("processors/batch", components)
    assert references("back_end", components) == references("exporters/backend", components)
    for name, hint in [("btach", "did you mean 'batch'?"), ("exporters/batch", "did you mean 'processors/batch'?")]:
        with pytest.raises(ConfigError) as caught:
            references(name, components)
        assert str(caught.value) == f"there is no component '{name}' ({hint})"


def test_the_overview_names_every_component(components: Classes) -> None:
    """One line for each, with the first sentence of what it is."""
    lines = overview(components).splitlines()
    assert "  otlp                   Receives everything." in lines
    assert sum(line.startswith("  ") for line in lines) == sum(len(known) for known in components.values())
