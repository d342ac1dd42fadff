"""The receiver `journeys`: what it tells is what the assembled journeys say, each thing once."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from pydantic import ValidationError

from otel_pipeline.component import Health
from otel_pipeline.connectors.stage_metrics import StageMetrics, StageMetricsConfig
from otel_pipeline.errors import RetryableError
from otel_pipeline.journeys.journey_trace import journey_trace_id
from otel_pipeline.journeys.model import Journey, State
from otel_pipeline.journeys.queries import Journeys as Answers
from otel_pipeline.journeys.sqlite import SqliteStore, set_aside
from otel_pipeline.pdata import Batch, Signal, to_proto
from otel_pipeline.receivers.journeys import Journeys, JourneysReceiverConfig
from otel_pipeline.testing import FakeTime, Sink, make_settings, until
from tests.journeys.simulated import REGISTRY, all_journeys, end_ns, fill, open_store, sent
from tests.journeys.stores import extracted, work
from tests.oracle.stages import points

SECOND = 10**9
ENDED = (State.ACCEPTED, State.CANCELLED)


class Gateway:
    """A store that is written, the receiver beside it, and what it hands on."""

    def __init__(self, folder: Path, signals: Sequence[Signal] = tuple(Signal)) -> None:
        self.folder = folder
        self.time = FakeTime(unix_ns=end_ns())
        self.sinks = {signal: Sink() for signal in signals}
        self.reports: list[tuple[Health, str]] = []
        self.store: SqliteStore | None = None

    def open(self) -> SqliteStore:
        self.store = open_store(self.folder / "journeys" / "journeys.sqlite")
        return self.store

    def write(self, batches: Sequence[Batch]) -> list[Journey]:
        """Also makes the list, and lets the time pass that a receiver waits."""
        store = self.store or self.open()
        fill(store, batches)
        journeys = all_journeys(Answers(store, REGISTRY), self.time.unix_ns)
        self.time.advance(61)
        return journeys

    def receiver(self, **options: Any) -> Journeys:
        settings = make_settings("journeys", time=self.time, data_dir=self.folder)
        settings.report = lambda health, reason: self.reports.append((health, reason))
        return Journeys(JourneysReceiverConfig(**options), settings, self.sinks)

    async def look(self, **options: Any) -> None:
        """One look of a receiver that has just been started."""
        looks = 0
        receiver = self.receiver(**options)

        async def counted() -> None:
            nonlocal looks
            try:
                await look()
            finally:
                looks += 1

        look, receiver._look = receiver._look, counted  # type: ignore[method-assign]
        await receiver.start()
        await until(lambda: looks, seconds=60)
        await receiver.shutdown()

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        return [(record.event_name, told(record)) for record in self.records()]

    def records(self) -> list[LogRecord]:
        found: list[LogRecord] = []
        for batch in self.sinks[Signal.LOGS].batches:
            request = to_proto(batch)
            assert isinstance(request, ExportLogsServiceRequest)
            found += [
                record for one in request.resource_logs for scope in one.scope_logs for record in scope.log_records
            ]
        return found

    def close(self) -> None:
        if self.store is not None:
            self.store.close()


@pytest.fixture
def gateway(tmp_path: Path) -> Any:
    made = Gateway(tmp_path)
    yield made
    made.close()


def told(record: LogRecord) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value") for one in record.attributes}


def visits(journeys: Sequence[Journey]) -> Counter[tuple[str, str]]:
    return Counter((one.requirement, visit.stage) for one in journeys for visit in one.visits)


def entered(events: Sequence[tuple[str, Mapping[str, Any]]]) -> Counter[tuple[str, str]]:
    return Counter(
        (facts["sdlc.requirement.id"], facts["sdlc.stage.name"])
        for name, facts in events
        if name == "sdlc.stage.entered"
    )


async def test_metrics_agree_with_the_journeys(gateway: Gateway, tmp_path: Path) -> None:
    """Lead time, share of work, cost, rework and waiting count once, though the spans come to the connector as well."""
    journeys = gateway.write(sent())
    await gateway.look()
    settings = make_settings("stage_metrics", time=gateway.time, data_dir=tmp_path / "other")
    connector = StageMetrics(StageMetricsConfig(requirements="journeys"), settings)
    await connector.start()
    for batch in (*sent(), *gateway.sinks[Signal.LOGS].batches, *gateway.sinks[Signal.METRICS].batches):
        connector.process(batch)
    connector.draining = True
    totals: dict[str, list[float]] = {}
    for (name, _), point in points(connector.flush(gateway.time.unix_ns)).items():
        total = totals.setdefault(name, [0, 0.0])
        total[0] += point.count
        total[1] += point.sum
    ended = [one for one in journeys if one.state in ENDED]
    assert totals["sdlc.requirement.lead_time"] == [
        *(len(ended), pytest.approx(sum(one.lead_ns for one in ended) / SECOND)),
    ]
    assert totals["sdlc.requirement.active_time_ratio"][1] == pytest.approx(sum(one.flow_efficiency for one in ended))
    assert totals["sdlc.requirement.cost_usd"][1] == pytest.approx(sum(one.cost_usd for one in ended))
    assert totals["sdlc.requirement.rework"][0] == sum(visit.is_rework for one in journeys for visit in one.visits)
    assert totals["sdlc.stage.wait"][0] == sum(len(one.visits) - 1 for one in journeys)
    assert totals["sdlc.change.lead_time"][0] == sum(
        any(
            run.stage == "deployment" and run.is_stage and run.outcome == "success"
            and run.facts.get("deployment.environment.name") == "production"
            for run in one.runs
        )
        for one in journeys
    )  # fmt: skip


async def test_gauges_are_the_open_requirements(gateway: Gateway) -> None:
    """By project and stage entered last, with the age of the oldest."""
    journeys = gateway.write(sent()[: len(sent()) // 2])
    await gateway.look()
    (batch,) = gateway.sinks[Signal.METRICS].batches
    request: Any = to_proto(batch)
    found = {
        (metric.name, *(one.value.string_value for one in point.attributes)): point.as_double
        for metric in request.resource_metrics[0].scope_metrics[0].metrics
        for point in metric.gauge.data_points
    }
    now = gateway.time.unix_ns
    for (project, stage), count in Counter(
        (one.project, one.stage) for one in journeys if one.state not in ENDED
    ).items():
        starts = [
            one.start_ns for one in journeys if one.state not in ENDED and (one.project, one.stage) == (project, stage)
        ]
        assert found["sdlc.requirements.in_stage", project, stage] == count
        assert found["sdlc.requirement.oldest_age", project, stage] == pytest.approx((now - min(starts)) / SECOND)


async def test_late_evidence_counts_when_it_comes_and_nothing_twice(gateway: Gateway) -> None:
    """Over several starts: after all, each stay was told, and each end; nothing was taken back."""
    batches = sent()
    for part in (batches[: len(batches) // 3], batches[len(batches) // 3 :], ()):
        journeys = gateway.write(part)
        await gateway.look()
        assert not visits(journeys) - entered(gateway.events())
    events = gateway.events()
    await gateway.look()
    assert gateway.events() == events
    ends = Counter(facts["sdlc.requirement.id"] for name, facts in events if name == "sdlc.requirement.ended")
    assert ends == Counter(one.requirement for one in journeys if one.state in ENDED)


async def test_each_ended_journey_is_one_trace(gateway: Gateway) -> None:
    """With the ids that follow from project and requirement, and with all of its runs; open ones have none yet."""
    journeys = gateway.write(sent())
    for _ in range(2):
        await gateway.look()
    spans = Counter(span.trace_id.hex() for span in gateway.sinks[Signal.TRACES].spans())
    assert spans == {
        journey_trace_id(one.project, one.requirement): 1 + len(one.runs) for one in journeys if one.state in ENDED
    }


async def test_what_is_refused_is_told_again(gateway: Gateway) -> None:
    """And what was taken in the meantime is not."""
    gateway.sinks[Signal.TRACES].answers.append(RetryableError("full"))
    gateway.write([work(1, requirement="REQ-1", sdlc__stage__name="ui_acceptance")])
    await gateway.look()
    assert gateway.reports == [(Health.RECOVERABLE_ERROR, "what is new in journeys was refused: full")]
    await gateway.look()
    names = [name for name, _ in gateway.events()]
    assert names == ["sdlc.stage.entered", "sdlc.requirement.ended"]
    assert len({span.trace_id for span in gateway.sinks[Signal.TRACES].spans()}) == 1


async def test_what_is_still_coming_is_not_told(gateway: Gateway) -> None:
    """Not before nothing new came of it for a while."""
    gateway.write([work(1, requirement="REQ-1", sdlc__stage__name="coding")])
    await gateway.look(decision_wait="2m")
    assert gateway.events() == []
    gateway.time.advance(60)
    await gateway.look(decision_wait="2m")
    assert gateway.events()[0][0] == "sdlc.stage.entered"


async def test_a_store_that_is_not_there_yet_is_waited_for(gateway: Gateway) -> None:
    """It is told, and so is that it came."""
    receiver = gateway.receiver(interval="10ms")
    await receiver.start()
    await until(lambda: gateway.reports, seconds=60)
    ((health, reason),) = gateway.reports
    assert health == Health.RECOVERABLE_ERROR
    assert "no such file yet" in reason
    gateway.open().write([extracted(work(1, requirement="REQ-1"))])
    await until(lambda: gateway.reports[1:] == [(Health.OK, "")], seconds=60)
    await receiver.shutdown()


async def test_a_file_that_was_set_aside_is_left(gateway: Gateway) -> None:
    """What comes into the new one is told."""
    gateway.write([work(1, requirement="REQ-1", sdlc__stage__name="coding")])
    receiver = gateway.receiver(interval="10ms")
    await receiver.start()
    await until(lambda: entered(gateway.events())["REQ-1", "coding"], seconds=60)
    gateway.close()
    set_aside(gateway.folder / "journeys" / "journeys.sqlite", 1)
    gateway.open()
    gateway.write([work(2, requirement="REQ-2", sdlc__stage__name="coding")])
    await until(lambda: entered(gateway.events())["REQ-2", "coding"], seconds=60)
    await receiver.shutdown()
    assert entered(gateway.events()).total() == 2


def test_a_database_needs_its_address() -> None:
    """And only a database takes one."""
    with pytest.raises(ValidationError, match="needs a dsn"):
        JourneysReceiverConfig(storage="postgresql")
