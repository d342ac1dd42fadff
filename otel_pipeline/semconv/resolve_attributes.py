"""From definitions of attributes to `Attribute`: members, labels, and whether they make sense together."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from otel_pipeline.semconv import format as files
from otel_pipeline.semconv.attributes import (
    Attribute,
    EntityFacts,
    Identity,
    Member,
    ModelFacts,
    Price,
    ProjectFacts,
    StageFacts,
    WaitFacts,
    fold,
)
from otel_pipeline.semconv.notes import AttributeNotes, MemberNotes, TokenPrices
from otel_pipeline.semconv.references import NOTES, References
from otel_pipeline.semconv.signals import read_deprecated
from otel_pipeline.semconv.source import Definition

__all__ = ["MAX_CANONICAL", "resolve_attributes"]

ENTITY_KIND = "sdlc.entity.kind"
MAX_CANONICAL = 64
"""The native pass keeps sets of canonical attributes in 64 bits."""


def resolve_attributes(references: References) -> dict[str, Attribute]:
    """The attributes by key, in the order of the files."""
    section = references.section("attributes")
    attributes = {key: _attribute(entry, references) for key, entry in section.items()}
    _check_labels(attributes, references)
    _check_aliases(attributes, references)
    _check_identities(attributes, references)
    canonical = [key for key, attribute in attributes.items() if attribute.canonical]
    if len(canonical) > MAX_CANONICAL:
        references.problem(section[canonical[MAX_CANONICAL]], f"more than {MAX_CANONICAL} canonical attributes")
    return attributes


def _attribute(entry: Definition, references: References) -> Attribute:
    value: files.AttributeDef = entry.value
    kind = value.type if isinstance(value.type, str) else "enum"
    notes = value.annotations.otel_pipeline or AttributeNotes()
    for message, hint, *place in _faults(value.key, kind, notes):
        references.problem(entry, message, hint, *place)
    members: tuple[Member, ...] = ()
    if isinstance(value.type, files.EnumType):
        members = tuple(map(_member, value.type.members))
        if value.annotations.otel_pipeline:
            _check_members(entry, members, references)
    return Attribute(
        key=value.key,
        type=kind,
        brief=value.brief,
        members=members,
        canonical=notes.canonical,
        aliases=notes.aliases,
        label=notes.label,
        default=notes.default,
        buckets=tuple(notes.buckets.items()),
        inherit=notes.inherit,
        expected=notes.expected,
        other=notes.other,
        low_cardinality=notes.low_cardinality,
        identifies=Identity(**dict(notes.identifies)) if notes.identifies else None,
        content=notes.content,
        stability=value.stability,
        examples=_texts(value.examples),
        deprecated=read_deprecated(value.deprecated),
    )


def _faults(key: str, kind: str, notes: AttributeNotes) -> Iterator[tuple[str, ...]]:
    number = kind in ("int", "double")
    if notes.canonical and kind not in ("string", "boolean", "enum"):
        yield f"a canonical attribute cannot be {kind}", "string, boolean or an enum", "type"
    elif notes.label and kind not in ("string", "boolean", "enum", "int", "double"):
        yield f"a label cannot be {kind}", "string, boolean, int, double or an enum", "type"
    if notes.label and number and not notes.buckets:
        yield "a number would make a series of every value", "add buckets", *NOTES, "label"
    if notes.buckets and not number:
        yield "buckets are of numbers", "type: int or double", *NOTES, "buckets"
    if key in notes.aliases:
        yield "an attribute cannot be its own alias", "", *NOTES, "aliases"


def _texts(examples: Any) -> tuple[str, ...]:
    listed = examples if isinstance(examples, list) else [] if examples is None else [examples]
    return tuple(str(example) for example in listed)


# --- members


def _member(member: files.EnumMember) -> Member:
    notes = member.annotations.otel_pipeline
    return Member(
        value=member.id if member.value is None else str(member.value),
        aliases=notes.aliases,
        properties=notes.properties,
        brief=member.brief or "",
        model=_model(notes),
        stage=StageFacts(notes.stage.role, notes.stage.expected_duration, notes.stage.milestone)
        if notes.stage
        else None,
        project=ProjectFacts(**dict(notes.project)) if notes.project else None,
        entity=EntityFacts(**dict(notes.entity)) if notes.entity else None,
        wait=WaitFacts(**dict(notes.wait)) if notes.wait else None,
        number=member.value if type(member.value) is int else None,
    )


def _model(notes: MemberNotes) -> ModelFacts | None:
    if notes.model is None:
        return None
    prices = []
    for price in sorted(notes.model.prices, key=lambda price: price.valid_from):
        since = datetime(price.valid_from.year, price.valid_from.month, price.valid_from.day, tzinfo=UTC)
        from_unix_ns = int(since.timestamp()) * 10**9
        above = price.above
        prices.append(
            Price(
                from_unix_ns,
                _per_million(price),
                above.input_tokens if above else None,
                _per_million(above) if above else {},
            )
        )
    return ModelFacts(notes.model.context_size, tuple(prices))


def _per_million(prices: TokenPrices) -> dict[str, float]:
    told = {
        "input": prices.input,
        "output": prices.output,
        "cache_read": prices.cache_read,
        "cache_creation": prices.cache_creation,
        "reasoning": prices.output if prices.reasoning is None else prices.reasoning,
    }
    return {kind: price for kind, price in told.items() if price is not None}


def _check_members(entry: Definition, members: Sequence[Member], references: References) -> None:
    ids = [member.id for member in entry.value.type.members]
    for member in entry.value.type.members:
        after = member.annotations.otel_pipeline.after
        if after is not None:
            references.known(entry, after, ids, "member", "type", "members")
    owners: dict[str, str] = {}
    for index, member in enumerate(members):
        for spelling in sorted({fold(member.value), *(fold(alias) for alias in member.aliases)}):
            owner = owners.setdefault(spelling, member.value)
            if owner != member.value:
                message = f"{spelling!r} stands for both {owner!r} and {member.value!r}"
                references.problem(entry, message, "", "type", "members", index)


def _check_labels(attributes: Mapping[str, Attribute], references: References) -> None:
    """No two attributes have one label: a reader of a metric could not tell which is meant."""
    owners: dict[str, str] = {}
    for key, attribute in attributes.items():
        if attribute.label and (owner := owners.setdefault(attribute.label, key)) != key:
            hint = (
                "name it otherwise here, and where a metric uses it: {ref: …, annotations: {otel_pipeline: {label: …}}}"
            )
            message = f"the label {attribute.label!r} is already that of {owner!r}"
            references.problem(references.section("attributes")[key], message, hint, *NOTES, "label")


def _check_aliases(attributes: Mapping[str, Attribute], references: References) -> None:
    """No key is read for two canonical attributes: one of them would take what is meant for the other."""
    canonical = {key: attribute for key, attribute in attributes.items() if attribute.canonical}
    owners = {key: key for key in canonical}
    for key, attribute in canonical.items():
        for alias in attribute.aliases:
            if (owner := owners.setdefault(alias, key)) != key:
                message = f"the alias {alias!r} is already read for {owner!r}"
                references.problem(references.section("attributes")[key], message, "", *NOTES, "aliases")


def _check_identities(attributes: Mapping[str, Attribute], references: References) -> None:
    """What is named is of a kind that journeys know, within an attribute that there is."""
    kinds = [member.value for member in attributes[ENTITY_KIND].members] if ENTITY_KIND in attributes else []
    for key, attribute in attributes.items():
        if attribute.identifies is None:
            continue
        entry, place = references.section("attributes")[key], (*NOTES, "identifies")
        references.known(entry, attribute.identifies.kind, kinds, f"member of {ENTITY_KIND}", *place, "kind")
        for field in ("within", "or_within"):
            if within := getattr(attribute.identifies, field):
                references.known(entry, within, attributes, "attribute", *place, field)
