"""What may stand under `annotations: otel_pipeline:` of an attribute, an enum member, a reference, a metric, a span, an
event or an entity: the gateway's own additions to the registry format."""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    model_validator,
)

from otel_pipeline.options import Duration, Options
from otel_pipeline.semconv.attributes import ContentKind, Milestone
from otel_pipeline.semconv.conditions import (
    Condition,
    Scalar,
    ValueSource,
    checked_regex,
    parse_condition,
    parse_source,
)
from otel_pipeline.semconv.rules import DEFAULT_SESSION, TokenKind

__all__ = [
    "AttributeNotes",
    "Key",
    "Keys",
    "KindNotes",
    "MatchNotes",
    "MemberNotes",
    "Notes",
    "ProjectNotes",
    "RefNotes",
    "RuleNotes",
    "SpanKind",
    "SpanNotes",
    "TokenPrices",
    "UsageNotes",
]


def _one_or_more(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


Test = Annotated[Condition, PlainValidator(parse_condition)]
Source = Annotated[ValueSource | Scalar, PlainValidator(parse_source)]
Key = Annotated[str, Field(min_length=1)]
Pattern = Annotated[Key, AfterValidator(checked_regex)]
OneOrMore = BeforeValidator(_one_or_more)
Keys = Annotated[tuple[Key, ...], OneOrMore]
LabelName = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
SpanKind = Literal["internal", "server", "client", "producer", "consumer"]
Price = Annotated[float, Field(ge=0)]


class Notes(Options):
    """A group of keys in a file."""

    model_config = ConfigDict(protected_namespaces=())


class TokenPrices(Notes):
    """USD for a million tokens, by kind. A kind without a price makes the cost of a request unknown, not smaller."""

    input: Price
    output: Price
    cache_read: Price | None = None
    cache_creation: Price | None = None
    reasoning: Price | None = None
    """As `output` where it is left out."""


class LongPromptPrices(TokenPrices):
    """Prices of requests with a long prompt."""

    input_tokens: Annotated[int, Field(gt=0)]
    """The prompt (all input kinds together) is longer than this."""


class PriceNotes(TokenPrices):
    """Prices from one day on."""

    valid_from: date = Field(alias="from")
    """The first day, in UTC: 2025-09-29."""
    above: LongPromptPrices | None = None


class ModelNotes(Notes):
    """On a member of `sdlc.model.name`."""

    context_size: Annotated[int, Field(gt=0)] | None = None
    """Tokens that fit into one request."""
    prices: tuple[PriceNotes, ...] = ()


class StageNotes(Notes):
    """On a member of `sdlc.stage.name`."""

    role: Key | None = None
    """The role agent that does the stage: `req_agent`."""
    expected_duration: Duration | None = None
    """What views compare runs with."""
    milestone: Milestone | None = None
    """`commit`: its first run begins a change. `deployment`: its runs bring changes to an environment. `acceptance`: a
    run that succeeds ends the requirement."""


class ProjectNotes(Notes):
    """On a member of `sdlc.project.id`: what belongs to the project. Globs are allowed except in patterns."""

    name: str = ""
    owner: str = ""
    cost_centre: str = ""
    repositories: tuple[Key, ...] = ()
    """URLs of repositories, or their names."""
    services: tuple[Key, ...] = ()
    """`service.name`."""
    namespaces: tuple[Key, ...] = ()
    """`k8s.namespace.name`, or `service.namespace`."""
    ticket_patterns: tuple[Pattern, ...] = ()
    """Regular expressions that find a requirement in a branch, a change's title or a commit message; of a pattern with
    a group, the group."""
    stages: tuple[Key, ...] = ()
    """Every requirement goes through these: journeys tell which of them nothing was heard of."""


class EntityNotes(Notes):
    """On a member of `sdlc.entity.kind`."""

    reuse: bool = False
    """It lives on and serves several requirements in turn, so that the time tells whose it was."""
    never: tuple[Key, ...] = ()
    """Values that name nothing, or what everybody works on: globs for the whole value, in whatever case."""
    lower_case: bool = False
    """Capitals mean nothing: digests."""


class WaitNotes(Notes):
    """On a member of `sdlc.wait.reason`."""

    during: dict[Key, Keys] = Field(default={})
    """Values of attributes: work that has one of them is waiting itself."""
    after: dict[Key, Keys] = Field(default={})
    """What follows work that has one of them is waiting."""
    until_changed: dict[Key, Keys] = Field(default={})
    """What follows is waiting until other work tells another value of the attribute."""


class MemberNotes(Notes):
    """On a member of an enum."""

    aliases: tuple[Key, ...] = ()
    """Other ways to write the value. `*` and `?` make a glob; case, spaces, `-`, `.` and `/` do not count."""
    properties: dict[str, str] = Field(default={})
    """Further facts for rules to look up (`member:`): the provider of a model."""
    after: Key | None = None
    """In an extension: stands behind the member of this id. Left out: before all that were there, so that its globs are
    tried first."""
    model: ModelNotes | None = None
    stage: StageNotes | None = None
    project: ProjectNotes | None = None
    entity: EntityNotes | None = None
    wait: WaitNotes | None = None


class IdentifiesNotes(Notes):
    """What the attribute's value names."""

    kind: Key
    """A member of `sdlc.entity.kind`."""
    within: Key | None = None
    """The attribute that says where the name is unique: a branch's repository. Without it the value names nothing."""
    or_within: Key | None = None
    """Where `within` is not told: the attribute within which there may be only one of that name."""
    optional: bool = False
    """The value names a thing even where neither is told."""


class AttributeNotes(Notes):
    """On an attribute: who writes it, how it is found, how it becomes a label."""

    canonical: bool = False
    """The gateway itself writes it. Without, an attribute with a `label` is only read, for the metrics that use it."""
    aliases: tuple[Key, ...] = ()
    """Other attributes that are read for it, in order of preference."""
    label: LabelName | None = None
    """Name of the Prometheus label. Left out: never a label."""
    default: str = "unknown"
    """What metrics show where it is not known."""
    buckets: dict[Key, Annotated[float, Field(allow_inf_nan=True)]] = Field(default={})
    """Of a number that is a label: what the label shows, and up to which value (inclusive), ascending; `.inf` last."""
    inherit: bool = False
    """A span without a value takes that of its nearest ancestor. Canonical attributes only."""
    expected: bool = False
    """Items without it are counted, by sender. Canonical attributes only."""
    other: Key | None = None
    """Closes the list of values: whatever is no member (or not of `low_cardinality`) becomes this."""
    low_cardinality: Literal["identifier", "name"] | None = None
    """Only short texts of letters, digits and a few signs, with at most six digits; `name` allows spaces too."""
    identifies: IdentifiesNotes | None = None
    """The value names a thing that telemetry of other senders names too: journeys follow it."""
    content: ContentKind | None = None
    """The value is what people or models wrote, which privacy rules cover."""

    extend: bool = False
    """Adds members and aliases, before those of the shipped definition, which stays as it is."""

    @model_validator(mode="after")
    def _check(self) -> "AttributeNotes":
        if self.low_cardinality and self.other is None:
            raise ValueError("low_cardinality needs other: the value that takes the place of what is not allowed")
        if (self.inherit or self.expected) and not (self.canonical or self.extend):
            raise ValueError("inherit and expected belong to canonical attributes: add canonical: true")
        bounds = list(self.buckets.values())
        if bounds != sorted(set(bounds)):
            raise ValueError("the bounds of buckets must ascend")
        return self


class RefNotes(Notes):
    """On a reference inside a metric: the label there, where it differs."""

    label: LabelName | None = None
    default: str | None = None


class MatchNotes(Notes):
    """Conditions on an item and what is around it; all must hold."""

    resource: dict[Key, Test] = Field(default={})
    """By attribute of the resource."""
    scope_name: Test | None = None
    scope_version: Test | None = None
    scope_attributes: dict[Key, Test] = Field(default={})
    name: Test | None = None
    """Name of the span, log record or metric. Of a log record: the attribute `event.name`, else the field `event_name`,
    else a body that is a text of at most 128 bytes."""
    kind: Annotated[tuple[Literal["unspecified", SpanKind], ...], OneOrMore] = ()
    status: Annotated[tuple[Literal["unset", "ok", "error"], ...], OneOrMore] = ()
    event: Test | None = None
    """Name of at least one event of the span."""
    attributes: dict[Key, Test] = Field(default={})
    """By attribute of the item; of a canonical attribute the value found so far."""


class KindNotes(Notes):
    """Where a data point says what kind of tokens it counts."""

    attribute: Key
    map: dict[str, TokenKind] = Field(default={})
    """From the sender's words; left out: they are ours."""


class UsageNotes(Notes):
    """How an item tells the tokens and the cost of a model request."""

    request: Keys = ()
    """Attributes that identify the request, first that is there: telemetry of one request is counted once. Without:
    every item is a request."""
    session: Keys = DEFAULT_SESSION
    """Attributes that say whose usage it is."""
    sum: bool = False
    """A span or log record that tells several requests together, such as a turn: counted only where its session tells
    no single ones, and never priced as one long prompt."""
    tokens: dict[TokenKind, Keys] = Field(default={})
    """Attributes with numbers of tokens."""
    inside: dict[TokenKind, TokenKind] = Field(default={})
    """This sender counts the first kind inside the second, too; it is subtracted there."""
    cost_usd: Keys = ()
    """Attributes with the cost in USD, where the sender tells it."""
    kind: (
        Annotated[
            Annotated[TokenKind, Tag("<text>")] | Annotated[KindNotes, Tag("<mapping>")],
            Discriminator(lambda value: "<mapping>" if isinstance(value, dict | KindNotes) else "<text>"),
        ]
        | None
    ) = None
    """Of a data point: which kind its value is, always or by an attribute."""
    value: Literal["tokens", "cost"] | None = None
    """Of a data point: what its value is."""

    @model_validator(mode="after")
    def _check(self) -> "UsageNotes":
        if not (self.tokens or self.cost_usd or self.value):
            raise ValueError("usage needs tokens, cost_usd or value")
        if self.sum and self.request:
            raise ValueError("a sum of several requests has no request of its own")
        if self.value == "tokens" and self.kind is None:
            raise ValueError("value: tokens needs kind: the kind of tokens, or the attribute that tells it")
        return self


class DurationNotes(Notes):
    """How long the work of a log record took."""

    attribute: Keys
    """Where the number stands, as a number or as text; the first that is there."""
    unit: Literal["ns", "us", "ms", "s"]


class SpanNotes(Notes):
    """The span that a log record stands for, where its sender sends none. It ends with the record and begins before
    that by its duration. With the name and the attributes of the span that the sender would send, its rules hold."""

    name: Key
    kind: SpanKind = "internal"
    session: Keys = DEFAULT_SESSION
    """Attributes that name the session, here or on the resource; sessions that send spans get none of these."""
    prompt: Keys = ()
    """Attributes that name the prompt. Without: the last prompt of the session that was told before."""
    opens_prompt: bool = False
    """The record begins a prompt: its span lasts until the last work is done for it, and is the parent of that."""
    duration: DurationNotes | None = None
    """Left out: the span has no length."""
    status: Source = "unset"
    """`unset`, `ok` or `error`, always or by an attribute: `{attribute: success, map: {"false": error}}`."""
    attributes: dict[Key, Source] = Field(default={})
    """By key: what stands in another attribute of the record (`{attribute: key, map: ...}`), or always."""
    carry: tuple[Key, ...] = ()
    """Attributes that are taken over as they are. Those that name session and prompt always are, and so are canonical
    ones, unless rules for log records of this sender set them."""

    @model_validator(mode="after")
    def _check(self) -> "SpanNotes":
        if self.opens_prompt and self.duration:
            raise ValueError("a prompt lasts until its last work is done: leave duration out")
        return self


class RuleNotes(Notes):
    """On a span, an event, an entity, or a metric of a sender: how it is recognised, and what it then gets."""

    match: MatchNotes = MatchNotes()
    """For events and metrics, `name` is their own where it is left out."""
    set: dict[Key, Source] = Field(default={})
    """Canonical attributes."""
    usage: UsageNotes | None = None
    span: SpanNotes | None = None
    """Of an event: the span that it becomes where its sender sends no spans (connector `agent_events`)."""
    extend: bool = False
    """Lays `set`, `usage` and `span` over the shipped rule of the same name; `match`, too, where it is given."""
