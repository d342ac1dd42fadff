"""What the series store keeps, refuses and forgets."""

import threading
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar, Metric
from prometheus_client import Metric as Family
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as parse_text

from otel_pipeline.prometheus import Ingested, SeriesStore
from otel_pipeline.testing import (
    attributes,
    make_counter,
    make_gauge,
    make_histogram,
    make_metrics,
    make_span,
    make_traces,
)

T = 1_767_225_600_000_000_000
SECOND = 1_000_000_000
HOUR = 3600 * SECOND


def parse_openmetrics(page: bytes) -> list[Family]:
    return [*openmetrics_parser.text_string_to_metric_families(page.decode())]  # type: ignore[no-untyped-call]


def make_store(**options: int | bool | str) -> SeriesStore:
    return SeriesStore(**{"epoch_ns": T, "metric_expiration_ns": HOUR, **options})  # type: ignore[arg-type]


def ingest(store: SeriesStore, *metrics: Metric, now: int = T + SECOND, service: str = "") -> Ingested:
    return store.ingest(make_metrics(*metrics, resource={"service.name": service}), now)


def samples(store: SeriesStore, now: int = T + SECOND, scraper: int | None = None) -> dict[str, float]:
    """Every sample of the text page by its name and labels, as it is written."""
    lines = store.render("text", scraper, now).decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def count(name: str, value: float, labels: Mapping[str, object] | None = None, start: int = T, time: int = T) -> Metric:
    return make_counter(name, value, labels, start_ns=start, time_ns=time + SECOND)


def test_only_the_latest_point_counts() -> None:
    store = make_store()
    assert ingest(store, count("runs", 5, time=T + 20)).kept == 1
    assert ingest(store, count("runs", 4, time=T + 10)).dropped == {"old_point": 1}
    assert ingest(store, count("runs", 5, time=T + 20)).dropped == {"old_point": 1}
    assert samples(store) == {"runs_total": 5}


def test_a_counter_does_not_fall_within_a_start_time() -> None:
    store = make_store()
    ingest(store, count("runs", 5))
    assert ingest(store, count("runs", 4, time=T + 1)).dropped == {"counter_decreased": 1}
    assert samples(store) == {"runs_total": 5}


def test_a_later_start_time_is_a_reset_and_an_earlier_one_a_writer_that_was_replaced() -> None:
    store = make_store()
    ingest(store, count("runs", 5, start=T + 10, time=T + 20))
    assert ingest(store, count("runs", 9, start=T + 5, time=T + 30)).dropped == {"old_start_time": 1}
    ingest(store, count("runs", 2, start=T + 15, time=T + 40))
    assert samples(store) == {"runs_total": 2}


def test_a_fall_is_a_reset_where_no_start_time_is_known() -> None:
    store = make_store()
    ingest(store, count("runs", 5, start=0))
    ingest(store, count("runs", 4, start=0, time=T + 1))
    assert samples(store) == {"runs_total": 4}


def test_a_histogram_keeps_its_bounds_within_a_start_time() -> None:
    store = make_store()
    ingest(store, make_histogram("wait", [1, 1], [1.0], sum=3, start_ns=T, time_ns=T + 1))
    other = make_histogram("wait", [2, 1], [2.0], sum=4, start_ns=T, time_ns=T + 2)
    assert ingest(store, other).dropped == {"bounds_changed": 1}
    fallen = make_histogram("wait", [0, 3], [1.0], sum=4, start_ns=T, time_ns=T + 2)
    assert ingest(store, fallen).dropped == {"counter_decreased": 1}
    restarted = make_histogram("wait", [2, 1], [2.0], sum=4, start_ns=T + 1, time_ns=T + 2)
    assert ingest(store, restarted).kept == 1
    assert samples(store)['wait_bucket{le="2"}'] == 2


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 20), st.integers(0, 20)),
        min_size=1,
        max_size=30,
    )
)
def test_what_is_shown_never_falls_within_a_start_time(points: list[tuple[int, int, int]]) -> None:
    """Whatever senders do, in any order: shown start times never go back, and within one the value never falls."""
    store = make_store()
    shown = (0.0, 0.0)
    for start, time, value in points:
        ingest(store, make_counter("c", value, start_ns=T + start * SECOND, time_ns=T + 5 * SECOND + time))
        [family] = parse_openmetrics(store.render("openmetrics", None, T + SECOND))
        total, created = family.samples
        now = (created.value, total.value)
        assert now >= shown
        shown = now


def test_a_sum_without_temporality_is_dropped() -> None:
    nothing = count("c", 1)
    nothing.sum.aggregation_temporality = 0  # type: ignore[assignment]
    batch = make_metrics(nothing, count("f", 1))
    ingested = make_store().ingest(batch, T)
    assert ingested.dropped == {"unspecified_temporality": 1}
    assert ingested.kept + sum(ingested.dropped.values()) == batch.items


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (count("c", -1), "invalid_value"),
        (count("c", float("nan")), "invalid_value"),
        (count("c", float("inf")), "invalid_value"),
        (count("!?", 1), "invalid_name"),
        (count("", 1), "invalid_name"),
        (make_histogram("h", [1], [1.0], sum=1, start_ns=T, time_ns=T), "invalid_histogram"),
        (make_histogram("h", [1, 1, 1], [2.0, 1.0], sum=1, start_ns=T, time_ns=T), "invalid_histogram"),
        (make_histogram("h", [1, 1], [float("inf")], sum=1, start_ns=T, time_ns=T), "invalid_histogram"),
        (make_histogram("h", [2**63, 2**63 - 1], [1.0], sum=1, start_ns=T, time_ns=T), None),
    ],
)
def test_values_that_no_page_may_hold_are_dropped(metric: Metric, reason: str | None) -> None:
    assert ingest(make_store(), metric).dropped == ({reason: 1} if reason else {})


def test_a_histogram_whose_buckets_do_not_add_up_is_dropped() -> None:
    metric = make_histogram("h", [1, 1], [1.0], sum=1, start_ns=T, time_ns=T)
    metric.histogram.data_points[0].count = 3
    assert ingest(make_store(), metric).dropped == {"invalid_histogram": 1}


def test_a_point_without_value_hides_the_series_until_the_next() -> None:
    store = make_store()
    ingest(store, make_gauge("g", 1, time_ns=T), make_gauge("other", 1, time_ns=T))
    gone = make_gauge("g", 0, time_ns=T + 1)
    gone.gauge.data_points[0].flags = 1
    assert ingest(store, gone).kept == 1
    assert samples(store) == {"other": 1}
    ingest(store, make_gauge("g", 2, time_ns=T + 2))
    assert samples(store) == {"g": 2, "other": 1}


def test_a_point_without_value_makes_no_series() -> None:
    store = make_store()
    unknown = make_gauge("g", 0, time_ns=T)
    unknown.gauge.data_points[0].flags = 1
    ingest(store, unknown)
    assert store.stats()["families"] == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (count("a", 1), make_gauge("a", 1, time_ns=T)),
        (count("a", 1), make_gauge("a_total", 1, time_ns=T)),
        (count("a", 1), make_gauge("a_created", 1, time_ns=T)),
        (make_gauge("a_count", 1, time_ns=T), make_histogram("a", [1], [], sum=1, start_ns=T, time_ns=T)),
        (make_histogram("a", [1], [], sum=1, start_ns=T, time_ns=T), make_gauge("a_bucket", 1, time_ns=T)),
    ],
)
def test_of_two_types_that_claim_a_name_the_first_stays(first: Metric, second: Metric) -> None:
    store = make_store()
    assert ingest(store, first, second).dropped == {"type_conflict": 1}
    parse_openmetrics(store.render("openmetrics", None, T))


def test_a_name_is_free_again_when_its_series_have_expired() -> None:
    store = make_store()
    ingest(store, count("a", 1), now=T)
    assert store.expire(T + 2 * HOUR) == 1
    assert ingest(store, make_gauge("a", 1, time_ns=T), now=T + 2 * HOUR).kept == 1


def test_of_two_helps_the_first_stays() -> None:
    store = make_store()
    first = make_gauge("g", 1, {"a": "1"}, time_ns=T, help="first")
    second = make_gauge("g", 1, {"a": "2"}, time_ns=T, help="second")
    assert ingest(store, first, second).notes == {"help_conflict": 1}
    assert store.render("text", None, T).count(b"# HELP g first\n") == 1


def test_metrics_named_like_the_gateways_own_are_refused() -> None:
    store = make_store()
    ingest(store, count("otelcol.uptime", 1), make_gauge("mine", 1, time_ns=T))
    own = b"# TYPE otelcol_uptime_total counter\notelcol_uptime_total 7\n"
    page = store.render("text", None, T, own).decode()
    assert page == own.decode() + "# TYPE mine gauge\nmine 1\n"
    assert ingest(store, count("otelcol.uptime", 2, time=T + 1)).dropped == {"own_name": 1}
    assert store.stats()["series"] == store.stats()["lines"] == 1


def test_a_resource_that_names_its_service_becomes_a_target_once() -> None:
    store = make_store()
    for host in ("h1", "h2"):
        batch = make_metrics(
            make_gauge("g", 1, time_ns=T), resource={"service.name": "s", "service.instance.id": "i", "host": host}
        )
        store.ingest(batch, T)
    store.ingest(make_metrics(make_gauge("nameless", 1, time_ns=T), resource={"host": "h3"}), T)
    assert samples(store) == {
        'g{instance="i",job="s"}': 1,
        "nameless": 1,
        'target_info{host="h2",instance="i",job="s"}': 1,
    }


def test_const_labels_and_namespace_are_on_every_series() -> None:
    store = SeriesStore(epoch_ns=T, namespace="gw", const_labels=[("site", "eu")])
    ingest(store, make_gauge("g", 1, {"site": "us"}, time_ns=T), service="s")
    assert samples(store) == {
        'gw_g{exported_site="us",job="s",site="eu"}': 1,
        'target_info{job="s",site="eu"}': 1,
    }


def test_scope_labels_can_be_left_out() -> None:
    metric = make_gauge("g", 1, time_ns=T)
    batch = make_metrics(metric, scope="lib", scope_version="1", scope_attributes={"name": "clash", "a.b": 1})
    with_scope, without = make_store(), make_store(without_scope_info=True)
    with_scope.ingest(batch, T)
    without.ingest(batch, T)
    assert samples(with_scope) == {'g{otel_scope_a_b="1",otel_scope_name="lib",otel_scope_version="1"}': 1}
    assert samples(without) == {"g": 1}


def test_timestamps_are_sent_only_when_asked_for() -> None:
    store = make_store(send_timestamps=True)
    ingest(store, count("c", 1))
    assert b"c_total 1 1767225601000\n" in store.render("text", None, T)
    assert b"c_total 1 1767225601.000\n" in store.render("openmetrics", None, T)
    assert b"c_total 0 1767225600000\n" in store.render("text", 0, T)


def test_created_samples_can_be_left_out() -> None:
    store = make_store(created_timestamps=False)
    ingest(store, count("c", 1))
    assert b"_created" not in store.render("openmetrics", None, T)


# --- limits


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), max_size=40))
def test_totals_are_exact_over_the_limit_per_metric(steps: list[tuple[int, int]]) -> None:
    """Ten counters over a limit of three: kept series and the overflow series add up to what was counted."""
    store = make_store(max_series_per_metric=3)
    totals: dict[int, int] = {}
    for at, (stream, gain) in enumerate(steps):
        totals[stream] = totals.get(stream, 0) + gain
        ingested = ingest(store, count("c", totals[stream], {"stream": stream}, time=T + at))
        assert ingested.kept == 1
    shown = samples(store)
    assert sum(shown.values()) == sum(totals.values())
    assert len(shown) == min(len(totals), 4)


def test_histogram_totals_are_exact_over_the_limit() -> None:
    store = make_store(max_series_per_metric=1)
    for step in range(1, 4):
        for stream in range(3):
            metric = make_histogram(
                "h", [step, 2 * step], [1.0], {"s": stream}, sum=5.5 * step, start_ns=T, time_ns=T + step
            )
            ingest(store, metric)
    shown = samples(store)
    label = 'otel_metric_overflow="true"'
    assert shown[f'h_bucket{{{label},le="1"}}'] == 6
    assert shown[f'h_bucket{{{label},le="+Inf"}}'] == shown[f"h_count{{{label}}}"] == 18
    assert shown[f"h_sum{{{label}}}"] == 33


def test_a_reset_behind_the_overflow_series_adds_its_new_count() -> None:
    store = make_store(max_series_per_metric=0)
    ingest(store, count("c", 5))
    ingest(store, count("c", 2, start=T + 1, time=T + 1))
    assert samples(store) == {'c_total{otel_metric_overflow="true"}': 7}


def test_a_stream_from_before_the_gateway_adds_only_its_gains_to_the_overflow_series() -> None:
    store = make_store(max_series_per_metric=0)
    ingest(store, count("c", 1000, start=T - 1))
    ingest(store, count("c", 1003, start=T - 1, time=T + 1))
    assert samples(store) == {'c_total{otel_metric_overflow="true"}': 3}


def test_a_stream_stays_behind_the_overflow_series_when_room_appears() -> None:
    store = make_store(max_series_per_metric=1)
    ingest(store, count("c", 1, {"s": "old"}), now=T)
    ingest(store, count("c", 5, {"s": "new"}), now=T + HOUR)
    assert store.expire(T + HOUR + 1) == 1
    ingest(store, count("c", 6, {"s": "new"}, time=T + 1), now=T + HOUR + 1)
    assert samples(store, T + HOUR + 1) == {'c_total{otel_metric_overflow="true"}': 6}


def test_gauges_over_the_limit_are_dropped() -> None:
    store = make_store(max_series_per_metric=1)
    metrics = [make_gauge("g", 1, {"s": stream}, time_ns=T) for stream in range(3)]
    assert ingest(store, *metrics).dropped == {"series_limit": 2}


def test_the_total_limit_counts_lines_and_refuses_new_names() -> None:
    store = make_store(max_series=6)
    wide = make_histogram("wide", [0] * 9, list(range(8)), sum=0, start_ns=T, time_ns=T)
    ingest(store, make_histogram("h", [1, 0], [1.0], sum=1, start_ns=T, time_ns=T), wide, count("c", 1))
    assert store.stats()["lines"] == 5
    assert ingest(store, count("c", 1, {"s": 2})).notes == {}
    assert ingest(store, count("c", 1, {"s": 3})).notes == {"overflow": 1}
    assert ingest(store, count("d", 1)).dropped == {"series_limit": 1}


def test_memory_behind_overflow_series_is_bounded() -> None:
    store = make_store(max_series_per_metric=1, max_series=5)
    ingested = ingest(store, *(count("c", 1, {"s": stream}) for stream in range(10)))
    assert ingested.dropped == {"overflow_full": 4}
    assert store.stats()["overflow_streams"] == 5


def test_a_sender_that_calls_its_own_series_overflow_is_added_to_ours() -> None:
    store = make_store(max_series_per_metric=1)
    own = {"otel.metric.overflow": True}
    ingest(store, count("c", 1), count("c", 2, {"s": 2}), count("c", 4, own))
    assert samples(store) == {"c_total": 1, 'c_total{otel_metric_overflow="true"}': 6}


def test_room_is_given_back() -> None:
    """After everything expired, nothing is held and the same can be taken again."""
    store = make_store(max_series_per_metric=2, max_series=20)
    metrics = [count("c", 1, {"s": stream}) for stream in range(5)]
    histogram = make_histogram("h", [1, 0], [1.0], sum=1, start_ns=T, time_ns=T)
    for now in (T, T + 2 * HOUR, T + 4 * HOUR):
        assert store.expire(now) in (0, 3)
        assert set(store.stats().values()) == {0}
        ingest(store, *metrics, histogram, now=now)
        held = {"families": 2, "lines": 6, "overflow_streams": 3, "series": 3, "streams": 6, "targets": 0}
        assert store.stats() == held


def test_a_long_label_value_is_cut_and_stays_distinct() -> None:
    store = make_store()
    long = "ä" * 2000
    ingested = ingest(
        store, make_gauge("g", 1, {"a": long + "1"}, time_ns=T), make_gauge("g", 2, {"a": long + "2"}, time_ns=T)
    )
    assert ingested.notes == {"label_value_truncated": 2}
    [family] = parse_text(store.render("text", None, T).decode())
    values = [sample.labels["a"] for sample in family.samples]
    assert len(set(values)) == 2
    assert all(len(value.encode()) <= 1024 for value in values)


def test_only_what_was_not_ingested_for_the_expiration_time_expires() -> None:
    store = make_store()
    ingest(store, make_gauge("old", 1, time_ns=T), now=T, service="old")
    ingest(store, make_gauge("new", 1, time_ns=T), now=T + HOUR)
    assert len(samples(store, T + HOUR)) == 3
    assert samples(store, T + HOUR + 1) == {"new": 1}


# --- exemplars


def exemplar(value: float, time: int, trace: int = 0, **filtered: str) -> Exemplar:
    trace_id = trace.to_bytes(16, "big") if trace else b""
    return Exemplar(as_double=value, time_unix_nano=time, trace_id=trace_id, filtered_attributes=attributes(filtered))


def exemplars_of(store: SeriesStore) -> dict[str, dict[str, str]]:
    [family] = parse_openmetrics(store.render("openmetrics", None, T))
    return {
        sample.labels.get("le", sample.name): dict(sample.exemplar.labels)
        for sample in family.samples
        if sample.exemplar
    }


def test_each_bucket_has_its_latest_exemplar() -> None:
    store = make_store()
    first = [exemplar(0.5, T + 2, 1), exemplar(0.6, T + 1, 2), exemplar(1.0, T + 3, 3), exemplar(9, T, 4)]
    ingest(store, make_histogram("h", [3, 1], [1.0], sum=3, start_ns=T, time_ns=T + 1, exemplars=first))
    assert exemplars_of(store) == {"1.0": {"trace_id": f"{3:032x}"}, "+Inf": {"trace_id": f"{4:032x}"}}
    second = [exemplar(0.1, T + 9, 5)]
    ingest(store, make_histogram("h", [4, 1], [1.0], sum=3, start_ns=T, time_ns=T + 2, exemplars=second))
    assert exemplars_of(store)["1.0"] == {"trace_id": f"{5:032x}"}


def test_an_exemplar_has_the_real_trace_id_and_the_attributes_that_fit() -> None:
    store = make_store()
    fits = exemplar(1, T, 7, trace_id="forged", session="s", long="x" * 128, user="u")
    ingest(store, make_counter("c", 1, start_ns=T, time_ns=T, exemplars=[fits]))
    assert exemplars_of(store) == {"c_total": {"trace_id": f"{7:032x}", "session": "s", "user": "u"}}


@pytest.mark.parametrize(
    "useless", [exemplar(1, T), exemplar(float("nan"), T, 7), Exemplar(trace_id=b"\1" * 16), exemplar(1, T, empty="")]
)
def test_an_exemplar_that_leads_nowhere_is_left_out(useless: Exemplar) -> None:
    store = make_store()
    ingested = ingest(store, make_counter("c", 1, start_ns=T, time_ns=T, exemplars=[useless]))
    assert ingested.notes == {"exemplar_dropped": 1}
    assert exemplars_of(store) == {}


def test_exemplars_are_only_in_openmetrics() -> None:
    store = make_store()
    ingest(store, make_counter("c", 1, start_ns=T, time_ns=T, exemplars=[exemplar(1, T, 7)]))
    assert b"trace_id" not in store.render("text", None, T)


# --- use


def test_other_signals_formats_and_slots_are_refused() -> None:
    store = make_store()
    with pytest.raises(ValueError, match="metrics"):
        store.ingest(make_traces(make_span()), T)
    with pytest.raises(ValueError, match="openmetrics"):
        store.render("json", None, T)
    for call in (lambda: store.render("text", 64, T), lambda: store.register_scraper(64)):
        with pytest.raises(ValueError, match="63"):
            call()


def test_threads_may_ingest_render_and_expire_at_once() -> None:
    """No point is lost between an ingest and an expiry that removes the family under it."""
    store = make_store(metric_expiration_ns=1)
    failed: list[BaseException] = []

    def write(thread: int) -> None:
        try:
            for step in range(300):
                ingested = ingest(store, count(f"c{step % 3}", 1, {"t": thread}, time=T + step), now=T + step * 10)
                assert ingested.kept == 1, ingested.dropped
        except BaseException as error:
            failed.append(error)

    writers = [threading.Thread(target=write, args=(thread,)) for thread in range(3)]
    for writer in writers:
        writer.start()
    step = 0
    while any(writer.is_alive() for writer in writers):
        step += 1
        store.render("openmetrics", step % 64, T + step * 10)
    for writer in writers:
        writer.join()
    assert not failed
    store.expire(T + HOUR)
    assert set(store.stats().values()) == {0}
