"""Stage metrics in plain Python: what the native aggregator must give once every span of every trace is there.

Written for reading, not for speed: it walks protobuf messages and asks each question anew for each span.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric as MetricMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from otel_pipeline.pdata import Batch, to_proto
from otel_pipeline.semconv import Metric

__all__ = ["Point", "Points", "is_plain", "metrics_in", "points", "stage_points", "texts"]

STAGE, RUN, NOISE = "sdlc.stage.name", "sdlc.stage.run", "sdlc.noise"
MODEL, OUTCOME = "sdlc.model.name", "sdlc.outcome"
INHERITED = ("sdlc.project.id", "sdlc.requirement.id", STAGE, "sdlc.agent.name")


@dataclass
class Point:
    count: int = 0
    sum: float = 0.0
    buckets: tuple[int, ...] = ()


Points = dict[tuple[str, frozenset[tuple[str, str]]], Point]


@dataclass(eq=False)
class Node:
    span: Span
    values: dict[str, str]
    parent: "Node | None" = None
    children: "list[Node]" = field(default_factory=list)

    @property
    def age(self) -> tuple[int, bytes]:
        return self.span.start_time_unix_nano or self.span.end_time_unix_nano, self.span.span_id

    @property
    def duration_ns(self) -> int:
        start, end = self.span.start_time_unix_nano, self.span.end_time_unix_nano
        return end - start if start and end > start else 0

    @property
    def failed(self) -> bool:
        return self.label(OUTCOME) == "failure"

    @property
    def is_run(self) -> bool:
        mark = self.values.get(RUN)
        may_be = self.label(STAGE) is not None and not self.is_noise
        return may_be and (mark == "true" or (mark != "false" and self.is_topmost))

    @property
    def is_noise(self) -> bool:
        return self.values.get(NOISE) == "true"

    @property
    def failed_below(self) -> bool:
        """A child failed, or one of noise's."""
        return any(child.failed or (child.is_noise and child.failed_below) for child in self.children)

    @property
    def is_topmost(self) -> bool:
        """Nothing of its stage is right around it, noise apart."""
        node = self.parent
        while node is not None and node.is_noise and node.label(STAGE) == self.label(STAGE):
            node = node.parent
        return node is None or node.label(STAGE) != self.label(STAGE)

    def ancestors(self) -> "Iterator[Node]":
        """Itself first."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent

    def label(self, key: str) -> str | None:
        if key in INHERITED:
            return next((node.values[key] for node in self.ancestors() if key in node.values), None)
        if key == OUTCOME and key not in self.values:
            return "failure" if self.span.status.code == Status.STATUS_CODE_ERROR else "success"
        if key == MODEL and key not in self.values and self.is_run:
            return self.model_of_most_calls()
        return self.values.get(key)

    def model_of_most_calls(self) -> str | None:
        named = [node for node in self.inside() if MODEL in node.values]
        models = {node.values[MODEL] for node in named}

        def rank(model: str) -> Any:
            voters = [node for node in named if node.values[MODEL] == model]
            return -len(voters), min(node.age for node in voters)

        return min(models, key=rank, default=None)

    def inside(self) -> "Iterator[Node]":
        """Descendants with no other stage on the way."""
        todo = list(self.children)
        while todo:
            node = todo.pop()
            if node.label(STAGE) == self.label(STAGE):
                yield node
                todo.extend(node.children)


def stage_points(requests: Iterable[ExportTraceServiceRequest], metrics: Iterable[Metric]) -> Points:
    """The points of plain `metrics` when all `requests` have arrived, in this order, and nothing else will."""
    found: Points = {}
    metrics = list(metrics)
    for node in forest(requests):
        for metric in metrics:
            if counts(metric, node):
                add(found, metric, node)
    return found


def forest(requests: Iterable[ExportTraceServiceRequest]) -> list[Node]:
    nodes: dict[tuple[bytes, bytes], Node] = {}
    for request in requests:
        for resource_spans in request.resource_spans:
            for scope_spans in resource_spans.scope_spans:
                around = texts(resource_spans.resource.attributes) | texts(scope_spans.scope.attributes)
                for span in scope_spans.spans:
                    nodes.setdefault((span.trace_id, span.span_id), Node(span, around | texts(span.attributes)))
    for node in nodes.values():
        node.parent = nodes.get((node.span.trace_id, node.span.parent_span_id))
    for node in list(nodes.values()):
        cycle = cycle_of(node)
        if cycle:
            min(cycle, key=lambda member: member.age).parent = None
    for node in nodes.values():
        if node.parent:
            node.parent.children.append(node)
    return list(nodes.values())


def cycle_of(node: Node) -> list[Node]:
    path = [node]
    while path[-1].parent is not None and path[-1].parent not in path:
        path.append(path[-1].parent)
    return path if path[-1].parent is node else []


def is_plain(metric: Metric) -> bool:
    """Whether spans are told apart by nothing but what they are to their stage. Log records are not in traces."""
    of_spans = [one for one in metric.derivations if one.source != "events"]
    sources = {one.source for one in of_spans if one.match.is_empty and not one.late}
    return len(of_spans) == 1 and sources <= {"stage_runs", "spans", "errors"} and bool(sources)


def counts(metric: Metric, node: Node) -> bool:
    if metric.derivations[0].source == "errors":
        return node.failed and not node.failed_below
    return not node.is_noise and node.is_run == (metric.derivations[0].source == "stage_runs")


def add(found: Points, metric: Metric, node: Node) -> None:
    labels = {label.name: node.label(label.attribute) or label.default for label in metric.labels}
    point = found.setdefault((metric.name, frozenset(labels.items())), Point())
    point.count += 1
    if metric.instrument == "histogram":
        counted = list(point.buckets or [0] * (len(metric.buckets) + 1))
        counted[bisect_left(metric.buckets, node.duration_ns / 1e9)] += 1
        point.buckets = tuple(counted)
        point.sum = round(point.sum * 1e9 + node.duration_ns) / 1e9


def texts(attributes: Iterable[KeyValue]) -> dict[str, str]:
    return {item.key: text(item.value) for item in attributes}


def text(value: AnyValue) -> str:
    return str(value.bool_value).lower() if value.WhichOneof("value") == "bool_value" else value.string_value


def points(batch: Batch | None) -> Points:
    """What a batch of metrics says, in the oracle's terms."""
    found: Points = {}
    for name, metric in metrics_in(batch).items():
        counters = [(p.attributes, Point(p.as_int)) for p in metric.sum.data_points]
        histograms = metric.histogram.data_points
        distributions = [(p.attributes, Point(p.count, p.sum, tuple(p.bucket_counts))) for p in histograms]
        for attributes, point in counters + distributions:
            key = name, frozenset(texts(attributes).items())
            assert key not in found
            found[key] = point
    return found


def metrics_in(batch: Batch | None) -> dict[str, MetricMessage]:
    """The metrics of a flushed batch by name; nothing may say where they come from."""
    if batch is None:
        return {}
    (resource,) = to_proto(batch).resource_metrics
    (scope,) = resource.scope_metrics
    assert not resource.HasField("resource")
    assert not scope.HasField("scope")
    return {metric.name: metric for metric in scope.metrics}
