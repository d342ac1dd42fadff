"""Attributes as the files define them, resolved, and what is known of the members of their enums."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from otel_pipeline.semconv.signals import Deprecated

__all__ = [
    "Attribute",
    "ContentKind",
    "EntityFacts",
    "Identity",
    "Member",
    "Milestone",
    "ModelFacts",
    "Price",
    "ProjectFacts",
    "StageFacts",
    "WaitFacts",
    "fold",
    "is_glob",
]

ContentKind = Literal["prompt", "completion", "system_prompt", "tool_arguments", "tool_result", "command", "source"]


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs from one moment on, in USD for a million tokens of each kind."""

    from_unix_ns: int
    per_million: Mapping[str, float]
    """By kind of token; a kind that is missing has no known price."""
    above_input_tokens: int | None
    """Requests with a longer prompt (all input kinds together) cost `per_million_above`; None: no such price."""
    per_million_above: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Of a member of `sdlc.model.name`."""

    context_size: int | None
    """Tokens."""
    prices: tuple[Price, ...]
    """Oldest first."""


Milestone = Literal["commit", "deployment", "acceptance"]
"""A stage whose runs begin a change, bring it to an environment, or end a requirement."""


@dataclass(frozen=True, slots=True)
class StageFacts:
    """Of a member of `sdlc.stage.name`."""

    role: str | None
    """The role agent: `req_agent`."""
    expected_duration_seconds: float | None
    milestone: Milestone | None
    """What the stage means for a requirement besides its place in the order."""


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """Of a member of `sdlc.project.id`; see `notes.ProjectNotes`."""

    name: str
    owner: str
    cost_centre: str
    repositories: tuple[str, ...]
    services: tuple[str, ...]
    namespaces: tuple[str, ...]
    ticket_patterns: tuple[str, ...]
    stages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EntityFacts:
    """Of a member of `sdlc.entity.kind`."""

    reuse: bool
    """Lives on and serves several requirements in turn."""
    never: tuple[str, ...]
    """Values that name nothing, or what everybody works on: globs, in whatever case."""
    lower_case: bool
    """Capitals mean nothing in its values."""


Values = Mapping[str, tuple[str, ...]]
"""Of attributes, by key."""


@dataclass(frozen=True, slots=True)
class WaitFacts:
    """Of a member of `sdlc.wait.reason`."""

    during: Values
    """Work that has one of these is waiting itself."""
    after: Values
    """What follows work that has one of these is waiting."""
    until_changed: Values
    """What follows is waiting until other work tells another value."""


@dataclass(frozen=True, slots=True)
class Member:
    """One value of an enum."""

    value: str
    aliases: tuple[str, ...]
    """Other ways to write it; `*` and `?` make a glob. Compared after `fold`."""
    properties: Mapping[str, str]
    """Further facts, for rules that look them up: the provider of a model."""
    brief: str = ""
    model: ModelFacts | None = None
    stage: StageFacts | None = None
    project: ProjectFacts | None = None
    entity: EntityFacts | None = None
    wait: WaitFacts | None = None
    number: int | None = None
    """The value, where it is sent as a number."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The attribute's value names a thing."""

    kind: str
    """A member of `sdlc.entity.kind`."""
    within: str | None
    """The attribute that says where the name is unique."""
    or_within: str | None = None
    """Where that is not told: the attribute within which the thing is looked for."""
    optional: bool = False
    """Names a thing even where neither is told."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of the registry.

    A *canonical* attribute is one that the gateway itself writes. Any attribute with a `label` can be that of a metric.
    """

    key: str
    type: str
    """`string`, `int`, `double`, `boolean`, an array or template of these, `any`, or `enum`."""
    brief: str
    members: tuple[Member, ...]
    """Of an enum, in the order of the files: for `sdlc.stage.name` the order of delivery."""
    canonical: bool
    aliases: tuple[str, ...]
    """Other keys that are read for it, in order of preference."""
    label: str | None
    """The Prometheus label; None where the attribute is never one."""
    default: str
    """What a metric shows where the attribute is not known. Never written to items."""
    buckets: tuple[tuple[str, float], ...]
    """Of a number: what the label shows, and up to which value (inclusive)."""
    inherit: bool
    """A span without a value takes that of its nearest ancestor."""
    expected: bool
    """An item without a value is counted, by sender."""
    other: str | None
    """Any value outside the enum, or that is no identifier where `low_cardinality` is set, becomes this."""
    low_cardinality: Literal["identifier", "name"] | None
    """Only values that look like a name of something are kept: no free text, no ids."""
    identifies: Identity | None
    content: ContentKind | None
    stability: str
    examples: tuple[str, ...]
    deprecated: Deprecated | None = None


_SEPARATORS = str.maketrans(" -./", "____")


def fold(text: str) -> str:
    """How members of an enum and values are compared: ASCII letters in lower case, separators as `_`."""
    return "".join(c.lower() if c.isascii() else c for c in text).translate(_SEPARATORS)


def is_glob(text: str) -> bool:
    """Whether `text` stands for more than itself."""
    return "*" in text or "?" in text
