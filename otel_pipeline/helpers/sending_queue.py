"""The queue in front of an exporter: bounded, in memory, and joining small batches into large requests.

    sending_queue:
      queue_size: 10000
      batch: {flush_timeout: 200ms, min_size: 8192}

`consume` returns when the batch is queued, so what is queued is lost when the process dies. Joining is what makes small
requests cheap: a peer's answer costs us the same for ten items as for ten thousand.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Literal, NoReturn, Self, cast

from pydantic import Field, model_validator

from otel_pipeline.component import Settings
from otel_pipeline.errors import ConsumeError, PermanentError, RetryableError, TooLargeError
from otel_pipeline.helpers.retry import Result
from otel_pipeline.options import Duration, Options
from otel_pipeline.pdata import Batch, merge, split
from otel_pipeline.telemetry import Counts

__all__ = ["BatchOptions", "Deliver", "QueueOptions", "SendingQueue"]

MAX_MERGED_BYTES = 4_000_000
"""Joining stops here whatever the options say: many gRPC servers refuse messages over 4 MiB."""
_RETRY_AFTER_SECONDS = 1.0

Deliver = Callable[[Batch, Result], Awaitable[None]]
"""Sends a batch and adds to the result what became of its items; raises nothing but what is a bug."""


class BatchOptions(Options):
    """How queued batches of one signal are joined into one request."""

    flush_timeout: Duration = 0.2
    """A request is sent this long after its first batch came, whatever its size."""
    min_size: int = Field(8192, ge=0)
    """A request of this size is sent at once; 0 = each batch is a request of its own."""
    max_size: int = Field(0, ge=0)
    """No request is larger; a larger batch is split. 0 = no limit. Joining never goes over 4 MB in any case."""
    sizer: Literal["items", "bytes"] = "items"
    """The unit of `min_size` and `max_size`: items (spans, data points, log records) or bytes of protobuf."""

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if self.max_size and self.max_size < self.min_size:
            raise ValueError("max_size must be 0 or at least min_size")
        return self


class QueueOptions(Options):
    """The queue between a pipeline and the peer."""

    enabled: bool = True
    """Without it, each batch is delivered before its sender gets an answer."""
    num_consumers: int = Field(10, ge=1)
    """Requests that may be under way at the same time."""
    queue_size: int = Field(10_000, ge=1)
    """What fits, queued and under way together. The Collector's default is 1000, behind a batch processor; here
    requests are counted as they came, before they are joined."""
    sizer: Literal["requests", "items", "bytes"] = "requests"
    """The unit of `queue_size`: batches as they came, items, or bytes of protobuf."""
    block_on_overflow: bool = False
    """Let the sender wait when the queue is full, in place of telling it to come back later."""
    wait_for_result: bool = False
    """Answer the sender when its batch was delivered, with the peer's error where it was not."""
    batch: BatchOptions = BatchOptions()
    """How queued batches are joined. In the Collector this is off unless written; here it is on."""


_SIZERS: dict[str, Callable[[Batch], int]] = {
    "requests": lambda _batch: 1,
    "items": attrgetter("items"),
    "bytes": attrgetter("size_bytes"),
}


class Lane:
    """What is open for joining, for one signal."""

    def __init__(self, counts: Counts) -> None:
        self.counts = counts
        self.held = 0
        self.request = Request(self)
        self.timer: asyncio.TimerHandle | None = None
        counts.held = lambda: self.held


@dataclass(slots=True)
class Request:
    """Batches of one signal that are sent together."""

    lane: Lane
    batches: list[Batch] = field(default_factory=list)
    waiters: list[tuple[asyncio.Future[Result], int]] = field(default_factory=list)
    """Who waits for the result, and for how many items."""
    items: int = 0
    size_bytes: int = 0
    size: int = 0
    """In the unit of `batch.sizer`."""
    cost: int = 0
    """In the unit of the queue's `sizer`."""


class SendingQueue:
    """Takes batches and has them delivered, joined, by up to `num_consumers` workers at a time.

    Counts `sent`, `dropped` and `held` in the component's settings. A batch whose sender waits for the result is not
    held: until the answer it is still its sender's.
    """

    def __init__(self, options: QueueOptions, settings: Settings, deliver: Deliver) -> None:
        self.capacity = options.queue_size
        self.size = 0
        """Queued and under way, in the unit of the options' `sizer`."""
        self._options = options
        self._settings = settings
        self._deliver = deliver
        self._waits = options.wait_for_result
        self._cost = _SIZERS[options.sizer]
        self._batch_size = _SIZERS[options.batch.sizer]
        self._min_size = options.batch.min_size
        self._max_size = options.batch.max_size
        self._lanes = {str(signal): Lane(counts) for signal, counts in settings.counts.items()}
        self._ready: deque[Request] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._closing = False
        self._logged_loss = False
        self._show(options.sizer)

    def _show(self, unit: str) -> None:
        gauge, label = self._settings.telemetry.gauge, (self._settings.id,)
        unit = f"{{{unit}}}"
        size, capacity = "otelcol_exporter_queue_size", "otelcol_exporter_queue_capacity"
        gauge(size, lambda: {label: self.size}, unit=unit, description="Queued and under way.", labels=("exporter",))
        gauge(capacity, lambda: {label: self.capacity}, unit=unit, description="Room.", labels=("exporter",))

    async def consume(self, batch: Batch) -> None:
        """Returns when the batch is queued or, by the options, delivered.

        Raises RetryableError when the queue is full or shutting down, TooLargeError where the batch could never fit,
        and what the peer said where the sender waits for the result.
        """
        if not self._options.enabled:
            await self._deliver_now(batch)
            return
        if self._options.block_on_overflow:
            await self._wait_for_room(self._cost(batch))
        request = self.offer(batch)
        if self._waits:
            await self._wait_for_result(request, batch.items)

    def offer(self, batch: Batch) -> Request:
        """Queues the batch at once, or raises RetryableError or TooLargeError."""
        cost = self._cost(batch)
        if self._closing or self.size + cost > self.capacity:
            self._refuse(cost)
        lane = self._lanes[batch.signal]
        request = lane.request
        items, size_bytes, size = batch.items, batch.size_bytes, self._batch_size(batch)
        if request.batches and (
            request.size_bytes + size_bytes > MAX_MERGED_BYTES or 0 < self._max_size < request.size + size
        ):
            self._dispatch(lane)
            request = lane.request
        request.batches.append(batch)
        request.items += items
        request.size_bytes += size_bytes
        request.size += size
        request.cost += cost
        self.size += cost
        if not self._waits:
            lane.held += items
        if request.size >= self._min_size:
            self._dispatch(lane)
        elif lane.timer is None:
            loop = asyncio.get_running_loop()
            lane.timer = loop.call_later(self._options.batch.flush_timeout, self._dispatch, lane)
        return request

    async def shutdown(self, deadline_seconds: float | None = None) -> None:
        """Takes nothing more, sends all there is at once, and gives up what is left after `deadline_seconds`.

        Being cancelled is the same as reaching the deadline. May be called twice.
        """
        self._closing = True
        self._room.set()
        self._dispatch_all()
        try:
            if self._workers:
                await asyncio.wait(self._workers, timeout=deadline_seconds)
        finally:
            await self._give_up()

    def _dispatch(self, lane: Lane) -> None:
        """Closes the lane's open request and sees to it that a worker takes it."""
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        if not lane.request.batches:
            return
        self._ready.append(lane.request)
        lane.request = Request(lane)
        if len(self._workers) < self._options.num_consumers:
            self._workers.add(asyncio.create_task(self._work(), name=f"{self._settings.id} sending queue"))

    def _dispatch_all(self) -> None:
        for lane in self._lanes.values():
            self._dispatch(lane)

    async def _work(self) -> None:
        """Sends requests until there are none. Between the last look and the leaving nothing can be queued."""
        try:
            while self._ready:
                await self._send(self._ready.popleft())
        finally:
            self._workers.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _send(self, request: Request) -> None:
        result = Result()
        try:
            for part in self._parts(request):
                await self._deliver(part, result)
        except asyncio.CancelledError:
            _drop_rest(request, result, "shutdown", RetryableError("shut down before it was delivered"))
            raise
        except Exception:
            self._settings.log.exception("a defect in this exporter: the request is dropped")
            _drop_rest(request, result, "internal_error", PermanentError("internal error"))
        finally:
            self._settle(request, result)

    def _parts(self, request: Request) -> Sequence[Batch]:
        """The request as batches to send, within `max_size`. The request lets go of what was queued."""
        batches, request.batches = request.batches, []
        batch = batches[0] if len(batches) == 1 else merge(batches)
        if not 0 < self._max_size < request.size:
            return (batch,)
        by_items = self._options.batch.sizer == "items"
        return split(batch, self._max_size if by_items else 0, 0 if by_items else self._max_size)

    def _settle(self, request: Request, result: Result) -> None:
        """Frees the room of a request and tells its result to whoever waits, or else counts it."""
        self.size -= request.cost
        self._room.set()
        if not self._waits:
            request.lane.held -= request.items
            result.count(request.lane.counts)
            return
        error = result.error
        for waiter, items in request.waiters:
            part = result if error else result.take(items)
            if not waiter.done():
                waiter.set_result(part)

    async def _wait_for_result(self, request: Request, items: int) -> None:
        waiter: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        request.waiters.append((waiter, items))
        self._count_or_raise(request.lane.counts, await waiter)

    async def _deliver_now(self, batch: Batch) -> None:
        if self._closing:
            self._refuse(0)
        result = Result()
        await self._deliver(batch, result)
        self._count_or_raise(self._lanes[batch.signal].counts, result)

    @staticmethod
    def _count_or_raise(counts: Counts, result: Result) -> None:
        if error := result.error:
            raise error
        result.count(counts)

    async def _wait_for_room(self, cost: int) -> None:
        while not self._closing and self.size + cost > self.capacity >= cost:
            self._dispatch_all()
            self._room.clear()
            await self._room.wait()

    def _refuse(self, cost: int) -> NoReturn:
        if self._closing:
            raise RetryableError("the gateway is shutting down", retry_after=_RETRY_AFTER_SECONDS)
        if cost > self.capacity:
            raise TooLargeError(f"a batch of {cost} {self._options.sizer} never fits a queue of {self.capacity}")
        self._dispatch_all()
        raise RetryableError("the sending queue is full", retry_after=_RETRY_AFTER_SECONDS)

    async def _give_up(self) -> None:
        """Ends the workers and counts what they leave."""
        workers = tuple(self._workers)
        for worker in workers:
            worker.cancel()
        try:
            await asyncio.gather(*workers, return_exceptions=True)
        finally:
            while self._ready:
                request, result = self._ready.popleft(), Result()
                _drop_rest(request, result, "shutdown", RetryableError("shut down before it was delivered"))
                self._settle(request, result)
            lost = sum(lane.counts.dropped.get("shutdown", 0) for lane in self._lanes.values())
            if lost and not self._logged_loss:
                self._logged_loss = True
                self._settings.log.warning("shut down with %d items undelivered; they are lost", lost)


def _drop_rest(request: Request, result: Result, reason: str, error: ConsumeError) -> None:
    result.drop(request.items - result.items, reason, error)
