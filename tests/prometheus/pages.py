"""What the three pages of a store say, to be compared."""

import math
from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from prometheus_client import Metric as Family
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as parse_text

from otel_pipeline.prometheus import SeriesStore
from tests.prometheus.metric_families import (
    COUNTER,
    HISTOGRAM,
    Sample,
    classic_samples,
    native_buckets,
    parse_protobuf,
)

T = 1_767_225_600_000_000_000
Table = dict[tuple[str, tuple[tuple[str, str], ...]], Any]


def parse_openmetrics(page: bytes) -> list[Family]:
    return [*openmetrics_parser.text_string_to_metric_families(page.decode())]  # type: ignore[no-untyped-call]


def table(samples: Iterable[Any]) -> Table:
    """Values by name and labels, bounds and quantiles as numbers, to be compared; NaN as text."""
    rows = {}
    for sample in samples:
        told = {key: str(float(text)) if key in ("le", "quantile") else text for key, text in sample.labels.items()}
        key = (sample.name, tuple(sorted(told.items())))
        assert key not in rows
        rows[key] = "NaN" if math.isnan(sample.value) else float(sample.value)
    return rows


def text_table(rendered: str) -> Table:
    return table(_bare(sample, family.type) for family in parse_text(rendered) for sample in family.samples)


def protobuf_table(families: Iterable[Any]) -> Table:
    types = {COUNTER: "counter"}
    return table(_bare(sample, types.get(family.type)) for family in families for sample in classic_samples(family))


def _bare(sample: Any, kind: str | None) -> Sample:
    """Counters without suffix: the parser of text gives `_total` to those that have none."""
    name = sample.name.removesuffix("_total") if kind == "counter" else sample.name
    return Sample(name, sample.labels, sample.value)


def read_all(store: SeriesStore, now_ns: int, utf8: bool = False) -> Table:
    """The samples of the text page, when OpenMetrics can be read too and protobuf says the same."""
    text = store.render("text", None, now_ns, b"", utf8).decode()
    parse_openmetrics(store.render("openmetrics", None, now_ns, b"", utf8))
    families = parse_protobuf(store.render("protobuf", None, now_ns, b"", utf8))
    assert protobuf_table(families) == text_table(text)
    for family in families:
        for metric in family.metric if family.type == HISTOGRAM else ():
            if metric.histogram.HasField("schema"):
                native_buckets(metric.histogram)
    return text_table(text)


def exponential(
    scale: int = 0,
    offset: int = 0,
    counts: tuple[int, ...] = (1, 2),
    *,
    negative: tuple[int, ...] = (),
    zeros: int = 0,
    total: float | None = 4,
    time: int = T,
    temporality: int = 1,
) -> Metric:
    """An exponential histogram of one point, whose counts add up."""
    metric = Metric(name="e")
    metric.exponential_histogram.aggregation_temporality = temporality  # type: ignore[assignment]
    point = metric.exponential_histogram.data_points.add(
        start_time_unix_nano=T, time_unix_nano=time, scale=scale, zero_count=zeros, sum=total
    )
    point.count = sum(counts) + sum(negative) + zeros
    point.positive.offset = offset
    point.positive.bucket_counts.extend(counts)
    point.negative.bucket_counts.extend(negative)
    return metric
