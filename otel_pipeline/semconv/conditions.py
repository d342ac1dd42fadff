"""The small languages inside the files: conditions on a value, and where a value comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from otel_pipeline._native import regex_problem

__all__ = ["Condition", "Scalar", "ValueSource", "checked_regex", "parse_condition", "parse_source"]

Scalar = str | bool | int


@dataclass(frozen=True, slots=True)
class Condition:
    """Holds for a value; written as a literal, a glob, a list of these, or a mapping with one of the keys below.

    What is not scalar (arrays, maps, bytes) only satisfies `present: true`, and `not`.
    """

    any_of: tuple["Condition", ...] = ()
    literal: Scalar | None = None
    """Equal, of the same type."""
    glob: str | None = None
    """Text; `*` is any run of characters, `?` any one."""
    regex: str | None = None
    """Text in which the pattern (syntax of Rust's regex crate) is found."""
    present: bool | None = None
    """The value is there, or is not."""
    negated: "Condition | None" = None
    at_least: float | None = None
    below: float | None = None

    def __str__(self) -> str:
        """In words, for people."""
        if self.any_of:
            return " or ".join(map(str, self.any_of))
        if self.negated:
            return f"not {self.negated}"
        if self.present is not None:
            return "present" if self.present else "absent"
        limits = (("at least", self.at_least), ("below", self.below))
        told = [f"{word} {limit:g}" for word, limit in limits if limit is not None]
        if told:
            return " and ".join(told)
        if self.regex is not None:
            return f"matching {self.regex}"
        return str(self.literal if self.glob is None else self.glob)


@dataclass(frozen=True, slots=True)
class ValueSource:
    """Where a rule takes a value from. Without one, the rule leaves the attribute to later rules."""

    value: Scalar | None = None
    attributes: tuple[str, ...] = ()
    """Attributes of the item, the first that is there; of a canonical attribute the value resolved so far."""
    resource: tuple[str, ...] = ()
    """The same, of the resource."""
    anywhere: tuple[str, ...] = ()
    """The same, of the item, else of its scope, else of its resource; the aliases of each are read, too."""
    event: str | None = None
    """`attributes` are those of the last event of this name."""
    name: bool = False
    """The name of the span, log record or metric."""
    regex: str | None = None
    """Takes the first group (the whole match where it has none) instead of the whole text."""
    table: Mapping[str, Scalar] = field(default_factory=dict)
    """Translates the text; keys may be globs, the first that fits counts, and no fit is no value."""
    member: str | None = None
    """Translates by this property of the enum members of the (one) attribute."""
    override: bool = False
    """Takes the place of what the sender or an alias gave. For senders whose own value says nothing."""

    @property
    def is_constant(self) -> bool:
        """Whether everything has such a value."""
        return self.value is not None or (self.name and not self.regex and not self.table)


def parse_condition(raw: Any) -> Condition:
    """The condition of a YAML value. Raises ValueError that says what is wrong."""
    match raw:
        case bool() | int():
            return Condition(literal=_checked_scalar(raw))
        case str():
            return Condition(glob=raw) if "*" in raw or "?" in raw else Condition(literal=raw)
        case list() if raw:
            return Condition(any_of=tuple(map(parse_condition, raw)))
        case dict() if raw:
            return _parse_mapping(raw)
    raise ValueError(f"not a condition: {raw!r} (text, number, true, false, a non-empty list, or one of {_KEYS})")


_KEYS = "literal, regex, present, not, at_least, below"


def _parse_mapping(raw: dict[Any, Any]) -> Condition:
    if set(raw) <= {"at_least", "below"}:
        for key, number in raw.items():
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise ValueError(f"{key} needs a number, not {number!r}")
        return Condition(at_least=raw.get("at_least"), below=raw.get("below"))
    if len(raw) != 1:
        raise ValueError(f"more than one test in {raw!r}: write a list, or one of {_KEYS}")
    ((key, value),) = raw.items()
    match key, value:
        case "literal", str() | bool() | int():
            return Condition(literal=_checked_scalar(value))
        case "regex", str():
            return Condition(regex=checked_regex(value))
        case "present", bool():
            return Condition(present=value)
        case "not", _:
            return Condition(negated=parse_condition(value))
    raise ValueError(f"unknown test {key!r} with {value!r}: one of {_KEYS}")


AnyScalar = TypeVar("AnyScalar", Scalar, Scalar | None)


def _checked_scalar(value: AnyScalar) -> AnyScalar:
    """Telemetry has no larger numbers than those of 64 bits."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"the number {value} does not fit into 64 bits")
    return value


def checked_regex(pattern: str) -> str:
    """The pattern. Raises ValueError that says what is wrong with it."""
    if problem := regex_problem(pattern):
        raise ValueError(f"not a regular expression: {pattern!r}: {problem}")
    return pattern


def parse_source(raw: Any) -> ValueSource | Scalar:
    """The source of a YAML value: a scalar stands for itself. Raises ValueError that says what is wrong."""
    if isinstance(raw, str | bool | int):
        return _checked_scalar(raw)
    if not isinstance(raw, dict):
        raise ValueError(f"not a value: {raw!r} (text, number, true, false, or a mapping such as {{attribute: key}})")
    known = {"value", "attribute", "resource", "anywhere", "event", "name", "regex", "map", "member", "override"}
    if unknown := set(raw) - known:
        raise ValueError(f"unknown key {sorted(map(str, unknown))[0]!r}: one of {', '.join(sorted(known))}")
    froms = [key for key in ("value", "attribute", "resource", "anywhere", "name") if key in raw]
    if len(froms) != 1:
        raise ValueError("needs exactly one of value, attribute, resource, anywhere, name")
    if "event" in raw and froms != ["attribute"]:
        raise ValueError("event goes with attribute")
    if "member" in raw and (froms != ["attribute"] or not isinstance(raw["attribute"], str) or "map" in raw):
        raise ValueError("member goes with one attribute, and without map")
    return ValueSource(
        value=_checked_scalar(_typed(raw, "value", (str, bool, int), None)),
        attributes=_keys(raw, "attribute"),
        resource=_keys(raw, "resource"),
        anywhere=_keys(raw, "anywhere"),
        event=_typed(raw, "event", str, None),
        name=_typed(raw, "name", bool, False),
        regex=checked_regex(raw["regex"]) if _typed(raw, "regex", str, None) is not None else None,
        table=_table(raw.get("map", {})),
        member=_typed(raw, "member", str, None),
        override=_typed(raw, "override", bool, False),
    )


def _typed(raw: dict[str, Any], key: str, types: Any, default: Any) -> Any:
    value = raw.get(key, default)
    if key in raw and not isinstance(value, types):
        raise ValueError(f"{key} cannot be {value!r}")
    return value


def _keys(raw: dict[str, Any], key: str) -> tuple[str, ...]:
    value = raw.get(key, [])
    keys = [value] if isinstance(value, str) else value
    if not isinstance(keys, list) or not all(isinstance(one, str) and one for one in keys):
        raise ValueError(f"{key} needs an attribute key, or a list of them, not {value!r}")
    return tuple(keys)


def _table(raw: Any) -> dict[str, Scalar]:
    if not isinstance(raw, dict) or not all(isinstance(value, str | bool | int) for value in raw.values()):
        raise ValueError(f"map needs text on both sides, not {raw!r}")
    return {_written(key): _checked_scalar(value) for key, value in raw.items()}


def _written(key: Any) -> str:
    """A key as the sender's text: YAML reads `true` and `3` as no text."""
    return str(key).lower() if isinstance(key, bool) else str(key)
