"""From the runs of a requirement to its journey: stays in stages, waiting, the critical path, and what it all took.

A run counts in the lead time whether it has a stage or not; one that waits itself (`sdlc.wait.reason` in
catalogue/identities.yaml) counts as no work. The active time is the union of all work, up to acceptance: parallel work
counts once, as in the flow framework's flow efficiency.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from otel_pipeline.journeys.clocks import mended
from otel_pipeline.journeys.intervals import Interval, critical_path, holes, length, union
from otel_pipeline.journeys.model import Gap, Journey, Note, Run, Segment, StageTotal, State, TraceLine, Usage, Visit
from otel_pipeline.journeys.resolve import OwnedRun, Resolution
from otel_pipeline.journeys.rules import AssemblyRules
from otel_pipeline.semconv import fold

__all__ = ["assemble"]

FAILURE = "failure"
SUCCESS = "success"
TITLE = "sdlc.requirement.title"
CLASS = "sdlc.requirement.class"
WAIT = "sdlc.wait.reason"


def assemble(resolution: Resolution, rules: AssemblyRules, now_ns: int) -> Journey | None:
    """The journey as of now; None where nothing was done for the requirement, as far as is known."""
    if not resolution.runs:
        return None
    return _Assembly(resolution, rules, now_ns).journey()


@dataclass(frozen=True, slots=True)
class _End:
    state: State
    time_ns: int
    """Up to which the lead time counts."""


class _Assembly:
    def __init__(self, resolution: Resolution, rules: AssemblyRules, now_ns: int) -> None:
        self._resolution = resolution
        self._rules = rules
        self._now_ns = now_ns
        runs, clock_notes = mended([one.run for one in resolution.runs])
        pairs = zip(resolution.runs, runs, strict=True)
        self._owned = tuple(sorted((replace(one, run=run) for one, run in pairs), key=_by_start))
        self._runs = tuple(one.run for one in self._owned)
        self._shares = tuple(1 / (1 + len(one.others)) for one in self._owned)
        self._notes = [*resolution.notes, *clock_notes]
        self._waits = {at: reason for at, run in enumerate(self._runs) if (reason := self._is_wait(run))}
        self._start = min(run.start_ns for run in self._runs)
        self._last = max(run.end_ns for run in self._runs)
        self._end = self._ended()

    def journey(self) -> Journey:
        start, end = self._start, self._end.time_ns
        visits = self._visits()
        work = self._work(range(len(self._runs)))
        gaps = self._gaps(holes(work, start, end))
        usage = _added(self._uses(range(len(self._runs))))
        self._note_missing()
        self._note_rest()
        return Journey(
            project=self._resolution.requirement.scope,
            requirement=self._resolution.requirement.value,
            title=self._fact(TITLE),
            requirement_class=self._rules.requirement_class(self._fact(CLASS)),
            state=self._end.state,
            stage=visits[-1].stage if visits else "",
            start_ns=start,
            end_ns=self._last,
            lead_ns=max(0, end - start),
            active_ns=length(work),
            runs=self._runs,
            shares=self._shares,
            visits=visits,
            gaps=gaps,
            critical_path=self._critical_path(),
            stages=self._stages(visits, gaps),
            entities=self._resolution.entities,
            traces=self._traces(),
            usage=usage,
            errors=_errors(self._runs),
            interventions=sum(run.interventions for run in self._runs),
            notes=tuple(self._notes),
        )

    # --- state

    def _ended(self) -> _End:
        """Accepted by the first successful run of an acceptance stage (`milestone: acceptance`), or when a tracker
        tells it first. Else cancelled when a tracker tells any other end, last. Else cancelled after the idle time, at
        the end of its last run. Else it is open, and the lead time goes on."""
        told = self._resolution.endings
        accepted = [edge.first_ns for edge in told if edge.product.value == SUCCESS]
        accepted += [
            run.end_ns
            for run in self._runs
            if run.is_stage and run.outcome == SUCCESS and self._rules.milestones.get(run.stage) == "acceptance"
        ]
        if accepted:
            return _End(State.ACCEPTED, max(self._start, min(accepted)))
        if told:
            return _End(State.CANCELLED, max(self._start, *(edge.last_ns for edge in told)))
        if self._now_ns - self._last >= self._rules.idle_ns:
            return _End(State.CANCELLED, self._last)
        running = self._now_ns - self._last <= self._rules.running_ns
        return _End(State.RUNNING if running else State.WAITING, max(self._now_ns, self._last))

    # --- stays in stages

    def _visits(self) -> tuple[Visit, ...]:
        """A stay begins where a run of another stage than before begins. It is rework where the requirement was in the
        stage before and comes back from a later one that does not go on meanwhile: unit tests inside a build are none
        (`journeys.flow` counts the same). What is no run of its stage but a part of one belongs to the stay in that
        stage that began last."""
        order = self._rules.order
        stays: list[tuple[str, bool, list[int]]] = []
        latest: dict[str, list[int]] = {}
        parts: list[int] = []
        for at in sorted(self._working(), key=lambda at: (self._runs[at].start_ns, self._runs[at].end_ns)):
            run = self._runs[at]
            if not run.stage:
                continue
            if not run.is_stage:
                parts.append(at)
                continue
            if not stays or stays[-1][0] != run.stage:
                back = bool(stays) and order.get(stays[-1][0], -1) > order.get(run.stage, len(order))
                within = bool(stays) and any(self._runs[one].end_ns >= run.end_ns for one in stays[-1][2])
                stays.append((run.stage, back and run.stage in latest and not within, []))
                latest[run.stage] = stays[-1][2]
            stays[-1][2].append(at)
        for at in parts:
            self._put(at, [members for stage, _, members in stays if stage == self._runs[at].stage])
        return tuple(self._visit(stage, is_rework, sorted(members)) for stage, is_rework, members in stays)

    def _put(self, at: int, stays: Sequence[list[int]]) -> None:
        begun = [members for members in stays if self._runs[members[0]].start_ns <= self._runs[at].start_ns]
        if stays:
            (begun or stays[:1])[-1].append(at)

    def _visit(self, stage: str, is_rework: bool, members: list[int]) -> Visit:
        runs = [self._runs[at] for at in members]
        last = max((run for run in runs if run.is_stage), key=lambda run: (run.end_ns, run.start_ns))
        end = max(run.end_ns for run in runs)
        return Visit(
            stage=stage,
            start_ns=min(run.start_ns for run in runs),
            end_ns=end,
            runs=tuple(members),
            outcome=last.outcome,
            is_rework=is_rework,
            is_running=self._end.state == State.RUNNING and self._now_ns - end <= self._rules.running_ns,
        )

    # --- time

    def _work(self, places: Iterable[int]) -> list[Interval]:
        """When the runs were under way, up to the end of the requirement, as disjoint intervals."""
        return union(self._span(at) for at in places if at not in self._waits)

    def _span(self, at: int) -> Interval:
        run, end = self._runs[at], self._end.time_ns
        return min(run.start_ns, end), min(run.end_ns, end)

    def _critical_path(self) -> tuple[Segment, ...]:
        places = self._working()
        by_id = {(self._runs[at].trace_id, self._runs[at].span_id): index for index, at in enumerate(places)}
        parents = [by_id.get((self._runs[at].trace_id, self._runs[at].parent)) for at in places]
        path = critical_path([self._span(at) for at in places], parents, self._start, self._end.time_ns)
        return tuple(one if one.run is None else replace(one, run=places[one.run]) for one in path)

    def _is_wait(self, run: Run) -> str:
        """The reason for which a run waits all the time. Only a single span may be that: else the fact may be of a
        small part of it."""
        if run.spans > 1:
            return ""
        during = self._rules.waits.during
        found = (during.get((key, fold(text)), "") for key, text in run.facts.items())
        return next(filter(None, found), "")

    def _gaps(self, free: Sequence[Interval]) -> tuple[Gap, ...]:
        """Holes in the work. What follows the last run of a requirement that is under way is none: nobody knows yet."""
        if free and self._end.state == State.RUNNING and free[-1][1] == self._end.time_ns:
            free = free[:-1]
        working = self._working()
        ends = sorted((self._runs[at].end_ns, self._runs[at].start_ns, at) for at in working)
        following = [""] * (len(working) + 1)
        for place in range(len(working) - 1, -1, -1):
            following[place] = self._runs[working[place]].stage or following[place + 1]
        found: list[Gap] = []
        lasting = {key for key, _ in self._rules.waits.until_changed}
        state: dict[str, str] = {}
        ended = begun = 0
        stage = ""
        last: int | None = None
        for start, end in free:
            while ended < len(ends) and ends[ended][0] <= start:
                last = ends[ended][2]
                stage = self._runs[last].stage or stage
                ended += 1
            while begun < len(working) and self._runs[working[begun]].start_ns < end:
                state.update((key, text) for key, text in self._runs[working[begun]].facts.items() if key in lasting)
                begun += 1
            found.append(Gap(start, end, stage, following[begun], self._reason(start, end, last, state)))
        return tuple(found)

    def _working(self) -> list[int]:
        return [at for at in range(len(self._runs)) if at not in self._waits]

    def _reason(self, start: int, end: int, last: int | None, state: Mapping[str, str]) -> str:
        """What waited then for the longest time; else what the work before it ended with; else what still lasts."""
        waited: dict[str, int] = {}
        for at, reason in self._waits.items():
            overlap = min(end, self._runs[at].end_ns) - max(start, self._runs[at].start_ns)
            if overlap > 0:
                waited[reason] = waited.get(reason, 0) + overlap
        if waited:
            return max(sorted(waited), key=lambda reason: waited[reason])
        facts = self._runs[last].facts if last is not None else {}
        told = facts.get(WAIT, "")
        if told:
            return self._rules.waits.during.get((WAIT, fold(told)), fold(told))
        waits = self._rules.waits
        found = [waits.after.get((key, fold(text)), "") for key, text in facts.items()]
        found += [waits.until_changed.get((key, fold(text)), "") for key, text in state.items()]
        return next(filter(None, found), "")

    # --- totals

    def _stages(self, visits: Sequence[Visit], gaps: Sequence[Gap]) -> tuple[StageTotal, ...]:
        """What was outside of any stage comes last, where there is such."""
        places: dict[str, list[int]] = {}
        for at, run in enumerate(self._runs):
            places.setdefault(run.stage, []).append(at)
        order = self._rules.order
        names = sorted(places, key=lambda stage: (not stage, order.get(stage, len(order)), stage))
        return tuple(self._total(stage, places[stage], visits, gaps) for stage in names)

    def _total(self, stage: str, places: Sequence[int], visits: Sequence[Visit], gaps: Sequence[Gap]) -> StageTotal:
        runs = [self._runs[at] for at in places]
        counted = [self._runs[at] for at in places if self._runs[at].is_stage and at not in self._waits]
        return StageTotal(
            stage=stage,
            visits=sum(visit.stage == stage for visit in visits),
            runs=len(counted),
            failed_runs=sum(run.outcome == FAILURE for run in counted),
            active_ns=length(self._work(places)),
            waiting_ns=sum(gap.end_ns - gap.start_ns for gap in gaps if stage and gap.before == stage),
            errors=_errors(runs),
            usage=_added(self._uses(places)),
            interventions=sum(run.interventions for run in runs),
        )

    def _uses(self, places: Iterable[int]) -> Iterable[tuple[Usage, float]]:
        return ((use, self._shares[at]) for at in places for use in self._runs[at].usage)

    def _traces(self) -> tuple[TraceLine, ...]:
        """By start."""
        members: dict[str, list[OwnedRun]] = {}
        for one in self._owned:
            members.setdefault(one.run.trace_id, []).append(one)
        lines = []
        for trace_id, owned in members.items():
            ids = {one.run.span_id for one in owned}
            top = next((one.run for one in owned if one.run.parent not in ids), owned[0].run)
            best = min(owned, key=lambda one: one.rank)
            lines.append(
                TraceLine(
                    trace_id=trace_id,
                    name=top.name,
                    service=top.service,
                    start_ns=min(one.run.start_ns for one in owned),
                    end_ns=max(one.run.end_ns for one in owned),
                    spans=sum(one.run.spans for one in owned),
                    errors=sum(error.count for one in owned for error in one.run.errors),
                    because=best.because,
                    shared_with=tuple(sorted({other.value for one in owned for other in one.others})),
                )
            )
        return tuple(sorted(lines, key=lambda line: (line.start_ns, line.trace_id)))

    def _fact(self, key: str) -> str:
        """What was told last; runs that name the requirement and are not shared are believed first."""
        told = [one for one in self._owned if one.run.facts.get(key)]
        best = max(told, key=lambda one: (not one.others, -one.rank, one.run.start_ns), default=None)
        return best.run.facts[key] if best else ""

    # --- notes

    def _note_missing(self) -> None:
        """Stages before the one that was reached farthest, after the first that was seen, of which nothing was heard;
        those that the project expects, where its file tells them, from the first on."""
        order = self._rules.order
        seen = {run.stage for run in self._runs if run.stage}
        places = sorted(order[stage] for stage in seen if stage in order)
        if not places:
            return
        expected = self._rules.expected.get(self._resolution.requirement.scope)
        first = places[0] if expected is None else -1
        for stage, place in order.items():
            wanted = first < place < places[-1] and (expected is None or stage in expected)
            if wanted and stage not in seen:
                self._notes.append(Note("missing_stage", f"no telemetry for {stage}", stage))

    def _note_rest(self) -> None:
        unpriced = {
            use.model for run in self._runs for use in run.usage if use.cost_usd is None and any(use.tokens.values())
        }
        for model in sorted(unpriced):
            text = f"no price is known for some requests to {model or 'a model without a name'}"
            self._notes.append(Note("missing_price", text, model))
        if self._end.state == State.ACCEPTED and self._last > self._end.time_ns:
            text = "work went on after the requirement was accepted; it is shown, and not in the lead time"
            self._notes.append(Note("after_acceptance", text))
        if self._end.state == State.CANCELLED and self._last > self._end.time_ns:
            text = "work went on after the requirement was cancelled; it is shown, and not in the lead time"
            self._notes.append(Note("after_cancellation", text))


def _by_start(one: OwnedRun) -> tuple[int, int, str, str]:
    """A run that takes longer comes before what is inside it."""
    return one.run.start_ns, -one.run.end_ns, one.run.trace_id, one.run.span_id


def _errors(runs: Iterable[Run]) -> Mapping[str, int]:
    """By type, the most frequent first; what is shared counts whole."""
    found: dict[str, int] = {}
    for run in runs:
        for error in run.errors:
            found[error.type] = found.get(error.type, 0) + error.count
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


def _added(uses: Iterable[tuple[Usage, float]]) -> tuple[Usage, ...]:
    """By model; what is shared counts by its share, to the nearest token. Unknown costs add nothing to known ones."""
    tokens: dict[str, dict[str, float]] = {}
    costs: dict[str, float | None] = {}
    for use, share in uses:
        mine = tokens.setdefault(use.model, {})
        for kind, count in use.tokens.items():
            mine[kind] = mine.get(kind, 0.0) + count * share
        cost = costs.setdefault(use.model, None)
        if use.cost_usd is not None:
            costs[use.model] = (cost or 0.0) + use.cost_usd * share
    return tuple(
        Usage(model, {kind: round(count) for kind, count in tokens[model].items()}, costs[model])
        for model in sorted(tokens)
    )
