"""Failures that agents hide, and what only looks like one: the outcome and the kind of error that the shipped rules tell."""

from typing import Any

import pytest

from otel_pipeline.pdata import Batch, to_proto
from otel_pipeline.processors.semconv import Semconv, SemconvConfig
from otel_pipeline.testing import make_log, make_logs, make_settings, make_span, make_traces

CLAUDE = "com.anthropic.claude_code.tracing"
EVENTS = "com.anthropic.claude_code.events"
LOGS = "codex_otel.log_only"
KNOWN = ("sdlc.outcome", "error.type", "sdlc.noise")


def known(batch: Batch) -> tuple[str | bool | None, ...]:
    """Outcome, kind of error and whether it is noise, of the one item."""
    enriched = Semconv(SemconvConfig(), make_settings("semconv")).process(batch)
    assert enriched is not None
    request = to_proto(enriched)
    (resource,) = request.resource_spans if hasattr(request, "resource_spans") else request.resource_logs
    (scope,) = resource.scope_spans if hasattr(resource, "scope_spans") else resource.scope_logs
    (item,) = scope.spans if hasattr(scope, "spans") else scope.log_records
    found = {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in item.attributes}
    return tuple(found.get(key) for key in KNOWN)


@pytest.mark.parametrize(
    ("scope", "span", "expected"),
    [
        (CLAUDE, {"name": "claude_code.llm_request", "error": "", "error_class": "server_overload", "status_code": 529},
         ("failure", "server_overload", None)),
        (CLAUDE, {"name": "claude_code.llm_request", "error": "", "status_code": 401}, ("failure", "401", None)),
        (CLAUDE, {"name": "claude_code.tool.execution", "error": "", "error__type": "tool_error",
                  "error_class": "Error:ENOENT"}, ("failure", "Error:ENOENT", None)),
        (CLAUDE, {"name": "claude_code.tool.execution", "success": True}, (None, None, None)),
        (CLAUDE, {"name": "claude_code.tool.blocked_on_user", "decision": "reject", "source": "user_reject"},
         ("rejected", None, None)),
        (CLAUDE, {"name": "claude_code.hook", "error": ""}, ("failure", "_OTHER", None)),
        ("openclaw", {"name": "openclaw.exec", "openclaw__outcome": "completed", "openclaw__exec__exit_code": 4},
         ("failure", "nonzero_exit_code", None)),
        ("openclaw", {"name": "openclaw.exec", "openclaw__outcome": "completed", "openclaw__exec__exit_code": 0},
         (None, None, None)),
        ("openclaw", {"name": "openclaw.exec", "error": "", "openclaw__outcome": "failed",
                      "openclaw__failureKind": "spawn_error"}, ("failure", "spawn_error", None)),
        ("openclaw", {"name": "openclaw.exec", "error": "", "openclaw__exec__exit_signal": "SIGKILL"},
         ("failure", "SIGKILL", None)),
        ("openclaw", {"name": "openclaw.exec", "openclaw__exec__timed_out": True,
                      "openclaw__exec__exit_signal": "SIGTERM"}, ("failure", "timeout", None)),
        ("openclaw", {"name": "openclaw.tool.execution", "error": "", "openclaw__errorCategory": "TypeError"},
         ("failure", "TypeError", None)),
        ("openclaw", {"name": "openclaw.tool.execution", "openclaw__outcome": "blocked",
                      "openclaw__deniedReason": "policy"}, ("rejected", None, None)),
        ("openclaw", {"name": "openclaw.model.call", "error": "", "openclaw__failureKind": "timeout",
                      "openclaw__errorCategory": "Error", "gen_ai__operation__name": "chat"},
         ("failure", "timeout", None)),
        ("openclaw", {"name": "openclaw.run", "openclaw__outcome": "aborted"}, ("cancelled", None, None)),
        ("openclaw", {"name": "openclaw.harness.run", "error": "", "openclaw__errorCategory": "Error"},
         ("failure", "Error", True)),
        ("openclaw", {"name": "openclaw.session.stuck", "error": "session stuck"}, ("failure", "session_stuck", True)),
        ("openclaw", {"name": "openclaw.liveness.warning", "error": "event_loop"}, ("success", "liveness.warning", True)),
        ("codex_exec", {"name": "apply_patch", "tool_name": "apply_patch", "codex__tool__phase": "dispatch",
                        "aborted": True}, ("cancelled", None, None)),
        ("codex_tui", {"name": "receiving"}, (None, None, True)),
    ],
)  # fmt: skip
def test_spans(scope: str, span: dict[str, Any], expected: tuple[Any, ...]) -> None:
    """Exit codes, signals and refusals behind UNSET are told; a status ERROR that means no failed work is none."""
    assert known(make_traces(make_span(**span), scope=scope)) == expected


UNIFIED = (
    "Chunk ID: 68b541\nWall time: 0.0000 seconds\nProcess exited with code {}\nOriginal token count: 1\nOutput:\nhi\n"
)
SHELL = "Exit code: {}\nWall time: 0.1 seconds\nOutput:\nExit code: 1\n"


@pytest.mark.parametrize(
    ("scope", "name", "record", "expected"),
    [
        (LOGS, "codex.tool_result", {"success": "true", "output": UNIFIED.format(3)}, ("failure", "nonzero_exit_code")),
        (LOGS, "codex.tool_result", {"success": "true", "output": UNIFIED.format(0)}, (None, None)),
        (LOGS, "codex.tool_result", {"success": "true", "output": SHELL.format(127)}, ("failure", "nonzero_exit_code")),
        (LOGS, "codex.tool_result", {"success": "true", "output": SHELL.format(0)}, (None, None)),
        (LOGS, "codex.tool_result", {"success": "false", "output": "no such tool"}, ("failure", "tool_error")),
        (
            LOGS,
            "codex.tool_result",
            {"success": "false", "output": "exec command rejected by user"},
            ("rejected", None),
        ),
        (LOGS, "codex.tool_decision", {"decision": "denied", "source": "User"}, ("rejected", None)),
        (LOGS, "codex.tool_decision", {"decision": "approved", "source": "Config"}, (None, None)),
        (LOGS, "codex.api_request", {"http__response__status_code": 503}, ("failure", "503")),
        (LOGS, "codex.api_request", {"http__response__status_code": 200}, (None, None)),
        (EVENTS, "api_error", {"status_code": 529}, ("failure", "529")),
        (EVENTS, "api_error", {"error": "Connection error."}, ("failure", "connection_error")),
        (EVENTS, "api_retries_exhausted", {"status_code": 529}, ("failure", "retries_exhausted")),
        (EVENTS, "tool_result", {"success": "false", "error_type": "ShellError"}, ("failure", "ShellError")),
        (EVENTS, "tool_result", {"success": "true"}, (None, None)),
        (EVENTS, "tool_decision", {"decision": "reject", "source": "user_reject"}, ("rejected", None)),
    ],
)
def test_events(scope: str, name: str, record: dict[str, Any], expected: tuple[Any, ...]) -> None:
    """What log records tell in words: true and false as text, and an exit code in the lines before a command's output."""
    event = make_log("event x.rs:1", event__name=name, **record)
    assert known(make_logs(event, scope=scope))[:2] == expected
