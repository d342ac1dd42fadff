"""Pages of protobuf: the same samples as on a page of text, native histograms, and what is refused for which reason."""

from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary
from prometheus_client.exposition import generate_latest as text_page
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_page

from otel_pipeline.prometheus import Scraped, SeriesStore
from tests.oracle.metric_family import (
    COUNTER,
    GAUGE,
    GAUGE_HISTOGRAM,
    HISTOGRAM,
    SUMMARY,
    UNTYPED,
    MetricFamily,
    delimited,
)
from tests.prometheus.test_scrape_page import (
    NOW,
    Samples,
    amounts,
    events,
    make_target,
    metrics,
    oracle,
    samples_back,
    scrape,
    value_of,
)

SECONDS = NOW // 1_000_000_000


def family(name: str, kind: int, *points: dict[str, Any], **more: Any) -> Any:
    """One family, written as JSON."""
    return ParseDict({"name": name, "type": kind, "metric": list(points), **more}, MetricFamily())


def read(*families: Any, target: Any = None, now: int = NOW) -> Scraped:
    return (target or make_target()).scrape(delimited(families), "protobuf", now, 0.25)


def labels_of(sample: Any) -> list[dict[str, str]]:
    hidden = ("le", "quantile")
    return [{"name": name, "value": value} for name, value in sorted(sample.labels.items()) if name not in hidden]


def as_protobuf(registry: CollectorRegistry) -> list[Any]:
    """What prometheus_client would write if it knew this format."""
    return [_family(one) for one in registry.collect()]


def _family(one: Metric) -> Any:
    points: dict[str, dict[str, Any]] = {}
    kinds = {"counter": COUNTER, "gauge": GAUGE, "histogram": HISTOGRAM, "summary": SUMMARY}
    for sample in one.samples:
        labels = labels_of(sample)
        value = points.setdefault(repr(labels), {"label": labels, one.type: {}})[one.type]
        suffix = sample.name.removeprefix(one.name)
        match one.type, suffix:
            case _, "_count":
                value["sampleCount"] = int(sample.value)
            case _, "_sum":
                value["sampleSum"] = sample.value
            case "histogram", "_bucket":
                bound = {"+Inf": "Infinity"}.get(sample.labels["le"], sample.labels["le"])
                value.setdefault("bucket", []).append({"upperBound": bound, "cumulativeCount": int(sample.value)})
            case ("counter", "_total") | ("gauge", ""):
                value["value"] = sample.value
    name = f"{one.name}_total" if one.type == "counter" else one.name
    return family(name, kinds[one.type], *points.values(), help=one.documentation)


def registry_of(chosen: Any) -> CollectorRegistry:
    registry = CollectorRegistry()
    labels = ["one", "two"]
    counter = Counter("c", "A counter.", labels, registry=registry)
    gauge = Gauge("g", "A gauge.", labels, registry=registry)
    histogram = Histogram("h", "A histogram.", labels, registry=registry, buckets=(0.5, 10, 1e6))
    summary = Summary("s", "A summary.", labels, registry=registry)
    for which, labelled, amount in chosen:
        match which % 4:
            case 0:
                counter.labels(**labelled).inc(amount)
            case 1:
                gauge.labels(**labelled).set(-amount)
            case 2:
                histogram.labels(**labelled).observe(amount)
            case _:
                summary.labels(**labelled).observe(amount)
    return registry


@settings(max_examples=60, deadline=None)
@given(chosen=events)
def test_protobuf_gives_the_samples_of_text(chosen: Any) -> None:
    """The same families in either format are the same samples."""
    registry = registry_of(chosen)
    scraped = read(*as_protobuf(registry))
    assert (scraped.problem, scraped.refused) == ("", {})
    page = text_page(registry).decode()
    assert samples_back(scraped.batch) == without_created(oracle(page, False))


def label(**pairs: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in pairs.items()]


NATIVE: dict[str, Any] = {
    "sampleCount": 12,
    "sampleSum": 18.5,
    "schema": 3,
    "zeroThreshold": 0.001,
    "zeroCount": 2,
    "positiveSpan": [{"offset": -2, "length": 2}, {"offset": 3, "length": 1}],
    "positiveDelta": [1, 1, 3],
    "negativeSpan": [{"offset": 0, "length": 1}],
    "negativeDelta": [2],
    "createdTimestamp": {"seconds": SECONDS - 60, "nanos": 5},
    "bucket": [{"upperBound": 1.0, "cumulativeCount": 3}],
    "exemplars": [
        {
            "label": label(trace_id="0af7651916cd43dd8448eb211c80319c", k="v"),
            "value": 2.5,
            "timestamp": {"seconds": SECONDS - 5},
        }
    ],
}


def test_native_histograms() -> None:
    """Spans and deltas become dense buckets, one index lower; the classic buckets beside them are left out."""
    scraped = read(family("h", HISTOGRAM, {"label": label(a="b"), "histogram": NATIVE}, unit="seconds"))
    assert (scraped.problem, scraped.refused, scraped.scraped) == ("", {}, 1)
    metric = metrics(scraped.batch)["h"]
    assert metric.unit == "seconds"
    (point,) = metric.exponential_histogram.data_points
    assert (point.count, point.sum, point.scale, point.zero_count, point.zero_threshold) == (12, 18.5, 3, 2, 0.001)
    assert (point.positive.offset, list(point.positive.bucket_counts)) == (-3, [1, 2, 0, 0, 0, 5])
    assert (point.negative.offset, list(point.negative.bucket_counts)) == (-1, [2])
    assert point.start_time_unix_nano == NOW - 60_000_000_000 + 5
    (exemplar,) = point.exemplars
    assert exemplar.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert (exemplar.as_double, exemplar.time_unix_nano) == (2.5, NOW - 5_000_000_000)
    assert metric.exponential_histogram.aggregation_temporality == 2


def test_native_histograms_of_floats_and_of_nothing() -> None:
    """Whole counts that stand as floats are counts; a histogram without observations is one all the same."""
    floats = {
        "sampleCountFloat": 5.0,
        "zeroCountFloat": 1.0,
        "sampleSum": 2.0,
        "positiveSpan": [{"offset": 1, "length": 2}],
        "positiveCount": [1.0, 3.0],
    }
    empty: dict[str, Any] = {"positiveSpan": [{}]}
    scraped = read(family("f", HISTOGRAM, {"histogram": floats}), family("e", HISTOGRAM, {"histogram": empty}))
    assert (scraped.problem, scraped.refused) == ("", {})
    found = metrics(scraped.batch)
    (point,) = found["f"].exponential_histogram.data_points
    assert (point.count, point.zero_count, point.positive.offset) == (5, 1, 0)
    assert list(point.positive.bucket_counts) == [1, 3]
    assert found["e"].exponential_histogram.data_points[0].count == 0


def test_exemplars_times_and_starts() -> None:
    """Of counters and classic buckets; and the time that a metric has of its own."""
    seen = {"label": label(k="v"), "value": 0.4, "timestamp": {"seconds": SECONDS - 1}}
    bucket = {"upperBound": 0.5, "cumulativeCount": 1, "exemplar": seen}
    created = {"seconds": SECONDS - 10}
    scraped = read(
        family("c_total", COUNTER, {"counter": {"value": 3, "exemplar": seen, "createdTimestamp": created}}),
        family("h", HISTOGRAM, {"histogram": {"sampleCount": 1, "bucket": [bucket], "createdTimestamp": created}}),
        family("s", SUMMARY, {"summary": {"sampleCount": 1, "createdTimestamp": created}}),
        family("g", GAUGE, {"gauge": {"value": 1}, "timestampMs": (SECONDS - 3) * 1000}),
        family("u", UNTYPED, {"untyped": {"value": 7}}),
    )
    assert (scraped.problem, scraped.refused) == ("", {})
    found = metrics(scraped.batch)
    counter = found["c_total"].sum.data_points[0]
    assert (counter.as_double, counter.start_time_unix_nano) == (3, NOW - 10_000_000_000)
    assert counter.exemplars[0].as_double == 0.4
    histogram = found["h"].histogram.data_points[0]
    assert (list(histogram.bucket_counts), histogram.start_time_unix_nano) == ([1, 0], NOW - 10_000_000_000)
    assert histogram.exemplars[0].filtered_attributes[0].key == "k"
    assert found["s"].summary.data_points[0].start_time_unix_nano == NOW - 10_000_000_000
    assert found["g"].gauge.data_points[0].time_unix_nano == NOW - 3_000_000_000
    assert found["u"].gauge.data_points[0].as_double == 7


def test_gauge_histograms_are_gauges() -> None:
    """As they stand on a page of OpenMetrics."""
    bucket = {"upperBound": 1.0, "cumulativeCount": 4}
    value = {"sampleCount": 5, "sampleSum": 9.0, "bucket": [bucket]}
    found = metrics(read(family("q", GAUGE_HISTOGRAM, {"histogram": value})).batch)
    assert {name: one.gauge.data_points[0].as_double for name, one in found.items()} == {
        "q_bucket": 4,
        "q_gcount": 5,
        "q_gsum": 9,
    }


REFUSED: dict[str, Any] = {
    "no_name": family("", GAUGE, {"gauge": {"value": 1}}),
    "name_too_long": family("n" * 300, GAUGE, {"gauge": {"value": 1}}),
    "no_value": family("a", COUNTER, {"gauge": {"value": 1}}),
    "label_limit": family("a", GAUGE, {"label": label(k="x" * 70_000), "gauge": {"value": 1}}),
    "duplicate_label": family("a", GAUGE, {"label": label(k="1") + label(k="2"), "gauge": {}}),
    "duplicate_sample": family("a", GAUGE, {"gauge": {"value": 1}}, {"gauge": {"value": 2}}),
    "malformed_family": family("a", GAUGE, {"label": [{"value": "x"}], "gauge": {}}),
    "invalid_schema": family("a", HISTOGRAM, {"histogram": {**NATIVE, "schema": 9}}),
    "gauge_histogram": family("a", GAUGE_HISTOGRAM, {"histogram": NATIVE}),
    "invalid_buckets": family("a", HISTOGRAM, {"histogram": {**NATIVE, "positiveDelta": [1]}}),
    "too_many_buckets": family(
        "a",
        HISTOGRAM,
        {"histogram": {**NATIVE, "positiveSpan": [{"length": 3}, {"offset": 2**31 - 1}, {"offset": 1, "length": 9}]}},
    ),
    "invalid_count": family(
        "a", HISTOGRAM, {"histogram": {"sampleCountFloat": 0.5, "positiveSpan": [{"length": 1}], "positiveCount": [1]}}
    ),
    "buckets_decrease": family(
        "a",
        HISTOGRAM,
        {"histogram": {"sampleCount": 1, "bucket": [{"upperBound": 1.0, "cumulativeCount": 4}]}},
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_read_costs_only_itself(reason: str) -> None:
    """Each for its reason; what stands before and behind is taken."""
    good = [family(name, GAUGE, {"gauge": {"value": 1}}) for name in ("before", "behind")]
    scraped = read(good[0], REFUSED[reason], good[1])
    assert (scraped.problem, scraped.refused) == ("", {reason: 1})
    assert {"before", "behind"} <= metrics(scraped.batch).keys()


def test_a_page_that_is_cut_short_is_down() -> None:
    """Nobody can tell what is missing."""
    page = delimited([family("a", GAUGE, {"gauge": {"value": 1}})])
    for cut in (page[:-1], page + b"\xff\xff\xff\xff\xff\xff", b"a 1\n"):
        scraped = make_target().scrape(cut, "protobuf", NOW, 0.0)
        assert value_of(scraped.batch, "up") == 0
        assert metrics(scraped.batch) == {}
        assert scraped.problem
    limited = make_target(sample_limit=1).scrape(page + page.replace(b"a", b"b"), "protobuf", NOW, 0.0)
    assert "sample_limit" in limited.problem


whole = st.builds(delimited, st.lists(st.sampled_from(list(REFUSED.values())), min_size=1, max_size=3))


@settings(max_examples=300, deadline=None)
@given(page=whole, changes=st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=8))
def test_damaged_pages_give_a_checked_batch(page: bytes, changes: list[tuple[int, int]]) -> None:
    """Whatever bytes are wrong: nothing panics, and every receiver takes what comes out."""
    damaged = bytearray(page)
    for at, byte in changes:
        damaged[at % len(damaged)] = byte
    scraped = make_target().scrape(bytes(damaged), "protobuf", NOW, 0.0)
    metrics(scraped.batch)
    assert value_of(scraped.batch, "up") in (0.0, 1.0)


def stored(scraped: Scraped, now: int = NOW) -> SeriesStore:
    store = SeriesStore(epoch_ns=NOW, zero_first=False, without_scope_info=True, created_timestamps=False)
    assert store.ingest(scraped.batch, now).dropped == {}
    return store


letters = st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])
labelled = st.fixed_dictionaries({"one": st.text(letters), "two": st.just("b")})


def without_created(samples: Samples) -> Samples:
    """prometheus_client writes these as gauges where the format has no place for them."""
    return {key: value for key, value in samples.items() if not key[0].endswith("_created")}


@settings(max_examples=40, deadline=None)
@given(
    chosen=st.lists(st.tuples(st.integers(0, 3), labelled, amounts), max_size=10),
    page_format=st.sampled_from(["text", "openmetrics", "protobuf"]),
    shown=st.sampled_from(["text", "openmetrics", "protobuf"]),
)
def test_a_page_comes_through_the_store_as_it_was(chosen: Any, page_format: str, shown: str) -> None:
    """Scraped in any format, kept as series, and shown in any: the samples of the page, with job and instance."""
    registry = registry_of(chosen)
    page = text_page(registry).decode()
    match page_format:
        case "text":
            lines = [line for line in page.splitlines() if "_created" not in line]
            scraped = scrape("\n".join(lines))
        case "openmetrics":
            shown_page = openmetrics_page(registry)  # type: ignore[no-untyped-call]
            scraped = scrape(shown_page.decode(), openmetrics=True)
        case _:
            scraped = read(*as_protobuf(registry))
    store = SeriesStore(epoch_ns=NOW, zero_first=False, without_scope_info=True, created_timestamps=False)
    assert store.ingest(scraped.batch, NOW).dropped == {}
    if shown == "protobuf":  # which only the receiver itself can read here
        kept = make_target(honor_labels=True).scrape(store.render(shown, None, NOW), shown, NOW, 0.0)
        assert (kept.problem, kept.refused) == ("", {})
        assert samples_back(kept.batch) == without_created(oracle(page, False))
        return
    again = oracle(store.render(shown, None, NOW).decode(), shown == "openmetrics")
    target = {("job", "job"), ("instance", "host:1")}
    own = ("up", "scrape_", "target_info")
    found = {(name, labels - target): value for (name, labels), value in again.items() if not name.startswith(own)}
    assert found == without_created(oracle(page, False))
