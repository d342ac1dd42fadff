"""The rules of OpenTelemetry's "Prometheus and OpenMetrics Compatibility", each test named by the rule's number.

1 names, 2 units, 3 suffixes, 4 one family per name, 5 sums and gauges, 6 histograms, 7 exponential histograms, 8 scopes,
9 label clashes, 10 values that are no text, 11 exemplars, 12 resources, 13 start times, 14 translation strategies.
"""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar, Metric
from prometheus_client.parser import text_string_to_metric_families as parse_text

from otel_pipeline.pdata import from_proto, to_proto
from otel_pipeline.prometheus import SeriesStore
from otel_pipeline.testing import attributes, make_counter, make_gauge, make_histogram, make_metrics
from tests.prometheus.metric_families import GAUGE, UNTYPED, native_buckets, parse_protobuf
from tests.prometheus.pages import T, exponential, parse_openmetrics, protobuf_table

SECOND = 1_000_000_000


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


UNIT_WORDS = {
    "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds", "us": "microseconds",
    "ns": "nanoseconds", "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes",
    "TiBy": "tebibytes", "kBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes", "TBy": "terabytes", "m": "meters",
    "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams", "Cel": "celsius", "Hz": "hertz",
    "%": "percent",
}  # fmt: skip


def test_rule_2_every_unit_of_the_table_is_a_word_and_told_in_openmetrics() -> None:
    lines = page(
        *(make_gauge(f"g{at}", 1, time_ns=T, unit=unit) for at, unit in enumerate(UNIT_WORDS)), format="openmetrics"
    )
    told = {line for line in lines if line.startswith("# UNIT")}
    assert told == {f"# UNIT g{at}_{word} {word}" for at, word in enumerate(UNIT_WORDS.values())}


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


def test_rule_4_of_two_units_one_is_told_and_no_point_is_lost() -> None:
    metrics = [make_gauge("x.seconds", 1, {"a": 1}, time_ns=T, unit="s"), make_gauge("x_seconds", 2, time_ns=T)]
    lines = page(*metrics, format="openmetrics")
    assert lines == ["# TYPE x_seconds gauge", "# UNIT x_seconds seconds", 'x_seconds{a="1"} 1', "x_seconds 2", "# EOF"]


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


def declared(metric: Metric, told: str) -> Metric:
    metric.metadata.extend(attributes({"prometheus.type": told}))
    return metric


@pytest.mark.parametrize("is_sum", [False, True])
@pytest.mark.parametrize(
    ("told", "text", "openmetrics", "sample"),
    [
        ("gauge", "m_seconds gauge", "m_seconds gauge", 'm_seconds{m="x"} 1'),
        ("unknown", "m_seconds untyped", "m_seconds unknown", 'm_seconds{m="x"} 1'),
        ("unkown", "m_seconds untyped", "m_seconds unknown", 'm_seconds{m="x"} 1'),
        ("info", "m_info gauge", "m info", 'm_info{m="x"} 1'),
        ("stateset", "m gauge", "m stateset", 'm{m="x"} 1'),
        ("counter", "m_seconds gauge", "m_seconds gauge", 'm_seconds{m="x"} 1'),
    ],
)
def test_rule_5_a_gauge_is_what_its_metadata_says(
    told: str, text: str, openmetrics: str, sample: str, is_sum: bool
) -> None:
    """In text there is no info and no state set, and in protobuf neither: both are gauges there. What has no number has
    no unit. The specification spells one word `unkown`."""

    def metric() -> Metric:
        gauge = make_gauge("m", 1, {"m": "x"}, time_ns=T, unit="s")
        updown = make_counter("m", 1, {"m": "x"}, start_ns=T, time_ns=T, unit="s")
        updown.sum.is_monotonic = False
        return declared(updown if is_sum else gauge, told)

    assert page(metric()) == [f"# TYPE {text}", sample]
    lines = page(metric(), format="openmetrics")
    assert [line for line in lines if "UNIT" not in line] == [f"# TYPE {openmetrics}", sample, "# EOF"]
    [(name, family)] = messages(metric()).items()
    assert (name, family.type) == (text.split()[0], UNTYPED if "untyped" in text else GAUGE)
    assert protobuf_table([family]) == {(name, (("m", "x"),)): 1}


@pytest.mark.parametrize("told", ["info", "stateset"])
@pytest.mark.parametrize("strategy", ["UnderscoreEscapingWithSuffixes", "NoTranslation"])
@pytest.mark.parametrize(("value", "labels"), [(2, {"m.m": "x"}), (1, {"other": "x"}), (math.nan, {"m.m": "x"})])
def test_rule_5_what_openmetrics_would_refuse_is_a_gauge(
    told: str, strategy: str, value: float, labels: dict[str, str]
) -> None:
    """An info that is not 1, a state set without its label: all points stay, and the page can be read."""
    metric = declared(make_gauge("m.m", value, labels, time_ns=T), told)
    for utf8 in (False, True):
        lines = page(metric, format="openmetrics", translation_strategy=strategy, utf8=utf8)
        fits = told == "info" and value == 1 and strategy != "NoTranslation"
        assert lines[0].endswith(" info" if fits else " gauge")
        assert len(lines) == 3


def test_rule_5_a_gauge_and_what_says_that_it_is_more_are_of_two_types() -> None:
    store = SeriesStore(epoch_ns=T)
    batch = make_metrics(make_gauge("g", 1, time_ns=T), declared(make_gauge("g", 2, {"a": 1}, time_ns=T), "unknown"))
    assert store.ingest(batch, T).dropped == {"type_conflict": 1}
    assert [(one.held, one.told) for one in store.conflicts()] == [("gauge", "unknown")]


@pytest.mark.parametrize("told", ["unknown", "info", "stateset"])
def test_rule_5_what_a_gauge_is_is_known_after_a_restart_and_told_to_others(told: str) -> None:
    store = SeriesStore(epoch_ns=T, kept=True)
    store.ingest(make_metrics(declared(make_gauge("m", 1, {"m": "x"}, time_ns=T), told)), T)
    again = SeriesStore(epoch_ns=T, kept=True)
    assert again.restore(store.take_changes(T, everything=True), T).left_out == 0
    assert again.render("openmetrics", None, T) == store.render("openmetrics", None, T)
    [batch] = store.collect(T, repeat_ns=SECOND, zero_ns=SECOND, max_samples=10, targets=False)
    [metric] = to_proto(batch).resource_metrics[0].scope_metrics[0].metrics
    assert [(pair.key, pair.value.string_value) for pair in metric.metadata] == [("prometheus.type", told)]
    third = SeriesStore(epoch_ns=T)
    third.ingest(batch, T)
    assert third.render("openmetrics", None, T) == store.render("openmetrics", None, T)


def test_rule_5_exemplars_of_gauges_are_dropped() -> None:
    metric = make_gauge("g", 1, time_ns=T)
    metric.gauge.data_points[0].exemplars.append(Exemplar(as_double=1, time_unix_nano=T, trace_id=b"\1" * 16))
    assert page(metric, format="openmetrics") == ["# TYPE g gauge", "g 1", "# EOF"]


def test_rule_5_monotonic_deltas_are_added_up() -> None:
    store = SeriesStore(epoch_ns=T)
    for step in (1, 2, 3):
        metric = make_counter("d", step, start_ns=T + step - 1, time_ns=T + step)
        metric.sum.aggregation_temporality = 1  # type: ignore[assignment]
        store.ingest(make_metrics(metric), T + step)
    assert store.render("text", None, T + 3).decode().splitlines() == ["# TYPE d_total counter", "d_total 6"]


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


def test_rule_7_without_a_recorded_value_there_is_nothing_to_show() -> None:
    """On a page that is scraped, what is stale is not there."""
    store = SeriesStore(epoch_ns=T)
    gone = exponential(time=T + 1)
    gone.exponential_histogram.data_points[0].flags = 1
    for metric in (exponential(), gone):
        assert store.ingest(make_metrics(metric), T + 1).kept == 1
    assert store.render("protobuf", None, T + 1) == store.render("text", None, T + 1) == b""


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
    """ "If Scale is < -4, the data point MUST be dropped"; without a sum as well."""
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


def test_rule_8_attributes_of_a_scope_that_become_the_same_are_joined() -> None:
    told = {"a_b": 2, "a.b": 1, "name": "clash"}
    store = SeriesStore(epoch_ns=T)
    store.ingest(make_metrics(make_gauge("g", 1, time_ns=T), scope="lib", scope_attributes=told), T)
    assert store.render("text", None, T).decode().splitlines()[-1] == 'g{otel_scope_a_b="1;2",otel_scope_name="lib"} 1'


def test_rule_9_an_attribute_that_becomes_a_label_of_the_scope_is_joined_with_it() -> None:
    """Else it would be dropped, or forge the scope. Of job, instance and const_labels it is told apart."""
    told = {"otel.scope.name": "other", "otel_scope_version": "9", "job": "mine"}
    store = SeriesStore(epoch_ns=T)
    batch = make_metrics(make_gauge("g", 1, told, time_ns=T), scope="lib", resource={"service.name": "s"})
    store.ingest(batch, T)
    [line] = [line for line in store.render("text", None, T).decode().splitlines() if line.startswith("g{")]
    assert line == 'g{exported_job="mine",job="s",otel_scope_name="other;lib",otel_scope_version="9"} 1'


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


def test_rule_11_of_several_exemplars_the_latest_of_a_bucket_stays() -> None:
    seen = [Exemplar(as_double=0.5, time_unix_nano=T + at, trace_id=bytes([at]) * 16) for at in (2, 3, 1)]
    metric = make_histogram("h", [3, 0], [1], sum=1.5, start_ns=T, time_ns=T + 4, exemplars=seen)
    [line] = [line for line in page(metric, format="openmetrics") if " # " in line]
    assert line.startswith('h_bucket{le="1.0"} 3 # {trace_id="' + "03" * 16)


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
