"""What is written from the semantic-convention files: reference, JSON and constants."""

import json
import re
from pathlib import Path

import pytest

from otel_pipeline import instrument
from otel_pipeline.cli import main
from otel_pipeline.instrument import attributes, metrics, values
from otel_pipeline.semconv import load, shipped_directory
from otel_pipeline.semconv.check import check
from otel_pipeline.semconv.reference import BEGIN, END, with_reference

GOLDEN = Path(__file__).parents[1] / "golden" / "derive"


def test_the_reference_is_what_the_files_say() -> None:
    """semconv/README.md tells of the files as they are; `make docs` writes it."""
    assert main(["semconv", "docs", "--check"]) == 0


def test_examples_of_the_readme_are_right(tmp_path: Path) -> None:
    """Every file that semconv/README.md shows can be used as it stands there."""
    text = (shipped_directory() / "README.md").read_text()
    found = [
        block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if not block.startswith("processors:")
    ]
    assert len(found) >= 4
    for block in found:
        head = "" if block.startswith("file_format") else "file_format: definition/2\n"
        (tmp_path / "own.yaml").write_text(head + block)
        assert check([tmp_path])[1] == [], block


def test_constants_are_what_the_files_say(tmp_path: Path) -> None:
    """So are the modules of names and values; `make docs` writes them."""
    assert main(["semconv", "export", "--python", str(tmp_path)]) == 0
    for written in tmp_path.iterdir():
        shipped = Path(instrument.__file__).parent / written.name
        assert written.read_text() == shipped.read_text(), f"{shipped} has drifted: run `make docs`"


def test_constants_are_names_as_they_are_sent() -> None:
    """For attributes, members of enums, and metrics."""
    assert attributes.SDLC_STAGE_NAME == "sdlc.stage.name"
    assert str(values.SdlcStageName.CODING) == "coding"
    assert str(values.ErrorType.OTHER) == "_OTHER"
    assert metrics.SDLC_STAGE_DURATION == "sdlc.stage.duration"


def test_reference_of_own_files(tmp_path: Path) -> None:
    """A user's files have a reference of their own, in whatever document they like; the rest of it stays."""
    document = tmp_path / "OURS.md"
    document.write_text(f"# Ours\n\n{BEGIN}\n\nold\n\n{END}\n\nThe end.\n")
    command = ["semconv", "docs", "--directory", str(GOLDEN), "--file", str(document)]
    assert main([*command, "--check"]) == 1
    assert main(command) == 0
    assert main([*command, "--check"]) == 0
    text = document.read_text()
    assert text.startswith("# Ours\n")
    assert text.endswith("\n\nThe end.\n")
    assert "\nold\n" not in text
    metric = text.partition("#### review_duration_seconds\n")[2].partition("####")[0]
    assert "- labels: `test_rounds` (review.rounds), `test_pod` (pod.name)" in metric
    assert "- from log records (named review.done): the number in `duration_ms`, `ms` times 0.001" in metric
    assert "- from spans (named review *; failed): their duration" in metric
    assert "| `acme-1` |  | 200000 | 2025-09-29, prompts over 200000 | 6 | 22.5 |  |  | 22.5 |" in text


def test_a_document_without_markers_gets_them_at_its_end() -> None:
    """Once: writing again changes nothing."""
    once = with_reference("# Ours\n", "text")
    assert once == f"# Ours\n\n{BEGIN}\n\ntext\n\n{END}\n"
    assert with_reference(once, "text") == once


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Metrics with Prometheus names and labels, attributes, stages, models and projects, in plain values."""
    assert main(["semconv", "export", "--directory", str(GOLDEN)]) == 0
    told = json.loads(capsys.readouterr().out)
    registry = load([GOLDEN])
    metric = next(one for one in told["metrics"] if one["name"] == "analysis.tasks")
    assert (metric["prometheus_name"], metric["type"], metric["unit"], metric["labels"], metric["source"]) == (
        "analysis_tasks_total",
        "counter",
        "{task}",
        ["project_id", "status"],
        ["stage_runs"],
    )
    document = next(one for one in told["attributes"] if one["key"] == "doc.id")
    within = {"within": "vcs.repository.url.full", "or_within": None, "optional": False}
    assert document["identifies"] == {"kind": "document", **within}
    assert document["content"] == "prompt"
    assert [one["order"] for one in told["stages"]] == list(range(1, len(registry.stages) + 1))
    assert next(one for one in told["stages"] if one["name"] == "coding")["expected_duration_seconds"] == 7200
    model = next(one for one in told["models"] if one["name"] == "acme-1")
    assert [price["per_million"]["input"] for price in model["prices"]] == [2, 3]
    assert told["projects"][0]["cost_centre"] == "42"
    assert len(told["attributes"]) == len(registry.attributes)
