"""The same instruments of OpenTelemetry's SDK, shown by its own Prometheus exporter and by the gateway.

Both show the same samples, types, helps and units, but for what opentelemetry-exporter-prometheus and prometheus_client
are known to do otherwise. Of that each has a test below that shows both sides: exemplars, exponential histograms, one
name with two descriptions, keys that become one label, digits first, labels that are missing, units of gauges that are
1, start times, and who a target is. What no sample tells (their queue of collections, no protobuf, `q=` of media types)
is left out.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import use_span
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from otel_pipeline.pdata import from_proto
from otel_pipeline.prometheus import SeriesStore

Page = Callable[..., str]
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

HOUR = 3_600_000_000_000


class Both:
    """A meter, and what each of the two shows of it."""

    def __init__(self, resource: dict[str, str] | None = None, **options: Any) -> None:
        self._registry = CollectorRegistry()
        self._memory = InMemoryMetricReader()
        self._provider = MeterProvider(
            metric_readers=[
                PrometheusMetricReader(registry=self._registry, disable_target_info=not resource),
                self._memory,
            ],
            resource=Resource(dict(resource or {})),
            shutdown_on_exit=False,
            **options,
        )
        self.meter: Meter = self._provider.get_meter("scope", "1.2", "https://schema/1", {"kind.of": "test"})

    def theirs(self, openmetrics: bool = False) -> str:
        generate: Any = generate_openmetrics if openmetrics else generate_latest
        page: bytes = generate(self._registry)
        return page.decode()

    def ours(self, openmetrics: bool = False, **options: Any) -> str:
        store = SeriesStore(epoch_ns=1, **{"created_timestamps": False, "zero_first": False, **options})
        collected = self._memory.get_metrics_data()
        if collected is not None:
            batch = from_proto(encode_metrics(collected))
            ingested = store.ingest(batch, 4_000_000_000 * 1_000_000_000)
            assert (ingested.kept, ingested.dropped) == (batch.items, {})
        return store.render("openmetrics" if openmetrics else "text", None, HOUR).decode()

    def close(self) -> None:
        self._provider.shutdown()


@contextmanager
def both(resource: dict[str, str] | None = None, **options: Any) -> Iterator[Both]:
    made = Both(resource, **options)
    yield made
    made.close()


def families(page: str, openmetrics: bool) -> list[Any]:
    parse: Any = parse_openmetrics if openmetrics else parse_text
    return [*parse(page)]


def samples(page: str, openmetrics: bool = False) -> Samples:
    """Values by name and labels, bounds as numbers. A label without value is none, as it is to Prometheus."""
    found: Samples = {}
    for family in families(page, openmetrics):
        for sample in family.samples:
            told = ((name, str(float(text)) if name == "le" else text) for name, text in sample.labels.items() if text)
            key = (sample.name, frozenset(told))
            assert key not in found
            found[key] = sample.value
    return found


def own(page: str, openmetrics: bool = False) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Values by name and labels, but for those of the scope."""
    return {
        (name, tuple(sorted(label for label in labels if not label[0].startswith("otel_scope_")))): value
        for (name, labels), value in samples(page, openmetrics).items()
    }


def heads(page: str, openmetrics: bool) -> dict[str, tuple[str, str, str]]:
    return {one.name: (one.type, one.documentation, one.unit) for one in families(page, openmetrics)}


# --- where both are right

LETTERS = st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])
VALUES = st.one_of(st.text(LETTERS, min_size=1, max_size=5), st.booleans(), st.integers(-5, 5), st.just('quo"te\\\n'))
LABELS = st.dictionaries(st.sampled_from(["plain", "dot.ted", "UPPER", "under_score", "dash-ed"]), VALUES, max_size=3)
NUMBERS = st.one_of(st.integers(0, 2**40), st.floats(0, 1e9))
NAMES = ["http.requests", "queue-depth", "a/b.c", "seen_total", "Size", "wait.seconds"]
UNITS = ["", "s", "ms", "By", "KiBy", "%", "Cel", "{item}", "m/s", "By/s", "{item}/s", "custom"]
KINDS = ["counter", "up_down_counter", "gauge", "histogram"]
INSTRUMENT = st.tuples(
    st.sampled_from(KINDS),
    st.sampled_from(UNITS),
    st.text(LETTERS, max_size=8).map(str.strip),
    st.lists(st.tuples(NUMBERS, LABELS), min_size=1, max_size=4),
)


def record(meter: Meter, name: str, kind: str, unit: str, help: str, seen: list[tuple[Any, Any]]) -> None:
    instrument: Any = getattr(meter, f"create_{kind}")(name, unit=unit, description=help)
    note = {"counter": "add", "up_down_counter": "add", "gauge": "set", "histogram": "record"}[kind]
    for step, (value, labels) in enumerate(seen):
        value = -value if kind in ("up_down_counter", "gauge") and step % 2 else value
        getattr(instrument, note)(value, labels)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), INSTRUMENT, max_size=4), st.booleans())
def test_both_show_the_same(instruments: dict[str, Any], openmetrics: bool) -> None:
    """Counters, up-down counters, gauges and histograms of any unit, help and labels."""
    with both() as made:
        for name, (kind, unit, help, seen) in instruments.items():
            record(made.meter, name, kind, unit, help, seen)
        theirs, ours = made.theirs(openmetrics), made.ours(openmetrics)
        assert samples(ours, openmetrics) == samples(theirs, openmetrics)
        assert heads(ours, openmetrics) == heads(theirs, openmetrics)


# --- where they are not


def test_difference_1_exemplars() -> None:
    with both() as made:
        span = TracerProvider(shutdown_on_exit=False).get_tracer("t").start_span("s")
        with use_span(span, end_on_exit=True):
            made.meter.create_counter("c").add(1)
        trace = f'trace_id="{span.get_span_context().trace_id:032x}"'
        assert trace in made.ours(openmetrics=True)
        assert trace not in made.theirs(openmetrics=True)


def test_difference_2_exponential_histograms() -> None:
    """The other one loses its page."""
    views = [View(instrument_name="e", aggregation=ExponentialBucketHistogramAggregation())]
    with both(views=views) as made:
        made.meter.create_histogram("e").record(3)
        with pytest.raises(AttributeError):
            made.theirs()
        assert own(made.ours())[("e_count", ())] == 1


def test_difference_3_one_name_with_two_descriptions_is_one_family() -> None:
    with both() as made:
        for meter, help in ((made.meter, "one"), (made._provider.get_meter("other"), "two")):
            meter.create_gauge("g", description=help).set(1)
        assert made.theirs().count("# TYPE g gauge") == 2
        assert made.ours().count("# TYPE g gauge") == made.ours().count("# HELP g ") == 1
        assert samples(made.ours()) == samples(made.theirs())


def test_difference_4_keys_that_become_one_label_keep_all_values() -> None:
    with both() as made:
        made.meter.create_gauge("g").set(1, {"a.b": "1", "a_b": "2"})
        assert own(made.theirs()) == {("g", (("a_b", "2"),)): 1}
        assert own(made.ours()) == {("g", (("a_b", "1;2"),)): 1}


def test_difference_5_a_digit_at_the_beginning_is_kept() -> None:
    with both() as made:
        made.meter.create_gauge("g").set(1, {"1abc": "x"})
        assert own(made.theirs()) == {("g", (("_abc", "x"),)): 1}
        assert own(made.ours()) == {("g", (("key_1abc", "x"),)): 1}


def test_difference_6_a_label_that_is_missing_is_not_shown() -> None:
    with both() as made:
        gauge = made.meter.create_gauge("g")
        gauge.set(1, {"a": "x"})
        gauge.set(2)
        assert 'a=""' in made.theirs()
        assert 'a=""' not in made.ours()
        assert samples(made.ours()) == samples(made.theirs())


def test_difference_7_gauges_of_unit_1_are_ratios_and_starts_are_told() -> None:
    with both() as made:
        made.meter.create_gauge("g", unit="1").set(1)
        made.meter.create_counter("c").add(1)
        assert set(own(made.theirs(openmetrics=True), True)) == {("g", ()), ("c_total", ())}
        shown = own(made.ours(openmetrics=True, created_timestamps=True), True)
        assert set(shown) == {("g_ratio", ()), ("c_total", ()), ("c_created", ())}


def test_difference_9_a_target_is_known_by_job_and_instance() -> None:
    """As all points of it are, since several senders share the page."""
    with both({"service.name": "s", "service.instance.id": "i", "host.name": "h"}) as made:
        made.meter.create_gauge("g").set(1)
        theirs = {("service_name", "s"), ("service_instance_id", "i"), ("host_name", "h")}
        ours = {("job", "s"), ("instance", "i"), ("host_name", "h")}
        assert own(made.theirs()) == {("g", ()): 1, ("target_info", tuple(sorted(theirs))): 1}
        known = (("instance", "i"), ("job", "s"))
        assert own(made.ours()) == {("g", known): 1, ("target_info", tuple(sorted(ours))): 1}
