"""One trace as JSON."""

import pytest
from jsonschema import validate

from otel_pipeline.journeys.trace_document import TRACE_SCHEMA, span_document, trace_document
from otel_pipeline.ui.trace_view import trace_view
from otel_pipeline.ui.words import Words
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


def test_many_alike_siblings_are_one_row_that_opens() -> None:
    """Forty reads, three of them failed, below one parent: a row that says so, with the forty hidden below it."""
    reads = [{**row(f"{number:016x}", "root", 1), "name": "read", "failed": number < 13} for number in range(10, 50)]
    trace = {
        "start_ms": 0.0,
        "end_ms": 100.0,
        "spans": [{**row("root", "", 0), "children": 40}, *reads, row("x", "root", 1)],
    }
    rows = trace_view(trace, Words("en")).rows
    assert [(one.name, one.is_hidden) for one in rows[:3]] == [("step", False), ("40 × read", False), ("read", True)]
    many = rows[1]
    assert (many.failed_below, many.is_open, many.parent) == (3, False, "root")
    assert {one.parent for one in rows[2:42]} == {many.key}
    assert {one.depth for one in rows[2:42]} == {many.depth + 1}
    assert (rows[42].name, rows[42].is_hidden, rows[42].parent) == ("step", False, "root")


def row(span_id: str, parent: str, depth: int) -> dict[str, object]:
    return {
        "span_id": span_id, "parent": parent, "depth": depth, "children": 0, "name": "step", "service": "a", "model": "",
        "failed": False, "failed_below": 0, "start_ms": 10.0, "end_ms": 20.0, "seconds": 0.01,
    }  # fmt: skip
