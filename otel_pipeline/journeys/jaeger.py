"""Jaeger's query API over the journey store, so that Grafana's built-in data source shows traces and journeys.

Shapes: Jaeger's `model/json/model.go` and the HTTP handlers of its query service, which Grafana's data source calls.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice, product
from typing import Any, Protocol

from otel_pipeline.component import Query
from otel_pipeline.journeys.journey_trace import JOURNEY_SERVICE, journey_trace, journey_trace_id
from otel_pipeline.journeys.model import Journey, Key
from otel_pipeline.journeys.questions import whole_number
from otel_pipeline.journeys.store import RequirementPage, RequirementQuery, RequirementSummary, TraceHead, TraceQuery
from otel_pipeline.journeys.trace_document import SPAN_KINDS, stored_spans
from otel_pipeline.options import parse_duration

__all__ = ["JaegerSource", "jaeger_queries", "jaeger_trace"]

MAX_TRACES = 200
_MAX_COMBINATIONS = 20
_SEARCH = {
    "service": "Traces in which this service has spans. `otel-pipeline-journeys` gives journeys.",
    "operation": "Traces in which that service has spans of this name.",
    "tags": 'A JSON object: `{"sdlc.requirement.id": "REQ-1042"}`. Only attributes that name a thing, as branches.',
    "start": "Unix microseconds: under way at or after this time.",
    "end": "Unix microseconds: began before this time.",
    "minDuration": "Such as `100ms`.",
    "maxDuration": "Such as `1h`.",
    "limit": f"Traces, at most {MAX_TRACES}; 20 where left out.",
    "lookback": "Not read: `start` and `end` say it.",
}
_RANGE = {"endTs": "Not read.", "lookback": "Not read.", "start": "Not read.", "end": "Not read."}
Values = Mapping[str, str]


class JaegerSource(Protocol):
    """Who answers: the journeys over a store."""

    def journey(self, project: str, requirement: str, now_ns: int) -> Journey | None:
        """The whole way of one requirement."""
        ...

    def requirements(self, query: RequirementQuery) -> RequirementPage:
        """Rows of the list."""
        ...

    def trace(self, trace_id: str) -> Sequence[bytes]:
        """OTLP TracesData, in pieces; empty where there is none."""
        ...

    def traces(self, query: TraceQuery) -> Sequence[TraceHead]:
        """Traces that answer a search, newest first."""
        ...

    def operations(self) -> Sequence[tuple[str, str]]:
        """Pairs of service and span name."""
        ...

    def keys(self, kind: str, value_prefix: str, limit: int) -> Sequence[Key]:
        """Keys of a kind whose value starts so."""
        ...


def jaeger_queries(
    source: Callable[[], JaegerSource], kinds: Mapping[str, str], now_ns: Callable[[], int]
) -> tuple[Query, ...]:
    """The questions of the API. `source` gives who answers, or raises StoreError while nobody can; `kinds` says by
    attribute what kind of key its value is."""
    jaeger = _Jaeger(source, kinds, now_ns)
    return (
        Query("jaeger/services", "Services that have spans.", jaeger.services, _RANGE),
        Query("jaeger/services/{service}/operations", "Names of a service's spans.", jaeger.operations, _RANGE),
        Query("jaeger/operations", "The same, in Jaeger's newer form.", jaeger.new_operations,
              {"service": "The service.", "spanKind": "Not read."}),
        Query("jaeger/traces", "Traces that answer a search.", jaeger.search, _SEARCH),
        Query("jaeger/traces/{trace_id}", "One trace, or a journey by the id of its trace.", jaeger.trace, _RANGE),
        Query("jaeger/dependencies", "Which service calls which; not kept, so always empty.", _nothing, _RANGE),
    )  # fmt: skip


def jaeger_trace(trace_id: str, blobs: Iterable[bytes]) -> dict[str, Any]:
    """One trace in Jaeger's JSON; without spans where there are none."""
    processes: dict[str, dict[str, Any]] = {}
    names: dict[str, str] = {}
    spans: list[dict[str, Any]] = []
    known: list[dict[str, Any]] | None = None
    process = ""
    for resource, scope, span in stored_spans(trace_id, blobs):
        if resource is not known:
            known = resource
            process = names.setdefault(json.dumps(resource, sort_keys=True), f"p{len(names) + 1}")
            processes[process] = _process(resource)
        spans.append(_span(span, scope, process))
    return {"traceID": trace_id, "spans": spans, "processes": processes, "warnings": None}


class _Jaeger:
    """The answers; each is `{"data": …, "total": …, "errors": …}`."""

    def __init__(self, source: Callable[[], JaegerSource], kinds: Mapping[str, str], now_ns: Callable[[], int]) -> None:
        self._source = source
        self._kinds = kinds
        self._now_ns = now_ns

    def services(self, _values: Values) -> Any:
        return _data(sorted({service for service, _ in self._source().operations() if service} | {JOURNEY_SERVICE}))

    def operations(self, values: Values) -> Any:
        return _data(self._names(values["service"]))

    def new_operations(self, values: Values) -> Any:
        return _data([{"name": name, "spanKind": ""} for name in self._names(values.get("service", ""))])

    def _names(self, service: str) -> list[str]:
        if service == JOURNEY_SERVICE:
            return self._projects()
        return sorted({name for of, name in self._source().operations() if of == service})

    def _projects(self) -> list[str]:
        return list(self._source().requirements(RequirementQuery(self._now_ns(), limit=0)).projects)

    def search(self, values: Values) -> Any:
        tags = _tags(values.get("tags", ""))
        limit = min(MAX_TRACES, whole_number(values, "limit", digits=16) or 20)
        if values.get("service") == JOURNEY_SERVICE:
            return self._search_journeys(values, tags, limit)
        if unknown := sorted(tags.keys() - self._kinds.keys()):
            raise ValueError(f"cannot search for {unknown[0]}: only for {', '.join(sorted(self._kinds))}")
        query = TraceQuery(
            service=values.get("service", ""),
            operation=values.get("operation", "") if values.get("operation") != "all" else "",
            start_ns=whole_number(values, "start", digits=16) * 1000,
            end_ns=whole_number(values, "end", digits=16) * 1000,
            min_duration_ns=_duration(values, "minDuration"),
            max_duration_ns=_duration(values, "maxDuration"),
            limit=limit,
        )
        # A tag has no scope, so a value may be several keys: a branch of that name in two repositories.
        each = [self._same(self._kinds[name], text) for name, text in tags.items()]
        heads = {
            head.trace_id: head
            for keys in islice(product(*each), _MAX_COMBINATIONS)
            for head in self._source().traces(replace(query, keys=keys))
        }
        newest = sorted(heads.values(), key=lambda head: (-head.start_ns, head.trace_id))[:limit]
        return _data([jaeger_trace(one.trace_id, self._source().trace(one.trace_id)) for one in newest])

    def _same(self, kind: str, text: str) -> list[Key]:
        return [key for key in self._source().keys(kind, text, MAX_TRACES) if key.value == text]

    def _search_journeys(self, values: Values, tags: Mapping[str, str], limit: int) -> Any:
        wanted = tags.get("sdlc.requirement.id", "")
        operation = values.get("operation", "")
        project = tags.get("sdlc.project.id", "") or (operation if operation != "all" else "")
        page = self._source().requirements(
            RequirementQuery(self._now_ns(), project=project, text=wanted, limit=MAX_TRACES)
        )
        start, end = whole_number(values, "start", digits=16) * 1000, whole_number(values, "end", digits=16) * 1000
        shortest, longest = _duration(values, "minDuration"), _duration(values, "maxDuration")
        rows = [
            row
            for row in page.rows
            if wanted in ("", row.requirement)
            and row.end_ns >= start
            and (not end or row.start_ns < end)
            and row.lead_ns >= shortest
            and (not longest or row.lead_ns <= longest)
        ]
        return _data([found for row in rows[:limit] if (found := self._journey(row)) is not None])

    def _journey(self, row: RequirementSummary) -> dict[str, Any] | None:
        found = self._source().journey(row.project, row.requirement, self._now_ns())
        if found is None:
            return None
        return jaeger_trace(journey_trace_id(row.project, row.requirement), [journey_trace(found)])

    def trace(self, values: Values) -> Any:
        trace_id = values["trace_id"].lower().zfill(32)
        found = jaeger_trace(trace_id, self._source().trace(trace_id))
        if not found["spans"]:
            rows = self._source().requirements(RequirementQuery(self._now_ns(), limit=1_000_000)).rows
            row = next((one for one in rows if journey_trace_id(one.project, one.requirement) == trace_id), None)
            found = (self._journey(row) if row else None) or found
        if not found["spans"]:
            raise LookupError("trace not found")
        return _data([found])


def _nothing(_values: Values) -> Any:
    return _data([])


def _data(data: list[Any]) -> dict[str, Any]:
    return {"data": data, "total": len(data), "limit": 0, "offset": 0, "errors": None}


def _process(attributes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    tags = _jaeger_tags(attributes)
    service = next((str(tag["value"]) for tag in tags if tag["key"] == "service.name"), "")
    return {"serviceName": service or "unknown_service", "tags": [one for one in tags if one["key"] != "service.name"]}


def _span(span: Mapping[str, Any], scope: Mapping[str, Any], process: str) -> dict[str, Any]:
    trace_id = span.get("traceId", "")
    start, end = int(span.get("startTimeUnixNano", 0)), int(span.get("endTimeUnixNano", 0))
    references = [
        {"refType": "FOLLOWS_FROM", "traceID": link.get("traceId", ""), "spanID": link.get("spanId", "")}
        for link in span.get("links", ())
    ]
    if parent := span.get("parentSpanId"):
        references.insert(0, {"refType": "CHILD_OF", "traceID": trace_id, "spanID": parent})
    return {
        "traceID": trace_id,
        "spanID": span.get("spanId", ""),
        "operationName": span.get("name", ""),
        "references": references,
        "startTime": start // 1000,
        "duration": max(0, end - start) // 1000,
        "tags": _jaeger_tags(span.get("attributes", ())) + _own_tags(span, scope),
        "logs": [
            {
                "timestamp": int(event.get("timeUnixNano", 0)) // 1000,
                "fields": [_tag("event", event.get("name", "")), *_jaeger_tags(event.get("attributes", ()))],
            }
            for event in span.get("events", ())
        ],
        "processID": process,
        "warnings": None,
    }


def _own_tags(span: Mapping[str, Any], scope: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What Jaeger has as tags and OTLP as fields (OTel's "trace to Jaeger" mapping)."""
    status = span.get("status", {})
    kind = span.get("kind", 0)
    tags = [_tag("otel.scope.name", scope["name"])] if scope.get("name") else []
    if 0 < kind < len(SPAN_KINDS):
        tags.append(_tag("span.kind", SPAN_KINDS[kind]))
    if status.get("code") == 2:
        tags += [_tag("error", True), _tag("otel.status_code", "ERROR")]
        tags += [_tag("otel.status_description", status["message"])] if status.get("message") else []
    elif status.get("code") == 1:
        tags.append(_tag("otel.status_code", "OK"))
    return tags


def _jaeger_tags(attributes: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [_tag(str(pair.get("key", "")), _plain(pair.get("value", {}))) for pair in attributes]


def _plain(value: Mapping[str, Any]) -> Any:
    for kind, inner in value.items():
        if kind == "intValue":
            return int(inner)
        if kind in ("stringValue", "boolValue", "doubleValue"):
            return inner
        return json.dumps(inner)
    return ""


def _tag(key: str, value: Any) -> dict[str, Any]:
    types = {bool: "bool", int: "int64", float: "float64"}
    return {"key": key, "type": types.get(type(value), "string"), "value": value}


def _tags(text: str) -> dict[str, str]:
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        raise ValueError('tags has to be a JSON object such as {"sdlc.requirement.id": "REQ-1042"}') from None
    if not isinstance(found, dict):
        raise ValueError('tags has to be a JSON object such as {"sdlc.requirement.id": "REQ-1042"}')
    return {str(name): str(value) for name, value in found.items()}


def _duration(values: Values, name: str) -> int:
    text = values.get(name, "")
    try:
        return round(parse_duration(text) * 1e9) if text else 0
    except ValueError:
        raise ValueError(f"{name} has to be a duration such as 100ms") from None
