"""Who sends, how much, since when and by which protocol; and who is expected and silent.

```yaml
exporters:
  sender_health:
    silent_after: 15m
service:
  pipelines:
    traces: {receivers: [otlp], processors: [semconv], exporters: [stage_metrics, sender_health]}
```

It stands at the end of pipelines, behind `semconv`, which tells the project. What it knows is at `/api/senders` of the
extension `web`, and in the metrics `otel_pipeline_sender_*`.
"""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from pydantic import Field

from otel_pipeline import semconv
from otel_pipeline.component import Document, Exporter, Settings
from otel_pipeline.helpers.otlp_intake import PROTOCOL
from otel_pipeline.helpers.sender_document import SENDERS_SCHEMA, Expected, expected_document, senders_document
from otel_pipeline.options import Duration, Options
from otel_pipeline.pdata import Batch, Sender, SenderTable, Signal

__all__ = ["SenderHealth", "SenderHealthOptions"]

_PAIR = ("service", "project")


class SenderHealthOptions(Options):
    """Options of `sender_health`."""

    directories: tuple[Path, ...] = ()
    """Folders with your semantic-convention files, as at the processor `semconv`. The `services` of the projects in
    them are the senders that are expected."""
    silent_after: Duration = Field(default=900.0, gt=0)
    """An expected sender is silent when nothing came from it for so long, or since the gateway has started."""
    max_senders: Annotated[int, Field(ge=1, le=100_000)] = 500
    """Senders that are told apart by service, project and signal, about 1 KiB each; each has two series. Further ones
    are added up as `_other`."""
    forget_after: Duration = Field(default=7 * 86400.0, gt=0)
    """Where there is no room for a new sender, those that were silent for so long make it."""


class SenderHealth(Exporter):
    """Keeps account of senders, and lets the telemetry go."""

    type = "sender_health"
    Config = SenderHealthOptions
    config: SenderHealthOptions

    def __init__(self, config: SenderHealthOptions, settings: Settings) -> None:
        super().__init__(config, settings)
        self._services = _expected_services(config.directories)
        self._table = SenderTable(
            max_senders=config.max_senders, forget_after_ns=round(config.forget_after * 1_000_000_000)
        )
        self._counts = {signal.value: settings.counts[signal] for signal in Signal}
        self._now_ns = settings.clock.time_ns
        self._started_ns = self._now_ns()
        self._add_metrics()

    async def consume(self, batch: Batch) -> None:
        """Counts the batch for its senders."""
        self._table.update(batch, PROTOCOL.get(), self._now_ns())
        self._counts[batch.signal].sent += batch.items

    def stale(self) -> bool:
        """Whether other senders are expected than when this was built."""
        return _expected_services(self.config.directories) != self._services

    def documents(self) -> Sequence[Document]:
        """`/api/senders`."""
        summary = "Who sends: signals, amounts, protocols, SDKs, last errors, and who is expected and silent."
        return (Document("senders", summary, self._document, SENDERS_SCHEMA),)

    def _document(self) -> dict[str, object]:
        now_ns = self._now_ns()
        senders = self._table.read(now_ns)
        errors = self.settings.telemetry.sender_errors.read()
        return {
            "now_unix_ns": now_ns,
            "silent_after_seconds": self.config.silent_after,
            "senders": senders_document(senders, errors, now_ns),
            "expected": expected_document(self._expected(senders), now_ns),
        }

    def _expected(self, senders: Sequence[Sender]) -> list[Expected]:
        """Every expected sender, and whether it is silent."""
        latest = [self._last_seen(service, senders) for service, _project in self._services]
        oldest = self._now_ns() - round(self.config.silent_after * 1_000_000_000)
        return [
            Expected(service, project, last_seen_ns, silent=max(last_seen_ns, self._started_ns) < oldest)
            for (service, project), last_seen_ns in zip(self._services, latest, strict=True)
        ]

    @staticmethod
    def _last_seen(service: str, senders: Sequence[Sender]) -> int:
        """When anything came from a service, or from any that a glob stands for; 0 for never."""
        return max((one.last_seen_ns for one in senders if fnmatchcase(one.service, service)), default=0)

    def _add_metrics(self) -> None:
        telemetry = self.settings.telemetry
        telemetry.gauge(
            "otel_pipeline_sender_last_seen_timestamp",
            lambda: self._by_sender(lambda one: one.last_seen_ns / 1e9),
            unit="s",
            description="When something last came from a sender, in Unix time.",
            labels=(*_PAIR, "signal"),
        )
        telemetry.gauge(
            "otel_pipeline_sender_items",
            lambda: self._by_sender(lambda one: float(one.items)),
            description="Spans, data points and log records of a sender.",
            labels=(*_PAIR, "signal"),
            grows=True,
        )
        telemetry.gauge(
            "otel_pipeline_sender_silent",
            self._silence,
            description="Whether nothing comes from a sender that is expected: 1 or 0.",
            labels=_PAIR,
        )

    def _by_sender(self, value: Callable[[Sender], float]) -> Mapping[tuple[str, ...], float]:
        return {(one.service, one.project, one.signal): value(one) for one in self._table.read(self._now_ns())}

    def _silence(self) -> Mapping[tuple[str, ...], float]:
        expected = self._expected(self._table.read(self._now_ns()))
        return {(one.service, one.project): float(one.silent) for one in expected}


def _expected_services(directories: Sequence[Path]) -> list[tuple[str, str]]:
    """The services of all projects, each with its project; globs stay globs."""
    projects = [(member.value, member.project) for member in semconv.load(directories).projects if member.project]
    return [(service, name) for name, facts in projects for service in facts.services]
