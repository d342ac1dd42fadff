"""`otel-pipeline doctor` beside a running gateway: finds nothing in a good one, and the fault in a bad one."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.harness import QUICK, Gateway, StartGateway, free_port, get

Findings = list[dict[str, str]]


def sets_of(gateway: Gateway) -> list[str]:
    """Where that gateway listens, as options of the command line."""
    return [
        f"receivers.otlp.protocols.grpc.endpoint=127.0.0.1:{gateway.grpc}",
        f"receivers.otlp.protocols.http.endpoint=127.0.0.1:{gateway.http}",
        f"exporters.prometheus.endpoint=127.0.0.1:{gateway.metrics}",
        f"extensions.health_check.endpoint=127.0.0.1:{gateway.health}",
        f"extensions.web.endpoint=127.0.0.1:{gateway.web}",
        *QUICK,
    ]


def doctor(gateway: Gateway, *files: str | Path, sets: tuple[str, ...] = ()) -> tuple[int, Findings]:
    """Exit code and findings."""
    command = [sys.executable, "-m", "otel_pipeline", "doctor", "--json", "--url", "http://127.0.0.1"]
    command += [part for file in ("shipped:gateway.yaml", *files) for part in ("--config", str(file))]
    command += [part for option in (*sets_of(gateway), *sets) for part in ("--set", option)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.stdout, ran.stderr
    answer: dict[str, Any] = json.loads(ran.stdout)
    assert answer["ok"] == (ran.returncode == 0)
    return ran.returncode, answer["findings"]


def problems(findings: Findings) -> list[str]:
    """What is wrong, without what is only odd."""
    assert all(one["fix"] for one in findings if one["level"] == "problem")
    return [f"{one['check']}: {one['what']}" for one in findings if one["level"] == "problem"]


def test_a_good_gateway_has_no_problem_twice(start_gateway: StartGateway) -> None:
    """Everything sent by three protocols is read back, also where the last visit has left its traces; and real
    projects have no series of it."""
    gateway = start_gateway()
    for _ in range(2):
        code, findings = doctor(gateway)
        assert problems(findings) == []
        assert code == 0
        assert {one["check"] for one in findings if one["level"] == "ok"} == {"status", "send", "senders", "metrics"}
    runs = {labels["project_id"]: value for labels, value in gateway.samples("sdlc_stage_runs_total")}
    assert runs == {"otel_pipeline_doctor": 6}
    assert {labels["service"] for labels, _ in gateway.samples("otel_pipeline_sender_items_total")} == {
        "otel-pipeline-doctor"
    }
    senders = json.loads(get(f"http://127.0.0.1:{gateway.web}/api/senders"))["components"][0]["content"]["senders"]
    (sender,) = senders
    assert sender["project"] == "otel_pipeline_doctor"
    assert sorted(sender["protocols"]) == ["grpc", "http/json", "http/protobuf"]
    assert sender["missing_signals"] == []
    assert sender["sdk"]["name"] == "otel_pipeline.doctor"
    assert {name: one["items"] for name, one in sender["signals"].items()} == {"traces": 6, "metrics": 6, "logs": 6}


def test_listeners_with_tls_and_unix_sockets_are_tried_too(
    start_gateway: StartGateway, certificates: Path, tmp_path: Path
) -> None:
    """Both protocols, by TLS and by Unix socket; a certificate that is not the configured one is a problem."""
    sockets = {name: f"unix:{tmp_path / name}.sock" for name in ("grpc", "http")}
    file = tmp_path / "listeners.yaml"
    file.write_text(LISTENERS.format(folder=certificates, key="server", **sockets))
    gateway = start_gateway(file)
    code, findings = doctor(gateway, file)
    assert (code, problems(findings)) == (0, [])
    sent = [one["what"] for one in findings if one["check"] == "send"]
    assert len(sent) == 4
    assert all(what.endswith("taken") for what in sent)
    other = tmp_path / "other.yaml"
    other.write_text(LISTENERS.format(folder=certificates, key="client", **sockets))
    code, findings = doctor(gateway, other)
    assert code == 1
    assert sum("TLS" in text for text in problems(findings)) == 2


LISTENERS = """
receivers:
  otlp:
    protocols:
      grpc: {{tls: {{cert_file: {folder}/{key}.pem, key_file: {folder}/{key}.key}}}}
      http: {{tls: {{cert_file: {folder}/{key}.pem, key_file: {folder}/{key}.key}}}}
  otlp/local:
    protocols: {{grpc: {{endpoint: "{grpc}"}}, http: {{endpoint: "{http}"}}}}
service:
  pipelines:
    traces: {{receivers: [otlp, otlp/local]}}
    metrics: {{receivers: [otlp, otlp/local]}}
    logs: {{receivers: [otlp, otlp/local]}}
"""


def test_where_no_gateway_runs_it_says_so(start_gateway: StartGateway) -> None:
    """One problem for the state, and one for each protocol that nothing listens for."""
    gateway = start_gateway()
    assert gateway.stop() == 0
    code, findings = doctor(gateway)
    assert code == 1
    found = problems(findings)
    assert any(text.startswith("status: nothing answers") for text in found)
    assert sum("nothing listens there" in text for text in found) == 2
    assert any(text.startswith("metrics: the page") for text in found)
    assert any("otel-pipeline run" in one["fix"] for one in findings)


def test_a_signal_without_pipeline_is_named_with_the_line_to_add(start_gateway: StartGateway, tmp_path: Path) -> None:
    """The gateway refuses it, and the doctor tells why; the other signals go on."""
    file = tmp_path / "no_logs.yaml"
    file.write_text(NO_LOGS.format(**{name: free_port() for name in ("grpc", "http")}))
    gateway = start_gateway(file)
    code, findings = doctor(gateway, file)
    assert code == 1
    assert all("logs" in text for text in problems(findings))
    fixes = [one["fix"] for one in findings if "no pipeline takes it" in one["what"]]
    assert len(fixes) == 2
    assert all(fix.startswith("service::pipelines:") and "has to list otlp/second" in fix for fix in fixes)


# Another receiver of the same type, whose logs no pipeline takes.
NO_LOGS = """
receivers:
  otlp/second:
    protocols: {{grpc: {{endpoint: "127.0.0.1:{grpc}"}}, http: {{endpoint: "127.0.0.1:{http}"}}}}
service:
  pipelines:
    traces: {{receivers: [otlp, otlp/second]}}
    metrics: {{receivers: [otlp, otlp/second]}}
"""


@pytest.mark.parametrize(
    ("option", "port", "expected"),
    [
        ("receivers.otlp.protocols.grpc.endpoint", "http", "does not speak OTLP"),
        ("receivers.otlp.protocols.http.endpoint", "health", "does not speak OTLP"),
        ("receivers.otlp.protocols.http.endpoint", "grpc", "does not speak OTLP"),
        ("exporters.prometheus.endpoint", "", "cannot be read"),
        ("extensions.web.endpoint", "", "cannot be read"),
    ],
)
def test_a_wrong_port_is_told_by_what_answers(
    start_gateway: StartGateway, option: str, port: str, expected: str
) -> None:
    """Where the gateway listens elsewhere than the doctor's configuration says, that option is named."""
    gateway = start_gateway()
    wrong = getattr(gateway, port) if port else free_port()
    code, findings = doctor(gateway, sets=(f"{option}=127.0.0.1:{wrong}",))
    assert code == 1
    (found,) = [one for one in findings if one["level"] == "problem" and expected in one["what"]]
    assert option.replace(".", "::").removesuffix("::endpoint") in found["fix"]


def test_unknown_stages_of_others_come_with_the_line_that_tells_them(start_gateway: StartGateway) -> None:
    """A sender without project and stage is a warning: its telemetry arrives, only without labels."""
    gateway = start_gateway()
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [SPAN]}]}]}
    subprocess.run(
        ["curl", "-sS", "--fail", "--noproxy", "*", "-H", "content-type: application/json", "-d", json.dumps(body),
         f"http://127.0.0.1:{gateway.http}/v1/traces"], check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    code, findings = doctor(gateway)
    assert (code, problems(findings)) == (0, [])
    unknown = {one["what"].split()[0]: one["fix"] for one in findings if one["check"] == "unknown"}
    assert "export OTEL_RESOURCE_ATTRIBUTES=sdlc.stage.name=VALUE" in unknown["sdlc.stage.name"]
    assert "coding" in unknown["sdlc.stage.name"]


SPAN = {
    "traceId": "5b8efff798038103d269b633813fc60c",
    "spanId": "eee19b7ec3c1b174",
    "name": "work",
    "startTimeUnixNano": "1767225600000000000",
    "endTimeUnixNano": "1767225601000000000",
}
