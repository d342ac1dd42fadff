"""What recorded agents sent can be read exactly in a real Prometheus, behind a gateway as it is shipped."""

import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from otel_pipeline._native import prometheus_name
from otel_pipeline.pdata import Limits, Signal, decode, to_proto
from tests.end_to_end.harness import Gateway, StartGateway, wait_for
from tests.end_to_end.prometheus_server import Prometheus, scraping

RECORDED = Path(__file__).parents[1] / "fixtures" / "recorded"
STAGES = {"coding": "coding", "prd": "prd_design"}
"""The stages as the senders call them, and as the gateway does."""
MODEL_KEYS = ("model", "openclaw.model", "gen_ai.request.model")

Totals = dict[str, float]
"""What Prometheus must answer to each expression."""


def recordings() -> Iterator[tuple[Signal, Path]]:
    """Each payload once: of those in both encodings the protobuf one."""
    for path in sorted(RECORDED.iterdir()):
        if path.suffix == ".pb" or not path.with_suffix(".pb").exists():
            yield next(signal for signal in Signal if f".{signal}." in path.name), path


def send(gateway: Gateway, signal: Signal, path: Path) -> None:
    """As the agent did, over OTLP/HTTP."""
    content_type = "application/json" if path.suffix == ".json" else "application/x-protobuf"
    url = f"http://127.0.0.1:{gateway.http}/v1/{signal}"
    request = urllib.request.Request(url, path.read_bytes(), {"Content-Type": content_type})
    urllib.request.urlopen(request, timeout=60).close()


def messages(signal: Signal, sender: str = "") -> Iterator[tuple[dict[str, str], Any]]:
    """Attributes of the resource, and the metric, span or log record."""
    for recorded, path in recordings():
        if recorded == signal and path.name.startswith(sender):
            batch, _ = decode(signal, path.read_bytes(), path.suffix == ".json", Limits())
            kind = {"traces": "spans", "metrics": "metrics", "logs": "logs"}[signal]
            for resource in getattr(to_proto(batch), f"resource_{kind}"):
                around = told(resource.resource)
                for scope in getattr(resource, f"scope_{kind}"):
                    items = scope.log_records if signal == Signal.LOGS else getattr(scope, kind)
                    yield from ((around, item) for item in items)


def told(message: Any) -> dict[str, str]:
    """The attributes that are text or numbers, as text."""
    pairs = ((pair.key, pair.value, pair.value.WhichOneof("value")) for pair in message.attributes)
    return {key: str(getattr(value, kind)) for key, value, kind in pairs if kind}


def of_metrics() -> Totals:
    """Every metric of every sender, summed up by project, stage and model; of histograms the sum and the count."""
    totals: dict[str, float] = defaultdict(float)
    for resource, metric in messages(Signal.METRICS):
        kind = metric.WhichOneof("data")
        name = prometheus_name(metric.name, metric.unit, "counter" if kind == "sum" else kind)
        for point in getattr(metric, kind).data_points:
            attributes = told(point)
            model = next((attributes[key] for key in MODEL_KEYS if key in attributes), "")
            labels = f'project_id="{resource["project"]}",stage="{STAGES[resource["stage"]]}",model="{model}"'
            if kind == "sum":
                totals[f"sum({name}{{{labels}}})"] += point.as_double or point.as_int
            else:
                totals[f"sum({name}_sum{{{labels}}})"] += point.sum
                totals[f"sum({name}_count{{{labels}}})"] += point.count
    return dict(totals)


def of_claude_code() -> Totals:
    """Tokens and cost, which it tells three times (metrics, log records, spans): counted once; and its requests."""
    requests = [
        one for _, record in messages(Signal.LOGS, "claude") if (one := told(record)).get("event.name") == "api_request"
    ]
    kinds = {
        "input": "input_tokens",
        "output": "output_tokens",
        "cache_read": "cache_read_tokens",
        "cache_creation": "cache_creation_tokens",
    }
    models = {request["model"] for request in requests}
    (model,) = models
    labels = f'project_id="demo",stage="coding",agent="claude_code",model="{model}"'
    tokens = {
        f'sum(sdlc_llm_tokens_total{{{labels},token_type="{kind}"}})': float(sum(int(one[key]) for one in requests))
        for kind, key in kinds.items()
    }
    return tokens | {
        f"sum(sdlc_llm_cost_usd_total{{{labels}}})": sum(float(request["cost_usd"]) for request in requests),
        f'sum(sdlc_operation_duration_seconds_count{{{labels},operation="chat"}})': float(len(requests)),
    }


def of_codex() -> Totals:
    """Tokens, which only its log records tell by kind; steps and commands. (Of the recorded turn the parent is cut off: it waits an
    hour for it.)"""
    ends = [one for _, record in messages(Signal.LOGS, "codex") if "input_token_count" in (one := told(record))]
    used: Counter[str] = Counter()
    for end in ends:
        cached, reasoning = int(end["cached_token_count"]), int(end["reasoning_token_count"])
        used.update(
            input=int(end["input_token_count"]) - cached,
            output=int(end["output_token_count"]) - reasoning,
            cache_read=cached,
            reasoning=reasoning,
        )
    labels = f'project_id="demo",stage="coding",agent="codex",model="{ends[0]["model"]}"'
    tokens = {
        f'sum(sdlc_llm_tokens_total{{{labels},token_type="{kind}"}})': float(count) for kind, count in used.items()
    }
    names = Counter(span.name for _, span in messages(Signal.TRACES, "codex"))
    calls = sum(told(record).get("event.name") == "codex.tool_result" for _, record in messages(Signal.LOGS, "codex"))
    return tokens | {
        'sum(sdlc_tool_calls_total{project_id="demo",stage="coding",agent="codex"})': float(calls),
        f'sum(sdlc_operation_duration_seconds_count{{{labels},operation="agent_step"}})': float(
            names["run_sampling_request"]
        ),
    }


def of_openclaw() -> Totals:
    """Runs, requests and tool calls: spans and metrics tell of the same ones. It sends no tokens."""
    names = Counter(span.name for _, span in messages(Signal.TRACES, "openclaw"))
    labels = 'project_id="demo",stage="prd_design",agent="openclaw"'
    return {
        f"sum(sdlc_stage_runs_total{{{labels}}})": float(names["openclaw.run"]),
        f'sum(sdlc_operation_duration_seconds_count{{{labels},operation="chat",model="fake-model-1"}})': float(
            names["openclaw.model.call"]
        ),
        f"sum(sdlc_tool_calls_total{{{labels}}})": float(names["openclaw.tool.execution"]),
    }


def wrong(prometheus: Prometheus, totals: Totals) -> dict[str, tuple[float, float | None]]:
    """What must be and what Prometheus says now, where these differ by more than the last bit of a sum."""
    found = ((expression, value, prometheus.query(expression)) for expression, value in totals.items())
    return {told: (value, now) for told, value, now in found if now != pytest.approx(value, rel=1e-12)}


def test_the_totals_of_recorded_agents_are_exact_in_prometheus(start_gateway: StartGateway, tmp_path: Path) -> None:
    """Tokens, cost, requests, sessions and all else that Claude Code, OpenClaw and Codex sent, by project, stage and
    model: each number is that of the payloads."""
    gateway = start_gateway()
    totals = of_metrics() | of_claude_code() | of_codex() | of_openclaw()
    assert len(totals) > 40
    with scraping(gateway.metrics, tmp_path) as prometheus:
        for signal, path in recordings():
            send(gateway, signal, path)
        differ = partial(wrong, prometheus, totals)
        wait_for("the totals", lambda: None if differ() else True, state=differ)
