"""Derivations from data points: what a stream adds, what a gauge shows, what is passed on."""

from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from otel_pipeline.pdata import Batch, to_proto
from otel_pipeline.testing import attributes, make_counter, make_gauge, make_histogram, make_metrics
from tests.connectors.aggregation import BEGIN_NS, SECOND, Aggregation, derivation, label, metric

DELTA, CUMULATIVE = 1, 2
BEFORE = BEGIN_NS - 60 * SECOND
AFTER = BEGIN_NS + SECOND


def of(name: str, value: Any = "point", **more: Any) -> dict[str, Any]:
    """A derivation of the points of one metric."""
    return derivation("points", value, selector={"name": {"literal": name}}, **more)


def made_sum(value: float, labels: dict[str, Any] | None = None, *, temporality: int = CUMULATIVE, at: int = 10,
             start: int = BEFORE, monotonic: bool = True, name: str = "raw") -> Metric:  # fmt: skip
    made = make_counter(name, value, labels, start_ns=start, time_ns=BEGIN_NS + at * SECOND)
    made.sum.aggregation_temporality = temporality  # type: ignore[assignment]
    made.sum.is_monotonic = monotonic
    return made


def names(batch: Batch | None) -> list[str]:
    if batch is None:
        return []
    found = to_proto(batch).resource_metrics
    return [one.name for resource in found for scope in resource.scope_metrics for one in scope.metrics]


def counter() -> Aggregation:
    return Aggregation(metric("m", of("raw"), labels=[label("kind")]))


def test_delta_points_add_up() -> None:
    """Each once: one that is sent again adds nothing."""
    aggregation = counter()
    for at, value in ((10, 3), (20, 4), (20, 4), (30, 5)):
        start = BEGIN_NS + (at - 10) * SECOND
        aggregation.points(made_sum(value, {"kind": "a"}, temporality=DELTA, start=start, at=at))
    assert aggregation.value("m", kind="a") == 12
    assert aggregation.native.stats()["repeated_points"] == 1


@pytest.mark.parametrize(
    ("start", "points", "expected"),
    [
        (BEFORE, [(10, 5), (20, 7)], 2),
        (0, [(10, 5), (20, 7)], 2),
        (AFTER, [(10, 5), (20, 7)], 7),
        (AFTER, [(10, 5), (20, 7), (20, 7), (15, 6), (30, 8)], 8),
        (BEFORE, [(10, 5), (20, 2), (30, 3)], 1),
        (AFTER, [(10, 5), (20, 2), (30, 3)], 8),
        (BEFORE, [(10, 5)], 0),
    ],
    ids=["running before", "start unknown", "started since", "old and repeated", "fell", "fell, started since", "base"],
)
def test_cumulative_points_add_what_they_grew_by(start: int, points: list[tuple[int, float]], expected: float) -> None:
    """A stream that may have been there before counts from its first point; one that cannot, from zero."""
    aggregation = counter()
    for at, value in points:
        aggregation.points(made_sum(value, start=start, at=at))
    assert aggregation.value("m", kind="-") == expected
    assert aggregation.native.stats()["streams_met_running"] == (start != AFTER)


def test_a_restart_counts_in_full() -> None:
    """A later start time is a stream of its own; so are two that run at once."""
    aggregation = counter()
    for start, at, value in ((BEFORE, 10, 100), (BEFORE, 20, 110), (AFTER, 30, 4), (BEFORE, 35, 111), (AFTER, 40, 6)):
        aggregation.points(made_sum(value, start=start, at=at))
    assert aggregation.value("m", kind="-") == 10 + 6 + 1


def test_streams_are_told_apart() -> None:
    """By resource and attributes, whatever the order of these; all add to one series."""
    aggregation = counter()
    for at, value in ((10, 1), (20, 4)):
        aggregation.points(made_sum(value, {"kind": "a", "session": "1"}, at=at), host="x")
        aggregation.points(made_sum(value * 10, {"session": "2", "kind": "a"}, at=at), host="x")
        aggregation.points(made_sum(value * 100, {"session": "1", "kind": "a"} if at == 10 else
                                    {"kind": "a", "session": "1"}, at=at), host="y")  # fmt: skip
    assert aggregation.native.stats()["streams"] == 3
    assert aggregation.value("m", kind="a") == 333


def test_forgotten_streams_do_not_count_twice() -> None:
    """A stream that was silent for over an hour counts from what it says next, however late it had started."""
    aggregation = counter()
    aggregation.points(made_sum(5, start=AFTER, at=10))
    aggregation.flush(3700)
    aggregation.flush(3700)
    assert aggregation.native.stats()["streams"] == 0
    aggregation.points(made_sum(6, start=AFTER, at=7500))
    aggregation.points(made_sum(8, start=AFTER, at=7600))
    assert aggregation.value("m", kind="-") == 7


def test_a_gauge_as_a_counter() -> None:
    """Restarts that are told as a gauge count by what they grow."""
    aggregation = Aggregation(metric("restarts", of("k8s.container.restarts"), labels=[label("pod")]))
    for at, value in ((10, 5), (20, 5), (30, 7), (40, 0), (50, 1)):
        gauge = make_gauge("k8s.container.restarts", value, {"pod": "a"}, time_ns=BEGIN_NS + at * SECOND)
        aggregation.points(gauge)
        if at == 10:
            assert aggregation.value("restarts", pod="a") == 0
    assert aggregation.value("restarts", pod="a") == 3


def test_gauges_show_the_latest_value() -> None:
    """In the series of their labels, from the point, its scope or its resource; an older point changes nothing."""
    plan = metric("size", of("raw", scale=1024), instrument="gauge", labels=[label("pod", "k8s.pod.name", "pod")])
    aggregation = Aggregation(plan)
    for at, value in ((20, 7), (10, 3)):
        aggregation.points(make_gauge("raw", value, time_ns=BEGIN_NS + at * SECOND), k8s__pod__name="p")
    aggregation.points(made_sum(9, {"pod": "q"}, monotonic=False))
    assert aggregation.values("size") == {frozenset({("pod", "p")}): 7168, frozenset({("pod", "q")}): 9216}


def test_gauges_are_shown_again_while_they_are_told() -> None:
    """The same value is flushed again; a gauge that is not told any more is forgotten after an hour."""
    aggregation = Aggregation(metric("size", of("raw"), instrument="gauge"))
    for at in (10, 40):
        aggregation.points(make_gauge("raw", 1, time_ns=BEGIN_NS + at * SECOND))
        assert aggregation.value("size") == 1
    aggregation.flush(3700)
    assert aggregation.native.stats()["series"] == 0


def test_states_are_series() -> None:
    """One series for each word: 1 for the current one, 0 for the others."""
    states = {"label": 1, "values": [[1, "Pending"], [2, "Running"], [3, "Succeeded"]]}
    labels = [label("pod"), label("phase")]
    aggregation = Aggregation(metric("phase", of("k8s.pod.phase", states=states), instrument="gauge", labels=labels))
    for at, phase, current in ((10, 1, "Pending"), (20, 2, "Running")):
        aggregation.points(make_gauge("k8s.pod.phase", phase, {"pod": "a"}, time_ns=BEGIN_NS + at * SECOND))
        shown = {dict(key)["phase"]: value for key, value in aggregation.values("phase").items()}
        assert shown == {"Pending": 0, "Running": 0, "Succeeded": 0} | {current: 1}


def test_up_down_counters_are_the_sum_of_their_streams() -> None:
    """Of what each said last; of delta streams of all they said. A silent stream is taken off after an hour."""
    plan = metric("active", of("raw"), instrument="updowncounter", labels=[label("task")])
    aggregation = Aggregation(plan)
    for at, session, value in ((10, "1", 3), (10, "2", 5), (20, "1", 1)):
        aggregation.points(made_sum(value, {"task": "code", "session": session}, at=at, monotonic=False))
    for at, value in ((10, 4), (20, -1)):
        start = BEGIN_NS + (at - 10) * SECOND
        point = made_sum(value, {"task": "test"}, at=at, start=start, temporality=DELTA, monotonic=False)
        aggregation.points(point)
    assert aggregation.values("active") == {frozenset({("task", "code")}): 6, frozenset({("task", "test")}): 3}
    aggregation.flush(3000)
    aggregation.points(made_sum(2, {"task": "code", "session": "2"}, at=3000, monotonic=False))
    assert aggregation.value("active", 700, task="code") == 2


def test_a_value_of_the_same_resource_is_a_label() -> None:
    """The limit that another metric of the container tells, as the word for its size."""
    limit = label("memory_limit", buckets=[["<=1GiB", 2**30], [">1GiB", None]])
    source = of("container.memory.usage", labels={"1": {"metric": "container.memory.limit"}})
    plan = metric("memory", source, instrument="gauge", labels=[label("container"), limit])
    aggregation = Aggregation(plan)
    for container, size in (("a", 2**29), ("b", 2**31), ("c", None)):
        now = BEGIN_NS + SECOND
        told = [make_gauge("container.memory.usage", 7, time_ns=now)]
        if size:
            told.append(make_gauge("container.memory.limit", size, time_ns=now))
        aggregation.points(*told, container=container)
    shown = {dict(key)["container"]: dict(key)["memory_limit"] for key in aggregation.values("memory")}
    assert shown == {"a": "<=1GiB", "b": ">1GiB", "c": "-"}


def histogram(counts: list[int], total: float, *, at: int, start: int = BEFORE) -> Metric:
    return make_histogram("raw", counts, [100, 1000, 60_000], sum=total, start_ns=start, time_ns=BEGIN_NS + at * SECOND)


def test_histograms_become_counters_and_histograms() -> None:
    """Sum, count, and buckets counted where their upper end belongs; only what was added since the first point."""
    aggregation = Aggregation(
        metric("tokens", of("raw")),
        metric("calls", of("raw", "one")),
        metric("took", of("raw", scale=0.001), instrument="histogram", unit="s", buckets=[0.5, 1, 30]),
    )
    aggregation.points(histogram([1, 1, 1, 1], 5000, at=10))
    aggregation.points(histogram([2, 3, 5, 8], 9500, at=20))
    aggregation.flush()
    counters = {name: found.sum.data_points[0].as_double for name, found in aggregation.metrics.items() if
                name != "took"}  # fmt: skip
    (took,) = aggregation.metrics["took"].histogram.data_points
    assert counters == {"tokens": 4500, "calls": 14}
    assert (took.count, took.sum, list(took.bucket_counts)) == (14, 4.5, [1, 2, 0, 11])


def test_a_gauge_is_one_observation_of_a_histogram() -> None:
    """Each point with its value."""
    aggregation = Aggregation(metric("waits", of("raw"), instrument="histogram", buckets=[1, 10]))
    for at, value in ((10, 0.5), (20, 5)):
        aggregation.points(make_gauge("raw", value, time_ns=BEGIN_NS + at * SECOND))
    aggregation.flush()
    (point,) = aggregation.metrics["waits"].histogram.data_points
    assert (point.sum, list(point.bucket_counts)) == (5.5, [1, 1, 0])


@pytest.mark.parametrize("temporality", [DELTA, CUMULATIVE])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_points_that_cannot_be_added_up(value: float, temporality: int) -> None:
    """No observation, but a finding."""
    aggregation = counter()
    aggregation.points(made_sum(value, start=AFTER, temporality=temporality))
    assert aggregation.values("m") == {}
    assert aggregation.native.stats()["invalid_values"] == 1


def test_points_of_other_kinds_are_passed_on() -> None:
    """A sum without temporality, a histogram without buckets where they are needed; even under the metric's name."""
    aggregation = Aggregation(
        metric("m", of("raw", takes=True)),
        metric("h", of("took", takes=True), instrument="histogram", buckets=[1]),
    )
    odd = make_histogram("took", [], [], sum=1, start_ns=BEFORE, time_ns=AFTER)
    assert names(aggregation.points(made_sum(1, temporality=0), odd)) == ["raw", "took"]
    assert aggregation.native.stats()["unsupported_points"] == 2


def test_a_stream_that_is_gone() -> None:
    """The mark that no value was recorded is no value."""
    aggregation = counter()
    made = made_sum(0, start=AFTER)
    made.sum.data_points[0].flags = 1
    aggregation.points(made)
    assert aggregation.values("m") == {}


def test_what_is_not_taken_is_passed_on() -> None:
    """The very batch where nothing is; nothing where all is; else the other points, with all that is around them."""
    labelled = of("mine", takes=True) | {
        "selector": {"name": {"literal": "mine"}, "attributes": [["kind", {"literal": "a"}]]}
    }
    aggregation = Aggregation(metric("m", labelled, of("used")))
    untouched = make_metrics(made_sum(1, name="other"), made_sum(1, name="used"))
    assert aggregation.send(untouched) is untouched
    assert aggregation.points(made_sum(1, {"kind": "a"}, name="mine")) is None
    both = made_sum(1, {"kind": "a"}, name="mine")
    both.sum.data_points.add(as_int=5, attributes=attributes({"kind": "b"}))
    rest = aggregation.points(made_sum(1, name="other"), both, made_sum(1, {"kind": "a"}, name="mine"), host="h")
    assert rest is not None
    assert (rest.items, names(rest)) == (2, ["other", "mine"])
    (resource,) = to_proto(rest).resource_metrics
    assert resource.resource.attributes == attributes({"host": "h"})
    assert resource.scope_metrics[0].metrics[1].sum.data_points[0].as_int == 5


def test_streams_are_bounded() -> None:
    """Of more than 100 000 the silent ones are forgotten; none counts twice for that."""
    aggregation = counter()
    for batch in range(11):
        raw = made_sum(1, start=AFTER)
        del raw.sum.data_points[:]
        for number in range(10_000):
            raw.sum.data_points.add(start_time_unix_nano=AFTER, time_unix_nano=AFTER + 1, as_int=1,
                                    attributes=attributes({"session": f"{batch}.{number}"}))  # fmt: skip
        aggregation.seconds += 1
        aggregation.points(raw)
    assert aggregation.native.stats()["streams"] <= 100_000
    assert aggregation.value("m", kind="-") == 110_000
    aggregation.points(made_sum(2, {"session": "0.0"}, start=AFTER, at=90))
    assert aggregation.value("m", kind="-") == 110_000
