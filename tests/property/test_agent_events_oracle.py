"""Spans from log records against the plain oracle: any sessions, prompts and traces, in any order and cut."""

import random
from functools import cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from otel_pipeline.connectors.agent_events import AgentEvents, AgentEventsConfig
from otel_pipeline.testing import FakeTime, make_log, make_logs, make_settings, make_span, make_traces
from tests.connectors.events_harness import spans
from tests.oracle.events import Event, Made, make

BEGIN = 1_767_225_600_000
SESSIONS, TRACES = ("a", "b"), (0, 1, 2)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Prompts first, with different ids and times in each session; then work, of which some names a prompt."""
    events: list[Event] = []
    for number, at in enumerate(draw(st.lists(st.integers(0, 50), unique=True, max_size=5))):
        trace, sampled = draw(st.sampled_from(TRACES)), draw(st.booleans())
        events.append(Event(number, draw(st.sampled_from(SESSIONS)), f"p-{number}", at * 10, None, trace, sampled))
    names = st.sampled_from([None, *(event.prompt for event in events), "p-unknown"])
    for number in range(len(events), len(events) + draw(st.integers(0, 8))):
        at, took = draw(st.integers(0, 600)), draw(st.integers(0, 100))
        session, prompt, trace = draw(st.sampled_from(SESSIONS)), draw(names), draw(st.sampled_from(TRACES))
        events.append(Event(number, session, prompt, at, took, trace, draw(st.booleans())))
    return events


def record(event: Event) -> LogRecord:
    told: dict[str, Any] = {"session__id": event.session, "agent_id": event.number, "command_name": str(event.number)}
    told |= {"prompt__id": event.prompt} if event.prompt else {}
    told |= {"duration_ms": event.took} if event.took is not None else {}
    name = "user_prompt" if event.took is None else "api_request"
    made = make_log(name, trace=event.trace, span=99 if event.trace else 0, start=event.at / 1000, **told)
    made.flags = int(event.sampled)
    return made


@cache
def config() -> AgentEventsConfig:
    return AgentEventsConfig()


@settings(max_examples=150, deadline=None)
@given(
    events=histories(),
    sent=st.lists(st.tuples(st.sampled_from(SESSIONS), st.integers(1, 3)), max_size=2),
    seed=st.integers(0, 1000),
)
def test_spans_are_those_of_the_oracle(events: list[Event], sent: list[tuple[str, int]], seed: int) -> None:
    """Times, parents and traces, whatever comes first; what is made has ids that nothing else has."""
    time, dice = FakeTime(), random.Random(seed)
    connector = AgentEvents(config(), make_settings("agent_events", time=time))
    logs = [make_logs(record(event), scope="com.anthropic.claude_code.events") for event in events]
    scope = "com.anthropic.claude_code.tracing"
    traces = [make_traces(make_span(trace=trace, session__id=session), scope=scope) for session, trace in sent]
    batches = [*logs, *traces]
    dice.shuffle(batches)
    for batch in batches:
        connector.process(batch)
    connector.draining = True
    found = spans(connector.flush(time.unix_ns))
    numbers: dict[bytes, int] = {}
    for span in found:
        told = {one.key: one.value for one in span.attributes}
        mark = told["agent_id"].int_value if "agent_id" in told else int(told["command_name"].string_value)
        numbers[span.span_id] = mark
    observed = {
        Made(
            number=numbers[span.span_id],
            start=span.start_time_unix_nano // 1_000_000 - BEGIN,
            end=span.end_time_unix_nano // 1_000_000 - BEGIN,
            below=numbers.get(span.parent_span_id),
            trace=trace if (trace := int.from_bytes(span.trace_id, "big")) in TRACES else 0,
        )
        for span in found
    }
    assert len(numbers) == len(found)
    expected = make(events, (session for session, _ in sent), (trace for _, trace in sent))
    # A prompt may be left to spans while its work is not: then nothing that was written is above that work.
    written = {one.number for one in expected}
    expected = {
        one if one.below in written else Made(one.number, one.start, one.end, None, one.trace) for one in expected
    }
    assert observed == expected
    for one in found:
        if parents := [span for span in found if span.span_id == one.parent_span_id]:
            assert parents[0].trace_id == one.trace_id
