"""The service: one graph that runs, and how it is replaced by the next one."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from otel_pipeline.component import Clock, Health, Kind, Query, Served
from otel_pipeline.config.model import Config
from otel_pipeline.errors import ProblemsError, StartError
from otel_pipeline.service import status
from otel_pipeline.service.build import build
from otel_pipeline.service.graph import Graph
from otel_pipeline.telemetry import Telemetry
from otel_pipeline.times import time_text

__all__ = ["Service"]

_log = logging.getLogger("otel_pipeline.service")


@dataclass(slots=True)
class _Reloads:
    """What became of the reloads that were asked for."""

    done: int = 0
    failed: int = 0
    problems: tuple[str, ...] = ()
    """Of the last one, where it failed."""
    unix_ns: int = 0

    def describe(self) -> dict[str, Any]:
        """For JSON."""
        last = time_text(self.unix_ns) if self.unix_ns else ""
        return {"done": self.done, "failed": self.failed, "last": last, "problems": list(self.problems)}


class Service:
    """Starts, reloads and stops a graph, and tells how it is (a component.ServiceView)."""

    def __init__(self, config: Config, *, telemetry: Telemetry | None = None, clock: Clock | None = None) -> None:
        """Builds the graph. Raises StartError or a ProblemsError."""
        self.telemetry = telemetry or Telemetry()
        self._clock = clock or Clock()
        self._phase = "starting"
        self._reloads = _Reloads()
        self._reload_counter = self.telemetry.counter(
            "otel_pipeline_reloads",
            description="Reloads of the configuration that were asked for, by outcome.",
            labels=("outcome",),
        )
        for outcome in ("success", "failure"):
            self._reload_counter.add(0, outcome)
        self.graph = self._build(config)
        self.telemetry.watch(lambda: self.graph.rows())

    @property
    def config(self) -> Config:
        """The configuration that is in force."""
        return self.graph.config

    async def start(self) -> None:
        """Starts everything. Raises StartError or a ProblemsError; what had been started is stopped again then."""
        await self.graph.start()
        self._phase = "running"
        _log.info("started: %d pipelines, %d components", len(self.config.pipelines), len(self.graph.nodes))

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Drains and stops everything within `timeout` seconds, by default the configured `shutdown_timeout`."""
        self._phase = "stopping"
        await self.graph.shutdown(self.config.service.shutdown_timeout if timeout is None else timeout)
        self._phase = "stopped"
        _log.info("stopped")

    async def reload(self, load: Callable[[], Config]) -> bool:
        """Reads the configuration again and goes over to it; whether that was done.

        A configuration with problems changes nothing. One whose components do not start (a port in use) is taken back:
        the old one is started again; StartError where even that fails.

        Receivers that stay the same keep their ports open; their data waits while the parts behind are replaced. Others
        close their ports first, so senders are refused for as long as draining takes.
        """
        old = self.graph
        try:
            new = self._build(await asyncio.to_thread(load), reuse=old)
        except Exception as error:
            self._note(error)
            return False
        self._phase = "reloading"
        await self._replace(old, new)
        try:
            await new.start()
            self._note(None)
        except (ProblemsError, StartError) as error:
            self._note(error)
            await self._go_back(old.config)
        self._phase = "running"
        return self.graph is new

    async def _go_back(self, config: Config) -> None:
        try:
            back = self._build(config, reuse=self.graph)
            await self._replace(self.graph, back)
            await back.start()
        except BaseException:
            await self.shutdown()
            raise

    def _build(self, config: Config, reuse: Graph | None = None) -> Graph:
        return build(config, self.telemetry, service=self, clock=self._clock, reuse=reuse)

    async def _replace(self, old: Graph, new: Graph) -> None:
        """Stops what the new graph has not taken over; counts of the same components go on."""
        kept = [node for node in new.nodes.values() if node not in new.new]
        await old.shutdown(old.config.service.shutdown_timeout, keep=kept)
        for node in new.new:
            before = old.nodes.get(node.key)
            if before is not None:
                for signal, counts in node.settings.counts.items():
                    counts.adopt(before.settings.counts[signal])
        self.graph = new

    def _note(self, error: Exception | None) -> None:
        self._reloads.unix_ns = self._clock.time_ns()
        if error is None:
            self._reloads.done += 1
            self._reloads.problems = ()
            self._reload_counter.add(1, "success")
            _log.info("configuration reloaded")
            return
        problems = error.problems if isinstance(error, ProblemsError) else (error,)
        self._reloads.failed += 1
        self._reloads.problems = tuple(str(problem) for problem in problems)
        self._reload_counter.add(1, "failure")
        _log.error("the old configuration stays in force, the new one has %d problems", len(problems))
        for problem in self._reloads.problems:
            _log.error("not reloaded: %s", problem)

    def unready(self) -> list[str]:
        """Why the gateway does not take data now, one reason each; empty when it does."""
        if self._phase != "running":
            return [f"the gateway is {self._phase}"]
        return [
            f"{node.key}: {node.reason or node.health}"
            for node in self.graph.nodes.values()
            if node.health is Health.PERMANENT_ERROR and node.key.kind is not Kind.EXPORTER
        ]

    def describe(self) -> dict[str, Any]:
        """Components, pipelines, item balance, versions and the last reload, for JSON."""
        unready = self.unready()
        return {
            "ready": not unready,
            "reasons": unready,
            "phase": self._phase,
            "components": status.components(self.graph),
            "pipelines": status.pipelines(self.graph),
            "balance": status.balance(self.graph.rows()),
            "reloads": self._reloads.describe(),
            "versions": status.versions(),
        }

    def documents(self) -> list[Served]:
        """What components show at this moment; a reload may change it."""
        return status.documents(self.graph)

    def queries(self) -> list[Query]:
        """What components answer at this moment; a reload may change it."""
        return status.queries(self.graph)
