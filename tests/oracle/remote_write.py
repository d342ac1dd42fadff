"""Plain readers of what remote write sends: Snappy's block format and both messages, by their own descriptions.

Sources: google/snappy `format_description.txt`; Prometheus `remote.proto`, `types.proto` and
`io/prometheus/write/v2/types.proto`.
"""

import struct
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessages

STALE_BITS = 0x7FF0000000000002

_HISTOGRAM = (
    "count_int:1:uint64 sum:3:double schema:4:sint32 zero_threshold:5:double zero_count_int:6:uint64"
    " negative_spans:8:*Span negative_deltas:9:*sint64 positive_spans:11:*Span positive_deltas:12:*sint64"
    " timestamp:15:int64 start_timestamp:17:int64"
)
_SPAN = "offset:1:sint32 length:2:uint32"
_V1 = {
    "Request": "timeseries:1:*TimeSeries metadata:3:*Metadata",
    "TimeSeries": "labels:1:*Label samples:2:*Sample exemplars:3:*Exemplar histograms:4:*Histogram",
    "Label": "name:1:string value:2:string",
    "Sample": "value:1:double timestamp:2:int64",
    "Exemplar": "labels:1:*Label value:2:double timestamp:3:int64",
    "Metadata": "type:1:int32 metric_family_name:2:string help:4:string unit:5:string",
    "Histogram": _HISTOGRAM,
    "Span": _SPAN,
}
_V2 = {
    "Request": "symbols:4:*string timeseries:5:*TimeSeries",
    "TimeSeries": "labels_refs:1:*uint32 samples:2:*Sample histograms:3:*Histogram exemplars:4:*Exemplar"
    " metadata:5:Metadata",
    "Sample": "value:1:double timestamp:2:int64 start_timestamp:3:int64",
    "Exemplar": "labels_refs:1:*uint32 value:2:double timestamp:3:int64",
    "Metadata": "type:1:int32 help_ref:3:uint32 unit_ref:4:uint32",
    "Histogram": _HISTOGRAM,
    "Span": _SPAN,
}


def _message_class(package: str, messages: dict[str, str]) -> Any:
    file = FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, fields in messages.items():
        message = DescriptorProto(name=name)
        for written in fields.split():
            key, number, kind = written.split(":")
            label = FieldDescriptorProto.LABEL_REPEATED if kind[0] == "*" else FieldDescriptorProto.LABEL_OPTIONAL
            kind = kind.removeprefix("*")
            made = message.field.add(name=key, number=int(number), label=label)
            if kind in messages:
                made.type, made.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                made.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
        file.message_type.append(message)
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessages([file], pool)[f"{package}.Request"]


_REQUESTS = {1: _message_class("write.v1", _V1), 2: _message_class("write.v2", _V2)}


def snappy(data: bytes) -> bytes:
    """The text of a Snappy block. ValueError where its length is not as told."""
    length = shift = at = 0
    while True:
        byte = data[at]
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            size = tag >> 2
            if size >= 60:
                extra = size - 59
                size = int.from_bytes(data[at : at + extra], "little")
                at += extra
            out += data[at : at + size + 1]
            at += size + 1
            continue
        if tag & 3 == 1:
            size, offset = (tag >> 2 & 7) + 4, tag >> 5 << 8 | data[at]
            at += 1
        else:
            width = 2 if tag & 3 == 2 else 4
            size, offset = (tag >> 2) + 1, int.from_bytes(data[at : at + width], "little")
            at += width
        for _ in range(size):
            out.append(out[-offset])
    if len(out) != length:
        raise ValueError(f"{len(out)} bytes in place of {length}")
    return bytes(out)


@dataclass
class Written:
    """One series of a request."""

    labels: dict[str, str]
    samples: list[tuple[int, float]] = field(default_factory=list)
    """Unix milliseconds and value."""
    starts: list[int] = field(default_factory=list)
    histograms: list[Any] = field(default_factory=list)
    exemplars: list[tuple[dict[str, str], float, int]] = field(default_factory=list)
    meta: tuple[int, str, str] | None = None
    """Type, help and unit."""

    @property
    def name(self) -> str:
        return self.labels["__name__"]


def is_stale(value: float) -> bool:
    """Whether it is the marker, and no other NaN."""
    return bool(struct.unpack("<Q", struct.pack("<d", value))[0] == STALE_BITS)


def read(body: bytes, version: int) -> list[Written]:
    """All series of a request. AssertionError where a rule of the protocol is broken."""
    request = _REQUESTS[version].FromString(snappy(body))
    return [_v1(one, request) for one in request.timeseries] if version == 1 else _read_v2(request)


def _v1(series: Any, request: Any) -> Written:
    written = _checked([(label.name, label.value) for label in series.labels])
    for sample in series.samples:
        written.samples.append((sample.timestamp, sample.value))
    written.histograms.extend(series.histograms)
    for one in series.exemplars:
        labels = _sorted([(label.name, label.value) for label in one.labels])
        written.exemplars.append((labels, one.value, one.timestamp))
    for meta in request.metadata:
        if written.name in {meta.metric_family_name + suffix for suffix in ("", "_bucket", "_count", "_sum")}:
            written.meta = (meta.type, meta.help, meta.unit)
    return written


def _read_v2(request: Any) -> list[Written]:
    symbols = list(request.symbols)
    assert symbols[0] == ""
    assert len(symbols) == len(set(symbols))
    return [_v2(one, symbols) for one in request.timeseries]


def _v2(series: Any, symbols: list[str]) -> Written:
    def pairs(refs: Any) -> list[tuple[str, str]]:
        texts = [symbols[ref] for ref in refs]
        return list(zip(texts[::2], texts[1::2], strict=True))

    written = _checked(pairs(series.labels_refs))
    for sample in series.samples:
        written.samples.append((sample.timestamp, sample.value))
        written.starts.append(sample.start_timestamp)
    written.histograms.extend(series.histograms)
    for one in series.exemplars:
        written.exemplars.append((_sorted(pairs(one.labels_refs)), one.value, one.timestamp))
    if series.HasField("metadata"):
        meta = series.metadata
        written.meta = (meta.type, symbols[meta.help_ref], symbols[meta.unit_ref])
    assert bool(series.samples) != bool(series.histograms)
    return written


def _checked(pairs: list[tuple[str, str]]) -> Written:
    labels = _sorted(pairs)
    assert labels["__name__"]
    return Written(labels)


def _sorted(pairs: list[tuple[str, str]]) -> dict[str, str]:
    names = [name for name, _ in pairs]
    assert names == sorted(set(names))
    assert all(name and value for name, value in pairs)
    return dict(pairs)
