"""What happened to a requirement, as its assembled journey tells it: the events of `semconv/registry/flow.yaml` that
metrics are derived from. Every event has a name of its own within its requirement, so that it is told once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from otel_pipeline.journeys.flow import PRODUCTION, Event
from otel_pipeline.journeys.model import Journey, State, Visit
from otel_pipeline.journeys.rules import AssemblyRules

__all__ = ["Told", "journey_events"]

NANOSECONDS = 1_000_000_000
ENVIRONMENT = "deployment.environment.name"


@dataclass(frozen=True, slots=True)
class Told:
    """An event and its name."""

    name: str
    """`entered/coding/2`, `ended/success`, `deployed`."""
    event: Event


def journey_events(journey: Journey, rules: AssemblyRules) -> tuple[Told, ...]:
    """All events of a journey so far.

    *Entered*: each stay in a stage, by stage and number: late evidence that splits or joins stays adds those that were
    not there before, and takes none back. It waited for as long as the gaps before it last, since the stay before
    began; and came back where the stay is rework. *Ended*: once for acceptance and once for any other end: who was
    given up may still be accepted. Lead time, share of work and cost are those of the journey: waiting in, parallel
    work once, shared work by its share. *Deployed*: the first success in production, from the start of the first run of
    a stage that commits; what commits later does not count.
    """
    return (*_entered(journey), *_deployed(journey, rules), *_ended(journey))


def _entered(journey: Journey) -> Iterator[Told]:
    counts: dict[str, int] = {}
    before: Visit | None = None
    for visit in journey.visits:
        number = counts[visit.stage] = counts.get(visit.stage, 0) + 1
        facts: dict[str, str | float | bool] = {"sdlc.stage.name": visit.stage}
        if before is not None:
            facts["sdlc.stage.wait"] = _waited(journey, before, visit) / NANOSECONDS
            facts["sdlc.stage.reentered"] = visit.is_rework
        before = visit
        yield _told(journey, f"entered/{visit.stage}/{number}", "sdlc.stage.entered", visit.start_ns, facts)


def _waited(journey: Journey, before: Visit, visit: Visit) -> int:
    gaps = (gap for gap in journey.gaps if before.start_ns <= gap.start_ns < visit.start_ns)
    return sum(gap.end_ns - gap.start_ns for gap in gaps if gap.before == visit.stage)


def _deployed(journey: Journey, rules: AssemblyRules) -> Iterator[Told]:
    commits = [run.start_ns for run in journey.runs if rules.milestones.get(run.stage) == "commit" and run.is_stage]
    ends = [
        run.end_ns
        for run in journey.runs
        if rules.milestones.get(run.stage) == "deployment"
        and run.is_stage
        and run.outcome == "success"
        and run.facts.get(ENVIRONMENT) == PRODUCTION
    ]
    if ends and commits and min(commits) <= min(ends):
        facts = {"sdlc.change.lead_time": (min(ends) - min(commits)) / NANOSECONDS}
        yield _told(journey, "deployed", "sdlc.change.deployed", min(ends), facts)


def _ended(journey: Journey) -> Iterator[Told]:
    if journey.state not in (State.ACCEPTED, State.CANCELLED):
        return
    outcome = "success" if journey.state is State.ACCEPTED else "cancelled"
    facts: dict[str, str | float | bool] = {
        "sdlc.outcome": outcome,
        "sdlc.requirement.class": journey.requirement_class,
        "sdlc.requirement.lead_time": journey.lead_ns / NANOSECONDS,
        "sdlc.requirement.cost_usd": journey.cost_usd,
    }
    if journey.lead_ns:
        facts["sdlc.requirement.active_time_ratio"] = journey.flow_efficiency
    end_ns = journey.start_ns + journey.lead_ns
    yield _told(journey, f"ended/{outcome}", "sdlc.requirement.ended", end_ns, facts)


def _told(journey: Journey, name: str, event: str, time_ns: int, facts: Mapping[str, str | float | bool]) -> Told:
    ids = {"sdlc.project.id": journey.project, "sdlc.requirement.id": journey.requirement}
    known = {key: value for key, value in (ids | dict(facts)).items() if value != ""}
    return Told(name, Event(event, time_ns, known))
