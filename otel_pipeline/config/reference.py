"""The reference of a component's options as commented YAML at its defaults, written from its Config class."""

import inspect
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from otel_pipeline.component import Component, Connector, Kind
from otel_pipeline.config.check import Classes, resolve_type
from otel_pipeline.config.explain import did_you_mean
from otel_pipeline.config.shape import Shape, shape_of
from otel_pipeline.config.tree import Path, Place, problem
from otel_pipeline.errors import ConfigError
from otel_pipeline.options import format_duration
from otel_pipeline.pdata import Signal

__all__ = ["overview", "reference", "references"]

_WIDTH = 100
_INDENT = "  "

_WORDS = {
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "object": "mapping",
    "array": "list",
}
_SCALARS = ("true or false", "whole number", "number", "text")
_FORMATS = {
    "duration": "duration such as 200ms, 5s or 1m30s",
    "password": "text, kept secret",
    "path": "path of a file",
    "file-path": "path of a file",
    "directory-path": "path of a folder",
    "regex": "regular expression",
}
_LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "minItems": "at least {} of them",
    "maxItems": "at most {} of them",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
}


def overview(components: Classes) -> str:
    """Every component type, by kind, with what it is for."""
    width = max((len(type_name) for known in components.values() for type_name in known), default=0) + 2
    lines = []
    for kind, known in components.items():
        lines += [f"{kind}:", *(f"  {name:<{width}}{_summary(known[name])}" for name in sorted(known)), ""]
    return "\n".join(lines)


def references(name: str, components: Classes) -> str:
    """The references of a type in every kind that has it, or of one kind: `otlp`, `receivers/otlp`.

    Raises ConfigError where there is no such component.
    """
    section, slash, type_name = name.rpartition("/")
    kinds = [kind for kind in components if not slash or section in (kind, kind.singular)]
    found = [(kind, resolve_type(type_name, components[kind])) for kind in kinds]
    texts = [reference(kind, component) for kind, component in found if component is not None]
    if not texts:
        elsewhere = [f"{kind}/{type_name}" for kind in components if resolve_type(type_name, components[kind])]
        known = dict.fromkeys(known for kind in components for known in components[kind])
        hint = f"did you mean '{elsewhere[0]}'?" if elsewhere else did_you_mean(name, known)
        raise ConfigError([problem(Place(""), (), f"there is no component '{name[:100]}'", hint)])
    return "\n".join(texts)


def _summary(component: type[Component]) -> str:
    paragraph = " ".join(inspect.cleandoc(component.__doc__ or "").split("\n\n")[0].split())
    sentence, stop, _ = paragraph.partition(". ")
    return sentence + stop.rstrip()


def reference(kind: Kind, component: type[Component]) -> str:
    """YAML that configures nothing but the defaults, with a comment for each option.

    Options that have no default, or are off by default, are commented out: `#name: value`.
    """
    lines = [f"# {kind}/{component.type}", "#"]
    lines += _prose(inspect.cleandoc(component.__doc__ or ""), "")
    lines += ["#", *_prose(_facts(component), "")]
    options = _Writer().group(shape_of(component.Config), _defaults(component.Config), _INDENT, ())
    return "\n".join([*lines, f"{component.type}:", *options, ""])


def _facts(component: type[Component]) -> str:
    takes = f"Signals: {_listed(component.signals)}."
    gives = f" Gives: {_listed(component.produces)}." if issubclass(component, Connector) else ""
    older = f" Older names: {', '.join(component.aliases)}." if component.aliases else ""
    return takes + gives + older


def _listed(signals: frozenset[Signal]) -> str:
    return ", ".join(signal for signal in Signal if signal in signals)


def _defaults(options: type[BaseModel]) -> Mapping[str, Any]:
    """The defaults as they are written in a file; options that must be given are missing."""
    defaults: Mapping[str, Any] = options.model_construct().model_dump(mode="json", by_alias=True, warnings=False)
    return defaults


class _Writer:
    """Writes the options of one component; a group that is off and was explained before is only named."""

    def __init__(self) -> None:
        self.explained: dict[tuple[int, ...], Path] = {}

    def group(
        self, shape: Shape, defaults: Mapping[str, Any], indent: str, path: Path, *, off: bool = False
    ) -> Iterator[str]:
        """The options of a group; `off` where the group as a whole will be commented out."""
        same = tuple(id(group) for group in shape.groups.alternatives)
        first = self.explained.setdefault(same, path)
        if off and first != path:
            yield from _prose(f"the same options as {'::'.join(map(str, first))}", indent)
            return
        required = {name for group in shape.alternatives for name in group.get("required", ())}
        for name, option in shape.option_shapes().items():
            default = defaults.get(name)
            yield from _prose(option.description, indent)
            yield from _prose(_notes(option, default, name in required), indent)
            live = off and name in required
            yield from (indent + line for line in self.option(option, default, (*path, name), live))

    def option(self, shape: Shape, default: Any, path: Path, live: bool) -> Iterator[str]:
        """The lines of one option below its documentation; commented out without a default, unless it is `live`."""
        mark = "" if live or default is not None else "#"
        if shape.is_group and (default is None or isinstance(default, Mapping)):
            yield f"{mark}{path[-1]}:"
            below = _schema_defaults(shape) if default is None else default
            yield from (mark + line for line in self.group(shape, below, _INDENT, path, off=bool(mark)))
        else:
            value = _placeholder(shape) if default is None else _written(default)
            yield f"{mark}{path[-1]}: {value}".rstrip()
        mixed = Shape([], {}) if shape.is_group else shape
        for place, title in ((mixed, "or options"), (shape.value, "each value"), (shape.entry, "each entry")):
            each = place.groups
            if each.options:
                yield f"#{_INDENT}# {title}:"
                options = self.group(each, _schema_defaults(each), _INDENT * 2, (*path, "*"), off=True)
                yield from ("#" + line for line in options)


def _notes(shape: Shape, default: Any, required: bool) -> str:
    """The type of an option in words, and whether it has to be written."""
    off = "off unless it is written" if shape.is_group and default is None else ""
    return "; ".join(part for part in (_kind(shape), "must be given" if required else off) if part)


def _schema_defaults(shape: Shape) -> Mapping[str, Any]:
    """Defaults of a group that is off, as far as the schema tells them."""
    defaults = {}
    for name, option in shape.option_shapes().items():
        default = option.schema.get("default")
        if default is None and option.is_group and "default" not in option.schema:
            default = _schema_defaults(option)
        if isinstance(default, float) and any(schema.get("format") == "duration" for schema in option.alternatives):
            default = format_duration(default)
        defaults[name] = default
    return defaults


def _written(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return text.removesuffix("...\n").strip().replace("$", "$$")


def _placeholder(shape: Shape) -> str:
    kinds = {schema.get("type") for schema in shape.alternatives}
    return "{}" if kinds == {"object"} else "[]" if kinds == {"array"} else ""


def _prose(text: str, indent: str) -> Iterator[str]:
    for paragraph in text.split("\n\n") if text else ():
        for line in textwrap.wrap(" ".join(paragraph.split()), _WIDTH - len(indent)):
            yield f"{indent}# {line}"


def _kind(shape: Shape) -> str:
    """The type of an option in words; nothing for a mere group, which its options explain."""
    words = dict.fromkeys(_words(schema, shape) for schema in shape.alternatives if "properties" not in schema)
    if words.keys() >= set(_SCALARS):
        words = dict.fromkeys(["any scalar", *(word for word in words if word not in _SCALARS)])
    return " or ".join([*words, *(["options"] if words and shape.options else [])])


def _words(schema: Mapping[str, Any], shape: Shape) -> str:
    if "enum" in schema or "const" in schema:
        return "one of " + ", ".join(str(value) for value in schema.get("enum", [schema.get("const")]))
    words = _FORMATS.get(schema.get("format", "")) or _WORDS.get(schema.get("type", ""), "any value")
    if schema.get("type") == "array":
        words += f" of {_kind(shape.entry) or 'groups'}" if shape.entry.alternatives else ""
    elif isinstance(schema.get("additionalProperties"), dict):
        words += f" of names to {_kind(shape.value) or 'groups'}"
    limits = [said.format(schema[limit]) for limit, said in _LIMITS.items() if limit in schema]
    return ", ".join([words, *limits])
