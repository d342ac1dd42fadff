"""What a store gives that is collected as increments: all that it counts, once."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar, Metric

from otel_pipeline.pdata import Batch, to_proto
from otel_pipeline.prometheus import SeriesStore
from otel_pipeline.testing import make_counter, make_gauge, make_histogram, make_metrics

T = 1_767_225_600_000_000_000
SECOND = 1_000_000_000
DELTA, CUMULATIVE = 1, 2
BOUNDS = [1.0, 2.0]
Totals = dict[str, tuple[float, ...]]
"""By metric and session: value, or count, sum and buckets."""


def make_store(epoch: int = T, **options: object) -> SeriesStore:
    given = {"metric_expiration_ns": 3600 * SECOND, "kept": True, "collected": "delta", "without_scope_info": True}
    return SeriesStore(epoch_ns=epoch, **(given | options))  # type: ignore[arg-type]


def collect(store: SeriesStore, now: int, **options: Any) -> list[Metric]:
    given = {"repeat_ns": 60 * SECOND, "zero_ns": SECOND, "max_samples": 100_000, "targets": False, **options}
    metrics = []
    for batch in store.collect(now, **given):
        [resource] = to_proto(batch).resource_metrics
        metrics += resource.scope_metrics[0].metrics
    return metrics


def counter(value: float, at: float, start: float = 0, temporality: int = DELTA, **labels: Any) -> Metric:
    metric = make_counter("c", value, labels, start_ns=round(T + start * SECOND), time_ns=round(T + at * SECOND))
    metric.sum.aggregation_temporality = temporality  # type: ignore[assignment]
    return metric


def histogram(counts: Sequence[int], at: float, start: float = 0, **more: Any) -> Metric:
    start_ns, time_ns = round(T + start * SECOND), round(T + at * SECOND)
    metric = make_histogram("h", counts, BOUNDS, start_ns=start_ns, time_ns=time_ns, **more)
    metric.histogram.aggregation_temporality = DELTA  # type: ignore[assignment]
    return metric


def exponential(count: int, at: float, start: float = 0, *, scale: int = 0) -> Metric:
    metric = Metric(name="e")
    metric.exponential_histogram.aggregation_temporality = DELTA  # type: ignore[assignment]
    point = metric.exponential_histogram.data_points.add(
        start_time_unix_nano=round(T + start * SECOND), time_unix_nano=round(T + at * SECOND),
        count=count, sum=count, scale=scale,
    )  # fmt: skip
    point.positive.bucket_counts.extend([count])
    return metric


def points(metric: Metric) -> Sequence[Any]:
    """The data points of a metric, whatever its kind."""
    found: Sequence[Any] = getattr(metric, str(metric.WhichOneof("data"))).data_points
    return found


def amounts(metric: Metric) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Of each data point its series, and what it counts."""
    for point in points(metric):
        labels = ",".join(sorted(f"{one.key}={one.value.string_value}" for one in point.attributes))
        name = f"{metric.name}{{{labels}}}"
        match metric.WhichOneof("data"):
            case "sum":
                yield name, (point.as_double,)
            case "histogram":
                yield name, (point.count, point.sum, *point.bucket_counts)
            case "exponential_histogram":
                yield name, (point.count, point.sum, sum(point.positive.bucket_counts))


def add_to(totals: dict[str, tuple[float, ...]], metrics: Sequence[Metric]) -> None:
    for metric in metrics:
        for name, counted in amounts(metric):
            before = totals.get(name, (0.0,) * len(counted))
            totals[name] = tuple(a + b for a, b in zip(before, counted, strict=True))


def test_increments_reach_from_one_collect_to_the_next() -> None:
    """The first from when the store was made. Nothing is given where nothing was gained, and nothing is repeated."""
    store = make_store()

    def taken(now: int) -> list[tuple[int, int, float]]:
        given = [one for metric in collect(store, T + now * SECOND) for one in metric.sum.data_points]
        relative = [(one.start_time_unix_nano - T, one.time_unix_nano - T, one.as_double) for one in given]
        return [(start // SECOND, end // SECOND, value) for start, end, value in relative]

    store.ingest(make_metrics(counter(5, 1)), T + 2 * SECOND)
    [metric] = collect(make_copy(store), T + 10 * SECOND)
    assert (metric.name, metric.sum.aggregation_temporality, metric.sum.is_monotonic) == ("c_total", DELTA, True)
    assert taken(10) == [(0, 10, 5)]
    assert taken(20) == taken(300) == []
    store.ingest(make_metrics(counter(1, 301, 1), counter(2, 302, 301)), T + 303 * SECOND)
    assert taken(310) == [(300, 310, 3)]


def make_copy(store: SeriesStore) -> SeriesStore:
    """A store with the same series, of which nothing was collected."""
    copy = make_store()
    assert copy.restore(store.take_changes(T, everything=True), T).problem is None
    return copy


def test_what_is_no_count_is_given_as_it_is() -> None:
    """Gauges and sums that can fall, with their repetition and their end; an increment has no end."""
    store = make_store(metric_expiration_ns=100 * SECOND)
    falling = make_counter("open", 4, start_ns=T, time_ns=T + SECOND)
    falling.sum.is_monotonic = False
    store.ingest(make_metrics(make_gauge("g", 7, time_ns=T), falling, counter(5, 1)), T + SECOND)
    assert [metric.name for metric in collect(store, T + 2 * SECOND)] == ["c_total", "g", "open"]
    again = collect(store, T + 70 * SECOND)
    assert [(metric.name, metric.gauge.data_points[0].as_double) for metric in again] == [("g", 7), ("open", 4)]
    assert collect(store, T + 102 * SECOND) == []
    ended = collect(store, T + 103 * SECOND)
    assert [(metric.name, metric.gauge.data_points[0].flags) for metric in ended] == [("g", 1), ("open", 1)]


def test_what_came_before_a_series_expired_is_given() -> None:
    """Also where nobody could be asked to take it for longer than series are kept."""
    store = make_store(metric_expiration_ns=10 * SECOND)
    store.ingest(make_metrics(counter(5, 1)), T + SECOND)
    [metric] = collect(store, T + 60 * SECOND)
    assert metric.sum.data_points[0].as_double == 5
    assert store.stats()["series"] == 0


def test_what_a_sender_counted_before_the_store_began_is_no_increment() -> None:
    """A cumulative counter that began earlier, or nobody knows when: a gateway before this one may have given it."""
    store = make_store()
    for at, value in ((1, 100), (2, 103)):
        old = counter(value, at, -60, temporality=CUMULATIVE, who="old")
        unknown = counter(value, at, temporality=CUMULATIVE, who="unknown")
        unknown.sum.data_points[0].start_time_unix_nano = 0
        store.ingest(make_metrics(old, unknown), T + at * SECOND)
        given = [point.as_double for metric in collect(store, T + at * SECOND) for point in points(metric)]
        assert given == ([] if at == 1 else [3, 3])


def test_exemplars_are_given_once() -> None:
    store = make_store()
    exemplar = Exemplar(time_unix_nano=T + SECOND, as_double=1.5, trace_id=bytes(16 * [7]), span_id=bytes(8 * [7]))
    for at, exemplars in ((1, [exemplar]), (2, [])):
        metric = histogram([1, 0, 0], at, sum=1, exemplars=exemplars)
        store.ingest(make_metrics(metric), T + at * SECOND)
        [point] = points(collect(store, T + at * SECOND)[0])
        assert len(point.exemplars) == len(exemplars)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """Points of senders, collects, and restarts of the gateway, which come directly after a collect."""
    session = st.sampled_from("ab")
    amount = st.integers(1, 9)
    step = st.one_of(
        st.tuples(st.just("delta"), st.tuples(session, amount)),
        st.tuples(st.just("cumulative"), st.tuples(session, amount)),
        st.tuples(st.just("begin anew"), st.tuples(session, amount)),
        st.tuples(st.just("histogram"), st.tuples(session, amount)),
        st.tuples(st.just("exponential"), st.tuples(st.integers(-2, 3), amount)),
        st.tuples(st.just("collect"), st.none()),
        st.tuples(st.just("restart"), st.none()),
    )
    return draw(st.lists(step, max_size=30))


class Senders:
    """What each says next: to one series with deltas, and to one with counts from its start."""

    def __init__(self) -> None:
        self.counts: defaultdict[str, float] = defaultdict(float)
        self.starts: defaultdict[str, float] = defaultdict(float)
        self.truth: Totals = {}

    def say(self, kind: str, who: str | int, amount: int, at: float) -> Batch:
        """A batch of one point, whose amount is part of the truth."""
        match kind:
            case "delta":
                metric = counter(
                    amount, at, self.starts[f"delta {who}"], DELTA, kind="delta", **{"session.id": str(who)}
                )
                self.starts[f"delta {who}"] = at
                self.count("c_total{kind=delta}", amount)
            case "histogram":
                start, self.starts[f"histogram {who}"] = self.starts[f"histogram {who}"], at
                metric = histogram([amount, 0, 1], at, start, labels={"session.id": str(who)}, sum=2)
                self.count("h{}", amount + 1, 2, amount, 0, 1)
            case "exponential":
                metric = exponential(amount, at, self.starts["exponential"], scale=int(who))
                self.starts["exponential"] = at
                self.count("e{}", amount, amount, amount)
            case _:
                if kind == "begin anew":
                    self.counts[str(who)], self.starts[str(who)] = 0, at - 0.5
                self.counts[str(who)] += amount
                labels = {"session.id": str(who), "kind": "total"}
                metric = counter(self.counts[str(who)], at, self.starts[str(who)], temporality=CUMULATIVE, **labels)
                self.count("c_total{kind=total}", amount)
        return make_metrics(metric)

    def count(self, name: str, *amounts: float) -> None:
        before = self.truth.get(name, (0.0,) * len(amounts))
        self.truth[name] = tuple(a + b for a, b in zip(before, amounts, strict=True))


@pytest.mark.parametrize("zero_first", [True, False])
@given(history=histories())
def test_the_sum_of_all_increments_is_what_senders_counted(zero_first: bool, history: list[tuple[str, Any]]) -> None:
    """And what the page of the same store shows: whatever the order of points, collects, and restarts of senders and of
    the gateway. No increment is below 0, and intervals never overlap."""
    options: dict[str, Any] = {"drop_labels": ["session.id"], "zero_first": zero_first}
    store, senders = make_store(**options), Senders()
    given: Totals = {}
    end = T

    def take(now: int) -> None:
        nonlocal end
        metrics = collect(store, now)
        for point in (point for metric in metrics for point in points(metric)):
            assert end <= point.start_time_unix_nano < point.time_unix_nano <= now
        for metric in metrics:
            assert all(amount >= 0 for _, counted in amounts(metric) for amount in counted)
        end = max([end, *(point.time_unix_nano for metric in metrics for point in points(metric))])
        add_to(given, metrics)

    file = store.take_changes(T, everything=True)
    for at, (kind, what) in enumerate([*history, ("collect", None)], 1):
        now = T + at * SECOND
        if kind in ("collect", "restart"):
            take(now)
            file += store.take_changes(now)
            if kind == "restart":
                store = make_store(now, **options)
                assert store.restore(file, now).problem is None
                file = store.take_changes(now, everything=True)
        else:
            who, amount = what
            assert not store.ingest(senders.say(kind, who, amount, at), now).dropped
    assert given == senders.truth
    shown = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in page(store, T + 100 * SECOND)}
    for name, (first, *_) in given.items():
        key = name.replace("{}", "_count").replace("=", '="').replace("}", '"}')
        assert shown[key] == first


def page(store: SeriesStore, now: int) -> list[str]:
    return [line for line in store.render("text", None, now).decode().splitlines() if line[0] != "#"]
