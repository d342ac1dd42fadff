"""The format and compression that a scraper gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_pipeline.prometheus.negotiation import TEXT, accepts_gzip, choose_format

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
OPENMETRICS_0 = "application/openmetrics-text; version=0.0.1; charset=utf-8"
PROTOBUF = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=underscores"
)
TEXT_0 = "text/plain; version=0.0.4; charset=utf-8"
TEXT_1 = "text/plain; version=1.0.0; charset=utf-8; escaping=underscores"

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_2_PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
    "application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3_PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;escaping=allow-utf-8;"
    "q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (PROMETHEUS_2, OPENMETRICS),
        (PROMETHEUS_2_PROTOBUF, PROTOBUF),
        (PROMETHEUS_3, OPENMETRICS),
        (PROMETHEUS_3_PROTOBUF, PROTOBUF),
        ("application/vnd.google.protobuf", PROTOBUF),
        ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily", PROTOBUF),
        ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text", TEXT_0),
        ("application/vnd.google.protobuf;proto=other.Message;encoding=delimited,text/plain;q=0.1", TEXT_0),
        ("application/vnd.google.protobuf;version=1.0.0", TEXT_0),
        ("application/vnd.google.protobuf;q=0.2,application/openmetrics-text;q=0.3", OPENMETRICS),
        ("application/vnd.google.protobuf;q=0.3,application/openmetrics-text;q=0.3", PROTOBUF),
        ("application/openmetrics-text;q=0.3,application/vnd.google.protobuf;q=0.3", OPENMETRICS),
        ("application/vnd.google.protobuf;q=0,*/*", TEXT_0),
        ("application/openmetrics-text;q=0,application/*", TEXT_0),
        ("", TEXT_0),
        ("*/*", TEXT_0),
        ("text/*", TEXT_0),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", TEXT_0),
        ("application/*", OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS),
        ("APPLICATION/OpenMetrics-Text; Version=1.0.0", OPENMETRICS),
        ('application/openmetrics-text; version="1.0.0"; charset=utf-8', OPENMETRICS),
        ("application/openmetrics-text;version=0.0.1", OPENMETRICS_0),
        ("application/openmetrics-text;version=2.0.0", TEXT_0),
        ("application/openmetrics-text;version=2.0.0,text/plain;version=1.0.0;q=0.1", TEXT_1),
        ("text/plain;version=1.0.0;escaping=allow-utf-8", TEXT_1),
        ("text/plain;version=1.0.0;escaping=values", TEXT_1),
        ("text/plain", TEXT_0),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.9", TEXT_0),
        ("text/plain;q=0.2,application/openmetrics-text;q=0.9", OPENMETRICS),
        ("text/plain,application/openmetrics-text", TEXT_0),
        ("application/openmetrics-text,text/plain", OPENMETRICS),
        ("application/openmetrics-text;q=0,*/*", TEXT_0),
        ("text/plain;q=0,*/*;q=0.5", OPENMETRICS),
        ("application/json", TEXT_0),
        ("*/*;q=0", TEXT_0),
        ("application/openmetrics-text;q=2", TEXT_0),
        ("application/openmetrics-text;q=high", TEXT_0),
        ("application/openmetrics-text;;", TEXT_0),
        ("application/openmetrics-text,\x00", TEXT_0),
        ("application/openmetrics-text," * 1000, TEXT_0),
    ],
)
def test_the_format_with_the_highest_q_is_chosen(accept: str, content_type: str) -> None:
    assert choose_format(accept).content_type == content_type


@pytest.mark.parametrize("accept", [PROMETHEUS_2, "application/openmetrics-text", "application/*"])
def test_openmetrics_can_be_switched_off(accept: str) -> None:
    assert choose_format(accept, openmetrics=False) is TEXT


def test_names_in_utf8_are_for_those_who_ask_and_where_there_are_any() -> None:
    assert choose_format(PROMETHEUS_3_PROTOBUF, utf8=True).content_type.endswith("escaping=allow-utf-8")
    assert choose_format(PROMETHEUS_2_PROTOBUF, utf8=True).content_type.endswith("escaping=underscores")


@given(st.text())
def test_no_header_is_too_strange(header: str) -> None:
    choose_format(header)
    accepts_gzip(header)


@pytest.mark.parametrize(
    ("header", "gzip"),
    [
        ("gzip", True),
        ("x-gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("*", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("br, zstd", False),
    ],
)
def test_gzip_is_used_only_where_it_is_accepted(header: str, gzip: bool) -> None:
    assert accepts_gzip(header) is gzip
