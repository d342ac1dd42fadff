"""Links stage spans to the trace of their requirement's journey: a way from any trace store to the journey and back.

```yaml
processors:
  journey_links:
service:
  pipelines:
    traces: {receivers: [otlp], processors: [semconv, journey_links], exporters: [otlp_grpc]}
```

It stands behind `semconv`, which finds the requirement. The receiver `journeys` makes the traces that it links to.
"""

from typing import ClassVar

from otel_pipeline.component import Options, Processor
from otel_pipeline.pdata import Batch, Signal, link_journeys

__all__ = ["JourneyLinks", "JourneyLinksConfig"]


class JourneyLinksConfig(Options):
    """`journey_links` has no options."""


class JourneyLinks(Processor):
    """Adds a span link to every span that is a run of a stage and tells its requirement."""

    type = "journey_links"
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.TRACES})
    Config = JourneyLinksConfig

    def process(self, batch: Batch) -> Batch | None:
        """The batch with the links; the same one where no span takes one."""
        return link_journeys(batch)
