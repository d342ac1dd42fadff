"""Actions on attributes, as the `attributes` and `resource` processors take them."""

import json
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from otel_pipeline.options import Options
from otel_pipeline.pdata import AttributePlan

__all__ = ["Action", "compile_actions"]

Scalar = bool | int | float | str
_BY_PATTERN = ("delete", "hash")
_SETTING = ("insert", "update", "upsert")


class Action(Options):
    """One step; steps run in order, each on the result of the one before."""

    action: Literal["insert", "update", "upsert", "delete", "hash", "extract", "convert"]
    """`insert` sets where absent, `update` where present, `upsert` always; `hash` puts the SHA-256 of the value in its
    place; `extract` makes attributes of the named groups of `pattern`; `convert` changes the type."""
    key: str = Field(default="", max_length=256)
    """The attribute."""
    value: Scalar | None = None
    """What insert, update and upsert set."""
    from_attribute: str | None = None
    """The attribute of the same item whose value insert, update and upsert copy; absent = nothing is done."""
    pattern: str | None = None
    """A regular expression: the keys that delete and hash act on, or what extract matches against the value."""
    converted_type: Literal["int", "double", "string"] | None = None
    """What convert makes of the value; a value that cannot be converted stays."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.action in _SETTING and (self.value is None) == (self.from_attribute is None):
            raise ValueError(f"{self.action} needs either value or from_attribute")
        if self.action in _BY_PATTERN and bool(self.key) == (self.pattern is not None):
            raise ValueError(f"{self.action} needs either key or pattern")
        if self.action not in _BY_PATTERN and not self.key:
            raise ValueError(f"{self.action} needs key")
        if self.action == "extract" and "(?P<" not in (self.pattern or ""):
            raise ValueError("extract needs a pattern with named groups, such as ^(?P<user>[^@]+)")
        if self.action == "convert" and self.converted_type is None:
            raise ValueError("convert needs converted_type: int, double or string")
        compile_actions((self,), on_resource=False)
        return self


def compile_actions(actions: tuple[Action, ...], *, on_resource: bool) -> AttributePlan:
    """The plan that native code runs. ValueError where the native side cannot use a pattern."""
    return AttributePlan(json.dumps([_plan(action) for action in actions]), on_resource)


def _plan(action: Action) -> dict[str, Any]:
    match action.action:
        case "insert" | "update" | "upsert":
            copied = action.from_attribute is not None
            source = {"from_attribute": action.from_attribute} if copied else {"value": action.value}
            return {"action": action.action, "key": action.key, "source": source}
        case "delete" | "hash":
            return {"action": action.action, "key": action.key or None, "pattern": action.pattern}
        case "extract":
            return {"action": "extract", "key": action.key, "pattern": action.pattern}
        case "convert":
            return {"action": "convert", "key": action.key, "to": action.converted_type}
