"""What commands, pages and exporters ask of journeys: one requirement, the list of them, one trace; and the upkeep
of the list."""

from otel_pipeline.journeys.assemble import assemble
from otel_pipeline.journeys.graph import Limits, graph_rules
from otel_pipeline.journeys.model import Journey, Key, State
from otel_pipeline.journeys.resolve import named, requirements_behind, resolve
from otel_pipeline.journeys.rules import IDLE_NS, RUNNING_NS, assembly_rules
from otel_pipeline.journeys.store import (
    JourneyStore,
    RequirementPage,
    RequirementQuery,
    RequirementSummary,
    StageDot,
    TraceHead,
    TraceQuery,
)
from otel_pipeline.semconv import Registry

__all__ = ["Journeys", "summary"]


class Journeys:
    """Answers out of a store. May be used by several threads, except `refresh`, which belongs to the writer's."""

    def __init__(
        self,
        store: JourneyStore,
        registry: Registry,
        *,
        running_ns: int = RUNNING_NS,
        idle_ns: int = IDLE_NS,
        limits: Limits | None = None,
    ) -> None:
        self.store = store
        self.rules = assembly_rules(registry, running_ns=running_ns, idle_ns=idle_ns)
        self._graph_rules = graph_rules(registry)
        self._limits = limits or Limits()

    def find(self, requirement: str, project: str = "") -> list[Key]:
        """The requirements of that id, one for each project that has it; of one project where it is told."""
        return named(self.store, self._graph_rules.requirement, project, requirement)

    def journey(self, project: str, requirement: str, now_ns: int) -> Journey | None:
        """The whole way of one requirement as of now; None where nothing is known of it. An empty project stands for
        requirements that nobody told the project of."""
        key = Key(self._graph_rules.requirement, project, requirement)
        return assemble(resolve(self.store, key, self._graph_rules, self._limits), self.rules, now_ns)

    def requirements(self, query: RequirementQuery) -> RequirementPage:
        """A page of the list, from rows that `refresh` made."""
        return self.store.requirements(query)

    def trace(self, trace_id: str) -> list[bytes]:
        """The spans of a trace as OTLP TracesData; empty where there is none."""
        return self.store.trace(trace_id)

    def traces(self, query: TraceQuery) -> list[TraceHead]:
        """Traces that answer a search, newest first."""
        return self.store.traces(query)

    def operations(self) -> list[tuple[str, str]]:
        """Pairs of service and span name."""
        return self.store.operations()

    def keys(self, kind: str, value_prefix: str, limit: int) -> list[Key]:
        """Keys of a kind whose value starts so."""
        return self.store.keys(kind, value_prefix, limit)

    def requirements_of(self, trace_id: str, now_ns: int) -> list[Key]:
        """The requirements to which some part of the trace belongs, sorted: the way from a trace to its journeys."""
        behind = requirements_behind(self.store, self._graph_rules, trace_ids=[trace_id])
        return sorted({found for key in behind if (found := self._owns(key, trace_id))})

    def _owns(self, key: Key, trace_id: str) -> Key | None:
        found = resolve(self.store, key, self._graph_rules, self._limits)
        return found.requirement if any(one.run.trace_id == trace_id for one in found.runs) else None

    def refresh(self, now_ns: int, limit: int = 1000) -> int:
        """Makes the rows of requirements with new evidence again, and of those whose time has come; so many traces and
        keys at once. Returns how many rows were made: at 0 there is nothing more to do."""
        changed = self.store.changed(limit)
        behind = requirements_behind(self.store, self._graph_rules, keys=changed.keys, trace_ids=changed.trace_ids)
        wanted = sorted(behind | set(self.store.due(now_ns, limit)))
        rows: dict[Key, RequirementSummary] = {}
        gone: list[Key] = []
        for key in wanted:
            made = self.journey(key.scope, key.value, now_ns)
            told = Key(key.kind, made.project, made.requirement) if made else None
            if made is not None and told is not None:
                rows[told] = summary(made, now_ns, self.rules.running_ns, self.rules.idle_ns)
            if told != key:
                gone.append(key)
            elif key.scope and self.find(key.value) == [key]:
                gone.append(Key(key.kind, "", key.value))
        self.store.put_summaries(list(rows.values()), gone, changed.mark)
        return len(wanted)


def summary(journey: Journey, now_ns: int, running_ns: int = RUNNING_NS, idle_ns: int = IDLE_NS) -> RequirementSummary:
    """The row of a journey."""
    due = {State.RUNNING: journey.end_ns + running_ns + 1, State.WAITING: journey.end_ns + idle_ns}
    outcomes = {visit.stage: visit.outcome for visit in journey.visits}
    return RequirementSummary(
        project=journey.project,
        requirement=journey.requirement,
        title=journey.title,
        requirement_class=journey.requirement_class,
        state=journey.state,
        stage=journey.stage,
        stages=tuple(
            StageDot(one.stage, outcomes[one.stage], one.active_ns, one.waiting_ns)
            for one in journey.stages
            if one.stage in outcomes
        ),
        start_ns=journey.start_ns,
        end_ns=journey.end_ns,
        lead_ns=journey.lead_ns,
        active_ns=journey.active_ns,
        reruns=sum(visit.is_rework for visit in journey.visits),
        errors=sum(journey.errors.values()),
        cost_usd=journey.cost_usd,
        tokens=sum(sum(use.tokens.values()) for use in journey.usage),
        made_ns=now_ns,
        due_ns=due.get(journey.state, 0),
    )
