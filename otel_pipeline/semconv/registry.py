"""What the semantic-convention files say, resolved: attributes, derived metrics, senders and rules."""

from collections.abc import Mapping
from dataclasses import dataclass

from otel_pipeline.semconv.attributes import Attribute, Member
from otel_pipeline.semconv.conditions import ValueSource
from otel_pipeline.semconv.metrics import Metric
from otel_pipeline.semconv.rules import Rule
from otel_pipeline.semconv.signals import Signal

__all__ = ["Registry"]


@dataclass(frozen=True, slots=True)
class Registry:
    """All files together, checked."""

    attributes: Mapping[str, Attribute]
    """Every attribute by key, in the order of the files."""
    metrics: Mapping[str, Metric]
    """The derived metrics by name: those that say where their observations come from."""
    rules: tuple[Rule, ...]
    """In the order in which they are tried."""
    signals: tuple[Signal, ...] = ()
    """All metrics and events that the files describe, derived or sent."""

    def table(self, source: ValueSource) -> dict[str, str | bool | int]:
        """What the texts that `source` finds are translated to; empty where they stay."""
        if source.member is None:
            return dict(source.table)
        members = self.attributes[source.attributes[0]].members
        return {one.value: one.properties[source.member] for one in members if source.member in one.properties}

    @property
    def canonical(self) -> dict[str, Attribute]:
        """The canonical attributes by key: those that the gateway writes. Its value for a span is the one nearest to
        it: on the span, else on its scope, else on its resource."""
        return {key: attribute for key, attribute in self.attributes.items() if attribute.canonical}

    @property
    def stages(self) -> tuple[Member, ...]:
        """The stages, in order of delivery."""
        return self.members("sdlc.stage.name")

    @property
    def models(self) -> tuple[Member, ...]:
        """The model families."""
        return self.members("sdlc.model.name")

    @property
    def projects(self) -> tuple[Member, ...]:
        """The projects that files describe."""
        return self.members("sdlc.project.id")

    def members(self, key: str) -> tuple[Member, ...]:
        """Members of an attribute; none where it is unknown or no enum."""
        attribute = self.attributes.get(key)
        return attribute.members if attribute else ()
