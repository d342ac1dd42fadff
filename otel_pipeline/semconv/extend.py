"""What `extend: true` does: lays a definition over the one of the same name, instead of putting it in its place."""

from dataclasses import replace
from typing import Any

from otel_pipeline.semconv import format as files
from otel_pipeline.semconv.notes import AttributeNotes, MetricNotes, RuleNotes
from otel_pipeline.semconv.source import Definition

__all__ = ["extended", "extends"]


def extends(value: Any) -> bool:
    """Whether the definition says `extend`."""
    notes = getattr(getattr(value, "annotations", None), "otel_pipeline", None)
    return notes is not None and notes.extend


def extended(old: Definition, new: Definition) -> Definition:
    """`old` with what `new` adds. It stands where `new` stands, so that problems are told there."""
    value, added = old.value, new.value
    if isinstance(value, files.AttributeDef):
        return replace(new, value=_attribute(value, added))
    if isinstance(value, files.MetricDef):
        return replace(new, value=_metric(value, added))
    annotations = files.RuleAnnotations(otel_pipeline=_rule(value.annotations.otel_pipeline, added))
    attributes = {"attributes": (*value.attributes, *added.attributes)} if hasattr(value, "attributes") else {}
    return replace(new, value=value.model_copy(update={"annotations": annotations, **attributes}))


def _attribute(old: files.AttributeDef, new: files.AttributeDef) -> files.AttributeDef:
    kind: Any = old.type
    if isinstance(new.type, files.EnumType):
        kept = old.type.members if isinstance(old.type, files.EnumType) else ()
        ids = {member.id for member in new.type.members}
        kind = files.EnumType(members=(*new.type.members, *(member for member in kept if member.id not in ids)))
    base = old.annotations.otel_pipeline or AttributeNotes()
    added = new.annotations.otel_pipeline or AttributeNotes()
    notes = base.model_copy(update={"aliases": (*added.aliases, *base.aliases)})
    annotations = files.AttributeAnnotations(otel_pipeline=notes)
    return old.model_copy(update={"type": kind, "annotations": annotations})


def _metric(old: files.MetricDef, new: files.MetricDef) -> files.MetricDef:
    base, added = old.annotations.otel_pipeline or MetricNotes(), new.annotations.otel_pipeline or MetricNotes()
    rule = _rule(base, new)
    notes = base.model_copy(
        update={"derive": (*base.derive, *added.derive), "match": rule.match, "set": rule.set, "usage": rule.usage}
    )
    annotations = files.MetricAnnotations(otel_pipeline=notes)
    return old.model_copy(update={"attributes": (*old.attributes, *new.attributes), "annotations": annotations})


def _rule(old: RuleNotes | None, new: Any) -> RuleNotes:
    base, added = old or RuleNotes(), new.annotations.otel_pipeline
    match = added.match if "match" in added.model_fields_set else base.match
    return base.model_copy(
        update={"match": match, "set": {**base.set, **added.set}, "usage": added.usage or base.usage}
    )
