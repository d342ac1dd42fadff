"""Spans from log records that stand for work: model requests, tool calls and prompts of agents that send no spans."""

import json
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from otel_pipeline import semconv
from otel_pipeline.component import Connector, Options, Settings
from otel_pipeline.helpers.span_aggregation import nanoseconds
from otel_pipeline.options import Duration
from otel_pipeline.pdata import Batch, EventSpans, Signal

__all__ = ["AgentEvents", "AgentEventsConfig", "plan"]

_FINDINGS = (
    "left_to_spans",
    "invalid_duration",
    "without_time",
    "without_prompt",
    "without_session",
    "too_many",
    "late_work",
    "late_spans",
    "decided_early",
    "forgotten",
)


class AgentEventsConfig(Options):
    """Options of `agent_events`."""

    directories: tuple[Path, ...] = ()
    """Folders with semantic-convention files that are laid over the shipped ones, in order. Give the same list as for
    the `semconv` processor."""
    wait: Duration = Field(default=15.0, ge=0)
    """How long a log record waits for spans of the same trace or session before it becomes a span. Agents send spans
    and log records apart, mostly every five seconds; spans that come later than this are told twice, and counted as
    `late_spans`."""
    prompt_idle_timeout: Duration = Field(default=300.0, gt=0)
    """A prompt is over when its session's next one has come, or when nothing was done for it for so long; then its own
    span is made. Work that ends later is still put below it, and counted as `late_work`."""
    session_memory: Duration = Field(default=3600.0, gt=0)
    """How long an idle session is remembered: its prompts, and that it sends spans itself."""
    max_sessions: int = Field(default=20_000, ge=1)
    """Sessions remembered, about 500 bytes each. Over that, those idle for longest are forgotten, and their prompts
    end."""
    held_limit_mib: int = Field(default=64, ge=1)
    """Memory for log records that wait, about 1 KiB each. Over that, further ones become no spans, and are counted as
    `too_many`."""
    flush_interval: Duration = Field(default=1.0, gt=0)
    """How often the spans that are due are handed on."""

    @model_validator(mode="after")
    def _lasting(self) -> Self:
        if self.prompt_idle_timeout <= self.wait:
            raise ValueError("prompt_idle_timeout must be longer than wait: work is known to be done after that")
        if self.session_memory < self.prompt_idle_timeout:
            raise ValueError("session_memory must be at least prompt_idle_timeout")
        return self


class AgentEvents(Connector):
    """Takes log records and traces, gives the spans that agents do not send themselves.

    Rules of the semantic-convention files say which events stand for work, and as which span (`span:` of an event).
    A span ends with its log record and begins before it by the duration told there. It is in the trace that the record
    names, else in one of its session and prompt, and below the span of its prompt, which lasts from the event that
    opens it to the last work done for it. So a session without spans has a stage run for each prompt, as one with
    spans has.

    Nothing is made of the log records of a session or trace of which spans came: list this connector as exporter of
    the traces, too. A record whose trace is not sampled becomes a span all the same. Ids are made of what the record
    says, so that a record that comes twice is the same span twice. Spans have `sdlc.derived_from`, and the resource and
    scope of their records; let them go through `semconv`, and on to where other spans go. What waits is lost where the
    gateway is killed. A record costs 1.2 µs, one that is no work 0.1 µs, a span that is looked at 0.3 µs.
    """

    type = "agent_events"
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.LOGS, Signal.TRACES})
    produces: ClassVar[frozenset[Signal]] = frozenset({Signal.TRACES})
    Config = AgentEventsConfig

    def __init__(self, config: AgentEventsConfig, settings: Settings) -> None:
        super().__init__(config, settings)
        self.flush_interval = config.flush_interval
        self._plan = plan(semconv.load(config.directories), config)
        self._spans = EventSpans(json.dumps(self._plan))
        self._reported = self._spans.stats()
        self._findings = settings.telemetry.counter(
            "otel_pipeline_connector_findings",
            description="Items that a connector had to correct, count early or count without labels, by finding.",
            labels=("connector", "finding"),
        )
        settings.counts[Signal.LOGS].held = lambda: self._spans.waiting

    def process(self, batch: Batch) -> None:
        """Takes in log records, which wait, and looks at traces; what comes of it leaves with `flush`."""
        self._spans.update(batch, self._now_ns(), self.settings.clock.time_ns())
        if batch.signal == Signal.TRACES:
            self.settings.counts[Signal.TRACES].sent += batch.items

    def flush(self, now_unix_ns: int) -> Batch | None:
        """The spans that are due; all of them at the end."""
        batch = self._spans.flush(self._now_ns(), everything=self.draining)
        stats = self._spans.stats()
        for finding in _FINDINGS:
            if stats[finding] > self._reported[finding]:
                self._findings.add(stats[finding] - self._reported[finding], self.settings.id, finding)
        self._reported = stats
        return batch

    def stale(self) -> bool:
        """Whether the semantic-convention files ask for other spans than when this was built."""
        return plan(semconv.load(self.config.directories), self.config) != self._plan

    def _now_ns(self) -> int:
        return nanoseconds(self.settings.clock.monotonic())


def plan(registry: semconv.Registry, config: AgentEventsConfig) -> dict[str, Any]:
    """The plan for the native pass (`_native.pyi`)."""
    limits = {
        "wait_ns": nanoseconds(config.wait),
        "prompt_idle_ns": nanoseconds(config.prompt_idle_timeout),
        "memory_ns": nanoseconds(config.session_memory),
        "max_sessions": config.max_sessions,
        "max_held_bytes": config.held_limit_mib << 20,
    }
    return {**semconv.event_span_plan(registry), "limits": limits}
