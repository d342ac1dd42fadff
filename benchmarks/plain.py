"""What the native data plane is compared with: the same steps on protobuf messages, in straightforward Python.

It knows by heart what the shipped rules say of the benchmark's spans, and so does less than the rules do.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

ALIASES = {"project": "sdlc.project.id", "requirement": "sdlc.requirement.id", "stage": "sdlc.stage.name"}
STAGE_BUCKETS = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400)
OPERATION_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)


class PlainGateway:
    """Decode, enrich, keep for late binding, encode; `flush` makes the metrics."""

    def __init__(self) -> None:
        self.traces: dict[bytes, list[tuple[Any, dict[str, Any]]]] = defaultdict(list)
        self.counters: Counter[tuple[str, ...]] = Counter()
        self.histograms: dict[tuple[str, ...], list[float]] = {}

    def process(self, body: bytes) -> bytes:
        """One request."""
        request = ExportTraceServiceRequest.FromString(body)
        for resource_spans in request.resource_spans:
            around = _read(resource_spans.resource.attributes)
            for alias, key in ALIASES.items():
                if alias in around and key not in around:
                    around[key] = around[alias]
                    _add(resource_spans.resource, key, around[alias])
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    self._span(span, around)
        return request.SerializeToString()

    def _span(self, span: Any, around: dict[str, Any]) -> None:
        own = _read(span.attributes)
        if "gen_ai.operation.name" in own:
            _set(span, own, "sdlc.operation.name", own["gen_ai.operation.name"])
            _set(span, own, "sdlc.stage.run", False)
        if "gen_ai.request.model" in own:
            _set(span, own, "sdlc.model.name", own["gen_ai.request.model"])
        if span.status.code == 2:
            _set(span, own, "sdlc.outcome", "failure")
            _set(span, own, "error.type", "_OTHER")
        self.traces[span.trace_id].append((span, around | own))

    def flush(self) -> None:
        """Stage runs, operations and errors of all traces."""
        for spans in self.traces.values():
            by_id = {span.span_id: (span, values) for span, values in spans}
            failed_parents = {span.parent_span_id for span, _ in spans if span.status.code == 2}
            for span, values in spans:
                self._measure(span, values, by_id.get(span.parent_span_id), span.span_id in failed_parents)
        self.traces.clear()

    def _measure(self, span: Any, values: dict[str, Any], parent: Any, child_failed: bool) -> None:
        stage = values.get("sdlc.stage.name", "unknown")
        inherited = parent[1] if parent else {}
        labels = tuple(
            str(values.get(key) or inherited.get(key) or "unknown")
            for key in ("sdlc.project.id", "sdlc.stage.name", "sdlc.agent.name", "sdlc.model.name")
        )
        outcome = values.get("sdlc.outcome", "success")
        seconds = max(0, span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
        topmost = parent is None or inherited.get("sdlc.stage.name") != stage
        if values.get("sdlc.stage.run", topmost):
            self.counters["runs", *labels, outcome] += 1
            self._observe(("stage", *labels, outcome), STAGE_BUCKETS, seconds)
        else:
            operation = values.get("sdlc.operation.name", "unknown")
            self._observe(("operation", *labels, operation, outcome), OPERATION_BUCKETS, seconds)
        if outcome == "failure" and not child_failed:
            self.counters["errors", *labels, values.get("error.type", "_OTHER")] += 1

    def _observe(self, key: tuple[str, ...], bounds: tuple[float, ...], seconds: float) -> None:
        counts = self.histograms.setdefault(key, [0.0] * (len(bounds) + 3))
        counts[bisect_left(bounds, seconds)] += 1
        counts[-2] += seconds
        counts[-1] += 1


def _read(attributes: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in attributes}


def _set(span: Any, own: dict[str, Any], key: str, value: Any) -> None:
    if key not in own:
        own[key] = value
        _add(span, key, value)


def _add(message: Any, key: str, value: Any) -> None:
    any_value = AnyValue(bool_value=value) if isinstance(value, bool) else AnyValue(string_value=value)
    message.attributes.append(KeyValue(key=key, value=any_value))
