"""Loads the semantic-convention files: the shipped ones, and a user's directories over them.

Where two directories define the same attribute, metric, group, span or entity, the later directory's takes its place.
Every problem of all files is told in one SemconvError.
"""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from otel_pipeline.errors import Problem, SemconvError
from otel_pipeline.semconv import format as files
from otel_pipeline.semconv import v1
from otel_pipeline.semconv.extend import extended, extends, extension_fault, has_notes
from otel_pipeline.semconv.references import NOTES
from otel_pipeline.semconv.registry import Registry
from otel_pipeline.semconv.resolve import resolve
from otel_pipeline.semconv.source import Definition, Place, Source, read

__all__ = ["Definitions", "load", "load_with_definitions", "read_definitions", "shipped_directory"]


_MANIFESTS = ("manifest.yaml", "registry_manifest.yaml")

FileState = tuple[Path, int, int, int]
"""Path, inode, size and time of the last change."""


def shipped_directory() -> Path:
    """Where the files that come with the gateway lie."""
    return Path(__file__).parents[1] / "shipped" / "semconv"


@dataclass(slots=True)
class Definitions:
    """The entries of all files by section and name, in order: `by_section["attributes"]["sdlc.stage.name"]`."""

    by_section: dict[str, dict[str, Definition]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def add(self, section: str, name: str, new: Definition) -> None:
        """Takes the entry in. The same name twice in one directory is a problem; in a later one it replaces, or adds to
        what is there where it says `extend`. One without notes of ours says nothing new of what has some: so somebody
        else's registry can be laid over the shipped files."""
        entries = self.by_section.setdefault(section, {})
        old = entries.get(name)
        if extends(new.value):
            if old is None:
                self.problems.append(new.problem(f"extends {name!r}, which is not defined", "", *NOTES, "extend"))
            elif fault := extension_fault(old, new):
                self.problems.append(new.problem(fault, "", *NOTES))
            else:
                entries[name] = extended(old, new)
        elif old is not None and old.layer != new.layer and has_notes(old.value) and not has_notes(new.value):
            return
        elif old is not None and old.layer == new.layer:
            where = f"first in {old.source.file}:{old.source.line(old.place)}"
            self.problems.append(new.problem(f"{name!r} is defined twice", where))
        else:
            entries[name] = new


def load(directories: Sequence[Path] = (), *, shipped: Path | None = None) -> Registry:
    """The registry of the shipped files with `directories` over them. Raises SemconvError with all problems.

    Every component that asks for the same files gets the same registry; it is made anew when one of them has changed.
    """
    folders = (shipped or shipped_directory(), *directories)
    return _load(folders, tuple(_state(path) for folder in folders for path in _files(folder)))


@lru_cache(maxsize=4)
def _load(folders: tuple[Path, ...], _files_as_they_are: tuple[FileState, ...]) -> Registry:
    return load_with_definitions(folders[1:], shipped=folders[0])[0]


def _state(path: Path) -> FileState:
    """What differs once a file is written again; a file that is gone by now has none."""
    try:
        found = path.stat()
    except OSError:
        return path, 0, 0, 0
    return path, found.st_ino, found.st_size, found.st_mtime_ns


def _files(directory: Path) -> list[Path]:
    """The files of a directory and its folders, in the order in which they are read."""
    return sorted(p for p in directory.rglob("*") if p.suffix in (".yaml", ".yml") and p.name not in _MANIFESTS)


def load_with_definitions(
    directories: Sequence[Path] = (), *, shipped: Path | None = None
) -> tuple[Registry, Definitions]:
    """`load`, with the definitions that the registry was made of."""
    definitions = read_definitions(directories, shipped=shipped)
    registry, problems = resolve(definitions.by_section)
    if definitions.problems or problems:
        raise SemconvError([*definitions.problems, *problems])
    return registry, definitions


def read_definitions(directories: Sequence[Path] = (), *, shipped: Path | None = None) -> Definitions:
    """What stands in the files, each definition by itself, with what is wrong in it."""
    definitions = Definitions()
    for layer, directory in enumerate([shipped or shipped_directory(), *directories]):
        _load_directory(directory, layer, definitions)
    return definitions


def _load_directory(directory: Path, layer: int, definitions: Definitions) -> None:
    if not directory.is_dir():
        definitions.problems.append(Problem("", "is no directory", file=str(directory)))
        return
    found: list[tuple[str, str, Definition]] = []
    for path in _files(directory):
        source = read(path)
        definitions.problems.extend(source.problems)
        if source.value is None:
            continue
        is_v1 = isinstance(source.value, dict) and "groups" in source.value and "file_format" not in source.value
        try:
            if is_v1:
                found.extend(v1.entries(v1.GroupsFile.model_validate(source.value), source, layer))
            else:
                found.extend(_entries(files.File.model_validate(source.value), source, layer))
        except ValidationError as error:
            definitions.problems.extend(_problems(error, source, v1.GroupsFile if is_v1 else files.File))
    # What extends comes after what it may extend, in whatever file of the directory that is.
    for section, name, entry in sorted(found, key=lambda one: extends(one[2].value)):
        definitions.add(section, name, entry)


_NAMES = {
    "attributes": "key",
    "attribute_groups": "id",
    "metrics": "name",
    "spans": "type",
    "events": "name",
    "entities": "type",
}


def _entries(file: files.File, source: Source, layer: int) -> Iterator[tuple[str, str, Definition]]:
    """Section, name and definition of everything in the file."""
    for section, name in _NAMES.items():
        for index, value in enumerate(getattr(file, section)):
            yield section, getattr(value, name), Definition(value, source, (section, index), layer)


def _problems(error: ValidationError, source: Source, root: type[BaseModel]) -> Iterator[Problem]:
    if not isinstance(source.value, dict):
        yield source.problem((), "must be a mapping with the key file_format")
        return
    for detail in error.errors(include_url=False):
        place = _place(detail["loc"], source.value)
        message = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            close = difflib.get_close_matches(str(place[-1]), _fields_at(place[:-1], root), n=1)
            yield source.problem(place, f"unknown key {place[-1]!r}", f"did you mean {close[0]!r}?" if close else "")
        elif detail["type"] == "union_tag_not_found":
            yield source.problem(place, "the key 'type' is missing")
        elif detail["type"] == "missing":
            yield source.problem(place[:-1], f"the key {place[-1]!r} is missing")
        else:
            found = detail["input"]
            shown = f", not {found!r}" if isinstance(found, str | int | float | bool | None) else ""
            yield source.problem(place, f"{message}{shown}" if detail["type"] != "value_error" else message)


def _place(loc: tuple[int | str, ...], value: Any) -> Place:
    """`loc` without the steps that pydantic adds for the branch of a union: those that are not in the file.

    The last step of a problem with a missing key is not in the file either, and is kept.
    """
    place: list[str | int] = []
    for step in loc:
        if isinstance(value, dict) and (step in value or (step == loc[-1] and not _is_tag(step))):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            continue
        place.append(step)
    return tuple(place)


def _is_tag(step: int | str) -> bool:
    """Whether the step is the branch of a union: tags of ours are in angle brackets, pydantic's are names of types."""
    return isinstance(step, str) and (step.startswith("<") or step in ("str", "int", "bool", "float"))


def _fields_at(place: Place, root: type[BaseModel]) -> Iterable[str]:
    """The keys that are allowed at `place`. A step that is no field is a key of a mapping of such models."""
    models = [root]
    for step in place:
        fields = [model.model_fields[step] for model in models if step in model.model_fields]
        if fields:
            models = [found for field in fields for found in _models(field.annotation)]
    return [field.alias or name for model in models for name, field in model.model_fields.items()]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Annotated, Union, UnionType, tuple, list, dict):
        for argument in get_args(annotation):
            yield from _models(argument)
