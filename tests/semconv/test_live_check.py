"""Live-check: findings and statistics as Weaver gives them, nothing that is confidential, bounded memory."""

import json
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from otel_pipeline.pdata import Batch, Limits, decode, from_proto, to_proto
from otel_pipeline.pdata.otlp_files import read_batches
from otel_pipeline.semconv import LiveCheck, compile_live_check, load
from otel_pipeline.semconv.live_check import live_check_plan
from otel_pipeline.semconv.registry import Registry
from otel_pipeline.testing import make_span, make_traces
from tests.oracle.live_check import LEVELS, Oracle

GOLDEN = Path(__file__).parents[1] / "golden" / "live_check"
EVERY_ID = sorted((GOLDEN / "every_id").glob("input.*"))
RECORDED = sorted((Path(__file__).parents[1] / "fixtures" / "recorded").iterdir())


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load(shipped=GOLDEN / "registry")


def report_of(check: LiveCheck) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(check.report())
    return report


def checked(registry: Registry, *files: Path) -> dict[str, Any]:
    check = compile_live_check(registry)
    for file in files:
        for batch in read_batches(file):
            check.update(batch)
    return report_of(check)


def ask_oracle(registry: Registry, *batches: Batch) -> dict[str, Any]:
    oracle = Oracle(registry)
    for batch in batches:
        feed = {"traces": oracle.traces, "logs": oracle.logs, "metrics": oracle.metrics_request}
        feed[batch.signal](to_proto(batch))
    return oracle.statistics()


def test_every_finding_as_expected(registry: Registry) -> None:
    """A payload in which every finding occurs gives exactly the stored report; see the README there."""
    report = checked(registry, *EVERY_ID)
    expected = GOLDEN / "every_id" / "expected.json"
    observed = json.dumps(report, indent=1) + "\n"
    if observed != expected.read_text(encoding="utf-8"):
        (expected.parent / "observed.json").write_text(observed, encoding="utf-8")
    assert report == json.loads(expected.read_text(encoding="utf-8"))


def test_every_finding_occurs(registry: Registry) -> None:
    """The payload has all ids, each with the level that Weaver gives it."""
    findings = checked(registry, *EVERY_ID)["findings"]
    assert {finding["id"]: finding["level"] for finding in findings} == LEVELS


def test_findings_and_statistics_add_up(registry: Registry) -> None:
    """While nothing overflows, the findings are the statistics, told by signal and attribute."""
    report = checked(registry, *EVERY_ID)
    counts: dict[str, int] = {}
    for finding in report["findings"]:
        counts[finding["id"]] = counts.get(finding["id"], 0) + finding["count"]
    assert counts == report["statistics"]["advice_type_counts"]
    assert report["overflow"] == 0
    keys = [
        (one["level"], one["id"], one["signal_type"], one["signal_name"], one["context"].get("attribute_key"))
        for one in report["findings"]
    ]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("path", [*EVERY_ID, *RECORDED], ids=lambda path: path.name)
def test_statistics_are_those_of_the_oracle(registry: Registry, path: Path) -> None:
    """On written and recorded telemetry of all senders the native pass counts what plain Python counts."""
    for known in (registry, load()):
        batches = list(read_batches(path))
        assert checked(known, path)["statistics"] == ask_oracle(known, *batches)


def test_no_value_is_told(registry: Registry) -> None:
    """Values of strings and of content, bodies, and enum values that look like secrets or ids are nowhere in a report."""
    text = json.dumps(checked(registry, *EVERY_ID))
    for secret in ("hunter2", "sk-ant", "12345678901", "no number", "'rm'", '"rm"', '"fine"'):
        assert secret not in text
    assert "'green'" in text


def test_update_tells_what_it_found(registry: Registry) -> None:
    """The counts of each batch add up to those of the report."""
    check = compile_live_check(registry)
    total: dict[str, int] = {}
    for path in EVERY_ID * 2:
        for batch in read_batches(path):
            for id_, level, count in check.update(batch):
                assert LEVELS[id_] == level
                total[id_] = total.get(id_, 0) + count
    assert total == report_of(check)["statistics"]["advice_type_counts"]


def test_memory_is_bounded_and_totals_stay_exact(registry: Registry) -> None:
    """Names without end are counted as `_other` above the limits, findings without room as overflow; nothing is lost
    from the totals."""
    check = LiveCheck(live_check_plan(registry), max_names=10, max_texts=20, max_findings=30)
    own: list[list[dict[str, Any]]] = [[{f"own{n}_{i}": "x"} for n in range(50)] for i in range(4)]
    batches = [
        make_traces(*(make_span(f"span {n}", span=n + 1, **one) for n, one in enumerate(spans))) for spans in own
    ]
    for batch in batches:
        check.update(batch)
    report = report_of(check)
    statistics, expected = report["statistics"], ask_oracle(registry, *batches)
    for key in ("total_entities_by_type", "no_advice_count", "highest_advice_level_counts"):
        assert statistics[key] == expected[key]
    assert statistics["advice_type_counts"]["missing_attribute"] == 200
    assert len(statistics["seen_non_registry_attributes"]) == 11
    assert statistics["seen_non_registry_attributes"]["_other"] == 190
    assert len(report["findings"]) <= 30
    told = sum(one["count"] for one in report["findings"])
    assert told + report["overflow"] >= 200
    assert "_other" in {one["signal_name"] for one in report["findings"]}


def test_the_same_bytes_as_json_and_protobuf_give_the_same_report(registry: Registry) -> None:
    """Recordings that exist in both encodings are checked alike."""
    pairs = [
        (path, path.with_suffix(".pb"))
        for path in RECORDED
        if path.with_suffix(".pb").exists() and path.suffix == ".json"
    ]
    assert pairs
    for left, right in pairs:
        assert checked(registry, left) == checked(registry, right)


def test_a_record_is_the_event_that_it_names_itself(registry: Registry) -> None:
    """Attribute, field or body tell the event where the registry has it; an unknown body is no name."""
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    records.add(event_name="test.started")
    records.add().body.string_value = "test.started"
    records.add().attributes.add(key="event.name").value.string_value = "ended"
    records.add(event_name="unheard.of").attributes.add(key="event.name").value.string_value = "other"
    records.add().body.string_value = "unheard.of"
    check = compile_live_check(registry)
    check.update(from_proto(request))
    statistics = report_of(check)["statistics"]
    assert statistics["seen_registry_events"]["test.started"] == 2
    assert statistics["seen_non_registry_events"] == {"test.ended": 1, "unheard.of": 1}


@pytest.mark.parametrize("plan", ["", "[]", "{}", '{"attributes": [{}], "metrics": [], "events": []}', "x" * 1000])
def test_a_bad_plan_is_refused(plan: str) -> None:
    """What is no plan is a ValueError, not a panic."""
    with pytest.raises(ValueError, match=r"line|EOF|expected"):
        LiveCheck(plan)


def test_hostile_names_do_no_harm(registry: Registry) -> None:
    """Empty, long, dotted and half-binary names and values are counted like others."""
    keys = [
        "",
        ".",
        "." * 250,
        "a" * 4000,
        "test.",
        ".test",
        "test..name",
        "é" * 200,
        "\x00",
        "test.header",
        "test.header.list",
    ]
    values: list[dict[str, Any]] = [{key: [[["x"]]]} for key in keys]
    spans = [make_span("\u202e" * 300, span=n + 1, **one) for n, one in enumerate(values)]
    batch = decode("traces", make_traces(*spans).data, False, Limits(max_key_bytes=10_000))[0]
    check = compile_live_check(registry)
    check.update(batch)
    assert report_of(check)["statistics"]["total_entities_by_type"]["attribute"] == len(keys) + 1
