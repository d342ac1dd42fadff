"""`io.prometheus.client.MetricFamily`, made by protobuf's own library from a description of its fields.

Source: prometheus/client_model `metrics.proto`.
"""

from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.encoder import _VarintBytes  # type: ignore[attr-defined]
from google.protobuf.message_factory import GetMessageClass

__all__ = ["COUNTER", "GAUGE", "GAUGE_HISTOGRAM", "HISTOGRAM", "SUMMARY", "UNTYPED", "MetricFamily", "delimited"]

COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM, GAUGE_HISTOGRAM = range(6)

_FIELDS = {
    "LabelPair": "name=1:string value=2:string",
    "Time": "seconds=1:int64 nanos=2:int32",
    "Exemplar": "label=1:*LabelPair value=2:double timestamp=3:Time",
    "Gauge": "value=1:double",
    "Counter": "value=1:double exemplar=2:Exemplar created_timestamp=3:Time",
    "Untyped": "value=1:double",
    "Quantile": "quantile=1:double value=2:double",
    "Summary": "sample_count=1:uint64 sample_sum=2:double quantile=3:*Quantile created_timestamp=4:Time",
    "Bucket": "cumulative_count=1:uint64 cumulative_count_float=4:double upper_bound=2:double exemplar=3:Exemplar",
    "BucketSpan": "offset=1:sint32 length=2:uint32",
    "Histogram": (
        "sample_count=1:uint64 sample_count_float=4:double sample_sum=2:double bucket=3:*Bucket created_timestamp=15:Time "
        "schema=5:sint32 zero_threshold=6:double zero_count=7:uint64 zero_count_float=8:double "
        "negative_span=9:*BucketSpan negative_delta=10:*sint64 negative_count=11:*double "
        "positive_span=12:*BucketSpan positive_delta=13:*sint64 positive_count=14:*double exemplars=16:*Exemplar"
    ),
    "Metric": (
        "label=1:*LabelPair gauge=2:Gauge counter=3:Counter summary=4:Summary untyped=5:Untyped timestamp_ms=6:int64 "
        "histogram=7:Histogram"
    ),
    "MetricFamily": "name=1:string help=2:string type=3:int32 metric=4:*Metric unit=5:string",
}


def _describe() -> FileDescriptorProto:
    file = FileDescriptorProto(name="metrics.proto", package="io.prometheus.client", syntax="proto2")
    for name, described in _FIELDS.items():
        message = file.message_type.add(name=name)
        for one in described.split():
            key, _, kind = one.partition(":")
            field_name, _, number = key.partition("=")
            label = "LABEL_REPEATED" if kind.startswith("*") else "LABEL_OPTIONAL"
            field = message.field.add(
                name=field_name, number=int(number), label=FieldDescriptorProto.Label.Value(label)
            )
            kind = kind.removeprefix("*")
            if kind in _FIELDS:
                field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".io.prometheus.client.{kind}"
            else:
                field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    return file


_pool = DescriptorPool()
_pool.Add(_describe())
MetricFamily: Any = GetMessageClass(_pool.FindMessageTypeByName("io.prometheus.client.MetricFamily"))


def delimited(families: Iterable[Any]) -> bytes:
    """A page: each message behind its length."""
    return b"".join(_VarintBytes(len(body)) + body for body in (one.SerializeToString() for one in families))
