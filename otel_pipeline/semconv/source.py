"""Reads one YAML file into plain values and remembers the line of every key and element."""

from collections.abc import Callable
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
    """The file at `path`. Aliases of more than a text are refused (they can blow up), and so are duplicate keys and
    deep nesting."""
    source = Source(str(path))
    try:
        if path.stat().st_size > MAX_BYTES:
            source.problems.append(Problem("", f"larger than {MAX_BYTES} bytes", file=source.file))
            return source
        source.value = _Builder(source).document(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        source.problems.append(Problem("", f"cannot be read: {error}", file=source.file))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 0
        source.problems.append(Problem("", f"not YAML: {getattr(error, 'problem', error)}", "", source.file, line))
    except _RefusedError as error:
        message, hint, line = error.args
        source.problems.append(Problem("", message, hint, source.file, line))
    return source


class _RefusedError(Exception):
    """YAML that is not read: message, hint, line."""


_NO_KEY = object()
"""A mapping that waits for its next key."""


class _Frame:
    """A mapping or sequence that is not at its end yet."""

    __slots__ = ("key", "place", "value")

    def __init__(self, value: dict[Any, Any] | list[Any], place: Place) -> None:
        self.value = value
        self.place = place
        self.key: Any = _NO_KEY


class _Builder:
    """Makes values of YAML events in one pass, noting lines and duplicate keys in `source`."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.scalars = yaml.SafeLoader("")
        self.resolve: Callable[[type[yaml.Node], str, Any], str] = self.scalars.resolve
        self.texts: dict[str, Any] = {}
        self.stack: list[_Frame] = []

    def document(self, text: str) -> Any:
        """The value of the only document; None where there is none."""
        root: list[Any] = []
        self.stack = [_Frame(root, ())]
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.ScalarEvent):
                self.scalar(event)
            elif isinstance(event, yaml.CollectionStartEvent):
                self.open(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self.stack.pop()
            elif isinstance(event, yaml.AliasEvent):
                self.alias(event)
            elif isinstance(event, yaml.DocumentStartEvent) and root:
                raise _RefusedError("more than one document", "split the file at the line ---", _line(event))
        return root[0] if root else None

    def open(self, event: yaml.CollectionStartEvent) -> None:
        """The start of a mapping or sequence."""
        value: dict[Any, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        if len(self.stack) > MAX_DEPTH:
            raise _RefusedError(f"nested deeper than {MAX_DEPTH} levels", "", _line(event))
        if isinstance(self.stack[-1].value, dict) and self.stack[-1].key is _NO_KEY:
            raise _RefusedError("a mapping or list cannot be a key", "", _line(event))
        place = self.put(value, event)
        self.stack.append(_Frame(value, place))

    def alias(self, event: yaml.AliasEvent) -> None:
        """A repeated text."""
        if event.anchor not in self.texts:
            raise _RefusedError(f"the alias *{event.anchor} is not allowed here", "write the values out", _line(event))
        self.take(self.texts[event.anchor], event)

    def scalar(self, event: yaml.ScalarEvent) -> None:
        """A text, number, true, false or null."""
        value: Any = event.value
        tag = event.tag
        if tag is None and event.implicit[0]:
            tag = self.resolve(yaml.ScalarNode, value, event.implicit)
        if tag not in (None, "!", _TEXT):
            value = self.construct(tag, event)
        if event.anchor is not None:
            self.texts[event.anchor] = value
        self.take(value, event)

    def construct(self, tag: str, event: yaml.ScalarEvent) -> Any:
        """The value of a text with a tag; None where it has none."""
        node = yaml.ScalarNode(tag, event.value)
        try:
            return self.scalars.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            top = self.stack[-1]
            place = top.place if top.key is _NO_KEY else (*top.place, top.key)
            self.source.problems.append(self.source.problem(place, f"not a value: {error}"))
            return None

    def take(self, value: Any, event: yaml.Event) -> None:
        """A text or the like, which may be a key."""
        top = self.stack[-1]
        if isinstance(top.value, list) or top.key is not _NO_KEY:
            self.put(value, event)
            return
        top.key = value
        here = (*top.place, value)
        if value not in top.value:
            self.source.lines.setdefault(here, _line(event))
            return
        hint = f"first in line {self.source.lines[here]}"
        path = "::".join(map(str, here))
        message = f"the key {value!r} stands twice"
        self.source.problems.append(Problem(path, message, hint, self.source.file, _line(event)))

    def put(self, value: Any, event: yaml.Event) -> Place:
        """Puts a value where it belongs; returns its place. Of a duplicate key the first stays."""
        top = self.stack[-1]
        if isinstance(top.value, dict):
            place = (*top.place, top.key)
            top.value.setdefault(top.key, value)
            top.key = _NO_KEY
            return place
        place = (*top.place, len(top.value)) if len(self.stack) > 1 else ()
        top.value.append(value)
        self.source.lines.setdefault(place, _line(event))
        return place


_TEXT = "tag:yaml.org,2002:str"


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0
