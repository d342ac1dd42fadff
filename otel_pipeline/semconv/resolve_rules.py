"""From definitions of entities, spans, events and senders' metrics to `Rule`."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from otel_pipeline.semconv import format as files
from otel_pipeline.semconv.attributes import Attribute
from otel_pipeline.semconv.conditions import Condition, Scalar, ValueSource
from otel_pipeline.semconv.metric_notes import MetricNotes
from otel_pipeline.semconv.notes import KindNotes, MatchNotes, RuleNotes, SpanNotes, UsageNotes
from otel_pipeline.semconv.projects import PROJECT, project_rules
from otel_pipeline.semconv.references import NOTES, References
from otel_pipeline.semconv.rules import EVERYTHING, TOKEN_KINDS, EventSpan, Item, Rule, Selector, TokenKind, Usage
from otel_pipeline.semconv.source import Definition

__all__ = ["item_faults", "resolve_rules", "selector"]

_KINDS = {"unspecified": 0, "internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_STATUSES = {"unset": 0, "ok": 1, "error": 2}
_UNITS_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_ITEMS: dict[str, Item | None] = {"entities": None, "spans": "span", "events": "event", "metrics": "point"}


def resolve_rules(references: References, attributes: Mapping[str, Attribute]) -> tuple[Rule, ...]:
    """In the order in which they are tried: later directories first, those of a sender before general ones, those of
    projects after both."""
    found: list[tuple[int, int, Rule]] = []
    for section, item in _ITEMS.items():
        for name, entry in references.section(section).items():
            notes = entry.value.annotations.otel_pipeline
            if isinstance(notes, MetricNotes) and notes.derive:
                continue
            references.check(entry)
            if notes is None:
                continue
            sender = _sender(entry, references)
            if _is_right(entry, notes, item, sender, references, attributes):
                rule = _rule(name, notes, item, sender, attributes)
                general = sender is None or sender.is_empty
                found.append((-entry.layer, 1 if general else 0, rule))
    if PROJECT in attributes:
        layer = references.section("attributes")[PROJECT].layer
        found.extend((-layer, 2, rule) for rule in project_rules(attributes))
    return tuple(rule for _, _, rule in sorted(found, key=lambda one: one[:2]) if rule.set or rule.usage or rule.span)


def _rule(
    name: str, notes: RuleNotes, item: Item | None, sender: Selector | None, attributes: Mapping[str, Attribute]
) -> Rule:
    match = selector(notes.match, name if item in ("event", "point") else None)
    if item is None:
        match = EVERYTHING
    values = {key: _with_aliases(value, attributes) for key, value in notes.set.items()}
    usage = _usage(notes.usage) if notes.usage else None
    return Rule(name, item, sender, match, values, usage, _event_span(notes.span) if notes.span else None)


def _with_aliases(value: ValueSource | Scalar, attributes: Mapping[str, Attribute]) -> ValueSource | Scalar:
    """A canonical attribute has its value from its aliases already; of others they are read where it is looked for."""
    if not isinstance(value, ValueSource) or not value.anywhere:
        return value
    keys: list[str] = []
    for key in value.anywhere:
        attribute = attributes.get(key)
        keys += (key,) if attribute is None or attribute.canonical else (key, *attribute.aliases)
    return replace(value, anywhere=tuple(dict.fromkeys(keys)))


def _sender(entry: Definition, references: References) -> Selector | None:
    """What the sender of `entry` must match; of an entity, itself."""
    if isinstance(entry.value, files.Entity):
        notes = entry.value.annotations.otel_pipeline
        return selector(notes.match if notes else MatchNotes())
    associations = entry.value.entity_associations
    if not associations:
        return None
    entities = references.section("entities")
    if len(associations) > 1 or not isinstance(associations[0], str):
        message = "what is sent is that of one sender"
        references.problem(entry, message, "describe it once for each", "entity_associations")
    elif references.known(entry, associations[0], entities, "entity", "entity_associations", 0):
        return _sender(entities[associations[0]], references)
    return None


def selector(match: MatchNotes, name: str | None = None) -> Selector:
    """The conditions as a selector; `name` is the item's where they say none."""
    own_name = Condition(literal=name) if name is not None else None
    return Selector(
        resource=match.resource,
        scope_name=match.scope_name,
        scope_version=match.scope_version,
        scope_attributes=match.scope_attributes,
        name=match.name or own_name,
        kinds=frozenset(_KINDS[kind] for kind in match.kind),
        statuses=frozenset(_STATUSES[status] for status in match.status),
        event=match.event,
        attributes=match.attributes,
    )


def item_faults(match: MatchNotes, item: Item | None) -> Iterator[tuple[str, str]]:
    """Conditions that this kind of item cannot meet, each with its key."""
    if item in ("event", "point"):
        for key in ("kind", "status", "event"):
            if key in match.model_fields_set:
                yield f"only spans have a {key}", key


def _usage(notes: UsageNotes) -> Usage:
    kind = notes.kind
    own: dict[str, TokenKind] = {one: one for one in TOKEN_KINDS}
    return Usage(
        request=notes.request,
        session=notes.session,
        sum=notes.sum,
        tokens=notes.tokens,
        inside=notes.inside,
        cost_usd=notes.cost_usd,
        kind=kind if isinstance(kind, str) else None,
        kind_attribute=kind.attribute if isinstance(kind, KindNotes) else None,
        kinds=(kind.map or own) if isinstance(kind, KindNotes) else {},
        value=notes.value,
    )


def _event_span(notes: SpanNotes) -> EventSpan:
    return EventSpan(
        name=notes.name,
        kind=_KINDS[notes.kind],
        session=notes.session,
        prompt=notes.prompt,
        opens_prompt=notes.opens_prompt,
        duration=notes.duration.attribute if notes.duration else (),
        duration_unit_ns=_UNITS_NS[notes.duration.unit] if notes.duration else 1,
        status=notes.status,
        attributes=notes.attributes,
        carry=notes.carry,
    )


# --- checks


def _is_right(
    entry: Definition,
    notes: RuleNotes,
    item: Item | None,
    sender: Selector | None,
    references: References,
    attributes: Mapping[str, Attribute],
) -> bool:
    before = len(references.problems)
    asked = selector(notes.match)
    if item is None and asked.needs_item:
        message = "a sender is recognised by its resource and scope alone"
        references.problem(entry, message, "move it to a span, an event or a metric", *NOTES, "match")
    constant = any(not isinstance(value, ValueSource) or value.is_constant for value in notes.set.values())
    if constant and asked.is_empty and item in (None, "span") and (item is None or sender is None or sender.is_empty):
        references.problem(entry, "matches everything", "give it a match", *NOTES)
    for message, key in item_faults(notes.match, item):
        references.problem(entry, message, "", *NOTES, "match", key)
    for message in _usage_faults(notes.usage, item):
        references.problem(entry, message, "", *NOTES, "usage")
    for message, *keys in _span_faults(notes.span, item, sender):
        references.problem(entry, message, "", *NOTES, "span", *keys)
    canonical = [key for key, attribute in attributes.items() if attribute.canonical]
    for key, value in notes.set.items():
        if references.known(entry, key, canonical, "canonical attribute", *NOTES, "set", key):
            for message in _set_faults(attributes, key, value):
                references.problem(entry, message, "", *NOTES, "set", key)
    return len(references.problems) == before


def _usage_faults(usage: UsageNotes | None, item: Item | None) -> Iterator[str]:
    if usage is None:
        return
    if item is None:
        yield "a sender has no usage of its own: move it to a span, an event or a metric"
    if (usage.value is not None or usage.kind is not None) and item != "point":
        yield "value and kind are of data points"
    if usage.sum and item == "point":
        yield "data points always tell several requests: leave sum out"
    if item == "point" and usage.value is None:
        yield "needs value: tokens or cost"
    for inner, outer in usage.inside.items():
        if inner == outer:
            yield f"{inner!r} cannot be inside itself"


def _span_faults(span: SpanNotes | None, item: Item | None, sender: Selector | None) -> Iterator[tuple[str, ...]]:
    if span is None:
        return
    if item != "event":
        yield ("only events become spans",)
    elif sender is None or sender.is_empty:
        yield ("needs entity_associations with a sender that has a match: its spans take the place of these",)
    for key, value in (("status", span.status), *span.attributes.items()):
        place = (key,) if key == "status" and value is span.status else ("attributes", key)
        if isinstance(value, ValueSource) and not _is_of_record(value):
            yield "takes value, or attribute with or without map, and nothing else", *place
    source = span.status if isinstance(span.status, ValueSource) else ValueSource(value=span.status)
    if source.attributes and not source.table:
        yield "needs a map to unset, ok or error", "status"
    for status in [source.value] if source.value is not None else source.table.values():
        if status not in _STATUSES:
            yield f"{status!r} is no status: one of {', '.join(_STATUSES)}", "status"


def _is_of_record(source: ValueSource) -> bool:
    others = (source.resource, source.anywhere, source.event, source.name, source.regex, source.member, source.override)
    return not any(others)


def _set_faults(attributes: Mapping[str, Attribute], key: str, value: ValueSource | Scalar) -> Iterator[str]:
    source = value if isinstance(value, ValueSource) else ValueSource(value=value)
    literals = [source.value] if source.value is not None else list(source.table.values())
    boolean = attributes[key].type == "boolean"
    for literal in literals:
        if isinstance(literal, bool) != boolean:
            yield f"{literal!r} is not {'true or false' if boolean else 'text'}"
    if source.member is not None:
        owner = attributes.get(source.attributes[0])
        if owner is None or not any(source.member in member.properties for member in owner.members):
            yield f"no member of {source.attributes[0]!r} has the property {source.member!r}"
