"""From the definitions of all files to one `Registry`: follows references and checks that they make sense."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, cast

from otel_pipeline.errors import Problem
from otel_pipeline.semconv import format as files
from otel_pipeline.semconv.conditions import Scalar, ValueSource
from otel_pipeline.semconv.registry import Attribute, Canonical, Label, Member, Metric, Registry, Rule, Selector, fold
from otel_pipeline.semconv.source import Definition

__all__ = ["MAX_CANONICAL", "resolve"]

MAX_CANONICAL = 64
"""The native pass keeps sets of canonical attributes in 64 bits."""

_KINDS = {"unspecified": 0, "internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_STATUSES = {"unset": 0, "ok": 1, "error": 2}
_NOTES = ("annotations", "otel_pipeline")


def resolve(definitions: Mapping[str, Mapping[str, Definition]]) -> tuple[Registry, list[Problem]]:
    """The registry of the definitions (by section and name), and everything that is wrong with them."""
    resolver = _Resolver(definitions)
    return resolver.registry(), resolver.problems


class _Resolver:
    def __init__(self, definitions: Mapping[str, Mapping[str, Definition]]) -> None:
        self.definitions = definitions
        self.problems: list[Problem] = []

    def section(self, name: str) -> Mapping[str, Definition]:
        return self.definitions.get(name, {})

    def registry(self) -> Registry:
        attributes = {key: self.attribute(entry) for key, entry in self.section("attributes").items()}
        self.check_labels(attributes)
        for section in ("attribute_groups", "entities"):
            for entry in self.section(section).values():
                self.check_refs(entry)
        metrics = {name: self.metric(entry, attributes) for name, entry in self.section("metrics").items()}
        rules = tuple(self.rules(attributes))
        return Registry(attributes, {name: metric for name, metric in metrics.items() if metric}, rules)

    # --- attributes

    def attribute(self, entry: Definition) -> Attribute:
        value: files.AttributeDef = entry.value
        members: tuple[Member, ...] = ()
        if isinstance(value.type, files.EnumType):
            members = tuple(map(_member, value.type.members))
            self.check_members(entry, members)
        kind = value.type if isinstance(value.type, str) else "enum"
        notes = value.annotations.otel_pipeline
        if notes and kind not in ("string", "boolean", "enum"):
            self.problems.append(
                entry.problem(f"a canonical attribute cannot be {kind}", "string, boolean or an enum", "type")
            )
        return Attribute(value.key, kind, value.brief, members, _canonical(notes) if notes else None)

    def check_members(self, entry: Definition, members: Sequence[Member]) -> None:
        owners: dict[str, str] = {}
        for member in members:
            for spelling in {fold(member.value), *(fold(alias) for alias in member.aliases)}:
                owner = owners.setdefault(spelling, member.value)
                if owner != member.value:
                    message = f"{spelling!r} stands for both {owner!r} and {member.value!r}"
                    self.problems.append(entry.problem(message, "", "type", "members"))

    def check_labels(self, attributes: Mapping[str, Attribute]) -> None:
        owners: dict[str, str] = {}
        canonical = [(key, attribute.canonical) for key, attribute in attributes.items() if attribute.canonical]
        for key, notes in canonical:
            entry = self.section("attributes")[key]
            if notes.label and (owner := owners.setdefault(notes.label, key)) != key:
                message = f"the label {notes.label!r} is already that of {owner!r}"
                self.problems.append(entry.problem(message, "", *_NOTES, "label"))
            if key in notes.aliases:
                self.problems.append(entry.problem("an attribute cannot be its own alias", "", *_NOTES, "aliases"))
        if len(canonical) > MAX_CANONICAL:
            entry = self.section("attributes")[canonical[MAX_CANONICAL][0]]
            self.problems.append(entry.problem(f"more than {MAX_CANONICAL} canonical attributes"))

    # --- references

    def check_refs(self, entry: Definition) -> None:
        for field in ("attributes", "identity", "description"):
            for index, ref in enumerate(getattr(entry.value, field, ())):
                self.check_ref(entry, ref, (field, index))

    def check_ref(self, entry: Definition, ref: files.Ref, place: tuple[str | int, ...]) -> bool:
        if ref.ref is not None:
            return self.known(entry, ref.ref, self.section("attributes"), "attribute", *place, "ref")
        name = cast("str", ref.ref_group)
        return self.known(entry, name, self.section("attribute_groups"), "attribute group", *place, "ref_group")

    def known(self, entry: Definition, name: str, among: Mapping[str, Any], what: str, *place: str | int) -> bool:
        if name in among:
            return True
        self.problems.append(entry.problem(f"no {what} is named {name!r}", _did_you_mean(name, among), *place))
        return False

    def flat_refs(
        self, entry: Definition, refs: Iterable[files.Ref], seen: frozenset[str] = frozenset()
    ) -> Iterator[str]:
        """Attribute keys of `refs` with groups followed; a group inside itself is left out."""
        for ref in refs:
            if ref.ref in self.section("attributes"):
                yield cast("str", ref.ref)
            group = ref.ref_group
            if group and group not in seen and group in self.section("attribute_groups"):
                below = self.section("attribute_groups")[group].value.attributes
                yield from self.flat_refs(entry, below, seen | {group})

    # --- metrics

    def metric(self, entry: Definition, attributes: Mapping[str, Attribute]) -> Metric | None:
        self.check_refs(entry)
        value: files.MetricDef = entry.value
        notes = value.annotations.otel_pipeline
        if notes is None:
            return None
        for message, *place in _metric_faults(value, notes):
            self.problems.append(entry.problem(message, "", *place))
        labels = []
        for key in self.flat_refs(entry, value.attributes):
            canonical = attributes[key].canonical
            if canonical is None or canonical.label is None:
                message = f"{key!r} is no label"
                self.problems.append(entry.problem(message, "give it a label in its annotations", "attributes"))
            else:
                labels.append(Label(canonical.label, key, canonical.default))
        instrument: Literal["counter", "histogram"] = "histogram" if value.instrument == "histogram" else "counter"
        return Metric(
            value.name,
            instrument,
            value.unit,
            value.brief,
            tuple(labels),
            notes.source,
            notes.value,
            notes.buckets,
            notes.exemplars,
        )

    # --- rules

    def rules(self, attributes: Mapping[str, Attribute]) -> Iterator[Rule]:
        """In the order in which they are tried: later directories first, those of a sender before general ones."""
        found: list[tuple[int, bool, Rule]] = []
        senders = {
            name: _selector(entry.value.annotations.otel_pipeline) for name, entry in self.section("entities").items()
        }
        for section in ("entities", "spans"):
            for name, entry in self.section(section).items():
                self.check_refs(entry)
                sender = senders.get(name) if section == "entities" else self.sender(entry, senders)
                notes = entry.value.annotations.otel_pipeline
                if notes is not None and self.check_rule(entry, notes, sender, attributes):
                    match = _selector(notes) if section == "spans" else _selector(files.RuleNotes())
                    found.append((-entry.layer, sender is None, Rule(name, sender, match, notes.set)))
        yield from (rule for _, _, rule in sorted(found, key=lambda one: one[:2]) if rule.set)

    def sender(self, entry: Definition, senders: Mapping[str, Selector]) -> Selector | None:
        associations = entry.value.entity_associations
        if not associations:
            return None
        if len(associations) > 1 or not isinstance(associations[0], str):
            message = "a span is that of one sender"
            self.problems.append(entry.problem(message, "describe it once for each", "entity_associations"))
        elif self.known(entry, associations[0], senders, "entity", "entity_associations", 0):
            return senders[associations[0]]
        return None

    def check_rule(
        self, entry: Definition, notes: files.RuleNotes, sender: Selector | None, attributes: Mapping[str, Attribute]
    ) -> bool:
        before = len(self.problems)
        selector = _selector(notes)
        if isinstance(entry.value, files.Entity):
            if selector.needs_span:
                message = "a sender is recognised by its resource and scope alone"
                self.problems.append(entry.problem(message, "move it to a span", *_NOTES, "match"))
            sender = None
        if notes.set and selector.is_empty and (sender is None or sender.is_empty):
            self.problems.append(entry.problem("matches everything", "give it a match", *_NOTES))
        canonical = {key: attribute for key, attribute in attributes.items() if attribute.canonical}
        for key, value in notes.set.items():
            if self.known(entry, key, canonical, "canonical attribute", *_NOTES, "set", key):
                for message in _set_faults(attributes, key, value):
                    self.problems.append(entry.problem(message, "", *_NOTES, "set", key))
        return len(self.problems) == before


def _did_you_mean(name: str, among: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, among, n=1)
    return f"did you mean {close[0]!r}?" if close else ""


def _member(member: files.EnumMember) -> Member:
    value = member.id if member.value is None else str(member.value)
    notes = member.annotations.otel_pipeline
    return Member(value, notes.aliases, notes.properties)


def _canonical(notes: files.AttributeNotes) -> Canonical:
    return Canonical(
        aliases=notes.aliases,
        label=notes.label,
        default=notes.default,
        inherit=notes.inherit,
        expected=notes.expected,
        other=notes.other,
        low_cardinality=notes.low_cardinality,
    )


def _metric_faults(metric: files.MetricDef, notes: files.MetricNotes) -> Iterator[tuple[str, *tuple[str, ...]]]:
    if metric.instrument not in ("counter", "histogram"):
        yield f"a derived metric cannot be a {metric.instrument}", "instrument"
    if (metric.instrument == "histogram") != bool(notes.buckets):
        yield "buckets belong to histograms, and every derived histogram needs them", *_NOTES
    if notes.value == "duration" and metric.unit != "s":
        yield f"a duration is in s, not {metric.unit!r}", "unit"


def _selector(notes: files.RuleNotes | None) -> Selector:
    match = notes.match if notes else files.MatchNotes()
    return Selector(
        resource=match.resource,
        scope_name=match.scope_name,
        scope_version=match.scope_version,
        scope_attributes=match.scope_attributes,
        name=match.name,
        kinds=frozenset(_KINDS[kind] for kind in match.kind),
        statuses=frozenset(_STATUSES[status] for status in match.status),
        event=match.event,
        attributes=match.attributes,
    )


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
