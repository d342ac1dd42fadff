"""Derivations from spans: which spans they select, what they observe, and what stands in the labels."""

from typing import Any

import pytest

from otel_pipeline.testing import attributes, make_span
from tests.connectors.aggregation import Aggregation, derivation, label, metric

DOMAIN: dict[str, Any] = {"boolean": False, "members": [], "globs": [], "other": None, "low_cardinality": None}


def selected(**selector: Any) -> dict[str, Any]:
    """A derivation of all spans that a selector selects."""
    return derivation("all_spans", selector=selector)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({"name": {"literal": "build"}}, 2),
        ({"name": {"any": [{"literal": "build"}, {"literal": "deploy"}]}}, 3),
        ({"name": {"glob": "*l*"}}, 3),
        ({"kinds": [2]}, 1),
        ({"statuses": [2]}, 1),
        ({"attributes": [["job", {"literal": "a"}]]}, 2),
        ({"attributes": [[["job.name", "job"], {"literal": "a"}]]}, 2),
        ({"attributes": [[["tries", "job"], {"literal": "a"}]]}, 1),
        ({"attributes": [[["tries", "job"], {"present": False}]]}, 1),
        ({"attributes": [["job", {"literal": "a"}], ["tries", {"range": [2, None]}]]}, 1),
        ({"attributes": [["job", {"present": False}]]}, 1),
        ({"attributes": [["job", {"not": {"literal": "a"}}]]}, 1),
        ({"name": {"literal": "build"}, "attributes": [["tries", {"present": True}]]}, 1),
        ({"event": {"literal": "exception"}}, 1),
        ({"scope_name": {"literal": "test"}}, 3),
        ({"scope_name": {"literal": "other"}}, 0),
        ({"resource": [["service.name", {"glob": "ci-*"}]]}, 3),
        ({"resource": [["job", {"present": True}]]}, 0),
        ({}, 3),
    ],
)
def test_a_selector_selects(selector: dict[str, Any], expected: int) -> None:
    """Name, kind, status, attributes, events, scope and resource: all parts must hold."""
    aggregation = Aggregation(metric("found", selected(**selector)))
    failed = make_span("build", span=2, error="x", job="a", tries=3)
    failed.events.add(name="exception")
    aggregation.spans(make_span("build", kind=2, job="a"), failed, make_span("deploy", span=3), service__name="ci-1")
    assert (aggregation.value("found") or 0) == expected


def test_scope_and_resource_are_asked_anew() -> None:
    """What held for the items of one resource does not hold for those of the next."""
    aggregation = Aggregation(metric("found", selected(resource=[["service.name", {"literal": "a"}]])))
    for number, service in enumerate(["a", "b", "a"], start=1):
        aggregation.spans(make_span(trace=number), service__name=service)
    assert aggregation.value("found") == 2


def test_late_conditions_ask_after_inheritance() -> None:
    """A condition on a canonical attribute sees what an ancestor gave, however late it came; all must hold."""
    late = [["sdlc.stage.name", ["coding", "review"]], ["sdlc.outcome", ["success"]]]
    aggregation = Aggregation(metric("found", derivation("all_spans", late=late)))
    aggregation.spans(make_span(span=2, parent=1), make_span(span=3, parent=1, error="x"))
    aggregation.spans(make_span(span=1, sdlc__stage__name="coding"), make_span(trace=2, sdlc__stage__name="test"))
    assert aggregation.value("found") == 2


def test_sources_tell_runs_from_other_spans() -> None:
    """Runs, other spans, both, and errors, of the same two spans."""
    names = ["stage_runs", "spans", "all_spans", "errors"]
    aggregation = Aggregation(*(metric(name, derivation(name)) for name in names))
    aggregation.spans(make_span(sdlc__stage__name="coding"), make_span(span=2, parent=1, error="x"))
    aggregation.flush()
    counts = {name: point.as_int for name, found in aggregation.metrics.items() for point in found.sum.data_points}
    assert counts == {"stage_runs": 1, "spans": 1, "all_spans": 2, "errors": 1}


def test_noise_counts_where_it_is_selected() -> None:
    """A span that is neither run nor operation is for derivations that name it, and no others."""
    named = metric("named", selected(name={"literal": "blocked"}))
    aggregation = Aggregation(metric("every", derivation("all_spans")), named)
    aggregation.spans(make_span("blocked", sdlc__noise=True))
    aggregation.flush()
    assert set(aggregation.metrics) == {"named"}


def test_labels_wait_with_the_span() -> None:
    """Of the span, its scope or its resource, the nearest; of several keys the first; else the default."""
    labels = [label("job", "job.name", "job"), label("branch"), label("node"), label("sdlc.stage.name")]
    late = [["sdlc.stage.name", ["ci_cd"]]]
    aggregation = Aggregation(metric("builds", derivation("stage_runs", late=late), labels=labels))
    aggregation.spans(
        make_span(trace=1, job="second", branch="main", sdlc__stage__name="ci_cd"),
        make_span(trace=2, job="second", job__name="first", sdlc__stage__name="ci_cd"),
        make_span(trace=3, job="other stage", sdlc__stage__name="coding"),
        branch="of the resource",
        job__name="far",
    )
    shared = {"node": "-", "sdlc.stage.name": "ci_cd"}
    assert aggregation.values("builds") == {
        frozenset({"job": "second", "branch": "main", **shared}.items()): 1,
        frozenset({"job": "first", "branch": "of the resource", **shared}.items()): 1,
    }


def test_a_derivation_has_labels_of_its_own() -> None:
    """A constant word, and attributes that this sender calls otherwise; two derivations add up in one metric."""
    labels = [label("tool"), label("kind")]
    one = derivation("all_spans", selector={"name": {"literal": "a"}}, labels={"1": {"value": "x"}})
    other = derivation("all_spans", selector={"name": {"literal": "b"}}, labels={"0": {"attributes": ["tool_name"]}})
    aggregation = Aggregation(metric("calls", one, other, labels=labels))
    aggregation.spans(
        make_span("a", tool="shell", kind_="ignored"), make_span("b", span=2, tool="no", tool_name="shell", kind__="")
    )
    assert aggregation.values("calls") == {
        frozenset({("tool", "shell"), ("kind", "x")}): 1,
        frozenset({("tool", "shell"), ("kind", "-")}): 1,
    }


def test_one_item_may_count_in_several_ways() -> None:
    """Passed and failed cases of one test run are two derivations of one metric."""
    passed = derivation("all_spans", "test.passed", labels={"0": {"value": "pass"}})
    failed = derivation("all_spans", "test.failed", labels={"0": {"value": "fail"}})
    aggregation = Aggregation(metric("cases", passed, failed, labels=[label("result")]))
    aggregation.spans(make_span(test__passed=10, test__failed=2), make_span(span=2, test__passed=5))
    assert aggregation.values("cases") == {frozenset({("result", "pass")}): 15, frozenset({("result", "fail")}): 2}


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, 3.0), (0.5, 0.5), ("12", 12.0), (" 1.5 ", 1.5), (0, 0.0), (2**62, 2.0**62)],
)
def test_values_are_numbers(value: Any, expected: float) -> None:
    """Ints, doubles, and text that is a number."""
    aggregation = Aggregation(metric("lines", derivation("all_spans", "lines")))
    aggregation.spans(make_span(lines=value))
    assert aggregation.value("lines") == expected


@pytest.mark.parametrize("value", ["many", "", "inf", "nan", float("inf"), float("nan"), -1, True, [1], b"1", "9" * 99])
def test_what_is_no_number_is_told(value: Any) -> None:
    """No observation but a finding; so is what would make a counter fall."""
    aggregation = Aggregation(metric("lines", derivation("all_spans", "lines")))
    aggregation.spans(make_span(lines=value), make_span(span=2))
    assert aggregation.values("lines") == {}
    assert aggregation.native.stats()["invalid_values"] == 1


def test_values_are_scaled() -> None:
    """Milliseconds of an attribute in a histogram of seconds, beside a duration, in the right bucket."""
    parts = [
        derivation("all_spans", ["took_ms", "duration_ms"], scale=0.001, selector={"name": {"literal": "log"}}),
        derivation("all_spans", "duration", selector={"name": {"literal": "span"}}),
    ]
    aggregation = Aggregation(metric("took", *parts, instrument="histogram", unit="s", buckets=[1, 60]))
    aggregation.spans(make_span("log", duration_ms=1500), make_span("span", span=2, seconds=90))
    aggregation.flush()
    (point,) = aggregation.metrics["took"].histogram.data_points
    assert (point.sum, list(point.bucket_counts)) == (91.5, [0, 1, 1])


def test_gauges_show_the_latest() -> None:
    """By the end of the span, not by its arrival; an up-down counter adds both signs."""
    aggregation = Aggregation(
        metric("coverage", derivation("all_spans", "percent"), instrument="gauge"),
        metric("active", derivation("all_spans", "change"), instrument="updowncounter"),
    )
    aggregation.spans(make_span(span=1, start=100, percent=80, change=3))
    aggregation.spans(make_span(span=2, start=50, percent=10, change=-5))
    aggregation.flush()
    (coverage,) = aggregation.metrics["coverage"].gauge.data_points
    assert coverage.as_double == 80
    active = aggregation.metrics["active"].sum
    assert (active.is_monotonic, active.aggregation_temporality, active.data_points[0].as_double) == (False, 2, -2)


def test_labels_have_one_form() -> None:
    """Spellings of a member are the member, all others the word for others; seen once or often."""
    domain = DOMAIN | {"members": [["ok", "pass"], ["passed", "pass"]], "globs": [["fail*", "fail"]], "other": "other"}
    aggregation = Aggregation(metric("runs", derivation("all_spans"), labels=[label("result", domain=domain)]))
    words = ["OK", "Passed", "failure", "x", "y", "OK"]
    aggregation.spans(*(make_span(span=number, result=word) for number, word in enumerate(words, start=1)))
    assert aggregation.values("runs") == {
        frozenset({("result", "pass")}): 3,
        frozenset({("result", "fail")}): 1,
        frozenset({("result", "other")}): 2,
    }


@pytest.mark.parametrize(
    ("value", "word"),
    [(0, "1-3"), (3, "1-3"), (3.5, "4-6"), ("6", "4-6"), (7, ">6"), ("many", "-"), ([], "-"), (True, "-")],
)
def test_numbers_are_words_in_labels(value: Any, word: str) -> None:
    """A bound belongs to its word; what is no number has the default."""
    buckets = [["1-3", 3], ["4-6", 6], [">6", None]]
    aggregation = Aggregation(metric("reviews", derivation("all_spans"), labels=[label("rounds", buckets=buckets)]))
    aggregation.spans(make_span(rounds=value))
    assert aggregation.value("reviews", rounds=word) == 1


def test_constants_are_there_from_the_beginning() -> None:
    """And again, so that nobody takes them for gone."""
    constants = [{"labels": ["coding"], "value": 5.0}, {"labels": ["test"], "value": 6.0}]
    aggregation = Aggregation(metric("order", instrument="gauge", labels=[label("stage")], constants=constants))
    expected = {frozenset({("stage", "coding")}): 5, frozenset({("stage", "test")}): 6}
    assert aggregation.values("order") == expected
    assert aggregation.values("order", seconds=59) == {}
    assert aggregation.values("order", seconds=1) == expected


def test_texts_that_wait_outlive_the_sweep() -> None:
    """Label values of waiting spans are kept while thousands of others come and go."""
    with_job = {"name": {"literal": "build"}}
    aggregation = Aggregation(metric("builds", derivation("all_spans", selector=with_job), labels=[label("job")]))
    aggregation.spans(make_span("build", parent=9, job="mine"))
    for number in range(1, 9):
        spans = [make_span(trace=number * 1000 + one, sdlc__model__name=f"{number}.{one}") for one in range(1000)]
        aggregation.spans(*spans[1:])
    assert aggregation.value("builds", job="mine") == 1


def test_what_waits_for_one_item_is_bounded() -> None:
    """Of more than 32 attributes that derivations ask for the rest is left out, and told."""
    labels = [label(f"key{number}") for number in range(40)]
    aggregation = Aggregation(metric("runs", selected(kinds=[1]), labels=labels))
    span = make_span()
    span.attributes.extend(attributes({f"key{number}": "x" for number in range(40)}))
    aggregation.spans(span)
    ((found, count),) = aggregation.values("runs").items()
    assert (count, sum(value == "x" for _, value in found)) == (1, 32)
    assert aggregation.native.stats()["claims_left_out"] == 8


def test_spans_without_waiting_have_values_too() -> None:
    """`all` counts at arrival, with selectors, values and labels alike."""
    plan = metric("lines", derivation("all", "lines", selector={"kinds": [2]}), labels=[label("file")])
    aggregation = Aggregation(plan, late=False)
    aggregation.spans(make_span(kind=2, lines=3, file="a"), make_span(lines=5, file="a"))
    assert aggregation.value("lines", 0, file="a") == 3


@pytest.mark.parametrize(
    ("plan", "problem"),
    [
        (metric("m", derivation("all")), "does not fit late_binding"),
        (metric("m", derivation("events", "duration")), "does not fit source"),
        (metric("m", derivation("spans", "duration")), "no time unit"),
        (metric("m", derivation("spans", scale=0)), "scale"),
        (metric("m", derivation("spans", labels={"0": {"value": "x"}})), "no such label"),
        (metric("m", constants=[{"labels": [], "value": 1}]), "constants are gauges"),
        (metric("m", instrument="histogram", buckets=[2, 1]), "ascend"),
        (metric("m", labels=[label("a", buckets=[["x", 2], ["y", 1]])]), "do not ascend"),
        (metric("m", derivation("spans", selector={"name": {"regex": "("}})), "m: "),
        (metric("m", *(derivation("spans") for _ in range(129))), "more than 128"),
    ],
)
def test_plans_that_cannot_work(plan: dict[str, Any], problem: str) -> None:
    """The error names the metric and what is wrong."""
    with pytest.raises(ValueError, match=problem):
        Aggregation(plan)
