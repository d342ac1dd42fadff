"""The doctor's telemetry: one marked span, data point and log record for each protocol, and how it was answered."""

import json
import secrets
import socket
import ssl
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

import grpc
import httpx

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
    options: list[tuple[str, Any]] = [("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0)]
    try:
        with _channel(listener, options) as channel:
            response = channel.unary_unary(f"/{SERVICES[signal]}/Export")(body, timeout=_TIMEOUT_SECONDS)
    except grpc.RpcError as error:
        return _grpc_answer(error)
    except OSError as error:
        return _no_connection(error)
    return _taken(signal, response, is_json=False)


def _channel(listener: Listener, options: list[tuple[str, Any]]) -> grpc.Channel:
    """Raises OSError where TLS does not come about, whose reasons gRPC would not tell."""
    if listener.certificate is None:
        return grpc.insecure_channel(listener.address, options=options)
    options.append(("grpc.ssl_target_name_override", _certified_name(listener)))
    credentials = grpc.ssl_channel_credentials(listener.certificate.read_bytes())
    return grpc.secure_channel(listener.address, credentials, options=options)


def _certified_name(listener: Listener) -> str:
    """A name that the certificate of the server is for, whatever address it is asked at."""
    with _connect(listener) as plain, _trust(listener).wrap_socket(plain) as encrypted:
        certificate: Any = encrypted.getpeercert()
    names = [str(name) for kind, name in certificate.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    return names[0].replace("*", "doctor") if names else listener.address.rpartition(":")[0]


def _connect(listener: Listener) -> socket.socket:
    if not listener.socket_path:
        host, _, port = listener.address.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), _TIMEOUT_SECONDS)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(_TIMEOUT_SECONDS)
        connection.connect(listener.socket_path)
    except OSError:
        connection.close()
        raise
    return connection


def _trust(listener: Listener) -> ssl.SSLContext:
    """Takes the configured certificate for proof, under whatever name and by whomever it was signed."""
    context = ssl.create_default_context(cafile=listener.certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context


def _no_connection(error: OSError) -> Answer:
    if isinstance(error, ssl.SSLError):
        return Answer("no_otlp", f"TLS: {getattr(error, 'verify_message', '') or error.reason}")
    refused = isinstance(error, ConnectionRefusedError | FileNotFoundError)
    return Answer("nothing_listens" if refused else "no_otlp", str(error))


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
    scheme = "http" if listener.certificate is None else "https"
    url = f"{scheme}://{'localhost' if listener.socket_path else listener.address}{listener.paths[signal]}"
    try:
        _connect(listener).close()
    except OSError as error:
        return _no_connection(error)
    try:
        verify: ssl.SSLContext | bool = _trust(listener) if listener.certificate else False
        transport = httpx.HTTPTransport(verify=verify, uds=listener.socket_path or None, trust_env=False)
        with httpx.Client(transport=transport, timeout=_TIMEOUT_SECONDS) as client:
            answer = client.post(url, content=body, headers={"content-type": kind})
    except (httpx.HTTPError, OSError, ValueError) as error:
        no_trust = "TLS: " if "CERTIFICATE" in str(error) else ""
        return Answer("no_otlp", no_trust + (str(error) or type(error).__name__))
    if answer.status_code == 200:
        return _taken(signal, answer.content, is_json=protocol == "http/json")
    answered_kind = answer.headers.get("content-type", "")
    message = status_message(answer.content[:4096], answered_kind)
    if answer.status_code == 404 and "no pipeline" in message:
        return Answer("no_pipeline", message)
    if answer.status_code in (429, 502, 503, 504):
        return Answer("refused", message)
    outcome = "rejected" if answered_kind.startswith(kind) else "no_otlp"
    return Answer(outcome, f"HTTP {answer.status_code}: {message}")


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
