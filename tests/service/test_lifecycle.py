"""Reload: what is kept, what is replaced, and what happens when the new configuration is no good."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from otel_pipeline.component import Component
from otel_pipeline.config.model import Config
from otel_pipeline.errors import ConfigError, Problem, RetryableError, SemconvError, StartError
from otel_pipeline.service.lifecycle import Service
from tests.service.fakes import (
    EVENTS,
    FakeConnector,
    FakeExporter,
    FakeProcessor,
    FakeReceiver,
    HoldingProcessor,
    component,
    eventually,
    make_batch,
    make_config,
    missing,
)


@pytest.fixture(autouse=True)
def _no_events() -> Iterator[None]:
    EVENTS.clear()
    yield
    EVENTS.clear()


PIPELINES = {"traces": ("in", "one", "forward kept"), "traces/back": ("forward", "", "changed")}


async def started(config: Config) -> Service:
    service = Service(config)
    await service.start()
    EVENTS.clear()
    return service


def raising(error: Exception) -> Callable[[], Config]:
    def load() -> Config:
        raise error

    return load


async def test_components_that_stay_the_same_live_through_a_reload() -> None:
    """Receivers, connectors, exporters and extensions with equal options are neither stopped nor started; the others are
    stopped before their successors start."""
    service = await started(make_config(PIPELINES, extensions="health"))
    ids = ("in", "forward", "kept", "health", "one", "changed")
    old = {id_: component(service, id_) for id_ in ids}
    await component(service, "in").send(make_batch(2))
    assert await service.reload(
        lambda: make_config(PIPELINES, extensions="health", options={"changed": {"setting": "x"}})
    )
    assert [id_ for id_ in ids if component(service, id_) is not old[id_]] == ["one", "changed"]
    assert EVENTS == ["flush one", "shutdown one", "shutdown changed", "start changed", "start one"]
    await component(service, "in").send(make_batch(3))
    assert (component(service, "kept").items, component(service, "changed").items) == (5, 3)
    await service.shutdown()


async def test_counts_go_on_after_a_reload() -> None:
    """Series do not start again at 0, neither of kept nor of replaced components, and the balance holds."""
    service = await started(make_config(PIPELINES))
    await component(service, "in").send(make_batch(2))
    await service.reload(lambda: make_config(PIPELINES, options={"in": {"setting": "x"}, "changed": {"setting": "x"}}))
    await component(service, "in").send(make_batch(3))
    rows = {row.id: row.counts for row in service.graph.rows()}
    assert [rows[id_].consumed for id_ in ("in", "one", "forward", "kept", "changed")] == [5] * 5
    assert missing(service) == {}
    page = service.telemetry.exposition(openmetrics=False).decode()
    assert 'otelcol_exporter_sent_spans_total{exporter="changed"} 5.0' in page
    assert 'otel_pipeline_reloads_total{outcome="success"} 1.0' in page
    await service.shutdown()


async def test_series_of_components_that_are_gone_leave_the_page() -> None:
    """A removed exporter has no series after the reload, neither counts nor gauges of its own."""

    class Measured(FakeExporter):
        async def start(self) -> None:
            self.settings.telemetry.gauge("queue_size", lambda: {(self.settings.id,): 1}, labels=("exporter",))

    classes: dict[str, type[Component]] = {"left": Measured, "right": Measured}
    service = await started(make_config({"traces": ("in", "", "left right")}, classes=classes))
    page = service.telemetry.exposition(openmetrics=False)
    assert b'{exporter="left"}' in page
    assert page.count(b"queue_size{") == 2
    await service.reload(lambda: make_config({"traces": ("in", "", "right")}, classes=classes))
    page = service.telemetry.exposition(openmetrics=False)
    assert b'exporter="left"' not in page
    assert page.count(b"queue_size{") == 1
    await service.shutdown()


@pytest.mark.parametrize(
    "error",
    [
        ConfigError([Problem("a", "is wrong"), Problem("b", "is wrong too")]),
        SemconvError([Problem("", "one", file="x.yaml", line=3), Problem("b", "is wrong too")]),
    ],
)
async def test_a_configuration_with_problems_changes_nothing(error: ConfigError) -> None:
    """Every problem is shown, and the old components go on without a stop."""
    service = await started(make_config(PIPELINES))
    assert not await service.reload(raising(error))
    assert EVENTS == []
    await component(service, "in").send(make_batch(2))
    assert component(service, "kept").items == 2
    reloads = service.describe()["reloads"]
    assert (reloads["failed"], len(reloads["problems"])) == (1, 2)
    assert service.unready() == []
    await service.shutdown()


async def test_a_component_that_cannot_be_built_changes_nothing() -> None:
    """Files that a constructor reads are checked before anything is stopped."""

    class NeedsFiles(FakeProcessor):
        def __init__(self, *_arguments: object) -> None:
            raise SemconvError([Problem("groups", "no such attribute", file="registry.yaml", line=7)])

    service = await started(make_config(PIPELINES))
    assert not await service.reload(lambda: make_config(PIPELINES, classes={"one": NeedsFiles}))
    assert EVENTS == []
    assert service.describe()["reloads"]["problems"] == ["registry.yaml:7: groups: no such attribute"]
    await service.shutdown()


async def test_the_old_configuration_comes_back_when_the_new_one_does_not_start() -> None:
    """A port in use: what was replaced is started again from the old options, and nothing kept was touched."""
    service = await started(make_config(PIPELINES))
    await component(service, "in").send(make_batch(2))
    kept = component(service, "kept")
    bad = make_config(PIPELINES, options={"changed": {"fail_start": True}})
    assert not await service.reload(lambda: bad)
    assert component(service, "kept") is kept
    await component(service, "in").send(make_batch(3))
    assert kept.items == 5
    rows = {row.id: row.counts for row in service.graph.rows()}
    assert rows["changed"].consumed == 5
    assert missing(service) == {}
    assert "port 4317 is in use" in service.describe()["reloads"]["problems"][0]
    assert service.unready() == []
    await service.shutdown()


async def test_when_even_the_old_configuration_does_not_start_again_everything_stops() -> None:
    """The error comes out, and no component is left running."""

    class OnlyOnce(FakeExporter):
        starts = 0

        async def start(self) -> None:
            OnlyOnce.starts += 1
            if OnlyOnce.starts > 1:
                raise OSError("taken")

    service = await started(make_config({"traces": ("in", "", "once other")}, classes={"once": OnlyOnce}))
    bad = make_config(
        {"traces": ("in", "", "once other")}, classes={"once": OnlyOnce}, options={"once": {"setting": "x"}}
    )
    with pytest.raises(StartError, match="exporter 'once' did not start: taken"):
        await service.reload(lambda: bad)
    assert [node.key.id for node in service.graph.nodes.values() if node.running] == []
    assert {"shutdown in", "shutdown other"} <= set(EVENTS)


async def test_data_that_comes_during_a_reload_waits_and_is_not_lost() -> None:
    """A kept receiver holds its senders while the parts behind it are replaced; held items flow through before."""

    class SlowStart(FakeExporter):
        ready = asyncio.Event()

        async def start(self) -> None:
            EVENTS.append("starting slow")
            if self.config.setting:
                await SlowStart.ready.wait()

    classes: dict[str, type[Component]] = {"slow": SlowStart, "hold": HoldingProcessor}
    pipelines = {"traces": ("in", "hold", "slow")}
    service = await started(make_config(pipelines, classes=classes))
    old = component(service, "slow")
    await component(service, "in").send(make_batch(2))
    new = make_config(pipelines, classes=classes, options={"slow": {"setting": "x"}})
    reload = asyncio.create_task(service.reload(lambda: new))
    await eventually(lambda: "starting slow" in EVENTS)
    assert old.items == 2
    sending = asyncio.create_task(component(service, "in").send(make_batch(3)))
    await asyncio.sleep(0)
    assert service.unready() == ["the gateway is reloading"]
    assert missing(service) == {}
    assert not sending.done()
    SlowStart.ready.set()
    assert await reload
    await sending
    await service.shutdown()
    assert component(service, "slow").items == 3
    assert missing(service) == {}


async def test_a_reload_waits_for_requests_that_are_under_way() -> None:
    """A batch inside the old pipeline gets its answer from the old components."""
    service = await started(make_config(PIPELINES))
    old = component(service, "changed")
    old.opened = asyncio.Event()
    sending = asyncio.create_task(component(service, "in").send(make_batch(1)))
    await eventually(lambda: component(service, "in").settings.counts["traces"].pending == 1)
    reload = asyncio.create_task(service.reload(lambda: make_config(PIPELINES, options={"changed": {"setting": "x"}})))
    await eventually(lambda: service.unready() == ["the gateway is reloading"])
    assert "shutdown changed" not in EVENTS
    old.opened.set()
    await sending
    assert await reload
    assert old.items == 1
    await service.shutdown()


async def test_a_stale_component_is_replaced_although_its_options_are_the_same() -> None:
    """A connector whose files have changed says so itself."""

    class Stale(FakeConnector):
        def stale(self) -> bool:
            return True

    service = await started(make_config(PIPELINES, classes={"forward": Stale}))
    old = component(service, "forward")
    assert await service.reload(lambda: make_config(PIPELINES, classes={"forward": Stale}))
    assert component(service, "forward") is not old
    await service.shutdown()


async def test_a_receiver_with_other_signals_is_replaced() -> None:
    """Its consumers are fixed when it is built."""
    service = await started(make_config({"traces": ("in", "", "out")}))
    old = component(service, "in")
    assert await service.reload(lambda: make_config({"traces": ("in", "", "out"), "logs": ("in", "", "out")}))
    new = component(service, "in")
    assert isinstance(new, FakeReceiver)
    assert new is not old
    assert sorted(new.consumers) == ["logs", "traces"]
    await service.shutdown()


async def test_before_start_and_after_shutdown_senders_are_told_to_come_again() -> None:
    """A receiver that was given no target refuses in a way that keeps the data at the sender."""
    service = Service(make_config({"traces": ("in", "", "out")}))
    with pytest.raises(RetryableError, match="not ready"):
        await component(service, "in").send(make_batch())
    assert missing(service) == {}
    assert service.unready() == ["the gateway is starting"]
    await service.start()
    assert service.unready() == []
    await service.shutdown()
    assert service.unready() == ["the gateway is stopped"]
