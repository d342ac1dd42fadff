"""Rules made of what the files say of projects: which repositories, services and namespaces are theirs, and what the
tickets in branches, titles and commit messages look like."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from otel_pipeline.semconv.attributes import Attribute, ProjectFacts
from otel_pipeline.semconv.conditions import Scalar, ValueSource
from otel_pipeline.semconv.rules import EVERYTHING, Rule

__all__ = ["PROJECT", "REQUIREMENT", "project_rules"]

PROJECT = "sdlc.project.id"
REQUIREMENT = "sdlc.requirement.id"
TICKET_PLACES = ("vcs.ref.head.name", "vcs.change.title", "sdlc.commit.message")

Projects = Sequence[tuple[str, ProjectFacts]]


def project_rules(attributes: Mapping[str, Attribute]) -> Iterator[Rule]:
    """In the order in which they are tried. The more certain comes first: a ticket names its project, a repository may
    hold several, and a service or a namespace says only where something runs."""
    members = attributes[PROJECT].members if PROJECT in attributes else ()
    projects = [(member.value, member.project) for member in members if member.project]
    for name, facts in projects:
        for index, pattern in enumerate(facts.ticket_patterns):
            for place in TICKET_PLACES:
                yield _ticket_rule(f"project.{name}.ticket.{index}.{place}", pattern, name, _keys(place, attributes))
    tables = {
        "vcs.repository.url.full": _table(
            projects, lambda one: [url for text in one.repositories for url in _urls(text)]
        ),
        "vcs.repository.name": _table(projects, lambda one: one.repositories),
        "service.name": _table(projects, lambda one: one.services),
        "k8s.namespace.name": _table(projects, lambda one: one.namespaces),
        "service.namespace": _table(projects, lambda one: one.namespaces),
    }
    for place, table in tables.items():
        if table:
            source = ValueSource(anywhere=_keys(place, attributes), table=table)
            yield Rule(f"project.{place}", None, None, EVERYTHING, {PROJECT: source})


def _ticket_rule(id: str, pattern: str, project: str, keys: tuple[str, ...]) -> Rule:
    found = ValueSource(anywhere=keys, regex=pattern)
    owner = ValueSource(anywhere=keys, regex=pattern, table={"*": project})
    return Rule(id, None, None, EVERYTHING, {REQUIREMENT: found, PROJECT: owner})


def _keys(key: str, attributes: Mapping[str, Attribute]) -> tuple[str, ...]:
    """The attribute and its aliases."""
    return (key, *attributes[key].aliases) if key in attributes else (key,)


def _table(projects: Projects, globs: Callable[[ProjectFacts], Iterable[str]]) -> dict[str, Scalar]:
    """Which project each glob stands for; the first project that claims one has it."""
    table: dict[str, Scalar] = {}
    for name, facts in projects:
        for glob in globs(facts):
            table.setdefault(glob, name)
    return table


def _urls(repository: str) -> Iterator[str]:
    """How a repository is written in URLs: `acme/shop` is in https://host/acme/shop.git and git@host:acme/shop."""
    starts = ("",) if "://" in repository or repository.startswith("*") else ("", "*/", "*:")
    ends = ("", ".git", "/")
    yield from (start + repository + end for start in starts for end in ends)
