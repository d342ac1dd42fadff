"""What may stand in a file: the OpenTelemetry registry format `definition/2`, as far as the gateway reads it, and our
own additions under `annotations: otel_pipeline:`.

The format itself is defined by OpenTelemetry Weaver's JSON schema. Parts the gateway has no use for are let through.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, PlainValidator, Tag, model_validator

from otel_pipeline.options import Options
from otel_pipeline.semconv.conditions import Condition, Scalar, ValueSource, parse_condition, parse_source

__all__ = ["AttributeDef", "Entity", "File", "MatchNotes", "MetricDef", "RuleNotes", "Span"]

Test = Annotated[Condition, PlainValidator(parse_condition)]
Source = Annotated[ValueSource | Scalar, PlainValidator(parse_source)]
Key = Annotated[str, Field(min_length=1)]
OneOrMore = BeforeValidator(lambda value: value if isinstance(value, list) else [value])
Stability = Literal["stable", "release_candidate", "beta", "alpha", "development", "deprecated"]
SpanKind = Literal["internal", "server", "client", "producer", "consumer"]


class _Model(Options):
    model_config = ConfigDict(protected_namespaces=())


class MemberNotes(_Model):
    """Ours, on a member of an enum."""

    aliases: tuple[Key, ...] = ()
    """Other ways to write the value. `*` and `?` make a glob; case, spaces, `-`, `.` and `/` do not count."""
    properties: dict[str, str] = Field(default={})
    """Further facts for rules to look up (`member:`): the provider of a model."""


class AttributeNotes(_Model):
    """Ours, on an attribute: makes it canonical, one that the gateway writes."""

    aliases: tuple[Key, ...] = ()
    """Other attributes that are read for it, in order of preference."""
    label: Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")] | None = None
    """Name of the Prometheus label. Left out: never a label."""
    default: str = "unknown"
    """What metrics show where it is not known."""
    inherit: bool = False
    """A span without a value takes that of its nearest ancestor."""
    expected: bool = False
    """Items without it are counted, by sender."""
    other: Key | None = None
    """Closes the list of values: whatever is no member (or not of `low_cardinality`) becomes this."""
    low_cardinality: Literal["identifier", "name"] | None = None
    """Only short texts of letters, digits and a few signs, with at most six digits; `name` allows spaces too."""

    extend: bool = False
    """In a user's directory: adds members and aliases, before those of the shipped definition, which stays as it is."""

    @model_validator(mode="after")
    def _check(self) -> "AttributeNotes":
        if self.low_cardinality and self.other is None:
            raise ValueError("low_cardinality needs other: the value that takes the place of what is not allowed")
        return self


class MetricNotes(_Model):
    """Ours, on a metric: makes it one that the gateway derives from spans."""

    source: Literal["stage_runs", "errors", "spans"]
    """One observation for each stage run, for each error where it originates, or for each span that is no stage run."""
    value: Literal["duration", "one"]
    """What is observed."""
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram, in the metric's unit, ascending."""
    exemplars: bool = False
    """Observations carry trace and span id."""

    @model_validator(mode="after")
    def _check(self) -> "MetricNotes":
        if list(self.buckets) != sorted(set(self.buckets)):
            raise ValueError("buckets must ascend")
        return self


class MatchNotes(_Model):
    """Conditions on a span and what is around it; all must hold."""

    resource: dict[Key, Test] = Field(default={})
    """By attribute of the resource."""
    scope_name: Test | None = None
    scope_version: Test | None = None
    scope_attributes: dict[Key, Test] = Field(default={})
    name: Test | None = None
    """Name of the span."""
    kind: Annotated[tuple[Literal["unspecified", SpanKind], ...], OneOrMore] = ()
    status: Annotated[tuple[Literal["unset", "ok", "error"], ...], OneOrMore] = ()
    event: Test | None = None
    """Name of at least one event of the span."""
    attributes: dict[Key, Test] = Field(default={})
    """By attribute of the span; of a canonical attribute the value found so far."""


class RuleNotes(_Model):
    """Ours, on a span or an entity: how it is recognised, and what canonical attributes it then gets."""

    match: MatchNotes = MatchNotes()
    set: dict[Key, Source] = Field(default={})


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
    """Annotations of a span or an entity."""

    otel_pipeline: RuleNotes | None = None


class _Described(_Model):
    brief: str
    stability: Stability
    note: str = ""
    deprecated: dict[str, Any] | None = None


class EnumMember(_Model):
    """A member of an enum."""

    id: Key
    value: str | int | bool | None = None
    brief: str | None = None
    note: str | None = None
    stability: Stability | None = None
    deprecated: dict[str, Any] | None = None
    annotations: MemberAnnotations = MemberAnnotations()


class EnumType(_Model):
    """The type of an attribute with known values."""

    members: tuple[EnumMember, ...]


Primitive = Annotated[str, Field(pattern=r"^(template\[)?(string|int|double|boolean|any)(\[\])?\]?$")]
AttributeType = Annotated[
    Annotated[EnumType, Tag("members")] | Annotated[Primitive, Tag("text")],
    Discriminator(lambda value: "members" if isinstance(value, dict | EnumType) else "text"),
]


class AttributeDef(_Described):
    """Defines an attribute."""

    key: Key
    type: AttributeType
    examples: Any = None
    annotations: AttributeAnnotations = AttributeAnnotations()


class Ref(_Model):
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
    annotations: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _check(self) -> "Ref":
        if (self.ref is None) == (self.ref_group is None):
            raise ValueError("needs either ref or ref_group")
        return self


class AttributeGroup(_Model):
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
    """Defines a metric."""

    name: Key
    instrument: Literal["counter", "updowncounter", "gauge", "histogram"]
    unit: str
    attributes: tuple[Ref, ...] = ()
    entity_associations: list[Any] = Field(default=[])
    requirement_level: Any = None
    annotations: MetricAnnotations = MetricAnnotations()


class SpanName(_Model):
    """How spans of a type are named."""

    note: str


class Span(_Described):
    """Describes a type of span that some sender gives."""

    type: Key
    kind: SpanKind
    name: SpanName
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


class File(_Model):
    """One file."""

    file_format: Literal["definition/2"]
    attributes: tuple[AttributeDef, ...] = ()
    attribute_groups: tuple[AttributeGroup, ...] = ()
    metrics: tuple[MetricDef, ...] = ()
    spans: tuple[Span, ...] = ()
    entities: tuple[Entity, ...] = ()
    events: list[Any] = Field(default=[])
    event_refinements: list[Any] = Field(default=[])
    metric_refinements: list[Any] = Field(default=[])
    span_refinements: list[Any] = Field(default=[])
    entity_refinements: list[Any] = Field(default=[])
    imports: Any = None
