"""One trace as JSON."""

import pytest
from jsonschema import validate

from otel_pipeline.journeys.trace_document import TRACE_SCHEMA, span_document, trace_document
from tests.ui.fakes import LARGE_TRACE, TRACE, trace_bytes


def test_parents_come_before_their_children() -> None:
    """Each row stands one deeper than its parent; one whose parent is not there is a root, and is told."""
    trace = trace_document(TRACE, [trace_bytes(TRACE, 60)])
    validate(trace, TRACE_SCHEMA)
    depths: dict[str, int] = {}
    for row in trace["spans"]:
        expected = depths[row["parent"]] + 1 if row["parent"] in depths else 0
        assert row["depth"] == expected
        depths[row["span_id"]] = row["depth"]
    assert (trace["total"], len(trace["spans"]), trace["missing_parents"], trace["errors"]) == (60, 60, 1, 1)
    assert [row["span_id"] for row in trace["spans"] if row["missing_parent"]] == [f"{60:016x}"]


def test_failures_are_told_on_the_way_up() -> None:
    """A span that failed has a sign of its own, those above it another one."""
    rows = {row["span_id"]: row for row in trace_document(TRACE, [trace_bytes(TRACE, 60)])["spans"]}
    root, failed = rows[f"{1:016x}"], rows[f"{2:016x}"]
    assert (failed["failed"], failed["failed_below"]) == (True, 0)
    assert (root["failed"], root["failed_below"]) == (False, 1)


def test_a_span_that_comes_twice_counts_once() -> None:
    """Senders repeat what they are not sure of."""
    once = trace_document(TRACE, [trace_bytes(TRACE, 60)])
    assert trace_document(TRACE, [trace_bytes(TRACE, 60), trace_bytes(TRACE, 60)]) == once


def test_of_a_large_trace_the_spans_near_the_root_are_shown() -> None:
    """As many as the limit says, none without its parent, and the whole number is told."""
    trace = trace_document(LARGE_TRACE, [trace_bytes(LARGE_TRACE, 9000)], max_spans=1000)
    shown = {row["span_id"] for row in trace["spans"]}
    assert (trace["total"], len(shown)) == (9000, 1000)
    assert all(row["parent"] in shown for row in trace["spans"] if row["parent"] and not row["missing_parent"])


def test_spans_that_are_their_own_ancestors_are_shown_too() -> None:
    """A loop of parents has no root: it is entered at its earliest span, and ends."""
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

    data = TracesData.FromString(trace_bytes(TRACE, 3))
    spans = data.resource_spans[0].scope_spans[0].spans
    for span, parent in zip(spans, (2, 3, 1), strict=True):
        span.parent_span_id = parent.to_bytes(8, "big")
    assert len(trace_document(TRACE, [data.SerializeToString()])["spans"]) == 3


def test_what_is_not_kept_is_said() -> None:
    """Neither a trace nor a span is made up."""
    with pytest.raises(LookupError, match="no trace"):
        trace_document(TRACE, [])
    with pytest.raises(LookupError, match="no span"):
        span_document(TRACE, "00", [trace_bytes(TRACE, 2)])


def test_a_span_tells_everything_that_is_kept_of_it() -> None:
    """Attributes with their types, resource, events and links."""
    span = span_document(TRACE, f"{2:016x}", [trace_bytes(TRACE, 2)])
    assert span["attributes"]["gen_ai.request.model"] == "claude-sonnet-4-5"
    assert span["resource"] == {"service.name": "shop-agents"}
    assert [event["attributes"] for event in span["events"]] == [{"exception.type": "ShellError"}]
    assert [link["trace_id"] for link in span["links"]] == [LARGE_TRACE]
