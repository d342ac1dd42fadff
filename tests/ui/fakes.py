"""A source of journeys for the pages: 120 requirements of two projects, one of them with hostile texts everywhere."""

from collections import Counter
from collections.abc import Sequence

from opentelemetry.proto.trace.v1.trace_pb2 import Status, TracesData

from otel_pipeline.component import Query
from otel_pipeline.journeys.model import (
    Edge,
    Entity,
    Gap,
    Journey,
    Key,
    Note,
    Run,
    RunError,
    Segment,
    StageTotal,
    State,
    TraceLine,
    Usage,
    Visit,
)
from otel_pipeline.journeys.questions import journey_queries
from otel_pipeline.journeys.store import (
    RequirementPage,
    RequirementQuery,
    RequirementSummary,
    StageDot,
    TraceHead,
    TraceQuery,
)

HOUR = 3600 * 10**9
DAY = 24 * HOUR
NOW = 1_767_225_600 * 10**9
"""2026-01-01 00:00 UTC."""
STAGES = ("requirement_analysis", "prd_design", "coding", "unit_test", "ui_acceptance")
HOSTILE = "<script>document.title='taken'</script>\"'><img src=x onerror=alert(1)>/../%2e ' or 1=1 -- 你好 \u202e🚀"
"""An id and a title that try to be something else."""
LARGE_TRACE = "f" * 32
TRACE = f"{1:032x}"


def ids() -> list[str]:
    return [HOSTILE, *(f"REQ-{number}" for number in range(1001, 1120))]


def journey(requirement: str) -> Journey:
    """Two runs of coding around a review of two days, then a test that failed and an acceptance."""
    place = ids().index(requirement)
    project = "shop" if place % 2 == 0 else "pay"
    start = NOW - 20 * DAY + place * HOUR
    cuts = [
        ("requirement_analysis", 0, HOUR, "success"),
        ("coding", HOUR, 3 * HOUR, "success"),
        ("unit_test", 3 * HOUR, 4 * HOUR, "failure"),
        ("coding", 2 * DAY + 4 * HOUR, 2 * DAY + 6 * HOUR, "success"),
        ("ui_acceptance", 2 * DAY + 6 * HOUR, 2 * DAY + 7 * HOUR, "success"),
    ]
    is_done = place % 5 != 4
    runs = tuple(_run(number, stage, start + first, start + last, outcome, requirement)
                 for number, (stage, first, last, outcome) in enumerate(cuts))  # fmt: skip
    visits = tuple(
        Visit(run.stage, run.start_ns, run.end_ns, (number,), run.outcome, number == 3, False)
        for number, run in enumerate(runs)
    )
    gap = Gap(runs[2].end_ns, runs[3].start_ns, "unit_test", "coding", "review")
    path = [Segment(run.start_ns, run.end_ns, number) for number, run in enumerate(runs)]
    path.insert(3, Segment(gap.start_ns, gap.end_ns, None))
    key, branch = Key("requirement", project, requirement), Key("branch", "acme/shop", f"feature/{requirement}")
    usage = Usage("claude-sonnet-4-5", {"input": 9000, "output": 100}, 0.5)
    return Journey(
        project=project,
        requirement=requirement,
        title=HOSTILE if requirement == HOSTILE else "Add a basket",
        requirement_class="feature",
        state=State.ACCEPTED if is_done else State.WAITING,
        stage="ui_acceptance",
        start_ns=start,
        end_ns=runs[-1].end_ns,
        lead_ns=runs[-1].end_ns - start if is_done else NOW - start,
        active_ns=7 * HOUR,
        runs=runs,
        shares=(1.0, 1.0, 0.5, 1.0, 1.0),
        visits=visits,
        gaps=(gap,),
        critical_path=tuple(path),
        stages=tuple(
            StageTotal(stage, 1, 1, 0, HOUR, 0, {}, (usage,), 0) for stage in dict.fromkeys(run.stage for run in runs)
        ),
        entities=(
            Entity(key, start, runs[-1].end_ns, 0, None),
            Entity(branch, start, runs[-1].end_ns, 1, Edge(key, branch, start, start, 3, TRACE), ("REQ-9",)),
        ),
        traces=tuple(
            TraceLine(
                run.trace_id, run.name, run.service, run.start_ns, run.end_ns, run.spans, len(run.errors), "named"
            )
            for run in runs
        ),
        usage=(usage,),
        errors={"ShellError": 2},
        interventions=1,
        notes=(Note("missing_stage", f"no telemetry for {HOSTILE}", "integration_test"),),
    )


def _run(number: int, stage: str, start: int, end: int, outcome: str, requirement: str) -> Run:
    failed = (RunError("ShellError", f"exit code 1 {HOSTILE}", f"{2:016x}", 2),) if outcome == "failure" else ()
    usage = (Usage("claude-sonnet-4-5", {"input": 1800, "output": 20}, 0.1),)
    name = f"{stage} of {requirement}"
    ids_of = (f"{number + 1:032x}", f"{1:016x}", "")
    agent = "claude_code" if stage == "coding" else ""
    return Run(*ids_of, name, "shop-agents", stage, agent, outcome, True, start, end, 60, (), (), failed, usage)


def summary(requirement: str) -> RequirementSummary:
    one = journey(requirement)
    return RequirementSummary(
        one.project, requirement, one.title, one.requirement_class, one.state, one.stage,
        tuple(StageDot(each.stage, "success") for each in one.stages), one.start_ns, one.end_ns, one.lead_ns,
        one.active_ns, 1, 2, one.cost_usd, 9100, NOW, 0,
    )  # fmt: skip


class FakeJourneys:
    """Answers from what is above."""

    def __init__(self) -> None:
        self.rows = [summary(one) for one in ids()]

    def journey(self, project: str, requirement: str, _now_ns: int) -> Journey | None:
        found = journey(requirement) if requirement in ids() else None
        return found if found and found.project == project else None

    def requirements(self, query: RequirementQuery) -> RequirementPage:
        def fits(row: RequirementSummary, *, stage: bool = True, state: bool = True) -> bool:
            return (
                query.project in ("", row.project)
                and (not stage or query.stage in ("", row.stage))
                and (not state or not query.states or row.state in query.states)
                and query.text.lower() in f"{row.requirement} {row.title}".lower()
            )

        rows = sorted((row for row in self.rows if fits(row)), key=lambda row: row.end_ns, reverse=query.descending)
        return RequirementPage(
            tuple(rows[query.offset : query.offset + query.limit]),
            len(rows),
            Counter(row.stage for row in self.rows if fits(row, stage=False)),
            Counter(row.state for row in self.rows if fits(row, state=False)),
            ("pay", "shop"),
        )

    def trace(self, trace_id: str) -> Sequence[bytes]:
        if trace_id == LARGE_TRACE:
            return [trace_bytes(trace_id, 9000)]
        return [trace_bytes(trace_id, 60)] if int(trace_id, 16) <= 5 else []

    def requirements_of(self, trace_id: str, _now_ns: int) -> Sequence[Key]:
        return [Key("requirement", "shop", HOSTILE)] if int(trace_id, 16) <= 5 else []

    def queries(self) -> tuple[Query, ...]:
        return journey_queries(lambda: self, STAGES, lambda: NOW)


class FakeTraces(FakeJourneys):
    """Two branches of one name in two repositories, each with a trace."""

    asked: list[TraceQuery]

    def __init__(self) -> None:
        super().__init__()
        self.asked = []

    def operations(self) -> Sequence[tuple[str, str]]:
        return [("shop-agents", "coding"), ("shop-agents", "chat"), ("jenkins", "build")]

    def keys(self, kind: str, value_prefix: str, _limit: int) -> Sequence[Key]:
        known = [Key("branch", scope, name) for scope in ("acme/a", "acme/b") for name in ("fix", "fix-2")]
        return [key for key in known if key.kind == kind and key.value.startswith(value_prefix)]

    def traces(self, query: TraceQuery) -> Sequence[TraceHead]:
        self.asked.append(query)
        scopes = [key.scope for key in query.keys] or ["acme/a"]
        return [TraceHead(f"{1 + (scopes[0] == 'acme/b'):032x}", "coding", "shop-agents", NOW, NOW + 1, 60, 1)]


def trace_bytes(trace_id: str, spans: int) -> bytes:
    """A tree of spans, each with five children; the second failed, and one names a parent that is not there."""
    data = TracesData()
    resource = data.resource_spans.add()
    name = resource.resource.attributes.add(key="service.name")
    name.value.string_value = "shop-agents"
    scope = resource.scope_spans.add()
    for number in range(1, spans + 1):
        span = scope.spans.add(name=f"step {number} {HOSTILE if number == 3 else ''}")
        span.trace_id, span.span_id = bytes.fromhex(trace_id), number.to_bytes(8, "big")
        parent = spans + 99 if number == spans else (number + 3) // 5
        span.parent_span_id = parent.to_bytes(8, "big") if number > 1 else b""
        span.start_time_unix_nano = NOW - HOUR + number * 10**8
        span.end_time_unix_nano = span.start_time_unix_nano + 10**9
        if number == 2:
            span.status.code = Status.StatusCode.STATUS_CODE_ERROR
            span.status.message = f"exit code 1 {HOSTILE}"
        span.attributes.add(key="gen_ai.request.model").value.string_value = "claude-sonnet-4-5"
        span.attributes.add(key="note").value.string_value = HOSTILE
        span.links.add(trace_id=bytes.fromhex(LARGE_TRACE), span_id=(1).to_bytes(8, "big"))
        span.events.add(name="exception").attributes.add(key="exception.type").value.string_value = "ShellError"
    return data.SerializeToString()
