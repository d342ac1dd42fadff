"""What may stand in a file: the OpenTelemetry registry format `definition/2`, as far as the gateway reads it.

The format itself is defined by OpenTelemetry Weaver's JSON schema; our own additions under `annotations:
otel_pipeline:` are in `notes`. Parts the gateway has no use for are let through.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, Tag, model_validator

from otel_pipeline.semconv.metric_notes import MetricNotes
from otel_pipeline.semconv.notes import (
    AttributeNotes,
    Key,
    MemberNotes,
    Notes,
    RefNotes,
    RuleNotes,
    SpanKind,
)

__all__ = [
    "AttributeAnnotations",
    "AttributeDef",
    "AttributeGroup",
    "Entity",
    "EnumMember",
    "EnumType",
    "EventDef",
    "File",
    "MemberAnnotations",
    "MetricAnnotations",
    "MetricDef",
    "Primitive",
    "Ref",
    "RefAnnotations",
    "RuleAnnotations",
    "SpanDef",
    "SpanName",
    "Stability",
]

Stability = Literal["stable", "release_candidate", "beta", "alpha", "development", "deprecated"]


class MemberAnnotations(BaseModel):
    """Annotations of a member; those of other tools are left alone."""

    otel_pipeline: MemberNotes = MemberNotes()


class AttributeAnnotations(BaseModel):
    """Annotations of an attribute."""

    otel_pipeline: AttributeNotes | None = None


class MetricAnnotations(BaseModel):
    """Annotations of a metric."""

    otel_pipeline: MetricNotes | None = None


class RuleAnnotations(BaseModel):
    """Annotations of a span, an event or an entity."""

    otel_pipeline: RuleNotes | None = None


class RefAnnotations(BaseModel):
    """Annotations of a reference."""

    otel_pipeline: RefNotes | None = None


class _Described(Notes):
    brief: str
    stability: Stability
    note: str = ""
    deprecated: dict[str, Any] | None = None


class EnumMember(Notes):
    """A member of an enum."""

    id: Key
    value: str | int | bool | None = None
    brief: str | None = None
    note: str | None = None
    stability: Stability | None = None
    deprecated: dict[str, Any] | None = None
    annotations: MemberAnnotations = MemberAnnotations()


class EnumType(Notes):
    """The type of an attribute with known values."""

    members: tuple[EnumMember, ...]


Primitive = Annotated[str, Field(pattern=r"^(template\[)?(string|int|double|boolean|any)(\[\])?\]?$")]
AttributeType = Annotated[
    Annotated[EnumType, Tag("<members>")] | Annotated[Primitive, Tag("<text>")],
    Discriminator(lambda value: "<members>" if isinstance(value, dict | EnumType) else "<text>"),
]


class AttributeDef(_Described):
    """Defines an attribute."""

    key: Key
    type: AttributeType
    examples: Any = None
    annotations: AttributeAnnotations = AttributeAnnotations()


class Ref(Notes):
    """Takes up an attribute, or a group of them, by name."""

    ref: Key | None = None
    ref_group: Key | None = None
    brief: str | None = None
    note: str | None = None
    examples: Any = None
    stability: Stability | None = None
    deprecated: dict[str, Any] | None = None
    requirement_level: Any = None
    role: str | None = None
    sampling_relevant: bool | None = None
    annotations: RefAnnotations = RefAnnotations()

    @model_validator(mode="after")
    def _check(self) -> "Ref":
        if (self.ref is None) == (self.ref_group is None):
            raise ValueError("needs either ref or ref_group")
        return self


class AttributeGroup(Notes):
    """Attributes that are taken up together."""

    id: Key
    visibility: Literal["internal", "public"]
    attributes: tuple[Ref, ...] = ()
    brief: str = ""
    stability: Stability | None = None
    note: str = ""
    deprecated: dict[str, Any] | None = None
    annotations: dict[str, Any] | None = None


class MetricDef(_Described):
    """Defines a metric: one that is derived, or one that some sender gives."""

    name: Key
    instrument: Literal["counter", "updowncounter", "gauge", "histogram"]
    unit: str
    attributes: tuple[Ref, ...] = ()
    entity_associations: list[Any] = Field(default=[])
    requirement_level: Any = None
    annotations: MetricAnnotations = MetricAnnotations()


class SpanName(Notes):
    """How spans of a type are named."""

    note: str


class SpanDef(_Described):
    """Describes a type of span that some sender gives."""

    type: Key
    kind: SpanKind
    name: SpanName
    attributes: tuple[Ref, ...] = ()
    entity_associations: list[Any] = Field(default=[])
    requirement_level: Any = None
    annotations: RuleAnnotations = RuleAnnotations()


class EventDef(_Described):
    """Describes a log record that some sender gives."""

    name: Key
    attributes: tuple[Ref, ...] = ()
    entity_associations: list[Any] = Field(default=[])
    requirement_level: Any = None
    annotations: RuleAnnotations = RuleAnnotations()


class Entity(_Described):
    """Describes a sender: what it is recognised by (`match` on resource and scope), and what holds for all it sends."""

    type: Key
    identity: tuple[Ref, ...]
    description: tuple[Ref, ...] = ()
    requirement_level: Any = None
    annotations: RuleAnnotations = RuleAnnotations()


class File(Notes):
    """One file."""

    file_format: Literal["definition/2"]
    attributes: tuple[AttributeDef, ...] = ()
    attribute_groups: tuple[AttributeGroup, ...] = ()
    metrics: tuple[MetricDef, ...] = ()
    spans: tuple[SpanDef, ...] = ()
    events: tuple[EventDef, ...] = ()
    entities: tuple[Entity, ...] = ()
    event_refinements: list[Any] = Field(default=[])
    metric_refinements: list[Any] = Field(default=[])
    span_refinements: list[Any] = Field(default=[])
    entity_refinements: list[Any] = Field(default=[])
    imports: Any = None
