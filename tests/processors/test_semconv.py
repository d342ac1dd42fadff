"""The processor `semconv`: enriches every signal, counts what it cannot resolve, refuses bad files at construction."""

from pathlib import Path

import pytest

from otel_pipeline.component import Kind, discover
from otel_pipeline.errors import SemconvError
from otel_pipeline.pdata import to_proto
from otel_pipeline.processors.semconv import Semconv, SemconvConfig
from otel_pipeline.testing import make_settings, make_span, make_traces


def test_is_found() -> None:
    """It is among the processors under its type."""
    assert discover(Kind.PROCESSOR)["semconv"] is Semconv


def test_enriches() -> None:
    """The project of the resource stands under its canonical name afterwards."""
    processor = Semconv(SemconvConfig(), make_settings("semconv"))
    enriched = processor.process(make_traces(make_span(), resource={"project": "shop"}))
    assert enriched is not None
    attributes = to_proto(enriched).resource_spans[0].resource.attributes
    assert ("sdlc.project.id", "shop") in [(one.key, one.value.string_value) for one in attributes]


def test_counts_unresolved_by_sender() -> None:
    """Items without an expected attribute are counted by sender and attribute; senders above the limit are one."""
    settings = make_settings("semconv")
    processor = Semconv(SemconvConfig(unknown_senders_limit=2), settings)
    for name in ("a", "b", "c", "d", "a"):
        processor.process(make_traces(make_span(), make_span(span=2), resource={"service.name": name, "stage": "prd"}))
    processor.flush(0)
    counted = settings.telemetry.counters["otelcol_processor_semconv_unresolved_items"].values
    assert {labels[1]: value for labels, value in counted.items() if labels[2] == "sdlc.project.id"} == {
        "a": 4,
        "b": 2,
        "_other": 4,
    }
    assert not [labels for labels in counted if labels[2] == "sdlc.stage.name"]


def test_counts_values_of_unexpected_type() -> None:
    """A canonical attribute with a value of another type is counted by sender and attribute, wherever it stands."""
    settings = make_settings("semconv")
    processor = Semconv(SemconvConfig(), settings)
    odd = make_span(sdlc__stage__run=1, sdlc__stage__name=[1], sdlc__agent__name="claude_code", agent=2.5)
    for _ in range(2):
        processor.process(make_traces(odd, resource={"service.name": "a", "sdlc.project.id": 2.5}))
    processor.flush(0)
    processor.flush(0)
    counted = settings.telemetry.counters["otelcol_processor_semconv_unexpected_types"].values
    assert {labels[1:]: value for labels, value in counted.items()} == {
        ("a", "sdlc.stage.run"): 2,
        ("a", "sdlc.stage.name"): 2,
        ("a", "sdlc.project.id"): 2,
    }


def test_bad_files_are_told_at_construction(tmp_path: Path) -> None:
    """A problem in a user's file stops the start, with its place."""
    (tmp_path / "bad.yaml").write_text("file_format: definition/3\n")
    with pytest.raises(SemconvError, match=r"bad\.yaml:1: file_format"):
        Semconv(SemconvConfig(directories=(tmp_path,)), make_settings("semconv"))
