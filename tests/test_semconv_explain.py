"""`semconv explain`: every value with where it comes from, what is unknown, what comes of it; never any contents."""

import json
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from otel_pipeline import cli
from otel_pipeline.pdata import Batch, enrich, from_proto, from_trusted, to_json, to_proto
from otel_pipeline.semconv import compile_plan, load
from otel_pipeline.semconv_explain import explanation, text_report
from otel_pipeline.testing import any_value, attributes, make_gauge, make_metrics, make_span, make_traces

REGISTRY = load()
RECORDED = Path(__file__).parent / "fixtures" / "recorded"
CANARY = "canary: the text of a prompt"


def nodes(*batches: Batch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = explanation(REGISTRY, batches)["telemetry"]
    return found


def origins(node: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {value["attribute"]: value["from"] for value in node["values"]}


def make_log(*, body: Any = None, event_name: str = "", scope: str = "", **values: Any) -> Batch:
    request = ExportLogsServiceRequest()
    scope_logs = request.resource_logs.add().scope_logs.add()
    scope_logs.scope.name = scope
    record = scope_logs.log_records.add(event_name=event_name, attributes=attributes(values))
    if body is not None:
        record.body.CopyFrom(any_value(body))
    return from_proto(request)


def test_every_value_tells_where_it_is_from() -> None:
    """The sender's own key, an alias, a rule with its source, or a span above; each at the place where it stands."""
    parent = make_span("claude_code.tool", sdlc__requirement__id="R-1", gen_ai__tool__name="Bash")
    child = make_span(
        "claude_code.tool.execution", span=2, parent=1, error="x", error_class="ShellError", error__type="x"
    )
    resource, scope, tool, execution = nodes(
        make_traces(
            parent, child, resource={"service.name": "s", "stage": "prd"}, scope="com.anthropic.claude_code.tracing"
        )
    )
    assert [one["kind"] for one in (resource, scope, tool, execution)] == ["resource", "scope", "span", "span"]
    assert (resource["name"], origins(resource)) == ("s", {"sdlc.stage.name": {"attribute": "stage"}})
    assert origins(scope)["sdlc.agent.name"] == {"rule": "claude_code", "source": "literal"}
    assert origins(tool)["sdlc.requirement.id"] == {"attribute": "sdlc.requirement.id"}
    above = {"span_id": "0000000000000001", "span_name": "claude_code.tool"}
    assert origins(execution)["sdlc.requirement.id"] == above
    assert origins(execution)["error.type"]["source"].startswith("attribute")
    assert (tool["unknown"], execution["unknown"]) == (["sdlc.project.id"], ["sdlc.project.id"])


def test_all_rules_that_match_are_told() -> None:
    """Also those that came too late to set anything; not those of other senders."""
    (*_, node) = nodes(make_traces(make_span("x", gen_ai__operation__name="chat", sdlc__operation__name="own")))
    assert {"gen_ai.operation", "otel.span"} <= set(node["rules"])
    assert not [rule for rule in node["rules"] if rule.startswith("claude_code")]
    assert origins(node)["sdlc.operation.name"] == {"attribute": "sdlc.operation.name"}


def test_log_records_and_data_points() -> None:
    """They are told of like spans; what is unknown is told of each."""
    (*_, record) = nodes(make_log(event_name="e", agent="codex", thing=1))
    assert (record["kind"], record["name"], origins(record)) == (
        "event",
        "e",
        {"sdlc.agent.name": {"attribute": "agent"}},
    )
    assert "sdlc.project.id" in record["unknown"]
    assert record["unread"] == ["thing"]
    (*_, point) = nodes(make_metrics(make_gauge("m", 1.0, {"project": "p"}, time_ns=1)))
    assert (point["kind"], point["name"], origins(point)) == (
        "point",
        "m",
        {"sdlc.project.id": {"attribute": "project"}},
    )


def test_metrics_that_came_of_it() -> None:
    """Series by the name of the scrape, with labels and values; what is always there is left out."""
    batch = make_traces(make_span("run", seconds=3.0, stage="prd", project="p", agent="codex"))
    series = {one["prometheus_name"]: one for one in explanation(REGISTRY, [batch])["metrics"]}
    labels = {"project_id": "p", "stage": "prd_design", "agent": "codex", "outcome": "success"}
    assert series["sdlc_stage_runs_total"]["labels"] == labels
    assert series["sdlc_stage_runs_total"]["value"] == 1
    assert (series["sdlc_stage_duration_seconds"]["count"], series["sdlc_stage_duration_seconds"]["sum"]) == (1, 3.0)
    assert "sdlc_stage_order" not in series


@pytest.mark.parametrize(("signal", "kind"), [("traces", "span"), ("logs", "event"), ("metrics", "point")])
def test_values_are_those_that_are_written(signal: str, kind: str) -> None:
    """Every canonical attribute of an enriched item is explained, with its value."""
    batch = from_trusted(signal, (RECORDED / f"claude-code-2.1.330_default.{signal}.otlp.pb").read_bytes())
    explained = [node for node in nodes(batch) if node["kind"] == kind]
    enriched = to_proto(enrich(batch, compile_plan(REGISTRY))[0])
    items = [
        item
        for _, resources in enriched.ListFields()
        for resource in resources
        for field, scopes in resource.ListFields()
        if field.number == 2
        for scope in scopes
        for field_, rows in scope.ListFields()
        if field_.number == 2
        for row in rows
        for item in (getattr(row, row.WhichOneof("data")).data_points if signal == "metrics" else [row])
    ]
    assert len(items) == len(explained)
    for item, node in zip(items, explained, strict=True):
        written = {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in item.attributes}
        told = {value["attribute"]: value["value"] for value in node["values"]}
        assert {key: value for key, value in written.items() if key in REGISTRY.canonical}.items() <= told.items()


def test_spans_that_are_made_of_log_records_are_told() -> None:
    """After the records, with the series that they are counted in; not where the session's spans are there, too."""
    signals = [
        from_trusted(signal, (RECORDED / f"claude-code-2.1.330_default.{signal}.otlp.pb").read_bytes())
        for signal in ("logs", "traces")
    ]
    found = explanation(REGISTRY, signals[:1])
    made = [node["name"] for node in found["telemetry"] if node.get("made") and node["kind"] == "span"]
    assert made.count("claude_code.llm_request") == 9
    assert "sdlc_stage_runs_total" in {one["prometheus_name"] for one in found["metrics"]}
    assert any("made of a log record" in line for line in text_report(found))
    assert not any(node.get("made") for node in explanation(REGISTRY, signals)["telemetry"])


def test_contents_are_not_told() -> None:
    """No value of any other attribute, no body, no text that only a log record's body names it by."""
    secret: dict[str, Any] = {"gen_ai.prompt": CANARY, "tool_input": CANARY}
    batches = [
        make_traces(make_span("x", error=CANARY, **{key.replace(".", "__"): one for key, one in secret.items()})),
        make_log(body=CANARY, **secret),
        make_metrics(make_gauge("m", 1.0, secret, time_ns=1)),
    ]
    found = explanation(REGISTRY, batches)
    assert "canary" not in json.dumps(found) + "\n".join(text_report(found))


def test_text_tells_alike_items_once_and_hides_control_characters() -> None:
    """One entry for items that differ in ids only; nothing of a sender can write on the terminal."""
    spans = [make_span("a\x1b[31m", span=number, parent=9, trace=number) for number in (1, 2, 3)]
    lines = list(text_report(explanation(REGISTRY, [make_traces(*spans, resource={"k\n": 1})])))
    assert [line for line in lines if "span '" in line] == ["    span 'a\\x1b[31m', 3 times"]
    assert "  read by nothing: k\\x0a" in lines


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files of any signal together; `--json` for machines, and a file that is none is told as a problem."""
    file = tmp_path / "traces.json"
    file.write_bytes(to_json(make_traces(make_span("run", stage="prd", project="p"))))
    metrics = RECORDED / "claude-code-2.1.330_default.metrics.otlp.json"
    assert cli.main(["semconv", "explain", str(file), str(metrics)]) == 0
    out = capsys.readouterr().out
    assert "sdlc.stage.name = 'prd_design' <- alias stage" in out
    assert "sdlc_stage_runs_total{" in out
    assert cli.main(["semconv", "explain", "--json", str(file)]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"telemetry", "metrics", "missing_prices"}
    file.write_text("{}}")
    assert cli.main(["semconv", "explain", str(file)]) == 1
    assert "traces.json" in capsys.readouterr().err
