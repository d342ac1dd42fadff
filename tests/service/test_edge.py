"""The edges: answers of branches, faults of components, counts, worker threads."""

import asyncio
import itertools
import threading

import pytest

from otel_pipeline.errors import ConsumeError, PermanentError, RetryableError, TooLargeError
from otel_pipeline.pdata import Batch, Signal
from otel_pipeline.service.edge import fan_out
from otel_pipeline.service.lifecycle import Service
from otel_pipeline.service.stage import INLINE_BYTES
from otel_pipeline.testing import Sink, make_span, make_traces
from tests.service.fakes import component, eventually, failing, make_batch, make_config, missing

OK = None
RETRY = RetryableError("full", retry_after=5.0)
RETRY_SOON = RetryableError("busy", retry_after=1.0)
RETRY_SOMETIME = RetryableError("later")
PERMANENT = PermanentError("bad")
TOO_LARGE = TooLargeError("big")


@pytest.mark.parametrize(
    ("answers", "expected", "retry_after"),
    [
        ((OK, OK), None, None),
        ((OK, PERMANENT), PermanentError, None),
        ((RETRY, OK), RetryableError, 5.0),
        ((PERMANENT, RETRY), RetryableError, 5.0),
        ((RETRY, RETRY_SOON, RETRY_SOMETIME), RetryableError, 1.0),
        ((RETRY_SOMETIME, OK), RetryableError, None),
        ((PERMANENT, PERMANENT), PermanentError, None),
        ((TOO_LARGE, PERMANENT), PermanentError, None),
        ((TOO_LARGE, TOO_LARGE), TooLargeError, None),
        ((TOO_LARGE, OK), TooLargeError, None),
    ],
)
async def test_the_worst_answer_of_all_branches_wins(
    answers: tuple[ConsumeError | None, ...], expected: type[ConsumeError] | None, retry_after: float | None
) -> None:
    """Every branch is asked in any order of answers, and retryable is worse than permanent."""
    for order in itertools.permutations(answers):
        sinks = [Sink(answers=[answer]) for answer in order]
        batch = make_batch()
        if expected is None:
            await fan_out(sinks)(batch)
        else:
            with pytest.raises(expected) as caught:
                await fan_out(sinks)(batch)
            assert type(caught.value) is expected
            assert getattr(caught.value, "retry_after", None) == retry_after
        assert [sink.batches for sink in sinks] == [[batch] if answer is None else [] for answer in order]


async def started(pipelines: dict[str, tuple[str, str, str]], **more: object) -> Service:
    service = Service(make_config(pipelines, **more))  # type: ignore[arg-type]
    await service.start()
    return service


async def test_a_fault_of_a_processor_refuses_the_batch_for_good_and_names_the_component() -> None:
    """An exception that is not a ConsumeError is counted as failed, with no word of its text for the sender."""
    service = await started({"traces": ("in", "first second", "out")})

    def fault(_batch: Batch) -> Batch | None:
        raise ValueError("a prompt")

    component(service, "second").change = fault
    with pytest.raises(PermanentError, match="internal error in processor 'second'") as caught:
        await component(service, "in").send(make_batch(3))
    assert "a prompt" not in str(caught.value)
    rows = {row.id: row.counts for row in service.graph.rows()}
    assert (rows["in"].failed, rows["first"].failed, rows["second"].failed, rows["out"].consumed) == (3, 3, 3, 0)
    assert missing(service) == {}
    errors = service.telemetry.counters["otel_pipeline_component_errors"].values
    assert errors == {("processor 'second' in pipeline 'traces'", "ValueError"): 1}
    await service.shutdown()


async def test_a_result_that_is_no_batch_of_the_pipeline_is_a_fault_of_the_processor() -> None:
    """Neither a wrong type nor another signal gets past the processor."""
    service = await started({"traces": ("in", "one", "out")})
    for wrong in ("text", Service):
        component(service, "one").change = lambda _batch, wrong=wrong: wrong
        with pytest.raises(PermanentError, match="processor 'one'"):
            await component(service, "in").send(make_batch())
    assert component(service, "out").items == 0
    assert missing(service) == {}
    await service.shutdown()


async def test_a_fault_of_an_exporter_fails_the_batch_in_every_component_before_it() -> None:
    """The exporter's exception becomes a PermanentError, and the branch beside it still gets the batch."""
    service = await started({"traces": ("in", "one", "bad good")})
    component(service, "bad").answer = failing(KeyError("secret"))
    with pytest.raises(PermanentError, match="exporter 'bad'"):
        await component(service, "in").send(make_batch(2))
    rows = {row.id: row.counts for row in service.graph.rows()}
    assert [rows[id_].failed for id_ in ("in", "one", "bad", "good")] == [2, 2, 2, 0]
    assert component(service, "good").items == 2
    assert missing(service) == {}
    await service.shutdown()


async def test_what_a_processor_leaves_out_is_dropped_for_its_reason() -> None:
    """Items in = items out + dropped, and what comes after sees the rest only."""
    service = await started({"traces": ("in", "thin", "out")})
    component(service, "thin").change = lambda batch: make_batch(batch.items - 3)
    await component(service, "in").send(make_batch(10))
    component(service, "thin").change = lambda _batch: None
    await component(service, "in").send(make_batch(5))
    rows = {row.id: row.counts for row in service.graph.rows()}
    assert (rows["thin"].consumed, rows["thin"].produced, dict(rows["thin"].dropped)) == (15, 7, {"dropped": 8})
    assert rows["in"].produced == 15
    assert rows["out"].sent == 7
    assert missing(service) == {}
    await service.shutdown()


async def test_a_sender_that_hangs_up_is_counted_as_refused() -> None:
    """Cancelling a call in an exporter leaves nothing pending and nothing unexplained."""
    service = await started({"traces": ("in", "one", "out")})
    component(service, "out").opened = asyncio.Event()
    call = asyncio.create_task(component(service, "in").send(make_batch(4)))
    rows = {row.id: row.counts for row in service.graph.rows()}
    await eventually(lambda: rows["out"].pending == 4)
    assert [rows[id_].pending for id_ in ("in", "one", "out")] == [4, 4, 4]
    assert missing(service) == {}
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert [rows[id_].refused for id_ in ("in", "one", "out")] == [4, 4, 4]
    assert [rows[id_].pending for id_ in ("in", "one", "out")] == [0, 0, 0]
    assert missing(service) == {}
    await service.shutdown()


def large_batch() -> Batch:
    """Over the size from which on batches go to a worker thread."""
    batch = make_traces(*(make_span("x" * 1000, span=number + 1) for number in range(1100)))
    assert batch.size_bytes > INLINE_BYTES
    return batch


async def test_large_batches_run_in_a_worker_thread_and_calls_never_overlap() -> None:
    """The loop lives on while a large batch is processed; small ones wait their turn; flush waits too."""
    service = await started({"traces": ("in", "one", "out")}, options={"one": {"interval": 0.01}})
    processor = component(service, "one")
    inside = threading.Lock()
    release = threading.Event()
    threads: list[bool] = []

    def change(batch: Batch) -> Batch:
        assert inside.acquire(blocking=False)
        threads.append(threading.current_thread() is threading.main_thread())
        assert batch.size_bytes < INLINE_BYTES or release.wait(10)
        inside.release()
        return batch

    processor.change = change
    rows = {row.id: row.counts for row in service.graph.rows()}
    big = asyncio.create_task(component(service, "in").send(large_batch()))
    await eventually(lambda: threads == [False])
    small = asyncio.create_task(component(service, "in").send(make_batch(1)))
    await eventually(lambda: rows["in"].pending == 1101)
    assert missing(service) == {}
    assert not small.done()
    release.set()
    await asyncio.gather(big, small)
    assert len(threads) == 2
    assert component(service, "out").items == 1101
    assert missing(service) == {}
    await service.shutdown()


async def test_a_sender_that_hangs_up_does_not_interrupt_a_worker_thread() -> None:
    """The batch goes through to its end, is counted once, and the next one is served."""
    service = await started({"traces": ("in", "one", "out")})
    release = threading.Event()
    entered = threading.Event()

    def change(batch: Batch) -> Batch:
        entered.set()
        assert release.wait(10)
        return batch

    component(service, "one").change = change
    call = asyncio.create_task(component(service, "in").send(large_batch()))
    await eventually(entered.is_set)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    release.set()
    await component(service, "in").send(make_batch(1))
    assert component(service, "out").items == 1101
    assert missing(service) == {}
    await service.shutdown()


async def test_each_signal_is_counted_for_itself() -> None:
    """A component that serves two signals has two sets of counts."""
    service = await started({"traces": ("in", "", "out"), "metrics": ("in", "", "out")})
    await component(service, "in").send(make_batch(2))
    rows = [(row.id, row.signal) for row in service.graph.rows()]
    assert rows == [("out", "metrics"), ("out", "traces"), ("in", "metrics"), ("in", "traces")]
    assert component(service, "in").settings.counts[Signal.METRICS].consumed == 0
    assert component(service, "in").settings.counts[Signal.TRACES].produced == 2
    await service.shutdown()
