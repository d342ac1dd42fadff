"""The series store of a component: the options that say what its series are, the counting of what it takes in, and the
file by which its series continue after a restart."""

import asyncio
import contextlib
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator

from otel_pipeline.component import Settings
from otel_pipeline.options import Duration, Options
from otel_pipeline.pdata import Batch, Signal
from otel_pipeline.prometheus import Ingested, SeriesStore
from otel_pipeline.prometheus.checkpoint import Checkpoint
from otel_pipeline.semconv import load

__all__ = [
    "CheckpointOptions",
    "Collected",
    "ConstLabels",
    "ExternalLabels",
    "ResourceToTelemetry",
    "SeriesIntake",
    "SeriesOptions",
]

_BUILD_NS = 10_000_000_000
"""Components of one graph are made within this time. A connector may date its first series to its own making, which
can be before ours, and yet nobody has seen them."""
_OFFLOAD_BYTES = 1 << 16
_TIDY_SECONDS = 10.0
_NEVER_NS = 2**62
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OWN_LABELS = frozenset({"le", "quantile", "job", "instance", "otel_metric_overflow"})


def _check_labels(value: Mapping[str, str], own: frozenset[str]) -> Mapping[str, str]:
    """`value`; raises ValueError where a name cannot be a label's, or is one of `own`."""
    for name in value:
        if not _LABEL.fullmatch(name) or name.startswith("__"):
            raise ValueError(f"not a label name: {name!r} (letters, digits and _, no digit and no __ first)")
        if name in own or name.startswith("otel_scope_"):
            raise ValueError(f"the label {name!r} has a meaning of its own; choose another name")
    return value


Collected = Literal["", "cumulative", "delta"]
"""What `SeriesStore.collect` is to give of counters and histograms; nothing of a store that is only rendered."""

ConstLabels = Annotated[Mapping[str, str], AfterValidator(lambda value: _check_labels(value, _OWN_LABELS))]
"""Labels of every series on a page, as users write them: whoever scrapes it adds `job` and `instance`."""

ExternalLabels = Annotated[
    Mapping[str, str], AfterValidator(lambda value: _check_labels(value, _OWN_LABELS - {"job", "instance"}))
]
"""Labels of every series that is sent, as users write them; a resource's own `job` and `instance` stand before them."""


class ResourceToTelemetry(Options):
    """Whether attributes of the resource become labels of its metrics."""

    enabled: bool = False
    """Make labels of all of them. Without, those are taken that the registry gives a label, such as `project_id`."""
    exclude_service_attributes: bool = False
    """But not of `service.name`, `service.namespace` and `service.instance.id`, which make `job` and `instance`."""


class CheckpointOptions(Options):
    """How series continue after a restart.

    What is shown or handed on is written down first, as far as it differs from the time before. A killed gateway
    continues every counter and histogram from there, with its start time, and never below; what a delta sender or a
    span brought later is lost, while a cumulative sender makes up for it with its next point. Gauges are there again
    and expire as they would have. A loss of power can lose the last ten seconds. With other options for names or
    labels, series begin anew.
    """

    enabled: bool = True
    """Continue counters and histograms where they were, and add up what senders count that begin anew, so that nothing
    falls. Without, and where the directory cannot be written, both begin anew with the gateway."""
    directory: Path | None = None
    """Where the file is kept, named after the component; by default `prometheus` in the data directory
    (`OTEL_PIPELINE_DATA_DIR`). Two gateways cannot share it: the second one runs without, and says so."""


class SeriesOptions(Options):
    """What becomes of data points: names, labels, limits."""

    namespace: str = ""
    """Put before the name of every metric, with `_`."""
    metric_expiration: Annotated[Duration, Field(gt=0)] = 86400.0
    """How long a series is shown after its last data point. The Collector has 5m; here a stage may run once a day, and
    a series that is gone between two runs loses the increase between them."""
    without_scope_info: bool = False
    """Leave out the labels `otel_scope_name`, `otel_scope_version` and `otel_scope_<attribute>`."""
    translation_strategy: Literal[
        "UnderscoreEscapingWithSuffixes",
        "UnderscoreEscapingWithoutSuffixes",
        "NoUTF8EscapingWithSuffixes",
        "NoTranslation",
    ] = "UnderscoreEscapingWithSuffixes"
    """Whether names keep characters that only Prometheus 3 reads, and whether unit and `_total` are put at their end. A
    scraper that does not ask for `escaping=allow-utf-8` gets underscores in any case."""
    resource_to_telemetry_conversion: ResourceToTelemetry = ResourceToTelemetry()
    """Which attributes of the resource become labels."""
    drop_labels: tuple[str, ...] = (
        "session.id",
        "*.session.id",
        "*.sessionId",
        "*.sessionKey",
        "session_id",
        "conversation.id",
        "gen_ai.conversation.id",
        "prompt.id",
        "process.*",
        "service.instance.id",
        "host.id",
        "container.id",
        "k8s.pod.uid",
        "user.id",
        "user.account_uuid",
        "user.account_id",
        "user.email",
        "installation.id",
    )
    """Attributes that never become labels, as keys, or with one `*` at the start or the end: series of senders that
    differ only in these are added up. Attributes that the registry says identify something or hold content (prompts,
    commands) never become labels either."""
    directories: tuple[Path, ...] = ()
    """Folders with your own semantic-convention files, as in the processor `semconv`: they say which attributes have
    labels, and which identify something."""
    max_series_per_metric: Annotated[int, Field(ge=1)] = 2000
    """Label sets of one metric. What comes after is added up in the series `otel_metric_overflow="true"`; of gauges it
    is dropped."""
    max_series: Annotated[int, Field(ge=1)] = 100_000
    """Series of all metrics together, counted as Prometheus does: each bucket of a histogram is one."""
    max_streams: Annotated[int, Field(ge=1)] = 200_000
    """Senders' streams that are remembered, so that what each adds is counted once; one takes about 100 bytes, with a
    histogram more."""
    zero_first: bool = True
    """Show each scraper a new counter or histogram once as 0, so that `increase()` counts its first value too."""
    checkpoint: CheckpointOptions = CheckpointOptions()
    """How series continue after a restart."""

    @field_validator("namespace")
    @classmethod
    def _is_name(cls, value: str) -> str:
        if value and not _LABEL.fullmatch(value):
            raise ValueError(f"not a metric name: {value!r} (letters, digits and _, no digit first)")
        return value

    @field_validator("drop_labels")
    @classmethod
    def _are_keys(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for key in value:
            if not key.strip("*") or "*" in key[1:-1] or (key[0] == "*" and key[-1] == "*"):
                raise ValueError(f"not an attribute key: {key!r} (one * may stand at the start or the end)")
        return value

    def make_store(
        self,
        epoch_ns: int,
        const_labels: Mapping[str, str],
        *,
        send_timestamps: bool = False,
        created_timestamps: bool = False,
        collected: Collected = "",
    ) -> SeriesStore:
        """A store by these options, for series that began at `epoch_ns` at the earliest."""
        registry = load(self.directories)
        never = [key for key, attribute in registry.attributes.items() if attribute.identifies or attribute.content]
        conversion = self.resource_to_telemetry_conversion
        return SeriesStore(
            epoch_ns=epoch_ns,
            namespace=self.namespace,
            const_labels=tuple(const_labels.items()),
            send_timestamps=send_timestamps,
            created_timestamps=created_timestamps,
            without_scope_info=self.without_scope_info,
            translation_strategy=self.translation_strategy,
            drop_labels=(*self.drop_labels, *never),
            given_labels=[(key, attribute.label) for key, attribute in registry.canonical.items() if attribute.label],
            resource_labels=conversion.enabled,
            exclude_service_attributes=conversion.exclude_service_attributes,
            metric_expiration_ns=round(self.metric_expiration * 1e9),
            max_series_per_metric=self.max_series_per_metric,
            max_series=self.max_series,
            max_streams=self.max_streams,
            zero_first=self.zero_first,
            kept=self.checkpoint.enabled or collected == "delta",
            collected=collected,
        )


class SeriesIntake:
    """Puts batches into a store, counts what became of their data points in the counts of a component, and keeps what
    the store has shown."""

    def __init__(
        self,
        config: SeriesOptions,
        settings: Settings,
        const_labels: Mapping[str, str],
        *,
        send_timestamps: bool = False,
        created_timestamps: bool = False,
        collected: Collected = "",
    ) -> None:
        clock = settings.clock
        self._settings = settings
        self._epoch_ns = clock.time_ns() - round(clock.monotonic() * 1e9)
        self.store = config.make_store(
            self.now_ns() - _BUILD_NS,
            const_labels,
            send_timestamps=send_timestamps,
            created_timestamps=created_timestamps,
            collected=collected,
        )
        self._checkpoint = self._make_checkpoint(config.checkpoint) if config.checkpoint.enabled else None
        self._increments = collected == "delta"
        self._tidying: asyncio.Task[None] | None = None
        self._notes = settings.telemetry.counter(
            "otelcol_exporter_prometheus_notes",
            description="What the series store noticed without dropping a data point, by reason.",
            labels=("exporter", "reason"),
        )
        settings.telemetry.gauge(
            "otelcol_exporter_prometheus_series",
            lambda: {(settings.id,): self.store.stats()["lines"]},
            description="Series held, counted as max_series does.",
            labels=("exporter",),
        )

    def now_ns(self) -> int:
        """Unix time that never jumps: expiry must not follow a clock that is set."""
        return self._epoch_ns + round(self._settings.clock.monotonic() * 1e9)

    def _make_checkpoint(self, options: CheckpointOptions) -> Checkpoint:
        settings = self._settings
        problems = settings.telemetry.counter(
            "otelcol_exporter_prometheus_checkpoint_problems",
            description="What was wrong with the file by which series continue after a restart, by reason.",
            labels=("exporter", "reason"),
        )
        directory = options.directory or settings.data_dir / "prometheus"
        return Checkpoint(
            self.store,
            directory / f"{settings.id.replace('/', '_')}.checkpoint",
            now_ns=self.now_ns,
            log=settings.log,
            count=lambda reason: problems.add(1, settings.id, reason),
        )

    async def open(self) -> list[tuple[int, str]]:
        """Continues the series of the last run, and gives the scrapers that it knew."""
        if self._checkpoint is None:
            return []
        restored = await asyncio.to_thread(self._checkpoint.open)
        if not self._increments:
            self._tidying = asyncio.create_task(self._tidy(self._checkpoint))
        return restored.scrapers if restored else []

    async def close(self) -> None:
        """Keeps what is still to be shown."""
        if self._tidying is not None:
            self._tidying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._tidying
            self._tidying = None
        if self._checkpoint is not None:
            await asyncio.to_thread(self._checkpoint.close)

    async def _tidy(self, checkpoint: Checkpoint) -> None:
        while True:
            await asyncio.sleep(_TIDY_SECONDS)
            await asyncio.to_thread(checkpoint.tidy)

    def save(self) -> None:
        """Writes down what the store shows, before anyone sees it; blocks."""
        if self._checkpoint is not None:
            self._checkpoint.save()

    def collect(self, *, repeat_seconds: float, zero_seconds: float, max_samples: int, targets: bool) -> list[Batch]:
        """What `SeriesStore.collect` gives, written down; blocks."""
        batches = self.store.collect(
            self.now_ns(),
            repeat_ns=round(min(repeat_seconds * 1e9, _NEVER_NS)),
            zero_ns=round(zero_seconds * 1e9),
            max_samples=max_samples,
            targets=targets,
        )
        self.save()
        if self._increments and self._checkpoint is not None:
            # Here only: a file that is written anew has all that came in, and increments in it count as handed on.
            self._checkpoint.tidy()
        return batches

    async def ingest(self, batch: Batch) -> None:
        """Puts a batch of metrics into the store; a large one in a worker thread."""
        ingest = partial(self.store.ingest, batch, self.now_ns())
        self._count(await asyncio.to_thread(ingest) if batch.size_bytes > _OFFLOAD_BYTES else ingest())

    def ingest_now(self, batch: Batch) -> None:
        """Puts a batch of metrics into the store, in this thread."""
        self._count(self.store.ingest(batch, self.now_ns()))

    def details(self) -> Mapping[str, Any]:
        """For /status: metrics that do not agree with what has their name already, and who sends them."""
        conflicts = [
            {
                "metric": conflict.metric,
                "reason": conflict.reason,
                "held": conflict.held,
                "told": conflict.told,
                "job": conflict.job,
                "scope": conflict.scope,
                "count": conflict.count,
                "last_seen_unix_ns": conflict.last_seen_ns,
            }
            for conflict in self.store.conflicts()
        ]
        return {"conflicts": conflicts} if conflicts else {}

    def _count(self, ingested: Ingested) -> None:
        counts = self._settings.counts[Signal.METRICS]
        counts.sent += ingested.kept
        for reason, points in ingested.dropped.items():
            counts.dropped[reason] += points
        for reason, times in ingested.notes.items():
            self._notes.add(times, self._settings.id, reason)
