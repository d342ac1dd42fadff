"""A processor of your own, with state and messages: keeps failed and slow spans, and every n-th of the others.

Used by python_processors.yaml. `where` leaves items out; what it drops is counted with `drop_reason`.
"""

from otel_pipeline.component import Options, Processor, Settings
from otel_pipeline.options import Duration
from otel_pipeline.pdata import Batch, Signal


class KeepSlowOrFailedConfig(Options):
    """What counts as slow, and how many of the rest stay."""

    slower_than: Duration = 1.0
    """Spans that take longer always stay."""
    keep_one_in: int = 10
    """Of the others, one in so many stays."""


class KeepSlowOrFailed(Processor):
    """Thins out what nobody looks at. Put it before exporters, never before stage_metrics."""

    Config = KeepSlowOrFailedConfig
    signals = frozenset({Signal.TRACES})
    drop_reason = "sampled"
    config: KeepSlowOrFailedConfig

    def __init__(self, config: KeepSlowOrFailedConfig, settings: Settings) -> None:
        super().__init__(config, settings)
        self._seen = 0

    def process(self, batch: Batch) -> Batch | None:
        """The spans that stay."""
        slow_ns = self.config.slower_than * 1e9
        durations, codes = batch.field("duration_ns"), batch.field("status_code")
        keep = [self._keeps(d > slow_ns or c == 2) for d, c in zip(durations, codes, strict=True)]
        kept = batch.where(keep)
        return kept if kept.items else None

    def _keeps(self, important: bool) -> bool:
        if important:
            return True
        self._seen += 1
        return self._seen % self.config.keep_one_in == 0
