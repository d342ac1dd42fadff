"""The Markdown reference of what the files say, and where it stands in a document."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from otel_pipeline.options import format_duration
from otel_pipeline.semconv.attributes import Attribute, Identity, Price
from otel_pipeline.semconv.metrics import Derivation, Metric
from otel_pipeline.semconv.registry import Registry
from otel_pipeline.semconv.source import Definition

__all__ = ["reference", "with_reference"]

BEGIN = "<!-- reference: written by `otel-pipeline semconv docs` -->"
END = "<!-- end of the reference -->"

Sections = Mapping[str, Mapping[str, Definition]]


def with_reference(document: str, written: str) -> str:
    """`document` with the reference between its markers; at its end where it has none."""
    before, begin, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    start = before if begin else document.rstrip("\n") + "\n\n"
    return f"{start}{BEGIN}\n\n{written.strip()}\n\n{END}{after or chr(10)}"


def reference(registry: Registry, sections: Sections) -> str:
    """Attributes, metrics, senders, stages and models, each as a table."""
    parts = [
        "## Reference",
        "### Canonical attributes\n\nWhat the gateway writes.",
        _attributes(registry.canonical.values()),
        "### Labels\n\nWhat metrics read besides.",
        _attributes(one for one in registry.attributes.values() if one.label and not one.canonical),
        "### What identifies things\n\nWhat journeys follow, in causal order.",
        _identities(registry),
        "### Content\n\nWhat people and models wrote, and what tools were given and gave.",
        _content(registry),
        "### Metrics",
        *(_metric(metric, registry) for metric in registry.metrics.values()),
        "### Senders and rules",
        _rules(registry, sections),
        "### Stages",
        _stages(registry),
        "### Models\n\nUSD for a million tokens.",
        _models(registry),
    ]
    return "\n\n".join(part for part in parts if part)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _code(texts: Iterable[str]) -> str:
    return ", ".join(f"`{text}`" for text in texts)


def _attributes(attributes: Iterable[Attribute]) -> str:
    head = ("attribute", "label", "values", "also read from", "meaning")
    rows = (
        (f"`{one.key}`", f"`{one.label}`" if one.label else "", _values(one), _code(one.aliases), one.brief)
        for one in attributes
    )
    return _table(head, rows)


def _values(attribute: Attribute) -> str:
    if attribute.buckets:
        return _code(text for text, _ in attribute.buckets)
    if attribute.type != "enum":
        return attribute.type
    most = 12
    values = [member.value for member in attribute.members]
    more = f" and {len(values) - most} more" if len(values) > most else ""
    return _code(values[:most]) + more


def _identities(registry: Registry) -> str:
    rows = (
        (kind.value, f"`{one.key}`", _within(one.identifies), _code(kind.entity.never) if kind.entity else "")
        for kind in registry.members("sdlc.entity.kind")
        for one in registry.attributes.values()
        if one.identifies and one.identifies.kind == kind.value
    )
    return _table(("thing", "attribute", "unique within", "values that never link"), rows)


def _within(identity: Identity) -> str:
    return " or ".join(f"`{key}`" for key in (identity.within, identity.or_within) if key)


def _content(registry: Registry) -> str:
    rows = ((one.content, f"`{one.key}`") for one in registry.attributes.values() if one.content)
    return _table(("kind", "attribute"), sorted(rows))


# --- metrics


def _metric(metric: Metric, registry: Registry) -> str:
    labels = ", ".join(f"`{label.name}` ({label.attribute})" for label in metric.labels)
    lines = [
        f"#### {metric.prometheus_name}",
        f"{metric.brief} {metric.instrument.capitalize()}{f' in {metric.unit}' if metric.unit else ''}.",
        f"- name: `{metric.name}`",
        f"- labels: {labels or 'none'}",
    ]
    if metric.buckets:
        lines.append(f"- buckets: {', '.join(f'{bound:.12g}' for bound in metric.buckets)}")
    lines += [f"- from {text}" for text in dict.fromkeys(_derivation(one) for one in metric.derivations)]
    return "\n".join([lines[0], "", lines[1], "", *lines[2:]])


_SOURCES = {
    "stage_runs": "stage runs",
    "errors": "errors where they originate",
    "spans": "spans that are no stage run",
    "all_spans": "spans",
    "events": "log records",
    "points": "data points",
    "usage": "model requests, each once",
    "members": "the list of values, in order",
    "journeys": "journeys",
}


def _derivation(derivation: Derivation) -> str:
    match = derivation.match
    conditions = [f"named {match.name}"] if match.name else []
    conditions += [f"`{key}` {test}" for key, test in (*match.resource.items(), *match.attributes.items())]
    conditions += [f"`{key}` {' or '.join(texts)}" for key, texts in derivation.late.items()]
    conditions += ["failed"] if match.statuses == frozenset({2}) else []
    return _SOURCES[derivation.source] + (f" ({'; '.join(conditions)})" if conditions else "") + _value(derivation)


def _value(derivation: Derivation) -> str:
    if derivation.states:
        return f": one series for each of {', '.join(text for _, text in derivation.states.values)}"
    value = derivation.value
    if isinstance(value, tuple):
        scale = f" times {derivation.scale:.12g}" if derivation.scale != 1 else ""
        return f": the number in {_code(value)}{scale}"
    words = {"duration": ": their duration", "tokens": ": tokens", "cost": ": cost", "point": ""}
    return words.get(value, "")


# --- senders and rules


def _rules(registry: Registry, sections: Sections) -> str:
    briefs = {
        (item, name): entry.value.brief
        for section, item in (("entities", None), ("spans", "span"), ("events", "event"), ("metrics", "point"))
        for name, entry in sections.get(section, {}).items()
    }
    items = {None: "all", "span": "span", "event": "log record", "point": "data point"}
    rows = []
    for rule in registry.rules:
        sets = [f"`{key}`" for key in rule.set] + (["tokens and cost"] if rule.usage else [])
        sets += [f"a span `{rule.span.name}`"] if rule.span else []
        rows.append((f"`{rule.id}`", items[rule.item], ", ".join(sets), briefs.get((rule.item, rule.id), "")))
    return _table(("rule", "of", "gives", "what it is"), rows)


# --- catalogue


def _stages(registry: Registry) -> str:
    rows = []
    for position, member in enumerate(registry.stages, start=1):
        facts = member.stage
        seconds = facts.expected_duration_seconds if facts else None
        duration = format_duration(seconds) if seconds else ""
        role = f"`{facts.role}`" if facts and facts.role else ""
        rows.append((str(position), f"`{member.value}`", role, duration, _code(member.aliases)))
    return _table(("", "stage", "role agent", "expected", "also written"), rows)


_KINDS = ("input", "output", "cache_read", "cache_creation", "reasoning")


def _models(registry: Registry) -> str:
    head = ("model", "provider", "context", "from", *(kind.replace("_", " ") for kind in _KINDS))
    rows: list[Sequence[str]] = []
    for member in registry.models:
        facts = member.model
        context = str(facts.context_size) if facts and facts.context_size else ""
        start = (f"`{member.value}`", member.properties.get("provider", ""), context)
        rows.extend((*start, *row) for price in (facts.prices if facts else ()) for row in _prices(price))
        if not (facts and facts.prices):
            rows.append((*start, *[""] * (1 + len(_KINDS))))
    return _table(head, rows)


def _prices(price: Price) -> Iterator[tuple[str, ...]]:
    day = datetime.fromtimestamp(price.from_unix_ns / 1e9, UTC).date().isoformat()
    yield day, *_amounts(price.per_million)
    if price.above_input_tokens is not None:
        yield f"{day}, prompts over {price.above_input_tokens}", *_amounts(price.per_million_above)


def _amounts(per_million: Mapping[str, float]) -> tuple[str, ...]:
    return tuple(f"{per_million[kind]:g}" if kind in per_million else "" for kind in _KINDS)
