"""Rules that are made of projects, and members that stand at their place in an extended list."""

from pathlib import Path

from otel_pipeline.semconv import load
from otel_pipeline.semconv.conditions import ValueSource

HEAD = "file_format: definition/2\n"
PROJECTS = """
attributes:
  - key: vcs.ref.head.name
    type: string
    brief: The branch.
    stability: release_candidate
    annotations: {otel_pipeline: {aliases: [git.branch]}}
  - key: sdlc.project.id
    type:
      members:
        - id: shop
          annotations:
            otel_pipeline:
              project:
                repositories: [acme/shop, "https://git.example/old/*"]
                services: [shop-*]
                ticket_patterns: ["SHOP-[0-9]+"]
        - id: till
          annotations: {otel_pipeline: {project: {services: [till, shop-*], namespaces: [till-*]}}}
    brief: Projects.
    stability: development
    annotations: {otel_pipeline: {extend: true}}
"""


def sources(folder: Path, text: str) -> dict[str, dict[str, ValueSource]]:
    """What the rules for projects set, by their id."""
    folder.mkdir(exist_ok=True)
    (folder / "projects.yaml").write_text(HEAD + text)
    rules = [rule for rule in load([folder]).rules if rule.id.startswith("project.")]
    assert all(rule.item is None and rule.match.is_empty for rule in rules)
    return {rule.id: {key: one for key, one in rule.set.items() if isinstance(one, ValueSource)} for rule in rules}


def test_tickets_name_requirement_and_project(tmp_path: Path) -> None:
    """A pattern is looked for in branch, title and commit message, under every name these have."""
    rules = sources(tmp_path, PROJECTS)
    for place in ("vcs.ref.head.name", "vcs.change.title", "sdlc.commit.message"):
        rule = rules[f"project.shop.ticket.0.{place}"]
        assert rule["sdlc.requirement.id"].regex == "SHOP-[0-9]+"
        assert rule["sdlc.project.id"].table == {"*": "shop"}
    branch = rules["project.shop.ticket.0.vcs.ref.head.name"]
    assert branch["sdlc.requirement.id"].anywhere == ("vcs.ref.head.name", "git.branch")


def test_globs_name_the_project(tmp_path: Path) -> None:
    """Of services, namespaces and repositories; what two projects claim is the first one's."""
    rules = {id: one["sdlc.project.id"] for id, one in sources(tmp_path, PROJECTS).items()}
    assert rules["project.service.name"].table == {"shop-*": "shop", "till": "till"}
    assert rules["project.k8s.namespace.name"].table == {"till-*": "till"}
    urls = rules["project.vcs.repository.url.full"].table
    assert {"acme/shop", "*/acme/shop.git", "*:acme/shop", "https://git.example/old/*"} <= urls.keys()
    assert "*/https://git.example/old/*" not in urls


def test_a_wrong_pattern_is_told(tmp_path: Path) -> None:
    """At check time, with its line."""
    from otel_pipeline.errors import SemconvError

    try:
        sources(tmp_path, PROJECTS.replace("SHOP-[0-9]+", "SHOP-("))
    except SemconvError as error:
        (problem,) = error.problems
    assert (problem.line, problem.message.split(":")[0]) == (18, "not a regular expression")


def test_members_stand_after_others(tmp_path: Path) -> None:
    """A stage that is added takes its place in the order of delivery."""
    (tmp_path / "stages.yaml").write_text(
        HEAD
        + """attributes:
  - key: sdlc.stage.name
    type:
      members:
        - {id: signing, annotations: {otel_pipeline: {after: ci_cd}}}
        - {id: archiving, annotations: {otel_pipeline: {after: signing}}}
        - {id: idea}
    brief: More stages.
    stability: development
    annotations: {otel_pipeline: {extend: true}}
"""
    )
    stages = [stage.value for stage in load([tmp_path]).stages]
    assert stages[0] == "idea"
    assert stages[stages.index("ci_cd") :][:4] == ["ci_cd", "signing", "archiving", "deployment"]
