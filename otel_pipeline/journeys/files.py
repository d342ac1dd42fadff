"""Answers about the journeys in a data directory, without a gateway."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from otel_pipeline import semconv
from otel_pipeline.component import Query
from otel_pipeline.journeys.extract import compile_plan
from otel_pipeline.journeys.queries import Journeys
from otel_pipeline.journeys.questions import journey_queries
from otel_pipeline.journeys.sqlite import SqliteStore

__all__ = ["reading"]


@contextmanager
def reading(data_dir: Path) -> Iterator[Sequence[Query]]:
    """The questions of the API, over the file that the exporter `journeys` keeps there, by the shipped
    semantic-convention files. The list of requirements is as the gateway made it last; journeys are as of now. Raises
    StoreError where there is no such file, or it cannot be read."""
    registry = semconv.load()
    path = data_dir / "journeys" / "journeys.sqlite"
    with closing(SqliteStore(path, compile_plan(registry), read_only=True)) as store:
        journeys = Journeys(store, registry)
        yield journey_queries(lambda: journeys, [stage.value for stage in registry.stages], time.time_ns)
