"""Guarantee: whatever a valid request holds survives, in protobuf and in JSON; the protobuf package is the oracle."""

import base64
import json
import math
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError as ProtobufDecodeError
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_pipeline import pdata
from otel_pipeline.errors import DecodeError

REQUESTS: dict[str, type[Message]] = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
LIMITS = pdata.Limits()
SIGNALS = pytest.mark.parametrize("signal", REQUESTS)
thorough = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))

F = FieldDescriptor
INTEGERS = {
    F.TYPE_INT32: (-(2**31), 2**31 - 1),
    F.TYPE_SINT32: (-(2**31), 2**31 - 1),
    F.TYPE_ENUM: (-(2**31), 2**31 - 1),
    F.TYPE_UINT32: (0, 2**32 - 1),
    F.TYPE_FIXED32: (0, 2**32 - 1),
    F.TYPE_INT64: (-(2**63), 2**63 - 1),
    F.TYPE_SFIXED64: (-(2**63), 2**63 - 1),
    F.TYPE_UINT64: (0, 2**64 - 1),
    F.TYPE_FIXED64: (0, 2**64 - 1),
}
IDS = {"trace_id": 16, "span_id": 8, "parent_span_id": 8}
MUST_HAVE_IDS = {"Span", "Link"}


# --- strategies: any message of the OTLP descriptors, ids aside without regard to what it means


def scalars(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.type in INTEGERS:
        low, high = INTEGERS[field.type]
        return st.one_of(st.sampled_from([0, 1, low, high]), st.integers(low, high))
    if field.type == F.TYPE_DOUBLE:
        return st.floats().map(lambda number: math.nan if math.isnan(number) else number)
    if field.type == F.TYPE_BOOL:
        return st.booleans()
    if field.type == F.TYPE_STRING:
        return st.text(st.characters(codec="utf-8"), max_size=12)
    return st.binary(max_size=12)


@st.composite
def ids(draw: st.DrawFn, length: int, required: bool) -> bytes:
    if not required and draw(st.booleans()):
        return b""
    return draw(st.binary(min_size=length, max_size=length).filter(any))


@st.composite
def messages(draw: st.DrawFn, descriptor: Any, into: Message, depth: int = 0) -> Message:
    """Fills `into`: all fields of the upper levels, some of the lower ones, nothing below depth 12."""
    for field in descriptor.fields:
        if field.name in IDS:
            required = descriptor.name in MUST_HAVE_IDS and field.name != "parent_span_id"
            setattr(into, field.name, draw(ids(IDS[field.name], required)))
        elif depth > 3 and (depth > 12 or not draw(st.integers(0, 2))):
            continue
        elif field.message_type is not None:
            for _ in range(draw(st.integers(0, 2)) if field.is_repeated else 1):
                child = getattr(into, field.name)
                child = child.add() if field.is_repeated else child
                child.SetInParent()
                draw(messages(field.message_type, child, depth + 1))
        elif field.is_repeated:
            getattr(into, field.name).extend(draw(st.lists(scalars(field), max_size=3)))
        else:
            setattr(into, field.name, draw(scalars(field)))
    return into


def requests(signal: str) -> st.SearchStrategy[Message]:
    kind = REQUESTS[signal]
    return st.builds(kind).flatmap(lambda empty: messages(kind.DESCRIPTOR, empty))


# --- the reference: OTLP/JSON from a message, written the plain way


def reference_json(message: Message) -> dict[str, Any]:
    """The JSON object of a message by the rules of OTLP: fields that are set, in the order of their numbers."""
    fields = sorted(message.ListFields(), key=lambda item: item[0].number)
    return {field.json_name: reference_value(field, value) for field, value in fields}


def reference_value(field: FieldDescriptor, value: Any) -> Any:
    if field.is_repeated:
        return [reference_scalar(field, element) for element in value]
    return reference_scalar(field, value)


def reference_scalar(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None:
        return reference_json(value)
    if field.name in IDS:
        return value.hex()
    if field.type == F.TYPE_BYTES:
        return base64.b64encode(value).decode()
    if field.type in (F.TYPE_INT64, F.TYPE_UINT64, F.TYPE_FIXED64, F.TYPE_SFIXED64):
        return str(value)
    if field.type == F.TYPE_DOUBLE and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def varint(number: int) -> bytes:
    if number < 0x80:
        return bytes([number])
    return bytes([number & 0x7F | 0x80]) + varint(number >> 7)


def canonical(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def count_items(signal: str, request: Any) -> int:
    """Items, counted the plain way."""
    if signal == "traces":
        return sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)
    if signal == "logs":
        return sum(len(scope.log_records) for resource in request.resource_logs for scope in resource.scope_logs)
    metrics = [m for resource in request.resource_metrics for scope in resource.scope_metrics for m in scope.metrics]
    return sum(
        len(getattr(metric, metric.WhichOneof("data")).data_points) for metric in metrics if metric.WhichOneof("data")
    )


# --- properties


@SIGNALS
@thorough
@given(data=st.data())
def test_valid_request_is_kept_without_a_copy(signal: str, data: st.DataObject) -> None:
    request = data.draw(requests(signal))
    body = request.SerializeToString()
    batch, findings = pdata.decode(signal, body, False, LIMITS)
    assert findings is None
    assert batch.data is body
    assert batch.items == count_items(signal, request)


@SIGNALS
@thorough
@given(data=st.data())
def test_json_of_the_reference_writer_becomes_the_same_message(signal: str, data: st.DataObject) -> None:
    request = data.draw(requests(signal))
    indent = data.draw(st.sampled_from([None, 1]))
    text = json.dumps(reference_json(request), indent=indent, ensure_ascii=data.draw(st.booleans())).encode()
    batch, findings = pdata.decode(signal, text, True, LIMITS)
    assert findings is None
    assert canonical(REQUESTS[signal].FromString(batch.data)) == canonical(request)
    assert batch.items == count_items(signal, request)


@SIGNALS
@thorough
@given(data=st.data())
def test_to_json_writes_what_the_reference_writes_and_reads_back_the_same(signal: str, data: st.DataObject) -> None:
    request = data.draw(requests(signal))
    batch, _ = pdata.decode(signal, request.SerializeToString(), False, LIMITS)
    text = pdata.to_json(batch)
    assert json.loads(text) == reference_json(request)
    again, findings = pdata.decode(signal, text, True, LIMITS)
    assert findings is None
    assert canonical(REQUESTS[signal].FromString(again.data)) == canonical(request)


@SIGNALS
@pytest.mark.parametrize("level", [0, 1, 2, 3])
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_messages_split_over_several_fields_are_joined(signal: str, level: int, data: st.DataObject) -> None:
    """protobuf joins the fields of two encodings of a message, at whatever level: request, resource, scope or item."""
    descriptor: Any = REQUESTS[signal].DESCRIPTOR
    numbers: list[int] = []
    for _ in range(level):
        field = next(field for field in descriptor.fields if field.is_repeated and field.message_type is not None)
        descriptor, numbers = field.message_type, [field.number, *numbers]
    kind = GetMessageClass(descriptor)
    body = b"".join(canonical(data.draw(messages(descriptor, kind(), level))) for _ in range(2))
    for number in numbers:
        body = bytes([number << 3 | 2]) + varint(len(body)) + body
    batch, findings = pdata.decode(signal, body, False, LIMITS)
    assert findings is None
    assert batch.data is body
    assert json.loads(pdata.to_json(batch)) == reference_json(REQUESTS[signal].FromString(body))


@SIGNALS
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_truncation_is_read_or_refused(signal: str, data: st.DataObject) -> None:
    request = data.draw(requests(signal))
    for body, is_json in [(request.SerializeToString(), False), (json.dumps(reference_json(request)).encode(), True)]:
        for length in range(len(body)):
            assert_reads_or_refuses(signal, body[:length], is_json)


@SIGNALS
@thorough
@given(data=st.data())
def test_every_damaged_body_is_read_or_refused(signal: str, data: st.DataObject) -> None:
    request = data.draw(requests(signal))
    for body, is_json in [(request.SerializeToString(), False), (json.dumps(reference_json(request)).encode(), True)]:
        for place in data.draw(st.lists(st.integers(0, max(len(body) - 1, 0)), max_size=40)):
            damaged = bytearray(body)
            if damaged:
                damaged[place] = data.draw(st.integers(0, 255))
            assert_reads_or_refuses(signal, bytes(damaged), is_json)


@SIGNALS
@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=200), is_json=st.booleans())
def test_noise_is_read_or_refused(signal: str, body: bytes, is_json: bool) -> None:
    assert_reads_or_refuses(signal, body, is_json)


def assert_reads_or_refuses(signal: str, body: bytes, is_json: bool) -> None:
    """Whatever is accepted, the protobuf package and we ourselves can read; the rest is a DecodeError."""
    try:
        batch, _ = pdata.decode(signal, body, is_json, LIMITS)
    except DecodeError:
        return
    try:
        request = REQUESTS[signal].FromString(batch.data)
    except ProtobufDecodeError:
        pytest.fail(f"accepted what protobuf cannot read: {body.hex()} -> {batch.data.hex()}")
    assert batch.items == count_items(signal, request)
    again, more = pdata.decode(signal, batch.data, False, LIMITS)
    assert again.items == batch.items
    assert more is None or set(more.counts) == {"legacy_instrumentation_library"}
    text = pdata.to_json(batch)
    from_json, more = pdata.decode(signal, text, True, LIMITS)
    assert from_json.items == batch.items
    assert more is None
