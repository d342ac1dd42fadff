"""The semantic-convention files: the shipped ones, a user's over them, and what is told of wrong ones."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from otel_pipeline.errors import SemconvError
from otel_pipeline.semconv import Label, Registry, compile_plan, load, shipped_directory

SCHEMA = Path(__file__).parents[1] / "fixtures" / "schemas" / "semconv.schema.v2.json"
SHIPPED = sorted(shipped_directory().rglob("*.yaml"))
HEAD = "file_format: definition/2\n"


def load_text(folder: Path, text: str, name: str = "own.yaml") -> Registry:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(HEAD + text)
    return load([folder])


def problems(folder: Path, text: str) -> list[str]:
    """What is told of a user's file, without its folder."""
    with pytest.raises(SemconvError) as error:
        load_text(folder, text)
    return [str(problem).removeprefix(f"{folder}/") for problem in error.value.problems]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_files_are_registry_files(path: Path) -> None:
    """Every shipped file is valid by OpenTelemetry's own schema, so that its tools can read it."""
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    assert [error.message for error in validator.iter_errors(yaml.safe_load(path.read_text()))] == []


def test_shipped_stages_are_in_order_of_delivery() -> None:
    """The stages are data, and their order is that of the file."""
    assert [member.value for member in load().attributes["sdlc.stage.name"].members] == [
        "requirement_analysis",
        "prd_design",
        "technical_design",
        "api_design",
        "coding",
        "unit_test",
        "integration_test",
        "ci_cd",
        "deployment",
        "ui_acceptance",
    ]


@pytest.mark.parametrize(
    ("name", "instrument", "source", "labels"),
    [
        ("sdlc.stage.duration", "histogram", "stage_runs", "project_id stage agent model outcome"),
        ("sdlc.stage.runs", "counter", "stage_runs", "project_id stage agent outcome"),
        ("sdlc.stage.errors", "counter", "errors", "project_id stage agent model error_type"),
        ("sdlc.operation.duration", "histogram", "spans", "project_id stage agent operation model outcome"),
    ],
)
def test_stage_metrics(name: str, instrument: str, source: str, labels: str) -> None:
    """The derived metrics have the labels of the catalogue, in its order."""
    metric = load().metrics[name]
    assert (metric.instrument, metric.derivations[0].source) == (instrument, source)
    assert " ".join(label.name for label in metric.labels) == labels
    assert bool(metric.buckets) == (instrument == "histogram")


def test_label_tells_attribute_and_default() -> None:
    """A label names the attribute it is taken from and what is shown where that is not known."""
    labels = {label.name: label for label in load().metrics["sdlc.stage.duration"].labels}
    assert labels["project_id"] == Label("project_id", "sdlc.project.id", "unknown")
    assert labels["outcome"] == Label("outcome", "sdlc.outcome", "success")


def test_own_definition_takes_the_place(tmp_path: Path) -> None:
    """A user's attribute of the same key replaces the shipped one as a whole."""
    registry = load_text(
        tmp_path,
        """
attributes:
  - key: sdlc.stage.name
    type: {members: [{id: build}, {id: ship}]}
    brief: Our stages.
    stability: development
    annotations: {otel_pipeline: {canonical: true, label: stage, aliases: [phase], inherit: true}}
""",
    )
    stage = registry.attributes["sdlc.stage.name"]
    assert [member.value for member in stage.members] == ["build", "ship"]
    assert stage.canonical
    assert stage.aliases == ("phase",)
    compile_plan(registry)


def test_extend_adds_to_the_shipped_definition(tmp_path: Path) -> None:
    """With `extend`, members and aliases are added in front and everything else stays."""
    registry = load_text(
        tmp_path,
        """
attributes:
  - key: sdlc.project.id
    type: string
    brief: Ours.
    stability: development
    annotations: {otel_pipeline: {extend: true, aliases: [acme.product]}}
""",
    )
    project = registry.attributes["sdlc.project.id"]
    assert project.canonical
    assert project.aliases[:2] == ("acme.product", "project.id")
    assert project.label == "project_id"


def test_order_of_rules(tmp_path: Path) -> None:
    """A user's rules come first; then those of senders, then general ones."""
    own = """
spans:
  - type: own
    kind: internal
    name: {note: any}
    brief: Ours.
    stability: development
    annotations: {otel_pipeline: {match: {name: x}, set: {sdlc.project.id: p}}}
"""
    ids = [rule.id for rule in load_text(tmp_path, own).rules]
    assert ids[0] == "own"
    assert (
        ids.index("claude_code")
        < ids.index("claude_code.hook")
        < ids.index("cicd.pipeline.run")
        < ids.index("otel.span")
    )


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    """Each with file, line, path, what is wrong, and what may have been meant."""
    text = """attributes:
  - key: a
    type: strin
    brief: x
    stability: development
  - key: b
    type: string
    brief: x
    stability: development
    annotations: {otel_pipeline: {lable: b}}
metrics:
  - name: m
    instrument: counter
    brief: x
    stability: development
"""
    first, second, third = problems(tmp_path, text)
    assert first.startswith("own.yaml:4: attributes::0::type: ")
    assert second == (
        "own.yaml:11: attributes::1::annotations::otel_pipeline::lable: unknown key 'lable' (did you mean 'label'?)"
    )
    assert third == "own.yaml:13: metrics::0: the key 'unit' is missing"


def rule(match: str, values: str) -> str:
    return f"""spans:
  - type: own
    kind: internal
    name: {{note: any}}
    brief: Ours.
    stability: development
    annotations:
      otel_pipeline:
        match: {match}
        set: {values}
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (rule("{name: x}", "{sdlc.projekt.id: p}"), "did you mean 'sdlc.project.id'?"),
        (rule("{name: x}", "{sdlc.stage.run: perhaps}"), "'perhaps' is not true or false"),
        (rule("{name: x}", "{sdlc.outcome: true}"), "True is not text"),
        (rule("{name: x}", "{sdlc.outcome: {atribute: x}}"), "unknown key 'atribute'"),
        (rule("{attributes: {a: 9223372036854775808}}", "{sdlc.outcome: x}"), "does not fit into 64 bits"),
        (
            rule("{name: x}", "{sdlc.outcome: {name: true, map: {a: -9223372036854775809}}}"),
            "does not fit into 64 bits",
        ),
        (rule("{name: x}", "{sdlc.outcome: {attribute: x, name: true}}"), "exactly one of value, attribute"),
        (rule("{name: x}", "{sdlc.outcome: {attribute: sdlc.model.name, member: vendor}}"), "the property 'vendor'"),
        (rule("{name: {regex: '('}}", "{sdlc.outcome: x}"), "not a regular expression: '('"),
        (rule("{name: {regexp: x}}", "{sdlc.outcome: x}"), "unknown test 'regexp'"),
        (rule("{nmae: x}", "{sdlc.outcome: x}"), "did you mean 'name'?"),
        (rule("{kind: cleint}", "{sdlc.outcome: x}"), "'cleint'"),
        (rule("{}", "{sdlc.outcome: x}"), "matches everything"),
        (
            rule("{}", "{}").replace("annotations", "entity_associations: [clod_code]\n    annotations"),
            "'claude_code'?",
        ),
        (rule("{}", "{}").replace("annotations", "entity_associations: [a, b]\n    annotations"), "of one sender"),
        ("attributes: [&a {key: a}, *a]\n", "the alias *a is not allowed"),
        ("attributes: []\nattributes: []\n", "the key 'attributes' stands twice (first in line 2)"),
        ("attributes: {" + "a: {" * 60 + "}" * 61 + "\n", "nested deeper than 50 levels"),
        ("attributes: [}\n", "not YAML"),
        ("atributes: []\n", "did you mean 'attributes'?"),
    ],
)
def test_problem(tmp_path: Path, text: str, expected: str) -> None:
    """What is wrong is said, with the line."""
    (problem,) = problems(tmp_path, text)
    assert problem.startswith("own.yaml:")
    assert expected in problem


METRIC = """metrics:
  - name: own
    instrument: {instrument}
    unit: "{unit}"
    brief: x
    stability: development
    attributes: [{{ref: {ref}}}]
    annotations: {{otel_pipeline: {{derive: [{{source: spans, value: duration}}]{more}}}}}
"""


@pytest.mark.parametrize(
    ("instrument", "unit", "ref", "more", "expected"),
    [
        ("histogram", "s", "sdlc.stage.name", "", "every derived histogram needs them"),
        ("histogram", "By", "sdlc.stage.name", ", buckets: [1]", "a duration is in ns, us, ms, s, min, h, not 'By'"),
        ("histogram", "s", "sdlc.stage.name", ", buckets: [2, 1]", "buckets must ascend"),
        ("histogram", "s", "sdlc.stage.nam", ", buckets: [1]", "did you mean 'sdlc.stage.name'?"),
        ("histogram", "s", "sdlc.requirement.id", ", buckets: [1]", "'sdlc.requirement.id' is no label"),
        ("gauge", "s", "sdlc.stage.name", ", exemplars: true", "a gauge has no exemplars"),
    ],
)
def test_metric_problem(tmp_path: Path, instrument: str, unit: str, ref: str, more: str, expected: str) -> None:
    """A derived metric that cannot be is told when the files are read, not when it is scraped."""
    (problem,) = problems(tmp_path, METRIC.format(instrument=instrument, unit=unit, ref=ref, more=more))
    assert expected in problem


def test_same_name_twice_in_one_folder(tmp_path: Path) -> None:
    """Two definitions in one folder are a mistake; the message names both places."""
    one = "attributes: [{key: a, type: string, brief: x, stability: stable}]\n"
    (tmp_path / "first.yaml").write_text(HEAD + one)
    (problem,) = problems(tmp_path, one)
    assert problem.startswith("own.yaml:2: attributes::0: 'a' is defined twice (first in ")
    assert problem.endswith("first.yaml:2)")


def test_folder_that_is_none(tmp_path: Path) -> None:
    """A folder that is not there is a problem, not an empty registry."""
    with pytest.raises(SemconvError, match="is no directory"):
        load([tmp_path / "absent"])
