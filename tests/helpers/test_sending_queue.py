"""The sending queue: bounded, ordered, joined within limits, and honest about every item."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from otel_pipeline.component import Settings
from otel_pipeline.errors import ConsumeError, PermanentError, RetryableError, TooLargeError
from otel_pipeline.helpers.retry import Result, Retry, RetryOptions
from otel_pipeline.helpers.sending_queue import MAX_MERGED_BYTES, QueueOptions, SendingQueue
from otel_pipeline.pdata import Batch, Signal, from_trusted, to_proto
from otel_pipeline.telemetry import Counts
from otel_pipeline.testing import make_settings, make_span, make_traces, until


def numbered(first: int, count: int = 1, **attributes: Any) -> Batch:
    """Spans whose ids are the numbers `first`, `first + 1`, ..."""
    return make_traces(*[make_span(span=number, **attributes) for number in range(first, first + count)])


def numbers(batch: Batch) -> list[int]:
    request: Any = to_proto(batch)
    spans = [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]
    return [int.from_bytes(span.span_id, "big") for span in spans]


def make_logs() -> Batch:
    """One log record, as its bytes are in the specification's wire format."""
    return from_trusted(Signal.LOGS, bytes([0x0A, 4, 0x12, 2, 0x12, 0]))


@dataclass
class Peer:
    """Keeps what is delivered; waits for `open` before each delivery."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    batches: list[Batch] = field(default_factory=list)
    outcome: Callable[[Batch, Result], None] | None = None
    under_way: int = 0
    most_under_way: int = 0

    async def __call__(self, batch: Batch, result: Result) -> None:
        self.under_way += 1
        self.most_under_way = max(self.under_way, self.most_under_way)
        try:
            await self.open.wait()
        finally:
            self.under_way -= 1
        self.batches.append(batch)
        if self.outcome:
            self.outcome(batch, result)
        else:
            result.sent += batch.items

    @property
    def sizes(self) -> list[int]:
        return [batch.items for batch in self.batches]


@pytest.fixture
def peer() -> Peer:
    return Peer()


@pytest.fixture
def open_peer() -> Peer:
    made = Peer()
    made.open.set()
    return made


def make_queue(peer: Peer, options: dict[str, Any], given: Settings | None = None) -> tuple[SendingQueue, Counts]:
    own = given or make_settings("otlp_grpc")
    return SendingQueue(QueueOptions.model_validate(options), own, peer), own.counts[Signal.TRACES]


NO_JOINING = {"batch": {"min_size": 0}}


async def test_consume_returns_when_queued_and_the_items_are_held_until_delivered(peer: Peer) -> None:
    """`consume` does not wait for the peer; `held` counts the items until they are `sent`."""
    queue, counts = make_queue(peer, NO_JOINING)
    await queue.consume(numbered(1, 3))
    assert (counts.held(), counts.sent, queue.size) == (3, 0, 1)
    peer.open.set()
    await queue.shutdown()
    assert (counts.held(), counts.sent, queue.size) == (0, 3, 0)


@pytest.mark.parametrize(
    ("sizer", "queue_size", "fits"), [("requests", 3, 3), ("items", 6, 3), ("bytes", 3 * numbered(1, 2).size_bytes, 3)]
)
async def test_the_queue_is_bounded_in_its_unit_and_counts_what_is_under_way(
    peer: Peer, sizer: str, queue_size: int, fits: int
) -> None:
    """Exactly what fits is taken, whether it waits or is under way; the rest is refused as retryable."""
    queue, counts = make_queue(peer, {"sizer": sizer, "queue_size": queue_size, "num_consumers": 1, **NO_JOINING})
    for _ in range(fits):
        await queue.consume(numbered(1, 2))
        await asyncio.sleep(0)
    assert peer.under_way == 1
    with pytest.raises(RetryableError, match="full") as caught:
        await queue.consume(numbered(1, 2))
    assert caught.value.retry_after is not None
    assert caught.value.retry_after <= 2
    peer.open.set()
    await queue.shutdown()
    assert counts.sent == 2 * fits


async def test_a_batch_over_the_capacity_is_never_retried(peer: Peer) -> None:
    """What could not fit an empty queue is TooLargeError, even where senders are made to wait."""
    queue, _ = make_queue(peer, {"sizer": "items", "queue_size": 2, "block_on_overflow": True})
    with pytest.raises(TooLargeError):
        await queue.consume(numbered(1, 3))


async def test_a_full_queue_sends_what_is_open_for_joining(open_peer: Peer) -> None:
    """Joining cannot keep a full queue full: what is open is sent, long before the timeout."""
    queue, _ = make_queue(open_peer, {"queue_size": 2, "batch": {"flush_timeout": "1h"}})
    await queue.consume(numbered(1))
    await queue.consume(numbered(2))
    with pytest.raises(RetryableError):
        await queue.consume(numbered(3))
    await until(lambda: not queue.size)
    await queue.consume(numbered(3))
    await queue.shutdown()
    assert open_peer.sizes == [2, 1]


async def test_block_on_overflow_waits_for_room(peer: Peer) -> None:
    """With `block_on_overflow` a sender waits, and goes on when there is room."""
    queue, counts = make_queue(peer, {"queue_size": 1, "block_on_overflow": True, **NO_JOINING})
    await queue.consume(numbered(1))
    blocked = [asyncio.create_task(queue.consume(numbered(number))) for number in (2, 3)]
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in blocked)
    assert queue.size == 1
    peer.open.set()
    await asyncio.gather(*blocked)
    await queue.shutdown()
    assert sorted(number for batch in peer.batches for number in numbers(batch)) == [1, 2, 3]
    assert counts.sent == 3


async def test_shutdown_frees_blocked_senders(peer: Peer) -> None:
    """A sender that waits for room is told to come back when the queue shuts down."""
    queue, _ = make_queue(peer, {"queue_size": 1, "block_on_overflow": True, **NO_JOINING})
    await queue.consume(numbered(1))
    blocked = asyncio.create_task(queue.consume(numbered(2)))
    await asyncio.sleep(0)
    await queue.shutdown(0.01)
    with pytest.raises(RetryableError, match="shutting down"):
        await blocked


async def test_small_batches_are_joined_in_order(open_peer: Peer) -> None:
    """At `min_size` what has come is sent as one request with the same items in the same order."""
    queue, _ = make_queue(open_peer, {"batch": {"min_size": 6, "flush_timeout": "1h"}})
    for first in (1, 3, 5, 7):
        await queue.consume(numbered(first, 2))
    await until(lambda: open_peer.batches)
    assert [numbers(batch) for batch in open_peer.batches] == [[1, 2, 3, 4, 5, 6]]
    await queue.shutdown()
    assert numbers(open_peer.batches[1]) == [7, 8]


async def test_flush_timeout_sends_what_is_there(open_peer: Peer) -> None:
    """A request below `min_size` is sent after `flush_timeout`, without any further batch."""
    queue, _ = make_queue(open_peer, {"batch": {"flush_timeout": "10ms"}})
    await queue.consume(numbered(1))
    await until(lambda: open_peer.batches)
    await queue.shutdown()
    assert open_peer.sizes == [1]


async def test_max_size_bounds_requests(open_peer: Peer) -> None:
    """Joining stops at `max_size`, and a batch over it is split."""
    queue, counts = make_queue(open_peer, {"num_consumers": 1, "batch": {"min_size": 5, "max_size": 5}})
    for first, count in ((1, 3), (4, 3), (7, 12)):
        await queue.consume(numbered(first, count))
    await queue.shutdown()
    assert open_peer.sizes == [3, 3, 5, 5, 2]
    assert [number for batch in open_peer.batches for number in numbers(batch)] == list(range(1, 19))
    assert counts.sent == 18


async def test_joining_stays_below_the_usual_limit_of_servers(open_peer: Peer) -> None:
    """However small `min_size` items are in number, joining never makes a request over 4 MB."""
    queue, _ = make_queue(open_peer, {"num_consumers": 1, "batch": {"flush_timeout": "1h"}})
    for number in range(5):
        await queue.consume(numbered(number + 1, text="x" * 1_500_000))
    await queue.shutdown()
    assert open_peer.sizes == [2, 2, 1]
    assert all(batch.size_bytes <= MAX_MERGED_BYTES for batch in open_peer.batches)


async def test_bytes_are_a_unit_of_joining(open_peer: Peer) -> None:
    """With `sizer: bytes`, `min_size` and `max_size` are bytes of protobuf."""
    size = numbered(1).size_bytes
    queue, _ = make_queue(
        open_peer, {"num_consumers": 1, "batch": {"sizer": "bytes", "min_size": 2 * size, "max_size": 3 * size}}
    )
    for number in range(1, 6):
        await queue.consume(numbered(number))
    await queue.consume(numbered(6, 12))
    await queue.shutdown()
    assert open_peer.sizes[:2] == [2, 2]
    assert all(batch.size_bytes <= 3 * size for batch in open_peer.batches)
    assert [number for batch in open_peer.batches for number in numbers(batch)] == list(range(1, 18))


async def test_signals_are_never_mixed(open_peer: Peer) -> None:
    """Each request has one signal, and each signal its own counts."""
    own = make_settings()
    queue, _ = make_queue(open_peer, {}, own)
    for _ in range(3):
        await queue.consume(numbered(1))
        await queue.consume(make_logs())
    await queue.shutdown()
    assert sorted((batch.signal, batch.items) for batch in open_peer.batches) == [("logs", 3), ("traces", 3)]
    assert own.counts[Signal.LOGS].sent == own.counts[Signal.TRACES].sent == 3


async def test_no_more_requests_under_way_than_consumers(peer: Peer) -> None:
    """`num_consumers` bounds the requests under way; there are no workers before they are needed or after."""
    queue, _ = make_queue(peer, {"num_consumers": 2, **NO_JOINING})
    before = len(asyncio.all_tasks())
    for number in range(1, 6):
        await queue.consume(numbered(number))
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == before + 2
    peer.open.set()
    await queue.shutdown()
    assert peer.most_under_way == 2
    assert len(asyncio.all_tasks()) == before


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (None, None),
        (PermanentError("never"), PermanentError),
        (RetryableError("later", retry_after=3), RetryableError),
    ],
)
@pytest.mark.parametrize("options", [{"wait_for_result": True}, {"enabled": False}])
async def test_who_waits_gets_the_result(
    open_peer: Peer, options: dict[str, Any], error: ConsumeError | None, answer: type[ConsumeError] | None
) -> None:
    """With `wait_for_result`, or without a queue, the peer's answer is the sender's, and only a delivery is counted."""

    def outcome(batch: Batch, result: Result) -> None:
        if error:
            result.drop(batch.items, "any", error)
        else:
            result.sent += batch.items

    open_peer.outcome = outcome
    queue, counts = make_queue(open_peer, {**options, "batch": {"min_size": 4}})
    calls = [asyncio.create_task(queue.consume(numbered(first, 2))) for first in (1, 3)]
    await asyncio.wait(calls)
    assert counts.held() == 0
    if answer is None:
        await asyncio.gather(*calls)
        assert (counts.sent, sum(counts.dropped.values())) == (4, 0)
    else:
        for call in calls:
            with pytest.raises(answer):
                await call
        assert (counts.sent, sum(counts.dropped.values())) == (0, 0)
    await queue.shutdown()


async def test_a_partly_dropped_request_is_shared_among_those_who_wait(open_peer: Peer) -> None:
    """Where a joined request was partly dropped for good, its senders are told success, each item counted once."""

    def outcome(batch: Batch, result: Result) -> None:
        result.sent += batch.items - 3
        result.drop(3, "rejected_by_peer")

    open_peer.outcome = outcome
    queue, counts = make_queue(open_peer, {"wait_for_result": True, "batch": {"min_size": 6}})
    await asyncio.gather(*(queue.consume(numbered(first, 2)) for first in (1, 3, 5)))
    assert (counts.sent, dict(counts.dropped)) == (3, {"rejected_by_peer": 3})
    await queue.shutdown()


async def test_a_sender_that_hangs_up_costs_the_others_nothing(peer: Peer) -> None:
    """When one of those who wait is cancelled, the others of the same request still get their result."""
    queue, counts = make_queue(peer, {"wait_for_result": True, "batch": {"min_size": 4}})
    gone, stays = (asyncio.create_task(queue.consume(numbered(first, 2))) for first in (1, 3))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    peer.open.set()
    await asyncio.wait_for(stays, 60)
    assert (counts.sent, counts.held(), queue.size) == (2, 0, 0)
    await queue.shutdown()


async def test_shutdown_sends_at_once_and_takes_nothing_more(open_peer: Peer) -> None:
    """Shutdown ignores `flush_timeout`, delivers what it can, refuses what comes, and may come twice."""
    queue, counts = make_queue(open_peer, {"batch": {"flush_timeout": "1h"}})
    await queue.consume(numbered(1, 2))
    await queue.shutdown()
    assert (counts.sent, counts.held()) == (2, 0)
    with pytest.raises(RetryableError, match="shutting down"):
        await queue.consume(numbered(3))
    await queue.shutdown()


async def test_the_deadline_ends_the_shutdown_and_the_rest_is_counted(
    peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    """At the deadline everything undelivered is counted dropped for `shutdown` and told once, with the number."""
    caplog.set_level(logging.INFO)
    queue, counts = make_queue(peer, {"num_consumers": 1, **NO_JOINING})
    for number in range(1, 6):
        await queue.consume(numbered(number, 2))
    await queue.shutdown(0.01)
    await queue.shutdown(0.01)
    assert (dict(counts.dropped), counts.held(), queue.size) == ({"shutdown": 10}, 0, 0)
    assert [record.getMessage() for record in caplog.records] == ["shut down with 10 items undelivered; they are lost"]


async def test_being_cancelled_is_the_deadline(peer: Peer) -> None:
    """A shutdown that is cancelled counts what it leaves, and leaves no task behind."""
    queue, counts = make_queue(peer, {"num_consumers": 1, **NO_JOINING})
    before = len(asyncio.all_tasks())
    for number in range(1, 4):
        await queue.consume(numbered(number))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.shutdown(), 0.01)
    assert (dict(counts.dropped), counts.held()) == ({"shutdown": 3}, 0)
    assert len(asyncio.all_tasks()) == before


async def test_a_part_that_was_delivered_before_the_deadline_is_not_counted_as_dropped(peer: Peer) -> None:
    """When a split request is given up half-way, delivered parts are sent and only the rest is dropped."""

    def outcome(batch: Batch, result: Result) -> None:
        result.sent += batch.items
        peer.open.clear()

    peer.outcome = outcome
    peer.open.set()
    queue, counts = make_queue(peer, {"batch": {"min_size": 2, "max_size": 2}})
    await queue.consume(numbered(1, 6))
    await queue.shutdown(0.01)
    assert (counts.sent, dict(counts.dropped), counts.held()) == (2, {"shutdown": 4}, 0)


async def test_a_defect_costs_one_request_and_no_worker(open_peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    """An exception that no exporter should raise drops its request, counted, and the queue goes on."""

    def outcome(batch: Batch, result: Result) -> None:
        if 1 in numbers(batch):
            raise ZeroDivisionError
        result.sent += batch.items

    open_peer.outcome = outcome
    queue, counts = make_queue(open_peer, {"num_consumers": 1, **NO_JOINING})
    await queue.consume(numbered(1))
    await queue.consume(numbered(2))
    await queue.shutdown()
    assert (counts.sent, dict(counts.dropped), counts.held()) == (1, {"internal_error": 1}, 0)
    assert "defect" in caplog.text


def test_sizes_that_contradict_each_other_are_refused() -> None:
    """`max_size` below `min_size` and unknown keys are configuration errors."""
    with pytest.raises(ValidationError, match="max_size"):
        QueueOptions.model_validate({"batch": {"min_size": 10, "max_size": 5}})
    with pytest.raises(ValidationError, match="storage"):
        QueueOptions.model_validate({"storage": "file_storage"})


STEPS = st.lists(
    st.one_of(
        st.integers(1, 40),  # offer a batch of so many items
        st.just("turn"),  # let the loop run
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(
    steps=STEPS,
    outcomes=st.lists(st.sampled_from(["sent", "dropped", "half", "slow", "defect"]), max_size=12),
    sizer=st.sampled_from(["requests", "items", "bytes"]),
    batch_sizer=st.sampled_from(["items", "bytes"]),
    min_size=st.integers(0, 60),
    extra=st.one_of(st.none(), st.integers(0, 60)),
    consumers=st.integers(1, 3),
    capacity=st.integers(1, 60),
    wait=st.booleans(),
)
def test_every_accepted_item_is_sent_once_or_counted_dropped(
    steps: list[int | str],
    outcomes: list[str],
    sizer: str,
    batch_sizer: str,
    min_size: int,
    extra: int | None,
    consumers: int,
    capacity: int,
    wait: bool,
) -> None:
    """Whatever is offered, whatever becomes of it and whenever the end comes, the balance holds all the time: what was
    accepted is held, sent or dropped; delivered items are those accepted, none twice, in order within a request."""
    scale = {"requests": 1, "items": 5, "bytes": 200}
    options = {
        "sizer": sizer,
        "queue_size": capacity * scale[sizer],
        "num_consumers": consumers,
        "wait_for_result": wait,
        "batch": {
            "min_size": min_size * scale[batch_sizer],
            "max_size": 0 if extra is None else (min_size + extra) * scale[batch_sizer],
            "sizer": batch_sizer,
            "flush_timeout": "1ms",
        },
    }
    asyncio.run(_run_balance(steps, list(outcomes), options))


async def _run_balance(steps: list[int | str], outcomes: list[str], options: dict[str, Any]) -> None:
    own = make_settings("balance")
    own.log.setLevel(logging.CRITICAL)
    counts = own.counts[Signal.TRACES]
    delivered: list[int] = []

    async def deliver(batch: Batch, result: Result) -> None:
        outcome = outcomes.pop() if outcomes else "sent"
        await asyncio.sleep(0 if outcome != "slow" else 3600)
        if outcome == "defect":
            raise ZeroDivisionError
        ids = numbers(batch)
        assert ids == sorted(ids)
        dropped = {"dropped": batch.items, "half": batch.items // 2}.get(outcome, 0)
        if dropped:
            result.drop(dropped, "test")
        result.sent += batch.items - dropped
        delivered.extend(ids[dropped:])

    queue = SendingQueue(QueueOptions.model_validate(options), own, deliver)
    calls: list[asyncio.Task[None]] = []
    accepted: list[int] = []

    async def consume(batch: Batch) -> None:
        counts.consumed += batch.items
        counts.pending += batch.items
        try:
            await queue.consume(batch)
            accepted.extend(numbers(batch))
        except RetryableError:
            counts.refused += batch.items
        except PermanentError:
            counts.failed += batch.items
        counts.pending -= batch.items

    first = 1
    for step in steps:
        if isinstance(step, int):
            calls.append(asyncio.create_task(consume(numbered(first, step))))
            first += step
        await asyncio.sleep(0)
        assert counts.missing() == 0
    await asyncio.sleep(0)
    await queue.shutdown(0.01)
    if calls:
        await asyncio.wait(calls)
    assert counts.missing() == 0
    assert (counts.held(), counts.pending, queue.size) == (0, 0, 0)
    assert counts.sent + sum(counts.dropped.values()) == len(accepted)
    assert max(Counter(delivered).values(), default=1) == 1
    if not options["wait_for_result"]:  # a waiter whose request failed in part is told to send again: at least once
        assert set(delivered) <= set(accepted)
        assert len(delivered) == counts.sent


@pytest.mark.parametrize("queue_options", [{}, {"wait_for_result": True}, {"enabled": False}])
async def test_contract_of_exporters(queue_options: dict[str, Any]) -> None:
    """Four senders, uniquely numbered items and a peer that answers at random: every item arrives or is counted as
    dropped for a permanent error, none is lost in silence."""
    dice = random.Random(7)
    arrived: Counter[int] = Counter()
    own = make_settings("contract")
    own.log.setLevel(logging.CRITICAL)
    counts = own.counts[Signal.TRACES]

    async def attempt(batch: Batch) -> None:
        await asyncio.sleep(0)
        roll = dice.random()
        if roll < 0.3:
            raise RetryableError("busy")
        if roll < 0.4:
            raise PermanentError("bad")
        arrived.update(numbers(batch))

    async def no_pause(_seconds: float) -> None:
        await asyncio.sleep(0)

    retry = Retry(RetryOptions.model_validate({"max_elapsed_time": 0}), own, attempt, pause=no_pause)
    options = {"queue_size": 20, "num_consumers": 4, "batch": {"min_size": 8, "flush_timeout": "1ms"}, **queue_options}
    queue = SendingQueue(QueueOptions.model_validate(options), own, retry.deliver)
    refused_for_good: list[int] = []

    async def sender(worker: int) -> None:
        for call in range(100):
            batch = numbered(1 + worker * 1000 + call * 3, 3)
            while True:
                try:
                    await queue.consume(batch)
                except RetryableError:
                    await asyncio.sleep(0.001)
                    continue
                except PermanentError:
                    refused_for_good.extend(numbers(batch))
                break

    await asyncio.gather(*(sender(worker) for worker in range(4)))
    await queue.shutdown()
    dropped = sum(counts.dropped.values())
    assert len(arrived) + dropped + len(refused_for_good) == 1200
    assert counts.sent == len(arrived) == sum(arrived.values())
    assert set(counts.dropped) <= {"permanent_error"}
    assert dropped + len(refused_for_good) > 0
    assert not set(refused_for_good) & set(arrived)


def test_its_size_and_capacity_stand_on_the_page_of_own_metrics() -> None:
    """Under the Collector's names, by exporter."""
    own = make_settings("otlp_grpc/far")
    queue = SendingQueue(QueueOptions(queue_size=7), own, _never)
    queue.size = 3
    page = own.telemetry.exposition(openmetrics=False).decode()
    assert 'otelcol_exporter_queue_size{exporter="otlp_grpc/far"} 3.0' in page
    assert 'otelcol_exporter_queue_capacity{exporter="otlp_grpc/far"} 7.0' in page


async def _never(_batch: Batch, _result: Result) -> None:
    raise AssertionError("nothing is to be delivered")
