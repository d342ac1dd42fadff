"""Guarantee: a received protobuf request is kept as it is, repaired and counted, or refused with place and reason."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_pipeline import pdata
from otel_pipeline.errors import DecodeError
from otel_pipeline.testing import attributes, make_span, make_traces

UNKNOWN = b"\xfa\x07\x03new"
"""Field 127, which no OTLP message has yet."""
GROUP = b"\xfb\x07\x08\x01\xfc\x07"


def varint(number: int) -> bytes:
    if number < 0x80:
        return bytes([number])
    return bytes([number & 0x7F | 0x80]) + varint(number >> 7)


def field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def spans_request(*spans: bytes) -> bytes:
    return field(1, field(2, b"".join(field(2, span) for span in spans)))


def with_place(span: bytes, *path: int) -> bytes:
    for number in reversed(path):
        span = field(number, span)
    return span


def decode(
    body: bytes, signal: str = "traces", limits: pdata.Limits | None = None
) -> tuple[pdata.Batch, dict[str, int], int]:
    batch, findings = pdata.decode(signal, body, False, limits or pdata.Limits())
    return batch, findings.counts if findings else {}, findings.rejected if findings else 0


def only_span(batch: pdata.Batch) -> Span:
    (span,) = pdata.to_proto(batch).resource_spans[0].scope_spans[0].spans
    return span  # type: ignore[no-any-return]


def logs_request(*records: LogRecord) -> bytes:
    request = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.extend(records)
    return request.SerializeToString()


# --- what is clean


@pytest.mark.parametrize("signal", ["traces", "metrics", "logs"])
def test_empty_request_is_an_empty_batch(signal: str) -> None:
    """An empty request succeeds (OTLP specification, "Full Success")."""
    batch, counts, _ = decode(b"", signal)
    assert (batch.items, batch.data, counts) == (0, b"", {})


def test_empty_envelopes_are_no_error() -> None:
    body = with_place(b"", 1) + with_place(b"", 1, 2) + with_place(b"", 1, 1)
    batch, counts, _ = decode(body)
    assert batch.data is body
    assert (batch.items, counts) == (0, {})


@pytest.mark.parametrize("extra", [UNKNOWN, GROUP, b"\xf8\x07\x2a", b"\xfd\x07abcd", b"\xf9\x07abcdefgh"])
@pytest.mark.parametrize("wrap", [(), (1,), (1, 1), (1, 2), (1, 2, 1), (1, 2, 2), (1, 2, 2, 9), (1, 2, 2, 15)])
def test_unknown_fields_survive(extra: bytes, wrap: tuple[int, ...]) -> None:
    """A newer sender's fields are carried byte for byte where the body is clean, and where another item is repaired."""
    ids = field(1, b"t" * 16) + field(2, b"s" * 8) if wrap[:3] == (1, 2, 2) else b""
    inner = with_place(extra, *wrap[3:])
    body = with_place(ids + inner, *wrap[:3])
    batch, counts, _ = decode(body)
    assert batch.data is body
    assert counts == {}
    repaired, counts, _ = decode(body + spans_request(field(1, b"short")))
    assert counts == {"invalid_trace_id": 1}
    assert repaired.data == body


def test_repaired_item_keeps_its_unknown_fields() -> None:
    span = field(1, b"t" * 16) + field(2, b"s" * 8) + UNKNOWN + field(5, b"\xff") + GROUP
    batch, counts, _ = decode(spans_request(span))
    assert counts == {"invalid_utf8": 1}
    assert UNKNOWN in batch.data
    assert GROUP in batch.data


def test_numbers_may_be_packed_or_not() -> None:
    """Readers of proto3 must accept both forms of a repeated number; the bytes stay as they came."""
    unpacked = b"".join(b"\x31" + bytes([n, 0, 0, 0, 0, 0, 0, 0]) for n in (1, 2))
    packed = field(6, bytes(8) + b"\x07" + bytes(7))
    body = with_place(unpacked + packed, 1, 2, 2, 9, 1)
    batch, counts, _ = decode(body, "metrics")
    assert batch.data is body
    assert (batch.items, counts) == (1, {})
    point = pdata.to_proto(batch).resource_metrics[0].scope_metrics[0].metrics[0].histogram.data_points[0]
    assert list(point.bucket_counts) == [1, 2, 0, 7]


@pytest.mark.parametrize("kind", ["gauge", "sum", "histogram", "exponential_histogram", "summary"])
def test_metrics_count_data_points(kind: str) -> None:
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    for points in (2, 0, 3):
        metric = metrics.add(name="m")
        for _ in range(points):
            getattr(metric, kind).data_points.add()
    batch, counts, _ = decode(request.SerializeToString(), "metrics")
    assert (batch.items, counts) == (5, {})


# --- ids


BAD_IDS = [b"", b"a", b"a" * 7, b"a" * 9, b"a" * 15, b"a" * 17, b"a" * 32]


@pytest.mark.parametrize("bad", [*BAD_IDS, b"a" * 8, bytes(16), None])
def test_span_without_a_trace_id_is_rejected_alone(bad: bytes | None) -> None:
    good = make_span("good")
    wrong = make_span("wrong", trace=2)
    wrong.trace_id = bad or b""
    raw = wrong.SerializeToString() if bad is not None else field(2, b"s" * 8)
    batch, counts, rejected = decode(spans_request(raw, good.SerializeToString(), raw))
    assert (counts, rejected, batch.items) == ({"invalid_trace_id": 2}, 2, 1)
    assert only_span(batch) == good


@pytest.mark.parametrize("bad", [*BAD_IDS, b"a" * 16, bytes(8)])
def test_span_without_a_span_id_is_rejected(bad: bytes) -> None:
    wrong = make_span()
    wrong.span_id = bad
    batch, counts, rejected = decode(make_traces(wrong).data)
    assert (counts, rejected, batch.items, batch.data) == ({"invalid_span_id": 1}, 1, 0, b"")


@pytest.mark.parametrize("bad", [bad for bad in [*BAD_IDS, b"a" * 16] if bad])
def test_span_with_a_bad_parent_id_is_rejected(bad: bytes) -> None:
    wrong = make_span()
    wrong.parent_span_id = bad
    _, counts, rejected = decode(make_traces(wrong).data)
    assert (counts, rejected) == ({"invalid_parent_span_id": 1}, 1)


@pytest.mark.parametrize("length", [1, 8, 16])
def test_zero_parent_means_no_parent(length: int) -> None:
    """The span is kept, and has no parent id for whoever reads it next; the sender is told nothing."""
    span = make_span("root")
    span.parent_span_id = bytes(length)
    batch, findings = pdata.decode("traces", make_traces(span).data, False, pdata.Limits())
    span.parent_span_id = b""
    assert only_span(batch) == span
    assert findings is not None
    assert (findings.counts, findings.rejected, findings.message) == ({"zero_parent_span_id": 1}, 0, "")


def test_a_span_is_rejected_once_whatever_is_wrong_with_it() -> None:
    """Exact counts: one reason for each rejected item, and no repairs of what is not there any more."""
    wrong = field(1, b"x") + field(2, b"y") + field(4, b"z") + field(5, b"\xff") + field(13, b"")
    _, counts, rejected = decode(spans_request(wrong))
    assert (counts, rejected) == ({"invalid_trace_id": 1}, 1)


def test_one_bad_id_among_several_rejects_the_span() -> None:
    """Whichever of them another reader would take, it may stop at the bad one and lose the whole request."""
    good, bad, rest = field(1, b"t" * 16), field(1, b"short"), field(2, b"s" * 8)
    for trace_ids in (bad + good, good + bad):
        _, counts, rejected = decode(spans_request(trace_ids + rest))
        assert (counts, rejected) == ({"invalid_trace_id": 1}, 1)
    assert decode(spans_request(good + good + rest))[0].items == 1


def test_link_with_bad_ids_is_left_out_and_counted_in_the_span() -> None:
    span = make_span()
    span.dropped_links_count = 3
    for trace_id, span_id in [(b"t" * 16, b"s" * 8), (b"t" * 16, b""), (bytes(16), b"s" * 8), (b"t" * 16, b"s" * 9)]:
        span.links.add(trace_id=trace_id, span_id=span_id)
    batch, counts, rejected = decode(make_traces(span).data)
    assert (counts, rejected, batch.items) == ({"invalid_link": 3}, 0, 1)
    del span.links[1:]
    span.dropped_links_count = 6
    assert only_span(batch) == span


def test_span_with_nothing_but_bad_links_is_kept() -> None:
    span = make_span()
    span.links.add()
    batch, counts, _ = decode(make_traces(span).data)
    assert counts == {"invalid_link": 1}
    assert only_span(batch).dropped_links_count == 1


@pytest.mark.parametrize("trace_id", [b"", bytes(16), b"t" * 16])
@pytest.mark.parametrize("span_id", [b"", bytes(8), b"s" * 8])
def test_log_record_may_have_no_trace(trace_id: bytes, span_id: bytes) -> None:
    body = logs_request(LogRecord(trace_id=trace_id, span_id=span_id))
    batch, counts, _ = decode(body, "logs")
    assert batch.data is body
    assert (batch.items, counts) == (1, {})


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (LogRecord(trace_id=b"t" * 15), "invalid_trace_id"),
        (LogRecord(trace_id=b"t" * 32, span_id=b"s" * 8), "invalid_trace_id"),
        (LogRecord(trace_id=b"t" * 16, span_id=b"s" * 7), "invalid_span_id"),
    ],
)
def test_log_record_with_bad_ids_is_rejected_alone(record: LogRecord, reason: str) -> None:
    good = LogRecord(severity_text="INFO")
    batch, counts, rejected = decode(logs_request(good, record), "logs")
    assert (counts, rejected, batch.items) == ({reason: 1}, 1, 1)
    assert batch.data == logs_request(good)


def test_exemplar_loses_ids_of_wrong_length_only() -> None:
    metric = Metric(name="m")
    point = metric.gauge.data_points.add(as_int=1)
    point.exemplars.add(trace_id=b"t" * 16, span_id=b"s" * 7, as_double=2.0)
    point.exemplars.add(trace_id=b"t", span_id=b"s" * 8)
    batch, counts, rejected = decode(with_place(metric.SerializeToString(), 1, 2, 2), "metrics")
    assert (counts, rejected, batch.items) == ({"invalid_exemplar_id": 2}, 0, 1)
    exemplars = pdata.to_proto(batch).resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points[0].exemplars
    assert [(e.trace_id, e.span_id) for e in exemplars] == [(b"t" * 16, b""), (b"", b"s" * 8)]


def test_scopes_and_resources_without_items_left_are_left_out() -> None:
    bad = field(2, field(1, b"x"))
    scope, resource = field(1, b""), field(1, b"")
    good = field(2, make_span().SerializeToString())
    body = field(1, resource + field(2, scope + bad) + field(2, scope + good)) + field(1, resource + field(2, bad))
    batch, _, rejected = decode(body + UNKNOWN)
    assert rejected == 2
    assert batch.data == field(1, resource + field(2, scope + good)) + UNKNOWN


# --- text and limits


TEXTS: dict[str, Callable[[bytes], bytes]] = {
    "name": lambda text: field(5, text),
    "trace_state": lambda text: field(3, text),
    "attribute key": lambda text: field(9, field(1, text)),
    "attribute value": lambda text: field(9, field(2, field(1, text))),
    "value in a list": lambda text: field(9, field(2, field(5, field(1, field(1, text))))),
    "key in a map": lambda text: field(9, field(2, field(6, field(1, field(1, text))))),
    "event name": lambda text: field(11, field(2, text)),
    "status message": lambda text: field(15, field(2, text)),
}


@pytest.mark.parametrize("place", TEXTS)
@given(text=st.binary(max_size=20))
@settings(max_examples=40, deadline=None)
def test_text_is_repaired_as_python_does_it(place: str, text: bytes) -> None:
    """Invalid UTF-8 anywhere becomes U+FFFD, counted, and costs neither the item nor its neighbours."""
    ids = field(1, b"t" * 16) + field(2, b"s" * 8)
    batch, counts, rejected = decode(spans_request(ids + TEXTS[place](text)))
    repaired = text.decode(errors="replace").encode()
    assert batch.data == spans_request(ids + TEXTS[place](repaired))
    assert counts == ({} if repaired == text else {"invalid_utf8": 1})
    assert rejected == 0


@pytest.mark.parametrize("place", [place for place in TEXTS if "key" not in place])
@pytest.mark.parametrize("letter", ["x", "é", "€", "😀"])
@pytest.mark.parametrize("extra", [0, 1, 2, 3])
def test_long_text_is_cut_between_characters(place: str, letter: str, extra: int) -> None:
    ids = field(1, b"t" * 16) + field(2, b"s" * 8)
    limits = pdata.Limits(max_value_bytes=40 + extra)
    text = letter * 60
    batch, counts, _ = decode(spans_request(ids + TEXTS[place](text.encode())), limits=limits)
    kept = text.encode()[: 40 + extra].decode(errors="ignore").encode()
    assert batch.data == spans_request(ids + TEXTS[place](kept))
    assert counts == {"value_truncated": 1}


@pytest.mark.parametrize("length", [255, 256, 257, 1000])
@pytest.mark.parametrize("place", ["attribute key", "key in a map"])
def test_long_key_is_cut(place: str, length: int) -> None:
    ids = field(1, b"t" * 16) + field(2, b"s" * 8)
    batch, counts, _ = decode(spans_request(ids + TEXTS[place](b"k" * length)))
    assert batch.data == spans_request(ids + TEXTS[place](b"k" * min(length, 256)))
    assert counts == ({"key_truncated": 1} if length > 256 else {})


def test_long_bytes_value_is_cut() -> None:
    span = make_span()
    span.attributes.extend(attributes({"raw": b"\xff" * 100}))
    batch, counts, _ = decode(make_traces(span).data, limits=pdata.Limits(max_value_bytes=64))
    assert only_span(batch).attributes[0].value.bytes_value == b"\xff" * 64
    assert counts == {"value_truncated": 1}


def test_attributes_over_the_limit_are_left_out_and_counted_where_the_message_can() -> None:
    """Resource, scope, span, event and link say in `dropped_attributes_count` how many are missing."""
    many = attributes({f"k{n}": n for n in range(7)})
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    scope_spans = resource_spans.scope_spans.add()
    span = scope_spans.spans.add()
    span.CopyFrom(make_span())
    holders: list[Any] = [resource_spans.resource, scope_spans.scope, span, span.events.add()]
    holders.append(span.links.add(trace_id=b"t" * 16, span_id=b"s" * 8))
    for count, holder in enumerate(holders):
        holder.attributes.extend(many)
        holder.dropped_attributes_count = count
    batch, counts, _ = decode(request.SerializeToString(), limits=pdata.Limits(max_attributes=5))
    for count, holder in enumerate(holders):
        del holder.attributes[5:]
        holder.dropped_attributes_count = count + 2
    assert pdata.to_proto(batch) == request
    assert counts == {"attribute_dropped": 10}


def test_log_record_and_data_point_attributes_are_bounded() -> None:
    many = attributes({f"k{n}": n for n in range(200)})
    batch, counts, _ = decode(logs_request(LogRecord(attributes=many)), "logs")
    (record,) = pdata.to_proto(batch).resource_logs[0].scope_logs[0].log_records
    assert (len(record.attributes), record.dropped_attributes_count, counts) == (128, 72, {"attribute_dropped": 72})
    metric = Metric()
    metric.sum.data_points.add(attributes=many)
    batch, counts, _ = decode(with_place(metric.SerializeToString(), 1, 2, 2), "metrics")
    (point,) = pdata.to_proto(batch).resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points
    assert (len(point.attributes), counts) == (128, {"attribute_dropped": 72})


def test_dropped_count_stays_a_32_bit_number() -> None:
    span = make_span(a=1, b=2)
    span.dropped_attributes_count = 2**32 - 1
    batch, _, _ = decode(make_traces(span).data, limits=pdata.Limits(max_attributes=1))
    assert only_span(batch).dropped_attributes_count == 2**32 - 1


def nested(levels: int, *, maps: bool) -> bytes:
    """The bytes of an AnyValue inside `levels - 1` lists or maps."""
    value = AnyValue(string_value="bottom").SerializeToString()
    for _ in range(levels - 1):
        value = field(6, field(1, field(2, value))) if maps else field(5, field(1, value))
    return value


@pytest.mark.parametrize("maps", [False, True])
@pytest.mark.parametrize("levels", [1, 2, 31, 32, 33, 50, 100, 1000])
def test_nesting_is_bounded(maps: bool, levels: int) -> None:
    """32 values deep is kept and still read by protobuf; what lies deeper becomes empty."""
    ids = field(1, b"t" * 16) + field(2, b"s" * 8)
    body = spans_request(ids + field(9, field(1, b"deep") + field(2, nested(levels, maps=maps))))
    batch, counts, rejected = decode(body)
    assert (batch.items, rejected) == (1, 0)
    assert counts == ({"too_deep": 1} if levels > 32 else {})
    assert len(only_span(batch).attributes) == 1
    assert (b"bottom" in batch.data) == (levels <= 32)


@pytest.mark.parametrize("maps", [False, True])
def test_nesting_in_an_exemplar_can_still_be_read(maps: bool) -> None:
    attribute = field(7, field(2, nested(60, maps=maps)))
    batch, counts, _ = decode(with_place(field(5, attribute), 1, 2, 2, 5, 1), "metrics")
    assert counts == {"too_deep": 1}
    assert pdata.to_proto(batch).resource_metrics


def test_hostile_nesting_takes_no_stack_and_little_time() -> None:
    value = b""
    for _ in range(3000):
        value = field(5, field(1, value))
    _, counts, _ = decode(logs_request(LogRecord()) + with_place(field(5, value), 1, 2, 2), "logs")
    assert counts == {"too_deep": 1}


def test_millions_of_empty_spans_are_rejected_in_bounded_memory() -> None:
    """4 MiB of legal wire bytes must not become hundreds of MiB."""
    body = field(1, field(2, b"\x12\x00" * 2_097_152))
    tracemalloc.start()
    batch, findings = pdata.decode("traces", body, False, pdata.Limits())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert findings is not None
    assert findings.rejected == findings.counts["invalid_trace_id"] == 2_097_152
    assert findings.message == "2097152 spans rejected; by reason: invalid_trace_id 2097152"
    assert (batch.items, batch.size_bytes) == (0, 0)
    assert peak < 1_000_000


@pytest.mark.parametrize("signal", ["traces", "metrics", "logs"])
def test_legacy_field_is_kept_and_told(signal: str) -> None:
    """`instrumentation_library_*` (field 1000) left OTLP long ago: its items must not vanish without a word."""
    body = field(1, field(1000, b"\x12\x00"))
    batch, findings = pdata.decode(signal, body, False, pdata.Limits())
    assert batch.data is body
    assert findings is not None
    assert (findings.rejected, findings.counts) == (0, {"legacy_instrumentation_library": 1})
    assert "instrumentation_library" in findings.message


def test_message_is_one_sentence_for_the_sender() -> None:
    wrong = make_span(long="v" * 10)
    wrong.span_id = b""
    body = make_traces(make_span(long="v" * 10), wrong).data
    _, findings = pdata.decode("traces", body, False, pdata.Limits(max_value_bytes=5))
    assert findings is not None
    assert findings.message == "1 span rejected; by reason: invalid_span_id 1, value_truncated 1"


# --- what is malformed


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\x0a", "truncated message"),
        (b"\x0a\x05\x12", "truncated message"),
        (b"\x08\x01", "resource_spans[0]: wire type 0 where 2 is expected"),
        (field(1, b"\x12\x7f"), "resource_spans[0]: truncated message"),
        (spans_request(b"", b"", b"", b"\x2a\xff"), "resource_spans[0].scope_spans[0].spans[3]: truncated message"),
        (
            spans_request(b"", b"\x30\x01\x29abcdefgh"),
            "resource_spans[0].scope_spans[0].spans[1].name: wire type 1 where 2 is expected",
        ),
        (
            spans_request(field(6, b"\x01")),
            "resource_spans[0].scope_spans[0].spans[0].kind: wire type 2 where 0 is expected",
        ),
        (
            field(1, b"") + spans_request(field(9, field(2, b"\x18" + b"\xff" * 11))),
            "resource_spans[1].scope_spans[0].spans[0].attributes[0].value: varint too long",
        ),
        (spans_request(b"\x07"), "resource_spans[0].scope_spans[0].spans[0]: field number 0"),
        (spans_request(b"\x0f"), "resource_spans[0].scope_spans[0].spans[0]: unsupported wire type 7"),
        (spans_request(b"\xfb\x07\x08"), "resource_spans[0].scope_spans[0].spans[0]: truncated message"),
    ],
)
def test_malformed_body_is_refused_with_its_place(body: bytes, message: str) -> None:
    with pytest.raises(DecodeError) as raised:
        pdata.decode("traces", body, False, pdata.Limits())
    assert str(raised.value).startswith(message)


def test_cut_off_packed_numbers_are_refused() -> None:
    body = with_place(field(6, bytes(7)), 1, 2, 2, 9, 1)
    place = "resource_metrics[0].scope_metrics[0].metrics[0].histogram.data_points[0].bucket_counts"
    with pytest.raises(DecodeError, match="packed values are cut off") as raised:
        pdata.decode("metrics", body, False, pdata.Limits())
    assert str(raised.value).startswith(place + ":")


def test_malformed_part_of_a_rejected_item_still_refuses_the_request() -> None:
    with pytest.raises(DecodeError):
        decode(spans_request(field(1, b"short") + field(9, b"\x0a\x09")))


def test_unknown_signal_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="unknown signal"):
        pdata.decode("profiles", b"", False, pdata.Limits())
