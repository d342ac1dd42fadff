"""YAML text to a tree with positions, by the parser's events: bounded, without recursion, without YAML's traps.

Scalars are read by the core schema of YAML 1.2, as the Collector does: `no` and `12:30` are text. Refused: anchors and
aliases, tags, several documents, keys that are not text or come twice, nesting over MAX_NESTING.
"""

import re
from dataclasses import dataclass
from typing import Any

import yaml

from otel_pipeline.config.tree import Node, Path, Place, Scalar, problem
from otel_pipeline.errors import ConfigError, Problem

__all__ = ["MAX_NESTING", "parse", "read_scalar", "read_value"]

MAX_NESTING = 50
_MAX_NUMBER_LENGTH = 40
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def read_scalar(text: str) -> Scalar:
    """What an unquoted scalar means. A number with leading zeros or of many digits stays text."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _MAX_NUMBER_LENGTH:
        return text
    if _INTEGER.fullmatch(text):
        return int(text, 0)
    leading_zero = re.match(r"[-+]?0[0-9]", text)
    if _FLOAT.fullmatch(text) and not leading_zero:
        return float(text)
    if _SPECIAL_FLOAT.fullmatch(text):
        return float(text.replace(".", "", 1))
    return text


def read_value(text: str, place: Place) -> Node:
    """What a value from outside a file means: a scalar, a quoted text, or a list or mapping in brackets; else text."""
    if text[:1] in ("[", "{", "'", '"'):
        try:
            node = parse(text, place.file, [])
        except ConfigError:
            return Node(text, place)
        return _moved(node, place)
    return Node(read_scalar(text.strip()), place)


def _moved(node: Node, place: Place) -> Node:
    if isinstance(node.value, dict):
        return Node({key: _moved(child, place) for key, child in node.value.items()}, place)
    if isinstance(node.value, list):
        return Node([_moved(child, place) for child in node.value], place)
    return Node(node.value, place)


def parse(text: str, file: str, problems: list[Problem]) -> Node:
    """The tree of one document. Adds problems that leave a tree to `problems`; raises ConfigError for any other."""
    builder = _Builder(file, problems)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.YAMLError as error:
        raise ConfigError([_syntax_problem(error, text, file)]) from None
    return builder.root or Node(None, Place(file, 1))


def _syntax_problem(error: yaml.YAMLError, text: str, file: str) -> Problem:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        position = getattr(error, "position", 0)
        line = text.count("\n", 0, position) + 1
        return problem(Place(file, line), (), "not valid YAML: a control character that YAML does not allow")
    found_end = "end of stream" in (error.problem or "")
    mark = error.context_mark if found_end and error.context_mark else error.problem_mark
    lines = text.splitlines()
    written = lines[mark.line] if mark.line < len(lines) else ""
    what = f"{error.context}, {error.problem}" if error.context else str(error.problem)
    return problem(Place(file, mark.line + 1), (), f"not valid YAML: {what}", _syntax_hint(written, what))


def _syntax_hint(line: str, what: str) -> str:
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "indent with spaces, not tabs"
    if "mapping values are not allowed" in what:
        return "check the indentation; put a value that contains ': ' in quotes"
    if "cannot start any token" in what:
        return "put the value in quotes"
    return ""


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not come yet."""

    children: dict[str, Node] | list[Node]
    key: str | None = None
    """Of a mapping: the key whose value comes next."""
    line: int = 0
    """Of `key`."""


class _Builder:
    """Takes the parser's events one by one and builds the tree."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file = file
        self.problems = problems
        self.root: Node | None = None
        self.open: list[_Open] = []
        self.documents = 0

    def take(self, event: yaml.Event) -> None:
        assert event.start_mark is not None
        line = event.start_mark.line + 1
        match event:
            case yaml.AliasEvent():
                self.refuse(line, "anchors and aliases (& and *) are not supported", "write the value out")
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    self.refuse(line, "a second document begins here ('---')", "give each document a file of its own")
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self.begin(event, line)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self.open.pop()
            case yaml.ScalarEvent():
                self.check_plain(event, line)
                self.add(read_scalar(event.value) if event.style is None else event.value, event.value, line)

    def begin(self, event: yaml.CollectionStartEvent, line: int) -> None:
        self.check_plain(event, line)
        if len(self.open) == MAX_NESTING:
            self.refuse(line, f"nested more than {MAX_NESTING} levels deep")
        children: dict[str, Node] | list[Node] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.add(children, None, line)
        self.open.append(_Open(children))

    def add(self, value: Any, text: str | None, line: int) -> None:
        """A value, or the key of the next value; `text` of a scalar as it was written."""
        if not self.open:
            self.root = Node(value, Place(self.file, line))
            return
        parent = self.open[-1]
        if isinstance(parent.children, list):
            parent.children.append(Node(value, Place(self.file, line)))
        elif parent.key is None:
            parent.key, parent.line = self.key(value, text, line, parent.children), line
        else:
            parent.children[parent.key] = Node(value, Place(self.file, parent.line))
            parent.key = None

    def key(self, value: Any, text: str | None, line: int, siblings: dict[str, Node]) -> str:
        if text is None:
            self.refuse(line, "a mapping or list cannot be a key")
        assert text is not None
        path = (*self.path(), text)
        if not isinstance(value, str):
            self.problems.append(problem(Place(self.file, line), path, "a key must be text", "put it in quotes"))
        if text in siblings:
            message = f"written twice; first in line {siblings[text].place.line}"
            self.problems.append(problem(Place(self.file, line), path, message, "remove one"))
        return text

    def path(self) -> Path:
        return tuple(
            len(parent.children) if isinstance(parent.children, list) else parent.key or "" for parent in self.open[:-1]
        )

    def check_plain(self, event: Any, line: int) -> None:
        if event.anchor is not None:
            self.refuse(line, "anchors and aliases (& and *) are not supported", "write the value out")
        if event.tag is not None:
            self.refuse(
                line, "tags (such as !name) are not supported", "put the value in quotes if it is meant as text"
            )

    def refuse(self, line: int, message: str, hint: str = "") -> None:
        raise ConfigError([problem(Place(self.file, line), self.path(), message, hint)])
