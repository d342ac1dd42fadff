"""Accepts the Collector's `batch` options and passes every batch on at once.

Batching belongs to the exporters' `sending_queue`, after the data is safely queued; a batch held here would already be
acknowledged and could be lost.
"""

from otel_pipeline.component import Options, Processor, Settings
from otel_pipeline.options import Duration
from otel_pipeline.pdata import Batch

__all__ = ["Batching", "BatchingConfig"]


class BatchingConfig(Options):
    """Read, so that a Collector's configuration carries over, and without effect."""

    timeout: Duration = 0.2
    """Without effect: see `sending_queue.batch.flush_timeout` of the exporters."""
    send_batch_size: int = 8192
    """Without effect: see `sending_queue.batch.min_size`."""
    send_batch_max_size: int = 0
    """Without effect: see `sending_queue.batch.max_size`."""
    metadata_keys: tuple[str, ...] = ()
    """Without effect: batches of different senders are never mixed up."""
    metadata_cardinality_limit: int = 1000
    """Without effect."""


class Batching(Processor):
    """Hands every batch on as it is."""

    type = "batch"
    Config = BatchingConfig

    def __init__(self, config: BatchingConfig, settings: Settings) -> None:
        super().__init__(config, settings)
        settings.log.info("batching is done by the exporters' sending_queue; this processor passes batches on")

    def process(self, batch: Batch) -> Batch | None:
        """The same batch."""
        return batch
