"""Telemetry as coding agents send it: Claude Code, Codex and OpenClaw, with the attributes of the recorded versions."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random

from otel_pipeline.testing.outbox import SECOND, Outbox, Parent, Sender
from otel_pipeline.testing.truth import Work
from otel_pipeline.testing.wire import Attribute

__all__ = [
    "MODELS",
    "Commit",
    "Job",
    "Usage",
    "claude_code",
    "claude_prompt",
    "codex",
    "codex_turn",
    "openclaw",
    "openclaw_run",
]

MODELS: dict[str, dict[str, float]] = {
    "claude-opus-4-5": {"input": 5, "output": 25, "cache_read": 0.5, "cache_creation": 6.25},
    "claude-sonnet-4-5": {"input": 3, "output": 15, "cache_read": 0.3, "cache_creation": 3.75},
    "gpt-5": {"input": 1.25, "output": 10, "cache_read": 0.125, "reasoning": 10},
    "gpt-5-codex": {"input": 1.25, "output": 10, "cache_read": 0.125, "reasoning": 10},
}
"""US dollars for a million tokens of each kind, from semconv/catalogue/models.yaml."""

TOOLS = ("Bash", "Edit", "Read", "Grep", "Write", "TodoWrite")
ARGV0 = ("git", "npm", "pytest", "make", "ls", "sed")


@dataclass(slots=True)
class Usage:
    """Tokens by model and kind, and what they cost."""

    tokens: dict[str, dict[str, int]] = field(default_factory=dict)
    cost_usd: float = 0.0
    interventions: int = 0

    def add(self, model: str, **tokens: int) -> float:
        """Counts one request, and returns its cost."""
        kinds = self.tokens.setdefault(model, {})
        for kind, count in tokens.items():
            kinds[kind] = kinds.get(kind, 0) + count
        cost = sum(count * MODELS[model][kind] for kind, count in tokens.items()) / 1e6
        self.cost_usd += cost
        return cost


@dataclass(frozen=True, slots=True)
class Commit:
    """What a commit is known by. `url` is empty where the agent was not told to name repositories."""

    url: str
    branch: str
    revision: str


@dataclass(frozen=True, slots=True)
class Job:
    """Some work of an agent: where its spans go, when, and how much there is to do."""

    out: Outbox
    rng: Random
    work: Work
    usage: Usage
    start_ns: int
    end_ns: int
    turns: int
    model: str = "claude-sonnet-4-5"
    failing: float = 0.03
    """Share of tool calls and requests that fail."""
    asking: float = 0.0
    """Share of tool calls that somebody has to allow."""

    def part(self, start_ns: int, end_ns: int, turns: int) -> "Job":
        """A piece of it."""
        return replace(self, start_ns=start_ns, end_ns=end_ns, turns=turns)


# --- Claude Code 2.1.330


def claude_code(rng: Random, env: Mapping[str, str], session: str, repository: str = "", skew_ns: int = 0) -> Sender:
    """One session. `env` is OTEL_RESOURCE_ATTRIBUTES, which it repeats on every span and record; `repository` is
    "owner/name" with OTEL_METRICS_INCLUDE_REPOSITORY."""
    owner, _, name = repository.partition("/")
    vcs = {
        "vcs.repository.url.full": f"https://github.com/{repository}",
        "vcs.owner.name": owner,
        "vcs.repository.name": name,
        "vcs.provider.name": "github",
    }
    return Sender(
        resource={**env, "host.arch": "amd64", "os.type": "linux", "os.version": "6.12.0"}
        | {"service.name": "claude-code", "service.version": "2.1.330"},
        scope=("com.anthropic.claude_code.tracing", "1.0.0"),
        log_scope=("com.anthropic.claude_code.events", "2.1.330"),
        common={**env, "user.id": rng.randbytes(32).hex(), "session.id": session}
        | {"anthropic.provider": "firstParty", "terminal.type": "xterm"}
        | (vcs if repository else {}),
        skew_ns=skew_ns,
    )


def claude_prompt(job: Job, sender: Sender, parent: Parent, sequence: int, commit: Commit | None = None) -> Parent:
    """One prompt with everything it causes; `commit` is made in its first turn."""
    session = str(sender.common["session.id"])
    every: dict[str, Attribute] = {"gen_ai.provider.name": "anthropic", "gen_ai.conversation.id": session}
    prompt: dict[str, Attribute] = {"prompt.id": job.rng.randbytes(8).hex()}
    own = job.out.span(
        sender,
        job.work,
        parent,
        "claude_code.interaction",
        job.start_ns,
        job.end_ns,
        {**every, "span.type": "interaction", "gen_ai.operation.name": "invoke_agent", "user_prompt": "<REDACTED>"}
        | {"user_prompt_length": job.rng.randrange(20, 900), "interaction.sequence": sequence}
        | {"parent.source": "env" if parent.span else "none", "queued_sends": 0}
        | {"interaction.duration_ms": (job.end_ns - job.start_ns) // 1_000_000},
    )
    told = {**prompt, "event.name": "user_prompt", "prompt": "<REDACTED>"}
    job.out.log(sender, "claude_code.user_prompt", job.start_ns, told, own)
    step = (job.end_ns - job.start_ns) // (job.turns + 1)
    for turn in range(job.turns):
        start = job.start_ns + turn * step
        asked = start + step * job.rng.randrange(20, 60) // 100
        _claude_request(job, sender, own, start, asked, every, prompt)
        _claude_tool(job, sender, own, (asked, start + step), every | prompt, commit if turn == 0 else None)
    _claude_request(job, sender, own, job.end_ns - step, job.end_ns, every, prompt)
    return own


def _claude_request(
    job: Job,
    sender: Sender,
    parent: Parent,
    start: int,
    end: int,
    every: Mapping[str, Attribute],
    prompt: Mapping[str, Attribute],
) -> None:
    request, model = f"req_{job.rng.randbytes(9).hex()}", f"{job.model}-20250929"
    values: dict[str, Attribute] = {
        **every,
        "span.type": "llm_request",
        "model": model,
        "gen_ai.system": "anthropic",
        "gen_ai.request.model": model,
        "llm_request.context": "interaction",
        "query_source_safe": "sdk" if parent.span else "repl_main_thread",
        "duration_ms": (end - start) // 1_000_000,
        "attempt": 1,
    }
    if job.rng.random() < job.failing / 3:
        values |= {"success": False, "status_code": 529, "error": "overloaded", "error_class": "server_overload"}
        job.out.span(
            sender, job.work, parent, "claude_code.llm_request", start, end, values,
            status=2, message="overloaded", error_type="server_overload",
        )  # fmt: skip
        return
    tokens = {
        "input": job.rng.randrange(3, 900),
        "output": job.rng.randrange(50, 1500),
        "cache_read": job.rng.randrange(8_000, 90_000),
        "cache_creation": job.rng.randrange(0, 4000),
    }
    cost = job.usage.add(job.model, **tokens)
    counts = {f"{kind}_tokens": count for kind, count in tokens.items()}
    ids = {"request_id": request, "gen_ai.response.id": request, "stop_reason": "tool_use"}
    done: dict[str, Attribute] = {"success": True, "ttft_ms": 900, "gen_ai.response.finish_reasons": ("tool_use",)}
    job.out.span(sender, job.work, parent, "claude_code.llm_request", start, end, {**values, **counts, **ids, **done})
    event: dict[str, Attribute] = {
        "event.name": "api_request",
        "model": model,
        "request_id": request,
        "cost_usd": cost,
        **counts,
        **prompt,
    }
    job.out.log(sender, "claude_code.api_request", end, event, parent)


def _claude_tool(
    job: Job,
    sender: Sender,
    parent: Parent,
    times: tuple[int, int],
    every: Mapping[str, Attribute],
    commit: Commit | None,
) -> None:
    start, end = times
    call, tool = f"toolu_{job.rng.randbytes(9).hex()}", "Bash" if commit else job.rng.choice(TOOLS)
    prompt = {"prompt.id": every["prompt.id"]}
    every = {key: value for key, value in every.items() if key != "prompt.id"}
    ids: dict[str, Attribute] = {"tool_use_id": call, "gen_ai.tool.call.id": call}
    argv0 = "git" if commit else job.rng.choice(ARGV0)
    shell = {"bash_command_class": "external", "bash_argv0": argv0} if tool == "Bash" else {}
    own = job.out.span(
        sender, job.work, parent, "claude_code.tool", start, end,
        {**every, **ids, **shell, "span.type": "tool", "tool_name": tool, "tool_name_safe": tool}
        | {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool},
    )  # fmt: skip
    asked = job.rng.random() < job.asking
    allowed = start + ((end - start) // 2 if asked else 2_000_000)
    job.usage.interventions += asked
    decided = {"decision": "accept", "source": "user_temporary" if asked else "config"}
    waited = {**every, **decided, "span.type": "tool.blocked_on_user"}
    job.out.span(sender, job.work, own, "claude_code.tool.blocked_on_user", start, min(allowed, end), waited)
    failed = not commit and job.rng.random() < job.failing
    values = {**every, **ids, "span.type": "tool.execution", "success": not failed}
    if failed:
        values |= {"error.type": "tool_error", "error": "exit code 1", "error_class": "ShellError"}
    job.out.span(
        sender, job.work, own, "claude_code.tool.execution", min(allowed, end), end, values,
        status=2 if failed else 0, message="exit code 1" if failed else "", error_type="ShellError" if failed else "",
    )  # fmt: skip
    result: dict[str, Attribute] = {"event.name": "tool_result", "tool_name": tool, "tool_use_id": call, **prompt}
    result["success"] = "false" if failed else "true"
    if commit is not None:
        result |= {"vcs.ref.head.name": commit.branch, "vcs.ref.head.type": "branch"}
        result |= {"vcs.ref.head.revision": commit.revision}
        result |= {"vcs.repository.url.full": commit.url} if commit.url else {}
    job.out.log(sender, "claude_code.tool_result", end, result, own)


# --- Codex 0.169.0


def codex(env: Mapping[str, str], skew_ns: int = 0) -> Sender:
    """`codex exec` with OTEL_RESOURCE_ATTRIBUTES."""
    sdk = {"telemetry.sdk.language": "rust", "telemetry.sdk.name": "opentelemetry", "telemetry.sdk.version": "0.31.0"}
    return Sender(
        resource={"service.name": "codex_exec", "service.version": "0.169.0", "env": "dev", **sdk, **env},
        scope=("codex_exec", ""),
        log_scope=("codex_otel.log_only", ""),
        skew_ns=skew_ns,
    )


def codex_turn(job: Job, sender: Sender, parent: Parent) -> None:
    """One turn: a few spans of work among those of its code."""
    thread, turn = job.rng.randbytes(16).hex(), job.rng.randbytes(16).hex()
    out, end = job.out, job.end_ns
    rpc: dict[str, Attribute] = {"rpc.system": "jsonrpc", "rpc.method": "turn/start", "thread.id": "4"}
    top = out.span(sender, job.work, parent, "turn/start", job.start_ns, end, rpc, kind=2)
    ran = out.span(sender, job.work, top, "session_task.run", job.start_ns, end, {"thread.id": "3"})
    read = job.rng.randrange(10_000, 80_000)
    tokens = {
        "input": job.rng.randrange(500, 9000),
        "output": job.rng.randrange(200, 4000),
        "cache_read": read,
        "reasoning": job.rng.randrange(100, 3000),
    }
    job.usage.add("gpt-5-codex", **tokens)
    name = "codex.turn.token_usage."
    told: dict[str, Attribute] = {
        "thread.id": thread,
        "turn.id": turn,
        "model": "gpt-5-codex",
        f"{name}input_tokens": tokens["input"] + read,
        f"{name}cached_input_tokens": read,
        f"{name}cache_write_input_tokens": 0,
        f"{name}output_tokens": tokens["output"] + tokens["reasoning"],
        f"{name}reasoning_output_tokens": tokens["reasoning"],
    }
    task = out.span(sender, job.work, ran, "session_task.turn", job.start_ns, end, told)
    ids: dict[str, Attribute] = {"thread.id": thread, "conversation.id": thread, "turn.id": turn}
    step = (end - job.start_ns) // max(1, job.turns)
    for number in range(job.turns):
        start = job.start_ns + number * step
        model: dict[str, Attribute] = {"turn_id": turn, "model": "gpt-5-codex", "cwd": "/workspace"}
        asked = out.span(sender, job.work, task, "run_sampling_request", start, start + step, model)
        out.span(sender, job.work, asked, "handle_tool_call", start + step // 2, start + step, {"thread.id": "4"})
        call: dict[str, Attribute] = {**ids, "tool_name": "exec_command", "codex.tool.phase": "dispatch"}
        call |= {"call_id": f"call_{number}", "aborted": False, "tool_source": "direct"}
        out.span(sender, job.work, asked, "exec_command", start + step // 2, start + step, call)
    event: dict[str, Attribute] = {"event.name": "codex.user_prompt", "prompt": "[REDACTED]", "model": "gpt-5-codex"}
    out.log(sender, "", job.start_ns, {**event, "conversation.id": thread, "originator": "codex_exec"}, task)


# --- OpenClaw 2026.9.6, whose spans stay in the trace of the caller


def openclaw(env: Mapping[str, str]) -> Sender:
    """A gateway process: it serves everybody, so that nothing on it tells of the work."""
    return Sender(
        resource={"service.name": "openclaw-gateway", **env}, scope=("openclaw", ""), log_scope=("openclaw", "")
    )


def openclaw_run(job: Job, sender: Sender, parent: Parent) -> None:
    """One run in the caller's trace, as `traceparent` of the request frame asks for."""
    out, work = job.out, job.work
    what: dict[str, Attribute] = {
        "openclaw.provider": "openai",
        "openclaw.model": "gpt-5",
        "openclaw.channel": "webchat",
    }
    done: dict[str, Attribute] = {**what, "openclaw.outcome": "completed", "openclaw.trigger": "user"}
    harness = {**done, "openclaw.harness.id": "pi", "openclaw.harness.plugin": "unknown"}
    around = out.span(sender, work, parent, "openclaw.harness.run", job.start_ns, job.end_ns, harness)
    own = out.span(sender, work, around, "openclaw.run", job.start_ns, job.end_ns, done)
    out.span(sender, work, own, "openclaw.context.assembled", job.start_ns, job.start_ns + SECOND, what)
    step = (job.end_ns - job.start_ns) // max(1, job.turns)
    total = {"input": 0, "output": 0}
    for turn in range(job.turns):
        start, half = job.start_ns + turn * step, job.start_ns + turn * step + step // 2
        tokens = {"input": job.rng.randrange(2000, 30_000), "output": job.rng.randrange(100, 3000)}
        total = {kind: total[kind] + tokens[kind] for kind in total}
        job.usage.add("gpt-5", **tokens)
        call: dict[str, Attribute] = {"gen_ai.system": "openai", "gen_ai.request.model": "gpt-5"}
        call |= {"gen_ai.operation.name": "chat", "openclaw.api": "openai-responses", "openclaw.transport": "sse"}
        call |= {f"gen_ai.usage.{kind}_tokens": count for kind, count in tokens.items()}
        out.span(sender, work, own, "openclaw.model.call", start, half, {**what, **call})
        failed = job.rng.random() < job.failing
        tool: dict[str, Attribute] = {"openclaw.toolName": "read", "gen_ai.tool.name": "read"}
        tool |= {"openclaw.errorCategory": "ENOENT"} if failed else {}
        out.span(
            sender, work, own, "openclaw.tool.execution", half, start + step, tool,
            status=2 if failed else 0, error_type="ENOENT" if failed else "",
        )  # fmt: skip
    used = {f"openclaw.tokens.{kind}": count for kind, count in total.items()}
    out.span(sender, work, own, "openclaw.model.usage", job.end_ns, job.end_ns, {**what, **used})
