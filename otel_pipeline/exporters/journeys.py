"""Keep what requirement journeys are made of: traces, and what they, log records and metrics name.

```yaml
exporters:
  journeys:
    retention: 90d
    max_size_mib: 20000
service:
  pipelines:
    traces: {receivers: [otlp], processors: [semconv], exporters: [stage_metrics, journeys]}
    logs: {receivers: [otlp], processors: [semconv], exporters: [stage_metrics, journeys]}
```

It stands at the end of pipelines, behind `semconv`. `otel-pipeline trace` and the pages of the extension `web` show
what it keeps. It never lets a sender wait: what the store cannot take in time is dropped, counted, and shown.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from otel_pipeline import semconv
from otel_pipeline.component import Exporter, Health, Query, Settings
from otel_pipeline.errors import ConfigError, Problem, StoreError
from otel_pipeline.journeys.extract import compile_plan
from otel_pipeline.journeys.jaeger import jaeger_queries
from otel_pipeline.journeys.queries import Journeys as Answers
from otel_pipeline.journeys.questions import journey_queries
from otel_pipeline.journeys.sqlite import SqliteStore, set_aside
from otel_pipeline.journeys.writer import KeptStore, StoreWriter, WriterOptions
from otel_pipeline.options import Duration, Options, Secret
from otel_pipeline.pdata import Batch, Signal

__all__ = ["Journeys", "JourneysOptions"]

_MIB = 1 << 20


class JourneysOptions(Options):
    """Options of `journeys`."""

    directories: tuple[Path, ...] = ()
    """Folders with your semantic-convention files, as at the processor `semconv`."""
    storage: Literal["sqlite", "postgresql"] = "sqlite"
    """`sqlite`: a file in the data directory, `journeys/journeys.sqlite`, for one gateway. `postgresql`: a server that
    speaks PostgreSQL's protocol, for several gateways and more data than one disk holds; install
    `otel-pipeline[postgresql]`."""
    dsn: Secret | None = None
    """Where the server is: `postgresql://user:password@host/database`. Only for `postgresql`."""
    retention: Duration = Field(default=90 * 86400.0, gt=0)
    """Traces whose last span ended so long ago are deleted, and what only they told."""
    max_size_mib: int = Field(default=20_000, ge=0)
    """Above this size of the store the oldest traces are deleted. 0 = no limit. 150 to 400 bytes a span."""
    idle_timeout: Duration = Field(default=30.0, gt=0)
    """A trace that got no span for so long is summed up."""
    max_queue_mib: int = Field(default=64, ge=1)
    """Batches that wait for the store, in memory. What does not fit is dropped."""

    @model_validator(mode="after")
    def _check_dsn(self) -> Self:
        if (self.storage == "postgresql") != (self.dsn is not None):
            raise ValueError("storage 'postgresql' needs a dsn, and only it takes one")
        return self


class Journeys(Exporter):
    """Hands batches to the thread that writes the store; one gateway has a file at a time, a second one waits for it
    and says so."""

    type = "journeys"
    Config = JourneysOptions
    config: JourneysOptions

    def __init__(self, config: JourneysOptions, settings: Settings) -> None:
        super().__init__(config, settings)
        if config.dsn is not None and find_spec("psycopg") is None:
            problem = "'postgresql' needs a package: pip install 'otel-pipeline[postgresql]'"
            raise ConfigError([Problem(f"exporters::{settings.id}::storage", problem)])
        self._registry = semconv.load(config.directories)
        self._plan = compile_plan(self._registry)
        self._queries = self._make_queries()
        self._known: Answers | None = None
        self._held = dict.fromkeys(Signal, 0)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._left_out = settings.telemetry.counter(
            "otelcol_exporter_journeys_left_out",
            description="Names and spans that journeys do not keep, by reason.",
            labels=("exporter", "reason"),
        )
        self._writer = StoreWriter(
            plan=self._plan,
            options=WriterOptions(config.max_queue_mib * _MIB, round(config.idle_timeout * 1e9)),
            log=settings.log,
            open=self._open,
            set_aside=lambda: str(set_aside(self._path, settings.clock.time_ns())),
            done=self._done,
            report=self._report,
            time_ns=settings.clock.time_ns,
            left_out=self._add_left_out,
            refresh=lambda store, limit: self._journeys(store).refresh(settings.clock.time_ns(), limit),
        )
        self._show()

    def queries(self) -> Sequence[Query]:
        """Requirements, journeys and traces (`journeys.questions`), and traces as Jaeger tells them."""
        return self._queries

    def _make_queries(self) -> tuple[Query, ...]:
        registry, time_ns = self._registry, self.settings.clock.time_ns
        kinds = {key: one.identifies.kind for key, one in registry.attributes.items() if one.identifies}
        return (
            *journey_queries(self.answers, [stage.value for stage in registry.stages], time_ns),
            *jaeger_queries(self.answers, kinds, time_ns),
        )

    def answers(self) -> Answers:
        """Who answers out of the store. Raises StoreError while it cannot be used."""
        store = self._writer.store
        if store is None:
            raise StoreError(f"the journey store cannot be used now: {self._writer.problem or 'it is being opened'}")
        return self._journeys(store)

    def _journeys(self, store: KeptStore) -> Answers:
        known = self._known
        if known is None or known.store is not store:
            self._known = known = Answers(store, self._registry)
        return known

    @property
    def _path(self) -> Path:
        name = self.settings.id.replace("/", "_")
        return self.settings.data_dir / "journeys" / f"{name}.sqlite"

    def _open(self) -> KeptStore:
        config = self.config
        age_ns, size = round(config.retention * 1e9), config.max_size_mib * _MIB
        time_ns = self.settings.clock.time_ns
        if config.dsn is None:
            return SqliteStore(self._path, self._plan, retention_ns=age_ns, max_bytes=size, time_ns=time_ns)
        from otel_pipeline.journeys.postgres import PostgresStore  # needs a package of its own

        dsn = config.dsn.get_secret_value()
        return PostgresStore(dsn, self._plan, retention_ns=age_ns, max_bytes=size, time_ns=time_ns)

    async def start(self) -> None:
        """Starts the thread; a store that cannot be opened is told, and tried again."""
        self._loop = asyncio.get_running_loop()
        for signal, counts in self.settings.counts.items():
            counts.held = partial(self._held.__getitem__, signal)
        self._writer.start()

    async def consume(self, batch: Batch) -> None:
        """Queues the batch, or drops it with a count where there is no room; never waits, never refuses."""
        signal = Signal(batch.signal)
        if self._writer.offer(batch):
            self._held[signal] += batch.items
        else:
            self.settings.counts[signal].dropped["queue_full"] += batch.items

    async def shutdown(self) -> None:
        """Writes what is queued. When cancelled, what is left is counted as dropped."""
        self._writer.close()
        try:
            while not await asyncio.to_thread(self._writer.join, 0.2):
                pass
            await asyncio.sleep(0)  # the thread's last calls come first
        finally:
            self._writer.abandon()
            for signal, items in self._held.items():
                self._held[signal] = 0
                if items:
                    self.settings.counts[signal].dropped["shutdown"] += items
            self._loop = None

    def stale(self) -> bool:
        """Whether the semantic-convention files ask for other keys than when this was built."""
        return semconv.journey_plan(semconv.load(self.config.directories)) != semconv.journey_plan(self._registry)

    # --- told by the thread

    def _done(self, batches: Sequence[Batch], reason: str) -> None:
        if loop := self._loop:
            loop.call_soon_threadsafe(self._settle, batches, reason)

    def _settle(self, batches: Sequence[Batch], reason: str) -> None:
        for batch in batches:
            signal = Signal(batch.signal)
            items = min(batch.items, self._held[signal])  # less where the shutdown has counted them
            self._held[signal] -= items
            counts = self.settings.counts[signal]
            if reason:
                counts.dropped[reason] += items
            else:
                counts.sent += items

    def _report(self, problem: str) -> None:
        if loop := self._loop:
            loop.call_soon_threadsafe(self._tell, problem)

    def _tell(self, problem: str) -> None:
        if problem:
            self.settings.log.warning("%s", problem)
            self.settings.report(Health.RECOVERABLE_ERROR, problem)
        else:
            self.settings.report(Health.OK, "the store works again")

    def _add_left_out(self, counts: dict[str, int]) -> None:
        if loop := self._loop:
            for reason, count in counts.items():
                loop.call_soon_threadsafe(self._left_out.add, count, self.settings.id, reason)

    # --- shown

    def _show(self) -> None:
        gauge, writer = self.settings.telemetry.gauge, self._writer
        label: tuple[str, ...] = (self.settings.id,)
        room = {label: float(self.config.max_queue_mib * _MIB)}
        size, capacity = "otelcol_exporter_queue_size", "otelcol_exporter_queue_capacity"
        gauge(
            size,
            lambda: {label: float(writer.waiting_bytes)},
            unit="{bytes}",
            description="Queued.",
            labels=("exporter",),
        )
        gauge(capacity, lambda: room, unit="{bytes}", description="Room.", labels=("exporter",))
        gauge(
            "otelcol_exporter_journeys_stored",
            self._stored,
            description="What the journey store has, as of the last half minute: traces, spans, keys, bytes, …",
            labels=("exporter", "what"),
        )

    def _stored(self) -> Mapping[tuple[str, ...], float]:
        stats = self._writer.stats
        if stats is None:
            return {}
        whats = ("traces", "spans", "keys", "edges", "requirements", "bytes")
        return {(self.settings.id, what): float(getattr(stats, what)) for what in whats}
