"""What the files say of things that journeys follow and of waiting; and the plan by which native code finds them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from otel_pipeline.semconv.attributes import Member, fold
from otel_pipeline.semconv.derive import late_binding_plan, usage_plan
from otel_pipeline.semconv.registry import Registry

__all__ = ["KindFacts", "WaitRules", "journey_plan", "kinds", "wait_rules"]

MAX_KEY_BYTES = 1024
RUN_FACTS = (
    "sdlc.requirement.title",
    "sdlc.requirement.class",
    "sdlc.rollback.reason",
    "deployment.environment.name",
    "sdlc.wait.reason",
)
"""Attributes that the assembly of a journey asks runs for, besides those that tell of waiting."""


@dataclass(frozen=True, slots=True)
class KindFacts:
    """A kind of thing, such as a branch."""

    name: str
    reuse: bool
    """Serves several requirements in turn."""


@dataclass(frozen=True, slots=True)
class WaitRules:
    """What tells that a requirement waits, and for what: reason by attribute and value, the value after `fold`."""

    during: Mapping[tuple[str, str], str]
    """Of work that is waiting itself."""
    after: Mapping[tuple[str, str], str]
    """Of work that is followed by waiting."""
    until_changed: Mapping[tuple[str, str], str]
    """Of work that is followed by waiting until other work tells another value of the attribute."""


def kinds(registry: Registry) -> tuple[KindFacts, ...]:
    """In causal order."""
    return tuple(
        KindFacts(one.value, one.entity.reuse if one.entity else False) for one in registry.members("sdlc.entity.kind")
    )


def wait_rules(registry: Registry) -> WaitRules:
    """Of two reasons for one value the first of the list of reasons is taken."""
    reasons = registry.members("sdlc.wait.reason")
    during = {("sdlc.wait.reason", text): one.value for one in reasons for text in (*one.aliases, one.value)}
    after: dict[tuple[str, str], str] = {}
    until_changed: dict[tuple[str, str], str] = {}
    for one in reasons:
        if one.wait is None:
            continue
        kinds_of = ((during, one.wait.during), (after, one.wait.after), (until_changed, one.wait.until_changed))
        for found, values in kinds_of:
            for key, texts in values.items():
                for text in _spellings(registry, key, texts):
                    found.setdefault((key, text), one.value)
    return WaitRules({(key, fold(text)): reason for (key, text), reason in during.items()}, after, until_changed)


def _spellings(registry: Registry, key: str, values: Iterable[str]) -> Iterable[str]:
    """All ways to write the values, folded. Globs stand for nothing here."""
    aliases = {fold(member.value): member.aliases for member in registry.members(key)}
    for value in map(fold, values):
        yield from (value, *map(fold, aliases.get(value, ())))


def journey_plan(registry: Registry) -> dict[str, Any]:
    """What `native/src/journeys` reads, as JSON.

    `kinds`: in causal order. `never` holds globs for whole values, in lower case; values are compared after trimming
    and in lower case. With `lower_case`, keys are kept so.
    `keys`: what an item names. The value is that of the first of `attributes` that the item has, else its scope, else
    its resource; so is the one of `within`, which becomes the key's scope. Scopes that are addresses of repositories
    are written as `host/path`, whatever the protocol, user, port or `.git`, the host in lower case. Without it the
    scope is `prefix` and the value of `or_within`; where both are told there are two keys with an edge between them,
    but only the first one has other edges and sightings. Where neither is told, there is a key only with `optional`,
    of an empty scope. Two keys of one kind from different entries are two names of one thing, unless they are of the
    first kind: requirements beside each other contradict and have no edge.
    `content`: attributes that are not stored. `facts`: attributes that runs tell, under the first name of each list:
    the value of the topmost span that has one. `run`: attributes that runs are cut by.
    """
    return {
        "max_key_bytes": MAX_KEY_BYTES,
        "kinds": [_kind(member) for member in registry.members("sdlc.entity.kind")],
        "keys": list(_keys(registry)),
        "content": sorted(
            {text for key, one in registry.attributes.items() if one.content for text in (key, *one.aliases)}
        ),
        "facts": [_names(registry, key) for key in _facts(registry)],
        "run": {
            **late_binding_plan(registry),
            "requirement": "sdlc.requirement.id",
            "project": "sdlc.project.id",
            "agent": "sdlc.agent.name",
            "operation": "sdlc.operation.name",
            "error_type": "error.type",
            "intervention": _names(registry, "sdlc.intervention.type"),
        },
        "usage": usage_plan(registry),
    }


def _kind(member: Member) -> dict[str, Any]:
    facts = member.entity
    return {
        "kind": member.value,
        "reuse": facts.reuse if facts else False,
        "never": [text.lower() for text in facts.never] if facts else [],
        "lower_case": facts.lower_case if facts else False,
    }


def _keys(registry: Registry) -> Iterable[dict[str, Any]]:
    for key, attribute in registry.attributes.items():
        found = attribute.identifies
        if found is not None:
            yield {
                "attributes": _names(registry, key),
                "kind": found.kind,
                "within": _names(registry, found.within) if found.within else [],
                "or_within": _names(registry, found.or_within) if found.or_within else [],
                "prefix": f"{_short(found.or_within)}:" if found.or_within else "",
                "optional": found.optional,
            }


def _short(key: str) -> str:
    """`project` of `sdlc.project.id`."""
    return key.removeprefix("sdlc.").removesuffix(".id")


def _facts(registry: Registry) -> Iterable[str]:
    rules = wait_rules(registry)
    wanted = (*RUN_FACTS, *(key for key, _ in (*rules.during, *rules.after, *rules.until_changed)))
    return (key for key in dict.fromkeys(wanted) if key in registry.attributes)


def _names(registry: Registry, key: str) -> list[str]:
    """The attribute and what is read for it; of a canonical one only itself, since that is what the gateway wrote."""
    attribute = registry.attributes.get(key)
    return [key] if attribute is None or attribute.canonical else [key, *attribute.aliases]
