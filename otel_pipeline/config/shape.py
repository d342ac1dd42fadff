"""What an options class takes, by its JSON schema: to fill nulls, suggest names, find secrets, write the reference."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from otel_pipeline.config.tree import UNKNOWN, Node, Path

__all__ = ["Shape", "shape_of"]

_Schema = Mapping[str, Any]


class Shape:
    """What may stand at one place: one or more schemas, with references resolved and null left out."""

    def __init__(self, schemas: list[_Schema], definitions: _Schema) -> None:
        self._definitions = definitions
        self.alternatives = [leaf for schema in schemas for leaf in self._flatten(schema)]
        self.schema: _Schema = schemas[0] if schemas else {}
        """As the option declares it, with its own `default` and `description`."""

    def _flatten(self, schema: _Schema) -> Iterator[_Schema]:
        if "$ref" in schema:
            yield from self._flatten(self._definitions[schema["$ref"].rpartition("/")[2]])
            return
        for word in ("anyOf", "oneOf", "allOf"):
            if word in schema:
                for alternative in schema[word]:
                    yield from self._flatten(alternative)
                return
        if schema.get("type") != "null":
            yield schema

    @property
    def options(self) -> dict[str, _Schema]:
        """The options of a group by name, in order; empty for anything but a group."""
        return {name: schema for group in self.alternatives for name, schema in group.get("properties", {}).items()}

    @property
    def description(self) -> str:
        """The documentation of the option, or of the group where it has none of its own."""
        own: str = self.schema.get("description", "")
        return own or " ".join(group.get("description", "") for group in self.alternatives).strip()

    @property
    def is_group(self) -> bool:
        """Whether only a group of options will do."""
        return bool(self.alternatives) and all("properties" in schema for schema in self.alternatives)

    @property
    def groups(self) -> "Shape":
        """The groups among what may stand here."""
        return Shape([schema for schema in self.alternatives if "properties" in schema], self._definitions)

    @property
    def is_text(self) -> bool:
        """Whether only text will do."""
        return bool(self.alternatives) and all(schema.get("type") == "string" for schema in self.alternatives)

    @property
    def is_secret(self) -> bool:
        """Whether the value itself is never to be shown."""
        return any(schema.get("format") == "password" for schema in self.alternatives)

    def child(self, key: str | int) -> "Shape":
        """What may stand below: an option, a value of a mapping, an entry of a list."""
        found: list[_Schema] = []
        for schema in self.alternatives:
            if key in schema.get("properties", {}):
                found.append(schema["properties"][key])
            elif isinstance(key, int) and schema.get("type") == "array":
                prefix = schema.get("prefixItems", [])
                found.append(prefix[key] if key < len(prefix) else schema.get("items", {}))
            elif isinstance(schema.get("additionalProperties"), dict):
                found.append(schema["additionalProperties"])
        return Shape(found, self._definitions)

    def option_shapes(self) -> dict[str, "Shape"]:
        """The options of a group by name, in order."""
        return {name: self.child(name) for name in self.options}

    @property
    def value(self) -> "Shape":
        """What a mapping with free keys holds; without alternatives for anything else."""
        values = [schema.get("additionalProperties") for schema in self.alternatives]
        return Shape([value for value in values if isinstance(value, dict)], self._definitions)

    @property
    def entry(self) -> "Shape":
        """What a list holds; without alternatives for anything else."""
        return Shape([schema["items"] for schema in self.alternatives if "items" in schema], self._definitions)

    def at(self, path: Path) -> "Shape":
        """What may stand further below."""
        shape = self
        for key in path:
            shape = shape.child(key)
        return shape

    def holds_secrets(self, depth: int = 8) -> bool:
        """Whether a secret may stand here or anywhere below."""
        if self.is_secret:
            return True
        if depth == 0:
            return False
        return any(below.holds_secrets(depth - 1) for below in [*self.option_shapes().values(), self.value, self.entry])

    def fit(self, node: Node) -> Any:
        """The plain value of `node` for this place.

        Null means the default; where a group is off by default, null turns it on with its own defaults, as in the
        Collector. A value from the environment that looks like a number stays text where only text will do.
        """
        if node.text and self.is_text and node.value is not UNKNOWN:
            return node.text
        if isinstance(node.value, dict):
            return dict(self._fit_entries(node.value))
        if isinstance(node.value, list):
            return [self.child(index).fit(child) for index, child in enumerate(node.value)]
        return {} if node.value is None and self.is_group else node.value

    def _fit_entries(self, entries: Mapping[str, Node]) -> Iterator[tuple[str, Any]]:
        for key, node in entries.items():
            shape = self.child(key)
            means_default = node.value is None and key in self.options and not (node.text and shape.is_text)
            turns_on = shape.is_group and shape.schema.get("default") is None
            if not means_default or turns_on:
                yield key, shape.fit(node)


@cache
def shape_of(options: type[BaseModel]) -> Shape:
    """The shape of an options class."""
    schema = options.model_json_schema()
    return Shape([schema], schema.get("$defs", {}))
