"""A configuration as a tree whose every value remembers where it was written."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from otel_pipeline.errors import Problem

__all__ = ["UNKNOWN", "Node", "Path", "Place", "Scalar", "Unknown", "leaves", "merge", "plain", "problem"]

Path = tuple[str | int, ...]
"""Keys and list positions from the top."""


class Unknown(Enum):
    """Stands for a value that could not be found; the problem is told already, so nobody complains of it again."""

    UNKNOWN = "unknown"


UNKNOWN = Unknown.UNKNOWN

Scalar = str | int | float | bool | None | Unknown


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written."""

    file: str
    line: int = 0
    """Counted from 1; 0 where there is none."""


@dataclass(frozen=True, slots=True)
class Node:
    """One value: a mapping, a list or a scalar."""

    value: "dict[str, Node] | list[Node] | Scalar"
    place: Place
    """Of its key, or of the value itself where it has none."""
    written: str = ""
    """What the file says where environment variables were put in: `${env:TOKEN}`. Shown instead of the value."""
    text: str = ""
    """What `written` became, before it was read as YAML; for options that take text."""

    def children(self) -> Mapping[str, "Node"]:
        """The entries of a mapping; nothing for anything else."""
        return self.value if isinstance(self.value, dict) else {}


def merge(base: Node, over: Node) -> Node:
    """`over` laid on `base`: mappings key by key, everything else replaced whole."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    merged = dict(base.value)
    for key, node in over.value.items():
        merged[key] = merge(merged[key], node) if key in merged else node
    return Node(merged, base.place)


def plain(node: Node) -> Any:
    """The value as dicts, lists and scalars."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def leaves(node: Node, path: Path = ()) -> Iterator[tuple[Path, Node]]:
    """Every scalar below with its path, the node itself if it is one."""
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            yield from leaves(child, (*path, key))
    elif isinstance(node.value, list):
        for index, child in enumerate(node.value):
            yield from leaves(child, (*path, index))
    else:
        yield path, node


def problem(place: Place, path: Path, message: str, hint: str = "") -> Problem:
    """A problem at this place, safe to print on a terminal whatever the file holds."""
    shown = "::".join(_printable(str(part))[:100] for part in path)
    return Problem(shown, _printable(message), _printable(hint), _printable(place.file), place.line)


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
