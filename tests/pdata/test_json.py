"""Guarantee: OTLP/JSON is read by the rules of the OTLP specification, and refused with a path and a byte otherwise."""

import json
from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from otel_pipeline import pdata
from otel_pipeline.errors import DecodeError
from otel_pipeline.testing import make_span, make_traces

LIMITS = pdata.Limits()
TRACE_ID, SPAN_ID = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"
IDS = f'"traceId":"{TRACE_ID}","spanId":"{SPAN_ID}"'


def decode(signal: str, text: str | bytes) -> tuple[pdata.Batch, dict[str, int], int]:
    body = text if isinstance(text, bytes) else text.encode()
    batch, findings = pdata.decode(signal, body, True, LIMITS)
    return batch, findings.counts if findings else {}, findings.rejected if findings else 0


def fill(template: str, *parts: str) -> str:
    """The template with the parts for its `@`s, in order: JSON has braces of its own."""
    for part in parts:
        template = template.replace("@", part, 1)
    return template


def spans_text(*members: str) -> str:
    spans = ",".join("{" + span + "}" for span in members)
    return fill('{"resourceSpans":[{"scopeSpans":[{"spans":[@]}]}]}', spans)


def read_span(members: str) -> Span:
    """The one span of a request with these members besides its ids; nothing may be found wrong with it."""
    batch, counts, _ = decode("traces", spans_text(f"{IDS},{members}" if members else IDS))
    assert counts == {}
    (span,) = pdata.to_proto(batch).resource_spans[0].scope_spans[0].spans
    return span  # type: ignore[no-any-return]


def read_value(text: str) -> AnyValue:
    return read_span(fill('"attributes":[{"key":"k","value":@}]', text)).attributes[0].value


def read_point(kind: str, members: str) -> Any:
    text = fill('{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"@":{"dataPoints":[{@}]}}]}]}]}', kind, members)
    batch, counts, _ = decode("metrics", text)
    assert (batch.items, counts) == (1, {})
    metric = pdata.to_proto(batch).resource_metrics[0].scope_metrics[0].metrics[0]
    return getattr(metric, metric.WhichOneof("data")).data_points[0]


def read_log(members: str) -> LogRecord:
    batch, counts, _ = decode("logs", fill('{"resourceLogs":[{"scopeLogs":[{"logRecords":[{@}]}]}]}', members))
    assert counts == {}
    (record,) = pdata.to_proto(batch).resource_logs[0].scope_logs[0].log_records
    return record  # type: ignore[no-any-return]


def refusal(signal: str, text: str | bytes) -> str:
    with pytest.raises(DecodeError) as raised:
        decode(signal, text)
    return str(raised.value)


# --- ids


@pytest.mark.parametrize("convert", [str.lower, str.upper, str.swapcase])
def test_hex_ids_in_any_case(convert: Any) -> None:
    text = spans_text(f'"traceId":"{convert(TRACE_ID)}","spanId":"{convert(SPAN_ID)}","parentSpanId":"{SPAN_ID}"')
    batch, counts, _ = decode("traces", text)
    (span,) = pdata.to_proto(batch).resource_spans[0].scope_spans[0].spans
    assert (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()) == (TRACE_ID, SPAN_ID, SPAN_ID)
    assert counts == {}


BAD_HEX = ["abc", "zz" * 16, "W47/95gDgQPSabYzgT/GDA==", "0x" + TRACE_ID[2:], TRACE_ID + "00", "é" * 16, " " + TRACE_ID]


@pytest.mark.parametrize("bad", [*BAD_HEX, "", SPAN_ID, "0" * 32])
def test_bad_trace_id_rejects_its_span_only(bad: str) -> None:
    """Base64, odd, short, long, not hex or zero: never silently another id, never the loss of the neighbours."""
    batch, counts, rejected = decode("traces", spans_text(f'"traceId":"{bad}","spanId":"{SPAN_ID}"', IDS))
    assert (counts, rejected, batch.items) == ({"invalid_trace_id": 1}, 1, 1)


@pytest.mark.parametrize("bad", [*BAD_HEX, "", TRACE_ID, "0" * 16])
def test_bad_span_id_rejects_its_span_only(bad: str) -> None:
    batch, counts, rejected = decode("traces", spans_text(f'"traceId":"{TRACE_ID}","spanId":"{bad}"', IDS))
    assert (counts, rejected, batch.items) == ({"invalid_span_id": 1}, 1, 1)


@pytest.mark.parametrize("bad", [*BAD_HEX, TRACE_ID])
def test_bad_parent_span_id_rejects_its_span_only(bad: str) -> None:
    _, counts, rejected = decode("traces", spans_text(f'{IDS},"parentSpanId":"{bad}"', IDS))
    assert (counts, rejected) == ({"invalid_parent_span_id": 1}, 1)


@pytest.mark.parametrize("none", ['""', "null", '"0000000000000000"'])
def test_span_without_a_parent(none: str) -> None:
    batch, _, rejected = decode("traces", spans_text(f'{IDS},"parentSpanId":{none}'))
    (span,) = pdata.to_proto(batch).resource_spans[0].scope_spans[0].spans
    assert (span.parent_span_id, rejected) == (b"", 0)


@pytest.mark.parametrize("bad", BAD_HEX)
def test_bad_ids_elsewhere(bad: str) -> None:
    """In a log record they reject it, in a link they cost the link, in an exemplar the id."""
    text = fill('{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"@"},{}]}]}]}', bad)
    batch, counts, rejected = decode("logs", text)
    assert (batch.items, counts, rejected) == (1, {"invalid_trace_id": 1}, 1)
    batch, counts, _ = decode("traces", spans_text(f'{IDS},"links":[{{"traceId":"{bad}","spanId":"{SPAN_ID}"}}]'))
    assert (batch.items, counts) == (1, {"invalid_link": 1})
    point = fill('{"asInt":1,"exemplars":[{"traceId":"@","spanId":"@"}]}', bad, SPAN_ID)
    text = fill('{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[@]}}]}]}]}', point)
    batch, counts, _ = decode("metrics", text)
    assert (batch.items, counts) == (1, {"invalid_exemplar_id": 1})


# --- names


@pytest.mark.parametrize(
    "unknown",
    [
        '"start_time_unix_nano":"1"',
        '"trace_state":"a=b"',
        '"NAME":"x"',
        '"Name":"x"',
        '"futureField":{"a":[1,-2.5e3,"x",null,true,false,{"b":{}},[]]}',
        '"":0',
        '"deep":' + "[" * 20_000 + "]" * 20_000,
        '"deep":' + '{"a":' * 20_000 + "1" + "}" * 20_000,
        '"half":"\\ud800"',
    ],
)
def test_unknown_fields_are_ignored_at_every_level(unknown: str) -> None:
    """lowerCamelCase names only; snake_case is an unknown field. Nesting costs no stack."""
    template = (
        '{@,"resourceSpans":[{@,"resource":{@},"scopeSpans":[{@,"scope":{@},"spans":[{@,@,'
        '"attributes":[{@,"key":"k","value":{@,"arrayValue":{@,"values":[{@,"intValue":1}]}}}],"status":{@}}]}]}]}'
    )
    text = fill(template, *[unknown] * 6, IDS, *[unknown] * 5)
    batch, counts, _ = decode("traces", text)
    assert counts == {}
    span = Span(trace_id=bytes.fromhex(TRACE_ID), span_id=bytes.fromhex(SPAN_ID), status=Status())
    value = span.attributes.add(key="k").value.array_value.values.add()
    value.int_value = 1
    assert pdata.to_proto(batch).resource_spans[0].scope_spans[0].spans == [span]


@pytest.mark.parametrize(("signal", "name"), [("traces", "Spans"), ("metrics", "Metrics"), ("logs", "Logs")])
def test_legacy_name_is_told(signal: str, name: str) -> None:
    """Data under the field that OTLP once had is not read; the sender learns of it."""
    text = fill('{"resource@":[{"instrumentationLibrary@":[{}]}]}', name, name)
    body = text.encode()
    _, findings = pdata.decode(signal, body, True, LIMITS)
    assert findings is not None
    assert findings.counts == {"legacy_instrumentation_library": 1}
    assert "instrumentation_library" in findings.message


# --- numbers, enums, presence


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("42", 42),
        ('"42"', 42),
        ("-42", -42),
        ('"-42"', -42),
        ("0", 0),
        ('"0"', 0),
        ("-0", 0),
        ("4.2e1", 42),
        ("42.000", 42),
        ('"4200e-2"', 42),
        ("1E3", 1000),
        ("1e+3", 1000),
        ("0e99", 0),
        ("0.0e-400", 0),
        ("-0.5e1", -5),
        ("10.50e1", 105),
        ("9223372036854775807", 2**63 - 1),
        ('"-9223372036854775808"', -(2**63)),
        ("9.223372036854775807e18", 2**63 - 1),
    ],
)
def test_64_bit_integers_as_string_or_number(text: str, number: int) -> None:
    value = read_value(fill('{"intValue":@}', text))
    assert value == AnyValue(int_value=number)
    assert value.WhichOneof("value") == "int_value"


@pytest.mark.parametrize("text", ["1767225600000000001", '"1767225600000000001"'])
def test_times_keep_every_nanosecond(text: str) -> None:
    assert read_span(f'"startTimeUnixNano":{text}').start_time_unix_nano == 1767225600000000001


def test_largest_unsigned_integers() -> None:
    point = read_point("histogram", '"count":"18446744073709551615","bucketCounts":[18446744073709551615,"0",null,2]')
    assert point.count == 2**64 - 1
    assert list(point.bucket_counts) == [2**64 - 1, 0, 0, 2]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1.5", 1.5),
        ("-2", -2.0),
        ('"0.25"', 0.25),
        ("1e-7", 1e-7),
        ("5e-324", 5e-324),
        ("1.7976931348623157e308", 1.7976931348623157e308),
        ('"Infinity"', float("inf")),
        ('"-Infinity"', float("-inf")),
    ],
)
def test_doubles(text: str, number: float) -> None:
    assert read_value(fill('{"doubleValue":@}', text)).double_value == number
    assert read_point("gauge", fill('"asDouble":@', text)).as_double == number


def test_nan() -> None:
    value = read_value('{"doubleValue":"NaN"}').double_value
    assert value != value


@pytest.mark.parametrize("number", [0, 1, 5, 99, -1, 2**31 - 1, -(2**31)])
def test_enums_are_integers_known_or_not(number: int) -> None:
    assert read_span(f'"kind":{number}').kind == number
    assert read_log(f'"severityNumber":{number}').severity_number == number


@pytest.mark.parametrize("name", ['"SPAN_KIND_SERVER"', '"2"', '""'])
def test_enum_names_are_not_otlp(name: str) -> None:
    text = spans_text(IDS, IDS + f',"kind":{name}')
    error = refusal("traces", text)
    place = f"(byte {text.index(name)})"
    assert (
        error
        == f"resourceSpans[0].scopeSpans[0].spans[1].kind: an enum is written as an integer, not as a name {place}"
    )


def test_presence_of_fields_that_have_it() -> None:
    """`asInt: "0"` and a sum of 0 are values, not defaults to leave out."""
    assert read_point("sum", '"asInt":"0"').WhichOneof("value") == "as_int"
    assert read_point("gauge", '"asDouble":0').WhichOneof("value") == "as_double"
    point = read_point("histogram", '"sum":0,"min":0.0')
    assert (point.HasField("sum"), point.HasField("min"), point.HasField("max")) == (True, True, False)
    assert not read_point("histogram", '"sum":null').HasField("sum")


@pytest.mark.parametrize(
    ("text", "member"),
    [
        ("{}", None),
        ("null", None),
        ('{"stringValue":""}', "string_value"),
        ('{"boolValue":false}', "bool_value"),
        ('{"intValue":0}', "int_value"),
        ('{"doubleValue":0}', "double_value"),
        ('{"arrayValue":{}}', "array_value"),
        ('{"kvlistValue":{"values":[]}}', "kvlist_value"),
        ('{"bytesValue":""}', "bytes_value"),
        ('{"stringValue":null}', None),
        ('{"stringValue":"a","intValue":"1"}', "int_value"),
    ],
)
def test_any_value_members(text: str, member: str | None) -> None:
    assert read_value(text).WhichOneof("value") == member


def test_null_is_the_default_everywhere() -> None:
    span = read_span('"name":null,"kind":null,"attributes":null,"status":null,"flags":null,"startTimeUnixNano":null')
    assert span == Span(trace_id=bytes.fromhex(TRACE_ID), span_id=bytes.fromhex(SPAN_ID))
    assert len(read_value('{"arrayValue":{"values":[null,{"intValue":1},null]}}').array_value.values) == 3
    assert decode("traces", '{"resourceSpans":null}')[0].items == 0


def test_last_of_duplicate_keys_holds() -> None:
    span = read_span('"name":"a","name":"b","kind":2,"kind":0,"attributes":[{"key":"x"}],"attributes":[{"key":"y"}]')
    assert (span.name, span.kind) == ("b", 0)
    assert [attribute.key for attribute in span.attributes] == ["x", "y"]


# --- text and bytes


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"plain"', "plain"),
        ('"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"\\/\b\f\n\r\t'),
        ('"\\u0041\\u00e9\\u20AC"', "Aé€"),
        ('"\\ud83d\\ude00"', "😀"),
        ('"é€😀\x7f"', "é€😀\x7f"),
        ('"a long text that has its quote \\" after a while"', 'a long text that has its quote " after a while'),
        ('"\\u0000"', "\0"),
    ],
)
def test_strings(text: str, value: str) -> None:
    assert read_span(f'"name":{text}').name == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("\\ud800", "\ufffd"),
        ("a\\udc00b", "a\ufffdb"),
        ("\\ud83d\\u0041", "\ufffdA"),
        ("\\ud83d\\ud83d\\ude00", "\ufffd😀"),
        ("\\ude00\\ud83d", "\ufffd\ufffd"),
    ],
)
def test_lone_surrogates_become_replacement_characters(text: str, value: str) -> None:
    batch, counts, rejected = decode("traces", spans_text(f'{IDS},"name":"{text}"'))
    (span,) = pdata.to_proto(batch).resource_spans[0].scope_spans[0].spans
    assert (span.name, counts, rejected) == (value, {"invalid_utf8": 1}, 0)


def test_invalid_utf8_is_repaired() -> None:
    body = spans_text(f'{IDS},"name":"a?b"').encode().replace(b"?", b"\xff\xfe")
    batch, counts, _ = decode("traces", body)
    (span,) = pdata.to_proto(batch).resource_spans[0].scope_spans[0].spans
    assert (span.name, counts) == ("a\ufffd\ufffdb", {"invalid_utf8": 1})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", b""),
        ("AAECAw==", b"\0\1\2\3"),
        ("AAECAw", b"\0\1\2\3"),
        ("+/8=", b"\xfb\xff"),
        ("-_8=", b"\xfb\xff"),
        ("-_8", b"\xfb\xff"),
        ("+\\/8", b"\xfb\xff"),
    ],
)
def test_base64_standard_or_url_safe_padded_or_not(text: str, value: bytes) -> None:
    assert read_value(fill('{"bytesValue":"@"}', text)).bytes_value == value


@pytest.mark.parametrize("text", ["!!", "A", "AAAAA", "AA=A", "=", "AAECAw===", "AA AA", "é"])
def test_bad_base64_is_refused(text: str) -> None:
    error = refusal(
        "logs", fill('{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"bytesValue":"@"}}]}]}]}', text)
    )
    assert error.startswith("resourceLogs[0].scopeLogs[0].logRecords[0].body.bytesValue: not base64 (byte 68)")


def test_byte_order_mark_and_white_space() -> None:
    body = b"\xef\xbb\xbf \r\n\t" + json.dumps(json.loads(spans_text(IDS)), indent=4).encode() + b"\n"
    assert decode("traces", body)[0].items == 1


@pytest.mark.parametrize("maps", [False, True])
@pytest.mark.parametrize("levels", [1, 32, 33, 1000, 20_000])
def test_nesting_is_bounded(maps: bool, levels: int) -> None:
    opening, closing = ('{"kvlistValue":{"values":[{"value":', "}]}}") if maps else ('{"arrayValue":{"values":[', "]}}")
    value = opening * (levels - 1) + '{"stringValue":"bottom"}' + closing * (levels - 1)
    batch, counts, _ = decode("traces", spans_text(f'{IDS},"attributes":[{{"key":"k","value":{value}}}]'))
    assert batch.items == 1
    assert counts == ({"too_deep": 1} if levels > 32 else {})
    assert (b"bottom" in batch.data) == (levels <= 32)
    assert pdata.to_proto(batch).resource_spans


# --- what is refused


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "the text is cut off (byte 0)"),
        ("  ", "the text is cut off (byte 2)"),
        ("[]", "an object is expected (byte 0)"),
        ("null", "an object is expected (byte 0)"),
        ("{}x", "text after the end of the request (byte 2)"),
        ("{}{}", "text after the end of the request (byte 2)"),
        ("{'a':1}", "a key in quotes is expected (byte 1)"),
        ('{"a":1,}', "a key in quotes is expected (byte 7)"),
        ('{"a" 1}', "a colon is expected (byte 5)"),
        ('{"a":1 "b":2}', "a comma or the end of the list or object is expected (byte 7)"),
        ('{"a":[1,]}', "a value is expected (byte 8)"),
        ('{"a":NaN}', "a value is expected (byte 5)"),
        ('{"a":Infinity}', "a value is expected (byte 5)"),
        ('{"a":nul}', "a value is expected (byte 5)"),
        ('{"a":nul', "the text is cut off (byte 8)"),
        ('{"a":01}', "a comma or the end of the list or object is expected (byte 6)"),
        ('{"a":+1}', "a value is expected (byte 5)"),
        ('{"a":.5}', "a value is expected (byte 5)"),
        ('{"a":1.}', "a value is expected (byte 7)"),
        ('{"a":1e}', "a value is expected (byte 7)"),
        ('{"a":"\\x"}', "an unknown escape in a string (byte 7)"),
        ('{"a":"\\u12g4"}', "four hex digits are expected after \\u (byte 10)"),
        ('{"a":"line\nbreak"}', "a control character in a string (byte 10)"),
        ('{"a":"open', "the text is cut off (byte 10)"),
        ('{"a":[[[{"b":[', "the text is cut off (byte 14)"),
        ('{"a":[}', "a value is expected (byte 6)"),
        ('{"a":[1}', "a comma or the end of the list or object is expected (byte 7)"),
        (fill('{"a":@}', "9" * 5000), "a number of more than 1100 characters (byte 5)"),
        ('{"resourceSpans":{}}', "resourceSpans: a list is expected (byte 17)"),
        ('{"resourceSpans":[1]}', "resourceSpans[0]: an object is expected (byte 18)"),
        ('{"resourceSpans":[{},"x"]}', "resourceSpans[1]: an object is expected (byte 21)"),
        ('{"resourceSpans":[{"schemaUrl":1}]}', "resourceSpans[0].schemaUrl: a string is expected (byte 31)"),
    ],
)
def test_text_that_is_not_a_request(text: str, error: str) -> None:
    assert refusal("traces", text) == error


@pytest.mark.parametrize(
    ("members", "what"),
    [
        ('"startTimeUnixNano":-1', "the integer is out of range"),
        ('"startTimeUnixNano":18446744073709551616', "the integer is out of range"),
        ('"startTimeUnixNano":1.5', "an integer is expected"),
        ('"startTimeUnixNano":"1e-1"', "an integer is expected"),
        ('"startTimeUnixNano":""', "an integer is expected"),
        ('"startTimeUnixNano":" 1"', "an integer is expected"),
        ('"startTimeUnixNano":"0x10"', "an integer is expected"),
        ('"startTimeUnixNano":true', "an integer is expected"),
        ('"startTimeUnixNano":"NaN"', "an integer is expected"),
        (fill('"startTimeUnixNano":@', "9" * 1000), "an integer is expected"),
        ('"startTimeUnixNano":1e400', "an integer is expected"),
        ('"flags":4294967296', "the integer is out of range"),
        ('"kind":2147483648', "the integer is out of range"),
        ('"kind":1.5', "an integer is expected"),
        ('"name":5', "a string is expected"),
        ('"name":["a"]', "a string is expected"),
        ('"traceState":{}', "a string is expected"),
        ('"spanId":123', "a string is expected"),
        ('"status":[]', "an object is expected"),
    ],
)
def test_value_of_the_wrong_type(members: str, what: str) -> None:
    name = members[1 : members.index('"', 1)]
    text = spans_text(f"{IDS},{members}")
    at = text.index(members) + len(name) + 3
    assert refusal("traces", text) == f"resourceSpans[0].scopeSpans[0].spans[0].{name}: {what} (byte {at})"


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ('{"boolValue":"true"}', "true or false is expected"),
        ('{"boolValue":1}', "true or false is expected"),
        ('{"boolValue":tru}', "a value is expected"),
        ('{"intValue":"9223372036854775808"}', "the integer is out of range"),
        ('{"doubleValue":1e400}', "the number is out of range"),
        ('{"doubleValue":"nan"}', "a number is expected"),
        ('{"doubleValue":"inf"}', "a number is expected"),
        ('{"doubleValue":"-NaN"}', "a number is expected"),
        ('{"arrayValue":[]}', "an object is expected"),
        ('"text"', "an object is expected"),
    ],
)
def test_any_value_of_the_wrong_type(value: str, what: str) -> None:
    error = refusal("traces", spans_text(f'{IDS},"attributes":[{{"key":"a"}},{{"key":"k","value":{value}}}]'))
    assert error.startswith("resourceSpans[0].scopeSpans[0].spans[0].attributes[1].value")
    assert what in error


def test_errors_do_not_repeat_what_was_sent() -> None:
    """A body may hold prompts and secrets; an error says where, not what."""
    assert "sesame" not in refusal("traces", spans_text(f'{IDS},"kind":"sesame"'))
    assert "sesame" not in refusal("traces", spans_text(f'{IDS},"sesame":sesame'))


def varint(number: int) -> bytes:
    if number < 0x80:
        return bytes([number])
    return bytes([number & 0x7F | 0x80]) + varint(number >> 7)


# --- writing


def test_to_json_is_compact_and_leaves_out_defaults() -> None:
    span = make_span('a "quoted"\n\x01 name', trace=0xAB, span=0xCD, kind=0, tokens=7, ok=True, part=0.5)
    span.status.SetInParent()
    text = pdata.to_json(make_traces(span)).decode()
    assert text == (
        '{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"test"}}]},'
        '"scopeSpans":[{"scope":{"name":"test"},"spans":[{"traceId":"000000000000000000000000000000ab",'
        '"spanId":"00000000000000cd","name":"a \\"quoted\\"\\n\\u0001 name","startTimeUnixNano":"1767225600000000000",'
        '"endTimeUnixNano":"1767225601000000000","attributes":[{"key":"tokens","value":{"intValue":"7"}},'
        '{"key":"ok","value":{"boolValue":true}},{"key":"part","value":{"doubleValue":0.5}}],"status":{}}]}]}]}'
    )


def test_to_json_leaves_out_unknown_fields() -> None:
    batch, _ = pdata.decode("traces", b"\xfa\x07\x03new" + make_traces(make_span()).data, False, LIMITS)
    assert pdata.to_json(batch) == pdata.to_json(make_traces(make_span()))


def test_to_json_of_bytes_that_were_never_checked() -> None:
    """`from_trusted` bytes that break every rule still become JSON, and cost no stack."""
    value = b""
    for _ in range(5000):
        value = b"\x2a" + varint(len(value) + len(varint(len(value))) + 1) + b"\x0a" + varint(len(value)) + value
    for body in (value, b"\x0a\x02\x12", b"\xff" * 40, bytes(40)):
        json.loads(pdata.to_json(pdata.from_trusted("traces", body)))
    for path in ([1, 2, 2, 5],):
        for number in reversed(path):
            value = bytes([number << 3 | 2]) + varint(len(value)) + value
    json.loads(pdata.to_json(pdata.from_trusted("logs", value)))
