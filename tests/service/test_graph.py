"""Graphs: order of start and stop, flushing, deadlines, what happens when a component does not start."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_pipeline.component import Component, Health
from otel_pipeline.config import read
from otel_pipeline.errors import PermanentError, RetryableError, StartError
from otel_pipeline.service.lifecycle import Service
from tests.service.fakes import (
    EVENTS,
    FakeExporter,
    HoldingProcessor,
    SpanCounter,
    StubbornExporter,
    component,
    eventually,
    failing,
    make_batch,
    make_config,
    missing,
)

PIPELINES = {
    "traces/front": ("in", "a b", "forward out"),
    "traces/back": ("forward", "c", "count out"),
    "metrics": ("count", "d", "out_metrics"),
}
CLASSES: dict[str, type[Component]] = {"count": SpanCounter}


@pytest.fixture(autouse=True)
def _no_events() -> Iterator[None]:
    EVENTS.clear()
    yield
    EVENTS.clear()


def before(first: str, *later: str) -> bool:
    return all(EVENTS.index(first) < EVENTS.index(event) for event in later)


async def test_everything_downstream_starts_first_and_receivers_last() -> None:
    """No component is given data before all that is behind it runs."""
    service = Service(make_config(PIPELINES, classes=CLASSES, extensions="health"))
    await service.start()
    assert EVENTS[0] == "start health"
    assert EVENTS[-1] == "start in"
    assert before("start out", "start forward", "start count", "start a")
    assert before("start count", "start forward", "start c")
    assert before("start forward", "start a", "start b")
    assert before("start d", "start c")
    assert before("start c", "start b")
    assert before("start b", "start a")
    await service.shutdown()


async def test_receivers_stop_first_then_everything_flushes_downstream_then_exporters_stop() -> None:
    """Each component is flushed and shut down before anything behind it."""
    service = Service(make_config(PIPELINES, classes=CLASSES, extensions="health"))
    await service.start()
    EVENTS.clear()
    await service.shutdown()
    flow = ["a", "b", "forward", "c", "count", "d"]
    assert EVENTS[0] == "shutdown in"
    assert EVENTS[1:13] == [f"{what} {id_}" for id_ in flow for what in ("flush", "shutdown")]
    assert sorted(EVENTS[13:15]) == ["shutdown out", "shutdown out_metrics"]
    assert EVENTS[15:] == ["shutdown health"]


async def test_a_component_that_does_not_start_is_named_and_the_others_are_stopped() -> None:
    """What had been started is shut down, the failed one too, and receivers never start."""
    config = make_config(PIPELINES, classes=CLASSES, extensions="health", options={"c": {"fail_start": True}})
    service = Service(config)
    with pytest.raises(
        StartError, match=r"^processor 'c' in pipeline 'traces/back' did not start: port 4317 is in use$"
    ):
        await service.start()
    begun = {event.removeprefix("start ") for event in EVENTS if event.startswith("start ")}
    ended = [event.removeprefix("shutdown ") for event in EVENTS if event.startswith("shutdown ")]
    assert sorted(ended) == sorted(begun)
    assert "in" not in begun


async def test_a_component_that_cannot_be_built_is_named() -> None:
    """An exception of a constructor ends building, with the id in the message."""

    class Broken(FakeExporter):
        def __init__(self, *_arguments: object) -> None:
            raise ValueError("no such file: ca.pem")

    config = make_config({"traces": ("in", "", "out")}, classes={"out": Broken})
    with pytest.raises(StartError, match=r"^exporter 'out' could not be built: no such file: ca.pem$"):
        Service(config)


async def test_pipelines_in_a_circle_are_refused() -> None:
    """Connectors must not lead back to where they come from."""
    circle = {"traces/a": ("in two", "", "one"), "traces/b": ("one", "", "two out")}
    with pytest.raises(StartError, match="in a circle"):
        Service(make_config(circle))


async def test_a_receiver_and_an_exporter_of_one_name_are_no_circle(tmp_path: Path) -> None:
    """They are two components; only a connector leads from one pipeline to another."""
    file = tmp_path / "config.yaml"
    file.write_text(ONE_NAME)
    Service(read([file], environment={}).config())


ONE_NAME = """
receivers: {prometheus: {config: {scrape_configs: [{job_name: a, static_configs: [{targets: ["127.0.0.1:1"]}]}]}}}
exporters: {prometheus: }
service: {pipelines: {metrics: {receivers: [prometheus], exporters: [prometheus]}}}
"""


async def test_what_is_held_flows_on_by_time_and_at_shutdown() -> None:
    """Held items are in the balance while they wait; at shutdown all of them come out, through the rest of the pipeline."""
    classes: dict[str, type[Component]] = {"hold": HoldingProcessor, "hold_too": HoldingProcessor}
    config = make_config(
        {"traces": ("in", "hold hold_too", "out")}, classes=classes, options={"hold": {"interval": 0.01}}
    )
    service = Service(config)
    await service.start()
    for _ in range(3):
        await component(service, "in").send(make_batch(2))
    assert missing(service) == {}
    await eventually(lambda: len(component(service, "hold_too").held) == 3)
    rows = {row.id: row.counts for row in service.graph.rows()}
    assert (rows["hold"].produced, rows["hold_too"].held(), rows["out"].sent) == (6, 6, 0)
    assert missing(service) == {}
    out = component(service, "out")
    await service.shutdown()
    assert out.items == 6
    assert missing(service) == {}


async def test_a_flushed_batch_that_is_refused_is_tried_again_before_the_next_flush() -> None:
    """Nothing is lost while downstream is full, and the component is not asked for more until it is taken."""
    config = make_config(
        {"traces": ("in", "hold", "out")}, classes={"hold": HoldingProcessor}, options={"hold": {"interval": 0.01}}
    )
    service = Service(config)
    await service.start()
    full = asyncio.Event()

    def answer(_batch: object) -> Exception | None:
        return None if full.is_set() else RetryableError("full")

    component(service, "out").answer = answer
    rows = {row.id: row.counts for row in service.graph.rows()}
    for _ in range(2):
        await component(service, "in").send(make_batch(1))
    await eventually(lambda: rows["out"].refused >= 3)
    assert EVENTS.count("flush hold") == 1
    assert (rows["hold"].pending, rows["hold"].held()) == (1, 1)
    assert missing(service) == {}
    full.set()
    await eventually(lambda: rows["out"].sent == 2)
    assert (rows["hold"].produced, sum(rows["hold"].dropped.values())) == (2, 0)
    await service.shutdown()


async def test_a_flushed_batch_that_is_lost_is_counted_with_a_reason() -> None:
    """Refused for good: `flush_failed`; refused until the deadline of the shutdown: `flush_refused`."""
    config = make_config(
        {"traces": ("in", "hold", "out")},
        classes={"hold": HoldingProcessor},
        options={"hold": {"interval": 0.01}},
        shutdown_timeout=0.3,
    )
    service = Service(config)
    await service.start()
    rows = {row.id: row.counts for row in service.graph.rows()}
    component(service, "out").answer = failing(PermanentError("bad"))
    await component(service, "in").send(make_batch(2))
    await eventually(lambda: rows["hold"].dropped["flush_failed"] == 2)
    component(service, "out").answer = lambda _batch: RetryableError("full")
    await component(service, "in").send(make_batch(3))
    await service.shutdown()
    assert {reason: items for reason, items in rows["hold"].dropped.items() if items} == {
        "flush_failed": 2,
        "flush_refused": 3,
    }
    assert missing(service) == {}


async def test_a_connector_turns_spans_into_metrics_and_both_sides_balance() -> None:
    """Spans that came in are `sent`, points that come out are `created` and `produced`."""
    config = make_config(
        {"traces": ("in", "", "count"), "metrics": ("count", "", "out")},
        classes=CLASSES,
        options={"count": {"interval": 0.01}},
    )
    service = Service(config)
    await service.start()
    await component(service, "in").send(make_batch(7))
    await eventually(lambda: bool(component(service, "out").items))
    rows = {(row.id, str(row.signal)): row.counts for row in service.graph.rows()}
    assert (rows["count", "traces"].consumed, rows["count", "traces"].sent) == (7, 7)
    points = rows["count", "metrics"]
    assert points.created == points.produced == component(service, "out").items
    assert missing(service) == {}
    await service.shutdown()
    assert missing(service) == {}


async def test_a_dead_peer_cannot_hold_up_the_shutdown() -> None:
    """Exporters stop at the same time and are cancelled at the deadline; the others stop as usual."""
    config = make_config(
        {"traces": ("in", "", "dead1 dead2 out")},
        classes={"dead1": StubbornExporter, "dead2": StubbornExporter},
        shutdown_timeout=0.2,
        extensions="health",
    )
    service = Service(config)
    await service.start()
    async with asyncio.timeout(60):
        await service.shutdown()
    assert EVENTS[-1] == "shutdown health"
    states = {node.key.id: (node.health, node.reason) for node in service.graph.nodes.values()}
    assert states["dead1"] == states["dead2"] == (Health.STOPPED, "it did not stop in time")
    assert states["out"] == (Health.STOPPED, "")
