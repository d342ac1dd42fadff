"""What pydantic found wrong, said to the person who wrote the file: place, plain words, what to do; never a secret."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from otel_pipeline.config.shape import Shape
from otel_pipeline.config.tree import UNKNOWN, Node, Path, leaves, problem
from otel_pipeline.errors import Problem

__all__ = ["MASK", "did_you_mean", "explain", "mask_text", "sounds_secret"]

MASK = "**********"

_MAX_SHOWN = 60
_MAX_MESSAGE = 400
_MIN_SECRET_LENGTH = 4

_SECRET_NAME = re.compile(
    r"(?:^|[._-])(?:tokens?|pass|passw(?:or)?d|passphrase|secrets?|api[._-]?keys?|[a-z-]*apikey|private[._-]?key|"
    r"access[._-]?key|hmac[._-]?key|authorization|credentials?|cookie|bearer)(?:$|[._-](?!file|path))",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"'([^']*)'")
_URL_USER = re.compile(r"(://)[^/@\s]+@")
_SCHEME = re.compile(r"\b(Bearer|Basic)\s+[^\s'\"]+", re.IGNORECASE)

_NUMBER, _TEXT = "must be a whole number", "must be text"
_LIST, _MAPPING = "must be a list", "must be a mapping (key: value)"
_TEMPLATES = {
    "int_type": _NUMBER,
    "int_parsing": _NUMBER,
    "int_from_float": _NUMBER,
    "int_parsing_size": "must be a smaller number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": _TEXT,
    "path_type": "must be a path",
    "pattern_regex": "must be a regular expression",
    "pattern_type": "must be a regular expression",
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "frozen_set_type": _LIST,
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
}


def did_you_mean(word: str, names: Iterable[str], known: str = "known here") -> str:
    """A hint: the nearest of `names`, or all of them where none is near and they are few."""
    names = list(names)
    near = difflib.get_close_matches(word[:100], names, n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"{known}: {', '.join(names)}" if 0 < len(names) <= 16 else ""


def sounds_secret(name: str) -> bool:
    """Whether an option or header of this name is likely to hold a secret, whatever its type."""
    return bool(_SECRET_NAME.search(name))


def mask_text(text: str) -> str:
    """The text without the credentials of URLs and of authorization headers."""
    return _SCHEME.sub(rf"\1 {MASK}", _URL_USER.sub(rf"\1{MASK}@", text))


def explain(error: ValidationError, node: Node, path: Path, shape: Shape, also: tuple[str, ...] = ()) -> list[Problem]:
    """The problems of the options at `path`: `node` as written, `shape` as the options class wants it.

    `also` are names that may stand beside the options, for hints.
    """
    at: dict[Path, list[Mapping[str, Any]]] = {}
    for detail in error.errors(include_url=False):
        found, below = _locate(node, detail["loc"])
        if found.value is not UNKNOWN:
            at.setdefault(below, []).append(detail)
    return [_problem(details, node, path, below, shape, also) for below, details in at.items()]


def _locate(node: Node, location: Sequence[str | int]) -> tuple[Node, Path]:
    """The nearest node that was written, and the path of the option; names of union members are left out."""
    path: Path = ()
    for part in location:
        if isinstance(node.value, dict) and part in node.value:
            node = node.value[str(part)]
        elif isinstance(node.value, list) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
        else:
            continue
        path = (*path, part)
    return node, path


def _problem(
    details: list[Mapping[str, Any]], top: Node, path: Path, below: Path, shape: Shape, also: tuple[str, ...]
) -> Problem:
    node = _locate(top, below)[0]
    here = shape.at(below)
    kinds = {detail["type"] for detail in details}
    if "extra_forbidden" in kinds:
        names = [*shape.at(below[:-1]).options, *(also if len(below) == 1 else ())]
        return problem(node.place, path + below, "unknown option", did_you_mean(str(below[-1]), names, "options here"))
    if "missing" in kinds:
        missing = [str(detail["loc"][-1]) for detail in details if detail["type"] == "missing"]
        names_missing = " and ".join(f"'{name}'" for name in dict.fromkeys(missing))
        group = below[:-1] if below and below[-1] in missing else below
        return problem(node.place, path + group, f"{names_missing} must be given")
    named_secret = any(sounds_secret(str(key)) for key in below)
    message, hint = _say(details, node, here, named_secret)
    return problem(node.place, path + below, mask_text(message)[:_MAX_MESSAGE], hint)


def _say(details: list[Mapping[str, Any]], node: Node, shape: Shape, named_secret: bool) -> tuple[str, str]:
    """What is wrong with a value, and what to do."""
    shown = _shown(node, named_secret or shape.holds_secrets())
    own = [detail for detail in details if detail["type"] in ("value_error", "assertion_error")]
    if own:
        said = str(own[0]["ctx"]["error"]).replace(repr(own[0]["input"]), shown or MASK)
        return _without_hidden(said, node, shape, named_secret), ""
    demands = dict.fromkeys(_demand(detail) for detail in details)
    message = " or ".join(demands).replace(" or must be", " or")
    return (f"{message}, not {shown}" if shown else message), _value_hint(details, node, shown)


def _value_hint(details: list[Mapping[str, Any]], node: Node, shown: str) -> str:
    if {detail["type"] for detail in details} == {"string_type"} and isinstance(node.value, int | float):
        return "put it in quotes"
    if not shown or node.written or not isinstance(node.value, str):
        return ""
    expected = [name for detail in details for name in _QUOTED.findall(detail.get("ctx", {}).get("expected", ""))]
    near = difflib.get_close_matches(node.value[:100], expected, n=1)
    return f"did you mean '{near[0]}'?" if near else ""


def _demand(detail: Mapping[str, Any]) -> str:
    template = _TEMPLATES.get(detail["type"])
    if template is not None:
        return template.format_map(detail.get("ctx", {}))
    said: str = detail["msg"]
    return (
        said.replace("Input should be a valid", "must be a")
        .replace("Input should", "must")
        .replace("must be a an ", "must be an ")
    )


def _shown(node: Node, secret: bool) -> str:
    """How a value is named in a message; nothing for secrets."""
    match node.value:
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case _ if node.written:
            return node.written
        case _ if secret:
            return ""
        case None:
            return "null"
        case bool():
            return str(node.value).lower()
        case str() if len(node.value) > _MAX_SHOWN:
            return repr(mask_text(node.value[:_MAX_SHOWN]) + "…")
        case str():
            return repr(mask_text(node.value))
    return str(node.value)


def _without_hidden(said: str, node: Node, shape: Shape, named_secret: bool) -> str:
    """A component's own words without the secrets and the values from the environment that stand below `node`."""
    for path, leaf in leaves(node):
        named = named_secret or any(sounds_secret(str(key)) for key in path)
        if leaf.written or named or shape.at(path).holds_secrets():
            instead = leaf.written or MASK
            for text in {str(leaf.value), leaf.text} - {""}:
                said = said.replace(repr(text), instead)
                said = said.replace(text, instead) if len(text) >= _MIN_SECRET_LENGTH else said
    return said
