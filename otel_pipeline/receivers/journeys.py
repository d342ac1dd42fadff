"""Hand on what becomes of requirement journeys: each journey as one trace, what happened as events, how many as gauges.

```yaml
receivers:
  journeys:
exporters:
  journeys:
service:
  pipelines:
    traces: {receivers: [otlp], processors: [semconv], exporters: [journeys]}
    traces/journeys: {receivers: [journeys], exporters: [otlp_grpc]}
    logs/journeys: {receivers: [journeys], exporters: [stage_metrics]}
    metrics/journeys: {receivers: [journeys], exporters: [stage_metrics]}
```

It reads the store that the exporter `journeys` writes. Its pipelines need no `semconv`, and do not lead back to that
exporter. The processor `journey_links` makes the links from real spans to the traces of journeys.
"""

import asyncio
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from otel_pipeline import semconv
from otel_pipeline.component import Consumer, Health, Receiver, Settings
from otel_pipeline.errors import ConfigError, ConsumeError, Problem, StoreError
from otel_pipeline.journeys.extract import compile_plan
from otel_pipeline.journeys.flow_batches import event_batch, gauge_batch
from otel_pipeline.journeys.queries import Journeys as Answers
from otel_pipeline.journeys.sqlite import SqliteStore
from otel_pipeline.journeys.store import JourneyStore
from otel_pipeline.journeys.teller import TRACE, News, Teller
from otel_pipeline.journeys.told_store import Ref, ToldStore
from otel_pipeline.options import Duration, Options, Secret
from otel_pipeline.pdata import Batch, Signal, from_trusted

__all__ = ["Journeys", "JourneysReceiverConfig"]

NANOSECONDS = 1_000_000_000
AT_ONCE = 100
"""Requirements in one batch."""


class JourneysReceiverConfig(Options):
    """Options of the receiver `journeys`."""

    directories: tuple[Path, ...] = ()
    """Folders with your semantic-convention files, as at the processor `semconv`."""
    storage: Literal["sqlite", "postgresql"] = "sqlite"
    """As at the exporter `journeys`."""
    dsn: Secret | None = None
    """As at the exporter `journeys`. Of several gateways with one database, only one has this receiver."""
    exporter: str = "journeys"
    """Id of the exporter whose file is read; only for `sqlite`."""
    interval: Duration = Field(default=60.0, gt=0)
    """How often it looks for news."""
    decision_wait: Duration = 60.0
    """A requirement is told of when nothing new came of it for so long, since parts of a trace come in any order."""

    @model_validator(mode="after")
    def _check_dsn(self) -> Self:
        if (self.storage == "postgresql") != (self.dsn is not None):
            raise ValueError("storage 'postgresql' needs a dsn, and only it takes one")
        return self


class Journeys(Receiver):
    """Tells each event once, and the trace of a journey once it has ended (accepted, cancelled, or idle for too long);
    what was told is remembered in the data directory. What a pipeline refuses is told again at the next look.

    Traces have ids that follow from project and requirement: the same ones after a loss of the data directory.
    """

    type = "journeys"
    Config = JourneysReceiverConfig
    config: JourneysReceiverConfig

    def __init__(
        self, config: JourneysReceiverConfig, settings: Settings, consumers: Mapping[Signal, Consumer]
    ) -> None:
        super().__init__(config, settings, consumers)
        if config.dsn is not None and find_spec("psycopg") is None:
            problem = "'postgresql' needs a package: pip install 'otel-pipeline[postgresql]'"
            raise ConfigError([Problem(f"receivers::{settings.id}::storage", problem)])
        self._registry = semconv.load(config.directories)
        self._plan = compile_plan(self._registry)
        folder = settings.data_dir / "journeys"
        self._path = folder / f"{config.exporter.replace('/', '_')}.sqlite"
        self._told = ToldStore(folder / f"told-{settings.id.replace('/', '_')}.sqlite")
        self._teller = Teller(
            self._told,
            decision_wait_ns=round(config.decision_wait * NANOSECONDS),
            events=Signal.LOGS in consumers,
            traces=Signal.TRACES in consumers,
        )
        self._store: JourneyStore | None = None
        self._file = 0
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._problem = ""

    async def start(self) -> None:
        """Begins to look."""
        if self.consumers:
            self._task = asyncio.create_task(self._run())

    async def shutdown(self) -> None:
        """Ends after the batch at hand, so that it is remembered; what is not told yet is told after the next start."""
        self._stopping.set()
        task, self._task = self._task, None
        try:
            if task is not None:
                await task
        finally:
            if self._store is not None:
                self._store.close()
                self._store = None

    def stale(self) -> bool:
        """Whether the semantic-convention files have changed what journeys are."""
        return semconv.journey_plan(semconv.load(self.config.directories)) != semconv.journey_plan(self._registry)

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._look()
                self._say("")
            except StoreError as error:
                self._say(str(error))
                if self._store is not None:
                    self._store.close()
                    self._store = None
            except ConsumeError as error:
                self._say(f"what is new in journeys was refused: {error}")
            except Exception:
                self.settings.log.exception("a defect while looking for news of journeys")
            try:
                await asyncio.wait_for(self._stopping.wait(), self.config.interval)
            except TimeoutError:
                continue

    async def _look(self) -> None:
        """Hands on all that is new, in batches."""
        answers = await asyncio.to_thread(self._answers)
        found = self._teller.look(answers, self.settings.clock.time_ns())
        while not self._stopping.is_set():
            news = await asyncio.to_thread(list[News], islice(found, AT_ONCE))
            if not news:
                break
            await self._tell(news)
        if (consumer := self.consumers.get(Signal.METRICS)) and not self._stopping.is_set():
            now_ns = self.settings.clock.time_ns()
            if gauges := await asyncio.to_thread(self._teller.gauges, answers, now_ns):
                await consumer(gauge_batch(gauges, now_ns))

    def _answers(self) -> Answers:
        """A file that the exporter has set aside is left for the new one."""
        file = _inode(self._path) if self.config.dsn is None else 0
        if self._store is not None and file != self._file:
            self._store.close()
            self._store = None
        if self._store is None:
            self._store, self._file = self._open(), file
        return Answers(self._store, self._registry)

    def _open(self) -> JourneyStore:
        if self.config.dsn is None:
            return SqliteStore(self._path, self._plan, read_only=True)
        from otel_pipeline.journeys.postgres import PostgresStore  # needs a package of its own

        return PostgresStore(self.config.dsn.get_secret_value(), self._plan)

    async def _tell(self, news: Sequence[News]) -> None:
        events = [event for one in news for event in one.events]
        if Signal.LOGS in self.consumers and events:
            await self._hand_on(Signal.LOGS, event_batch(events), [(one.ref, one.names) for one in news])
        traces = [one for one in news if one.trace]
        if Signal.TRACES in self.consumers and traces:
            batch = from_trusted(Signal.TRACES, b"".join(one.trace for one in traces))
            await self._hand_on(Signal.TRACES, batch, [(one.ref, (TRACE,)) for one in traces])

    async def _hand_on(self, signal: Signal, batch: Batch, told: Sequence[tuple[Ref, tuple[str, ...]]]) -> None:
        """Remembers as told what was taken."""
        await self.consumers[signal](batch)
        await asyncio.to_thread(self._told.add, told, self.settings.clock.time_ns())

    def _say(self, problem: str) -> None:
        """Tells a problem when it is new."""
        if problem == self._problem:
            return
        self._problem = problem
        if problem:
            self.settings.log.warning("%s", problem)
            self.settings.report(Health.RECOVERABLE_ERROR, problem)
        else:
            self.settings.report(Health.OK, "")


def _inode(path: Path) -> int:
    """0 where there is no such file."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0
