"""`otel-pipeline semconv explain`: what the gateway makes of recorded telemetry, and why. It prints no contents."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from otel_pipeline.connectors.agent_events import AgentEventsConfig
from otel_pipeline.connectors.agent_events import plan as agent_events_plan
from otel_pipeline.connectors.stage_metrics import StageMetricsConfig
from otel_pipeline.connectors.stage_metrics import plan as stage_metrics_plan
from otel_pipeline.helpers.printable import printable, quoted
from otel_pipeline.pdata import Batch, EventSpans, Signal, SpanAggregator, to_proto
from otel_pipeline.pdata.otlp_files import read_batches
from otel_pipeline.semconv import Registry, Rule, compile_plan, load
from otel_pipeline.semconv.conditions import Scalar, ValueSource

__all__ = ["explain", "explanation", "text_report"]

_INDENTS = {"resource": "", "scope": "  ", "span": "    ", "event": "    ", "point": "    "}
_WORDS = {"event": "log record", "point": "data point of"}


def explain(
    files: Sequence[Path], *, directories: Sequence[Path] = (), signal: str | None = None, as_json: bool = False
) -> int:
    """Prints the explanation of all files together. Raises ProblemsError for files that cannot be read."""
    registry = load(directories)
    batches = [batch for file in files for batch in read_batches(file, signal)]
    found = explanation(registry, batches)
    print(json.dumps(found, indent=1, ensure_ascii=False) if as_json else "\n".join(text_report(found)))
    return 0


def explanation(registry: Registry, batches: Sequence[Batch]) -> dict[str, Any]:
    """`telemetry`: every resource, scope and item with the values that it has in the end and where each is from.
    `metrics`: the series made of them all. `missing_prices`: model requests without a cost, by model.
    Spans that `agent_events` makes of log records come after what was sent, and are marked as `made`.

    Of an item, `values` are those that do not stand around it, and `unread` the keys that neither a rule nor a metric
    looks at.
    """
    metrics_plan = stage_metrics_plan(registry, StageMetricsConfig())
    read = set(_texts(metrics_plan))
    plan = compile_plan(registry)
    rules = [rule for rule in registry.rules if rule.set]
    made = list(_made_of_log_records(registry, [plan.enrich(batch) for batch in batches]))
    nodes = [node for batch in batches for node in json.loads(plan.explain(batch))]
    nodes += [{**node, "made": True} for batch in made for node in json.loads(plan.explain(batch))]
    for node in nodes:
        node["rules"] = [rules[index].id for index in node["rules"]]
        node["unread"] = [key for key in node["unread"] if key not in read]
        for value in node["values"]:
            if "rule" in value["from"]:
                value["from"] = _told(rules[value["from"]["rule"]], value["attribute"])
    aggregator = SpanAggregator(json.dumps(metrics_plan), 0)
    for batch in (*batches, *made):
        aggregator.update(plan.enrich(batch), 0)
    flushed = aggregator.flush_all(0, 1)
    constant = {metric["name"] for metric in metrics_plan["metrics"] if metric.get("constants")}
    series = [one for one in _series(flushed, registry) if one["metric"] not in constant] if flushed else []
    return {"telemetry": nodes, "metrics": series, "missing_prices": aggregator.missing_prices()}


def _made_of_log_records(registry: Registry, enriched: Sequence[Batch]) -> Iterator[Batch]:
    """The spans of log records whose work is not among the spans."""
    events = EventSpans(json.dumps(agent_events_plan(registry, AgentEventsConfig())))
    for batch in sorted(enriched, key=lambda one: one.signal != Signal.TRACES):
        events.update(batch, 0, 0)
    if made := events.flush(0, everything=True):
        yield made


def _texts(plan: Any) -> Iterator[str]:
    """Every text of a plan: the keys that it reads are among them."""
    if isinstance(plan, str):
        yield plan
    elif isinstance(plan, dict | list | tuple):
        for one in plan.values() if isinstance(plan, dict) else plan:
            yield from _texts(one)


def _told(rule: Rule, attribute: str) -> dict[str, str]:
    """A rule, and where it takes the value of an attribute from."""
    return {"rule": rule.id, "source": _source(rule.set[attribute])}


def _source(source: ValueSource | Scalar) -> str:
    if not isinstance(source, ValueSource) or source.value is not None:
        return "literal"
    place = "name"
    if source.event is not None:
        place = f"event {source.event}: {', '.join(source.attributes)}"
    elif source.attributes:
        place = f"attribute {', '.join(source.attributes)}"
    elif source.resource:
        place = f"resource {', '.join(source.resource)}"
    elif source.anywhere:
        place = f"anywhere {', '.join(source.anywhere)}"
    steps = {"regex": source.regex, "map": source.table, f"member {source.member}": source.member}
    return "; ".join([place, *(name for name, given in steps.items() if given)])


def _series(batch: Batch, registry: Registry) -> Iterator[dict[str, Any]]:
    for metric in to_proto(batch).resource_metrics[0].scope_metrics[0].metrics:
        kind = metric.WhichOneof("data") or "gauge"
        for point in getattr(metric, kind).data_points:
            series: dict[str, Any] = {
                "metric": metric.name,
                "prometheus_name": registry.metrics[metric.name].prometheus_name,
                "unit": metric.unit,
                "labels": {one.key: one.value.string_value for one in point.attributes},
            }
            if kind == "histogram":
                yield {**series, "count": point.count, "sum": point.sum}
            else:
                yield {**series, "value": getattr(point, point.WhichOneof("value"))}


# --- text


def text_report(found: dict[str, Any]) -> Iterator[str]:
    """Lines for people. Items of one scope that differ in ids only are told once."""
    around: dict[str, Any] = {}
    alike: dict[tuple[str, ...], int] = {}
    for node in found["telemetry"]:
        if node["kind"] in ("resource", "scope"):
            yield from _items(alike)
            alike.clear()
            around = _values(node) if node["kind"] == "resource" else around | _values(node)
            yield from _node(node, {})
        else:
            lines = tuple(_node(node, around))
            alike[lines] = alike.get(lines, 0) + 1
    yield from _items(alike)
    yield "metrics" if found["metrics"] else "no metrics"
    yield from (f"  {_sample(one)}" for one in found["metrics"])
    for model, requests in found["missing_prices"].items():
        yield f"  no price for {requests} request{'s' if requests > 1 else ''} of {quoted(model)}"


def _values(node: dict[str, Any]) -> dict[str, Any]:
    return {value["attribute"]: value["value"] for value in node["values"]}


def _items(alike: dict[tuple[str, ...], int]) -> Iterator[str]:
    for (title, *lines), count in alike.items():
        yield f"{title}, {count} times" if count > 1 else title
        yield from lines


def _node(node: dict[str, Any], around: dict[str, Any]) -> Iterator[str]:
    indent = _INDENTS[node["kind"]]
    made = ", made of a log record" if node["kind"] == "span" and node.get("made") else ""
    yield f"{indent}{_WORDS.get(node['kind'], node['kind'])} {quoted(node['name'])}{made}"
    same = [value for value in node["values"] if around.get(value["attribute"]) == value["value"]]
    for value in node["values"]:
        if value not in same:
            yield f"{indent}  {value['attribute']} = {_shown(value['value'])} <- {_origin(value)}"
    if same:
        yield f"{indent}  as around it: {', '.join(value['attribute'] for value in same)}"
    told = {value["from"].get("rule") for value in node["values"]}
    if idle := [rule for rule in node["rules"] if rule not in told]:
        yield f"{indent}  also matched: {', '.join(dict.fromkeys(idle))}"
    if node["unknown"]:
        yield f"{indent}  unknown: {', '.join(node['unknown'])}"
    if node["unread"]:
        yield f"{indent}  read by nothing: {', '.join(map(printable, dict.fromkeys(node['unread'])))}"


def _origin(value: dict[str, Any]) -> str:
    match value["from"]:
        case {"attribute": key} if key == value["attribute"]:
            return "its own attribute"
        case {"attribute": key}:
            return f"alias {key}"
        case {"rule": rule, "source": source}:
            return f"rule {rule} ({source})"
        case {"span_name": name}:
            return f"span {quoted(name)} above it"
    return "unknown"


def _sample(series: dict[str, Any]) -> str:
    labels = ", ".join(f"{name}={quoted(text)}" for name, text in series["labels"].items())
    numbers = f"{series['value']:g}" if "value" in series else f"{series['count']} in all {series['sum']:g}"
    unit = "" if series["unit"] in ("", "1") or series["unit"].startswith("{") else f" {series['unit']}"
    return f"{series['prometheus_name']}{{{labels}}} {numbers}{unit}"


def _shown(value: str | bool) -> str:
    return quoted(value) if isinstance(value, str) else str(value).lower()
