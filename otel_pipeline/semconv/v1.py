"""Reads the older registry format, files with `groups:`, and translates it to the same definitions.

Source: OpenTelemetry semantic conventions, "Semantic Convention YAML Language". What older releases had is read too:
`prefix`, groups of type `resource`, `deprecated` as text, `stability: experimental`, `allow_custom_values`.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from otel_pipeline.semconv import format as files
from otel_pipeline.semconv.notes import Key, Notes, SpanKind
from otel_pipeline.semconv.source import Definition, Place, Source

__all__ = ["GroupsFile", "entries"]


def _deprecated(value: Any) -> Any:
    return {"reason": "uncategorized", "note": value} if isinstance(value, str) else value


def _stability(value: Any) -> Any:
    return "development" if value in (None, "experimental") else value


Deprecated = Annotated[dict[str, Any] | None, BeforeValidator(_deprecated)]
Stability = Annotated[files.Stability, BeforeValidator(_stability)]


class _Described(Notes):
    brief: str | None = None
    note: str | None = None
    stability: Stability = "development"
    deprecated: Deprecated = None

    def described(self) -> dict[str, Any]:
        """What both formats have alike."""
        return {
            "brief": (self.brief or "").strip(),
            "note": self.note or "",
            "stability": self.stability,
            "deprecated": self.deprecated,
        }


class Member(_Described):
    """A member of an enum."""

    id: Key
    value: str | bool | int | float | None = None
    annotations: files.MemberAnnotations = files.MemberAnnotations()


class Enum(Notes):
    """The type of an attribute with known values."""

    members: tuple[Member, ...]
    allow_custom_values: bool | None = None


class _Use(_Described):
    examples: Any = None
    tag: str | None = None
    requirement_level: Any = None
    role: Literal["identifying", "descriptive"] | None = None
    sampling_relevant: bool | None = None


class AttributeSpec(_Use):
    """Defines an attribute, and takes it up."""

    id: Key
    type: Annotated[
        Annotated[Enum, Tag("<members>")] | Annotated[files.Primitive, Tag("<text>")],
        Discriminator(lambda value: "<members>" if isinstance(value, dict | Enum) else "<text>"),
    ]
    annotations: files.AttributeAnnotations = files.AttributeAnnotations()


class AttributeRef(_Use):
    """Takes up an attribute that another group defines."""

    ref: Key
    annotations: files.RefAnnotations = files.RefAnnotations()


def _use_form(value: Any) -> str:
    return "<ref>" if isinstance(value, AttributeRef) or (isinstance(value, dict) and "ref" in value) else "<id>"


class _Group(_Described):
    id: Key
    name: str | None = None
    prefix: str = ""
    extends: Key | None = None
    display_name: str | None = None
    attributes: tuple[
        Annotated[
            Annotated[AttributeSpec, Tag("<id>")] | Annotated[AttributeRef, Tag("<ref>")],
            Discriminator(_use_form),
        ],
        ...,
    ] = ()
    constraints: Any = None
    body: Any = None
    entity_associations: list[Any] = Field(default=[])

    def key(self, attribute: AttributeSpec | AttributeRef) -> str:
        """Name of the attribute; a prefix is that of the ones defined here."""
        if isinstance(attribute, AttributeRef):
            return attribute.ref
        return f"{self.prefix}.{attribute.id}" if self.prefix else attribute.id


class AttributesGroup(_Group):
    """Attributes that others take up."""

    type: Literal["attribute_group", "metric_group", "scope"]
    annotations: dict[str, Any] | None = None


class MetricGroup(_Group):
    """A metric."""

    type: Literal["metric"]
    metric_name: Key
    instrument: Literal["counter", "updowncounter", "gauge", "histogram"]
    unit: str
    annotations: files.MetricAnnotations = files.MetricAnnotations()


class SpanGroup(_Group):
    """A type of span."""

    type: Literal["span"]
    span_kind: SpanKind = "internal"
    events: list[Any] = Field(default=[])
    annotations: files.RuleAnnotations = files.RuleAnnotations()


class EventGroup(_Group):
    """A log record."""

    type: Literal["event"]
    annotations: files.RuleAnnotations = files.RuleAnnotations()


class EntityGroup(_Group):
    """What telemetry comes from."""

    type: Literal["entity", "resource"]
    annotations: files.RuleAnnotations = files.RuleAnnotations()


Group = Annotated[AttributesGroup | MetricGroup | SpanGroup | EventGroup | EntityGroup, Field(discriminator="type")]


class GroupsFile(Notes):
    """One file."""

    groups: tuple[Group, ...]
    imports: Any = None


def entries(file: GroupsFile, source: Source, layer: int) -> Iterator[tuple[str, str, Definition]]:
    """Section, name and definition of everything in the file, each where it stands there."""
    for index, group in enumerate(file.groups):
        place: Place = ("groups", index)
        for position, attribute in enumerate(group.attributes):
            if isinstance(attribute, AttributeSpec):
                where = (*place, "attributes", position)
                value = _attribute(group.key(attribute), attribute)
                yield "attributes", value.key, Definition(value, source, where, layer)
        for section, name, value in _signals(group):
            yield section, name, Definition(value, source, place, layer)


def _attribute(key: str, spec: AttributeSpec) -> files.AttributeDef:
    kind = spec.type if isinstance(spec.type, str) else files.EnumType(members=tuple(map(_member, spec.type.members)))
    return files.AttributeDef(
        key=key, type=kind, examples=spec.examples, annotations=spec.annotations, **spec.described()
    )


def _member(member: Member) -> files.EnumMember:
    value = str(member.value) if isinstance(member.value, float) else member.value
    return files.EnumMember(id=member.id, value=value, annotations=member.annotations, **member.described())


def _signals(group: Group) -> Iterator[tuple[str, str, Any]]:
    """The group as attributes to take up, since any group may be extended; and as what else it is."""
    refs = tuple(_refs(group))
    attributes = files.AttributeGroup(id=group.id, visibility="public", attributes=refs, brief=group.brief or "")
    yield "attribute_groups", group.id, attributes
    more = {**group.described(), "attributes": refs, "entity_associations": group.entity_associations}
    if isinstance(group, MetricGroup):
        metric = files.MetricDef(
            name=group.metric_name,
            instrument=group.instrument,
            unit=group.unit,
            annotations=group.annotations,
            **more,
        )
        yield "metrics", metric.name, metric
    elif isinstance(group, SpanGroup):
        name = group.id.removeprefix("span.")
        kind = group.span_kind
        span = files.SpanDef(type=name, kind=kind, name=files.SpanName(note=""), annotations=group.annotations, **more)
        yield "spans", span.type, span
    elif isinstance(group, EventGroup):
        event = files.EventDef(
            name=group.name or group.id.removeprefix("event."), annotations=group.annotations, **more
        )
        yield "events", event.name, event
    elif isinstance(group, EntityGroup):
        yield "entities", *_entity(group, refs)


def _entity(group: EntityGroup, refs: Sequence[files.Ref]) -> tuple[str, files.Entity]:
    name = group.name or group.id.removeprefix("entity.").removeprefix("resource.")
    entity = files.Entity(
        type=name,
        identity=tuple(ref for ref in refs if ref.role == "identifying"),
        description=tuple(ref for ref in refs if ref.role != "identifying"),
        annotations=group.annotations,
        **group.described(),
    )
    return name, entity


def _refs(group: Group) -> Iterator[files.Ref]:
    """What the group takes up: of the one it extends, then its own."""
    if group.extends is not None:
        yield files.Ref(ref_group=group.extends)
    for attribute in group.attributes:
        notes = attribute.annotations if isinstance(attribute, AttributeRef) else files.RefAnnotations()
        yield files.Ref(
            ref=group.key(attribute),
            brief=attribute.brief,
            requirement_level=attribute.requirement_level,
            role=attribute.role,
            annotations=notes,
        )
