"""Enrichment written plainly over protobuf messages, from the same registry: what the native pass must agree with."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_pipeline.semconv import Attribute, Registry, Rule
from otel_pipeline.semconv.attributes import fold
from otel_pipeline.semconv.conditions import Condition, Scalar, ValueSource
from otel_pipeline.semconv.rules import Item, Selector

Given = dict[str, tuple[int, Scalar]]
"""Canonical attributes with rank (0 = a sender's attribute, n + 1 = rule n) and value."""


Request = ExportTraceServiceRequest | ExportLogsServiceRequest | ExportMetricsServiceRequest


def enrich(request: Request, registry: Registry) -> tuple[Any, Counter[Any], Counter[Any]]:
    """A new request with canonical attributes, and by sender and attribute the items without a value and the values of
    unexpected type."""
    enriched = type(request)()
    enriched.CopyFrom(request)  # type: ignore[arg-type]
    oracle = _Oracle(registry)
    (resources,) = [rows for field, rows in enriched.ListFields() if field.number == 1] or [[]]
    known = [one for resource in resources for one in oracle.resource(resource)]
    oracle.inherit([one for one in known if one.item.span is not None])
    unresolved: Counter[Any] = Counter()
    for one in known:
        for key, attribute in registry.canonical.items():
            if attribute.expected and oracle.value(one, key) is None:
                unresolved[one.sender, key] += 1
    for one in known:
        oracle.write(one.item.attributes, one.values, one.around)
    return enriched, unresolved, oracle.unexpected


@dataclass
class _Item:
    kind: Item
    name: str | None
    attributes: Any
    span: Span | None = None


def _items(scope_items: Any) -> Iterator[_Item]:
    """The spans, log records or data points of a scope, in order."""
    for span in getattr(scope_items, "spans", ()):
        yield _Item("span", span.name, span.attributes, span)
    for record in getattr(scope_items, "log_records", ()):
        yield _Item("event", _log_name(record), record.attributes)
    for metric in getattr(scope_items, "metrics", ()):
        data = metric.WhichOneof("data")
        for point in getattr(metric, data).data_points if data else ():
            yield _Item("point", metric.name, point.attributes)


def _log_name(record: LogRecord) -> str | None:
    attribute = _first(record.attributes, "event.name")
    if attribute and isinstance(attribute[0], str) and attribute[0]:
        return attribute[0]
    if record.event_name:
        return record.event_name
    body = record.body.string_value
    return body if body and len(body.encode()) <= 128 else None


@dataclass
class _Known:
    item: _Item
    sender: str
    values: dict[str, Scalar]
    around: dict[str, Scalar]
    inherited: dict[str, Scalar] = field(default_factory=dict)

    @property
    def span(self) -> Span:
        assert self.item.span is not None
        return self.item.span


class _Oracle:
    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.canonical = registry.canonical
        self.unexpected: Counter[Any] = Counter()

    # --- resources and scopes

    def resource(self, resource_items: Any) -> Iterator[_Known]:
        attributes = resource_items.resource.attributes
        before = list(attributes)
        names = [one.value.string_value for one in before if one.key == "service.name"]
        sender = names[0] if names else ""
        self.count_unexpected(before, sender)
        given = self.given(before)
        for index, rule in enumerate(self.registry.rules):
            if 0 in _levels(rule):
                self.apply_header(rule, index, given, before, None)
        self.write(attributes, _plain(given), {})
        for field_, rows in resource_items.ListFields():
            for scope_items in rows if field_.number == 2 else ():
                yield from self.scope(scope_items, before, given, sender)

    def scope(self, scope_items: Any, resource: Sequence[KeyValue], above: Given, sender: str) -> Iterator[_Known]:
        scope = InstrumentationScope()
        scope.CopyFrom(scope_items.scope)
        self.count_unexpected(scope.attributes, sender)
        given = {**above, **self.given(scope.attributes)}
        for index, rule in enumerate(self.registry.rules):
            if 1 in _levels(rule):
                self.apply_header(rule, index, given, resource, scope)
        self.write(scope_items.scope.attributes, _plain(given), _plain(above))
        for item in _items(scope_items):
            self.count_unexpected(item.attributes, sender)
            yield _Known(item, sender, self.item(item, resource, scope, given), _plain(given))

    def count_unexpected(self, attributes: Sequence[KeyValue], sender: str) -> None:
        """Canonical keys with a value that the attribute does not take; one list counts once for each."""
        for key in {one.key for one in attributes if self.is_unexpected(one)}:
            standing = [one for one in attributes if one.key == key]
            usable = [admit(self.canonical[key], _scalar(one.value)) is not None for one in standing]
            faulty = [self.is_unexpected(one) for one in standing]
            self.unexpected[sender, key] += any(faulty[: usable.index(True)] if True in usable else faulty)

    def is_unexpected(self, one: KeyValue) -> bool:
        empty = one.value.WhichOneof("value") is None or one.value == AnyValue(string_value="")
        return one.key in self.canonical and not empty and admit(self.canonical[one.key], _scalar(one.value)) is None

    def given(self, attributes: Sequence[KeyValue]) -> Given:
        found: Given = {}
        for key, attribute in self.canonical.items():
            value = self.sent(attribute, attributes)
            if value is not None:
                found[key] = (0, normalise(attribute, value))
        return found

    def sent(self, attribute: Attribute, attributes: Sequence[KeyValue]) -> Scalar | None:
        for key in (attribute.key, *attribute.aliases):
            for one in attributes:
                if one.key == key and (value := admit(attribute, _scalar(one.value))) is not None:
                    return value
        return None

    def apply_header(
        self,
        rule: Rule,
        index: int,
        given: Given,
        resource: Sequence[KeyValue],
        scope: InstrumentationScope | None,
    ) -> None:
        if not _header_holds(rule, resource, scope or InstrumentationScope()):
            return
        places = [scope.attributes, resource] if scope else [resource]
        for key, source in rule.set.items():
            if given.get(key, (1 << 30, ""))[0] <= index:
                continue
            value = self.taken(source, None, places, _plain(given))
            if (value := admit(self.canonical[key], value)) is not None:
                given[key] = (index + 1, normalise(self.canonical[key], value))

    # --- items

    def item(
        self, item: _Item, resource: Sequence[KeyValue], scope: InstrumentationScope, around: Given
    ) -> dict[str, Scalar]:
        values = _plain(self.given(item.attributes))
        sent = set(values) | {key for key, (rank, _) in around.items() if rank == 0}
        ruled: set[str] = set()
        places = [item.attributes, scope.attributes, resource]
        for index, rule in enumerate(self.registry.rules):
            if rule.item not in (None, item.kind) or 2 not in _levels(rule):
                continue
            if not _header_holds(rule, resource, scope):
                continue
            wanted = [
                (key, source)
                for key, source in rule.set.items()
                if key not in ruled
                and (key not in sent or _overrides(source))
                and (key in sent or around.get(key, (1 << 30, ""))[0] > index)
            ]
            seen = {**_plain(around), **values}
            if not wanted or not self.item_holds(rule.match, item, seen):
                continue
            for key, source in wanted:
                value = self.taken(source, item, places, {**_plain(around), **values})
                if (value := admit(self.canonical[key], value)) is not None:
                    values[key] = normalise(self.canonical[key], value)
                    ruled.add(key)
        return values

    def item_holds(self, match: Selector, item: _Item, seen: dict[str, Scalar]) -> bool:
        span = item.span
        return (
            (not match.kinds or (span is not None and span.kind in match.kinds))
            and (not match.statuses or (span is not None and span.status.code in match.statuses))
            and (match.name is None or holds(match.name, [] if item.name is None else [item.name]))
            and all(holds(test, self.looked_up(key, item, seen)) for key, test in match.attributes.items())
            and (
                match.event is None or any(holds(match.event, [event.name]) for event in (span.events if span else ()))
            )
        )

    def looked_up(self, key: str, item: _Item, seen: dict[str, Scalar]) -> list[Any]:
        """The value as a list of one; empty where there is none."""
        if key in self.canonical:
            if key not in seen:
                return []
            value = seen[key]
            return [value if isinstance(value, bool) else str(value)]
        return _first(item.attributes, key)

    def taken(
        self,
        source: ValueSource | Scalar,
        item: _Item | None,
        places: Sequence[Sequence[KeyValue]],
        seen: dict[str, Scalar],
    ) -> Scalar | None:
        """The value of a source; `places` are the attributes of the item, its scope and its resource, as far as known."""
        if not isinstance(source, ValueSource):
            return source
        value = source.value
        if source.name and item is not None:
            value = item.name or None
        elif source.resource:
            value = _usable(places[-1], source.resource)
        elif source.event is not None and item is not None:
            events = [event for event in item.span.events if event.name == source.event] if item.span else []
            value = _usable(events[-1].attributes, source.attributes) if events else None
        elif source.attributes and item is not None:
            value = self.first_known(source.attributes, item.attributes, seen)
        elif source.anywhere:
            value = next(filter(_is_there, (self.first_known(source.anywhere, one, seen) for one in places)), None)
        if value is not None and source.regex is not None:
            value = _captured(source.regex, value)
        table = self.registry.table(source)
        if value is None or not table:
            return value
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return next((to for glob, to in table.items() if matches_glob(glob, text)), None)

    def first_known(
        self, keys: Iterable[str], attributes: Sequence[KeyValue], seen: dict[str, Scalar]
    ) -> Scalar | None:
        """Of the first key that has a value: of a canonical one what is known, of others what stands in the list."""
        known = (seen.get(key) if key in self.canonical else _usable(attributes, [key]) for key in keys)
        return next(filter(_is_there, known), None)

    # --- inheritance

    def inherit(self, spans: list[_Known]) -> None:
        by_id: dict[tuple[bytes, bytes], int] = {}
        for index, known in enumerate(spans):
            by_id.setdefault((known.span.trace_id, known.span.span_id), index)
        parents = [
            by_id.get((known.span.trace_id, known.span.parent_span_id)) if any(known.span.parent_span_id) else None
            for known in spans
        ]
        circular = {index for index in range(len(spans)) if _is_circular(index, parents)}
        for index, known in enumerate(spans):
            for key, attribute in self.canonical.items():
                if attribute.inherit and self.value(known, key) is None:
                    at = None if index in circular else parents[index]
                    while at is not None and self.value(spans[at], key) is None:
                        at = None if at in circular else parents[at]
                    if at is not None and (value := self.value(spans[at], key)) is not None:
                        known.inherited[key] = value
        for known in spans:
            known.values.update(known.inherited)

    def value(self, known: _Known, key: str) -> Scalar | None:
        return known.values.get(key, known.around.get(key))

    # --- writing

    def write(self, attributes: Any, values: dict[str, Scalar], around: dict[str, Scalar]) -> None:
        """Puts the values on, but for what stands there already or, where no own value hides it, around it."""
        own = {one.key for one in attributes}
        for key in [*values, *(key for key in around if key in own and key not in values)]:
            value = values.get(key, around.get(key))
            assert value is not None
            admitted = [admit(self.canonical[key], _scalar(one.value)) for one in attributes if one.key == key]
            standing = next(filter(_is_there, admitted), None) if key in own else around.get(key)
            is_bool = isinstance(value, bool)
            if standing is not None and isinstance(standing, bool) == is_bool and str(standing) == str(value):
                continue
            kept = [one for one in attributes if one.key != key]
            del attributes[:]
            attributes.extend(kept)
            typed = AnyValue(bool_value=value) if isinstance(value, bool) else AnyValue(string_value=str(value))
            attributes.append(KeyValue(key=key, value=typed))


def _is_circular(start: int, parents: list[int | None]) -> bool:
    at, seen = parents[start], {start}
    while at is not None and at not in seen:
        seen.add(at)
        at = parents[at]
    return at == start


def _plain(given: Given) -> dict[str, Scalar]:
    return {key: value for key, (_, value) in given.items()}


def _levels(rule: Rule) -> set[int]:
    """Where a rule is tried: 0 at the resource, 1 at the scope, 2 at the item."""
    sources = [one for one in rule.set.values() if isinstance(one, ValueSource)]
    from_item = any(one.attributes or one.name or one.override for one in sources)
    if rule.item in ("event", "point") or rule.match.needs_item or from_item:
        return {2}
    by_scope = rule.match.needs_scope or (rule.sender is not None and rule.sender.needs_scope)
    levels = {1} if by_scope else {0}
    return levels | {1, 2} if any(one.anywhere for one in sources) else levels


def _overrides(source: ValueSource | Scalar) -> bool:
    return isinstance(source, ValueSource) and source.override


def _header_holds(rule: Rule, resource: Sequence[KeyValue], scope: InstrumentationScope) -> bool:
    return all(
        all(holds(test, _first(resource, key)) for key, test in selector.resource.items())
        and all(holds(test, _first(scope.attributes, key)) for key, test in selector.scope_attributes.items())
        and (selector.scope_name is None or holds(selector.scope_name, [scope.name]))
        and (selector.scope_version is None or holds(selector.scope_version, [scope.version]))
        for selector in (rule.sender, rule.match)
        if selector is not None
    )


def holds(test: Condition, value: list[Any]) -> bool:
    """Whether a condition holds for a value (a list of one), or for none (an empty list)."""
    if test.any_of:
        return any(holds(one, value) for one in test.any_of)
    if test.negated:
        return not holds(test.negated, value)
    if test.present is not None:
        return bool(value) == test.present
    if not value:
        return False
    (one,) = value
    if test.literal is not None:
        return type(one) is type(test.literal) and bool(one == test.literal)
    if test.glob is not None:
        return isinstance(one, str) and matches_glob(test.glob, one)
    if test.regex is not None:
        return isinstance(one, str) and re.search(test.regex, one) is not None
    if isinstance(one, bool) or not isinstance(one, int | float):
        return False
    return (test.at_least is None or one >= test.at_least) and (test.below is None or one < test.below)


def matches_glob(glob: str, text: str) -> bool:
    """Whether a glob covers the text."""
    return re.match(translate(glob.replace("[", "[[]")), text) is not None


def normalise(attribute: Attribute, value: Scalar) -> Scalar:
    """The one form of a value."""
    if attribute.type == "boolean":
        return value == "true" if isinstance(value, str) else value
    text = str(value)
    spellings = [(fold(one), member.value) for member in attribute.members for one in (member.value, *member.aliases)]
    if len(text.encode()) <= 256:
        exact = [member for spelling, member in spellings if spelling == fold(text)]
        close = [member for spelling, member in spellings if matches_glob(spelling, fold(text))]
        if exact or close:
            return (exact or close)[0]
    if attribute.low_cardinality and _is_low_cardinality(text, attribute.low_cardinality == "name"):
        return value
    return value if attribute.other is None else attribute.other


def _is_low_cardinality(text: str, name: bool) -> bool:
    allowed = r"[a-zA-Z0-9_.:$\-/<>()\[\],#" + (r" {}*+&@\x80-\U0010ffff" if name else "") + "]*"
    digits = sum(character in "0123456789" for character in text)
    return len(text.encode()) <= 80 and re.fullmatch(allowed, text) is not None and digits <= (2 if name else 6)


def admit(attribute: Attribute, value: Scalar | None) -> Scalar | None:
    """The value as the attribute takes it; None where it cannot."""
    if attribute.type == "boolean":
        return value if isinstance(value, bool) or value in ("true", "false") else None
    return str(value).lower() if isinstance(value, bool) else value


def _captured(pattern: str, value: Scalar) -> str | None:
    found = re.search(pattern, value) if isinstance(value, str) else None
    if found is None:
        return None
    return (found.group(1) if found.re.groups and found.group(1) is not None else found.group(0)) or None


def _first(attributes: Iterable[KeyValue], key: str) -> list[Any]:
    for one in attributes:
        if one.key == key:
            kind = one.value.WhichOneof("value")
            return [
                getattr(one.value, kind) if kind in ("string_value", "bool_value", "int_value", "double_value") else ()
            ]
    return []


def _usable(attributes: Sequence[KeyValue], keys: Iterable[str]) -> Scalar | None:
    """Of the first key whose first value is text, int or bool."""
    for key in keys:
        first = next((_scalar(one.value) for one in attributes if one.key == key), None)
        if first is not None:
            return first
    return None


def _is_there(value: Any) -> bool:
    return value is not None


def _scalar(value: AnyValue) -> Scalar | None:
    kind = value.WhichOneof("value")
    if kind not in ("string_value", "bool_value", "int_value"):
        return None
    found: Scalar = getattr(value, kind)
    return None if found == "" else found
