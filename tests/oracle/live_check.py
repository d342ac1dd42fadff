"""Live-check in plain Python, sample by sample as Weaver does it: what the native pass must agree with."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric as MetricMessage

from otel_pipeline.semconv.attributes import Attribute
from otel_pipeline.semconv.registry import Registry
from otel_pipeline.semconv.signals import Deprecated, Signal

NAME = re.compile(r"[a-z][a-z0-9]*([._][a-z0-9]+)*")
SECRETIVE = re.compile(r"[a-zA-Z0-9_.:$\-/<>()\[\],#]{1,80}")

LEVELS = {
    "missing_attribute": "violation",
    "template_attribute": "information",
    "missing_metric": "violation",
    "missing_event": "violation",
    "deprecated": "violation",
    "type_mismatch": "violation",
    "not_stable": "improvement",
    "unit_mismatch": "violation",
    "unexpected_instrument": "violation",
    "undefined_enum_variant": "information",
    "required_attribute_not_present": "violation",
    "recommended_attribute_not_present": "improvement",
    "opt_in_attribute_not_present": "information",
    "conditionally_required_attribute_not_present": "information",
    "missing_namespace": "improvement",
    "invalid_format": "violation",
    "illegal_namespace": "violation",
    "extends_namespace": "information",
}
ORDER = ("information", "improvement", "violation")

Finding = tuple[str, str]
"""Id and message."""


def type_of(value: AnyValue) -> str | None:
    """What Weaver infers from the value as JSON."""
    match value.WhichOneof("value"):
        case "string_value":
            return "string"
        case "bool_value":
            return "boolean"
        case "int_value":
            return "int"
        case "double_value":
            return "double" if math.isfinite(value.double_value) else None
        case "array_value":
            elements = value.array_value.values
            if any(one.WhichOneof("value") == "array_value" for one in elements):
                return None
            types = {kind for kind in map(type_of, elements) if kind}
            if types == {"int", "double"}:
                types = {"double"}
            return f"{types.pop()}[]" if len(types) == 1 else None
    return None


def fits(found: str, expected: str) -> bool:
    pairs = {("int", "double"), ("int[]", "double[]")}
    return expected == "any" or found == expected or (found, expected) in pairs


@dataclass
class Oracle:
    """Takes messages, keeps the statistics."""

    registry: Registry
    entities: Counter[str] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    highest: Counter[str] = field(default_factory=Counter)
    clean: int = 0
    seen: dict[str, Counter[str]] = field(
        default_factory=lambda: {k: Counter() for k in ("attribute", "metric", "event")}
    )

    def __post_init__(self) -> None:
        every = self.registry.attributes.values()
        self.templates = sorted((a for a in every if a.type.startswith("template")), key=lambda a: -len(a.key))
        self.attributes = {a.key: a for a in every if not a.type.startswith("template")}
        self.metrics = {s.name: s for s in self.registry.signals if s.kind == "metric"}
        self.events: dict[str, Signal] = {}
        for signal in self.registry.signals:
            if signal.kind == "event":
                self.events.update({alias: signal for alias in signal.aliases if alias not in self.events})
                self.events[signal.name] = signal
        self.namespaces = {space for key in self.attributes for space in namespaces(key)}

    # --- walking

    def traces(self, request: Any) -> None:
        for _scope, span in self._items(request.resource_spans, "scope_spans", "spans"):
            self._sample("span", [])
            self._attributes(span.attributes)
            for event in span.events:
                self._sample("span_event", [])
                self._attributes(event.attributes)
            for link in span.links:
                self._sample("span_link", [])
                self._attributes(link.attributes)

    def logs(self, request: Any) -> None:
        for _scope, record in self._items(request.resource_logs, "scope_logs", "log_records"):
            self._attributes(record.attributes)
            self._sample("log", list(self._log(record)))

    def metrics_request(self, request: Any) -> None:
        for _scope, metric in self._items(request.resource_metrics, "scope_metrics", "metrics"):
            self._metric(metric)

    def _items(self, resources: Iterable[Any], scopes: str, items: str) -> Iterator[tuple[Any, Any]]:
        for resource in resources:
            if resource.HasField("resource"):
                self._sample("resource", [])
                self._attributes(resource.resource.attributes)
            for scope in getattr(resource, scopes):
                if scope.HasField("scope") or scope.schema_url:
                    self._sample("instrumentation_scope", [])
                    self._attributes(scope.scope.attributes)
                for item in getattr(scope, items):
                    yield scope, item

    # --- signals

    def _log(self, record: Any) -> Iterator[Finding]:
        attribute = next((a.value.string_value for a in reversed(record.attributes) if a.key == "event.name"), "")
        names = (attribute, record.event_name, record.body.string_value)
        signal = next((self.events[name] for name in names if name in self.events), None)
        name = signal.name if signal else record.event_name or attribute
        if not name:
            return
        self.seen["event"][name] += 1
        if signal is None:
            yield "missing_event", f"Event '{name}' does not exist in the registry."
            return
        yield from lifecycle("Event", name, signal.deprecated, signal.stability)
        yield from self._absent(signal, record.attributes)

    def _metric(self, metric: MetricMessage) -> None:
        signal = self.metrics.get(metric.name)
        findings = [] if signal else [("missing_metric", "Metric does not exist in the registry.")]
        kind = metric.WhichOneof("data")
        if signal:
            findings += lifecycle("Metric", metric.name, signal.deprecated, signal.stability)
            findings += self._instrument(metric, kind, signal)
        if not NAME.fullmatch(metric.name):
            findings.append(("invalid_format", f"Metric name '{metric.name}' does not match name formatting rules."))
        self.seen["metric"][metric.name] += 1
        self._sample("metric", findings)
        if kind in (None, "summary"):
            return
        for point in getattr(metric, kind).data_points:
            self._attributes(point.attributes)
            self._sample("data_point", list(self._absent(signal, point.attributes)) if signal else [])
            for exemplar in point.exemplars:
                self._sample("exemplar", [])
                self._attributes(exemplar.filtered_attributes)

    @staticmethod
    def _instrument(metric: MetricMessage, kind: str | None, signal: Signal) -> Iterator[Finding]:
        found = {
            "sum": "counter" if metric.sum.is_monotonic else "updowncounter",
            "gauge": "gauge",
            "histogram": "histogram",
            "exponential_histogram": "histogram",
        }.get(kind or "")
        if found is None:
            name = "Summary" if kind else "Unspecified"
            yield "unexpected_instrument", f"Instrument '{name}' is not supported"
        elif found != signal.instrument:
            yield "unexpected_instrument", f"Instrument should be '{signal.instrument}', but found '{found}'."
        if metric.unit != signal.unit:
            yield "unit_mismatch", f"Unit should be '{signal.unit}', but found '{metric.unit}'."

    def _absent(self, signal: Signal, attributes: Sequence[KeyValue]) -> Iterator[Finding]:
        words = {"opt_in": "Opt-in", "conditionally_required": "Conditionally required"}
        keys = {attribute.key for attribute in attributes}
        for key, level in signal.attributes.items():
            template = key not in self.attributes
            present = any(one.startswith(key) for one in keys) if template else key in keys
            if not present:
                word = words.get(level, level.capitalize())
                yield f"{level}_attribute_not_present", f"{word} attribute '{key}' is not present."

    # --- attributes

    def _attributes(self, attributes: Iterable[KeyValue]) -> None:
        for attribute in attributes:
            self._sample("attribute", list(self._attribute(attribute.key, attribute.value)))

    def _attribute(self, key: str, value: AnyValue) -> Iterator[Finding]:
        known = self.attributes.get(key)
        template = next((one for one in self.templates if key.startswith(one.key)), None)
        definition = known or template
        self.seen["attribute"][definition.key if definition else key] += 1
        if definition is None:
            yield "missing_attribute", f"Attribute '{key}' does not exist in the registry."
        elif known is None:
            yield "template_attribute", f"Attribute '{key}' is a template"
        if definition:
            yield from lifecycle("Attribute", key, definition.deprecated, definition.stability)
            yield from self._value(key, definition, value)
        yield from self._name(key, is_template=template is not None)

    def _value(self, key: str, definition: Attribute, value: AnyValue) -> Iterator[Finding]:
        found = type_of(value)
        expected = definition.type.removeprefix("template[").removesuffix("]" * definition.type.startswith("template"))
        if found is None:
            return
        if expected != "enum":
            if not fits(found, expected):
                yield "type_mismatch", f"Attribute '{key}' has type '{found}'. Type should be '{expected}'."
        elif found not in ("string", "int"):
            yield (
                "type_mismatch",
                f"Enum attribute '{key}' has type '{found}'. Enum value type should be 'string' or 'int'.",
            )
        else:
            read = value.string_value if found == "string" else value.int_value
            if read not in [member.value if member.number is None else member.number for member in definition.members]:
                digits = sum(letter.isascii() and letter.isdigit() for letter in str(read))
                shown = definition.content is None and SECRETIVE.fullmatch(str(read)) and digits <= 6
                told = f"value '{read}'" if shown else "a value"
                yield "undefined_enum_variant", f"Enum attribute '{key}' has {told} which is not documented."

    def _name(self, key: str, *, is_template: bool) -> Iterator[Finding]:
        if "." not in key:
            message = f"Attribute key '{key}' must include a namespace (e.g. '{{namespace}}.{{attribute_key}}')"
            yield "missing_namespace", message
        if not is_template and not NAME.fullmatch(key):
            yield "invalid_format", f"Attribute key '{key}' does not match name formatting rules."
        for space in namespaces(key):
            if space in self.attributes and self.attributes[space].deprecated is None:
                yield "illegal_namespace", f"Namespace '{space}' collides with existing attribute '{space}'"
        existing = [space for space in namespaces(key) if space in self.namespaces]
        if existing and not is_template and key not in self.attributes:
            yield "extends_namespace", f"Attribute key '{key}' collides with existing namespace '{existing[-1]}'"

    # --- statistics

    def _sample(self, kind: str, findings: Sequence[Finding]) -> None:
        self.entities[kind] += 1
        self.types.update(id_ for id_, _ in findings)
        self.messages.update(message for _, message in findings)
        if findings:
            self.highest[max((LEVELS[id_] for id_, _ in findings), key=ORDER.index)] += 1
        else:
            self.clean += 1

    def statistics(self) -> dict[str, Any]:
        """As Weaver writes them."""
        levels: Counter[str] = Counter()
        for id_, count in self.types.items():
            levels[LEVELS[id_]] += count
        current = {
            "attribute": [key for key, one in self.registry.attributes.items() if one.deprecated is None],
            "metric": [name for name, one in self.metrics.items() if one.deprecated is None],
            "event": [one.name for one in self.registry.signals if one.kind == "event" and one.deprecated is None],
        }
        seen: dict[str, dict[str, int]] = {}
        for kind, names in current.items():
            seen[f"seen_registry_{kind}s"] = {name: self.seen[kind][name] for name in names}
            seen[f"seen_non_registry_{kind}s"] = {n: c for n, c in self.seen[kind].items() if n not in names and c}
        registered = [count for kind in current for count in seen[f"seen_registry_{kind}s"].values()]
        return {
            "total_entities": self.entities.total(),
            "total_entities_by_type": dict(self.entities),
            "total_advisories": self.types.total(),
            "advice_level_counts": dict(levels),
            "highest_advice_level_counts": dict(self.highest),
            "no_advice_count": self.clean,
            "advice_type_counts": dict(self.types),
            "advice_message_counts": dict(self.messages),
            **seen,
            "registry_coverage": sum(count > 0 for count in registered) / len(registered),
        }


def namespaces(name: str) -> list[str]:
    """`a` and `a.b` of `a.b.c`."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def lifecycle(what: str, name: str, deprecated: Deprecated | None, stability: str) -> Iterator[Finding]:
    if deprecated:
        told = f"reason = '{deprecated.reason}', note = '{deprecated.note}'."
        yield "deprecated", f"{what} '{name}' is deprecated; {told}"
    if stability != "stable":
        yield "not_stable", f"{what} '{name}' is not stable; stability = {stability}."
