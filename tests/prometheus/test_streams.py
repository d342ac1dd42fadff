"""How the points of many senders become one series: increments, order, restarts, ends."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from otel_pipeline.prometheus import Ingested, SeriesStore
from otel_pipeline.testing import attributes, make_counter, make_gauge, make_histogram, make_metrics

T = 1_767_225_600_000_000_000
SECOND = 1_000_000_000
HOUR = 3600 * SECOND


def make_store(**options: object) -> SeriesStore:
    given = {"epoch_ns": T, "metric_expiration_ns": HOUR, "drop_labels": ["session.id", "process.*"], **options}
    return SeriesStore(**given)  # type: ignore[arg-type]


def ingest(store: SeriesStore, *metrics: Metric, now: int = T + HOUR, pid: int = 1) -> Ingested:
    return store.ingest(make_metrics(*metrics, resource={"process.pid": pid}), now)


def samples(store: SeriesStore, now: int = T + HOUR, scraper: int | None = None) -> dict[str, float]:
    lines = store.render("text", scraper, now).decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def delta(value: float, start: float, end: float, session: object = "a", *, name: str = "c") -> Metric:
    """What a session counted between two moments, in seconds after T."""
    labels = {"session.id": session, "type": "input"}
    metric = make_counter(name, value, labels, start_ns=round(T + start * SECOND), time_ns=round(T + end * SECOND))
    metric.sum.aggregation_temporality = 1  # type: ignore[assignment]
    return metric


def total(value: float, start: float, end: float, session: object = "a") -> Metric:
    metric = delta(value, start, end, session)
    metric.sum.aggregation_temporality = 2  # type: ignore[assignment]
    return metric


C = 'c_total{type="input"}'


def test_deltas_of_all_sessions_are_added_up() -> None:
    store = make_store()
    first = ingest(store, delta(5, 0, 10, "a"), delta(7, 0, 10, "b"))
    assert (first.kept, first.dropped, first.notes) == (2, {}, {})
    ingest(store, delta(1, 10, 20, "a"), delta(2, 10, 20, "b"), delta(4, 10, 20, "c"))
    assert samples(store) == {C: 19}
    assert store.stats()["streams"] == 3


def test_a_series_of_deltas_is_0_first_whatever_its_sender_counted_before() -> None:
    store = make_store()
    ingest(store, delta(5, -100, 10))
    assert samples(store, scraper=0) == {C: 0}
    assert samples(store, scraper=0) == {C: 5}


@pytest.mark.parametrize(
    ("start", "end", "dropped", "notes", "shown"),
    [
        (10, 20, {}, {}, 8),
        (0, 10, {"old_point": 1}, {}, 5),
        (2, 8, {"old_point": 1}, {}, 5),
        (5, 20, {}, {"overlap": 1}, 8),
        (15, 20, {}, {"gap": 1}, 8),
    ],
)
def test_order_of_deltas(start: int, end: int, dropped: dict[str, int], notes: dict[str, int], shown: int) -> None:
    """After 0 to 10: what follows; what came before; an older one; one that overlaps; one after a gap."""
    store = make_store()
    ingest(store, delta(5, 0, 10))
    ingested = ingest(store, delta(3, start, end))
    assert (ingested.dropped, ingested.notes) == (dropped, notes)
    assert samples(store) == {C: shown}


def test_a_request_that_is_sent_again_is_counted_once() -> None:
    store = make_store()
    for _ in range(3):
        ingest(store, delta(5, 0, 10, "a"), delta(7, 0, 10, "b"))
    assert samples(store) == {C: 12}


def test_cumulative_sessions_are_added_up_and_a_restart_adds() -> None:
    store = make_store()
    ingest(store, total(5, 1, 10, "a"))
    ingest(store, total(7, 1, 10, "b"))
    assert samples(store) == {C: 12}
    restarted = ingest(store, total(2, 15, 20, "a"))
    assert restarted.notes == {"restart": 1}
    assert samples(store) == {C: 14}
    ingest(store, total(3, 15, 30, "a"), total(8, 1, 30, "b"))
    assert samples(store) == {C: 16}


def test_a_drop_without_start_time_is_a_restart() -> None:
    store = make_store()
    for session, value in (("a", 5), ("b", 0), ("a", 3)):
        metric = total(value, 0, 10 + value, session)
        metric.sum.data_points[0].start_time_unix_nano = 0
        metric.sum.data_points[0].time_unix_nano = 0
        ingest(store, metric)
    assert samples(store) == {C: 8}


def test_a_process_that_takes_the_place_of_another_adds_to_it() -> None:
    store = make_store()
    ingest(store, total(5, 1, 10), pid=1)
    ingest(store, total(2, 20, 30), pid=2)
    assert samples(store) == {C: 7}


def test_of_a_session_from_before_the_gateway_that_joins_others_only_the_gains_count() -> None:
    store = make_store()
    ingest(store, total(5, 1, 10, "a"), total(1000, -5, 10, "old"))
    ingest(store, total(1003, -5, 20, "old"))
    assert samples(store) == {C: 8}


def test_two_writers_of_one_stream_are_told_and_the_youngest_counts() -> None:
    store = make_store()
    ingest(store, total(5, 1, 10, "a"), total(1, 1, 10, "b"))
    ingest(store, total(2, 8, 11, "a"))
    older = ingest(store, total(6, 1, 12, "a"))
    assert older.dropped == {"old_start_time": 1}
    assert samples(store) == {C: 8}


def test_ended_sessions_leave_what_they_counted() -> None:
    store = make_store()
    ingest(store, delta(5, 0, 10, "a"), total(7, 1, 10, "b"), now=T)
    ingest(store, delta(1, 0, 10, "c"), now=T + HOUR)
    store.expire(T + HOUR + SECOND)
    assert store.stats()["streams"] == 1
    assert samples(store, T + HOUR + SECOND) == {C: 13}
    back = ingest(store, total(9, 1, 3700, "b"), now=T + 2 * HOUR)
    assert back.kept == 1
    assert samples(store, T + 2 * HOUR) == {C: 13}


def updown(value: float, end: float, session: str, temporality: int = 2) -> Metric:
    metric = delta(value, 0, end, session, name="active")
    metric.sum.is_monotonic = False
    metric.sum.aggregation_temporality = temporality  # type: ignore[assignment]
    return metric


def test_a_sum_that_is_not_monotonic_adds_up_the_last_values_of_living_streams() -> None:
    store = make_store()
    ingest(store, updown(3, 1, "a"), updown(4, 1, "b"), now=T)
    ingest(store, updown(1, 2, "a"), now=T + HOUR)
    assert samples(store, T + HOUR) == {'active{type="input"}': 5}
    assert samples(store, T + HOUR + 1) == {'active{type="input"}': 1}


def test_deltas_that_are_not_monotonic_are_added_up() -> None:
    store = make_store()
    ingest(store, updown(3, 1, "a", 1), updown(4, 1, "b", 1), updown(-2, 2, "a", 1))
    assert samples(store) == {'active{type="input"}': 5}


def test_a_gauge_of_several_senders_is_the_latest_value() -> None:
    store = make_store()
    for session, value, time in (("a", 1, 1), ("b", 2, 5), ("a", 3, 3)):
        assert ingest(store, make_gauge("g", value, {"session.id": session}, time_ns=T + time)).kept == 1
    assert samples(store) == {"g": 2}


def histogram(counts: Sequence[int], bounds: Sequence[float], session: str, end: int, *, delta: bool = True) -> Metric:
    metric = make_histogram(
        "h", counts, bounds, {"session.id": session}, sum=sum(counts), start_ns=T + 1, time_ns=T + end
    )
    metric.histogram.aggregation_temporality = 1 if delta else 2  # type: ignore[assignment]
    return metric


def test_histograms_are_added_up_bucket_by_bucket() -> None:
    store = make_store()
    for is_delta in (True, False):
        kind = "d" if is_delta else "c"
        ingest(store, histogram([1, 2], [1.0], kind + "a", 5, delta=is_delta))
        ingest(store, histogram([3, 4], [1.0], kind + "b", 5, delta=is_delta))
    ingest(store, histogram([5, 6], [1.0], "ca", 9, delta=False))
    assert samples(store) == {'h_bucket{le="1"}': 12, 'h_bucket{le="+Inf"}': 28, "h_sum": 28, "h_count": 28}


def test_a_histogram_with_other_bounds_keeps_count_and_sum_exact() -> None:
    store = make_store()
    ingest(store, histogram([1, 0, 0], [1.0, 5.0], "a", 5))
    merged = ingest(store, histogram([1, 1, 1], [0.5, 2.0], "b", 5))
    assert merged.notes == {"buckets_merged": 1}
    assert samples(store) == {
        'h_bucket{le="1"}': 2,
        'h_bucket{le="5"}': 3,
        'h_bucket{le="+Inf"}': 4,
        "h_sum": 4,
        "h_count": 4,
    }


def test_streams_are_bounded_and_deltas_are_counted_all_the_same() -> None:
    store = make_store(max_streams=2)
    ingested = ingest(store, *(delta(1, 0, 10, session) for session in range(5)))
    assert (ingested.kept, ingested.notes) == (5, {"stream_limit": 3})
    assert samples(store) == {C: 5}
    refused = ingest(store, total(1, 1, 10, "x"))
    assert refused.dropped == {"stream_limit": 1}


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), max_size=40), st.booleans(), st.integers(0, 2))
def test_the_total_is_what_all_sessions_counted(steps: list[tuple[int, int]], deltas: bool, max_series: int) -> None:
    """Sessions that grow, at any limit: series and overflow series add up to all that was counted."""
    store = make_store(max_series_per_metric=max_series)
    started: dict[int, int] = {}
    held: dict[int, int] = {}
    counted = 0
    for at, (session, gain) in enumerate(steps, start=1):
        started.setdefault(session, at)
        counted += gain
        held[session] = held.get(session, 0) + gain
        labels = {"session.id": session, "model": session % 3}
        metric = make_counter(
            "c",
            gain if deltas else held[session],
            labels,
            start_ns=T + started[session] * SECOND,
            time_ns=T + at * SECOND + 1,
        )
        metric.sum.aggregation_temporality = 1 if deltas else 2  # type: ignore[assignment]
        assert ingest(store, metric).kept == 1
    assert sum(samples(store).values()) == counted


def labelled(store: SeriesStore, resource: Mapping[str, object], labels: Mapping[str, object]) -> list[str]:
    store.ingest(make_metrics(make_gauge("g", 1, labels, time_ns=T), resource=resource), T)
    return [line for line in store.render("text", None, T).decode().splitlines() if line.startswith("g")]


def test_given_labels_come_from_the_point_else_from_the_resource() -> None:
    given = [("sdlc.project.id", "project_id"), ("sdlc.stage.name", "stage")]
    resource = {"sdlc.project.id": "shop", "sdlc.stage.name": "coding", "host.name": "h"}
    points = {"sdlc.stage.name": "review", "stage": "review", "project_id": "other", "session.id": "s"}
    assert labelled(make_store(given_labels=given), resource, points) == [
        'g{exported_project_id="other",project_id="shop",stage="review"} 1'
    ]


def test_all_attributes_of_the_resource_become_labels_when_asked_for() -> None:
    resource = {"service.name": "s", "host.name": "h", "process.pid": 7}
    everything = labelled(make_store(resource_labels=True), resource, {"a": 1})
    assert everything == ['g{a="1",host_name="h",job="s",service_name="s"} 1']
    no_service = labelled(make_store(resource_labels=True, exclude_service_attributes=True), resource, {"a": 1})
    assert no_service == ['g{a="1",host_name="h",job="s"} 1']


def test_the_order_of_attributes_says_nothing() -> None:
    store = make_store()
    for time, order in ((10, "ab"), (20, "ba")):
        metric = total(time, 1, time)
        del metric.sum.data_points[0].attributes[:]
        metric.sum.data_points[0].attributes.extend(attributes(dict.fromkeys(order, 1)))
        ingest(store, metric)
    assert samples(store) == {'c_total{a="1",b="1"}': 20}
    assert store.stats()["streams"] == 1
