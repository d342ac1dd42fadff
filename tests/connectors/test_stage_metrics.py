"""The stage_metrics connector: what is counted, when, and how often."""

from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_pipeline import semconv
from otel_pipeline.connectors.stage_metrics import StageMetrics, StageMetricsConfig
from otel_pipeline.pdata import Batch, Signal, from_trusted, to_proto
from otel_pipeline.processors.semconv import Semconv, SemconvConfig
from otel_pipeline.testing import FakeTime, attributes, make_settings, make_span, make_traces
from tests.oracle.stages import Points, is_plain, metrics_in, points, stage_points

RECORDING = Path(__file__).parents[1] / "fixtures" / "recorded" / "claude-code-2.1.330_default.traces.otlp.pb"
CODING: dict[str, Any] = {"sdlc__stage__name": "coding"}
KNOWN: dict[str, Any] = {**CODING, "sdlc__project__id": "shop", "sdlc__agent__name": "codex"}
"""Every label that is inherited: only whether it is a run can be open."""
REVIEW: dict[str, Any] = {"sdlc__stage__name": "review"}


class Harness:
    """A connector with a clock set by hand; collects what it flushes."""

    def __init__(self, **options: Any) -> None:
        self.time = FakeTime()
        self.settings = make_settings("stage_metrics", time=self.time)
        self.connector = StageMetrics(StageMetricsConfig.model_validate(options), self.settings)
        self.points = Points()
        self.flushed: Batch | None = None

    def send(self, *spans: Span, **resource: Any) -> None:
        self.connector.process(make_traces(*spans, resource=resource or None))

    def wait(self, seconds: float) -> None:
        self.time.advance(seconds)
        self.flushed = self.connector.flush(self.time.unix_ns)
        self.points |= points(self.flushed)

    def count(self, metric: str, **labels: str) -> int:
        """How many observations of `metric` there are in all series with these labels."""
        return sum(
            point.count for (name, have), point in self.points.items() if name == metric and set(labels.items()) <= have
        )

    @property
    def runs(self) -> int:
        return self.count("sdlc.stage.runs")

    @property
    def operations(self) -> int:
        return self.count("sdlc.operation.duration")

    @property
    def errors(self) -> int:
        return self.count("sdlc.stage.errors")

    def findings(self, finding: str) -> float:
        counter = self.settings.telemetry.counter("otel_pipeline_connector_findings")
        return counter.values[("stage_metrics", finding)]


@pytest.fixture
def harness() -> Harness:
    return Harness()


def test_a_stage_is_counted_with_labels_from_its_trace(harness: Harness) -> None:
    """One run and one operation, labelled from ancestors, resource and model calls; as classic cumulative points."""
    harness.send(
        make_span("chat", span=2, parent=1, seconds=2, sdlc__model__name="opus", sdlc__operation__name="chat"),
        make_span("code", span=1, seconds=90, sdlc__requirement__id="REQ-1", sdlc__agent__name="codex", **CODING),
        **{"sdlc.project.id": "shop"},
    )
    harness.wait(30)
    shared = {("project_id", "shop"), ("stage", "coding"), ("agent", "codex"), ("outcome", "success")}
    run = harness.points["sdlc.stage.duration", frozenset({*shared, ("model", "opus")})]
    assert (run.count, run.sum, run.buckets.index(1)) == (1, 90.0, 5)
    assert harness.points["sdlc.stage.runs", frozenset(shared)].count == 1
    operation = harness.points[
        "sdlc.operation.duration", frozenset({*shared, ("model", "opus"), ("operation", "chat")})
    ]
    assert (operation.count, operation.sum) == (1, 2.0)
    assert harness.errors == 0


def test_points_are_cumulative_with_start_and_exemplar(harness: Harness) -> None:
    """Start time is before the birth of a series and stays; the latest exemplar of each bucket names its span."""
    born = harness.time.unix_ns
    harness.send(make_span(trace=7, span=1, seconds=90, sdlc__requirement__id="REQ-1", **CODING))
    harness.wait(30)
    harness.send(make_span(trace=8, span=2, seconds=100, **CODING), make_span(trace=9, span=3, seconds=700, **CODING))
    harness.wait(30)
    metric = metrics_in(harness.flushed)["sdlc.stage.duration"]
    assert (metric.unit, metric.histogram.aggregation_temporality) == ("s", 2)
    (point,) = metric.histogram.data_points
    assert (point.start_time_unix_nano, point.time_unix_nano) == (born, harness.time.unix_ns)
    assert (point.count, point.sum) == (3, 890.0)
    seen = {(int.from_bytes(e.trace_id, "big"), int.from_bytes(e.span_id, "big"), e.as_double) for e in point.exemplars}
    assert seen == {(8, 2, 100.0), (9, 3, 700.0)}
    assert all(e.time_unix_nano > 1_767_225_600_000_000_000 for e in point.exemplars)


def test_exemplars_name_the_requirement(harness: Harness) -> None:
    """A requirement is never a label, but the exemplar of its run carries it."""
    harness.send(make_span(sdlc__requirement__id="REQ-1042", **CODING))
    harness.wait(30)
    assert not any("REQ-1042" in str(labels) for _, labels in harness.points)
    (point,) = metrics_in(harness.flushed)["sdlc.stage.duration"].histogram.data_points
    (exemplar,) = point.exemplars
    assert exemplar.filtered_attributes == attributes({"sdlc.requirement.id": "REQ-1042"})


def test_only_changed_series_are_flushed(harness: Harness) -> None:
    """A series without a new observation is not sent again; with nothing new there is no batch."""
    harness.send(make_span(trace=1, **CODING))
    harness.wait(30)
    harness.send(make_span(trace=2, **REVIEW))
    harness.wait(30)
    assert {dict(labels)["stage"] for _, labels in points(harness.flushed)} == {"review"}
    harness.wait(30)
    assert metrics_in(harness.flushed).keys() <= {"sdlc.stage.order"}


def test_nothing_is_counted_before_the_trace_is_idle(harness: Harness) -> None:
    """A span whose parent may still come waits for `decision_wait` after the last span of its trace."""
    harness.send(make_span(span=2, parent=1, **KNOWN))
    harness.wait(29)
    harness.send(make_span(span=3, parent=1, **KNOWN))
    harness.wait(29)
    assert (harness.runs, harness.operations) == (0, 0)
    harness.wait(1)
    assert (harness.runs, harness.operations) == (2, 0)


def test_certain_spans_of_a_busy_trace_do_not_wait_for_it(harness: Harness) -> None:
    """Model calls of a session that never rests are counted all the same."""
    for second in range(60):
        harness.send(make_span(span=second + 2, parent=1, remote_parent=False, sdlc__stage__run=False,
                               sdlc__operation__name="chat", **KNOWN))  # fmt: skip
        harness.wait(1)
    assert harness.operations == 31
    assert harness.runs == 0


def test_a_tool_call_waits_for_the_span_that_names_its_tool(harness: Harness) -> None:
    """Only what shows a label waits for it: here a call of a tool that is named around it, and no model request."""
    for span, operation in ((2, "chat"), (3, "execute_tool")):
        harness.send(make_span(span=span, parent=1, remote_parent=False, sdlc__stage__run=False,
                               sdlc__operation__name=operation, **KNOWN))  # fmt: skip
    harness.wait(31)
    assert (harness.operations, harness.count("sdlc.tool.calls")) == (1, 0)
    harness.send(make_span(span=1, sdlc__tool__name="Bash", sdlc__operation__name="tool.call", **KNOWN))
    harness.wait(31)
    assert harness.count("sdlc.tool.calls", tool="Bash") == harness.count("sdlc.tool.calls") == 1


def test_a_long_stage_with_local_children_is_one_run(harness: Harness) -> None:
    """Children of a two-hour stage come hours before it; as their flags say that it is local, they are no runs."""
    for minute in range(120):
        harness.send(make_span(span=minute + 2, parent=1, remote_parent=False, start=60 * minute, **KNOWN))
        harness.wait(60)
    assert harness.runs == 0
    harness.send(make_span(span=1, seconds=7200, **KNOWN))
    harness.wait(30)
    assert (harness.runs, harness.operations) == (1, 120)
    assert harness.findings("late_parent") == 0


def test_an_operation_waits_for_labels_of_its_running_parent(harness: Harness) -> None:
    """What could only come from a parent that still runs is waited for, even where it is certain to be no run."""
    harness.send(make_span(span=2, parent=1, remote_parent=False, sdlc__stage__run=False, **CODING))
    harness.wait(600)
    assert harness.operations == 0
    harness.send(make_span(span=1, seconds=600, **KNOWN))
    harness.wait(30)
    assert harness.count("sdlc.operation.duration", project_id="shop", agent="codex") == 1


def test_a_run_is_not_told_below_a_parent_of_unknown_stage(harness: Harness) -> None:
    """The parent is there, but takes its stage from one that still runs: it may be the same stage."""
    harness.send(make_span(span=3, parent=2, **KNOWN), make_span(span=2, parent=1, remote_parent=False))
    harness.wait(600)
    assert harness.runs == 0
    harness.send(make_span(span=1, seconds=600, **KNOWN))
    harness.wait(30)
    assert (harness.runs, harness.operations) == (1, 2)


def test_a_local_parent_that_never_comes_is_given_up(harness: Harness) -> None:
    """After `max_wait` without any span of the trace, a child is counted as the topmost span of its stage."""
    harness.send(make_span(span=2, parent=1, remote_parent=False, **KNOWN))
    harness.wait(3599)
    assert harness.runs == 0
    harness.wait(1)
    assert harness.runs == 1


@pytest.mark.parametrize("remote", [True, None])
def test_a_parent_that_need_not_come_is_not_waited_for(harness: Harness, remote: bool | None) -> None:
    """A missing parent in another process, or of a sender that does not say, delays by `decision_wait` only."""
    harness.send(make_span(span=2, parent=1, remote_parent=remote, **KNOWN))
    harness.wait(30)
    assert harness.runs == 1


def test_a_parent_that_comes_too_late_is_counted_and_told(harness: Harness) -> None:
    """A run whose child had to be counted as one before is a run too, and a finding."""
    harness.send(make_span(span=2, parent=1, **KNOWN))
    harness.wait(30)
    harness.send(make_span(span=1, seconds=60, **KNOWN))
    harness.wait(30)
    assert (harness.runs, harness.findings("late_parent")) == (2, 1)


def test_late_spans_inherit_from_counted_ones(harness: Harness) -> None:
    """A child that comes minutes after its trace was counted still finds its ancestors."""
    harness.send(make_span(span=1, sdlc__project__id="shop", **CODING), make_span(span=2, parent=1))
    harness.wait(600)
    harness.send(make_span(span=3, parent=2, sdlc__operation__name="late"))
    harness.wait(30)
    assert harness.count("sdlc.operation.duration", operation="late", stage="coding", project_id="shop") == 1


def test_marks_decide_what_a_run_is(harness: Harness) -> None:
    """True makes a run below a span of the same stage, false makes none of a topmost span."""
    harness.send(
        make_span(span=1, sdlc__stage__run=False, **CODING),
        make_span(span=2, parent=1, sdlc__stage__run=True),
        make_span(span=3, parent=2),
    )
    harness.wait(30)
    assert (harness.runs, harness.operations) == (1, 2)


def test_noise_is_looked_through(harness: Harness) -> None:
    """A sender's inner workings are neither runs nor operations, and what is below them is judged without them."""
    noise = {**KNOWN, "sdlc__noise": True}
    harness.send(
        make_span(trace=1, span=1, **KNOWN),
        make_span(trace=1, span=2, parent=1, **noise),
        make_span(trace=1, span=3, parent=2, **KNOWN),
        make_span(trace=2, span=1, **noise),
        make_span(trace=2, span=2, parent=1, error="stuck", **noise),
        make_span(trace=2, span=3, parent=2, **KNOWN),
        make_span(trace=2, span=4, parent=3, **KNOWN),
    )
    harness.wait(30)
    assert (harness.runs, harness.operations, harness.errors) == (2, 2, 1)


def test_a_failure_below_noise_is_that_of_the_parent(harness: Harness) -> None:
    """A parent that failed because of a child of noise is no error of its own, however much noise is between."""
    noise = {**KNOWN, "sdlc__noise": True}
    harness.send(
        make_span(span=1, error="build failed", **KNOWN),
        make_span(span=2, parent=1, **noise),
        make_span(span=3, parent=2, **noise),
        make_span(span=4, parent=3, error="step failed", **KNOWN),
    )
    harness.wait(30)
    assert harness.errors == 1


def test_a_run_below_noise_waits_for_what_is_above_it(harness: Harness) -> None:
    """The missing parent of the topmost noise may be a run of the stage; when it comes too late, that is told."""
    noise = {**KNOWN, "sdlc__noise": True}
    harness.send(
        make_span(span=3, parent=2, remote_parent=False, **KNOWN),
        make_span(span=2, parent=1, remote_parent=True, **noise),
    )
    harness.wait(20)
    harness.send(make_span(span=4, parent=3, sdlc__stage__run=False, **KNOWN))
    harness.wait(20)
    assert harness.runs == 0
    harness.wait(10)
    assert harness.runs == 1
    harness.send(make_span(span=1, **KNOWN))
    harness.wait(30)
    assert (harness.runs, harness.operations, harness.findings("late_parent")) == (2, 1, 1)


def test_every_change_of_stage_is_a_run(harness: Harness) -> None:
    """Coding, a review inside, coding again inside that: three runs; a span without a stage is none."""
    harness.send(
        make_span(span=1),
        make_span(span=2, parent=1, **CODING),
        make_span(span=3, parent=2, **REVIEW),
        make_span(span=4, parent=3, **CODING),
        make_span(span=5, parent=4),
    )
    harness.wait(30)
    assert harness.count("sdlc.stage.runs", stage="coding") == 2
    assert harness.count("sdlc.stage.runs", stage="review") == 1
    assert harness.count("sdlc.operation.duration", stage="unknown") == 1
    assert harness.count("sdlc.operation.duration", stage="coding") == 1


@pytest.mark.parametrize(
    ("own", "models", "expected"),
    [
        (None, ["opus", "sonnet", "sonnet"], "sonnet"),
        (None, ["opus", "sonnet"], "opus"),
        (None, [], "unknown"),
        ("haiku", ["opus"], "haiku"),
    ],
)
def test_model_of_a_run(harness: Harness, own: str | None, models: list[str], expected: str) -> None:
    """Its own, else that of most calls inside, else of the first among equals."""
    calls = [
        make_span(span=100 - number, parent=1, start=number, sdlc__model__name=model)
        for number, model in enumerate(models, start=2)
    ]
    stage = {**CODING, **({"sdlc__model__name": own} if own else {})}
    harness.send(*calls[::-1], make_span(span=1, seconds=60, **stage))
    harness.wait(30)
    assert harness.count("sdlc.stage.duration", model=expected) == 1


def test_an_error_is_counted_once_where_it_begins(harness: Harness) -> None:
    """A failure that is passed up through parents counts at the deepest failed span."""
    harness.send(
        make_span(span=3, parent=2, error="no such file", error__type="ShellError"),
        make_span(span=2, parent=1, error="tool failed", error__type="tool_error"),
        make_span(span=1, error="stage failed", **CODING),
    )
    harness.wait(30)
    assert harness.count("sdlc.stage.errors", error_type="ShellError", stage="coding") == 1
    assert harness.errors == 1
    assert harness.count("sdlc.stage.runs", outcome="failure") == 1


def test_a_parent_whose_failed_child_was_counted_is_no_error(harness: Harness) -> None:
    """The failed child is remembered when its parent comes minutes later."""
    harness.send(make_span(span=2, parent=1, error="boom", **CODING))
    harness.wait(300)
    harness.send(make_span(span=1, error="boom", **CODING))
    harness.wait(30)
    assert harness.errors == 1


@pytest.mark.parametrize(
    ("outcome", "status_error", "errors"),
    [("failure", False, 1), ("success", True, 0), ("cancelled", True, 0), (None, True, 1), (None, False, 0)],
)
def test_outcome_decides_before_status(harness: Harness, outcome: str | None, status_error: bool, errors: int) -> None:
    """Rules know better than the status: failures hide behind UNSET, and a cancelled run is no error."""
    stage = {**CODING, **({"sdlc__outcome": outcome} if outcome else {})}
    harness.send(make_span(error="x" if status_error else None, **stage))
    harness.wait(30)
    assert harness.errors == errors
    shown = outcome or ("failure" if status_error else "success")
    assert harness.count("sdlc.stage.runs", outcome=shown) == 1


def test_a_batch_that_comes_twice_counts_once(harness: Harness) -> None:
    """Senders repeat what was not acknowledged: before and after counting, and it is dropped as duplicate."""
    span = make_span(error="boom", **CODING)
    harness.send(span, span)
    harness.wait(30)
    harness.send(span)
    harness.wait(30)
    assert (harness.runs, harness.errors) == (1, 1)
    assert harness.settings.counts[Signal.TRACES].dropped["duplicate"] == 2


def test_held_spans_are_in_the_counts(harness: Harness) -> None:
    """What waits is held, and no longer once it is counted."""
    counts = harness.settings.counts[Signal.TRACES]
    harness.send(make_span(span=1, **CODING), make_span(span=2, parent=1))
    assert counts.held() == 2
    harness.wait(30)
    assert counts.held() == 0


def test_the_last_flush_counts_everything(harness: Harness) -> None:
    """At shutdown nothing is left waiting, not even for a local parent."""
    harness.send(make_span(span=2, parent=1, remote_parent=False, **CODING))
    harness.connector.draining = True
    harness.wait(0)
    assert harness.runs == 1
    assert harness.settings.counts[Signal.TRACES].held() == 0


def test_memory_is_bounded_by_counting_early() -> None:
    """Over `max_spans` the traces idle for longest are counted without waiting, and it is told; none is lost."""
    harness = Harness(max_spans=10)
    for trace in range(1, 101):
        harness.send(make_span(trace=trace, **CODING))
        harness.time.advance(0.1)
    assert harness.settings.counts[Signal.TRACES].held() == 10
    harness.wait(30)
    assert harness.runs == 100
    assert harness.findings("decided_early") == 90


def test_counted_traces_make_room_first() -> None:
    """A trace that waits for its local parent outlives counted ones, however many there are."""
    harness = Harness(max_spans=10)
    harness.send(make_span(trace=1, span=2, parent=1, remote_parent=False, **KNOWN))
    for trace in range(2, 102):
        harness.send(make_span(trace=trace, **KNOWN))
        harness.wait(30)
    harness.send(make_span(trace=1, span=1, seconds=3000, **KNOWN))
    harness.wait(30)
    assert (harness.runs, harness.operations) == (101, 1)
    assert harness.findings("decided_early") == 0


def test_a_trace_larger_than_the_buffer() -> None:
    """A single trace over `max_spans` is counted in parts; every span counts."""
    harness = Harness(max_spans=10)
    harness.send(*(make_span(span=number, **CODING) for number in range(1, 101)))
    harness.wait(30)
    assert harness.runs == 100


def test_overflow_is_counted_and_told() -> None:
    """Series over the limit go to the overflow series; those seen before go on."""
    harness = Harness(aggregation_cardinality_limit=11)  # The ten stages have an order.
    for trace, stage in enumerate("abcdefghijkla", start=1):
        harness.send(make_span(trace=trace, sdlc__stage__name=stage))
        harness.wait(30)
    assert harness.count("sdlc.stage.runs", **{"otel.metric.overflow": "true"}) == 2
    assert harness.count("sdlc.stage.runs", stage="a") == 2
    assert harness.count("sdlc.stage.runs", stage="k") == 0
    assert harness.findings("overflow") == 4


def test_series_expire_and_start_again() -> None:
    """After `series_expiration` a series is forgotten; the next observation is 1 again, with a later start time."""
    harness = Harness(series_expiration="10m")
    starts = []
    for trace in (1, 2):
        harness.send(make_span(trace=trace, **CODING))
        harness.wait(30)
        (point,) = metrics_in(harness.flushed)["sdlc.stage.duration"].histogram.data_points
        starts.append((point.count, point.start_time_unix_nano))
        harness.wait(700)
    assert [count for count, _ in starts] == [1, 1]
    assert starts[0][1] < starts[1][1]


def test_bad_times_count_as_no_time(harness: Harness) -> None:
    """End before start, no end, no start: the span counts with duration 0, and each is told once, repeated or not."""
    backwards, endless, startless = (make_span(trace=trace, **CODING) for trace in (1, 2, 3))
    backwards.end_time_unix_nano = backwards.start_time_unix_nano - 1
    endless.end_time_unix_nano = 0
    startless.start_time_unix_nano = 0
    harness.send(backwards, endless, startless, backwards)
    harness.wait(30)
    assert [point.sum for (name, _), point in harness.points.items() if name == "sdlc.stage.duration"] == [0.0]
    assert (harness.runs, harness.findings("invalid_duration")) == (3, 3)


def test_the_longest_duration_there_is(harness: Harness) -> None:
    """Durations of centuries are added without wrapping round."""
    for trace in (1, 2, 3):
        span = make_span(trace=trace, **CODING)
        span.start_time_unix_nano, span.end_time_unix_nano = 1, 2**64 - 1
        harness.send(span)
    harness.wait(30)
    (total,) = (point.sum for (name, _), point in harness.points.items() if name == "sdlc.stage.duration")
    assert total == 3 * (2**64 - 2) / 1e9


def test_spans_without_valid_ids_are_dropped(harness: Harness) -> None:
    """Zero and wrong-length ids cannot be placed in a trace: dropped, with their own reason."""
    zero, short = make_span(**CODING), make_span(**CODING)
    zero.span_id = bytes(8)
    short.trace_id = b"short"
    harness.send(zero, short, make_span(**CODING))
    harness.wait(30)
    assert harness.runs == 1
    assert harness.settings.counts[Signal.TRACES].dropped["invalid_id"] == 2


@pytest.mark.parametrize("shape", ["chain", "ring", "fan"])
def test_hostile_shapes(harness: Harness, shape: str) -> None:
    """Traces of 20,000 spans, as deep, as circular or as wide as they can be, are counted whole: one run."""
    size = 20_000
    first = size if shape == "ring" else 0
    parents = [first] + ([1] * (size - 1) if shape == "fan" else list(range(1, size)))
    harness.send(*(make_span(span=n, parent=parent, start=n, **CODING) for n, parent in enumerate(parents, start=1)))
    harness.wait(30)
    assert (harness.runs, harness.operations) == (1, size - 1)


def test_long_label_values_are_cut_between_characters(harness: Harness) -> None:
    """A label has at most 128 bytes, and stays valid UTF-8."""
    harness.send(make_span(sdlc__stage__name="x" + "ä" * 100))
    harness.wait(30)
    assert harness.count("sdlc.stage.runs", stage="x" + "ä" * 63) == 1


def test_forgotten_label_values_do_not_mix(harness: Harness) -> None:
    """Thousands of requirements come and go; the exemplar of each bucket still says what was sent with it."""
    harness.send(make_span(trace=1, seconds=7000, sdlc__requirement__id="REQ-1", **CODING))
    for first in range(2, 10_002, 500):
        numbers = range(first, first + 500)
        harness.send(*(make_span(trace=n, sdlc__requirement__id=f"REQ-{n}", **CODING) for n in numbers))
        harness.wait(4000)
    assert harness.count("sdlc.stage.runs", stage="coding", project_id="unknown", agent="unknown") == 10_001
    (point,) = metrics_in(harness.flushed)["sdlc.stage.duration"].histogram.data_points
    requirements = {
        int.from_bytes(exemplar.trace_id, "big"): exemplar.filtered_attributes[0].value.string_value
        for exemplar in point.exemplars
    }
    assert requirements == {1: "REQ-1", 10_001: "REQ-10001"}


def test_a_recorded_claude_code_session(harness: Harness) -> None:
    """Each interaction is one stage run with the model of its requests; its one failed shell command one error."""
    enrichment = Semconv(SemconvConfig(), make_settings("semconv"))
    batch = enrichment.process(from_trusted(Signal.TRACES, RECORDING.read_bytes()))
    assert batch is not None
    harness.connector.process(batch)
    harness.wait(30)
    labels = {"stage": "coding", "agent": "claude_code", "outcome": "success"}
    assert harness.count("sdlc.stage.duration", model="claude-sonnet-4-5", **labels) == harness.runs == 2
    assert harness.count("sdlc.stage.errors", error_type="ShellError", stage="coding") == harness.errors == 1
    assert harness.operations == 27
    plain = {metric.name: metric for metric in semconv.load().metrics.values() if is_plain(metric)}
    found = {key: point for key, point in harness.points.items() if key[0] in plain}
    assert found == stage_points([to_proto(batch)], plain.values())
