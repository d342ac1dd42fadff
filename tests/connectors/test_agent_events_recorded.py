"""Recorded sessions through the default wiring: with spans, with log records, with both, the delivery metrics say the same,
but for what log records do not tell."""

import random
from collections.abc import Iterable
from pathlib import Path

import pytest

from otel_pipeline.pdata import Batch, Limits, decode, split
from tests.connectors.events_harness import RECORDED, WRITTEN, Gateway, Series, read, untraced

CLAUDE_TRACES = RECORDED / "claude-code-2.1.330_default.traces.otlp.json"
CLAUDE_LOGS = RECORDED / "claude-code-2.1.330_default.logs.otlp.json"
CODEX_TRACES = RECORDED / "codex-0.169.0_exec.traces.trimmed.otlp.json"
CODEX_LOGS = RECORDED / "codex-0.169.0_exec.logs.otlp.json"
GEMINI_TRACES, GEMINI_LOGS = WRITTEN / "gemini.traces.otlp.json", WRITTEN / "gemini.logs.otlp.json"


def series_of(*batches: Batch) -> Series:
    gateway = Gateway()
    for batch in batches:
        gateway.receive(batch)
    return gateway.end()


def counts(series: Series, *metrics: str) -> Series:
    """Without sums of durations, which the log rounds to milliseconds."""
    return {labels: value for labels, value in series.items() if labels[-1] != "sum" and labels[0] in metrics}


def without(series: Series, *texts: str) -> Series:
    return {labels: value for labels, value in series.items() if not set(texts) & set(labels)}


def shuffled(batches: Iterable[Batch], seed: int) -> list[Batch]:
    dice = random.Random(seed)
    parts = [part for batch in batches for part in split(batch, dice.randint(1, 7), 0)]
    dice.shuffle(parts)
    return parts


def received(parts: Iterable[Batch], seconds: float) -> Gateway:
    """All parts one after the other, within so many seconds."""
    gateway, parts = Gateway(), list(parts)
    for part in parts:
        gateway.receive(part)
        gateway.wait(seconds / len(parts))
    return gateway


# --- Claude Code


def test_claude_code_without_traces_has_all_that_its_spans_tell() -> None:
    """Stage runs, operations, errors, tool calls, tokens and cost are the same, but the two kinds of spans whose times
    nobody logs: the wait for permission, and the tool call around it."""
    by_spans, by_logs = series_of(read(CLAUDE_TRACES)), series_of(read(CLAUDE_LOGS, untraced))
    names = {labels[0] for labels in by_spans}
    assert counts(by_logs, *names) == without(counts(by_spans, *names), "tool.call", "tool.wait")
    assert by_logs.keys() <= by_spans.keys()
    runs = ("sdlc.stage.duration", "demo", "coding", "claude_code", "claude-sonnet-4-5", "success", "sum")
    assert by_logs[runs] == pytest.approx(by_spans[runs], rel=0.05)


@pytest.mark.parametrize("order", ["spans first", "log records first"])
def test_claude_code_with_both_is_what_its_spans_tell(order: str) -> None:
    """Whichever comes first, nothing is made of log records whose work comes as spans."""
    batches = [read(CLAUDE_TRACES), read(CLAUDE_LOGS)]
    both = series_of(*(batches if order == "spans first" else reversed(batches)))
    assert both == series_of(read(CLAUDE_TRACES))


@pytest.mark.parametrize("seed", range(5))
def test_spans_and_log_records_in_any_order_and_split(seed: int) -> None:
    """Cut into small requests that come mixed, within the time that log records wait."""
    gateway = received(shuffled([read(CLAUDE_TRACES), read(CLAUDE_LOGS)], seed), 14)
    assert gateway.end() == series_of(read(CLAUDE_TRACES))
    assert gateway.derived == []
    assert gateway.findings() == {"left_to_spans": 23}


@pytest.mark.parametrize("seed", range(5))
def test_log_records_alone_in_any_order_split_and_twice(seed: int) -> None:
    """Small requests, mixed, each of them delivered twice: counted as what came whole and once."""
    logs = read(CLAUDE_LOGS, untraced)
    gateway = received(shuffled([logs, logs], seed), 14)
    assert gateway.end() == series_of(logs)
    assert len({span.span_id for span in gateway.derived}) == 23


def test_the_same_records_are_the_same_spans_in_every_gateway() -> None:
    """Also where they come again long after; a prompt that is remembered is not begun again."""
    logs = read(CLAUDE_LOGS, untraced)
    first, second = Gateway(), Gateway()
    for gateway in (first, second):
        gateway.receive(logs)
        gateway.end()
    written = {span.SerializeToString() for span in first.stop()}
    assert len(written) == 23
    assert {span.SerializeToString() for span in second.stop()} == written
    first.receive(logs)
    assert {span.span_id for span in first.stop()} == {span.span_id for span in second.derived}


def test_a_trace_from_outside_is_kept() -> None:
    """With a trace context from outside and no trace exporter, records name a trace and a span in it: what is made
    hangs there, below the prompt."""
    gateway = Gateway()
    gateway.receive(read(CLAUDE_LOGS))
    spans = gateway.stop()
    prompts = {span.span_id: span for span in spans if span.name == "claude_code.interaction"}
    assert {span.trace_id.hex()[:6] for span in spans} == {"411fd6", "aaa9e4"}
    assert {span.parent_span_id.hex() for span in prompts.values()} == {"f92a099e08ad6418", "5319aaaf27f8f99a"}
    assert all(span.flags == 0x301 for span in prompts.values())
    work = [span for span in spans if span.span_id not in prompts]
    assert all(prompts[span.parent_span_id].trace_id == span.trace_id for span in work)
    assert all(span.flags == 0x101 for span in work)


def test_what_the_session_says_later_by_spans_is_no_longer_made() -> None:
    """Spans that come too late are told twice, and that is counted; from then on nothing is made."""
    gateway = Gateway()
    gateway.receive(read(CLAUDE_LOGS))
    gateway.wait(16)
    made = len(gateway.derived)
    gateway.receive(read(CLAUDE_TRACES))
    gateway.receive(read(CLAUDE_LOGS))
    gateway.end()
    assert len(gateway.derived) == made == 22
    assert gateway.findings()["late_spans"] == 1


# --- Codex


def test_codex_without_traces() -> None:
    """A run for the prompt, and its tool calls, which the log alone counts and tells the failures of. Instead of its steps
    come its requests."""
    by_logs, both = series_of(read(CODEX_LOGS, untraced)), series_of(read(CODEX_TRACES), read(CODEX_LOGS))
    metrics = ("sdlc.stage.runs", "sdlc.stage.errors", "sdlc.tool.calls", "sdlc.llm.tokens", "sdlc.stage.duration")
    assert counts(by_logs, *metrics) == counts(both, *metrics)
    operations = {labels[4]: value for labels, value in counts(by_logs, "sdlc.operation.duration").items()}
    assert operations == {"api_request": 3, "tool.call": 2}


@pytest.mark.parametrize("seed", range(3))
def test_codex_with_both(seed: int) -> None:
    """Its trace tells that spans come, long before the one span that names the session."""
    gateway = received(shuffled([read(CODEX_TRACES), read(CODEX_LOGS)], seed), 14)
    gateway.end()
    assert gateway.derived == []


# --- Gemini


def test_gemini_without_traces() -> None:
    """The same requests, tool calls and errors as its spans tell, and more: that a call was rejected, and how an agent ended."""
    by_logs, by_spans = series_of(read(GEMINI_LOGS, untraced)), series_of(read(GEMINI_TRACES))
    for labels in [
        ("sdlc.operation.duration", "shop", "coding", "gemini", "chat", "gemini-2.5-pro", "success", "count"),
        ("sdlc.operation.duration", "shop", "coding", "gemini", "chat", "gemini-2.5-pro", "failure", "count"),
        ("sdlc.stage.errors", "shop", "coding", "gemini", "gemini-2.5-pro", "429"),
        ("sdlc.stage.errors", "shop", "coding", "gemini", "unknown", "edit_no_occurrence_found"),
        ("sdlc.tool.calls", "shop", "coding", "gemini", "read_file", "success"),
        ("sdlc.tool.calls", "shop", "coding", "gemini", "replace", "failure"),
    ]:
        assert by_logs[labels] == by_spans[labels] == 1
    assert by_logs["sdlc.tool.calls", "shop", "coding", "gemini", "run_shell_command", "rejected"] == 1
    assert by_logs["sdlc.stage.errors", "shop", "coding", "gemini", "unknown", "max_turns"] == 1


def test_gemini_with_both() -> None:
    """Only some of its records name a trace, and spans name the session by another attribute."""
    gateway = Gateway()
    gateway.receive(read(GEMINI_LOGS))
    gateway.receive(read(GEMINI_TRACES))
    gateway.end()
    assert gateway.derived == []


@pytest.mark.parametrize("path", sorted(RECORDED.glob("openclaw*logs*")), ids=lambda path: path.name)
def test_log_lines_are_no_work(path: Path) -> None:
    """OpenClaw logs what it says, not what it does."""
    gateway = Gateway()
    gateway.receive(decode("logs", path.read_bytes(), False, Limits())[0])
    assert gateway.stop() == []
