"""From a checked configuration to a graph: components are made, edges are laid; nothing is started."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import cast

from otel_pipeline.component import (
    Clock,
    Component,
    Connector,
    Consumer,
    Exporter,
    Kind,
    Processor,
    Receiver,
    ServiceView,
    Settings,
)
from otel_pipeline.config.model import Config, PipelineConfig
from otel_pipeline.errors import ProblemsError, StartError
from otel_pipeline.pdata import Batch, Signal
from otel_pipeline.service.edge import ExporterEdge, Faults, Inlet, fan_out
from otel_pipeline.service.graph import Graph
from otel_pipeline.service.node import Key, Node, error_text
from otel_pipeline.service.stage import Chain, Stage
from otel_pipeline.telemetry import Telemetry

__all__ = ["build"]


def build(
    config: Config,
    telemetry: Telemetry,
    *,
    service: ServiceView | None = None,
    clock: Clock | None = None,
    reuse: Graph | None = None,
) -> Graph:
    """The graph of a checked configuration; nothing is started.

    Of `reuse`, the graph that runs, it takes over exporters, connectors, extensions and receivers whose class, options
    and signals are the same and that are not stale: they keep ports, queues, series and counts.
    Raises StartError, which names the component, or the ProblemsError that its files are the reason of.
    """
    builder = _Builder(Graph(config), telemetry, service, clock or Clock(), reuse)
    try:
        builder.build()
    except BaseException:
        builder.graph.discard()
        raise
    return builder.graph


class _Builder:
    """Builds one graph: components without edges first, then pipelines from the downstream end, receivers last."""

    def __init__(
        self, graph: Graph, telemetry: Telemetry, service: ServiceView | None, clock: Clock, reuse: Graph | None
    ) -> None:
        self.graph = graph
        self._config = graph.config
        self._telemetry = telemetry
        self._service = service
        self._clock = clock
        same_place = reuse is not None and reuse.config.data_dir == graph.config.data_dir
        self._reuse: Mapping[Key, Node] = reuse.nodes if reuse is not None and same_place else {}
        self._pipelines = graph.config.pipelines
        self._entries: dict[str, Consumer] = {}
        """The first edge of each pipeline that is built."""
        self._connectors: dict[str, Stage] = {}

    def build(self) -> None:
        """Fills the graph."""
        order = self._downstream_first()
        for kind in (Kind.EXTENSION, Kind.EXPORTER, Kind.CONNECTOR):
            for id_ in self._config.components.get(kind, {}):
                self._node(Key(kind, id_), self._signals(kind, id_))
        for id_ in self._config.components.get(Kind.CONNECTOR, {}):
            self._connectors[id_] = self._stage(self.graph.nodes[Key(Kind.CONNECTOR, id_)])
        for pipeline_id in order:
            self._pipeline(self._pipelines[pipeline_id])
        self._arrange(order)
        for id_ in self._config.components.get(Kind.RECEIVER, {}):
            self._receiver(id_)

    def _downstream_first(self) -> list[str]:
        # A receiver and an exporter may have one id without being one component: only connectors join pipelines.
        connectors = self._config.components.get(Kind.CONNECTOR, {}).keys()
        after = {
            pipeline.id: {
                other.id
                for other in self._pipelines.values()
                if connectors & set(other.receivers) & set(pipeline.exporters)
            }
            for pipeline in self._pipelines.values()
        }
        try:
            return list(TopologicalSorter(after).static_order())
        except CycleError as error:
            raise StartError(f"pipelines feed one another in a circle: {' -> '.join(error.args[1])}") from error

    def _signals(self, kind: Kind, id_: str) -> frozenset[Signal]:
        """The signals of the pipelines that list a component."""
        ends = (Kind.RECEIVER, Kind.CONNECTOR), (Kind.EXPORTER, Kind.CONNECTOR)
        return frozenset(
            pipeline.signal
            for pipeline in self._pipelines.values()
            if (kind in ends[0] and id_ in pipeline.receivers) or (kind in ends[1] and id_ in pipeline.exporters)
        )

    def _node(self, key: Key, signals: frozenset[Signal], make: Callable[[Node], Component] | None = None) -> Node:
        config = self._config.components[key.kind][key.id]
        old = self._reuse.get(key)
        if old is not None and key.kind is not Kind.PROCESSOR and old.same_as(config, signals):
            self.graph.nodes[key] = old
            return old
        name = f"otel_pipeline.{key.kind.singular}.{key.id}"
        settings = Settings(
            id=key.id,
            telemetry=self._telemetry.scope(),
            data_dir=self._config.data_dir,
            log=logging.getLogger(name),
            clock=self._clock,
            service=self._service,
        )
        node = Node(key, config, settings, signals, since_unix_ns=self._clock.time_ns())
        settings.report = node.report
        self.graph.new.append(node)
        try:
            node.component = make(node) if make else config.component(config.options, settings)
        except ProblemsError:
            raise
        except Exception as error:
            raise StartError(f"{key} could not be built: {error_text(error)}") from error
        self.graph.nodes[key] = node
        return node

    def _stage(self, node: Node) -> Stage:
        component = cast("Processor", node.component)
        counts = {signal.value: node.settings.counts[signal] for signal in node.signals}
        if not isinstance(component, Connector):
            node.settings.counts[next(iter(node.signals))].dropped[component.drop_reason] += 0
        return Stage(component, Faults(str(node.key), node.settings), counts)

    def _pipeline(self, pipeline: PipelineConfig) -> None:
        """One chain from each processor on: flushed batches enter behind the one that held them."""
        end = fan_out([self._exit(id_, pipeline.signal) for id_ in pipeline.exporters])
        stages: list[Stage] = []
        for id_ in pipeline.processors:
            node = self._node(Key(Kind.PROCESSOR, id_, pipeline.id), frozenset((pipeline.signal,)))
            stages.append(self._stage(node))
            self.graph.flow.append((node, stages[-1]))
        lock = asyncio.Lock()
        for position, stage in enumerate(stages):
            stage.lock = lock
            rest = stages[position + 1 :]
            stage.deliver = Chain(pipeline.signal, rest, lock, end).consume if rest else end
        self._entries[pipeline.id] = Chain(pipeline.signal, stages, lock, end).consume if stages else end

    def _exit(self, id_: str, signal: Signal) -> Consumer:
        """What stands at the end of a pipeline for one of its exporters, which may be a connector."""
        if id_ in self._connectors:
            stage = self._connectors[id_]
            stage.deliver = self._behind(id_)
            return Chain(signal, [stage], stage.lock, stage.deliver).consume
        node = self.graph.nodes[Key(Kind.EXPORTER, id_)]
        faults = Faults(str(node.key), node.settings)
        return ExporterEdge(cast("Exporter", node.component), faults, node.settings.counts[signal]).consume

    def _behind(self, id_: str) -> Consumer:
        """The pipelines that list a connector as receiver, by the signal of the batch."""
        gives = self._connectors[id_].gives
        by_signal: dict[str, Consumer] = {signal.value: self._route(id_, signal) for signal in gives}
        if len(by_signal) == 1:
            return next(iter(by_signal.values()))

        async def consume(batch: Batch) -> None:
            await by_signal[batch.signal](batch)

        return consume

    def _route(self, id_: str, signal: Signal) -> Consumer:
        entries = [
            self._entries[pipeline.id]
            for pipeline in self._pipelines.values()
            if pipeline.signal == signal and id_ in pipeline.receivers
        ]
        return fan_out(entries) if entries else _nowhere

    def _arrange(self, downstream_first: list[str]) -> None:
        """Puts processors and connectors in the order of the flow: a connector after all that feed it."""
        processors = self.graph.flow
        self.graph.flow = []
        waiting = dict(self._connectors)
        for pipeline_id in reversed(downstream_first):
            for id_ in self._pipelines[pipeline_id].receivers:
                if id_ in waiting:
                    self.graph.flow.append((self.graph.nodes[Key(Kind.CONNECTOR, id_)], waiting.pop(id_)))
            self.graph.flow += [entry for entry in processors if entry[0].key.pipeline == pipeline_id]
        for id_, stage in waiting.items():
            self.graph.flow.append((self.graph.nodes[Key(Kind.CONNECTOR, id_)], stage))

    def _receiver(self, id_: str) -> None:
        signals = self._signals(Kind.RECEIVER, id_)
        node = self._node(Key(Kind.RECEIVER, id_), signals, self._make_receiver)
        for signal in node.signals:
            self.graph.routes[id_, signal] = self._route(id_, signal)

    @staticmethod
    def _make_receiver(node: Node) -> Component:
        faults = Faults(str(node.key), node.settings)
        node.inlets = {signal: Inlet(faults, node.settings.counts[signal]) for signal in node.signals}
        consumers = {signal: inlet.consume for signal, inlet in node.inlets.items()}
        receiver = cast("type[Receiver]", node.config.component)
        return receiver(node.config.options, node.settings, consumers)


async def _nowhere(batch: Batch) -> None:
    """No pipeline of that signal lists the connector: what it makes is let go, as the configuration says."""
