"""YAML text to a tree with positions, by the parser's events: bounded, without recursion, without YAML's traps.

Scalars are read by the core schema of YAML 1.2, as the Collector does: `no` and `12:30` are text. Refused: anchors and
aliases, tags, several documents, keys that are not text or come twice, nesting over MAX_NESTING.
"""

import re
from dataclasses import dataclass
from typing import Any, NoReturn

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


def read_value(text: str, place: Place, written: str = "") -> Node:
    """What a value from outside a file means: a scalar, a quoted text, or a list or mapping in brackets; else text."""
    if text[:1] in ("[", "{", "'", '"'):
        try:
            return _marked(parse(text, place.file, []), place, written)
        except ConfigError:
            return Node(text, place, written)
    return Node(read_scalar(text.strip()), place, written)


def _marked(node: Node, place: Place, written: str) -> Node:
    if isinstance(node.value, dict):
        return Node({key: _marked(child, place, written) for key, child in node.value.items()}, place, written)
    if isinstance(node.value, list):
        return Node([_marked(child, place, written) for child in node.value], place, written)
    return Node(node.value, place, written)


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
    if "\t" in written[: len(written) - len(written.lstrip())]:
        what, hint = "a tab in the indentation", "indent with spaces"
    else:
        what = f"{error.context}, {error.problem}" if error.context else str(error.problem)
        hint = _syntax_hint(what)
    return problem(Place(file, mark.line + 1), (), f"not valid YAML: {what}", hint)


def _syntax_hint(what: str) -> str:
    hints = {
        "mapping values are not allowed": "check the indentation; put a value that contains ': ' in quotes",
        "cannot start any token": "put the value in quotes",
        "while parsing a flow": "is a bracket left open?",
        "end of stream": "is a quotation mark missing?",
    }
    return next((hint for sign, hint in hints.items() if sign in what), "")


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not come yet."""

    children: dict[str, Node] | list[Node]
    key: str = ""
    """Of a mapping: the last key."""
    line: int = 0
    """Of `key`."""
    wants_value: bool = False
    """Of a mapping: whether the value of `key` comes next."""


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
                self.add(event.value if event.style else read_scalar(event.value), event.value, line)

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
        elif parent.wants_value:
            parent.children[parent.key] = Node(value, Place(self.file, parent.line))
            parent.wants_value = False
        else:
            parent.key, parent.line = self.key(value, text, line, parent.children), line
            parent.wants_value = True

    def key(self, value: Any, text: str | None, line: int, siblings: dict[str, Node]) -> str:
        if text is None:
            self.refuse(line, "a mapping or list cannot be a key")
        path = (*self.path(), text)
        if not isinstance(value, str):
            self.problems.append(problem(Place(self.file, line), path, "a key must be text", "put it in quotes"))
        if text in siblings:
            message = f"written twice; first in line {siblings[text].place.line}"
            self.problems.append(problem(Place(self.file, line), path, message, "remove one"))
        return text

    def path(self) -> Path:
        """Of the mapping or list that is open now."""
        return tuple(open.key if isinstance(open.children, dict) else len(open.children) - 1 for open in self.open[:-1])

    def check_plain(self, event: Any, line: int) -> None:
        if event.anchor is not None:
            self.refuse(line, "anchors and aliases (& and *) are not supported", "write the value out")
        if event.tag is not None:
            self.refuse(
                line, "tags (such as !name) are not supported", "put the value in quotes if it is meant as text"
            )

    def refuse(self, line: int, message: str, hint: str = "") -> NoReturn:
        last = self.open[-1:]
        below = [open.key for open in last if open.wants_value] + [
            len(open.children) for open in last if isinstance(open.children, list)
        ]
        raise ConfigError([problem(Place(self.file, line), (*self.path(), *below), message, hint)])
