"""What the semantic-convention files say, resolved: canonical attributes, metrics, senders and rules.

A *canonical* attribute is one that the gateway itself writes and that metrics take as a label. Its value for a span is
the one nearest to it: on the span, else on its scope, else on its resource.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from otel_pipeline.semconv.conditions import Condition, Scalar, ValueSource

__all__ = ["Attribute", "Canonical", "Label", "Member", "Metric", "Registry", "Rule", "Selector", "fold", "is_glob"]


@dataclass(frozen=True, slots=True)
class Member:
    """One value of an enum."""

    value: str
    aliases: tuple[str, ...]
    """Other ways to write it; `*` and `?` make a glob. Compared after `fold`."""
    properties: Mapping[str, str]
    """Further facts, for rules that look them up: the provider of a model."""


@dataclass(frozen=True, slots=True)
class Canonical:
    """How an attribute gets its value and how it becomes a label."""

    aliases: tuple[str, ...]
    """Other keys that are read for it, in order of preference."""
    label: str | None
    """The Prometheus label; None where the attribute is never one."""
    default: str
    """What a metric shows where the attribute is not known. Never written to items."""
    inherit: bool
    """A span without a value takes that of its nearest ancestor."""
    expected: bool
    """An item without a value is counted, by sender."""
    other: str | None
    """Any value outside the enum, or that is no identifier where `low_cardinality` is set, becomes this."""
    low_cardinality: Literal["identifier", "name"] | None
    """Only values that look like a name of something are kept: no free text, no ids."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of the registry."""

    key: str
    type: str
    """`string`, `int`, `double`, `boolean`, an array or template of these, `any`, or `enum`."""
    brief: str
    members: tuple[Member, ...]
    """Of an enum, in the order of the files: for `sdlc.stage.name` the order of delivery."""
    canonical: Canonical | None


@dataclass(frozen=True, slots=True)
class Label:
    """One label of a metric."""

    name: str
    """Name of the Prometheus label: `project_id`."""
    attribute: str
    """Key of the canonical attribute it is taken from: `sdlc.project.id`."""
    default: str
    """Its value where the attribute is not known: `unknown`."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that the gateway derives from spans."""

    name: str
    """As in the registry: `sdlc.stage.duration`. The Prometheus name follows from name, unit and instrument."""
    instrument: Literal["counter", "histogram"]
    unit: str
    """UCUM: `s`, `{run}`."""
    brief: str
    labels: tuple[Label, ...]
    """In the order in which the file lists the attributes."""
    source: Literal["stage_runs", "errors", "spans"]
    """One observation for each stage run, for each error where it originates, or for each span that is no stage run."""
    value: Literal["duration", "one"]
    """What is observed: the span's duration in `unit`, or 1."""
    buckets: tuple[float, ...]
    """Upper bounds in `unit`, ascending, without +Inf; empty for counters."""
    exemplars: bool
    """Whether observations carry trace and span id."""


@dataclass(frozen=True, slots=True)
class Selector:
    """What a rule asks of a span, its scope and its resource. All conditions must hold; empty ones always do."""

    resource: Mapping[str, Condition]
    """By attribute of the resource."""
    scope_name: Condition | None
    scope_version: Condition | None
    scope_attributes: Mapping[str, Condition]
    name: Condition | None
    """Of the span."""
    kinds: frozenset[int]
    """Span kinds as in trace.proto; empty for any."""
    statuses: frozenset[int]
    """Status codes as in trace.proto; empty for any."""
    event: Condition | None
    """The name of at least one event."""
    attributes: Mapping[str, Condition]
    """By attribute of the span; of a canonical attribute the value resolved so far."""

    @property
    def needs_span(self) -> bool:
        """False where scope and resource alone decide."""
        return bool(self.name or self.kinds or self.statuses or self.event or self.attributes)

    @property
    def is_empty(self) -> bool:
        """True where it asks for nothing, and so matches everything."""
        return not (self.needs_span or self.needs_scope or self.resource)

    @property
    def needs_scope(self) -> bool:
        """True where the scope is asked for something."""
        return bool(self.scope_name or self.scope_version or self.scope_attributes)


@dataclass(frozen=True, slots=True)
class Rule:
    """Gives canonical attributes to what its selector matches. The first rule that gives an attribute a value wins."""

    id: str
    """The type of the span or entity that carries it."""
    sender: Selector | None
    """What the sender of the span must match too."""
    match: Selector
    set: Mapping[str, ValueSource | Scalar]


@dataclass(frozen=True, slots=True)
class Registry:
    """All files together, checked."""

    attributes: Mapping[str, Attribute]
    """Every attribute by key, in the order of the files."""
    metrics: Mapping[str, Metric]
    """The derived metrics by name: those that say where their observations come from."""
    rules: tuple[Rule, ...]
    """In the order in which they are tried."""

    def table(self, source: ValueSource) -> dict[str, Scalar]:
        """What the texts that `source` finds are translated to; empty where they stay."""
        if source.member is None:
            return dict(source.table)
        members = self.attributes[source.attributes[0]].members
        return {one.value: one.properties[source.member] for one in members if source.member in one.properties}

    @property
    def canonical(self) -> dict[str, Attribute]:
        """The canonical attributes by key."""
        return {key: attribute for key, attribute in self.attributes.items() if attribute.canonical}


_SEPARATORS = str.maketrans(" -./", "____")


def fold(text: str) -> str:
    """How members of an enum and values are compared: ASCII letters in lower case, separators as `_`."""
    return "".join(c.lower() if c.isascii() else c for c in text).translate(_SEPARATORS)


def is_glob(text: str) -> bool:
    """Whether `text` stands for more than itself."""
    return "*" in text or "?" in text
