"""What the doctor finds out, step by step: does the gateway run, take what is sent, and show it again."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from prometheus_client.parser import text_string_to_metric_families

from otel_pipeline.component import Kind
from otel_pipeline.config.model import Config
from otel_pipeline.doctor.addresses import Addresses, Listener
from otel_pipeline.doctor.probe import PROBE_METRIC, PROJECT, PROTOCOLS, SERVICE, Answer, fetch, send
from otel_pipeline.pdata import Signal

__all__ = ["Finding", "examine"]

_MAX_SKEW_SECONDS = 5.0
_MAX_UNRESOLVED = 10
_SLACK_SECONDS = 10.0
_RUNS = "sdlc_stage_runs_total"
_QUIET_EXPORTERS = ("debug", "sender_health")

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
Taken = dict[Signal, list[str]]
"""The protocols of the requests of each signal that were taken."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is well or not, in plain words."""

    level: Literal["ok", "warning", "problem"]
    check: str
    what: str
    fix: str = ""
    """The line to change, or what to do."""

    def as_json(self) -> dict[str, str]:
        """For `--json`."""
        return asdict(self)


def examine(config: Config, addresses: Addresses) -> list[Finding]:
    """Sends, reads back and judges. Takes as long as spans wait for the rest of their trace."""
    state, findings = _state(addresses)
    findings += _destinations(config)
    before = _samples(addresses)
    mark = time.time()
    answers = {
        (listener.option, protocol, signal): send(listener, protocol, signal, mark)
        for listener in addresses.listeners
        if not listener.unusual
        for protocol in PROTOCOLS[listener.protocol]
        for signal in Signal
    }
    for listener in addresses.listeners:
        own = {(protocol, signal): one for (at, protocol, signal), one in answers.items() if at == listener.option}
        findings += _sent(listener, own, runs=state is not None)
    if not addresses.listeners:
        findings.append(
            Finding(
                "problem",
                "receive",
                "no OTLP receiver is configured",
                "receivers: {otlp: {protocols: {grpc: , http: }}}",
            )
        )
    taken: Taken = {
        signal: [key[1] for key, answer in answers.items() if key[2] is signal and answer.outcome == "taken"]
        for signal in Signal
    }
    findings += _senders(config, addresses, taken)
    findings += _metrics(config, addresses, before, taken, mark)
    findings += _unresolved(addresses)
    return findings


def _state(addresses: Addresses) -> tuple[dict[str, Any] | None, list[Finding]]:
    """What /status says; None where nothing answers."""
    if not addresses.health:
        fix = "extensions: {health_check: }   and   service::extensions: [health_check]"
        return None, [
            Finding("warning", "status", "the extension health_check is off, so nothing tells the state", fix)
        ]
    url = f"{addresses.health}/status"
    try:
        status: dict[str, Any] = json.loads(fetch(url))
        components = status["components"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"nothing answers at {url}: {error}"
        fix = "start it with the same --config (otel-pipeline run), or tell its own with --config and --url"
        return None, [Finding("problem", "status", what, fix)]
    findings = [Finding("problem", "ready", reason, f"look at {url}") for reason in status["reasons"]]
    for one in components:
        if one["health"] in ("recoverable_error", "permanent_error"):
            name = f"{one['kind']}s::{one['id']}"
            findings.append(
                Finding("problem", "component", f"{name}: {one['reason']}", f"change the options of {name}")
            )
    return status, findings or [Finding("ok", "status", f"the gateway runs and is ready ({url})")]


def _destinations(config: Config) -> Iterator[Finding]:
    """Signals that no pipeline takes, or that end nowhere."""
    exporters = config.components.get(Kind.EXPORTER, {})
    quiet = {id_ for id_, one in exporters.items() if one.component.type in _QUIET_EXPORTERS}
    for signal in Signal:
        pipelines = [one for one in config.pipelines.values() if one.signal is signal]
        if not pipelines:
            fix = f"service::pipelines::{signal}: {{receivers: [otlp], exporters: [...]}}"
            yield Finding("problem", "pipelines", f"no pipeline takes {signal}", fix)
        elif not {id_ for one in pipelines for id_ in one.exporters} - quiet:
            what = f"{signal} go nowhere: their pipelines end in {', '.join(sorted(quiet))}"
            fix = f"service::pipelines::{signal}::exporters: add stage_metrics, prometheus or otlp_grpc"
            yield Finding("problem", "pipelines", what, fix)


def _sent(listener: Listener, answers: dict[tuple[str, Signal], Answer], *, runs: bool) -> Iterator[Finding]:
    """How one server took what was sent to it; one finding for each kind of answer."""
    where = f"{listener.protocol} at {listener.address}"
    if listener.unusual:
        yield Finding("warning", "send", f"{where} was not tried: {listener.unusual}", f"see {listener.option}")
    by_answer: dict[Answer, list[str]] = {}
    for (protocol, signal), answer in answers.items():
        by_answer.setdefault(answer, []).append(f"{signal} ({protocol})")
    for answer, sent in by_answer.items():
        what = f"{where}: {', '.join(sent)}"
        if answer.outcome == "taken":
            yield Finding("ok", "send", f"{what} taken")
        else:
            yield Finding("problem", "send", f"{what}: {_told(answer)}", _fix(listener, answer, runs=runs))


def _told(answer: Answer) -> str:
    words = {
        "nothing_listens": "nothing listens there",
        "no_pipeline": "refused, no pipeline takes it",
        "refused": "refused for now",
        "rejected": "refused for good",
        "no_otlp": "what answers there does not speak OTLP, or not this protocol",
    }[answer.outcome]
    return f"{words} ({answer.message})" if answer.message else words


def _fix(listener: Listener, answer: Answer, *, runs: bool) -> str:
    match answer.outcome:
        case "nothing_listens":
            other = f"it was started with another {listener.option}: run doctor with its --config, or restart it"
            return other if runs else "start the gateway: otel-pipeline run"
        case "no_pipeline":
            receiver = listener.option.split("::")[1]
            return f"service::pipelines: a pipeline of that signal has to list {receiver}; then reload (SIGHUP)"
        case "refused":
            full = "memory" in answer.message or "in flight" in answer.message
            raised = "processors::memory_limiter::limit_mib: raise it, or send less"
            return raised if full else "look at what is behind: the exporters at /status, and the gateway's log"
        case "no_otlp":
            return f"{listener.option}: is {listener.address} the port of another program, or of the other protocol?"
    return "the message tells why; the gateway's log at level debug tells more"


def _senders(config: Config, addresses: Addresses, taken: Taken) -> Iterator[Finding]:
    """Whether /api/senders shows what was taken, whose time it tells."""
    if not addresses.web:
        fix = "extensions: {web: }   and add web to service::extensions"
        yield Finding("warning", "senders", "the extension web is off, so senders and logs cannot be read back", fix)
        return
    ids = {
        id_ for id_, one in config.components.get(Kind.EXPORTER, {}).items() if one.component.type == "sender_health"
    }
    if not ids:
        fix = "exporters: {sender_health: }   and add it to the exporters of service::pipelines"
        yield Finding("warning", "senders", "no pipeline has the exporter sender_health", fix)
        return
    url = f"{addresses.web}/api/senders"
    try:
        asked = time.time_ns()
        contents = [one["content"] for one in json.loads(fetch(url))["components"]]
        answered = time.time_ns()
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield Finding("problem", "senders", f"{url} cannot be read: {error}", "extensions::web::endpoint")
        return
    yield from _skew(contents[0]["now_unix_ns"], asked, answered)
    seen = {
        name
        for one in contents
        for sender in one["senders"]
        if sender["service"] == SERVICE
        for name in sender["signals"]
    }
    watched = {one.signal for one in config.pipelines.values() if ids & set(one.exporters)}
    for signal in Signal:
        if taken[signal] and signal in watched:
            if signal in seen:
                yield Finding("ok", "senders", f"{signal} were taken and are shown at {url}")
            else:
                what = f"{signal} were taken, and never came to the end of their pipeline"
                yield Finding(
                    "problem", "senders", what, f"service::pipelines::{signal}::processors: does one drop them?"
                )
    for content in contents:
        for one in content["expected"]:
            if one["silent"]:
                what = f"{one['service']} of project {one['project']} is expected and sends nothing"
                yield Finding("warning", "senders", what, f"at the sender: export OTEL_SERVICE_NAME={one['service']}")


def _skew(now_ns: int, asked_ns: int, answered_ns: int) -> Iterator[Finding]:
    ahead = max(now_ns - answered_ns, asked_ns - now_ns) / 1e9
    if ahead > _MAX_SKEW_SECONDS:
        way = "ahead of" if now_ns > answered_ns else "behind"
        what = f"the gateway's clock is {ahead:.0f} s {way} the one here"
        yield Finding("problem", "clock", what, "set both by NTP: timedatectl set-ntp true")


def _samples(addresses: Addresses) -> Samples:
    """/metrics, as far as the doctor's own project is concerned; empty where it cannot be read."""
    if not addresses.metrics:
        return {}
    try:
        page = fetch(addresses.metrics).decode()
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name.startswith(PROBE_METRIC) or sample.labels.get("project_id") == PROJECT
        }
    except (OSError, ValueError):
        return {}


def _metrics(config: Config, addresses: Addresses, before: Samples, taken: Taken, mark: float) -> Iterator[Finding]:
    """Whether /metrics shows the data points, and what is derived from the spans."""
    if not addresses.metrics:
        fix = "exporters: {prometheus: {endpoint: 127.0.0.1:9464}}   and a metrics pipeline that ends in it"
        yield Finding("warning", "metrics", "the exporter prometheus is off, so there is no page to scrape", fix)
        return
    try:
        fetch(addresses.metrics)
    except OSError as error:
        what = f"the page {addresses.metrics} cannot be read: {error}"
        yield Finding("problem", "metrics", what, "exporters::prometheus::endpoint")
        return
    if taken[Signal.METRICS]:
        series = len(set(taken[Signal.METRICS]))
        shown = _wait(lambda: _points(_samples(addresses), mark) >= series, _SLACK_SECONDS)
        fix = "service::pipelines: the way of metrics has to end in the exporter prometheus"
        yield _shown(shown, f"the data points that were sent are at {addresses.metrics}", fix)
    connectors = config.components.get(Kind.CONNECTOR, {}).values()
    options: Any = next((one.options for one in connectors if one.component.type == "stage_metrics"), None)
    if taken[Signal.TRACES] and options is not None:
        wait = options.decision_wait + options.metrics_flush_interval + _SLACK_SECONDS
        wanted = _runs(before) + len(taken[Signal.TRACES])
        shown = _wait(lambda: _runs(_samples(addresses)) >= wanted, wait)
        fix = "service::pipelines: the way of traces has to lead through semconv and stage_metrics to prometheus"
        yield _shown(shown, f"the metrics derived from the spans that were sent are at {addresses.metrics}", fix)


def _points(samples: Samples, mark: float) -> int:
    return sum(name.startswith(PROBE_METRIC) and abs(value - mark) < 1e-3 for (name, _), value in samples.items())


def _runs(samples: Samples) -> float:
    return sum(value for (name, _), value in samples.items() if name == _RUNS)


def _shown(shown: bool, what: str, fix: str) -> Finding:
    if shown:
        return Finding("ok", "metrics", what)
    return Finding("problem", "metrics", f"not true: {what}", fix)


def _wait(probe: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def _unresolved(addresses: Addresses) -> Iterator[Finding]:
    """Senders whose project, stage or agent is unknown, with the line of their environment that would tell it."""
    if not addresses.web:
        return
    try:
        components = json.loads(fetch(f"{addresses.web}/api/semconv/unresolved"))["components"]
        found = {(one["sender"], one["attribute"]): one for part in components for one in part["content"]}
    except (OSError, ValueError, KeyError, TypeError):
        return
    others = [one for one in found.values() if one["sender"] != SERVICE]
    for one in others[:_MAX_UNRESOLVED]:
        what = f"{one['attribute']} is unknown for {one['items']} items of {one['sender']}"
        values = f"   (one of {', '.join(one['values'])})" if one["values"] else ""
        yield Finding("warning", "unknown", what, f"at the sender: {one['fix']}{values}")
