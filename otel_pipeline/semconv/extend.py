"""What `extend: true` does: lays a definition over the one of the same name, instead of putting it in its place."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from otel_pipeline.semconv import format as files
from otel_pipeline.semconv.metric_notes import MetricNotes
from otel_pipeline.semconv.notes import AttributeNotes, RuleNotes
from otel_pipeline.semconv.source import Definition

__all__ = ["extended", "extends", "extension_fault", "has_notes"]


Rule = TypeVar("Rule", bound=RuleNotes)


def extends(value: Any) -> bool:
    """Whether the definition says `extend`."""
    notes = _notes(value)
    return notes is not None and notes.extend


def has_notes(value: Any) -> bool:
    """Whether the definition has notes of ours."""
    return _notes(value) is not None


def _notes(value: Any) -> Any:
    return getattr(getattr(value, "annotations", None), "otel_pipeline", None)


def extension_fault(old: Definition, new: Definition) -> str:
    """Why `new` cannot be laid over `old`; empty where it can."""
    base, added = _notes(old.value), _notes(new.value)
    if isinstance(added, MetricNotes):
        is_derived = isinstance(base, MetricNotes) and bool(base.derive)
        if is_derived and (added.set or added.usage or added.span):
            return "the metric is derived: set and usage are for metrics of senders"
        if not is_derived and added.derive:
            return "the metric is a sender's: derive one of another name"
    return ""


def extended(old: Definition, new: Definition) -> Definition:
    """`old` with what `new` adds. It stands where `new` stands, so that problems are told there."""
    value, added = old.value, new.value
    if isinstance(value, files.AttributeDef):
        return replace(new, value=_attribute(value, added))
    if isinstance(value, files.MetricDef):
        return replace(new, value=_metric(value, added))
    annotations = files.RuleAnnotations(otel_pipeline=_rule(value.annotations.otel_pipeline or RuleNotes(), added))
    attributes = {"attributes": (*value.attributes, *added.attributes)} if hasattr(value, "attributes") else {}
    return replace(new, value=value.model_copy(update={"annotations": annotations, **attributes}))


def _attribute(old: files.AttributeDef, new: files.AttributeDef) -> files.AttributeDef:
    kind: Any = old.type
    if isinstance(new.type, files.EnumType):
        kept = old.type.members if isinstance(old.type, files.EnumType) else ()
        kind = files.EnumType(members=tuple(_members(kept, new.type.members)))
    base = old.annotations.otel_pipeline or AttributeNotes()
    added = new.annotations.otel_pipeline or AttributeNotes()
    notes = base.model_copy(update={"aliases": (*added.aliases, *base.aliases)})
    annotations = files.AttributeAnnotations(otel_pipeline=notes)
    return old.model_copy(update={"type": kind, "annotations": annotations})


def _members(old: Sequence[files.EnumMember], new: Sequence[files.EnumMember]) -> Iterator[files.EnumMember]:
    """The new ones first, but for those that stand `after` another; one of an old id takes its place."""
    ids = {member.id for member in new}
    behind: dict[str | None, list[files.EnumMember]] = {}
    here = {member.id for member in (*old, *new)}
    for member in new:
        after = member.annotations.otel_pipeline.after
        behind.setdefault(after if after in here else None, []).append(member)
    pending = [*behind.pop(None, []), *(member for member in old if member.id not in ids)]
    while pending:
        member = pending.pop(0)
        yield member
        pending[:0] = behind.pop(member.id, [])
    yield from (member for circle in behind.values() for member in circle)


def _metric(old: files.MetricDef, new: files.MetricDef) -> files.MetricDef:
    base, added = old.annotations.otel_pipeline or MetricNotes(), new.annotations.otel_pipeline or MetricNotes()
    notes = base.model_copy(update={"derive": (*base.derive, *added.derive)}) if base.derive else _rule(base, new)
    annotations = files.MetricAnnotations(otel_pipeline=notes)
    return old.model_copy(update={"attributes": (*old.attributes, *new.attributes), "annotations": annotations})


def _rule(base: Rule, new: Any) -> Rule:
    added: RuleNotes = new.annotations.otel_pipeline
    match = added.match if "match" in added.model_fields_set else base.match
    values = {"match": match, "set": {**base.set, **added.set}, "usage": added.usage or base.usage}
    return base.model_copy(update={**values, "span": added.span or base.span})
