"""One running component: what it is called, how it is, how it starts and stops."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from otel_pipeline.component import Component, Health, Kind, Settings
from otel_pipeline.config.model import ComponentConfig
from otel_pipeline.errors import ProblemsError, StartError
from otel_pipeline.pdata import Signal
from otel_pipeline.service.edge import Inlet
from otel_pipeline.telemetry import ComponentCounts

__all__ = ["CANCEL_GRACE_SECONDS", "Key", "Node", "error_text"]

CANCEL_GRACE_SECONDS = 1.0
"""What a component gets to count and close, after its time was over."""

_log = logging.getLogger("otel_pipeline.service")


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Names one instance: processors have one for each pipeline."""

    kind: Kind
    id: str
    pipeline: str = ""

    def __str__(self) -> str:
        place = f" in pipeline {self.pipeline!r}" if self.pipeline else ""
        return f"{self.kind.singular} {self.id!r}{place}"


@dataclass(slots=True, eq=False)
class Node:
    """One component with its settings and state. A reload hands it on to the next graph where nothing has changed."""

    key: Key
    config: ComponentConfig
    settings: Settings
    signals: frozenset[Signal]
    """What its pipelines give to it or want from it."""
    component: Component = field(init=False)
    inlets: dict[Signal, Inlet] = field(default_factory=dict)
    """Of a receiver."""
    running: bool = False
    health: Health = Health.STARTING
    reason: str = ""
    since_unix_ns: int = 0

    def report(self, health: Health, reason: str = "") -> None:
        """Notes how the component is; called by itself and by the graph."""
        if (health, reason) != (self.health, self.reason):
            self.health, self.reason, self.since_unix_ns = health, reason, self.settings.clock.time_ns()

    def rows(self) -> Iterator[ComponentCounts]:
        """Its item counts."""
        if self.key.kind is not Kind.EXTENSION:
            for signal in sorted(self.signals):
                counts = self.settings.counts[signal]
                kind = self.key.kind.singular
                yield ComponentCounts(kind, self.key.id, self.key.pipeline, signal, signal.items, counts)

    def same_as(self, config: ComponentConfig, signals: frozenset[Signal]) -> bool:
        """Whether it can serve on under a new configuration."""
        same = self.config.component is config.component and self.config.options == config.options
        return self.running and same and self.signals == signals and not self.component.stale()

    async def start(self) -> None:
        """Starts the component. Raises StartError, which names it; what it had opened is closed then."""
        self.report(Health.STARTING)
        try:
            await self.component.start()
        except BaseException as error:
            with suppress(Exception):
                await self.component.shutdown()
            self.report(Health.PERMANENT_ERROR, error_text(error))
            if isinstance(error, Exception) and not isinstance(error, ProblemsError):
                raise StartError(f"{self.key} did not start: {error_text(error)}") from error
            raise
        self.running = True
        if self.health is Health.STARTING:
            self.report(Health.OK)

    async def shutdown(self, until: float) -> None:
        """Stops the component; at `until` (of the loop's clock) the call is cancelled. Raises nothing."""
        self.running = False
        self.report(Health.STOPPING)
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(self.component.shutdown())
        await asyncio.wait([task], timeout=max(0.0, until - loop.time()))
        reason = ""
        if not task.done():
            reason = "it did not stop in time"
            task.cancel()
            await asyncio.wait([task], timeout=CANCEL_GRACE_SECONDS)
        if task.done() and not task.cancelled() and task.exception():
            reason = error_text(task.exception())
        left = sum(row.counts.held() for row in self.rows())
        if reason:
            _log.error("%s was not shut down cleanly: %s", self.key, reason)
        if left:
            _log.warning("%s holds %d items at its end", self.key, left)
        self.report(Health.STOPPED, reason)
        self.settings.telemetry.close()


def error_text(error: BaseException | None) -> str:
    """What to tell of an exception: its text, or its class where it has none."""
    return str(error) or type(error).__name__
