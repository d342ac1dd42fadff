"""Reads pages of delimited `io.prometheus.client.MetricFamily` with the protobuf runtime: a decoder that shares nothing
with what wrote them. Source of the fields: prometheus/client_model `metrics.proto`."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, unknown_fields

_MESSAGES = {
    "LabelPair": "string name=1; string value=2",
    "Gauge": "double value=1",
    "Counter": "double value=1; Exemplar exemplar=2; Timestamp created_timestamp=3",
    "Quantile": "double quantile=1; double value=2",
    "Summary": "uint64 sample_count=1; double sample_sum=2; *Quantile quantile=3; Timestamp created_timestamp=4",
    "Untyped": "double value=1",
    "Histogram": "uint64 sample_count=1; double sample_sum=2; *Bucket bucket=3; sint32 schema=5; "
    "double zero_threshold=6; uint64 zero_count=7; *BucketSpan negative_span=9; *sint64 negative_delta=10; "
    "*BucketSpan positive_span=12; *sint64 positive_delta=13; Timestamp created_timestamp=15; *Exemplar exemplars=16",
    "Bucket": "uint64 cumulative_count=1; double upper_bound=2; Exemplar exemplar=3",
    "BucketSpan": "sint32 offset=1; uint32 length=2",
    "Exemplar": "*LabelPair label=1; double value=2; Timestamp timestamp=3",
    "Metric": "*LabelPair label=1; Gauge gauge=2; Counter counter=3; Summary summary=4; Untyped untyped=5; "
    "int64 timestamp_ms=6; Histogram histogram=7",
    "MetricFamily": "string name=1; string help=2; uint32 type=3; *Metric metric=4; string unit=5",
    "Timestamp": "int64 seconds=1; int32 nanos=2",
}
"""`*` stands for repeated; the enum of types is read as its number."""
_SCALARS = {"double": 1, "int64": 3, "uint64": 4, "int32": 5, "string": 9, "uint32": 13, "sint32": 17, "sint64": 18}
COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM = range(5)


class Sample(NamedTuple):
    """A line of text, as Prometheus makes it of a message."""

    name: str
    labels: dict[str, str]
    value: float


def _message_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="metrics.proto", package="io.prometheus.client", syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields.split("; "):
            type_name, _, rest = field.partition(" ")
            label = 3 if type_name.startswith("*") else 1
            field_name, _, number = rest.partition("=")
            added = message.field.add(name=field_name, number=int(number), label=label)
            kind = type_name.lstrip("*")
            if kind in _SCALARS:
                added.type = _SCALARS[kind]  # type: ignore[assignment]
            else:
                added.type, added.type_name = 11, f".io.prometheus.client.{kind}"  # type: ignore[assignment]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("io.prometheus.client.MetricFamily"))


_MetricFamily = _message_class()


def parse_protobuf(page: bytes) -> list[Any]:
    """The families of a page, which must have no field that nobody knows and no name twice."""
    families = []
    at = 0
    while at < len(page):
        length = shift = 0
        while True:
            byte = page[at]
            length |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                break
        assert at + length <= len(page)
        family = _MetricFamily.FromString(page[at : at + length])
        at += length
        _check(family)
        families.append(family)
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    return families


def _check(message: Any) -> None:
    assert len(unknown_fields.UnknownFieldSet(message)) == 0
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if field.is_repeated else [value]:
                _check(part)


def classic_samples(family: Any) -> Iterator[Sample]:
    """What a Prometheus makes of a family that does not read native histograms."""
    for metric in family.metric:
        labels = {pair.name: pair.value for pair in metric.label}
        assert len(labels) == len(metric.label)
        if family.type == HISTOGRAM:
            for bucket in metric.histogram.bucket:
                bound = {"le": str(bucket.upper_bound)}
                yield Sample(f"{family.name}_bucket", labels | bound, bucket.cumulative_count)
            yield from _sum_and_count(family.name, labels, metric.histogram)
        elif family.type == SUMMARY:
            for quantile in metric.summary.quantile:
                yield Sample(family.name, labels | {"quantile": str(quantile.quantile)}, quantile.value)
            yield from _sum_and_count(family.name, labels, metric.summary)
        else:
            kind = {COUNTER: "counter", GAUGE: "gauge", UNTYPED: "untyped"}[family.type]
            assert metric.HasField(kind)
            yield Sample(family.name, labels, getattr(metric, kind).value)


def _sum_and_count(name: str, labels: dict[str, str], part: Any) -> Iterator[Sample]:
    if not math.isnan(part.sample_sum):
        yield Sample(f"{name}_sum", labels, part.sample_sum)
    yield Sample(f"{name}_count", labels, part.sample_count)


def native_buckets(histogram: Any) -> tuple[dict[int, int], dict[int, int]]:
    """Negative and positive counts by index. Whatever Prometheus demands of a native histogram must hold."""
    assert -4 <= histogram.schema <= 8
    assert histogram.zero_threshold > 0
    negative = _spread(histogram.negative_span, histogram.negative_delta)
    positive = _spread(histogram.positive_span, histogram.positive_delta)
    counted = sum(negative.values()) + sum(positive.values()) + histogram.zero_count
    assert counted == histogram.sample_count
    return negative, positive


def _spread(spans: Any, deltas: Any) -> dict[int, int]:
    assert sum(span.length for span in spans) == len(deltas)
    assert all(span.offset >= 0 for span in spans[1:])
    index, count, steps, buckets = 0, 0, iter(deltas), {}
    for span in spans:
        index += span.offset
        for at in range(index, index + span.length):
            count += next(steps)
            assert 0 <= count < 2**63
            buckets[at] = count
        index += span.length
    return {index: count for index, count in buckets.items() if count}
