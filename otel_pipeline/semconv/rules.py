"""Rules as the files define them, resolved: what they ask of an item, and what they say of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from otel_pipeline.semconv.conditions import Condition, Scalar, ValueSource

__all__ = [
    "DEFAULT_SESSION",
    "EVERYTHING",
    "TOKEN_KINDS",
    "EventSpan",
    "Item",
    "Rule",
    "Selector",
    "TokenKind",
    "Usage",
]

Item = Literal["span", "event", "point"]
TokenKind = Literal["input", "output", "cache_read", "cache_creation", "reasoning"]
TOKEN_KINDS: tuple[TokenKind, ...] = ("input", "output", "cache_read", "cache_creation", "reasoning")
DEFAULT_SESSION = ("session.id", "gen_ai.conversation.id", "conversation.id")


@dataclass(frozen=True, slots=True)
class Selector:
    """What a rule asks of an item, its scope and its resource. All conditions must hold; empty ones always do."""

    resource: Mapping[str, Condition]
    """By attribute of the resource."""
    scope_name: Condition | None
    scope_version: Condition | None
    scope_attributes: Mapping[str, Condition]
    name: Condition | None
    """Of the span, log record or metric."""
    kinds: frozenset[int]
    """Span kinds as in trace.proto; empty for any."""
    statuses: frozenset[int]
    """Status codes as in trace.proto; empty for any."""
    event: Condition | None
    """The name of at least one event of a span."""
    attributes: Mapping[str, Condition]
    """By attribute of the item; of a canonical attribute the value resolved so far."""

    @property
    def needs_item(self) -> bool:
        """False where scope and resource alone decide."""
        return bool(self.name or self.kinds or self.statuses or self.event or self.attributes)

    @property
    def is_empty(self) -> bool:
        """True where it asks for nothing, and so matches everything."""
        return not (self.needs_item or self.needs_scope or self.resource)

    @property
    def needs_scope(self) -> bool:
        """True where the scope is asked for something."""
        return bool(self.scope_name or self.scope_version or self.scope_attributes)


EVERYTHING = Selector(
    resource={},
    scope_name=None,
    scope_version=None,
    scope_attributes={},
    name=None,
    kinds=frozenset(),
    statuses=frozenset(),
    event=None,
    attributes={},
)
"""The selector that asks for nothing."""


@dataclass(frozen=True, slots=True)
class Usage:
    """How an item tells tokens and cost of a model request; keys of each list are tried in order."""

    request: tuple[str, ...]
    """What identifies the request; empty where every item is one."""
    session: tuple[str, ...]
    sum: bool
    """Several requests together."""
    tokens: Mapping[TokenKind, tuple[str, ...]]
    inside: Mapping[TokenKind, TokenKind]
    """The sender counts the first kind inside the second."""
    cost_usd: tuple[str, ...]
    kind: TokenKind | None
    """Of a data point: the kind of tokens, where it is always the same."""
    kind_attribute: str | None
    """Of a data point: the attribute that tells the kind of tokens."""
    kinds: Mapping[str, TokenKind]
    """From the sender's words for kinds to ours; any other word is no kind."""
    value: Literal["tokens", "cost"] | None
    """Of a data point: what its value is."""


@dataclass(frozen=True, slots=True)
class EventSpan:
    """The span that a log record stands for; keys of each list are tried in order."""

    name: str
    kind: int
    """As in trace.proto."""
    session: tuple[str, ...]
    prompt: tuple[str, ...]
    opens_prompt: bool
    duration: tuple[str, ...]
    """Empty where the span has no length."""
    duration_unit_ns: int
    status: ValueSource | Scalar
    attributes: Mapping[str, ValueSource | Scalar]
    carry: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """Gives canonical attributes to what its selector matches. The first rule that gives an attribute a value wins."""

    id: str
    """The type or name of the definition that carries it."""
    item: Item | None
    """What it is for; None: for everything that the sender sends."""
    sender: Selector | None
    """What the sender of the item must match too."""
    match: Selector
    set: Mapping[str, ValueSource | Scalar]
    usage: Usage | None = None
    span: EventSpan | None = None
