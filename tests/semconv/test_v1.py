"""Files in the older registry format, with `groups:`."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from otel_pipeline.errors import SemconvError
from otel_pipeline.semconv import Registry, load
from otel_pipeline.semconv.load import read_definitions

FIXTURES = Path(__file__).parents[1] / "fixtures"
V1 = FIXTURES / "semconv_v1"
SCHEMA = FIXTURES / "schemas" / "semconv.schema.json"


@pytest.fixture(scope="module")
def registry() -> Registry:
    """The fixture over the shipped files."""
    return load([V1])


def test_the_fixture_is_what_upstream_would_write() -> None:
    """It is valid by OpenTelemetry's schema, but for what its comments say."""
    text = (V1 / "registry.yaml").read_text()
    text = text.replace("deprecated: Use rabbitmq.", "").replace("experimental", "development")
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    assert [error.message for error in validator.iter_errors(yaml.safe_load(text))] == []


def test_attributes(registry: Registry) -> None:
    """Types, members, stability and examples are those of the file; a prefix stands before what a group defines."""
    system = registry.attributes["queue.system"]
    assert (system.type, system.brief, system.examples) == ("enum", "The queue.", ("rabbitmq",))
    assert [member.value for member in system.members] == ["rabbitmq", "9"]
    header = registry.attributes["queue.header"]
    assert (header.type, header.stability) == ("template[string[]]", "development")
    assert {"older.thing.name", "older.thing.kind", "older.host.id"} <= registry.attributes.keys()


def test_what_is_described_here_stays(registry: Registry) -> None:
    """A registry without our notes takes nothing away from an attribute that has some."""
    error = registry.attributes["error.type"]
    assert (error.canonical, error.label) == (True, "error_type")


def test_signals() -> None:
    """Metrics, spans, events, entities and old resources become definitions of the newer format, in their place."""
    sections = read_definitions([V1]).by_section
    metric = sections["metrics"]["queue.wait"]
    assert (metric.value.instrument, metric.value.unit) == ("histogram", "s")
    assert [ref.ref_group or ref.ref for ref in metric.value.attributes] == ["queue.common", "queue.depth"]
    assert metric.source.line(metric.place) == 51
    assert sections["spans"]["queue.publish"].value.kind == "producer"
    assert "older" in sections["spans"]
    assert sections["events"]["queue.overflow"].value.brief == "A queue that is full."
    entity = sections["entities"]["queue"].value
    assert [ref.ref for ref in entity.identity] == ["queue.system"]
    assert [ref.ref for ref in entity.description] == ["queue.depth"]
    assert "older.host" in sections["entities"]


def test_our_notes_in_the_older_format(tmp_path: Path) -> None:
    """Everything of ours can stand in a group's annotations, too: an attribute, a derived metric, a sender's rule."""
    (tmp_path / "own.yaml").write_text(
        """groups:
  - id: own
    type: attribute_group
    brief: Ours.
    attributes:
      - {id: own.kind, type: string, brief: x, stability: stable, annotations: {otel_pipeline: {label: own_kind}}}
  - id: metric.own
    type: metric
    metric_name: own.things
    instrument: counter
    unit: "{thing}"
    brief: Things.
    stability: stable
    extends: own
    attributes:
      - {ref: sdlc.outcome, annotations: {otel_pipeline: {label: status}}}
    annotations: {otel_pipeline: {derive: [{source: stage_runs}]}}
  - id: event.own
    type: event
    name: own.event
    brief: An event.
    stability: stable
    annotations: {otel_pipeline: {set: {sdlc.outcome: failure}}}
"""
    )
    registry = load([tmp_path])
    assert [label.name for label in registry.metrics["own.things"].labels] == ["own_kind", "status"]
    assert [rule.item for rule in registry.rules if rule.id == "own.event"] == ["event"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("groups: [{id: a, brief: x}]", "own.yaml:1: groups::0: the key 'type' is missing"),
        ("groups: [{id: a, type: sapn, brief: x}]", "own.yaml:1: groups::0: Input tag 'sapn'"),
        ("groups: [{id: a, type: metric, brief: x}]", "groups::0: the key 'metric_name' is missing"),
        ("groups: [{id: a, type: span, breif: x}]", "groups::0::breif: unknown key 'breif' (did you mean 'brief'?)"),
        (
            "groups:\n- {id: a, type: span, brief: x, attributes: [{ref: queue.sytem}]}",
            "own.yaml:2: groups::0::attributes::0::ref: no attribute is named 'queue.sytem'",
        ),
        ("groups:\n- {id: a, type: span, extends: b, brief: x}", "no attribute group is named 'b'"),
        (
            "groups: [{id: a, type: attribute_group, brief: x, attributes: [{id: b, brief: x}]}]",
            "groups::0::attributes::0: the key 'type' is missing",
        ),
        ("groups: 3", "groups: Input should be a valid tuple, not 3"),
    ],
)
def test_problem(tmp_path: Path, text: str, expected: str) -> None:
    """What is wrong is told where it stands in the file, in its own words."""
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(SemconvError) as error:
        load([tmp_path])
    told = [str(problem).removeprefix(f"{tmp_path}/") for problem in error.value.problems]
    assert any(expected in problem for problem in told), told
