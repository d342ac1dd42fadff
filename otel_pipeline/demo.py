"""`otel-pipeline demo`: starts a gateway, sends one small delivery through the real SDK, shows what came out, and plays
the week of a small organisation."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode, Tracer, set_span_in_context
from prometheus_client.parser import text_string_to_metric_families

from otel_pipeline.component import Kind
from otel_pipeline.config import read
from otel_pipeline.config.model import Config
from otel_pipeline.demo_week import most_eventful, play, read_back, week

__all__ = ["main"]

PROJECT = "checkout"
REQUIREMENT = "REQ-1042"
# Shown within seconds instead of half a minute, without a line for each batch; everything else is as shipped.
QUICK = (
    "connectors.stage_metrics.decision_wait=1s",
    "connectors.stage_metrics.metrics_flush_interval=500ms",
    "service.telemetry.logs.level=warning",
)
Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Step:
    """One span inside a stage: a model request or a tool call."""

    name: str
    seconds: float
    attributes: dict[str, str | int] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class Stage:
    """One stage of the delivery, done by one agent."""

    name: str
    agent: str
    seconds: float
    steps: tuple[Step, ...]
    failed: bool = False


def _chat(model: str, provider: str, seconds: float, tokens: int) -> Step:
    names: dict[str, str | int] = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model}
    usage: dict[str, str | int] = {"gen_ai.provider.name": provider, "gen_ai.usage.input_tokens": tokens}
    return Step(f"chat {model}", seconds, names | usage)


def _tool(name: str, seconds: float, error: str = "") -> Step:
    attributes: dict[str, str | int] = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}
    return Step(f"execute_tool {name}", seconds, attributes | ({"error.type": error} if error else {}), error)


SONNET = ("claude-sonnet-4-5", "anthropic")
GPT = ("gpt-5", "openai")
DELIVERY = (
    Stage("requirement_analysis", "openclaw", 420, (_chat(*GPT, 31, 5200), _chat(*GPT, 18, 6100))),
    Stage("prd_design", "openclaw", 1260, (_chat(*GPT, 44, 9800), _tool("write_document", 2))),
    Stage("technical_design", "claude_code", 1800, (_chat(*SONNET, 52, 14000), _tool("Write", 1))),
    Stage("coding", "claude_code", 2700, (_chat(*SONNET, 38, 9000), _tool("Edit", 3), _tool("Bash", 64, "ShellError"))),
    Stage("unit_test", "codex", 540, (_chat(*GPT, 21, 7400), _tool("shell", 210))),
    Stage("deployment", "other", 95, (_tool("kubectl_apply", 12),)),
)  # fmt: skip


def main(once: bool = False, files: Sequence[Path] = (), sets: Sequence[str] = ()) -> int:
    """Runs the demo; 0 where everything that was sent was read back, else 1 after saying what is missing.

    With `once` it ends after the read-back; else it keeps the gateway running until Ctrl-C.
    """
    sets = (*QUICK, *sets)
    addresses = _addresses(read(files, sets).config())
    with tempfile.TemporaryDirectory(prefix="otel-pipeline-demo-") as data_dir:
        gateway = _start(files, sets, data_dir)
        try:
            return _show(gateway, addresses, once)
        except KeyboardInterrupt:
            return 0
        finally:
            gateway.terminate()
            gateway.wait(timeout=60)


def _show(gateway: "subprocess.Popen[bytes]", addresses: dict[str, str], once: bool) -> int:
    if not _ready(gateway, addresses["ready"]):
        print("the gateway did not start; its own messages are above", file=sys.stderr)
        return 1
    begin = time.time_ns() - round(sum(stage.seconds for stage in DELIVERY) * 1e9)
    _send(addresses["grpc"], begin)
    missing = _read_back(addresses["metrics"])
    if missing:
        print("\nNot as sent:\n  " + "\n  ".join(missing), file=sys.stderr)
        return 1
    print(f"\nEverything that was sent was read back. Requirement {REQUIREMENT}, project {PROJECT}.")
    if not _play_week(addresses):
        return 1
    for name, text in addresses.items():
        print(f"  {_TITLES[name]:<28} {text}")
    if not once:
        print("\nRunning until Ctrl-C.", flush=True)
        gateway.wait()
    return 0


def _play_week(addresses: dict[str, str]) -> bool:
    """Plays the week and says where to look; False where the gateway refused some of it or tells another story."""
    org, web = week(time.time_ns()), addresses["web"]
    projects = {project for project, _ in org.truth.requirements}
    print(f"\nPlaying a week of {len(org.truth.requirements)} requirements in {len(projects)} projects ...", flush=True)
    try:
        requests = play(addresses["http"], org.deliveries())
        print(f"... {len(org.truth.spans)} spans, and logs, in {requests} requests, all accepted.")
        found = read_back(web, org)
    except OSError as error:
        print(f"\nThe week was not played to its end: {error}", file=sys.stderr)
        return False
    if found is None:
        print("This gateway keeps no journeys.\n")
        return True
    print(f"Read back as journeys: {found}")
    if not found.is_good:
        print("\nThe journeys are not what happened.", file=sys.stderr)
        return False
    one = most_eventful(org)
    print(f"\nThe way of one of them, {one.title!r}, in the terminal and as a page:\n")
    print(f"  {_command()} trace {one.requirement} --url {web}")
    print(f"  {web}/requirements/{one.project}/{one.requirement}\n")
    return True


def _command() -> str:
    """What runs this program from the shell that the demo was started in."""
    installed = Path(sys.executable).with_name("otel-pipeline")
    if shutil.which("otel-pipeline") == str(installed):
        return installed.name
    if not installed.exists():
        return f"{_short(Path(sys.executable))} -m otel_pipeline"
    return _short(installed)


def _short(path: Path) -> str:
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


_TITLES = {
    "web": "requirements and journeys",
    "grpc": "OTLP/gRPC for agents",
    "http": "OTLP/HTTP for agents",
    "metrics": "metrics for Prometheus",
    "ready": "readiness",
    "status": "state of every component",
}


def _addresses(config: Config) -> dict[str, str]:
    """Where the configured gateway listens, as URLs."""
    otlp: Any = config.components[Kind.RECEIVER]["otlp"].options
    prometheus: Any = config.components[Kind.EXPORTER]["prometheus"].options
    web: Any = config.components[Kind.EXTENSION]["web"].options
    health: Any = config.components[Kind.EXTENSION]["health_check"].options
    return {
        "web": f"http://{web.endpoint}",
        "grpc": f"http://{otlp.protocols.grpc.endpoint}",
        "http": f"http://{otlp.protocols.http.endpoint}",
        "metrics": f"http://{prometheus.endpoint}/metrics",
        "ready": f"http://{health.endpoint}/ready",
        "status": f"http://{health.endpoint}/status",
    }


def _start(files: Sequence[Path], sets: Sequence[str], data_dir: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "otel_pipeline", "run"]
    command += [part for path in files for part in ("--config", str(path))]
    command += [part for text in sets for part in ("--set", text)]
    environment = os.environ | {"OTEL_PIPELINE_DATA_DIR": data_dir}
    return subprocess.Popen(command, env=environment)


def _ready(gateway: "subprocess.Popen[bytes]", url: str) -> bool:
    deadline = time.monotonic() + 60
    while gateway.poll() is None and time.monotonic() < deadline:
        try:
            _get(url)
        except OSError:
            time.sleep(0.1)
        else:
            return True
    return False


def _get(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5) as answer:
        text: str = answer.read().decode()
        return text


def _send(endpoint: str, begin: int) -> None:
    """Sends the delivery as its agents would: one SDK, one resource and one trace for each stage."""
    print(f"Sending {len(DELIVERY)} stages of {REQUIREMENT} to {endpoint} ...")
    for stage in DELIVERY:
        attributes = {"service.name": f"{stage.agent}-{stage.name}", "project": PROJECT, "requirement": REQUIREMENT}
        resource = Resource.create(attributes | {"stage": stage.name, "agent": stage.agent})
        provider = TracerProvider(resource=resource)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint, insecure=True)))
        _record(provider.get_tracer("otel_pipeline.demo"), stage, begin)
        provider.shutdown()
        begin += round(stage.seconds * 1e9)


def _record(tracer: Tracer, stage: Stage, begin: int) -> None:
    operation = {"gen_ai.operation.name": "invoke_agent"}
    root = tracer.start_span(f"invoke_agent {stage.name}", start_time=begin, attributes=operation)
    at = begin
    for step in stage.steps:
        span = tracer.start_span(step.name, set_span_in_context(root), start_time=at, attributes=step.attributes)
        if step.error:
            span.set_status(Status(StatusCode.ERROR, "command failed"))
        at += round(step.seconds * 1e9)
        span.end(end_time=at)
    root.end(end_time=begin + round(stage.seconds * 1e9))


def _expected() -> dict[tuple[str, Labels], float]:
    """What /metrics must show, by name and labels."""
    expected: dict[tuple[str, Labels], float] = {}
    for stage in DELIVERY:
        labels = {"project_id": PROJECT, "stage": stage.name, "agent": stage.agent, "outcome": "success"}
        expected["sdlc_stage_runs_total", frozenset(labels.items())] = 1
        models = [str(step.attributes["gen_ai.request.model"]) for step in stage.steps if step.name.startswith("chat")]
        labels |= {"model": models[0] if models else "unknown"}
        expected["sdlc_stage_duration_seconds_sum", frozenset(labels.items())] = stage.seconds
        expected["sdlc_stage_duration_seconds_count", frozenset(labels.items())] = 1
        del labels["outcome"]
        for step in stage.steps:
            if step.error:
                failed = labels | {"model": "unknown", "error_type": step.error}
                expected["sdlc_stage_errors_total", frozenset(failed.items())] = 1
    return expected


def _read_back(url: str) -> list[str]:
    """Waits until /metrics shows the delivery, prints it, and returns what differs."""
    expected, found = _expected(), dict[tuple[str, Labels], float]()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not expected.items() <= found.items():
        time.sleep(0.2)
        found = {key: value for key, value in _samples(_get(url)).items() if ("project_id", PROJECT) in key[1]}
    _print_table(found)
    names = {name for name, _ in expected}
    wrong = [key for key, value in expected.items() if found.get(key) != value]
    wrong += [key for key in found if key[0] in names and key not in expected]
    return [f"{_text(key)}: sent {expected.get(key, 0):g}, shown {found.get(key, 0):g}" for key in wrong]


def _samples(page: str) -> dict[tuple[str, Labels], float]:
    samples: dict[tuple[str, Labels], float] = {}
    for family in text_string_to_metric_families(page):
        if family.name.startswith("sdlc_"):
            for sample in family.samples:
                samples[sample.name, frozenset(sample.labels.items())] = sample.value
    return samples


def _text(key: tuple[str, Labels]) -> str:
    return f"{key[0]}{{{', '.join(f'{name}={value!r}' for name, value in sorted(key[1]))}}}"


def _print_table(found: dict[tuple[str, Labels], float]) -> None:
    print(f"\n  {'stage':<22} {'agent':<12} {'model':<20} {'runs':>4} {'seconds':>8}  errors")
    for stage in DELIVERY:
        durations = _rows(found, "sdlc_stage_duration_seconds_sum", stage)
        model = ", ".join(labels["model"] for labels, _ in durations) or "-"
        runs = sum(value for _, value in _rows(found, "sdlc_stage_runs_total", stage))
        seconds = sum(value for _, value in durations)
        errors = _rows(found, "sdlc_stage_errors_total", stage)
        kinds = ", ".join(f"{value:g} {labels['error_type']}" for labels, value in errors) or "-"
        print(f"  {stage.name:<22} {stage.agent:<12} {model:<20} {runs:>4g} {seconds:>8g}  {kinds}")


def _rows(found: dict[tuple[str, Labels], float], name: str, stage: Stage) -> list[tuple[dict[str, str], float]]:
    pair = ("stage", stage.name)
    return [(dict(labels), value) for (own, labels), value in found.items() if own == name and pair in labels]
