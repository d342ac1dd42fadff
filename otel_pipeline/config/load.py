"""Configuration files to one tree: read, merge, apply `--set`, then put environment variables in."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath

from otel_pipeline.config.tree import UNKNOWN, Node, Path, Place, merge, problem
from otel_pipeline.config.yaml_file import MAX_NESTING, parse, read_value
from otel_pipeline.errors import ConfigError, Problem

__all__ = ["MAX_FILE_BYTES", "load_tree"]

MAX_FILE_BYTES = 1024 * 1024

_EXPRESSION = re.compile(r"\$\$|\$\{([^{}]*)\}|\$\{")
_VARIABLE = re.compile(r"(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


def load_tree(
    files: Sequence[FilePath], sets: Sequence[str] = (), environment: Mapping[str, str] = os.environ
) -> tuple[Node, list[Problem]]:
    """The tree of all files, later ones over earlier ones, with `sets` (`a.b=value`) last, and what is wrong in it.

    Environment variables are put in after merging, so that only values that count have to resolve. Raises ConfigError
    with every problem that leaves no tree to check: a file that is missing, too large or not YAML.
    """
    problems: list[Problem] = []
    fatal: list[Problem] = []
    tree = Node({}, Place(str(files[0]) if files else ""))
    for file in files:
        try:
            tree = merge(tree, _read(file, problems))
        except ConfigError as error:
            fatal.extend(error.problems)
    for assignment in sets:
        try:
            tree = merge(tree, _assignment(assignment))
        except ConfigError as error:
            fatal.extend(error.problems)
    if fatal:
        raise ConfigError([*problems, *fatal])
    return _Resolver(environment, problems).resolve(tree, ()), problems


def _read(file: FilePath, problems: list[Problem]) -> Node:
    place = Place(str(file))
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError([problem(place, (), f"cannot be read: {error.strerror}")]) from None
    except ValueError:
        raise ConfigError([problem(place, (), "is not a file name")]) from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError([problem(place, (), "is larger than 1 MiB")])
    tree = parse(_decode(data, place.file), place.file, problems)
    if tree.value is None:
        return Node({}, tree.place)
    if not isinstance(tree.value, dict):
        hint = "begin with sections such as 'receivers:'"
        raise ConfigError([problem(tree.place, (), "the file must hold a mapping", hint)])
    return tree


def _decode(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = Place(file, data.count(b"\n", 0, error.start) + 1)
        raise ConfigError([problem(place, (), "not UTF-8 text", "save the file as UTF-8")]) from None


def _assignment(assignment: str) -> Node:
    """The tree of `a.b=value` or `a::b=value`."""
    name, equals, text = assignment.partition("=")
    keys = name.split("::" if "::" in name else ".")
    place = Place("--set")
    if not equals or not all(keys) or len(keys) > MAX_NESTING:
        hint = "write it like --set processors.batch.timeout=5s"
        raise ConfigError([problem(place, (), "not of the form path=value", hint)])
    node = read_value(text, place)
    for key in reversed(keys):
        node = Node({key: node}, place)
    return node


class _Resolver:
    """Puts environment variables into a tree."""

    def __init__(self, environment: Mapping[str, str], problems: list[Problem]) -> None:
        self.environment = environment
        self.problems = problems

    def resolve(self, node: Node, path: Path) -> Node:
        """The node with every expression replaced; UNKNOWN, and a problem told, where one cannot be."""
        if isinstance(node.value, dict):
            return Node({key: self.resolve(child, (*path, key)) for key, child in node.value.items()}, node.place)
        if isinstance(node.value, list):
            return Node([self.resolve(child, (*path, i)) for i, child in enumerate(node.value)], node.place)
        if not isinstance(node.value, str) or (node.value.isascii() and "$" not in node.value):
            return node
        try:
            return self.resolve_text(node.value, node.place)
        except _UnresolvedError as error:
            self.problems.append(problem(node.place, path, error.message, error.hint))
            return Node(UNKNOWN, node.place)

    def resolve_text(self, written: str, place: Place) -> Node:
        """A text that is one expression takes the type of what it becomes; any other stays text."""
        text = _EXPRESSION.sub(self.replacement, written)
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise _UnresolvedError("is not UTF-8 text")
        if "${" not in written.replace("$$", ""):
            return Node(text, place)
        whole = _EXPRESSION.fullmatch(written)
        value = read_value(text, place, written).value if whole and text else text
        return Node(value, place, written, text)

    def replacement(self, match: re.Match[str]) -> str:
        """What stands for one `${…}` or `$$`."""
        if match[0] == "$$":
            return "$"
        variable = _VARIABLE.fullmatch(match[1] or "")
        if variable is None:
            hint = "write ${env:NAME} or ${env:NAME:-default}, and $$ for a dollar sign"
            raise _UnresolvedError("cannot read the expression that begins with '${'", hint)
        name, default = variable.groups()
        value = self.environment.get(name, default)
        if value is None:
            hint = f"set it, or give a default: ${{env:{name}:-value}}"
            raise _UnresolvedError(f"the environment variable {name} is not set", hint)
        return str(value)


class _UnresolvedError(Exception):
    """An expression without a value."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
