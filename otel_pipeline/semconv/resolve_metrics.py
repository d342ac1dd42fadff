"""From definitions of derived metrics to `Metric`: labels, derivations, and whether they fit each other."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from otel_pipeline._native import prometheus_name
from otel_pipeline.semconv import format as files
from otel_pipeline.semconv.attributes import Attribute
from otel_pipeline.semconv.conditions import Condition
from otel_pipeline.semconv.metric_notes import DeriveNotes, LabelKeys, LabelMetric, MetricNotes, ValueKeys
from otel_pipeline.semconv.metrics import (
    NANOSECONDS,
    SPAN_SOURCES,
    Derivation,
    Label,
    LabelFrom,
    Metric,
    States,
    ValueKind,
)
from otel_pipeline.semconv.notes import MatchNotes, RefNotes
from otel_pipeline.semconv.references import NOTES, References
from otel_pipeline.semconv.resolve_rules import item_faults, selector
from otel_pipeline.semconv.rules import Item
from otel_pipeline.semconv.source import Definition

__all__ = ["resolve_metrics"]

_ITEMS: dict[str, Item] = {"events": "event", "points": "point"}
_VALUES: dict[str, frozenset[str]] = {
    **dict.fromkeys(SPAN_SOURCES, frozenset({"one", "duration"})),
    "events": frozenset({"one"}),
    "points": frozenset({"one", "point"}),
    "usage": frozenset({"tokens", "cost"}),
    "members": frozenset({"one"}),
    "journeys": frozenset({"one"}),
}


def resolve_metrics(references: References, attributes: Mapping[str, Attribute]) -> dict[str, Metric]:
    """The derived metrics by name, in the order of the files."""
    metrics = {}
    for name, entry in references.section("metrics").items():
        notes: MetricNotes | None = entry.value.annotations.otel_pipeline
        if notes is not None and notes.derive:
            references.check(entry)
            metrics[name] = _metric(entry, notes, references, attributes)
    return metrics


def _metric(
    entry: Definition, notes: MetricNotes, references: References, attributes: Mapping[str, Attribute]
) -> Metric:
    value: files.MetricDef = entry.value
    if (value.instrument == "histogram") != bool(notes.buckets):
        message = "buckets belong to histograms, and every derived histogram needs them"
        references.problem(entry, message, "", *NOTES)
    if notes.exemplars and value.instrument not in ("counter", "histogram"):
        references.problem(entry, f"a {value.instrument} has no exemplars", "", *NOTES, "exemplars")
    labels = tuple(_labels(entry, references, attributes))
    derivations = []
    for index, derive in enumerate(notes.derive):
        place = (*NOTES, "derive", index)
        for message, *below in _faults(value, derive, labels, attributes):
            references.problem(entry, message, "", *place, *below)
        derivations.append(_derivation(value, derive, attributes))
    return Metric(
        name=value.name,
        instrument=value.instrument,
        unit=value.unit,
        brief=value.brief,
        labels=labels,
        derivations=tuple(derivations),
        buckets=notes.buckets,
        exemplars=notes.exemplars,
    )


def _labels(entry: Definition, references: References, attributes: Mapping[str, Attribute]) -> Iterator[Label]:
    owners: dict[str, str] = {}
    for ref in references.flat(entry.value.attributes):
        attribute = attributes[ref.ref or ""]
        notes = ref.annotations.otel_pipeline or RefNotes()
        if attribute.label is None:
            message = f"{attribute.key!r} is no label"
            references.problem(entry, message, "give it a label in its annotations", "attributes")
            continue
        label = Label(
            notes.label or attribute.label,
            attribute.key,
            attribute.default if notes.default is None else notes.default,
        )
        if label.name in owners:
            message = f"the label {label.name!r} is that of both {owners[label.name]!r} and {label.attribute!r}"
            references.problem(entry, message, "", "attributes")
        owners[label.name] = label.attribute
        yield label


def _derivation(metric: files.MetricDef, derive: DeriveNotes, attributes: Mapping[str, Attribute]) -> Derivation:
    early, late = {}, {}
    for key, test in derive.match.attributes.items():
        if key in attributes and attributes[key].canonical:
            late[key] = _texts(test)
        else:
            early[key] = test
    match = selector(derive.match.model_copy(update={"attributes": early}))
    if derive.source == "points" and match.name is None:
        match = replace(match, name=_own_names(metric))
    return Derivation(
        source=derive.source,
        match=match,
        late=late,
        value=_value(derive),
        scale=derive.scale,
        states=_states(derive),
        labels={key: _label_from(source) for key, source in derive.labels.items()},
    )


def _own_names(metric: files.MetricDef) -> Condition:
    names = {metric.name, prometheus_name(metric.name, metric.unit, metric.instrument)}
    return Condition(any_of=tuple(Condition(literal=name) for name in sorted(names)))


def _texts(test: Condition) -> tuple[str, ...]:
    """What a literal or a list of literals asks for; empty for other conditions."""
    if test.any_of:
        texts = [_texts(one) for one in test.any_of]
        return tuple(text for one in texts for text in one) if all(texts) else ()
    if test.literal is None:
        return ()
    return (str(test.literal).lower() if isinstance(test.literal, bool) else str(test.literal),)


def _value(derive: DeriveNotes) -> ValueKind | tuple[str, ...]:
    if isinstance(derive.value, ValueKeys):
        return derive.value.attribute
    return derive.value or ("point" if derive.source == "points" else "one")


def _states(derive: DeriveNotes) -> States | None:
    return States(derive.states.attribute, tuple(derive.states.values.items())) if derive.states else None


def _label_from(source: str | LabelKeys | LabelMetric) -> LabelFrom:
    if isinstance(source, LabelKeys):
        return LabelFrom(attributes=source.attribute)
    return LabelFrom(metric=source.metric) if isinstance(source, LabelMetric) else LabelFrom(value=source)


# --- checks


def _faults(
    metric: files.MetricDef, derive: DeriveNotes, labels: Sequence[Label], attributes: Mapping[str, Attribute]
) -> Iterator[tuple[str, ...]]:
    value = _value(derive)
    if isinstance(value, str) and value not in _VALUES[derive.source]:
        allowed = ", ".join(sorted(_VALUES[derive.source]))
        yield f"{derive.source} have no {value}: {allowed}", "value"
    elif isinstance(value, tuple) and derive.source in ("points", "usage", "members"):
        yield f"{derive.source} have no attributes with numbers", "value"
    if value == "duration" and metric.unit not in NANOSECONDS:
        yield f"a duration is in {', '.join(NANOSECONDS)}, not {metric.unit!r}", "value"
    yield from _match_faults(derive.match, derive.source, attributes)
    if derive.states and (metric.instrument, derive.source) != ("gauge", "points"):
        yield "states are for gauges from points", "states"
    yield from _label_faults(derive, labels, attributes)


def _match_faults(match: MatchNotes, source: str, attributes: Mapping[str, Attribute]) -> Iterator[tuple[str, ...]]:
    for message, key in item_faults(match, _ITEMS.get(source)):
        yield message, "match", key
    if source in ("usage", "members", "journeys") and match.model_fields_set - {"attributes"}:
        yield f"{source} are told apart by canonical attributes only", "match"
    for key, test in match.attributes.items():
        canonical = key in attributes and attributes[key].canonical
        if canonical and not _texts(test):
            message = "is decided after inheritance, where only a literal or a list of literals can be asked for"
            yield f"{key!r} {message}", "match", "attributes", key
        elif not canonical and source in ("usage", "members", "journeys"):
            yield f"{key!r} is no canonical attribute", "match", "attributes", key


def _label_faults(
    derive: DeriveNotes, labels: Sequence[Label], attributes: Mapping[str, Attribute]
) -> Iterator[tuple[str, ...]]:
    keys = {label.attribute for label in labels}
    for key in derive.labels.keys() - keys:
        yield f"{key!r} is no label of this metric", "labels", key
    if derive.states and derive.states.attribute not in keys:
        yield f"{derive.states.attribute!r} is no label of this metric", "states", "attribute"
    if derive.source == "members" and not any(attributes[key].members for key in keys):
        yield "members need a label whose attribute is an enum", "source"
