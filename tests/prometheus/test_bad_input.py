"""What broken and hostile senders send: counted with a reason, others unharmed, totals exact, and every page can be read."""

from collections.abc import Callable, Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar, Metric
from prometheus_client.parser import text_string_to_metric_families as parse_text

from otel_pipeline.errors import DecodeError
from otel_pipeline.pdata import Limits, Signal, decode, to_proto
from otel_pipeline.prometheus import SeriesStore
from otel_pipeline.testing import attributes, make_counter, make_gauge, make_histogram, make_metrics
from tests.prometheus.pages import T, Table, exponential, read_all

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
NAN, INFINITY = float("nan"), float("inf")
STRATEGIES = [
    "UnderscoreEscapingWithSuffixes", "UnderscoreEscapingWithoutSuffixes", "NoUTF8EscapingWithSuffixes", "NoTranslation",
]  # fmt: skip


def counter(value: float, temporality: int = 2, labels: Mapping[str, object] | None = None, *, time: int = T) -> Metric:
    metric = make_counter("c", value, labels, start_ns=T - SECOND, time_ns=time)
    metric.sum.aggregation_temporality = temporality  # type: ignore[assignment]
    return metric


def updown(value: float) -> Metric:
    metric = counter(value)
    metric.name, metric.sum.is_monotonic = "u", False
    return metric


def histogram(counts: list[int], bounds: list[float], total: float = 1, count: int | None = None) -> Metric:
    metric = make_histogram("h", [], bounds, sum=total, start_ns=T - SECOND, time_ns=T)
    point = metric.histogram.data_points[0]
    point.bucket_counts.extend(counts)
    point.count = sum(counts) if count is None else count
    return metric


def native(**fields: float) -> Metric:
    metric = exponential()
    for name, value in fields.items():
        setattr(metric.exponential_histogram.data_points[0], name, value)
    return metric


def summary(total: float = 1, quantile: float = 0.5) -> Metric:
    metric = Metric(name="q")
    point = metric.summary.data_points.add(start_time_unix_nano=T, time_unix_nano=T, count=1, sum=total)
    point.quantile_values.add(quantile=quantile, value=1)
    return metric


def among_good(*bad: Metric) -> tuple[dict[str, int], dict[str, int], Table]:
    """What was dropped and noted, and the rest of the page, of bad metrics between good ones: of other names, and of
    the same ones with another label. The good ones stay exact."""
    store = SeriesStore(epoch_ns=T - DAY)
    good = {"of": "good"}
    same = [
        counter(7, labels=good),
        make_gauge("g", 7, good, time_ns=T),
        make_histogram("h", [3, 4], [1], good, sum=7, start_ns=T - SECOND, time_ns=T),
    ]
    first = make_counter("first", 7, start_ns=T - SECOND, time_ns=T)
    last = make_counter("last", 7, start_ns=T - SECOND, time_ns=T)
    batch = make_metrics(first, *same, *bad, last)
    ingested = store.ingest(batch, T)
    assert ingested.kept + sum(ingested.dropped.values()) == batch.items
    told = (("of", "good"),)
    expected: Table = {("first", ()): 7, ("last", ()): 7, ("c", told): 7, ("g", told): 7, ("h_count", told): 7}
    page = read_all(store, T)
    assert {key: page.get(key) for key in expected} == expected
    rest = {key: value for key, value in page.items() if told[0] not in key[1] and key[0] not in ("first", "last")}
    return dict(ingested.dropped), dict(ingested.notes), rest


@pytest.mark.parametrize("number", [NAN, INFINITY, -INFINITY])
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda number: counter(number), "invalid_value"),
        (lambda number: counter(number, 1), "invalid_value"),
        (updown, "invalid_value"),
        (lambda number: histogram([1, 1], [1], number), "invalid_histogram"),
        (lambda number: histogram([1, 1], [number]), "invalid_histogram"),
        (lambda number: native(sum=number), "invalid_histogram"),
        (lambda number: native(zero_threshold=number), "invalid_histogram"),
        (lambda number: summary(total=number), "invalid_summary"),
        (lambda number: summary(quantile=number), "invalid_summary"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_dropped(make: Callable[[float], Metric], reason: str, number: float) -> None:
    assert among_good(make(number)) == ({reason: 1}, {}, {})


@pytest.mark.parametrize("number", [NAN, INFINITY, -INFINITY])
def test_a_gauge_may_be_no_number(number: float) -> None:
    """Prometheus has a way to write it."""
    shown = {("g", ()): "NaN" if number != number else number}
    assert among_good(make_gauge("g", number, time_ns=T)) == ({}, {}, shown)


@pytest.mark.parametrize("metric", [counter(-1), counter(-1, 1), counter(-1e308)])
def test_a_counter_that_is_negative_is_dropped(metric: Metric) -> None:
    assert among_good(metric) == ({"invalid_value": 1}, {}, {})


@pytest.mark.parametrize("field", ["count", "bucketCounts"])
def test_a_negative_count_is_no_otlp(field: str) -> None:
    """It has no form in protobuf; in JSON the sender is told where it stands."""
    value = '"-1"' if field == "count" else '["-1"]'
    body = '{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"h","histogram":{"dataPoints":[{"%s":%s}]}}]}]}]}'
    with pytest.raises(DecodeError, match=rf"dataPoints\[0\]\.{field}"):
        decode(Signal.METRICS, (body % (field, value)).encode(), True, Limits())


@pytest.mark.parametrize(
    "metric",
    [
        histogram([1, 1, 1], [2, 1]),
        histogram([1, 1, 1], [1, 1]),
        histogram([1, 1, 1], [0.0, -0.0]),
        histogram([1], [1]),
        histogram([1, 1, 1], [1]),
        histogram([], [1]),
        histogram([1, 1], [], count=2),
    ],
)
def test_bounds_that_do_not_rise_or_fit_the_counts_are_dropped(metric: Metric) -> None:
    assert among_good(metric) == ({"invalid_histogram": 1}, {}, {})


@pytest.mark.parametrize(
    "metric",
    [
        histogram([1, 1], [1], count=3),
        histogram([1, 1], [1], count=1),
        histogram([2**64 - 1, 2], [1], count=1),
        native(count=4),
        native(count=2),
        native(zero_count=2**64 - 1),
    ],
)
def test_buckets_that_do_not_add_up_are_dropped(metric: Metric) -> None:
    assert among_good(metric) == ({"invalid_histogram": 1}, {}, {})


@pytest.mark.parametrize("time", [0, T + DAY, 2**63, 2**64 - 1])
@pytest.mark.parametrize("temporality", [1, 2])
def test_a_time_that_cannot_be_is_now(time: int, temporality: int) -> None:
    """Noted where it lies ahead. Points with real times go on from there; the total is exact."""
    store = SeriesStore(epoch_ns=T - DAY)
    notes: dict[str, int] = {}
    for step, told in enumerate((time, T + 2 * SECOND, T + 4 * SECOND), start=1):
        metric = counter(1 if temporality == 1 else step, temporality, time=told)
        metric.sum.data_points[0].start_time_unix_nano = 0
        ingested = store.ingest(make_metrics(metric), T + 2 * step * SECOND - SECOND)
        assert (ingested.kept, ingested.dropped) == (1, {})
        notes |= ingested.notes
    assert notes == ({} if time == 0 else {"future_time": 1})
    assert read_all(store, T + 6 * SECOND) == {("c", ()): 3}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("utf8", [False, True])
def test_names_and_labels_of_every_byte(strategy: str, utf8: bool) -> None:
    """Of a metric, a label, a value, the help, the unit, the scope and the resource. All that is kept is shown, and a
    name without any letter that can be shown is counted."""
    store = SeriesStore(epoch_ns=T, translation_strategy=strategy, max_series_per_metric=100_000)
    kept = 0
    for at, odd in enumerate(every_byte()):
        metric = make_gauge(f"n{odd}", 1, {f"k{odd}": f"v{odd}"}, time_ns=T + at, help=f"h{odd}", unit=f"u{odd}")
        around = {"resource": {"service.name": f"s{odd}", f"r{odd}": odd}, "scope": f"l{odd}"}
        batch = make_metrics(metric, make_gauge(odd, 1, time_ns=T + at), **around, scope_attributes={odd: odd})  # type: ignore[arg-type]
        ingested = store.ingest(batch, T)
        assert set(ingested.dropped) <= {"invalid_name"}
        assert ingested.kept >= 1
        kept += ingested.kept
    page = read_all(store, T, utf8)
    shown = sum(name != "target_info" for name, _ in page)
    assert shown <= kept
    assert shown >= 256 or (utf8, strategy[:2]) != (True, "No")


def every_byte() -> Iterator[str]:
    yield from map(chr, range(256))
    yield from ("\u2028", "\ufeff", "\U0010ffff", "", "\r\n# TYPE x counter\nx 1", '"} 1\n')


@pytest.mark.parametrize("byte", range(0x80, 0x100))
def test_bytes_that_are_no_text_cost_only_their_own_text(byte: int) -> None:
    plain = make_metrics(make_gauge("aXYZb", 1, {"kXYZ": "vXYZ"}, time_ns=T), make_gauge("good", 1, time_ns=T))
    body = to_proto(plain).SerializeToString().replace(b"XYZ", bytes([byte]) * 3)
    batch, _ = decode(Signal.METRICS, body, False, Limits())
    store = SeriesStore(epoch_ns=T)
    assert store.ingest(batch, T).kept == 2
    page = read_all(store, T)
    assert len(page) == 2
    assert page["good", ()] == 1


@pytest.mark.parametrize("temporality", [1, 2])
def test_ten_thousand_new_series_a_second_cost_no_total(temporality: int) -> None:
    """For five seconds: the total is exact through the overflow series, other metrics and memory are unharmed, and what
    cannot be added up is counted."""
    store = SeriesStore(epoch_ns=T - DAY)
    notes = dropped = 0
    for second in range(5):
        now = T + second * SECOND
        flood = [counter(1, temporality, {"n": f"{second}-{number}"}, time=now) for number in range(10_000)]
        gauges = [make_gauge("g", 1, {"n": f"{second}-{number}"}, time_ns=now) for number in range(500)]
        other = make_counter("other", second + 1, start_ns=T - SECOND, time_ns=now)
        batch = make_metrics(*flood, *gauges, other)
        ingested = store.ingest(batch, now)
        assert ingested.kept + sum(ingested.dropped.values()) == batch.items
        assert set(ingested.dropped) <= {"series_limit"}
        notes += ingested.notes.get("overflow", 0)
        dropped += ingested.dropped.get("series_limit", 0)
    page = read_all(store, T + 5 * SECOND)
    assert sum(value for (name, _), value in page.items() if name == "c") == 50_000
    assert page["c", (("otel_metric_overflow", "true"),)] == notes == 48_000
    assert page["other", ()] == 5
    assert (len(page), dropped) == (2001 + 2000 + 1, 500)


@pytest.mark.parametrize(
    ("second", "dropped", "noted", "total"),
    [
        ((3, T - 2 * SECOND, T + 1), {"old_start_time": 1}, {}, 5),  # older than the first: it was replaced
        ((3, T - SECOND, T + 1), {"counter_decreased": 1}, {}, 5),  # the same start, and behind
        ((3, T - SECOND, T - 1), {"old_point": 1}, {}, 5),  # the same start, and late
        ((3, T + 1, T + 2), {}, {"restart": 1}, 3),  # younger than the first: a restart, which Prometheus is shown
    ],
)
def test_of_two_senders_that_claim_one_stream_one_counts(
    second: tuple[int, int, int], dropped: dict[str, int], noted: dict[str, int], total: int
) -> None:
    """Refused points are counted with the reason, and neither sender's harm anyone else."""
    store = SeriesStore(epoch_ns=T - DAY)
    value, start, time = second
    first = make_counter("c", 5, start_ns=T - SECOND, time_ns=T)
    neighbour = make_counter("n", 7, start_ns=T - SECOND, time_ns=T)
    store.ingest(make_metrics(first, neighbour), T + 2)
    ingested = store.ingest(make_metrics(make_counter("c", value, start_ns=start, time_ns=time)), T + 2)
    assert (ingested.dropped, ingested.notes) == (dropped, noted)
    assert read_all(store, T + 2) == {("c", ()): total, ("n", ()): 7}


# --- whatever comes in

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
TIMES = st.sampled_from([0, 1, T - SECOND, T, T + SECOND, T + 10**15, 2**63, 2**64 - 1])
UNQUOTED = st.text(st.characters(codec="utf-8", exclude_characters='"\\'), max_size=4)
"""For exemplars: prometheus_client's parser loses its way at an escaped quote there."""
COUNTS = st.one_of(st.integers(0, 20), st.sampled_from([2**63, 2**64 - 1]))
NAMES = st.one_of(st.text(max_size=6), st.sampled_from(["a", "b", "a.b", "a_total", "a_count"]))


@st.composite
def any_metric(draw: st.DrawFn) -> Metric:
    """A metric as a broken or hostile sender makes it."""
    metric = Metric(name=draw(NAMES), unit=draw(st.sampled_from(["", "s", "1", "\n"])))
    times = {"start_time_unix_nano": draw(TIMES), "time_unix_nano": draw(TIMES)}
    exemplar = Exemplar(as_double=draw(NUMBERS), time_unix_nano=draw(TIMES), trace_id=draw(st.binary(max_size=17)))
    exemplar.filtered_attributes.extend(attributes(draw(st.dictionaries(NAMES, UNQUOTED, max_size=2))))
    times["exemplars"] = [exemplar]  # type: ignore[assignment]
    times["attributes"] = attributes(draw(st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3)))  # type: ignore[assignment]
    temporality = draw(st.sampled_from([0, 1, 1, 2, 2]))
    counts = draw(st.lists(COUNTS, max_size=5))
    count = sum(counts) if draw(st.booleans()) and sum(counts) < 2**64 else draw(COUNTS)
    match draw(st.integers(0, 4)):
        case 0:
            metric.gauge.data_points.add(as_double=draw(NUMBERS), **times)
        case 1:
            metric.sum.is_monotonic = draw(st.booleans())
            metric.sum.aggregation_temporality = temporality  # type: ignore[assignment]
            metric.sum.data_points.add(as_double=draw(NUMBERS), **times)
        case 2:
            metric.histogram.aggregation_temporality = temporality  # type: ignore[assignment]
            bounds = draw(st.lists(NUMBERS, min_size=max(0, len(counts) - 1), max_size=len(counts)))
            bounds = sorted(bounds) if draw(st.booleans()) else bounds
            metric.histogram.data_points.add(
                bucket_counts=counts, explicit_bounds=bounds, count=count, sum=draw(NUMBERS), **times
            )
        case 3:
            metric.exponential_histogram.aggregation_temporality = temporality  # type: ignore[assignment]
            point = metric.exponential_histogram.data_points.add(
                scale=draw(st.integers(-12, 30)), count=count, sum=draw(NUMBERS), zero_threshold=draw(NUMBERS), **times
            )
            point.positive.offset = draw(st.one_of(st.integers(-50, 50), st.integers(-(2**31), 2**31 - 1)))
            point.positive.bucket_counts.extend(counts)
        case _:
            del times["exemplars"]
            summary = metric.summary.data_points.add(count=count, sum=draw(NUMBERS), **times)
            for quantile in draw(st.lists(NUMBERS, max_size=3)):
                summary.quantile_values.add(quantile=quantile, value=draw(NUMBERS))
    return metric


@given(st.lists(any_metric(), max_size=8), st.sampled_from([*STRATEGIES]), st.booleans(), st.integers(0, 3))
def test_any_input_leaves_a_page_that_parses_and_its_neighbours(
    metrics: list[Metric], strategy: str, utf8: bool, limit: int
) -> None:
    """All points are counted, the good neighbour is exact, and all formats can be read and agree."""
    store = SeriesStore(epoch_ns=T, translation_strategy=strategy, max_series_per_metric=limit + 1)
    for step in (1, 2):
        good = make_counter("neighbour", step, start_ns=T, time_ns=T + step)
        batch = make_metrics(good, *metrics)
        ingested = store.ingest(batch, T + step * SECOND)
        assert ingested.kept + sum(ingested.dropped.values()) == batch.items
    text = store.render("text", 0, T + SECOND, b"", utf8).decode()
    [*parse_text(text)]
    assert next(value for (name, _), value in read_all(store, T + SECOND, utf8).items() if name == "neighbour") == 2
