"""One trace as plain JSON, for the API and the page of a trace: its spans in the order of a waterfall."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from otel_pipeline import pdata
from otel_pipeline.pdata import Signal

__all__ = ["MAX_SPANS", "SPAN_KINDS", "TRACE_SCHEMA", "span_document", "stored_spans", "trace_document"]

MAX_SPANS = 5000
"""Spans of one answer. Of larger traces, those nearest to the roots."""
_ERROR = 2
SPAN_KINDS = ("", "internal", "server", "client", "producer", "consumer")
"""By their number in OTLP."""
Json = dict[str, Any]


@dataclass(slots=True)
class _Span:
    """A span of OTLP/JSON with where it stands in its tree."""

    raw: dict[str, Any]
    resource: dict[str, Any]
    scope: str
    children: list["_Span"] = field(default_factory=list)
    depth: int = 0
    failed_below: int = 0
    is_orphan: bool = False

    @property
    def id(self) -> str:
        return str(self.raw.get("spanId", ""))

    @property
    def start_ns(self) -> int:
        return int(self.raw.get("startTimeUnixNano", 0))

    @property
    def end_ns(self) -> int:
        return max(self.start_ns, int(self.raw.get("endTimeUnixNano", 0)))

    @property
    def failed(self) -> bool:
        return bool(self.raw.get("status", {}).get("code", 0) == _ERROR)


def trace_document(trace_id: str, blobs: Sequence[bytes], max_spans: int = MAX_SPANS) -> dict[str, Any]:
    """All spans of a trace, parents before children and these by start. `blobs` are OTLP TracesData. A span id that
    comes twice counts once. Raises LookupError where there are none."""
    spans = _read(trace_id, blobs)
    if not spans:
        raise LookupError(f"no trace {trace_id} is kept")
    rows = list(_ordered(spans))
    shown = _nearest(rows, max_spans)
    start, end = min(one.start_ns for one in rows), max(one.end_ns for one in rows)
    return {
        "trace_id": trace_id,
        "start_ms": start / 1e6,
        "end_ms": end / 1e6,
        "seconds": (end - start) / 1e9,
        "total": len(rows),
        "errors": sum(one.failed for one in rows),
        "missing_parents": sum(one.is_orphan for one in rows),
        "services": dict(Counter(str(one.resource.get("service.name", "")) for one in rows).most_common(20)),
        "spans": [_row(one) for one in shown],
    }


def span_document(trace_id: str, span_id: str, blobs: Sequence[bytes]) -> dict[str, Any]:
    """Everything that is kept of one span. Raises LookupError where there is none of the id."""
    for span in _read(trace_id, blobs).values():
        if span.id == span_id:
            own = _attributes(span.raw.get("attributes", ()))
            return {
                **_row(span),
                "trace_id": trace_id,
                "scope": span.scope,
                "attributes": own,
                "resource": span.resource,
                "events": [
                    {
                        "name": str(event.get("name", "")),
                        "time_ms": int(event.get("timeUnixNano", 0)) / 1e6,
                        "attributes": _attributes(event.get("attributes", ())),
                    }
                    for event in span.raw.get("events", ())
                ],
                "links": [
                    {
                        "trace_id": str(link.get("traceId", "")),
                        "span_id": str(link.get("spanId", "")),
                        "attributes": _attributes(link.get("attributes", ())),
                    }
                    for link in span.raw.get("links", ())
                ],
            }
    raise LookupError(f"no span {span_id} of trace {trace_id} is kept")


def stored_spans(trace_id: str, blobs: Iterable[bytes]) -> Iterator[tuple[list[Json], Json, Json]]:
    """Each span of a trace once, as OTLP/JSON: attributes of its resource (one list for all spans of a resource), its
    scope, and itself. `blobs` are OTLP TracesData."""
    seen: set[str] = set()
    for blob in blobs:
        document = json.loads(pdata.to_json(pdata.from_trusted(Signal.TRACES, blob)))
        for resource_spans in document.get("resourceSpans", ()):
            resource = resource_spans.get("resource", {}).get("attributes", [])
            for scope_spans in resource_spans.get("scopeSpans", ()):
                scope = scope_spans.get("scope", {})
                for span in scope_spans.get("spans", ()):
                    if span.get("traceId") == trace_id and (id := span.get("spanId", "")) not in seen:
                        seen.add(id)
                        yield resource, scope, span


def _read(trace_id: str, blobs: Sequence[bytes]) -> dict[str, _Span]:
    spans: dict[str, _Span] = {}
    known: list[Json] | None = None
    attributes: Json = {}
    for resource, scope, raw in stored_spans(trace_id, blobs):
        if resource is not known:
            known, attributes = resource, _attributes(resource)
        spans[str(raw.get("spanId", ""))] = _Span(raw, attributes, str(scope.get("name", "")))
    return spans


def _ordered(spans: dict[str, _Span]) -> Iterator[_Span]:
    """Depth first; a span in a loop of parents is a root, where the loop is entered first."""
    roots: list[_Span] = []
    for span in spans.values():
        parent = spans.get(str(span.raw.get("parentSpanId", "")))
        if parent is None or parent is span:
            span.is_orphan = bool(span.raw.get("parentSpanId"))
            roots.append(span)
        else:
            parent.children.append(span)
    done: set[str] = set()
    by_start = lambda one: (one.start_ns, one.id)  # noqa: E731
    for root in (*sorted(roots, key=by_start), *sorted(spans.values(), key=by_start)):
        tree: list[_Span] = []
        pending = [root]
        while pending:
            span = pending.pop()
            if span.id in done:
                continue
            done.add(span.id)
            tree.append(span)
            for child in sorted(span.children, key=by_start, reverse=True):
                child.depth = span.depth + 1
                pending.append(child)
        for span in reversed(tree):
            span.failed_below = sum(child.failed + child.failed_below for child in span.children)
        yield from tree


def _nearest(rows: list[_Span], limit: int) -> list[_Span]:
    if len(rows) <= limit:
        return rows
    by_depth: defaultdict[int, int] = defaultdict(int)
    for row in rows:
        by_depth[row.depth] += 1
    left, deepest = limit, 0
    for depth in sorted(by_depth):
        deepest = depth
        if by_depth[depth] > left:
            break
        left -= by_depth[depth]
    shown: list[_Span] = []
    for row in rows:
        if row.depth < deepest:
            shown.append(row)
        elif row.depth == deepest and left > 0:
            left -= 1
            shown.append(row)
    return shown


def _row(span: _Span) -> dict[str, Any]:
    attributes = _attributes(span.raw.get("attributes", ()))
    status = span.raw.get("status", {})
    kind = span.raw.get("kind", 0)
    model = attributes.get("gen_ai.response.model") or attributes.get("gen_ai.request.model") or ""
    return {
        "span_id": span.id,
        "parent": str(span.raw.get("parentSpanId", "")),
        "depth": span.depth,
        "children": len(span.children),
        "name": str(span.raw.get("name", "")),
        "service": str(span.resource.get("service.name", "")),
        "kind": SPAN_KINDS[kind] if 0 <= kind < len(SPAN_KINDS) else "",
        "failed": span.failed,
        "failed_below": span.failed_below,
        "message": str(status.get("message", "")),
        "missing_parent": span.is_orphan,
        "start_ms": span.start_ns / 1e6,
        "end_ms": span.end_ns / 1e6,
        "seconds": (span.end_ns - span.start_ns) / 1e9,
        "stage": str(attributes.get("sdlc.stage.name", "")),
        "model": str(model),
    }


def _attributes(pairs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {str(pair.get("key", "")): _value(pair.get("value", {})) for pair in pairs}


def _value(value: dict[str, Any]) -> Any:
    """A plain value of OTLP/JSON's AnyValue. The decoder has bounded how deep it can be nested."""
    for kind, inner in value.items():
        if kind == "intValue":
            return int(inner)
        if kind == "arrayValue":
            return [_value(one) for one in inner.get("values", ())]
        if kind == "kvlistValue":
            return _attributes(inner.get("values", ()))
        return inner
    return None


_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_NUMBER = {"type": "number"}
_BOOL = {"type": "boolean"}
_ROW = {
    **dict.fromkeys(("span_id", "parent", "name", "service", "kind", "message", "stage", "model"), _TEXT),
    **dict.fromkeys(("depth", "children", "failed_below"), _COUNT),
    **dict.fromkeys(("failed", "missing_parent"), _BOOL),
    **dict.fromkeys(("start_ms", "end_ms", "seconds"), _NUMBER),
}
TRACE_SCHEMA = {
    "type": "object",
    "required": [
        "trace_id",
        "start_ms",
        "end_ms",
        "seconds",
        "total",
        "errors",
        "missing_parents",
        "services",
        "spans",
    ],
    "properties": {
        "trace_id": _TEXT,
        "start_ms": _NUMBER,
        "end_ms": _NUMBER,
        "seconds": _NUMBER,
        "total": _COUNT,
        "errors": _COUNT,
        "missing_parents": _COUNT,
        "services": {"type": "object", "additionalProperties": _COUNT},
        "requirements": {"type": "array", "items": {"type": "object"}},
        "spans": {"type": "array", "items": {"type": "object", "required": list(_ROW), "properties": _ROW}},
    },
}
"""JSON schema of `trace_document`."""
