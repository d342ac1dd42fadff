"""Rules that are made of projects, and members that stand at their place in an extended list."""

from pathlib import Path

import pytest

from otel_pipeline.errors import SemconvError
from otel_pipeline.pdata import Batch, enrich, to_proto
from otel_pipeline.semconv import compile_plan, load
from otel_pipeline.semconv.conditions import ValueSource
from otel_pipeline.testing import attributes, make_gauge, make_metrics, make_span, make_traces

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
    with pytest.raises(SemconvError) as error:
        sources(tmp_path, PROJECTS.replace("SHOP-[0-9]+", "SHOP-("))
    (problem,) = error.value.problems
    assert (problem.line, problem.message.split(":")[0]) == (18, "not a regular expression")


def found(batch: Batch, folders: list[Path]) -> dict[str, str]:
    """The canonical attributes that an item, its scope or its resource got."""
    enriched, _ = enrich(batch, compile_plan(load(folders)))
    values: dict[str, str] = {}
    for resource in getattr(to_proto(enriched), "resource_spans", None) or to_proto(enriched).resource_metrics:
        (scope,) = getattr(resource, "scope_spans", None) or resource.scope_metrics
        (item,) = getattr(scope, "spans", None) or [metric.gauge.data_points[0] for metric in scope.metrics]
        for part in (resource.resource, scope.scope, item):
            values |= {one.key: one.value.string_value for one in part.attributes if one.key.startswith("sdlc.")}
    return values


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ({"vcs.ref.head.name": "feature/SHOP-7-basket"}, {"sdlc.project.id": "shop", "sdlc.requirement.id": "SHOP-7"}),
        ({"vcs.repository.url.full": "https://github.com/acme/shop.git"}, {"sdlc.project.id": "shop"}),
        ({"vcs.repository.url.full": "git@github.com:acme/shop"}, {"sdlc.project.id": "shop"}),
        ({"service.name": "shop-web"}, {"sdlc.project.id": "shop"}),
        ({"k8s.namespace.name": "till-staging"}, {"sdlc.project.id": "till"}),
        ({"vcs.repository.url.full": "https://github.com/acme/shopping"}, {}),
        ({"service.name": "shop-web", "project": "other"}, {}),
    ],
)
def test_telemetry_of_projects(tmp_path: Path, place: dict[str, str], expected: dict[str, str]) -> None:
    """Wherever it stands, on the item or the resource, of spans and of data points; what the sender says wins."""
    (tmp_path / "projects.yaml").write_text(HEAD + PROJECTS)
    expected = expected | ({"sdlc.project.id": "other"} if "project" in place else {})
    span = make_span()
    span.attributes.extend(attributes(place))
    batches = [make_traces(make_span(), resource=place), make_metrics(make_gauge("g", 1.0, time_ns=1), resource=place)]
    if "service.name" not in place:
        batches.append(make_traces(span))
    for batch in batches:
        values = found(batch, [tmp_path])
        assert {key: values[key] for key in expected} == expected
        assert expected.keys() >= {"sdlc.project.id", "sdlc.requirement.id"} & values.keys()


@pytest.mark.parametrize(
    ("key", "text", "requirement"),
    [
        ("vcs.ref.head.name", "feature/REQ-1042-basket", "REQ-1042"),
        ("git.branch", "REQ-1042", "REQ-1042"),
        ("vcs.ref.head.name", "fix-UTF-8", None),
        ("vcs.ref.head.name", "release/v2-1", None),
        ("vcs.change.title", "REQ-1042: add a basket", "REQ-1042"),
        ("vcs.change.title", "Add a basket [REQ-1042]", "REQ-1042"),
        ("vcs.change.title", "Read UTF-8 and ISO-8601", None),
        ("commit.message", "Add a basket\n\nRefs: REQ-1042", "REQ-1042"),
        ("sdlc.commit.message", "feat: basket, closes REQ-1042", "REQ-1042"),
        ("sdlc.commit.message", "Use SHA-256", None),
    ],
)
def test_tickets_without_projects(key: str, text: str, requirement: str | None) -> None:
    """The shipped patterns find a ticket where people put it, and no standard that looks like one."""
    batch = make_traces(make_span(), resource={key: text})
    assert found(batch, []).get("sdlc.requirement.id") == requirement


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
