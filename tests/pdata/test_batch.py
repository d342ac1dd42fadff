"""Batches as wholes: columns, rows, merging and splitting."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_pipeline.pdata import Batch, from_proto, merge, split, to_proto
from otel_pipeline.testing import attributes, make_span, make_traces

Json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def make_metrics(points: int) -> Batch:
    """One metric of each kind, each with so many data points, numbered in the attribute n."""
    request = ExportMetricsServiceRequest()
    scope = request.resource_metrics.add().scope_metrics.add()
    for kind in ("gauge", "sum", "histogram", "exponential_histogram", "summary"):
        metric = scope.metrics.add(name=kind)
        for number in range(points):
            getattr(metric, kind).data_points.add(attributes=attributes({"n": number}))
    return from_proto(request)


@given(st.lists(Json, min_size=1, max_size=5))
def test_a_column_that_was_set_reads_back(values: list[Any]) -> None:
    """with_column writes exactly the values that column reads, of every type and nesting."""
    batch = make_traces(*[make_span(span=n + 1, other=n) for n in range(len(values))])
    edited = batch.with_column("key", values)
    assert edited.column("key") == values
    assert edited.column("other") == batch.column("other")


def test_none_takes_an_attribute_away_and_the_rest_stays() -> None:
    """Setting a column to what it was before restores the same message."""
    batch = make_traces(make_span(span=1, a=1, b=2), make_span(span=2, b=3))
    edited = batch.with_column("a", ["x", "y"]).with_column("a", [1, None])
    assert sorted(edited.column("a", level="item"), key=str) == [1, None]
    assert edited.column("b") == [2, 3]
    assert edited.items == 2


def test_an_unchanged_column_keeps_the_bytes() -> None:
    """Writing the values that stand there returns the very same bytes object."""
    batch = make_traces(make_span(a="x"))
    assert batch.with_column("a", ["x"]).data is batch.data


def test_columns_look_at_the_nearest_level_first() -> None:
    """An attribute is found on the item, then the scope, then the resource."""
    batch = make_traces(
        make_span(span=1, k="item"), make_span(span=2), resource={"k": "res", "r": 1}, scope_attributes={"k": "scope"}
    )
    assert batch.column("k") == ["item", "scope"]
    assert batch.column("k", level="resource") == ["res", "res"]
    assert batch.column("r") == [1, 1]
    assert batch.column("r", level="item") == [None, None]


def test_data_points_are_the_rows_of_metrics_of_every_kind() -> None:
    """Columns, edits and where work on the data points of all five kinds of metrics."""
    batch = make_metrics(3)
    assert batch.items == 15
    assert batch.column("n") == [0, 1, 2] * 5
    assert batch.field("name")[::3] == ["gauge", "sum", "histogram", "exponential_histogram", "summary"]
    assert batch.with_column("n", list(range(15))).column("n") == list(range(15))
    kept = batch.where([n < 4 for n in range(15)])
    assert kept.items == 4
    assert [metric.name for metric in to_proto(kept).resource_metrics[0].scope_metrics[0].metrics] == ["gauge", "sum"]


def test_where_drops_emptied_scopes_and_keeps_the_order() -> None:
    """Rows stay in order, and nothing empty is left behind."""
    batch = merge([make_traces(make_span("a"), make_span("b")), make_traces(make_span("c"))])
    kept = batch.where([False, True, False])
    assert kept.field("name") == ["b"]
    assert len(to_proto(kept).resource_spans) == 1
    assert batch.where([False] * 3).data == b""


@pytest.mark.parametrize("call", [lambda b: b.where([True]), lambda b: b.with_column("k", [1])])
def test_a_column_of_the_wrong_length_is_an_error(call: Any) -> None:
    """The message says how many items there are."""
    with pytest.raises(ValueError, match="the batch has 2 items, but 1 values"):
        call(make_traces(make_span(), make_span()))


def test_what_no_attribute_can_hold_is_an_error() -> None:
    """The message names the type and what is possible."""
    with pytest.raises(TypeError, match="not set"):
        make_traces(make_span()).with_column("k", [{1, 2}])


def test_unknown_fields_survive_an_edit() -> None:
    """Bytes of newer protocol versions, at every level, are still there after a column was written."""
    unknown = b"\xfa\x07\x03new"  # field 127
    batch = make_traces(make_span(a=1))
    message = ExportTraceServiceRequest.FromString(batch.data)
    span = message.resource_spans[0].scope_spans[0].spans[0]
    span.MergeFromString(unknown)
    message.resource_spans[0].MergeFromString(unknown)
    message.MergeFromString(unknown)
    edited = from_proto(message).with_column("a", [2])
    assert edited.data.count(unknown) == 3


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(1, 7), st.booleans())
def test_split_keeps_every_item_in_order(sizes: list[int], limit: int, metrics: bool) -> None:
    """The parts hold at most the limit (a metric is never cut), and merged again give the same items."""
    if metrics:
        batch = merge([make_metrics(size) for size in sizes])
    else:
        batch = merge([make_traces(*[make_span(f"{n}.{i}") for i in range(size)]) for n, size in enumerate(sizes)])
    parts = split(batch, limit, 0)
    assert sum(part.items for part in parts) == batch.items
    assert merge(parts).field("name") == batch.field("name")
    if not metrics:
        assert all(part.items <= limit for part in parts)


def test_split_by_bytes_cuts_at_items() -> None:
    """Parts stay near the limit, and an item larger than it stands alone."""
    batch = make_traces(*[make_span(span=n + 1, pad="x" * (5000 if n == 3 else 100)) for n in range(10)])
    parts = split(batch, 0, 600)
    assert sum(part.items for part in parts) == 10
    assert max(part.size_bytes for part in parts if part.items > 1) <= 600
    assert [part.items for part in parts if part.size_bytes > 5000] == [1]


def test_a_batch_that_fits_is_not_copied() -> None:
    """split of a small batch returns that batch."""
    batch = make_traces(make_span())
    assert split(batch, 10, 10_000)[0] is batch
