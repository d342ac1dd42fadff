"""How the gateway is, as JSON: components, pipelines, item balance, versions."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any

import otel_pipeline
from otel_pipeline.component import Health, Kind, Query, Served
from otel_pipeline.service.graph import Graph
from otel_pipeline.service.node import Node
from otel_pipeline.telemetry import ComponentCounts
from otel_pipeline.times import time_text

__all__ = ["balance", "components", "documents", "pipelines", "queries", "versions"]

_WORST_FIRST = (
    Health.PERMANENT_ERROR,
    Health.RECOVERABLE_ERROR,
    Health.STARTING,
    Health.STOPPING,
    Health.STOPPED,
    Health.OK,
)
_LIBRARIES = ("grpcio", "opentelemetry-sdk", "protobuf", "uvicorn", "uvloop")


def components(graph: Graph) -> list[dict[str, Any]]:
    """Every component with its state, the reason for it, since when, and what else it has to say."""
    return [
        {
            "kind": node.key.kind.singular,
            "id": node.key.id,
            "pipeline": node.key.pipeline,
            "health": node.health,
            "reason": node.reason,
            "since": time_text(node.since_unix_ns),
            **node.component.details(),
        }
        for node in graph.nodes.values()
    ]


def documents(graph: Graph) -> list[Served]:
    """What the components show."""
    return [
        Served(node.key.kind.singular, node.key.id, node.key.pipeline, document)
        for node in graph.nodes.values()
        for document in node.component.documents()
    ]


def queries(graph: Graph) -> list[Query]:
    """What the components answer."""
    return [query for node in graph.nodes.values() for query in node.component.queries()]


def pipelines(graph: Graph) -> dict[str, dict[str, Any]]:
    """Every pipeline: as its worst component is."""
    states: dict[str, dict[str, Any]] = {}
    for id_, pipeline in graph.config.pipelines.items():
        ends = {*pipeline.receivers, *pipeline.exporters}
        nodes = [
            node
            for node in graph.nodes.values()
            if node.key.pipeline == id_ or (node.key.id in ends and node.key.kind in _ENDS)
        ]
        worst = min(nodes, key=lambda node: _WORST_FIRST.index(node.health))
        states[id_] = {
            "health": worst.health,
            "reason": _told(worst),
            "receivers": list(pipeline.receivers),
            "processors": list(pipeline.processors),
            "exporters": list(pipeline.exporters),
        }
    return states


_ENDS = (Kind.RECEIVER, Kind.CONNECTOR, Kind.EXPORTER)


def _told(node: Node) -> str:
    return f"{node.key}: {node.reason}" if node.reason else ""


def balance(rows: Iterable[ComponentCounts]) -> list[dict[str, Any]]:
    """The item balance of every component: the terms of the equation at telemetry.Counts, and what they leave open."""
    return [
        {
            "kind": row.kind,
            "id": row.id,
            "pipeline": row.pipeline,
            "signal": row.signal,
            "consumed": row.counts.consumed,
            "created": row.counts.created,
            "produced": row.counts.produced,
            "sent": row.counts.sent,
            "refused": row.counts.refused,
            "failed": row.counts.failed,
            "dropped": dict(row.counts.dropped),
            "held": row.counts.held(),
            "pending": row.counts.pending,
            "missing": row.counts.missing(),
        }
        for row in rows
    ]


def versions() -> dict[str, str]:
    """Of the gateway, of Python and of the libraries that matter in a bug report."""
    found = {"otel-pipeline": otel_pipeline.__version__, "python": python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found
