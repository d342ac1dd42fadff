"""Reads one YAML file into plain values and remembers the line of every key and element."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from otel_pipeline.errors import Problem

__all__ = ["Definition", "Place", "Source", "read"]

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 50

Place = tuple[str | int, ...]
"""Where a value stands: keys and indexes from the root."""


@dataclass(slots=True)
class Source:
    """A file as it was read. `value` is None where it could not be read at all."""

    file: str
    value: Any = None
    problems: list[Problem] = field(default_factory=list)
    lines: dict[Place, int] = field(default_factory=dict)

    def line(self, place: Place) -> int:
        """The line of `place`, or of the nearest thing around it that has one."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def problem(self, place: Place, message: str, hint: str = "") -> Problem:
        """A problem of this file, with its line."""
        return Problem("::".join(map(str, place)), message, hint, self.file, self.line(place))


@dataclass(frozen=True, slots=True)
class Definition:
    """One entry of one file, and where it stands."""

    value: Any
    source: Source
    place: Place
    layer: int
    """Which directory it is from; 0 is the shipped one."""

    def problem(self, message: str, hint: str = "", *below: str | int) -> Problem:
        """A problem of this entry, at a place below it."""
        return self.source.problem((*self.place, *below), message, hint)


def read(path: Path) -> Source:
    """The file at `path`. Aliases are refused (they can blow up), and so are duplicate keys and deep nesting."""
    source = Source(str(path))
    try:
        if path.stat().st_size > MAX_BYTES:
            source.problems.append(Problem("", f"larger than {MAX_BYTES} bytes", file=source.file))
            return source
        text = path.read_text(encoding="utf-8")
        if not _is_refused(text, source):
            source.value = _Values(source).of(yaml.compose(text, Loader=yaml.CSafeLoader), ())
    except (OSError, UnicodeDecodeError) as error:
        source.problems.append(Problem("", f"cannot be read: {error}", file=source.file))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 0
        source.problems.append(Problem("", f"not YAML: {getattr(error, 'problem', error)}", "", source.file, line))
    return source


def _is_refused(text: str, source: Source) -> bool:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            message = f"the alias *{event.anchor} is not allowed here"
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth <= MAX_DEPTH:
                continue
            message = f"nested deeper than {MAX_DEPTH} levels"
        else:
            depth -= isinstance(event, yaml.CollectionEndEvent)
            continue
        hint = "write the values out" if isinstance(event, yaml.AliasEvent) else ""
        source.problems.append(Problem("", message, hint, source.file, _line(event)))
        return True
    return False


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


class _Values:
    """Turns YAML nodes into values, noting lines and duplicate keys in `source`."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.scalars = yaml.constructor.SafeConstructor()

    def of(self, node: yaml.Node | None, place: Place) -> Any:
        if node is None:
            return None
        self.source.lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.of(child, (*place, index)) for index, child in enumerate(node.value)]
        try:
            return self.scalars.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            self.source.problems.append(self.source.problem(place, f"not a value: {error}"))
            return None

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[Any, Any]:
        mapping: dict[Any, Any] = {}
        for key_node, child in node.value:
            key = self.of(key_node, place) if isinstance(key_node, yaml.ScalarNode) else str(key_node.value)
            here = (*place, key)
            if key in mapping:
                first = self.source.lines[here]
                line = key_node.start_mark.line + 1
                path = "::".join(map(str, here))
                message = f"the key {key!r} stands twice"
                self.source.problems.append(Problem(path, message, f"first in line {first}", self.source.file, line))
                continue
            self.source.lines[here] = key_node.start_mark.line + 1
            mapping[key] = self.of(child, here)
        return mapping
