"""Derivations from log records: what they are called, when they are counted, and whose labels they take."""

from typing import Any

import pytest

from otel_pipeline.testing import make_span
from tests.connectors.aggregation import Aggregation, derivation, label, make_record, metric

STAGE = label("sdlc.stage.name")


def edits(**more: Any) -> dict[str, Any]:
    """A metric of the event `edit`."""
    chosen = derivation("events", selector={"name": {"literal": "edit"}})
    return metric("edits", chosen, **{"labels": [STAGE], **more})


@pytest.mark.parametrize(
    "record",
    [
        make_record("edit"),
        make_record("field loses", event__name="edit"),
        make_record(body="edit"),
        make_record("edit", body="something else"),
    ],
)
def test_the_name_of_an_event(record: Any) -> None:
    """The attribute `event.name`, else the field, else a short body."""
    aggregation = Aggregation(edits())
    aggregation.logs(record, make_record("other"), make_record(body="edit" * 40), make_record(body={"edit": 1}))
    assert aggregation.values("edits") == {frozenset({("sdlc.stage.name", "-")}): 1}


def test_an_event_without_ids_counts_at_once() -> None:
    """With the labels of record, scope or resource; nothing waits."""
    aggregation = Aggregation(edits())
    aggregation.logs(make_record("edit"), make_record("edit", sdlc__stage__name="test"), sdlc__stage__name="coding")
    assert aggregation.native.waiting_events == 0
    assert aggregation.values("edits", seconds=0) == {
        frozenset({("sdlc.stage.name", "coding")}): 1,
        frozenset({("sdlc.stage.name", "test")}): 1,
    }


def test_an_event_takes_labels_like_a_child_of_its_span() -> None:
    """It waits for the span and its ancestors, and carries their labels; it is nobody's stage run and no error."""
    runs = metric("runs", derivation("stage_runs"), labels=[STAGE])
    errors = metric("errors", derivation("errors"))
    aggregation = Aggregation(edits(), runs, errors)
    aggregation.logs(make_record("edit", trace=1, span=2, sdlc__outcome="failure", sdlc__stage__run=True))
    aggregation.spans(make_span(span=2, parent=1), make_span(span=1, sdlc__stage__name="coding", error="x"))
    values = {}
    aggregation.flush()
    for name, found in aggregation.metrics.items():
        (point,) = found.sum.data_points
        values[name] = point.as_int, [one.value.string_value for one in point.attributes]
    assert values == {"edits": (1, ["coding"]), "runs": (1, ["coding"]), "errors": (1, [])}


def test_an_event_gives_no_vote_for_a_model() -> None:
    """The model of a run is that of its spans."""
    runs = metric("runs", derivation("stage_runs"), labels=[label("sdlc.model.name")])
    aggregation = Aggregation(edits(), runs)
    aggregation.logs(*(make_record("edit", trace=1, span=1, number=n, sdlc__model__name="small") for n in range(5)))
    aggregation.spans(make_span(sdlc__stage__name="coding"), make_span(span=2, parent=1, sdlc__model__name="large"))
    assert aggregation.value("runs", sdlc__model__name="large") == 1


def test_an_event_waits_as_long_as_its_span_may_come() -> None:
    """Where spans of the trace come here and the record's span is sampled, the span comes when it ends."""
    aggregation = Aggregation(edits())
    aggregation.spans(make_span(span=3, parent=2, remote_parent=False, sdlc__stage__name="test"))
    aggregation.logs(make_record("edit", trace=1, span=2))
    assert aggregation.values("edits", seconds=600) == {}
    aggregation.spans(make_span(span=2, sdlc__stage__name="coding"))
    assert aggregation.value("edits", sdlc__stage__name="coding") == 1


@pytest.mark.parametrize("sampled", [True, False])
def test_an_event_of_a_trace_that_goes_elsewhere(sampled: bool) -> None:
    """Without any span of its trace, or where its span is not sampled, it waits for `decision_wait` only."""
    aggregation = Aggregation(edits())
    aggregation.logs(make_record("edit", trace=1, span=2, sampled=sampled))
    assert aggregation.values("edits", seconds=29) == {}
    assert aggregation.value("edits", 1, sdlc__stage__name="-") == 1


def test_repeated_records_count_once() -> None:
    """A record with the same content below the same span is the same; it is told."""
    aggregation = Aggregation(edits())
    record = make_record("edit", trace=1, span=2)
    aggregation.logs(record, record, make_record("edit", trace=1, span=2, sequence=2))
    aggregation.values("edits")
    aggregation.logs(record)
    assert aggregation.native.stats()["repeated_events"] == 2
    assert aggregation.values("edits") == {}


def test_events_have_values_and_exemplars() -> None:
    """A number of the record, times a scale; the exemplar names the span it happened in."""
    values = derivation("events", "duration_ms", scale=0.001)
    plan = metric("waits", values, instrument="histogram", unit="s", buckets=[1], max_exemplars=1)
    aggregation = Aggregation(plan)
    aggregation.logs(make_record("any", trace=1, span=7, duration_ms="2500"), make_record("no number", trace=1, span=7))
    aggregation.flush()
    (point,) = aggregation.metrics["waits"].histogram.data_points
    (exemplar,) = point.exemplars
    assert (point.count, point.sum, int.from_bytes(exemplar.span_id, "big")) == (1, 2.5, 7)


def test_records_that_nothing_asks_for_are_not_kept() -> None:
    """They take no room among the spans."""
    aggregation = Aggregation(edits())
    aggregation.logs(*(make_record("chatter", trace=1, span=number) for number in range(1, 100)))
    assert aggregation.native.stats()["buffered"] == 0


def test_memory_is_bounded_by_counting_events_early() -> None:
    """Over `max_spans` the oldest are counted without waiting; none is lost."""
    aggregation = Aggregation(edits())
    for trace in range(1, 3001):
        aggregation.logs(make_record("edit", trace=trace, span=1))
    assert aggregation.native.stats()["buffered"] <= 1000
    assert aggregation.native.waiting_events <= 1000
    assert aggregation.values("edits") == {frozenset({("sdlc.stage.name", "-")}): 3000}
    assert aggregation.native.waiting_events == 0
