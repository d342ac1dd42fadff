"""The item balance over a whole graph, while everything happens at once."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_pipeline.component import Component
from otel_pipeline.connectors.stage_metrics import StageMetrics
from otel_pipeline.errors import PermanentError, RetryableError
from otel_pipeline.pdata import Batch, Signal
from otel_pipeline.service import stage
from otel_pipeline.service.lifecycle import Service
from otel_pipeline.testing import Sink, make_counter, make_log, make_logs, make_metrics, make_span, make_traces
from tests.service.fakes import HoldingProcessor, SpanCounter, component, eventually, make_batch, make_config, missing

WORKERS = 4
BATCHES_EACH = 60


def unreliable(dice: random.Random) -> Callable[[Batch], Exception | None]:
    def answer(_batch: Batch) -> Exception | None:
        return dice.choice((None, None, None, RetryableError("busy"), PermanentError("bad"), OSError("fault")))

    return answer


async def _send(service: Service, worker: int, dice: random.Random, answers: Counter[str]) -> None:
    for number in range(BATCHES_EACH):
        first = (worker * BATCHES_EACH + number) * 10
        batch = make_traces(*(make_span(str(first + item), span=1) for item in range(dice.randint(1, 10))))
        answers["generated"] += batch.items
        try:
            await component(service, "in").send(batch)
            answers["accepted"] += batch.items
        except RetryableError:
            answers["refused"] += batch.items
        except PermanentError:
            answers["failed"] += batch.items
        await asyncio.sleep(dice.choice((0, 0, 0.001)))


async def _observe(service: Service, stop: asyncio.Event) -> int:
    """Looks at the balance whenever the loop lets it; how often."""
    looks = 0
    while not stop.is_set():
        assert missing(service) == {}
        looks += 1
        await asyncio.sleep(0)
    return looks


@pytest.mark.parametrize("inline_bytes", [stage.INLINE_BYTES, 100], ids=["inline", "in worker threads"])
@pytest.mark.parametrize("seed", range(3))
async def test_every_item_is_accounted_for_at_every_moment(
    seed: int, inline_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four senders, unreliable components and exporters, fan-out, a connector and flushes: accepted + refused + failed =
    generated, no component ever misses an item, and what each branch got is what was handed to it."""
    monkeypatch.setattr(stage, "INLINE_BYTES", inline_bytes)
    dice = random.Random(seed)
    classes: dict[str, type[Component]] = {"hold": HoldingProcessor, "count": SpanCounter}
    config = make_config(
        {
            "traces/a": ("in", "shaky hold", "left right count"),
            "traces/b": ("in", "thin", "right"),
            "metrics": ("count", "", "points"),
        },
        classes=classes,
        options={"hold": {"interval": 0.002}, "count": {"interval": 0.005}},
    )
    service = Service(config)
    await service.start()
    answer = unreliable(dice)

    def shaky(batch: Batch) -> Batch | None:
        if error := answer(batch):
            raise error
        return batch

    component(service, "shaky").change = shaky
    component(service, "thin").change = lambda batch: make_batch(batch.items - 1) if batch.items > 1 else None
    for id_ in ("left", "right", "points"):
        component(service, id_).answer = unreliable(dice)
    stop, answers = asyncio.Event(), Counter[str]()
    observer = asyncio.create_task(_observe(service, stop))
    await asyncio.gather(*(_send(service, worker, dice, answers) for worker in range(WORKERS)))
    components = {node.key: node.component for node in service.graph.nodes.values()}
    for id_ in ("left", "right", "points"):
        component(service, id_).answer = lambda _batch: None
    await service.shutdown()
    stop.set()
    assert await observer > 100
    assert missing(service) == {}

    assert answers["accepted"] + answers["refused"] + answers["failed"] == answers["generated"]
    assert min(answers.values()) > 0
    rows = {(row.id, str(row.signal)): row.counts for row in service.graph.rows()}
    inlet = rows["in", "traces"]
    assert (inlet.consumed, inlet.produced) == (answers["generated"], answers["accepted"])
    assert (inlet.refused, inlet.failed) == (answers["refused"], answers["failed"])
    shaky_counts, hold, thin = rows["shaky", "traces"], rows["hold", "traces"], rows["thin", "traces"]
    assert shaky_counts.consumed == thin.consumed == answers["generated"]
    assert hold.consumed == shaky_counts.produced
    handed = rows["left", "traces"].consumed
    assert handed == rows["count", "traces"].consumed
    assert rows["right", "traces"].consumed == handed + thin.produced + thin.refused + thin.failed
    assert rows["count", "traces"].sent == handed
    for id_ in ("left", "right"):
        counts = rows[id_, "traces"]
        exporter = next(found for key, found in components.items() if key.id == id_)
        assert counts.sent == exporter.items  # type: ignore[attr-defined]
        assert counts.consumed == counts.sent + counts.refused + counts.failed
    assert all(row.counts.pending == row.counts.held() == 0 for row in service.graph.rows())


async def test_every_span_that_was_accepted_arrives_at_least_once_in_every_branch() -> None:
    """Uniquely named spans, sent again when refused, all come out of both exporters; nothing comes out that was not sent."""
    config = make_config({"traces": ("in", "one", "left right")})
    service = Service(config)
    await service.start()
    dice = random.Random(7)
    for id_ in ("left", "right"):
        component(service, id_).answer = lambda _batch: dice.choice((None, RetryableError("busy")))

    async def send(worker: int) -> None:
        for number in range(25):
            batch = make_batch(1, name=f"{worker}-{number}")
            accepted = False
            while not accepted:
                try:
                    await component(service, "in").send(batch)
                    accepted = True
                except RetryableError:
                    await asyncio.sleep(0)

    await asyncio.gather(*map(send, range(WORKERS)))
    await eventually(lambda: missing(service) == {})
    expected = {f"{worker}-{number}" for worker in range(WORKERS) for number in range(25)}
    for id_ in ("left", "right"):
        sink = Sink(component(service, id_).batches)
        assert {span.name for span in sink.spans()} == expected
    await service.shutdown()


DERIVED = """
file_format: definition/2
metrics:
  - name: team.edits
    instrument: counter
    unit: "{edit}"
    brief: Edits.
    stability: development
    attributes: [{ref: sdlc.stage.name}]
    annotations: {otel_pipeline: {derive: [{source: events, match: {name: edit}}, {source: points}]}}
"""


async def test_a_connector_of_all_signals_accounts_for_each(tmp_path: Path) -> None:
    """Spans and log records become something else, and wait for it; metrics are taken, or passed on at once."""
    (tmp_path / "metrics.yaml").write_text(DERIVED, encoding="utf-8")
    pipelines = {f"{signal}": ("in", "", "stages") for signal in Signal}
    service = Service(
        make_config(
            pipelines | {"metrics/out": ("stages", "", "out")},
            classes={"stages": StageMetrics},
            options={"stages": {"directories": (tmp_path,)}},
        )
    )
    await service.start()
    now = 1_767_225_600_000_000_000
    mine, other = (make_counter(name, 7, start_ns=now, time_ns=now) for name in ("team.edits", "other"))
    for batch in (
        make_metrics(mine, other),
        make_metrics(other),
        make_metrics(mine),
        make_traces(make_span(), make_span()),
        make_logs(make_log("edit", trace=1, span=1), make_log("edit"), make_log("chatter", trace=1, span=1)),
    ):
        await component(service, "in").send(batch)
        assert missing(service) == {}
    counts = {str(row.signal): row.counts for row in service.graph.rows() if row.id == "stages"}
    assert counts["traces"].dropped == {"duplicate": 1}
    assert (counts["traces"].held(), counts["logs"].held()) == (1, 1)
    assert (counts["logs"].consumed, counts["logs"].sent) == (3, 2)
    metrics = counts["metrics"]
    assert (metrics.consumed, metrics.sent, metrics.produced, metrics.dropped) == (4, 2, 2, {})
    out = component(service, "out")
    await service.shutdown()
    assert missing(service) == {}
    assert metrics.created == metrics.produced - 2 == out.items - 2 > 0
    assert counts["traces"].held() == counts["logs"].held() == 0
