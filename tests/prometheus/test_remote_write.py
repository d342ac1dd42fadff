"""What a store gives to those who are sent its series, and the messages of remote write that are made of it."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar, Metric
from prometheus_client.parser import text_string_to_metric_families

from otel_pipeline.pdata import Batch, to_proto
from otel_pipeline.prometheus import SeriesStore, write_request
from otel_pipeline.testing import attributes, make_counter, make_gauge, make_histogram, make_metrics
from tests.oracle.remote_write import Written, is_stale, read

T = 1_767_225_600_000_000_000
T_MS = T // 1_000_000
SECOND = 1_000_000_000
VERSIONS = pytest.mark.parametrize("version", [1, 2])


def make_store(**options: object) -> SeriesStore:
    given = {"epoch_ns": T - SECOND, "metric_expiration_ns": 3600 * SECOND, "without_scope_info": True, **options}
    return SeriesStore(**given)  # type: ignore[arg-type]


def collect(store: SeriesStore, now: int, **options: Any) -> list[Batch]:
    given = {"repeat_ns": 60 * SECOND, "zero_ns": 15 * SECOND, "max_samples": 100_000, "targets": False, **options}
    return store.collect(now, **given)


def written(batches: Sequence[Batch], version: int = 2, **options: Any) -> list[Written]:
    given = {"native_histograms": True, "metadata": True, "max_bytes": 10_000_000, **options}
    series = []
    for batch in batches:
        request = write_request(batch, version, **given)
        assert request is not None
        found = read(request.body, version)
        assert request.samples == sum(len(one.samples) for one in found)
        assert request.histograms == sum(len(one.histograms) for one in found)
        assert request.exemplars == sum(len(one.exemplars) for one in found)
        series += found
    return series


def values(series: Sequence[Written]) -> list[tuple[str, list[tuple[int, float]]]]:
    """Names and samples, times in milliseconds after T."""
    return [(one.name, [(time - T_MS, value) for time, value in one.samples]) for one in series]


def counter(value: float, at: float, labels: dict[str, Any] | None = None, **more: Any) -> Metric:
    return make_counter("c", value, labels, start_ns=T, time_ns=T + round(at * SECOND), **more)


def exponential(
    count: int, positive: Sequence[int], negative: Sequence[int] = (), *, zero: int = 0, at: float = 1.0
) -> Metric:
    metric = Metric(name="e")
    metric.exponential_histogram.aggregation_temporality = 2  # type: ignore[assignment]
    point = metric.exponential_histogram.data_points.add(
        start_time_unix_nano=T, time_unix_nano=T + round(at * SECOND), count=count, sum=10.5, scale=1, zero_count=zero
    )
    point.positive.offset, point.negative.offset = -3, 2
    point.positive.bucket_counts.extend(positive)
    point.negative.bucket_counts.extend(negative)
    return metric


def test_only_what_changed_is_given_until_it_is_time_to_repeat() -> None:
    """A value is given with its own time, once; without a change, again after the repeat time, with the time of then."""
    store = make_store(zero_first=False)
    store.ingest(make_metrics(make_gauge("g", 1, time_ns=T), make_gauge("h", 2, time_ns=T)), T + SECOND)
    assert values(written(collect(store, T + 2 * SECOND))) == [("g", [(0, 1)]), ("h", [(0, 2)])]
    assert collect(store, T + 3 * SECOND) == []
    store.ingest(make_metrics(make_gauge("g", 3, time_ns=T + 4 * SECOND)), T + 5 * SECOND)
    assert values(written(collect(store, T + 6 * SECOND))) == [("g", [(4000, 3)])]
    assert values(written(collect(store, T + 60 * SECOND))) == [("h", [(60_000, 2)])]
    assert values(written(collect(store, T + 64 * SECOND))) == [("g", [(64_000, 3)])]


def test_times_of_a_series_rise() -> None:
    """Two senders with other clocks write one series: each sample is after the last, whatever its value's time."""
    store = make_store(drop_labels=["session.id"])

    def take(session: str, value: float, at: float, now: int) -> list[tuple[str, list[tuple[int, float]]]]:
        store.ingest(make_metrics(counter(value, at, {"session.id": session})), T + now * SECOND)
        return values(written(collect(store, T + now * SECOND)))

    assert take("a", 1, 10, 12) == [("c_total", [(0, 0)]), ("c_total", [(10_000, 1)])]
    assert take("b", 2, 9, 13) == [("c_total", [(10_001, 3)])]
    assert take("a", 5, 11, 14) == [("c_total", [(11_000, 7)])]
    assert take("c", 6, 11, 15) == [("c_total", [(11_001, 13)])]


def test_a_time_far_behind_is_told_as_five_minutes_ago() -> None:
    """What a receiver would refuse for its age, and the whole request with it, is brought near."""
    store = make_store(zero_first=False)
    store.ingest(make_metrics(make_gauge("g", 1, time_ns=T)), T + 3000 * SECOND)
    assert values(written(collect(store, T + 3000 * SECOND))) == [("g", [(2_700_000, 1)])]


@VERSIONS
@pytest.mark.parametrize(("start", "zero"), [(0, 85_000), (95, 95_000), (100, 99_999)])
def test_a_new_counter_is_0_first(version: int, start: int, zero: int) -> None:
    """0 stands at its start, at most `zero_ns` before the first value, and before it in any case."""
    store = make_store()
    metric = make_counter("c", 5, start_ns=T + start * SECOND, time_ns=T + 100 * SECOND)
    store.ingest(make_metrics(metric), T + 100 * SECOND)
    series = written(collect(store, T + 100 * SECOND), version)
    assert values(series) == [("c_total", [(zero, 0)]), ("c_total", [(100_000, 5)])]
    if version == 2:
        assert [one.starts for one in series] == [[T_MS + start * 1000]] * 2


@VERSIONS
def test_a_histogram_is_its_classic_series(version: int) -> None:
    """Buckets add up, bounds are written as OpenMetrics does, an exemplar stands at its bucket, once."""
    store = make_store(zero_first=False)
    exemplar = Exemplar(
        time_unix_nano=T + SECOND, as_double=1.5, trace_id=bytes(range(16)), span_id=bytes(range(8)),
        filtered_attributes=attributes({"a": "x"}),
    )  # fmt: skip
    metric = make_histogram(
        "h", [1, 2, 4], [1, 2.5], {"z": "1", "a": "2"}, sum=9, start_ns=T, time_ns=T + SECOND, unit="s", help="Help.",
        exemplars=[exemplar],
    )  # fmt: skip
    store.ingest(make_metrics(metric), T + SECOND)
    series = written(collect(store, T + SECOND), version)
    buckets = [(one.labels["le"], one.samples[0][1]) for one in series if one.name == "h_seconds_bucket"]
    assert buckets == [("1.0", 1), ("2.5", 3), ("+Inf", 7)]
    assert values(series)[3:] == [("h_seconds_sum", [(1000, 9)]), ("h_seconds_count", [(1000, 7)])]
    assert {(one.labels["a"], one.labels["z"]) for one in series} == {("2", "1")}
    assert {one.meta for one in series} == {(3, "Help.", "seconds")}
    labels = {"a": "x", "span_id": bytes(range(8)).hex(), "trace_id": bytes(range(16)).hex()}
    assert [one.exemplars for one in series] == [[], [(labels, 1.5, T_MS + 1000)], [], [], []]
    again = written(collect(store, T + 100 * SECOND), version)
    assert [one.exemplars for one in again] == [[]] * 5


@VERSIONS
def test_an_exponential_histogram_is_a_native_one(version: int) -> None:
    """Buckets are counted by their upper bounds, and written as differences."""
    store = make_store(zero_first=False)
    store.ingest(make_metrics(exponential(16, [3, 0, 5], [2, 4], zero=2)), T + SECOND)
    [series] = written(collect(store, T + SECOND), version)
    [native] = series.histograms
    assert series.labels == {"__name__": "e"}
    assert (native.count_int, native.sum, native.schema, native.zero_count_int) == (16, 10.5, 1, 2)
    assert [(span.offset, span.length) for span in native.positive_spans] == [(-2, 3)]
    assert list(native.positive_deltas) == [3, -3, 5]
    assert [(span.offset, span.length) for span in native.negative_spans] == [(3, 2)]
    assert list(native.negative_deltas) == [2, 2]
    assert (native.timestamp, native.start_timestamp) == (T_MS + 1000, T_MS if version == 2 else 0)


@VERSIONS
def test_series_that_expire_end_with_a_marker(version: int) -> None:
    """Every series of what expired ends, once; one that comes back is given again."""
    store = make_store(zero_first=False, metric_expiration_ns=10 * SECOND)
    metrics = make_gauge("g", 1, time_ns=T), make_histogram("h", [1, 2], [1], sum=2, start_ns=T, time_ns=T)
    store.ingest(make_metrics(*metrics, exponential(3, [3])), T)
    collect(store, T)
    ended = written(collect(store, T + 11 * SECOND), version)
    assert sorted(one.name for one in ended) == ["e", "g", "h_bucket", "h_bucket", "h_count", "h_sum"]
    assert all(is_stale(value) for one in ended for _, value in one.samples)
    assert all(is_stale(native.sum) for one in ended for native in one.histograms)
    assert {time for one in ended for time, _ in one.samples} == {T_MS + 11_000}
    assert collect(store, T + 12 * SECOND) == []
    assert store.stats()["families"] == 0
    store.ingest(make_metrics(make_gauge("g", 1, time_ns=T + 12 * SECOND)), T + 12 * SECOND)
    assert values(written(collect(store, T + 12 * SECOND), version)) == [("g", [(12_000, 1)])]


def test_a_series_that_comes_back_before_its_end_was_told_goes_on() -> None:
    store = make_store(zero_first=False, metric_expiration_ns=10 * SECOND)
    store.ingest(make_metrics(make_gauge("g", 1, time_ns=T)), T)
    collect(store, T)
    store.expire(T + 11 * SECOND)
    store.ingest(make_metrics(make_gauge("g", 2, time_ns=T + 11 * SECOND)), T + 11 * SECOND)
    assert values(written(collect(store, T + 11 * SECOND))) == [("g", [(11_000, 2)])]


def test_a_series_without_a_value_ends_with_a_marker() -> None:
    """The flag no-recorded-value of a sender is a staleness marker; a value after it begins the series again."""
    store = make_store(zero_first=False)
    store.ingest(make_metrics(make_gauge("g", 1, time_ns=T)), T)
    collect(store, T)
    gone = make_gauge("g", 0, time_ns=T + SECOND)
    gone.gauge.data_points[0].flags = 1
    store.ingest(make_metrics(gone), T + SECOND)
    [ended] = written(collect(store, T + 2 * SECOND))
    assert is_stale(ended.samples[0][1])
    assert collect(store, T + 300 * SECOND) == []
    store.ingest(make_metrics(make_gauge("g", 2, time_ns=T + 301 * SECOND)), T + 301 * SECOND)
    assert values(written(collect(store, T + 301 * SECOND))) == [("g", [(301_000, 2)])]


def test_no_value_of_a_sender_is_a_marker() -> None:
    store = make_store()
    store.ingest(make_metrics(make_gauge("g", math.nan, time_ns=T)), T)
    [series] = written(collect(store, T))
    assert math.isnan(series.samples[0][1])
    assert not is_stale(series.samples[0][1])


def test_targets_are_given_with_every_batch_of_changes() -> None:
    store = make_store(drop_labels=["service.instance.id"], const_labels=[("instance", "gateway")])
    resource = {"service.name": "s", "service.namespace": "n", "host.arch": "arm64"}
    store.ingest(make_metrics(make_gauge("g", 1, time_ns=T), resource=resource), T)
    target, gauge = written(collect(store, T, targets=True))
    own = {"instance": "gateway", "job": "n/s"}
    assert target.labels == {"__name__": "target_info", "host_arch": "arm64", **own}
    assert gauge.labels == {"__name__": "g", **own}


def test_a_target_that_is_gone_or_says_something_else_ends() -> None:
    """With a staleness marker, once, like any other series; also under the labels that it had before."""
    store = make_store(metric_expiration_ns=100 * SECOND)

    def targets(now: int, arch: str = "") -> list[tuple[str, bool]]:
        if arch:
            resource = {"service.name": "s", "host.arch": arch}
            store.ingest(make_metrics(make_gauge("g", 1, time_ns=T), resource=resource), T + now * SECOND)
        series = [one for one in written(collect(store, T + now * SECOND, targets=True)) if one.name == "target_info"]
        return [(one.labels["host_arch"], is_stale(one.samples[0][1])) for one in series]

    assert targets(0, "arm64") == [("arm64", False)]
    assert targets(10, "amd64") == [("arm64", True), ("amd64", False)]
    assert targets(20) == [("amd64", False)]
    assert targets(30, "arm64") == [("amd64", True), ("arm64", False)]
    assert targets(131) == [("arm64", True)]
    assert targets(140) == []


def test_a_batch_ends_before_it_is_too_large() -> None:
    """Nothing is lost or given twice where changes are cut into several batches."""
    store = make_store(zero_first=False)
    points = [counter(value, 1, {"n": value}) for value in range(100)]
    store.ingest(make_metrics(*points, make_histogram("h", [1] * 9, range(8), sum=1, start_ns=T, time_ns=T)), T)
    batches = collect(store, T + SECOND, max_samples=7)
    assert [batch.items for batch in batches] == [7] * 14 + [2, 1]
    assert sorted(one.samples[0][1] for one in written(batches) if one.name == "c_total") == list(range(100))
    assert write_request(batches[0], 2, native_histograms=True, metadata=True, max_bytes=100) is None


def test_a_collected_batch_is_otlp() -> None:
    """What is given can be sent to any OTLP endpoint: cumulative sums with their start, and readable exemplars."""
    store = make_store()
    exemplar = Exemplar(time_unix_nano=T, as_double=1, trace_id=bytes(range(16)), span_id=bytes(range(8)))
    store.ingest(make_metrics(counter(5, 1, {"a.b": 'x"\n\\'}, exemplars=[exemplar])), T + SECOND)
    [batch] = collect(store, T + SECOND)
    [metric] = to_proto(batch).resource_metrics[0].scope_metrics[0].metrics
    zero, point = metric.sum.data_points
    assert (metric.name, metric.sum.aggregation_temporality, metric.sum.is_monotonic) == ("c_total", 2, True)
    assert (zero.as_double, point.as_double, point.start_time_unix_nano) == (0, 5, T)
    assert [(one.key, one.value.string_value) for one in point.attributes] == [("a_b", 'x"\n\\')]
    assert (point.exemplars[0].trace_id, point.exemplars[0].span_id) == (bytes(range(16)), bytes(range(8)))


names = st.sampled_from(["a", "b.c", "d_total", "é", "Z", "__name__", "le"])
texts = st.text(max_size=10)
labels = st.dictionaries(names, texts, max_size=4)
numbers = st.floats(0, 1e12)


@st.composite
def metrics(draw: st.DrawFn) -> Metric:
    name, own = draw(st.sampled_from(["m", "n", "o"])), draw(labels)
    match draw(st.integers(0, 3)):
        case 0:
            return make_gauge(f"g{name}", draw(st.floats()), own, time_ns=T)
        case 1:
            return make_counter(f"c{name}", draw(numbers), own, start_ns=T, time_ns=T)
        case 2:
            counts = draw(st.lists(st.integers(0, 100), min_size=3, max_size=3))
            return make_histogram(f"h{name}", counts, [-1, 1e9], own, sum=draw(numbers), start_ns=T, time_ns=T)
        case _:
            counts = draw(st.lists(st.integers(0, 100), max_size=6))
            return exponential(sum(counts), counts)


@VERSIONS
@given(st.lists(metrics(), max_size=8))
def test_what_is_written_is_what_the_page_shows(version: int, given: list[Metric]) -> None:
    """Whatever comes in, both messages hold the very samples of the page, under the same names and labels."""
    store, shown = make_store(zero_first=False), make_store(zero_first=False)
    for held in (store, shown):
        held.ingest(make_metrics(*given, resource={"service.name": "s"}), T)
    page = shown.render("text", None, T).decode()
    expected = {
        (sample.name, *sorted((k, _bound(v) if k == "le" else v) for k, v in sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    found = {}
    for one in written(collect(store, T, targets=True, max_samples=9), version, native_histograms=False):
        own = {**one.labels}
        key = (own.pop("__name__"), *sorted((k, _bound(v) if k == "le" else v) for k, v in own.items()))
        assert key not in found
        found[key] = one.samples[0][1]
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == value or (math.isnan(found[key]) and math.isnan(value))


def _bound(le: str) -> str:
    return str(float(le))
