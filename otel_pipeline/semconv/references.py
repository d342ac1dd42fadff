"""The definitions of all files by name, references followed, and the problems found on the way."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from otel_pipeline.errors import Problem
from otel_pipeline.semconv import format as files
from otel_pipeline.semconv.source import Definition

__all__ = ["NOTES", "References"]

NOTES = ("annotations", "otel_pipeline")
"""Where our own keys stand in a definition."""


class References:
    """Definitions by section and name. What asks for one that is not there adds to `problems`."""

    def __init__(self, definitions: Mapping[str, Mapping[str, Definition]]) -> None:
        self._definitions = definitions
        self.problems: list[Problem] = []

    def section(self, name: str) -> Mapping[str, Definition]:
        """The definitions of one section by name."""
        return self._definitions.get(name, {})

    def problem(self, entry: Definition, message: str, hint: str = "", *place: str | int) -> None:
        """Adds a problem of `entry`, at a place below it."""
        self.problems.append(entry.problem(message, hint, *place))

    def known(self, entry: Definition, name: str, among: Iterable[str], what: str, *place: str | int) -> bool:
        """Whether `name` is `among` them; if not, that is a problem of `entry`."""
        if name in among:
            return True
        close = difflib.get_close_matches(name, among, n=1)
        hint = f"did you mean {close[0]!r}?" if close else ""
        self.problem(entry, f"no {what} is named {name!r}", hint, *place)
        return False

    def check(self, entry: Definition) -> None:
        """Everything that the entry refers to is there."""
        for field in ("attributes", "identity", "description"):
            for index, ref in enumerate(getattr(entry.value, field, ())):
                self._check(entry, ref, (field, index))

    def _check(self, entry: Definition, ref: files.Ref, place: tuple[str | int, ...]) -> None:
        if ref.ref is not None:
            self.known(entry, ref.ref, self.section("attributes"), "attribute", *place, "ref")
        elif ref.ref_group is not None:
            groups = self.section("attribute_groups")
            self.known(entry, ref.ref_group, groups, "attribute group", *place, "ref_group")

    def flat(self, refs: Iterable[files.Ref], seen: frozenset[str] = frozenset()) -> Iterator[files.Ref]:
        """References to attributes that are there, with groups followed; a group inside itself is left out."""
        groups: Mapping[str, Any] = self.section("attribute_groups")
        for ref in refs:
            group = ref.ref_group
            if ref.ref in self.section("attributes"):
                yield ref
            elif group and group not in seen and group in groups:
                yield from self.flat(groups[group].value.attributes, seen | {group})
