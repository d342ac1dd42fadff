"""The running components, joined: started downstream first, stopped upstream first."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from typing import cast

from otel_pipeline.component import Consumer, Kind, Processor, Receiver
from otel_pipeline.config.model import Config
from otel_pipeline.pdata import Signal
from otel_pipeline.service.node import CANCEL_GRACE_SECONDS, Key, Node
from otel_pipeline.service.stage import Stage
from otel_pipeline.telemetry import ComponentCounts

__all__ = ["Graph"]

_POLL_SECONDS = 0.01

_log = logging.getLogger("otel_pipeline.service")


class Graph:
    """All components of one configuration, joined."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.nodes: dict[Key, Node] = {}
        self.new: list[Node] = []
        """Those that were built for this graph, not taken over from the one before."""
        self.routes: dict[tuple[str, Signal], Consumer] = {}
        """What is behind each receiver."""
        self.flow: list[tuple[Node, Stage]] = []
        """Processors and connectors, upstream first."""
        self._timers: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    def of(self, kind: Kind) -> list[Node]:
        """The nodes of a kind."""
        return [node for node in self.nodes.values() if node.key.kind is kind]

    def rows(self) -> Iterator[ComponentCounts]:
        """The item counts of every component."""
        for node in self.nodes.values():
            yield from node.rows()

    async def start(self) -> None:
        """Starts what is new: extensions, then downstream first, receivers last; then lets data in.

        Raises StartError, or a ProblemsError of the component; what had been started is shut down then.
        """
        taken_over = [node for node in self.nodes.values() if node.running]
        try:
            for node in self._start_order():
                if not node.running:
                    await node.start()
                    _log.debug("%s started", node.key)
        except BaseException:
            await self.shutdown(self.config.service.shutdown_timeout, keep=taken_over)
            raise
        self._timers = [asyncio.create_task(self._timer(stage)) for _node, stage in self.flow if _interval(stage)]
        self._open()

    def _start_order(self) -> list[Node]:
        stages = [node for node, _stage in reversed(self.flow)]
        connectors = [node for node in stages if node.key.kind is Kind.CONNECTOR]
        processors = [node for node in stages if node.key.kind is Kind.PROCESSOR]
        first = self.of(Kind.EXTENSION) + self.of(Kind.EXPORTER)
        for node in self.of(Kind.RECEIVER):
            if not node.running:
                self._point(node)
        return first + connectors + processors + self.of(Kind.RECEIVER)

    def _point(self, receiver: Node) -> None:
        for signal, inlet in receiver.inlets.items():
            inlet.target = self.routes[receiver.key.id, signal]
        cast("Receiver", receiver.component).refusal = self._refusal(receiver)

    def _refusal(self, receiver: Node) -> Callable[[], str]:
        """Asks the first processors of the receiver's pipelines."""
        pipelines = [pipeline for pipeline in self.config.pipelines.values() if receiver.key.id in pipeline.receivers]
        keys = [
            Key(Kind.PROCESSOR, pipeline.processors[0], pipeline.id) for pipeline in pipelines if pipeline.processors
        ]
        refusals = [cast("Processor", self.nodes[key].component).refusal for key in keys]

        def ask() -> str:
            for refusal in refusals:
                if reason := refusal():
                    return reason
            return ""

        return ask

    def _open(self) -> None:
        for node in self.of(Kind.RECEIVER):
            self._point(node)
            for inlet in node.inlets.values():
                inlet.resume()

    async def _timer(self, stage: Stage) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _interval(stage))
                return
            try:
                await stage.flush()
            except Exception as error:
                stage.faults.answer(error)

    async def shutdown(self, timeout: float, keep: Iterable[Node] = ()) -> None:  # noqa: ASYNC109
        """Receivers stop and finish their requests, then everything that is held flows downstream, then exporters stop,
        all at once; extensions last. All of it within `timeout` seconds: each step may use half of what is left.

        Nodes of `keep` go on; data for them waits at the receivers until the next graph lets it in.
        """
        kept = set(keep)
        now = asyncio.get_running_loop().time
        end = now() + max(0.0, timeout)
        await self._stop_receivers(kept, (now() + end) / 2)
        self._stopping.set()
        if self._timers:
            _done, late = await asyncio.wait(self._timers, timeout=(end - now()) / 2)
            for timer in late:
                timer.cancel()
        until = (now() + end) / 2
        for node, stage in self.flow:
            await self._drain(node, stage, until, keep=node in kept)
        for kind in (Kind.EXPORTER, Kind.EXTENSION):
            await _together(node.shutdown(end) for node in self.of(kind) if node.running and node not in kept)

    async def _stop_receivers(self, kept: set[Node], until: float) -> None:
        receivers = self.of(Kind.RECEIVER)
        for node in receivers:
            for inlet in node.inlets.values():
                inlet.pause() if node in kept else inlet.close()
        await _together(node.shutdown(until) for node in receivers if node.running and node not in kept)
        counts = [inlet.counts for node in receivers for inlet in node.inlets.values()]
        while any(count.pending for count in counts) and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)

    async def _drain(self, node: Node, stage: Stage, until: float, *, keep: bool) -> None:
        if not node.running:
            return
        flush = stage.finish(until) if keep else stage.drain(until)
        try:
            await asyncio.wait_for(flush, max(0.0, until - asyncio.get_running_loop().time()) + CANCEL_GRACE_SECONDS)
        except TimeoutError:
            _log.error("%s did not flush in time", node.key)
        except Exception as error:
            stage.faults.answer(error)
        if not keep:
            await node.shutdown(until)

    def discard(self) -> None:
        """Takes back what building registered, of a graph that will not start."""
        for node in self.new:
            node.settings.telemetry.close()


def _interval(stage: Stage) -> float | None:
    return stage.component.flush_interval


async def _together(calls: Iterable[Awaitable[None]]) -> None:
    await asyncio.gather(*calls)
