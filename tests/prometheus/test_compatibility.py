"""The rules of OpenTelemetry's "Prometheus and OpenMetrics Compatibility", each test named by the rule's number.

1 names, 2 units, 3 suffixes, 4 one family per name, 5 sums and gauges, 6 histograms, 7 exponential histograms, 8 scopes,
9 label clashes, 10 values that are no text, 11 exemplars, 12 resources, 13 start times, 14 translation strategies.
"""

import math
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar, Metric
from prometheus_client import Metric as Family
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as parse_text

from otel_pipeline.pdata import from_proto
from otel_pipeline.prometheus import SeriesStore
from otel_pipeline.testing import attributes, make_counter, make_gauge, make_histogram, make_metrics
from tests.prometheus.metric_families import (
    COUNTER,
    HISTOGRAM,
    Sample,
    classic_samples,
    native_buckets,
    parse_protobuf,
)

T = 1_767_225_600_000_000_000
SECOND = 1_000_000_000


def parse_openmetrics(page: bytes) -> list[Family]:
    return [*openmetrics_parser.text_string_to_metric_families(page.decode())]  # type: ignore[no-untyped-call]


def page(*metrics: Metric, format: str = "text", utf8: bool = False, **options: object) -> list[str]:
    """The lines of the page; it can be parsed."""
    store = SeriesStore(epoch_ns=T, **options)  # type: ignore[arg-type]
    store.ingest(make_metrics(*metrics), T)
    rendered = store.render(format, None, T, b"", utf8)
    if format == "text":
        list(parse_text(rendered.decode()))
    else:
        parse_openmetrics(rendered)
    return rendered.decode().splitlines()


def messages(*metrics: Metric, scraper: int | None = None, **options: object) -> dict[str, Any]:
    """The families of the protobuf page, by name."""
    store = SeriesStore(epoch_ns=T, **options)  # type: ignore[arg-type]
    store.ingest(make_metrics(*metrics), T)
    return {family.name: family for family in parse_protobuf(store.render("protobuf", scraper, T))}


def table(samples: Iterable[Any]) -> dict[tuple[str, tuple[tuple[str, str], ...]], Any]:
    """Values by name and labels, bounds and quantiles as numbers, to be compared; NaN as text."""
    rows = {}
    for sample in samples:
        told = {key: str(float(text)) if key in ("le", "quantile") else text for key, text in sample.labels.items()}
        key = (sample.name, tuple(sorted(told.items())))
        assert key not in rows
        rows[key] = "NaN" if math.isnan(sample.value) else float(sample.value)
    return rows


def text_table(rendered: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], Any]:
    return table(_bare(sample, family.type) for family in parse_text(rendered) for sample in family.samples)


def protobuf_table(families: Iterable[Any]) -> dict[tuple[str, tuple[tuple[str, str], ...]], Any]:
    types = {COUNTER: "counter"}
    return table(_bare(sample, types.get(family.type)) for family in families for sample in classic_samples(family))


def _bare(sample: Any, kind: str | None) -> Sample:
    """Counters without suffix: the parser of text gives `_total` to those that have none."""
    name = sample.name.removesuffix("_total") if kind == "counter" else sample.name
    return Sample(name, sample.labels, sample.value)


def counter(name: str, unit: str = "") -> Metric:
    return make_counter(name, 1, start_ns=T, time_ns=T, unit=unit)


@pytest.mark.parametrize(
    ("name", "expected"), [("a.b-c", "a_b_c"), ("a..b//c", "a_b_c"), ("a:b", "a:b"), ("1abc", "_1abc"), ("ä.b", "b")]
)
def test_rule_1_illegal_characters_become_one_underscore(name: str, expected: str) -> None:
    assert page(make_gauge(name, 1, time_ns=T))[-1] == f"{expected} 1"


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("s", "x_seconds"),
        ("ms", "x_milliseconds"),
        ("By", "x_bytes"),
        ("KiBy", "x_kibibytes"),
        ("%", "x_percent"),
        ("Cel", "x_celsius"),
        ("Hz", "x_hertz"),
        ("1", "x_ratio"),
        ("{request}", "x"),
        ("m/s", "x_meters_per_second"),
        ("{request}/s", "x_per_second"),
    ],
)
def test_rule_2_units_are_words_at_the_end(unit: str, expected: str) -> None:
    assert page(make_gauge("x", 1, time_ns=T, unit=unit))[-1] == f"{expected} 1"


def test_rule_2_a_unit_is_not_repeated_and_1_is_a_ratio_of_gauges_only() -> None:
    assert page(make_gauge("x.seconds", 1, time_ns=T, unit="s"))[-1] == "x_seconds 1"
    assert page(counter("x", "1"))[-1] == "x_total 1"


def test_rule_3_name_then_unit_then_total() -> None:
    assert page(counter("x", "By"))[-1] == "x_bytes_total 1"
    assert page(counter("x.total", "By"))[-1] == "x_bytes_total 1"


def test_rule_4_one_type_and_help_for_each_name() -> None:
    store = SeriesStore(epoch_ns=T)
    batch = make_metrics(
        make_gauge("g", 1, {"a": 1}, time_ns=T, help="first"),
        make_gauge("g", 1, {"a": 2}, time_ns=T, help="second"),
        make_histogram("g", [1], [], sum=1, start_ns=T, time_ns=T),
    )
    ingested = store.ingest(batch, T)
    assert (ingested.dropped, ingested.notes) == ({"type_conflict": 1}, {"help_conflict": 1})
    assert store.render("text", None, T).decode().splitlines() == [
        "# HELP g first",
        "# TYPE g gauge",
        'g{a="1"} 1',
        'g{a="2"} 1',
    ]


def test_rule_4_who_is_in_conflict_with_whom_can_be_read() -> None:
    """Type, samples of another family, the gateway's own names, and help: what stays, what was refused, who told it."""
    store = SeriesStore(epoch_ns=T)
    store.render("text", None, T, b"# TYPE otelcol_own gauge\notelcol_own 1\n")
    for name in ("a", "b"):
        metrics = [
            make_gauge("g", 1, time_ns=T, help=f"told by {name}"),
            make_gauge("h", 1, time_ns=T)
            if name == "b"
            else make_histogram("h", [1], [], sum=1, start_ns=T, time_ns=T),
            make_gauge("h.count", 1, time_ns=T),
            make_counter("otelcol.own", 1, start_ns=T, time_ns=T),
        ]
        store.ingest(make_metrics(*metrics, resource={"service.name": name}), T)
    found = {(one.metric, one.reason, one.held, one.told, one.job): one.count for one in store.conflicts()}
    assert found == {
        ("h_count", "type_conflict", "histogram h", "gauge", "a"): 1,
        ("otelcol_own", "own_name", "a metric of the gateway's own", "counter", "a"): 1,
        ("g", "help_conflict", "told by a", "told by b", "b"): 1,
        ("h", "type_conflict", "histogram", "gauge", "b"): 1,
        ("h_count", "type_conflict", "histogram h", "gauge", "b"): 1,
        ("otelcol_own", "own_name", "a metric of the gateway's own", "counter", "b"): 1,
    }
    for number in range(200):
        store.ingest(make_metrics(make_gauge("h", 1, time_ns=T), resource={"service.name": f"s{number}"}), T + number)
    assert len(store.conflicts()) == 100
    assert {"s198", "s199"} <= {one.job for one in store.conflicts()}


def test_rule_5_gauges_and_sums() -> None:
    updown = make_counter("u", 1, start_ns=T, time_ns=T)
    updown.sum.is_monotonic = False
    delta = counter("d")
    delta.sum.aggregation_temporality = 1  # type: ignore[assignment]
    lines = page(make_gauge("g", 1, time_ns=T), updown, counter("c"), delta)
    assert [line for line in lines if line.startswith("# TYPE")] == [
        "# TYPE c_total counter",
        "# TYPE d_total counter",
        "# TYPE g gauge",
        "# TYPE u gauge",
    ]


@pytest.mark.parametrize("temporality", [1, 2])
def test_rule_6_histograms_are_classic_and_minimum_and_maximum_are_not_used(temporality: int) -> None:
    metric = make_histogram("h", [1, 2], [0.5], sum=3, start_ns=T, time_ns=T, unit="s")
    metric.histogram.aggregation_temporality = temporality  # type: ignore[assignment]
    metric.histogram.data_points[0].min = 0.25
    metric.histogram.data_points[0].max = 2.5
    assert page(metric) == [
        "# TYPE h_seconds histogram",
        'h_seconds_bucket{le="0.5"} 1',
        'h_seconds_bucket{le="+Inf"} 3',
        "h_seconds_sum 3",
        "h_seconds_count 3",
    ]


def exponential(
    scale: int = 0,
    offset: int = 0,
    counts: tuple[int, ...] = (1, 2),
    *,
    negative: tuple[int, ...] = (),
    zeros: int = 0,
    total: float | None = 4,
    time: int = T,
    temporality: int = 1,
) -> Metric:
    metric = Metric(name="e")
    metric.exponential_histogram.aggregation_temporality = temporality  # type: ignore[assignment]
    point = metric.exponential_histogram.data_points.add(
        start_time_unix_nano=T, time_unix_nano=time, scale=scale, zero_count=zeros, sum=total
    )
    point.count = sum(counts) + sum(negative) + zeros
    point.positive.offset = offset
    point.positive.bucket_counts.extend(counts)
    point.negative.bucket_counts.extend(negative)
    return metric


def buckets(lines: list[str]) -> dict[str, float]:
    return {
        line.partition('le="')[2].partition('"')[0]: float(line.rpartition(" ")[2])
        for line in lines
        if "_bucket" in line
    }


def test_rule_7_exponential_histograms_have_classic_buckets_in_text() -> None:
    lines = page(exponential(zeros=1, negative=(1, 1)))
    assert buckets(lines) == {"-2": 1, "-1": 2, "1e-128": 3, "2": 4, "4": 6, "+Inf": 6}
    assert lines[-2:] == ["e_sum 4", "e_count 6"]


def test_rule_7_exponential_histograms_are_native_in_protobuf_with_classic_buckets_beside() -> None:
    """Indexes are one higher than OTLP's; the zero threshold is the default; long gaps are skipped."""
    [metric] = messages(exponential(1, -2, (1, 0, 0, 2, 0, 0, 0, 3), zeros=1, negative=(1, 1)))["e"].metric
    histogram = metric.histogram
    assert (histogram.schema, histogram.zero_threshold, histogram.zero_count) == (1, 1e-128, 1)
    assert (histogram.sample_count, histogram.sample_sum) == (9, 4)
    assert native_buckets(histogram) == ({1: 1, 2: 1}, {-1: 1, 2: 2, 6: 3})
    assert [(span.offset, span.length) for span in histogram.positive_span] == [(-1, 4), (3, 1)]
    assert [*histogram.positive_delta] == [1, -1, 0, 2, 1]
    assert [bucket.cumulative_count for bucket in histogram.bucket][-1] == 9
    assert histogram.bucket[-1].upper_bound == math.inf


def test_rule_7_a_threshold_that_is_told_is_kept() -> None:
    metric = exponential()
    metric.exponential_histogram.data_points[0].zero_threshold = 0.25
    [shown] = messages(metric)["e"].metric
    assert shown.histogram.zero_threshold == 0.25


def test_rule_7_a_count_that_prometheus_has_no_sign_for_is_shown_in_classic_buckets_only() -> None:
    """A native histogram that Prometheus refuses would cost it the whole page."""
    [metric] = messages(exponential(0, 0, (2**63, 1)))["e"].metric
    assert metric.histogram.sample_count == 2**63 + 1
    assert metric.histogram.bucket[0].cumulative_count == 0
    assert not metric.histogram.HasField("schema")


def test_rule_7_a_first_0_is_an_empty_native_histogram() -> None:
    """Prometheus knows it by its zero threshold."""
    [metric] = messages(exponential(zeros=2), scraper=0)["e"].metric
    assert (metric.histogram.sample_count, metric.histogram.sample_sum, metric.histogram.zero_count) == (0, 0, 0)
    assert native_buckets(metric.histogram) == ({}, {})


def test_rule_7_a_scale_over_8_is_lowered() -> None:
    high, low = exponential(10, 0, (1, 1, 1, 1, 5)), exponential(8, 0, (4, 5))
    assert buckets(page(high)) == buckets(page(low))
    shown = [messages(metric)["e"].metric[0].histogram for metric in (high, low)]
    assert [histogram.schema for histogram in shown] == [8, 8]
    assert native_buckets(shown[0]) == native_buckets(shown[1]) == ({}, {1: 4, 2: 5})


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (exponential(-5), "scale_too_low"),
        (exponential(total=None), "no_sum"),
        (exponential(total=math.nan), "invalid_histogram"),
        (exponential(0, 2**31 - 5, (1, 2)), "invalid_histogram"),
        (exponential(0, -(2**31), (1, 2)), "invalid_histogram"),
    ],
)
def test_rule_7_what_prometheus_cannot_hold_is_dropped(metric: Metric, reason: str) -> None:
    assert SeriesStore(epoch_ns=T).ingest(make_metrics(metric), T).dropped == {reason: 1}


@given(
    st.lists(
        st.tuples(
            st.integers(-4, 12), st.integers(-40, 40), st.lists(st.integers(0, 9), max_size=6), st.integers(0, 3)
        ),
        min_size=1,
        max_size=6,
    )
)
def test_rule_7_sums_of_exponential_histograms_are_exact(
    parts: list[tuple[int, int, list[int], int]],
) -> None:
    """At whatever scales and offsets deltas come: the count is that of all, and buckets never fall towards +Inf."""
    store = SeriesStore(epoch_ns=T)
    for step, (scale, offset, counts, zeros) in enumerate(parts, start=1):
        metric = exponential(scale, offset, tuple(counts), zeros=zeros, time=T + step)
        assert store.ingest(make_metrics(metric), T + SECOND).kept == 1
    lines = store.render("text", None, T + SECOND).decode().splitlines()
    parse_openmetrics(store.render("openmetrics", None, T + SECOND))
    [family] = parse_protobuf(store.render("protobuf", None, T + SECOND))
    native_buckets(family.metric[0].histogram)
    shown = [*buckets(lines).values()]
    assert shown == sorted(shown)
    assert shown[-1] == sum(sum(counts) + zeros for _, _, counts, zeros in parts)
    assert lines[-2:] == [f"e_sum {4 * len(parts)}", f"e_count {shown[-1]:.0f}"]


def test_rule_7_a_cumulative_exponential_histogram_may_widen_its_buckets() -> None:
    store = SeriesStore(epoch_ns=T)
    narrow = exponential(1, 0, (1, 1, 1, 1), temporality=2)
    wide = exponential(0, 0, (2, 3), time=T + 1, temporality=2)
    fallen = exponential(0, 0, (5, 0), time=T + 2, temporality=2)
    assert [store.ingest(make_metrics(metric), T).dropped for metric in (narrow, wide, fallen)] == [
        {},
        {},
        {"counter_decreased": 1},
    ]


def test_rule_8_scopes_are_labels_and_clashing_attributes_are_left_out() -> None:
    request = ExportMetricsServiceRequest()
    scope_metrics = request.resource_metrics.add().scope_metrics.add(schema_url="https://s/1")
    scope_metrics.scope.name, scope_metrics.scope.version = "lib", "1"
    scope_metrics.scope.attributes.extend(attributes({"name": "x", "version": "y", "schema_url": "z", "a.b": 1}))
    scope_metrics.metrics.append(make_gauge("g", 1, time_ns=T))
    for without, expected in (
        (
            False,
            'g{otel_scope_a_b="1",otel_scope_name="lib",otel_scope_schema_url="https://s/1",otel_scope_version="1"} 1',
        ),
        (True, "g 1"),
    ):
        store = SeriesStore(epoch_ns=T, without_scope_info=without)
        store.ingest(from_proto(request), T)
        assert store.render("text", None, T).decode().splitlines()[-1] == expected


def test_rule_9_labels_that_become_the_same_are_joined_in_the_order_of_their_keys() -> None:
    metric = make_gauge("g", 1, {"a_b": "3", "a.b": "2", "a-b": "1"}, time_ns=T)
    assert page(metric)[-1] == 'g{a_b="1;2;3"} 1'


def test_rule_10_values_that_are_no_text_are_json() -> None:
    values = {"b": True, "d": 1.5, "i": -7, "l": ["x", 1, None], "m": {"k": False}, "y": b"\0\1"}
    assert page(make_gauge("g", 1, values, time_ns=T))[-1] == (
        r'g{b="true",d="1.5",i="-7",l="[\"x\",1,null]",m="{\"k\":false}",y="AAE="} 1'
    )


def test_rule_11_exemplars_have_the_real_trace_and_what_fits_of_the_rest() -> None:
    exemplar = Exemplar(
        as_double=1,
        time_unix_nano=T,
        trace_id=b"\1" * 16,
        span_id=b"\2" * 8,
        filtered_attributes=attributes({"trace_id": "forged", "run": "7", "long": "x" * 128}),
    )
    metric = make_counter("c", 1, start_ns=T, time_ns=T, exemplars=[exemplar])
    expected = f'c_total 1.0 # {{trace_id="{"01" * 16}",span_id="{"02" * 8}",run="7"}} 1.0 1767225600.000'
    assert expected.replace("1.0", "1") in page(metric, format="openmetrics")


def test_rule_11_exemplars_in_protobuf_stand_at_counters_buckets_and_native_histograms() -> None:
    """With their time; a native histogram's list leaves out those without, which Prometheus refuses there."""
    labels = [("trace_id", "01" * 16), ("a_b", 'x"\\\n')]
    tags = attributes({"a.b": 'x"\\\n'})
    timed = Exemplar(as_double=1.5, time_unix_nano=T + 7, trace_id=b"\1" * 16, filtered_attributes=tags)
    untimed = Exemplar(as_double=3, trace_id=b"\1" * 16)
    native = exponential(0, 0, (1, 2))
    native.exponential_histogram.data_points[0].exemplars.extend([timed, untimed])
    classic = make_histogram("h", [1, 2], [1], sum=3, start_ns=T, time_ns=T, exemplars=[timed])
    total = make_counter("c", 1, start_ns=T, time_ns=T, exemplars=[timed])
    families = messages(native, classic, total, translation_strategy="NoTranslation")
    e, h, c = (families[name].metric[0] for name in ("e", "h", "c"))
    found = [e.histogram.exemplars[0], e.histogram.bucket[1].exemplar, h.histogram.bucket[1].exemplar]
    for exemplar in [*found, c.counter.exemplar]:
        assert [(pair.name, pair.value) for pair in exemplar.label] == labels
        assert (exemplar.value, exemplar.timestamp.seconds, exemplar.timestamp.nanos) == (1.5, T // SECOND, 7)
    assert len(e.histogram.exemplars) == 1
    assert e.histogram.bucket[2].exemplar.value == 3
    assert not e.histogram.bucket[2].exemplar.HasField("timestamp")
    assert not h.histogram.bucket[0].HasField("exemplar")


@pytest.mark.parametrize("key", ["a.b", 'a"b', "", "1", "é", "__name__"])
def test_rule_11_names_of_exemplar_labels_can_be_read_whatever_the_strategy(key: str) -> None:
    exemplar = Exemplar(as_double=1, time_unix_nano=T, filtered_attributes=attributes({key: "v"}))
    metric = make_counter("c_total", 1, start_ns=T, time_ns=T, exemplars=[exemplar])
    lines = page(metric, format="openmetrics", utf8=True, translation_strategy="NoTranslation")
    assert any(" # {" in line and '="v"} 1' in line for line in lines)


def test_rule_12_a_resource_is_one_target_for_each_job_and_instance() -> None:
    resource = {"service.namespace": "n", "service.name": "s", "service.instance.id": "i", "host.name": "h"}
    store = SeriesStore(epoch_ns=T)
    for host in ("other", "h"):
        store.ingest(make_metrics(make_gauge("g", 1, time_ns=T), resource=resource | {"host.name": host}), T)
    assert store.render("text", None, T).decode().splitlines() == [
        "# TYPE g gauge",
        'g{instance="i",job="n/s"} 1',
        "# HELP target_info Target metadata",
        "# TYPE target_info gauge",
        'target_info{host_name="h",instance="i",job="n/s"} 1',
    ]


def test_rule_13_the_start_time_is_the_created_timestamp() -> None:
    summary = Metric(name="q")
    summary.summary.data_points.add(start_time_unix_nano=T, time_unix_nano=T, count=1, sum=2)
    lines = page(counter("c"), exponential(), summary, format="openmetrics")
    assert [line for line in lines if "_created" in line] == [
        "c_created 1767225600.000",
        "e_created 1767225600.000",
        "q_created 1767225600.000",
    ]


def test_rule_13_the_start_time_is_a_field_in_protobuf() -> None:
    summary = Metric(name="q")
    summary.summary.data_points.add(start_time_unix_nano=T - 5, time_unix_nano=T, count=1, sum=2)
    classic = make_histogram("h", [1], [], sum=1, start_ns=T - 5, time_ns=T)
    metrics = (make_counter("c", 1, start_ns=T - 5, time_ns=T), exponential(), summary, classic)
    for told in (True, False):
        families = messages(*metrics, created_timestamps=told)
        for name, kind in {"c_total": "counter", "e": "histogram", "q": "summary", "h": "histogram"}.items():
            part = getattr(families[name].metric[0], kind)
            assert part.HasField("created_timestamp") is told
            if told:
                start = T if name == "e" else T - 5
                assert part.created_timestamp.seconds == start // SECOND
                assert part.created_timestamp.nanos == start % SECOND


STRATEGIES = {
    "UnderscoreEscapingWithSuffixes": "foo_bar_bytes_total",
    "UnderscoreEscapingWithoutSuffixes": "foo_bar",
    "NoUTF8EscapingWithSuffixes": "foo.bar_bytes_total",
    "NoTranslation": "foo.bar",
}


@pytest.mark.parametrize(("strategy", "name"), STRATEGIES.items())
@pytest.mark.parametrize("format", ["text", "openmetrics"])
@pytest.mark.parametrize("labels", [{}, {"a.b": "c"}])
def test_rule_14_the_four_strategies(strategy: str, name: str, format: str, labels: dict[str, str]) -> None:
    """Names as they are for a scraper that reads UTF-8, escaped for any other."""
    metric = make_counter("foo.bar", 1, labels, start_ns=T, time_ns=T, unit="By")
    escaped = name.replace(".", "_")
    label = 'a_b="c"' if labels else ""
    bare = f"{escaped}{{{label}}} 1" if label else f"{escaped} 1"
    assert bare in page(metric, format=format, translation_strategy=strategy)
    quoted = f'{{"{name}",{chr(34)}a.b{chr(34)}="c"}} 1' if labels else f'{{"{name}"}} 1'
    expected = quoted if "." in name else bare
    assert expected in page(metric, format=format, utf8=True, translation_strategy=strategy)


def test_rule_14_a_counter_without_suffix_is_unknown_to_openmetrics() -> None:
    lines = page(counter("foo"), format="openmetrics", translation_strategy="NoTranslation")
    assert lines == ["# TYPE foo unknown", "foo 1", "# EOF"]
    lines = page(counter("foo_total"), format="openmetrics", translation_strategy="NoTranslation")
    assert lines[:2] == ["# TYPE foo counter", "foo_total 1"]


def test_rule_14_names_that_become_the_same_when_they_are_escaped_stand_once() -> None:
    metrics = [make_gauge("a.b", 1, {"x.y": 1, "x_y": 2}, time_ns=T), make_gauge("a_b", 2, time_ns=T)]
    assert page(*metrics, translation_strategy="NoTranslation") == ["# TYPE a_b gauge", 'a_b{x_y="1;2"} 1']


@pytest.mark.parametrize("strategy", ["NoUTF8EscapingWithSuffixes", "NoTranslation"])
def test_rule_14_names_that_differ_in_what_cannot_be_shown_are_one(strategy: str) -> None:
    """Control characters in names: two metrics are one family, two keys one label."""
    metrics = [make_gauge("\1", 1, {"\2": "a", "\3": "b"}, time_ns=T), make_gauge("\2", 2, {"\4": "c"}, time_ns=T)]
    assert page(*metrics, utf8=True, translation_strategy=strategy) == [
        '# TYPE "\ufffd" gauge',
        '{"\ufffd","\ufffd"="a;b"} 1',
        '{"\ufffd","\ufffd"="c"} 2',
    ]


def test_summaries_are_quantiles_sum_and_count() -> None:
    metric = Metric(name="q", unit="s")
    point = metric.summary.data_points.add(start_time_unix_nano=T, time_unix_nano=T, count=4, sum=10)
    for quantile, value in ((0.99, 9), (0.5, 2)):
        point.quantile_values.add(quantile=quantile, value=value)
    assert page(metric) == [
        "# TYPE q_seconds summary",
        'q_seconds{quantile="0.5"} 2',
        'q_seconds{quantile="0.99"} 9',
        "q_seconds_sum 10",
        "q_seconds_count 4",
    ]
    page(metric, format="openmetrics")


# --- whatever comes in

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
TIMES = st.sampled_from([0, 1, T - SECOND, T, T + SECOND, T + 10**15, 2**63, 2**64 - 1])
COUNTS = st.one_of(st.integers(0, 20), st.sampled_from([2**63, 2**64 - 1]))
NAMES = st.one_of(st.text(max_size=6), st.sampled_from(["a", "b", "a.b", "a_total", "a_count"]))


@st.composite
def any_metric(draw: st.DrawFn) -> Metric:
    """A metric as a broken or hostile sender makes it."""
    metric = Metric(name=draw(NAMES), unit=draw(st.sampled_from(["", "s", "1", "\n"])))
    times = {"start_time_unix_nano": draw(TIMES), "time_unix_nano": draw(TIMES)}
    exemplar = Exemplar(as_double=draw(NUMBERS), time_unix_nano=draw(TIMES), trace_id=draw(st.binary(max_size=17)))
    exemplar.filtered_attributes.extend(attributes(draw(st.dictionaries(NAMES, st.text(max_size=4), max_size=2))))
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
    text = store.render("text", None, T + SECOND, b"", utf8).decode()
    [shown] = [family for family in parse_text(text) if family.name.startswith("neighbour")]
    assert shown.samples[0].value == 2
    parse_openmetrics(store.render("openmetrics", None, T + SECOND, b"", utf8))
    families = parse_protobuf(store.render("protobuf", None, T + SECOND, b"", utf8))
    assert protobuf_table(families) == text_table(text)
    for family in families:
        for metric in family.metric if family.type == HISTOGRAM else ():
            if metric.histogram.HasField("schema"):
                native_buckets(metric.histogram)


def test_ten_thousand_new_series_a_second_cost_no_total() -> None:
    store = SeriesStore(epoch_ns=T)
    metrics = [make_counter("c", 1, {"n": number}, start_ns=T, time_ns=T) for number in range(10_000)]
    store.ingest(make_metrics(*metrics), T)
    [family] = parse_text(store.render("text", None, T).decode())
    assert sum(sample.value for sample in family.samples) == 10_000
    assert len(family.samples) == 2001
