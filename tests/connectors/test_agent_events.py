"""What becomes of single log records: times, ids, parents, and what is wrong with them."""

from typing import Any

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from pydantic import ValidationError

from otel_pipeline.connectors.agent_events import AgentEvents, AgentEventsConfig
from otel_pipeline.pdata import Batch, Signal, to_proto
from otel_pipeline.testing import FakeTime, make_log, make_logs, make_settings, make_span, make_traces
from tests.connectors.events_harness import spans

BEGIN = 1_767_225_600_000_000_000
SCOPE = "com.anthropic.claude_code.events"
MS = 1_000_000


class Events:
    """The connector alone, and what it made."""

    def __init__(self, **options: Any) -> None:
        self.time = FakeTime()
        self.settings = make_settings("agent_events", time=self.time)
        self.connector = AgentEvents(AgentEventsConfig(**options), self.settings)
        self.batches: list[Batch] = []

    def receive(self, *records: LogRecord, resource: dict[str, Any] | None = None, scope: str = SCOPE) -> None:
        self.connector.process(make_logs(*records, resource=resource, scope=scope))

    def trace(self, *made: Span, scope: str = "com.anthropic.claude_code.tracing", **resource: Any) -> None:
        named = {key.replace("__", "."): value for key, value in resource.items()}
        self.connector.process(make_traces(*made, scope=scope, resource=named or None))

    def wait(self, seconds: float) -> list[Span]:
        self.time.advance(seconds)
        batch = self.connector.flush(self.time.unix_ns)
        self.batches += [batch] if batch else []
        return spans(batch)

    def stop(self) -> list[Span]:
        self.connector.draining = True
        return self.wait(0)

    def findings(self) -> dict[str, float]:
        counter = self.settings.telemetry.counter("otel_pipeline_connector_findings")
        return {finding: value for (_, finding), value in counter.values.items()}


def prompt(number: int = 1, *, session: Any = "s", **more: Any) -> LogRecord:
    return make_log("user_prompt", session__id=session, prompt__id=f"p-{number}", **more)


def request(number: int = 1, *, session: Any = "s", duration: Any = 500, start: float = 1.0, **more: Any) -> LogRecord:
    told = {"session__id": session, "prompt__id": "p-1", "request_id": f"r-{number}", "duration_ms": duration, **more}
    return make_log("api_request", start=start, **{key: value for key, value in told.items() if value is not None})


def made_of(*records: LogRecord) -> tuple[list[Span], dict[str, float]]:
    events = Events()
    events.receive(*records)
    return events.stop(), events.findings()


def values(span: Span) -> dict[str, Any]:
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in span.attributes}


# --- a span


def test_a_span_ends_with_its_record_and_begins_before_it() -> None:
    """Times, name, kind, the attributes that the rule takes over and no others, and where it is from."""
    events = Events()
    record = request(model="m", input_tokens=3, prompt="secret", trace=7, span=8, sdlc__project__id="shop")
    events.receive(record, resource={"service.name": "claude-code", "team": "a"})
    (span,) = events.stop()
    assert (span.name, span.kind, span.status.code) == ("claude_code.llm_request", Span.SPAN_KIND_INTERNAL, 0)
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (BEGIN + 500 * MS, BEGIN + 1000 * MS)
    assert values(span) == {
        "sdlc.derived_from": "log_record",
        "session.id": "s",
        "prompt.id": "p-1",
        "request_id": "r-1",
        "model": "m",
        "gen_ai.request.model": "m",
        "input_tokens": 3,
        "sdlc.project.id": "shop",
    }
    (made,) = to_proto(events.batches[0]).resource_spans
    assert {one.key for one in made.resource.attributes} == {"service.name", "team"}
    assert made.scope_spans[0].scope.name == SCOPE


@pytest.mark.parametrize(("success", "status"), [("false", 2), (False, 2), ("true", 0), (True, 0), ("", 0), (None, 0)])
def test_status_by_an_attribute(success: Any, status: int) -> None:
    """Text and truth value alike; without an answer the status stays unset."""
    told = {} if success is None else {"success": success}
    ((span,), _) = made_of(make_log("tool_result", session__id="s", duration_ms="5", **told))
    assert span.status.code == status


def test_unknown_events_and_senders_make_nothing() -> None:
    """Neither an event without a rule nor another sender's event of the same name."""
    events = Events()
    events.receive(make_log("plugin_loaded", session__id="s"), make_log("", body="text"), make_log(""))
    events.receive(request(), scope="other")
    assert events.stop() == []


def test_spans_of_one_sender_stand_together() -> None:
    """Requests with the same resource and scope become one; items are counted as made."""
    events = Events()
    for number in range(3):
        events.receive(request(number))
    events.receive(request(9, session="t"), resource={"service.name": "another"})
    events.stop()
    (batch,) = events.batches
    assert [len(one.scope_spans[0].spans) for one in to_proto(batch).resource_spans] == [3, 1]
    assert batch.items == 4


# --- places


def test_work_hangs_below_its_prompt_which_lasts_until_the_last_of_it() -> None:
    """One trace for session and prompt, whichever comes first."""
    made, findings = made_of(request(1, start=2), prompt(start=0.5), request(2, start=4))
    (root,) = (span for span in made if span.name == "claude_code.interaction")
    assert {span.trace_id for span in made} == {root.trace_id}
    assert {span.parent_span_id for span in made if span is not root} == {root.span_id}
    assert not root.parent_span_id
    assert (root.start_time_unix_nano, root.end_time_unix_nano) == (BEGIN + 500 * MS, BEGIN + 4000 * MS)
    assert findings == {}


def test_work_without_the_id_of_a_prompt_belongs_to_the_last_one_before_it() -> None:
    """By time, not by order of arrival; what ended before any prompt belongs to none."""
    records = [prompt(1, start=10), prompt(2, start=20)]
    work = [request(number, start=start, prompt__id=None) for number, start in enumerate((5, 11, 19, 21))]
    made, findings = made_of(*work, *records)
    names = {span.span_id: values(span)["prompt.id"] for span in made if span.name == "claude_code.interaction"}
    requests = sorted((span.end_time_unix_nano, span) for span in made if span.name == "claude_code.llm_request")
    assert [names.get(span.parent_span_id) for _, span in requests] == [None, "p-1", "p-1", "p-2"]
    assert findings == {"without_prompt": 1}


def test_a_prompt_is_over_when_the_next_has_come() -> None:
    """Not before that has waited itself; work that comes later is still below it."""
    events = Events()
    events.receive(prompt(1))
    assert events.wait(100) == []
    events.receive(prompt(2, start=90))
    assert events.wait(14) == []
    (first,) = events.wait(1)
    assert values(first)["prompt.id"] == "p-1"
    events.receive(request(1, start=95))
    (late,) = events.wait(15)
    assert late.parent_span_id == first.span_id
    assert events.findings() == {"late_work": 1}


def test_a_prompt_is_over_when_nothing_is_done_for_it() -> None:
    """For as long as the option says, from the last work on."""
    events = Events(prompt_idle_timeout="60s")
    events.receive(prompt())
    events.wait(50)
    events.receive(request())
    assert [span.name for span in events.wait(50)] == ["claude_code.llm_request"]
    assert [span.name for span in events.wait(10)] == ["claude_code.interaction"]
    assert events.wait(1000) == []


@pytest.mark.parametrize("second", [1, 2])
def test_senders_and_sessions_do_not_mix(second: int) -> None:
    """The same prompt id of another session, or the same session of another sender, is something else."""
    events = Events()
    events.receive(prompt(), request())
    if second == 1:
        events.receive(prompt(session="t"), request(session="t"))
    else:
        told: dict[str, Any] = {"session__id": "s", "prompt_id": "p-1", "duration_ms": 1}
        events.receive(make_log("gemini_cli.user_prompt", **told), scope="gemini-cli")
        events.receive(make_log("gemini_cli.api_response", **told), scope="gemini-cli")
    made = events.stop()
    assert len(made) == 4
    assert len({span.trace_id for span in made}) == 2


def test_nothing_to_go_by() -> None:
    """Work without any id is a trace of its own; a prompt without one is nothing, as nothing could be put below it."""
    alone: dict[str, Any] = {"session": None, "prompt__id": None}
    made, findings = made_of(request(1, **alone), request(2, **alone), make_log("user_prompt"))
    assert len({span.trace_id for span in made}) == len(made) == 2
    assert findings == {"without_prompt": 2, "without_session": 1}


# --- spans that come


def test_spans_of_another_sender_say_nothing() -> None:
    """A pipeline's spans are in the same trace as the agent's log records, and tell nothing of the agent's work."""
    events = Events()
    events.trace(make_span(trace=7, session__id="s"), scope="jenkins")
    events.receive(request(trace=7, span=8))
    assert len(events.stop()) == 1


@pytest.mark.parametrize("where", ["span", "resource", "trace"])
def test_spans_of_the_session_or_of_the_trace(where: str) -> None:
    """Either is enough, and the session may stand on the resource."""
    events = Events()
    events.receive(request(trace=7, span=8) if where == "trace" else request())
    if where == "resource":
        events.trace(make_span(trace=9), session__id="s")
    else:
        told: dict[str, Any] = {"session__id": "s"} if where == "span" else {}
        events.trace(make_span(trace=7, **told))
    assert events.stop() == []
    assert events.findings() == {"left_to_spans": 1}


def test_an_unsampled_trace_is_made_of_log_records() -> None:
    """Its session sends spans of other traces; of this one none will come."""
    events = Events()
    events.trace(make_span(trace=7, session__id="s"))
    sampled, unsampled = request(1, trace=8, span=1), request(2, trace=9, span=1)
    sampled.flags = 1
    events.receive(sampled, unsampled)
    assert [values(span)["request_id"] for span in events.stop()] == ["r-2"]


def test_what_was_made_here_is_no_span_of_the_sender() -> None:
    """Where a configuration leads it back, it must not end what it came from."""
    events = Events()
    events.receive(request(1))
    events.wait(15)
    events.connector.process(events.batches[0])
    events.receive(request(2))
    assert len(events.stop()) == 1


def test_that_a_session_sends_spans_is_forgotten_after_the_time_given() -> None:
    """Counted from the last span or log record."""
    events = Events(session_memory="600s")
    events.trace(make_span(session__id="s"))
    events.wait(500)
    events.receive(request(1))
    assert events.wait(15) == []
    events.wait(500)
    events.receive(request(2))
    assert events.wait(15) == []
    events.wait(700)
    events.receive(request(3))
    assert len(events.wait(15)) == 1


# --- bad input


@pytest.mark.parametrize(
    "duration",
    [-1, -0.5, float("nan"), float("inf"), 10**18, "", "soon", "-3", "1e400", True, [5], {"a": 1}, None, 3e9, "9" * 70],
)
def test_a_duration_that_is_none(duration: Any) -> None:
    """The work still counts, as one of no length; and so does what was wrong with it."""
    ((span,), findings) = made_of(request(duration=duration))
    assert span.start_time_unix_nano == span.end_time_unix_nano == BEGIN + 1000 * MS
    assert findings["invalid_duration"] == 1


@pytest.mark.parametrize(("duration", "ns"), [(0, 0), ("40", 40 * MS), (" 2.5 ", 2_500_000), (0.25, 250_000)])
def test_a_duration_as_number_or_text(duration: Any, ns: int) -> None:
    """Agents write both."""
    ((span,), findings) = made_of(request(duration=duration))
    assert span.end_time_unix_nano - span.start_time_unix_nano == ns
    assert "invalid_duration" not in findings


def test_times_of_zero_and_of_the_far_future() -> None:
    """The time of observation, else that of arrival; nothing is before 1970 or overflows."""
    observed, unknown, early, far = (request(number) for number in range(4))
    observed.time_unix_nano, observed.observed_time_unix_nano = 0, BEGIN
    unknown.time_unix_nano = 0
    early.time_unix_nano = 100
    far.time_unix_nano = 2**64 - 1
    made, findings = made_of(observed, unknown, early, far)
    ends = [span.end_time_unix_nano for span in made]
    assert ends == [BEGIN, FakeTime().unix_ns, 100, 2**64 - 1]
    assert findings == {"without_prompt": 4, "without_time": 1, "invalid_duration": 1}


@pytest.mark.parametrize("session", ["x" * 10_000, 7, -1, 1.5, True, b"\xff", ["a"], "\x00", "ü"])
def test_ids_of_any_kind(session: Any) -> None:
    """They are compared as they stand, whatever they are."""
    made, _ = made_of(prompt(session=session), request(session=session))
    assert len({span.trace_id for span in made}) == 1
    assert len(made) == 2
    assert all(len(span.trace_id) == 16 and any(span.trace_id) for span in made)


def test_trace_ids_that_are_none() -> None:
    """Too short or zero: as if they were not there."""
    short, zero = request(1), request(2)
    short.trace_id, short.span_id = b"\x01" * 7, b"\x01"
    zero.trace_id, zero.span_id = bytes(16), bytes(8)
    made, _ = made_of(prompt(), short, zero)
    assert len({span.trace_id for span in made}) == 1


def test_a_flood_of_sessions_is_bounded_and_harms_nothing_told_before() -> None:
    """The sessions idle for longest go; their prompts end, and are counted."""
    events = Events(max_sessions=10)
    for number in range(1000):
        events.receive(prompt(session=f"s-{number}"))
    assert len(events.wait(0)) == 990
    assert events.findings() == {"decided_early": 990}
    assert events.settings.counts[Signal.LOGS].held() == 10
    assert len(events.stop()) == 10


def test_a_flood_of_spans_forgets_the_oldest() -> None:
    """Counted, as what they told may be told twice from now on."""
    events = Events(max_sessions=10)
    for number in range(100):
        events.trace(make_span(trace=number + 1, session__id=f"s-{number}"))
    events.wait(0)
    assert events.findings() == {"forgotten": 180}


def test_a_flood_of_records_is_bounded_by_memory() -> None:
    """Over the limit records become no spans; what waits is not harmed, and there is room again afterwards."""
    events = Events(held_limit_mib=1)
    for number in range(200):
        events.receive(request(number, query_source="x" * 10_000))
    made = events.wait(15)
    assert 95 < len(made) < 105
    assert events.findings()["too_many"] == 200 - len(made)
    events.receive(request(1))
    assert len(events.stop()) == 1


def test_a_session_with_many_prompts() -> None:
    """As many as are remembered wait; the oldest end before their time."""
    events = Events()
    events.receive(*(prompt(number, start=number) for number in range(100)))
    assert [values(span)["prompt.id"] for span in events.wait(0)] == [f"p-{number}" for number in range(84)]
    assert len(events.stop()) == 16


# --- options and balance


@pytest.mark.parametrize("options", [{"prompt_idle_timeout": "15s"}, {"session_memory": "200s"}, {"max_sessions": 0}])
def test_options_that_contradict(options: dict[str, Any]) -> None:
    """A prompt must outlast the wait of its work, and its session's memory must outlast the prompt."""
    with pytest.raises(ValidationError):
        AgentEventsConfig.model_validate(options)


def test_what_waits_is_held() -> None:
    """Records that wait and prompts that are open are shown as held; nothing is afterwards."""
    events = Events()
    held = events.settings.counts[Signal.LOGS].held
    events.receive(prompt(), request(1), request(2), make_log("plugin_loaded"))
    assert held() == 3
    events.wait(15)
    assert held() == 1
    events.stop()
    assert held() == 0
