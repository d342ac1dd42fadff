"""Things that journeys follow: which attributes name them, what never links, and what a plan says of it."""

import json
from pathlib import Path

import pytest

from otel_pipeline.errors import SemconvError
from otel_pipeline.semconv import Registry, journey_plan, kinds, load, wait_rules

HEAD = "file_format: definition/2\nattributes:\n"


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load()


def test_kinds_are_in_causal_order(registry: Registry) -> None:
    """Work goes from requirements over code to what runs; only sessions serve one requirement after the other."""
    names = [one.name for one in kinds(registry)]
    assert names == [
        *("requirement", "document", "session", "branch", "change", "commit"),
        *("pipeline_run", "test_run", "artifact", "image", "deployment", "ending"),
    ]
    assert [one.name for one in kinds(registry) if one.reuse] == ["session"]


def test_plan_is_json_and_names_known_kinds(registry: Registry) -> None:
    """Every key is of a kind of the list, and the whole plan can be written as JSON."""
    plan = json.loads(json.dumps(journey_plan(registry)))
    known = {one["kind"] for one in plan["kinds"]}
    assert {one["kind"] for one in plan["keys"]} == known
    assert plan["max_key_bytes"] == 1024


def test_branch_without_repository_is_looked_for_in_its_project(registry: Registry) -> None:
    """A branch is within its repository, else within its project; aliases are read for all three."""
    plan = journey_plan(registry)
    branch = next(one for one in plan["keys"] if one["kind"] == "branch")
    assert branch["within"][0] == "vcs.repository.url.full"
    assert "git.repository" in branch["within"]
    assert branch["or_within"] == ["sdlc.project.id"]
    assert branch["prefix"] == "project:"
    assert not branch["optional"]


def test_requirement_needs_no_project(registry: Registry) -> None:
    """A requirement is one even where its project is unknown; a pipeline's run without its pipeline names nothing."""
    keys = {one["kind"]: one for one in journey_plan(registry)["keys"]}
    assert keys["requirement"]["optional"]
    assert not keys["pipeline_run"]["optional"]


@pytest.mark.parametrize("value", ["head", "main", "release/*", "unknown", "none", "null", "n/a", "-", "0"])
def test_default_branches_and_placeholders_never_link(registry: Registry, value: str) -> None:
    """What everybody works on is no evidence."""
    branch = next(one for one in journey_plan(registry)["kinds"] if one["kind"] == "branch")
    assert value in branch["never"]


def test_content_is_not_stored(registry: Registry) -> None:
    """What people and models wrote is dropped, under whatever name it comes."""
    content = journey_plan(registry)["content"]
    assert {"gen_ai.input.messages", "gen_ai.prompt", "git.commit.message"} <= set(content)


def test_waiting_is_told_in_the_senders_words(registry: Registry) -> None:
    """A value and its other spellings mean the same wait."""
    rules = wait_rules(registry)
    assert rules.during["sdlc.operation.name", "cicd_queue"] == "queue"
    assert rules.during["sdlc.wait.reason", "code_review"] == "review"
    assert rules.after["sdlc.document.approval_status", "in_review"] == "approval"


def test_kinds_of_ones_own(tmp_path: Path) -> None:
    """A user's file adds a kind, and an attribute that names things of it."""
    (tmp_path / "own.yaml").write_text(
        HEAD
        + """
  - key: sdlc.entity.kind
    type:
      members:
        - {id: epic, stability: development, annotations: {otel_pipeline: {entity: {never: [backlog]}}}}
    brief: Kinds.
    stability: development
    annotations: {otel_pipeline: {extend: true}}
  - key: acme.epic
    type: string
    brief: The epic.
    stability: development
    annotations: {otel_pipeline: {identifies: {kind: epic, within: sdlc.project.id}}}
"""
    )
    plan = journey_plan(load([tmp_path]))
    assert plan["kinds"][0] == {"kind": "epic", "reuse": False, "never": ["backlog"], "lower_case": False}
    assert "acme.epic" in [one["attributes"][0] for one in plan["keys"]]


def test_unknown_kind_is_told(tmp_path: Path) -> None:
    """A kind that is in no list, or a scope that is no attribute, is a problem with its place and what was meant."""
    (tmp_path / "own.yaml").write_text(
        HEAD
        + """
  - key: acme.branch
    type: string
    brief: The branch.
    stability: development
    annotations: {otel_pipeline: {identifies: {kind: brunch, within: vcs.repository.url.ful}}}
"""
    )
    with pytest.raises(SemconvError) as caught:
        load([tmp_path])
    kind, within = caught.value.problems
    assert "brunch" in kind.message
    assert kind.hint == "did you mean 'branch'?"
    assert within.hint == "did you mean 'vcs.repository.url.full'?"
