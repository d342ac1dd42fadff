"""Events that say which span they stand for: what is refused, and what becomes of the rest."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_pipeline.errors import SemconvError
from otel_pipeline.pdata import EventSpans
from otel_pipeline.semconv import event_span_plan, load
from otel_pipeline.semconv.load import read_definitions
from otel_pipeline.semconv.reference import reference

ENTITY = {
    "type": "acme",
    "brief": "A sender.",
    "stability": "development",
    "identity": [{"ref": "service.name"}],
    "annotations": {"otel_pipeline": {"match": {"scope_name": "acme"}}},
}


def event(span: Any, *, section: str = "events", sender: bool = True, **more: Any) -> dict[str, Any]:
    name = (
        {"name": "acme.done"}
        if section == "events"
        else {"type": "acme.done", "kind": "internal", "name": {"note": "x"}}
    )
    associations = {"entity_associations": ["acme"]} if sender else {}
    notes = {"annotations": {"otel_pipeline": {"span": span, **more}}}
    return {**name, "brief": "Work.", "stability": "development", **associations, **notes}


def folder(path: Path, *definitions: dict[str, Any], section: str = "events") -> Path:
    text = yaml.safe_dump({"file_format": "definition/2", "entities": [ENTITY], section: list(definitions)})
    path.mkdir(exist_ok=True)
    (path / "acme.yaml").write_text(text)
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(SemconvError) as refused:
        load([path])
    return [str(problem) for problem in refused.value.problems]


@pytest.mark.parametrize(
    ("span", "told"),
    [
        ({}, "the key 'name' is missing"),
        ({"name": "x", "durations": 1}, "unknown key 'durations'"),
        ({"name": "x", "kind": "inner"}, "Input should be 'internal'"),
        ({"name": "x", "duration": {"attribute": "took"}}, "the key 'unit' is missing"),
        ({"name": "x", "duration": {"attribute": "took", "unit": "hours"}}, "Input should be 'ns'"),
        ({"name": "x", "opens_prompt": True, "duration": {"attribute": "a", "unit": "s"}}, "leave duration out"),
        ({"name": "x", "status": "failed"}, "'failed' is no status: one of unset, ok, error"),
        ({"name": "x", "status": {"attribute": "ok", "map": {"no": "bad"}}}, "'bad' is no status"),
        ({"name": "x", "status": {"attribute": "ok"}}, "needs a map to unset, ok or error"),
        ({"name": "x", "status": {"resource": "ok", "map": {"no": "error"}}}, "takes value, or attribute"),
        ({"name": "x", "attributes": {"a": {"attribute": "b", "regex": "(.)"}}}, "takes value, or attribute"),
        ({"name": "x", "attributes": {"a": {"name": True}}}, "takes value, or attribute"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, span: Any, told: str) -> None:
    """Nothing that cannot be carried out is taken in silently."""
    (problem,) = problems(folder(tmp_path, event(span)))
    assert told in problem
    assert "acme.yaml:" in problem


def test_a_span_needs_a_sender_that_is_recognised(tmp_path: Path) -> None:
    """Else nobody could tell its spans from those of others."""
    (problem,) = problems(folder(tmp_path, event({"name": "x"}, sender=False)))
    assert "needs entity_associations with a sender that has a match" in problem


def test_only_events_become_spans(tmp_path: Path) -> None:
    """A span is one."""
    (problem,) = problems(folder(tmp_path, event({"name": "x"}, section="spans"), section="spans"))
    assert "only events become spans" in problem


def test_an_event_of_ones_own_can_be_extended(tmp_path: Path) -> None:
    """`extend` gives a shipped event another span, and leaves what it sets."""
    span = {"name": "mine", "carry": ["a"]}
    extension = {**event(span, extend=True), "name": "codex.tool_result"}
    del extension["entity_associations"]
    rules = [rule for rule in load([folder(tmp_path, extension)]).rules if rule.id == "codex.tool_result"]
    assert [(rule.span.name, rule.span.carry) for rule in rules if rule.span] == [("mine", ("a",))]
    assert all(rule.set for rule in rules)


def test_what_rules_say_of_log_records_is_not_taken_over(tmp_path: Path) -> None:
    """Canonical attributes are, but for those that an event of the sender or the sender itself sets."""
    sets = {"sdlc.outcome": "failure"}
    plan = event_span_plan(load([folder(tmp_path, event({"name": "x", "carry": ["mine"]}, set=sets))]))
    (rule,) = (rule for rule in plan["rules"] if rule["name"] == "x")
    assert {"mine", "session.id", "sdlc.project.id", "error.type"} <= set(rule["carry"])
    assert "sdlc.outcome" not in rule["carry"]


def test_the_reference_names_the_span(tmp_path: Path) -> None:
    """Who reads the table of rules sees which events become spans."""
    path = folder(tmp_path, event({"name": "acme.work"}))
    text = reference(load([path]), read_definitions([path]).by_section)
    assert "| `acme.done` | log record | a span `acme.work` | Work. |" in text


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"rules": 1}'])
def test_a_plan_that_cannot_be_read(text: str) -> None:
    """Says so, and does not panic."""
    with pytest.raises(ValueError, match=r"."):
        EventSpans(text)
