"""A flow over what the native aggregator hands out: from its rows to events and gauges, kept across restarts."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from otel_pipeline.journeys.flow import Flow, FlowRules, StageRun
from otel_pipeline.journeys.flow_batches import event_batch, gauge_batch
from otel_pipeline.journeys.flow_store import FlowStore
from otel_pipeline.pdata import Batch
from otel_pipeline.semconv import Registry

__all__ = ["Follower", "flow_rules"]

DEPLOYMENT = "sdlc.deployment."
"""What the names of events begin with that tell of deployments."""
GAUGES_EVERY_NS = 60 * 10**9

Row = tuple[int, float, Sequence[str]]
"""Time in Unix nanoseconds, value, labels; see `semconv.rows`."""


def flow_rules(registry: Registry) -> FlowRules:
    """What the semantic-convention files say of stages and of classes of requirements."""
    stages = registry.stages
    return FlowRules(
        order={stage.value: position for position, stage in enumerate(stages)},
        milestones={one.value: one.stage.milestone for one in stages if one.stage and one.stage.milestone},
        repairing=frozenset(
            one.value for one in registry.members("sdlc.requirement.class") if one.properties.get("repairs") == "true"
        ),
    )


class Follower:
    """Feeds a `Flow` and says what came of it. `path` is the file that it is kept in. Without `tells_requirements` it
    only says what happened to deployments: somebody else tells of requirements."""

    def __init__(
        self,
        rules: FlowRules,
        path: Path,
        log: logging.Logger,
        *,
        idle_ns: int,
        limit: int,
        tells_requirements: bool = True,
    ) -> None:
        self.flow = Flow(rules, idle_ns=idle_ns, limit=limit)
        self._tells_requirements = tells_requirements
        self._store = FlowStore(path, log)
        self._gauges_due_ns = 0

    def load(self) -> None:
        """Goes on where the file ends."""
        self._store.load(self.flow)

    def take(self, rows: Mapping[str, Sequence[Row]]) -> None:
        """Takes in rows of the plans `stage_runs` and `requirement_costs`."""
        self.flow.runs(_run(*row) for row in rows["stage_runs"])
        for _, usd, (project, requirement) in rows["requirement_costs"]:
            if requirement:
                self.flow.cost(project, requirement, usd)

    def tell(self, now_unix_ns: int) -> list[Batch]:
        """Events since the last call, gauges once a minute; then saves."""
        batches: list[Batch] = []
        if now_unix_ns >= self._gauges_due_ns:
            self._gauges_due_ns = now_unix_ns + GAUGES_EVERY_NS
            gauges = self.flow.gauges(now_unix_ns)
            if gauges and self._tells_requirements:
                batches.append(gauge_batch(gauges, now_unix_ns))
        events = self.flow.events()
        if not self._tells_requirements:
            events = [event for event in events if event.name.startswith(DEPLOYMENT)]
        if events:
            batches.append(event_batch(events))
        self._store.save(self.flow)
        return batches


def _run(end_unix_ns: int, duration_ns: float, labels: Sequence[str]) -> StageRun:
    project, requirement, stage, outcome, requirement_class, environment, rollback_reason = labels
    return StageRun(
        project=project,
        requirement=requirement,
        stage=stage,
        outcome=outcome,
        requirement_class=requirement_class,
        environment=environment,
        rollback_reason=rollback_reason,
        start_unix_ns=end_unix_ns - round(duration_ns),
        end_unix_ns=end_unix_ns,
    )
