"""The Prometheus bridge: series store, names and exposition, free of components."""

from otel_pipeline._native import Ingested, SeriesStore

__all__ = ["Ingested", "SeriesStore"]
