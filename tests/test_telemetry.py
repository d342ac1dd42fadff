"""The gateway's own metrics: names, labels, values, both text formats."""

from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from otel_pipeline.telemetry import MAX_LABEL_SETS, ComponentCounts, Counts, Telemetry

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(telemetry: Telemetry, *, openmetrics: bool = False) -> Samples:
    """Every sample of the page, by name and labels, read by prometheus_client's own parsers."""
    page = telemetry.exposition(openmetrics=openmetrics).decode()
    families = parse_openmetrics(page + "# EOF\n") if openmetrics else parse_text(page)  # type: ignore[no-untyped-call]
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def rows() -> list[ComponentCounts]:
    counts = Counts(consumed=20, created=1, produced=1, sent=2, refused=3, failed=4, pending=5, held=lambda: 6)
    counts.dropped["filtered"] = 0
    return [
        ComponentCounts("receiver", "otlp", "", "traces", "spans", counts),
        ComponentCounts("processor", "filter", "logs", "logs", "log_records", counts),
        ComponentCounts("connector", "stage_metrics", "", "metrics", "metric_points", counts),
        ComponentCounts("exporter", "otlp_grpc", "", "metrics", "metric_points", counts),
    ]


@pytest.mark.parametrize("openmetrics", [False, True])
def test_item_counts_have_the_names_and_labels_of_the_collector(openmetrics: bool) -> None:
    """Counters end in _total, labels are the component's id and where the name does not tell it, signal and pipeline."""
    telemetry = Telemetry()
    telemetry.watch(rows)
    found = samples(telemetry, openmetrics=openmetrics)
    receiver = (("receiver", "otlp"),)
    assert found["otelcol_receiver_accepted_spans_total", receiver] == 1
    assert found["otelcol_receiver_refused_spans_total", receiver] == 3
    assert found["otelcol_receiver_failed_spans_total", receiver] == 4
    processor = (("otel_signal", "logs"), ("pipeline", "logs"), ("processor", "filter"))
    assert found["otelcol_processor_incoming_items_total", processor] == 20
    assert found["otelcol_processor_outgoing_items_total", processor] == 1
    assert found["otelcol_processor_dropped_items_total", (*processor, ("reason", "filtered"))] == 0
    connector = (("connector", "stage_metrics"), ("otel_signal", "metrics"))
    assert found["otelcol_connector_consumed_items_total", connector] == 20
    assert found["otelcol_connector_produced_items_total", connector] == 1
    exporter = (("exporter", "otlp_grpc"),)
    assert found["otelcol_exporter_sent_metric_points_total", exporter] == 2
    assert found["otelcol_exporter_send_failed_metric_points_total", exporter] == 0
    assert found["otelcol_exporter_enqueue_failed_metric_points_total", exporter] == 7
    balance = (("component", "otlp"), ("component_kind", "receiver"), ("otel_signal", "traces"))
    named = {key[0]: value for key, value in found.items() if set(balance) <= set(key[1])}
    assert named == {"otel_pipeline_held_items": 6, "otel_pipeline_pending_items": 5, "otel_pipeline_missing_items": 0}
    process = {name for name, _labels in found if name.startswith("otelcol_process_")}
    assert process == {
        "otelcol_process_uptime_seconds_total",
        "otelcol_process_cpu_seconds_total",
        "otelcol_process_memory_rss_bytes",
    }


def test_values_are_those_of_the_moment_of_the_scrape() -> None:
    """Counts, counters and gauges are read when the page is made, also the second time."""
    telemetry = Telemetry()
    counts, size = Counts(), [1.0]
    telemetry.watch(lambda: [ComponentCounts("exporter", "out", "", "traces", "spans", counts)])
    telemetry.gauge("otelcol_exporter_queue_size", lambda: {("out",): size[0]}, labels=("exporter",))
    counter = telemetry.counter("otel_pipeline_decode_findings", labels=("reason",))
    for expected in (1, 2):
        counts.consumed += 1
        counts.sent += 1
        counter.add(1, "invalid_utf8")
        size[0] = expected
        found = samples(telemetry)
        assert found["otelcol_exporter_sent_spans_total", (("exporter", "out"),)] == expected
        assert found["otel_pipeline_decode_findings_total", (("reason", "invalid_utf8"),)] == expected
        assert found["otelcol_exporter_queue_size", (("exporter", "out"),)] == expected


def test_gateways_in_one_process_do_not_see_one_another() -> None:
    """Nothing is registered globally."""
    before = {family.name for family in REGISTRY.collect()}
    first, second = Telemetry(), Telemetry()
    first.counter("otel_pipeline_only_here").add(1)
    assert ("otel_pipeline_only_here_total", ()) in samples(first)
    assert ("otel_pipeline_only_here_total", ()) not in samples(second)
    assert {family.name for family in REGISTRY.collect()} == before


def test_a_counter_has_a_bounded_number_of_series_and_loses_no_amount() -> None:
    """What comes after the limit is added up under `other`."""
    telemetry = Telemetry()
    counter = telemetry.counter("otel_pipeline_things", labels=("sender", "reason"))
    for number in range(MAX_LABEL_SETS + 50):
        counter.add(2, str(number), "x")
    counter.add(2, "0", "x")
    found = {key: value for key, value in samples(telemetry).items() if key[0] == "otel_pipeline_things_total"}
    assert len(found) == MAX_LABEL_SETS + 1
    assert sum(found.values()) == 2 * (MAX_LABEL_SETS + 51)
    assert found["otel_pipeline_things_total", (("reason", "other"), ("sender", "other"))] == 100


def test_no_label_value_can_break_the_page() -> None:
    """Quotes, newlines, backslashes and lone surrogates come out escaped or replaced."""
    telemetry = Telemetry()
    counter = telemetry.counter("otel_pipeline_things", labels=("text",))
    for text in ('"}\n# EOF\n', "\\", "\ud800", "é\u2028", ""):
        counter.add(1, text)
    for openmetrics in (False, True):
        texts = {dict(labels)["text"] for name, labels in samples(telemetry, openmetrics=openmetrics) if labels}
        assert texts == {'"}\n# EOF\n', "\\", "?", "é\u2028", ""}


def test_units_are_appended_to_names() -> None:
    """`s` and `By` become `_seconds` and `_bytes`."""
    telemetry = Telemetry()
    telemetry.counter("otel_pipeline_waited", unit="s").add(1.5)
    telemetry.gauge("otel_pipeline_room", lambda: {(): 7}, unit="By")
    found = samples(telemetry)
    assert found["otel_pipeline_waited_seconds_total", ()] == 1.5
    assert found["otel_pipeline_room_bytes", ()] == 7


def test_own_names_are_all_names_of_the_page() -> None:
    """Who adds metrics to the page can tell which names are taken."""
    telemetry = Telemetry()
    telemetry.watch(rows)
    telemetry.counter("otel_pipeline_things").add(1)
    names = telemetry.own_names()
    page = telemetry.exposition(openmetrics=True).decode()
    families = parse_openmetrics(page + "# EOF\n")  # type: ignore[no-untyped-call]
    assert {family.name for family in families} <= names
    assert {name for name, _labels in samples(telemetry)} <= names


def test_gauges_of_a_scope_end_with_it_and_its_counters_stay() -> None:
    """Two components share a name; one goes."""
    telemetry = Telemetry()
    scopes = [telemetry.scope(), telemetry.scope()]

    def size_of(exporter: str) -> Callable[[], dict[tuple[str, ...], float]]:
        return lambda: {(exporter,): 1.0}

    for number, scope in enumerate(scopes):
        scope.gauge("queue_size", size_of(str(number)), labels=("exporter",))
        scope.counter("otel_pipeline_things").add(1)
    assert telemetry.counters["otel_pipeline_things"].values == {(): 2}
    scopes[0].close()
    scopes[0].close()
    found = samples(telemetry)
    assert [labels for name, labels in found if name == "queue_size"] == [(("exporter", "1"),)]
    assert found["otel_pipeline_things_total", ()] == 2


def test_missing_is_what_the_terms_leave_open() -> None:
    """Every term takes part with its sign; while a thread has the component there is nothing to tell."""
    counts = Counts(consumed=100, created=10, produced=1, sent=2, refused=3, failed=4, pending=5, held=lambda: 6)
    counts.dropped["a"], counts.dropped["b"] = 7, 8
    assert counts.missing() == 110 - (1 + 2 + 3 + 4 + 5 + 6 + 7 + 8)
    counts.away = True
    assert counts.missing() == 0


def test_adopted_counts_go_on_and_balance() -> None:
    """What the old one left in its queue is not double when the new one finds it."""
    old = Counts(consumed=10, sent=4, held=lambda: 5)
    old.dropped["full"] = 1
    new = Counts()
    new.adopt(old)
    assert (new.consumed, new.sent, dict(new.dropped), new.missing()) == (10, 4, {"full": 1}, 0)
    new.held, new.created = (lambda: 5), new.created + 5
    assert new.missing() == 0
