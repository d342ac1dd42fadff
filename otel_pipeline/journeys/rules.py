"""What the semantic-convention files say that the assembly of journeys needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from otel_pipeline.semconv import Milestone, Registry, WaitRules, fold, wait_rules

__all__ = ["IDLE_NS", "RUNNING_NS", "AssemblyRules", "assembly_rules"]

RUNNING_NS = 15 * 60 * 10**9
IDLE_NS = 90 * 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class AssemblyRules:
    """Stages, waiting and classes of requirements; and two times that a user may set."""

    order: Mapping[str, int]
    """Position of each stage in the order of delivery."""
    milestones: Mapping[str, Milestone] = field(default_factory=dict)
    """By stage."""
    waits: WaitRules = field(default_factory=lambda: WaitRules({}, {}, {}))
    expected: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Stages that every requirement of a project goes through, where its file says so."""
    classes: tuple[tuple[str, str], ...] = ()
    """Folded spellings and globs, and the class of requirements that each stands for."""
    other_class: str = "unknown"
    running_ns: int = RUNNING_NS
    """A requirement is under way for so long after its last run."""
    idle_ns: int = IDLE_NS
    """After so long without a run it counts as given up."""

    def requirement_class(self, text: str) -> str:
        """The class that is meant; empty where none is told."""
        folded = fold(text)
        found = (name for spelling, name in self.classes if fnmatchcase(folded, spelling))
        return next(found, self.other_class) if text else ""


def assembly_rules(registry: Registry, *, running_ns: int = RUNNING_NS, idle_ns: int = IDLE_NS) -> AssemblyRules:
    """The rules of a registry."""
    attribute = registry.attributes.get("sdlc.requirement.class")
    return AssemblyRules(
        order={stage.value: position for position, stage in enumerate(registry.stages)},
        milestones={one.value: one.stage.milestone for one in registry.stages if one.stage and one.stage.milestone},
        waits=wait_rules(registry),
        expected={one.value: one.project.stages for one in registry.projects if one.project and one.project.stages},
        classes=tuple(
            (fold(text), member.value)
            for member in registry.members("sdlc.requirement.class")
            for text in (member.value, *member.aliases)
        ),
        other_class=(attribute.other or "") if attribute else "",
        running_ns=running_ns,
        idle_ns=idle_ns,
    )
