"""`otel-pipeline semconv live-check`: what it reads, prints and returns."""

import json
from pathlib import Path
from typing import Any

import pytest

from otel_pipeline.cli import main
from otel_pipeline.exporters.file import File, FileOptions
from otel_pipeline.testing import make_settings, make_span, make_traces

GOLDEN = Path(__file__).parent / "golden" / "live_check"
RECORDED = Path(__file__).parent / "fixtures" / "recorded"
REGISTRY = ("--registry", str(GOLDEN / "registry"))
CLEAN = make_traces(make_span(test__name="x"), resource={"service.name": "shop"})
HOSTILE: dict[str, Any] = {"un\x1b[31mheard.of": "x"}
VIOLATING = make_traces(make_span(**HOSTILE), resource={"service.name": "shop"})


def live_check(*arguments: object) -> int:
    return main(["semconv", "live-check", *REGISTRY, *map(str, arguments)])


@pytest.mark.parametrize("sender", ["claude-code", "codex", "openclaw"])
def test_recordings_as_expected(sender: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed for the recordings of a sender is the stored text; see the README there."""
    live_check(*sorted(RECORDED.glob(f"{sender}-*.pb")) or sorted(RECORDED.glob(f"{sender}-*.json")))
    expected = GOLDEN / "recordings" / f"{sender}.expected.txt"
    observed = capsys.readouterr().out
    if observed != expected.read_text(encoding="utf-8"):
        expected.with_suffix(".observed.txt").write_text(observed, encoding="utf-8")
    assert observed == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("level", "data", "expected"),
    [
        (None, VIOLATING.data, 1),
        (None, CLEAN.data, 0),
        ("information", CLEAN.data, 0),
        ("violation", VIOLATING.data, 1),
        ("information", VIOLATING.data, 1),
        ("none", VIOLATING.data, 0),
    ],
)
def test_the_exit_code_is_that_of_the_worst_finding(
    level: str | None, data: bytes, expected: int, tmp_path: Path
) -> None:
    """1 where a finding is as bad as asked for, by default a violation."""
    file = tmp_path / "spans.traces.pb"
    file.write_bytes(data)
    assert live_check(file, *(["--fail-on", level] if level else [])) == expected


def test_improvements_fail_only_where_that_is_asked_for(tmp_path: Path) -> None:
    """A level stands for itself and all that is worse."""
    file = tmp_path / "spans.traces.pb"
    file.write_bytes(make_traces(make_span(test__young="x"), resource={"service.name": "shop"}).data)
    assert [live_check(file, "--fail-on", level) for level in ("violation", "improvement", "information")] == [0, 1, 1]


def test_json_has_weavers_keys(capsys: pytest.CaptureFixture[str]) -> None:
    """The statistics have exactly the keys of Weaver's report."""
    live_check(*sorted((GOLDEN / "every_id").glob("input.*")), "--format", "json")
    report = json.loads(capsys.readouterr().out)
    assert set(report) == {"findings", "overflow", "statistics"}
    assert set(report["statistics"]) == {
        "total_entities",
        "total_entities_by_type",
        "total_advisories",
        "advice_level_counts",
        "highest_advice_level_counts",
        "no_advice_count",
        "advice_type_counts",
        "advice_message_counts",
        "seen_registry_attributes",
        "seen_non_registry_attributes",
        "seen_registry_metrics",
        "seen_non_registry_metrics",
        "seen_registry_events",
        "seen_non_registry_events",
        "registry_coverage",
    }


@pytest.mark.parametrize("format", ["json", "proto"])
async def test_files_of_the_exporter_are_read(format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every batch of a file that the exporter `file` wrote is checked, in both formats."""
    path = tmp_path / "out"
    exporter = File(FileOptions.model_validate({"path": str(path), "format": format}), make_settings("file"))
    await exporter.start()
    for _ in range(3):
        await exporter.consume(CLEAN)
    await exporter.shutdown()
    assert live_check(path, "--signal", "traces", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["statistics"]["total_entities_by_type"]["span"] == 3


def test_names_cannot_reach_the_terminal_raw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters of senders are escaped in the text."""
    file = tmp_path / "spans.traces.pb"
    file.write_bytes(VIOLATING.data)
    live_check(file)
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "un\\x1b[31mheard.of" in printed


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.json", b"{", "a.json:1: not JSON"),
        ("a.json", b"{}", "a.json:1: no OTLP request"),
        ("a.json", b"[" * 100_000, "a.json:1: not JSON"),
        ("a.jsonl", b'{"resourceSpans": []}\n{"resourceSpans": 5}\n', "a.jsonl:2: "),
        ("a.pb", b"\n\x00", "protobuf does not tell its signal (say it with --signal"),
        ("logs.pb", b"\n\x05", "logs.pb: "),
        ("logs.pb", b"\x00\x00\x00\xffx", "logs.pb: neither JSON nor protobuf"),
        ("missing/traces.pb", None, "cannot be read: No such file"),
    ],
)
def test_what_is_no_telemetry_is_told(
    name: str, content: bytes | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bad files are named, with the line, and nothing else is printed."""
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    assert live_check(file) == 1
    printed = capsys.readouterr()
    assert told in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""
