"""A tree to a checked configuration: component types, options, pipelines and every reference between them."""

import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path as FilePath
from typing import TypeVar

from pydantic import ValidationError

from otel_pipeline.component import Component, Kind, Options, discover
from otel_pipeline.config.explain import did_you_mean, explain
from otel_pipeline.config.model import ComponentConfig, Config, PipelineConfig, ServiceOptions
from otel_pipeline.config.pipelines import Declared, check_pipelines, check_references, used
from otel_pipeline.config.shape import shape_of
from otel_pipeline.config.tree import UNKNOWN, Node, Path, leaves, problem
from otel_pipeline.errors import ConfigError, Problem

__all__ = ["Checked", "Classes", "check_tree", "classes", "data_dir", "resolve_type"]

Classes = Mapping[Kind, Mapping[str, type[Component]]]
"""The component classes by kind and type."""

_log = logging.getLogger(__name__)
_TYPE = re.compile(r"[a-z][a-z0-9_]*")
_NAME = re.compile(r"[\w./-]+")

_OptionsT = TypeVar("_OptionsT", bound=Options)


@dataclass(frozen=True, slots=True)
class Checked:
    """Everything that the files configure, also what no pipeline uses."""

    components: Mapping[Kind, Mapping[str, ComponentConfig]]
    pipelines: Mapping[str, PipelineConfig]
    extensions: tuple[str, ...]
    service: ServiceOptions
    data_dir: FilePath

    def config(self) -> Config:
        """The configuration to run: without the components that nothing uses, of which it warns."""
        kept = used(self.pipelines, self.extensions)
        for kind, components in self.components.items():
            for unused in [id for id in components if id not in kept[kind]]:
                _log.warning("%s::%s is configured, but nothing in 'service' uses it", kind, unused)
        kept_components = {
            kind: {id: checked for id, checked in self.components[kind].items() if id in kept[kind]} for kind in Kind
        }
        return Config(kept_components, self.pipelines, self.service, self.data_dir)


@cache
def classes() -> Classes:
    """The gateway's own components."""
    return {kind: discover(kind) for kind in Kind}


def check_tree(
    tree: Node,
    problems: Iterable[Problem] = (),
    *,
    components: Classes | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Checked:
    """Checks the whole tree; `problems` are those found before. Raises ConfigError with all problems of all kinds."""
    return _Check(components or classes(), list(problems)).run(tree, environment)


def data_dir(environment: Mapping[str, str]) -> FilePath:
    """Where components keep files: `$OTEL_PIPELINE_DATA_DIR`, else `otel-pipeline` in the user's XDG data folder."""
    if own := environment.get("OTEL_PIPELINE_DATA_DIR"):
        return FilePath(own).absolute()
    shared = FilePath(environment.get("XDG_DATA_HOME", ""))
    # The XDG specification has relative paths ignored.
    return (shared if shared.is_absolute() else FilePath.home() / ".local" / "share") / "otel-pipeline"


def resolve_type(type_name: str, known: Mapping[str, type[Component]]) -> type[Component] | None:
    """The class of a type, also by one of its older names."""
    if type_name in known:
        return known[type_name]
    return next((component for component in known.values() if type_name in component.aliases), None)


class _Check:
    """One run over one tree; collects problems instead of stopping at the first."""

    def __init__(self, classes: Classes, problems: list[Problem]) -> None:
        self.classes = classes
        self.problems = problems
        self.declared: Declared = {kind: {} for kind in Kind}

    def run(self, tree: Node, environment: Mapping[str, str]) -> Checked:
        sections = self.sections(tree)
        components = {kind: self.components(kind, sections.get(kind)) for kind in Kind}
        self.check_connector_ids(sections.get(Kind.CONNECTOR))
        service = sections.get("service", Node({}, tree.place))
        parts = dict(service.children())
        unknown = service if service.value is UNKNOWN else None
        pipelines, extensions = parts.pop("pipelines", unknown), parts.pop("extensions", None)
        options = self.options(ServiceOptions, Node(parts, service.place), ("service",), ("extensions", "pipelines"))
        checked_pipelines = check_pipelines(pipelines, service.place, self.declared, self.options, self.problems)
        extension_ids = self.extensions(extensions)
        if self.problems or options is None:
            raise ConfigError(_in_order(self.problems, tree))
        return Checked(components, checked_pipelines, extension_ids, options, data_dir(environment))

    def sections(self, tree: Node) -> dict[str, Node]:
        found = {}
        for name, node in tree.children().items():
            if name not in (*Kind, "service"):
                self.add(node, (name,), "unknown section", did_you_mean(name, [*Kind, "service"], "sections"))
            elif isinstance(node.value, dict) or node.value is UNKNOWN:
                found[name] = node
            elif node.value is not None:
                self.add(node, (name,), "must be a mapping (key: value)")
        return found

    def components(self, kind: Kind, section: Node | None) -> dict[str, ComponentConfig]:
        checked = {}
        for id, node in (section.children() if section else {}).items():
            component = self.component_class(kind, id, node)
            self.declared[kind][id] = component
            if component is None:
                continue
            options = self.options(component.Config, node, (kind, id))
            if options is not None:
                checked[id] = ComponentConfig(id, component, options)
        return checked

    def check_connector_ids(self, section: Node | None) -> None:
        """Pipelines name receivers, exporters and connectors alike, so their ids must differ."""
        for id, node in (section.children() if section else {}).items():
            for kind in (Kind.RECEIVER, Kind.EXPORTER):
                if id in self.declared[kind]:
                    message = f"there is also {'an' if kind is Kind.EXPORTER else 'a'} {kind.singular} of this id"
                    self.add(node, (Kind.CONNECTOR, id), message, f"give one a name: {id[:100]}/name")

    def component_class(self, kind: Kind, id: str, node: Node) -> type[Component] | None:
        type_name, slash, name = id.partition("/")
        if not _TYPE.fullmatch(type_name) or (slash and not _NAME.fullmatch(name)):
            self.add(node, (kind, id), "not a component id", "write it like 'batch' or 'batch/large'")
            return None
        found = resolve_type(type_name, self.classes[kind])
        if found is None:
            self.add(node, (kind, id), f"unknown type '{type_name[:100]}'", self.type_hint(kind, type_name))
        elif type_name != found.type:
            _log.warning("%s::%s: type '%s' is now called '%s'", kind, id, type_name, found.type)
        return found

    def type_hint(self, kind: Kind, type_name: str) -> str:
        others = [other for other in Kind if resolve_type(type_name, self.classes[other])]
        if others:
            return f"it belongs under '{others[0]}'"
        aliases = [alias for known in self.classes[kind].values() for alias in known.aliases]
        return did_you_mean(type_name, [*self.classes[kind], *aliases], "types here")

    def options(self, wanted: type[_OptionsT], node: Node, path: Path, also: tuple[str, ...] = ()) -> _OptionsT | None:
        """The options of a group; None after telling what is wrong. `also` are other names that may stand there."""
        shape = shape_of(wanted)
        # A relative file name means: beside the file that names it.
        directory = FilePath(node.children().get("path", node).place.file).parent
        found = len(self.problems)
        try:
            options = wanted.model_validate(shape.fit(node), context={"directory": directory})
        except ValidationError as error:
            self.problems += explain(error, node, path, shape, also)
            return None
        for below, leaf in leaves(node):
            if leaf.value == "" and shape.at(below).is_secret:
                hint = "give the secret, or remove the option"
                self.add(leaf, path + below, "is empty" + (f": {leaf.written}" if leaf.written else ""), hint)
        return options if len(self.problems) == found else None

    def extensions(self, node: Node | None) -> tuple[str, ...]:
        if node is None or node.value is None:
            return ()
        path: Path = ("service", "extensions")
        if not isinstance(node.value, list):
            self.add(node, path, "must be a list")
            return ()
        return check_references(node, path, (Kind.EXTENSION,), self.declared, self.problems)

    def add(self, node: Node, path: Path, message: str, hint: str = "") -> None:
        self.problems.append(problem(node.place, path, message, hint))


def _in_order(problems: list[Problem], tree: Node) -> list[Problem]:
    """By file and line, each once; files in the order in which they first give a value."""
    files = list(dict.fromkeys([tree.place.file, *(leaf.place.file for _, leaf in leaves(tree))]))
    ranks = {file: rank for rank, file in enumerate(files)}
    return sorted(dict.fromkeys(problems), key=lambda told: (ranks.get(told.file, len(files)), told.line))
