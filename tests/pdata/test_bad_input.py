"""Guarantee: a corpus of bad protobuf gets the expected class of answer, and what is accepted others can read too.

The cases are made from the OTLP descriptors: every field, in every message, at the place where a sender could put it.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError as ProtobufDecodeError
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from otel_pipeline import pdata
from otel_pipeline.errors import DecodeError
from otel_pipeline.testing import attributes, make_span

REQUESTS: dict[str, type[Message]] = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
LIMITS = pdata.Limits()
F = FieldDescriptor
VARINT, FIXED64, LENGTH, GROUP, FIXED32 = 0, 1, 2, 3, 5
WIRE_TYPES = {
    **dict.fromkeys([F.TYPE_FIXED64, F.TYPE_SFIXED64, F.TYPE_DOUBLE], FIXED64),
    **dict.fromkeys([F.TYPE_STRING, F.TYPE_BYTES, F.TYPE_MESSAGE], LENGTH),
    F.TYPE_FIXED32: FIXED32,
}
VALUES = {VARINT: b"\x01", FIXED64: bytes(8), LENGTH: b"\x00", FIXED32: bytes(4)}


def wire_type(field: FieldDescriptor) -> int:
    return WIRE_TYPES.get(field.type, VARINT)


def varint(number: int) -> bytes:
    if number < 0x80:
        return bytes([number])
    return bytes([number & 0x7F | 0x80]) + varint(number >> 7)


def tag(number: int, kind: int) -> bytes:
    return varint(number << 3 | kind)


def field(number: int, value: bytes) -> bytes:
    return tag(number, LENGTH) + varint(len(value)) + value


Path = tuple[FieldDescriptor, ...]


def paths(descriptor: Any, above: Path = ()) -> Iterator[Path]:
    """Every field below `descriptor`, each message once on a path."""
    for member in descriptor.fields:
        path = (*above, member)
        yield path
        seen = [step.message_type for step in above] + [descriptor]
        if member.message_type is not None and member.message_type not in seen:
            yield from paths(member.message_type, path)


def every_field() -> dict[str, tuple[str, Path]]:
    """One path for each field of each message of each signal, by its dotted name."""
    found: dict[str, tuple[str, Path]] = {}
    done = set()
    for signal, request in REQUESTS.items():
        for path in paths(request.DESCRIPTOR):
            if (signal, path[-1].full_name) not in done:
                done.add((signal, path[-1].full_name))
                found[".".join(step.name + "[0]" * is_list(step) for step in path)] = (signal, path)
    return found


def is_list(step: FieldDescriptor) -> bool:
    return step.is_repeated and wire_type(step) == LENGTH


FIELDS = every_field()
IDS = {"Span": field(1, b"t" * 16) + field(2, b"s" * 8), "Link": field(1, b"t" * 16) + field(2, b"s" * 8)}


def at(path: Path, content: bytes) -> bytes:
    """A request with `content` in the message that holds the last field of `path`; spans and links have their ids."""
    for step in reversed(path[:-1]):
        assert step.message_type is not None
        content = field(step.number, IDS.get(step.message_type.name, b"") + content)
    return content


def decode(signal: str, body: bytes) -> tuple[pdata.Batch, dict[str, int]]:
    """Decodes, and sees that the protobuf package can read the batch."""
    batch, findings = pdata.decode(signal, body, False, LIMITS)
    REQUESTS[signal].FromString(batch.data)
    return batch, findings.counts if findings else {}


def test_the_corpus_has_every_field() -> None:
    assert len(FIELDS) > 150


@pytest.mark.parametrize("name", FIELDS)
def test_wrong_wire_types_are_refused_with_the_place(name: str) -> None:
    signal, path = FIELDS[name]
    number, right = path[-1].number, wire_type(path[-1])
    for wrong in {VARINT, FIXED64, LENGTH, FIXED32} - {right, LENGTH if path[-1].is_repeated else right}:
        with pytest.raises(DecodeError) as raised:
            decode(signal, at(path, tag(number, wrong) + VALUES[wrong]))
        assert str(raised.value) == f"{name}: wire type {wrong} where {right} is expected"
    with pytest.raises(DecodeError, match="wire type 3"):
        decode(signal, at(path, tag(number, GROUP) + tag(number, 4)))


@pytest.mark.parametrize("name", FIELDS)
def test_cut_off_fields_are_refused(name: str) -> None:
    signal, path = FIELDS[name]
    number = path[-1].number
    for cut_off in (
        tag(number, LENGTH) + b"\x05abcd",
        tag(number, FIXED64) + bytes(7),
        tag(number, FIXED32) + bytes(3),
    ):
        with pytest.raises(DecodeError, match="truncated message"):
            decode(signal, at(path, cut_off))
    for cut_off in (
        tag(number, VARINT),
        tag(number, VARINT) + b"\x80",
        tag(number, LENGTH) + b"\xff\xff\xff\xff\x0f",
    ):
        with pytest.raises(DecodeError, match="truncated message"):
            decode(signal, at(path, cut_off))


NUMBERS = [name for name, (_, path) in FIELDS.items() if wire_type(path[-1]) != LENGTH]
PACKED = [name for name in NUMBERS if FIELDS[name][1][-1].is_repeated]
TEXTS = [name for name, (_, path) in FIELDS.items() if path[-1].type == F.TYPE_STRING]


@pytest.mark.parametrize("name", NUMBERS)
def test_extreme_numbers_are_kept(name: str) -> None:
    """All bits set, minima, NaN and infinities: whatever the bytes say is kept as they say it."""
    signal, path = FIELDS[name]
    extremes = {
        VARINT: [b"\x00", b"\x7f", b"\xff\xff\xff\xff\x0f", b"\xff" * 9 + b"\x01", b"\x80" * 9 + b"\x01", b"\x80\x00"],
        FIXED64: [bytes(8), b"\xff" * 8, bytes(6) + b"\xf0\x7f", bytes(6) + b"\xf8\x7f", bytes(7) + b"\x80"],
        FIXED32: [bytes(4), b"\xff" * 4],
    }
    for value in extremes[wire_type(path[-1])]:
        body = at(path, tag(path[-1].number, wire_type(path[-1])) + value)
        batch, counts = decode(signal, body)
        assert batch.data is body
        assert counts == {}


@pytest.mark.parametrize("name", [name for name in NUMBERS if wire_type(FIELDS[name][1][-1]) == VARINT])
def test_endless_varints_are_refused(name: str) -> None:
    signal, path = FIELDS[name]
    with pytest.raises(DecodeError, match="varint too long"):
        decode(signal, at(path, tag(path[-1].number, VARINT) + b"\x80" * 10 + b"\x01"))


@pytest.mark.parametrize("name", PACKED)
def test_packed_oddities(name: str) -> None:
    signal, path = FIELDS[name]
    number, one = path[-1].number, VALUES[wire_type(path[-1])]
    empty, packed, single = field(number, b""), field(number, one * 3), tag(number, wire_type(path[-1])) + one
    body = at(path, empty + packed + single + packed + empty)
    batch, counts = decode(signal, body)
    assert batch.data is body
    assert counts == {}
    for bad in (one + b"\x80", one * 2 + b"\xff"):
        with pytest.raises(DecodeError, match="packed values are cut off"):
            decode(signal, at(path, field(number, bad)))


@pytest.mark.parametrize("name", TEXTS)
def test_invalid_utf8_in_any_text_is_repaired(name: str) -> None:
    signal, path = FIELDS[name]
    for bad in (b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\x80", b"ok \xe2\x82"):
        batch, counts = decode(signal, at(path, field(path[-1].number, bad)))
        assert batch.data == at(path, field(path[-1].number, bad.decode(errors="replace").encode()))
        assert counts == {"invalid_utf8": 1}


def seed(signal: str) -> bytes:
    """A small request with something of everything."""
    request = REQUESTS[signal]()
    if isinstance(request, ExportTraceServiceRequest):
        scope = request.resource_spans.add().scope_spans.add()
        span = make_span("seed", parent=3, tokens=7, words=["a", {"b": 1.5}], remote_parent=True, error="failed")
        span.events.add(name="event", attributes=attributes({"k": b"v"}))
        span.links.add(trace_id=b"t" * 16, span_id=b"s" * 8)
        scope.spans.append(span)
    elif isinstance(request, ExportLogsServiceRequest):
        record = request.resource_logs.add().scope_logs.add().log_records.add(severity_number=9, trace_id=b"t" * 16)
        record.body.string_value = "é"
        record.attributes.extend(attributes({"k": None, "n": -1}))
    elif isinstance(request, ExportMetricsServiceRequest):
        metric = Metric(name="m", unit="s")
        point = metric.histogram.data_points.add(count=3, sum=0.0, bucket_counts=[1, 2], explicit_bounds=[0.5])
        point.exemplars.add(as_int=1, span_id=b"s" * 8)
        request.resource_metrics.add().scope_metrics.add().metrics.append(metric)
    return request.SerializeToString()


TRUNCATED = [(signal, length) for signal in REQUESTS for length in range(len(seed(signal)))]


@pytest.mark.parametrize(("signal", "length"), TRUNCATED)
def test_truncated_at_every_byte(signal: str, length: int) -> None:
    """Refused, or an empty request where nothing is left: one resource holds all."""
    body = seed(signal)[:length]
    if not body:
        assert decode(signal, body)[0].items == 0
        return
    with pytest.raises(DecodeError, match="truncated message"):
        decode(signal, body)


@pytest.mark.parametrize(("signal", "length"), TRUNCATED)
def test_every_bit_flipped(signal: str, length: int) -> None:
    """Eight requests for each byte, each with one bit turned: read (also by protobuf) or refused."""
    for bit in range(8):
        body = bytearray(seed(signal))
        body[length] ^= 1 << bit
        try:
            decode(signal, bytes(body))
        except DecodeError:
            continue
        except ProtobufDecodeError:
            pytest.fail(f"accepted what protobuf cannot read: {body.hex()}")


@pytest.mark.parametrize(
    "odd",
    [
        b"\x8a\x00\x00",  # a tag in two bytes that needs one
        b"\x8a\x80\x80\x80\x00\x00",
        b"\x8a\x80\x80\x80\x80\x00\x00",
        b"\x8a\x80\x80\x80\x80\x80\x80\x80\x80\x00\x00",
        b"\x0a\x80\x00",  # a length in two bytes that needs one
        b"\x0a\x80\x80\x80\x80\x00",
        b"\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00",
        b"\xf8\xff\xff\xff\x0f\x01",  # the highest field number
        b"\xf8\xff\xff\xff\x1f\x01",  # one bit more
        b"\x00\x00",  # field number 0
        b"\x04",  # the end of a group that never began
        b"\xfb\x07\xfc\x07",  # an empty group
        b"\xfb\x07",  # a group without an end
        b"\xfb\x07\x84\x08",  # a group with the end of another
        b"\xfb\x07" * 20 + b"\xfc\x07" * 20,
        b"\xfb\x07" * 90 + b"\xfc\x07" * 90,
        b"\xfb\x07" * 5000 + b"\xfc\x07" * 5000,
        b"\xf8\x07" + b"\xff" * 9 + b"\x7f",  # more than 64 bits
        b"\xf8\x07" + b"\xff" * 9 + b"\x02",
        b"\xf8\x07" + b"\x80" * 9 + b"\x02",
        b"\x08" * 3,
        b"\xfe\x07",
        b"\xff\x07",
        b"\xfa\x07\xff\xff\xff\xff\x0f",
    ],
    ids=lambda odd: odd[:12].hex(),
)
@pytest.mark.parametrize("wrap", [(), (1,), (1, 1), (1, 2), (1, 2, 2)])
@pytest.mark.parametrize("signal", REQUESTS)
def test_odd_encodings_are_read_as_protobuf_reads_them_or_refused(
    signal: str, wrap: tuple[int, ...], odd: bytes
) -> None:
    for number in reversed(wrap):
        odd = field(number, odd)
    try:
        decode(signal, odd)
    except DecodeError:
        pass
    except ProtobufDecodeError:
        pytest.fail(f"accepted what protobuf cannot read: {odd.hex()}")
