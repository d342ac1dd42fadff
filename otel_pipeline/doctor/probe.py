"""The doctor's telemetry: one marked span, data point and log record for each protocol, and how it was answered."""

import json
import secrets
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

import grpc

from otel_pipeline.doctor.addresses import Listener
from otel_pipeline.helpers.otlp_grpc_server import SERVICES
from otel_pipeline.helpers.otlp_response import read_rejection, status_message
from otel_pipeline.pdata import Limits, Signal, decode

__all__ = ["PROBE_METRIC", "PROJECT", "PROTOCOLS", "SERVICE", "Answer", "fetch", "send"]

SERVICE = "otel-pipeline-doctor"
PROJECT = "otel_pipeline_doctor"
PROBE_METRIC = "otel_pipeline_doctor_probe"
PROTOCOLS = {"grpc": ("grpc",), "http": ("http/protobuf", "http/json")}
"""What is sent to each kind of server."""

_TIMEOUT_SECONDS = 5.0
_MAX_PAGE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request ended."""

    outcome: str
    """`taken`, `nothing_listens`, `no_pipeline`, `refused` (for now), `rejected` (for good) or `no_otlp`."""
    message: str = ""


def send(listener: Listener, protocol: str, signal: Signal, mark: float) -> Answer:
    """Sends one item of `signal`; data points have the value `mark`."""
    text = json.dumps(_request(signal, protocol, mark)).encode()
    body = text if protocol == "http/json" else decode(signal, text, True, Limits())[0].data
    if protocol == "grpc":
        return _send_grpc(listener, signal, body)
    return _send_http(listener, protocol, signal, body)


def _send_grpc(listener: Listener, signal: Signal, body: bytes) -> Answer:
    options = [("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0)]
    with grpc.insecure_channel(listener.address, options=options) as channel:
        try:
            response = channel.unary_unary(f"/{SERVICES[signal]}/Export")(body, timeout=_TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            return _grpc_answer(error)
    return _taken(signal, response, is_json=False)


def _grpc_answer(error: Any) -> Answer:
    code, message = error.code(), error.details() or ""
    if code == grpc.StatusCode.UNIMPLEMENTED:
        return Answer("no_pipeline" if "no pipeline" in message else "no_otlp", message)
    if code == grpc.StatusCode.UNAVAILABLE and not error.trailing_metadata():
        no_grpc = "HTTP/2" in message or "http1" in message
        return Answer("no_otlp" if no_grpc else "nothing_listens", message)
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return Answer("no_otlp", f"no answer within {_TIMEOUT_SECONDS:g} s")
    if code == grpc.StatusCode.UNAVAILABLE:
        return Answer("refused", message)
    return Answer("rejected", f"{code.name}: {message}")


def _send_http(listener: Listener, protocol: str, signal: Signal, body: bytes) -> Answer:
    kind = "application/json" if protocol == "http/json" else "application/x-protobuf"
    url = f"http://{listener.address}{listener.paths[signal]}"
    request = urllib.request.Request(url, body, {"content-type": kind})
    try:
        return _taken(signal, fetch(request), is_json=protocol == "http/json")
    except urllib.error.HTTPError as error:
        with error:
            message = status_message(error.read(4096), error.headers.get("content-type", ""))
        if error.code == 404 and "no pipeline" in message:
            return Answer("no_pipeline", message)
        if error.code in (429, 502, 503, 504):
            return Answer("refused", message)
        is_otlp = error.headers.get("content-type", "").startswith(kind)
        return Answer("rejected" if is_otlp else "no_otlp", f"HTTP {error.code}: {message}")
    except urllib.error.URLError as error:
        refused = isinstance(error.reason, OSError) and not isinstance(error.reason, TimeoutError)
        return Answer("nothing_listens" if refused else "no_otlp", str(error.reason))
    except (OSError, ValueError) as error:
        return Answer("no_otlp", str(error) or type(error).__name__)


def fetch(request: "urllib.request.Request | str") -> bytes:
    """The body of an answer, without proxies. Raises OSError, of which urllib's errors are."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_TIMEOUT_SECONDS) as answer:
            body: bytes = answer.read(_MAX_PAGE_BYTES)
            return body
    except OSError:
        raise
    except Exception as error:  # http.client's own: what answers does not speak HTTP
        raise ConnectionError(f"no HTTP: {type(error).__name__}") from None


def _taken(signal: Signal, body: bytes, *, is_json: bool) -> Answer:
    rejection = read_rejection(signal, body, is_json=is_json)
    return Answer("rejected", rejection.message) if rejection and rejection.items else Answer("taken")


def _request(signal: Signal, protocol: str, mark: float) -> dict[str, Any]:
    """One item, as OTLP/JSON."""
    now = time.time_ns()
    resource = {"attributes": _attributes({"service.name": SERVICE, "sdlc.project.id": PROJECT})}
    times = {"timeUnixNano": str(now)}
    ids = {"traceId": secrets.token_hex(16), "spanId": secrets.token_hex(8)}
    own = _attributes({"otel_pipeline.doctor.protocol": protocol})
    items: dict[Signal, Any] = {
        Signal.TRACES: {
            **ids,
            "name": "doctor",
            "kind": 1,
            "startTimeUnixNano": str(now - 1_000_000),
            "endTimeUnixNano": str(now),
            "attributes": own + _attributes({"sdlc.stage.name": "ci_cd", "sdlc.agent.name": "other"}),
        },
        Signal.METRICS: {
            "name": PROBE_METRIC,
            "gauge": {"dataPoints": [{**times, "asDouble": mark, "attributes": own}]},
        },
        Signal.LOGS: {**times, "severityNumber": 9, "body": {"stringValue": "doctor"}, "attributes": own},
    }
    scope = {"name": "otel_pipeline.doctor"}
    resources, scopes, name = {
        Signal.TRACES: ("resourceSpans", "scopeSpans", "spans"),
        Signal.METRICS: ("resourceMetrics", "scopeMetrics", "metrics"),
        Signal.LOGS: ("resourceLogs", "scopeLogs", "logRecords"),
    }[signal]
    return {resources: [{"resource": resource, scopes: [{"scope": scope, name: [items[signal]]}]}]}


def _attributes(values: dict[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]
