"""The Prometheus bridge: series store, names, exposition and the reading of pages, free of components."""

from otel_pipeline._native import (
    Ingested,
    RelabelPlan,
    Restored,
    Scraped,
    ScrapeTarget,
    SeriesStore,
    WriteRequest,
    write_request,
)

__all__ = [
    "Ingested",
    "RelabelPlan",
    "Restored",
    "ScrapeTarget",
    "Scraped",
    "SeriesStore",
    "WriteRequest",
    "write_request",
]
