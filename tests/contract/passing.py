"""A processor for the `python` component."""

from otel_pipeline.component import Processor
from otel_pipeline.pdata import Batch


class Passing(Processor):
    """Passes everything on."""

    def process(self, batch: Batch) -> Batch | None:
        return batch
