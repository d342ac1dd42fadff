"""What a user's folder lays over the shipped files: in their place, or added with `extend`."""

from pathlib import Path

import pytest

from otel_pipeline.errors import SemconvError
from otel_pipeline.semconv import Registry, load

HEAD = "file_format: definition/2\n"
BASE = """
attributes:
  - {key: own.kind, type: string, brief: x, stability: stable, annotations: {otel_pipeline: {label: own_kind}}}
metrics:
  - name: own.things
    instrument: counter
    unit: "{thing}"
    brief: Things.
    stability: stable
    attributes: [{ref: sdlc.project.id}]
    annotations: {otel_pipeline: {derive: [{source: stage_runs}]}}
  - name: own.gauge
    instrument: gauge
    unit: "1"
    brief: A sender's gauge.
    stability: stable
    annotations: {otel_pipeline: {set: {sdlc.stage.name: coding}}}
events:
  - name: own.event
    brief: A log record.
    stability: stable
    annotations:
      otel_pipeline:
        match: {attributes: {a: b}}
        set: {sdlc.outcome: failure, sdlc.stage.name: coding}
        usage: {tokens: {input: a}}
"""


def load_two(folder: Path, own: str) -> Registry:
    """The registry of a folder with `BASE` and one with `own` over it."""
    for name, text in (("base", BASE), ("own", own)):
        (folder / name).mkdir()
        (folder / name / "file.yaml").write_text(HEAD + text)
    return load([folder / "base", folder / "own"])


def test_metrics_are_extended(tmp_path: Path) -> None:
    """More labels and more ways to derive stand behind those that were there."""
    own = """metrics:
  - name: own.things
    instrument: counter
    unit: "{thing}"
    brief: Ours.
    stability: stable
    attributes: [{ref: own.kind}]
    annotations: {otel_pipeline: {extend: true, derive: [{source: events, match: {name: own.event}}]}}
"""
    metric = load_two(tmp_path, own).metrics["own.things"]
    assert [label.name for label in metric.labels] == ["project_id", "own_kind"]
    assert [derivation.source for derivation in metric.derivations] == ["stage_runs", "events"]


def test_metrics_are_replaced(tmp_path: Path) -> None:
    """Without `extend` a user's metric takes the place as a whole."""
    own = BASE.replace("source: stage_runs", "source: spans").replace("{ref: sdlc.project.id}", "{ref: own.kind}")
    metric = load_two(tmp_path, own).metrics["own.things"]
    assert [label.name for label in metric.labels] == ["own_kind"]
    assert [derivation.source for derivation in metric.derivations] == ["spans"]


@pytest.mark.parametrize(
    ("section", "head", "name"),
    [
        ("events", "name: own.event", "own.event"),
        ("metrics", "name: own.gauge\n    instrument: gauge\n    unit: '1'", "own.gauge"),
    ],
)
def test_rules_are_extended(tmp_path: Path, section: str, head: str, name: str) -> None:
    """What is set is laid over what was, and is tried with the user's own rules; the match stays unless it is given."""
    own = f"""{section}:
  - {head}
    brief: Ours.
    stability: stable
    annotations: {{otel_pipeline: {{extend: true, set: {{sdlc.stage.name: deployment, sdlc.project.id: p}}}}}}
"""
    registry = load_two(tmp_path, own)
    assert registry.rules[0].id == name
    rule = registry.rules[0]
    assert rule.set["sdlc.stage.name"] == "deployment"
    assert rule.set["sdlc.project.id"] == "p"
    if section == "events":
        assert rule.set["sdlc.outcome"] == "failure"
        assert rule.match.attributes.keys() == {"a"}
        assert rule.usage


def test_projects_of_several_folders(tmp_path: Path) -> None:
    """Each folder may add projects; those of the later one are asked first."""
    own = """attributes:
  - key: sdlc.project.id
    type: {members: [{id: %s, annotations: {otel_pipeline: {project: {services: [%s]}}}}]}
    brief: Ours.
    stability: stable
    annotations: {otel_pipeline: {extend: true}}
"""
    for name, service in (("one", "a-*"), ("two", "a-b-*")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file.yaml").write_text(HEAD + own % (name, service))
    registry = load([tmp_path / "one", tmp_path / "two"])
    assert [project.value for project in registry.projects] == ["two", "one"]
    (rule,) = [rule for rule in registry.rules if rule.id == "project.service.name"]
    source = rule.set["sdlc.project.id"]
    assert not isinstance(source, str | bool | int)
    assert list(source.table) == ["a-b-*", "a-*"]


def test_the_order_of_files_does_not_matter_for_extensions(tmp_path: Path) -> None:
    """In one folder a definition can be extended by a file that comes before it, and by several."""
    extension = """attributes:
  - key: own.kind
    type: string
    brief: x
    stability: stable
    annotations: {otel_pipeline: {extend: true, aliases: [%s]}}
"""
    (tmp_path / "a.yaml").write_text(HEAD + extension % "first")
    (tmp_path / "b.yaml").write_text(HEAD + BASE)
    (tmp_path / "c.yaml").write_text(HEAD + extension % "second")
    assert load([tmp_path]).attributes["own.kind"].aliases == ("second", "first")


@pytest.mark.parametrize(
    ("name", "notes", "expected"),
    [
        (
            "own.things",
            "set: {sdlc.outcome: failure}",
            "the metric is derived: set and usage are for metrics of senders",
        ),
        ("own.gauge", "derive: [{source: spans}]", "the metric is a sender's: derive one of another name"),
        ("own.other", "derive: [{source: spans}]", "extends 'own.other', which is not defined"),
    ],
)
def test_an_extension_that_does_not_fit(tmp_path: Path, name: str, notes: str, expected: str) -> None:
    """A derived metric stays one, and a sender's metric, too."""
    own = f"""metrics:
  - name: {name}
    instrument: counter
    unit: "1"
    brief: Ours.
    stability: stable
    annotations: {{otel_pipeline: {{extend: true, {notes}}}}}
"""
    with pytest.raises(SemconvError) as error:
        load_two(tmp_path, own)
    assert [problem.message for problem in error.value.problems] == [expected]


def test_what_cannot_be_extended_is_told(tmp_path: Path) -> None:
    """A problem of a definition that was extended is told where the extension stands."""
    own = """metrics:
  - name: own.things
    instrument: counter
    unit: "{thing}"
    brief: Ours.
    stability: stable
    attributes: [{ref: sdlc.requirement.id}]
    annotations: {otel_pipeline: {extend: true}}
"""
    with pytest.raises(SemconvError) as error:
        load_two(tmp_path, own)
    (problem,) = error.value.problems
    assert problem.file == str(tmp_path / "own" / "file.yaml")
    assert problem.message == "'sdlc.requirement.id' is no label"
