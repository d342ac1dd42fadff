"""The one thread that writes a journey store: takes batches from a bounded queue, and keeps the store in order when it
has time. Who hands over batches never waits for it."""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Protocol

from otel_pipeline._native import Batch, JourneyPlan
from otel_pipeline.errors import CorruptStoreError, StoreError
from otel_pipeline.journeys.extract import extract
from otel_pipeline.journeys.store import JourneyStore, StoreStats

__all__ = ["KeptStore", "StoreWriter", "WriterOptions"]

MAX_ITEMS = 5000
MAX_BYTES = 8 << 20
MIN_ITEMS = 500
LINGER_SECONDS = 0.5
"""A batch waits so long for others, as a transaction has its price."""
MAX_BACKOFF_SECONDS = 30.0
SETTLE_EVERY_SECONDS = 1.0
EXPIRE_EVERY_SECONDS = 30.0
AT_ONCE = 500
"""Traces whose runs are made between two looks at the queue."""
REFRESHED_IDLE, REFRESHED_BUSY = 200, 20
"""Changed traces and keys whose requirements get a new summary meanwhile, each for milliseconds."""


class KeptStore(JourneyStore, Protocol):
    """A journey store that keeps runs."""

    def settle(self, before_ns: int, limit: int = AT_ONCE) -> int:
        """Computes and keeps the runs of traces that got no span since then; gives how many."""
        ...


@dataclass(frozen=True, slots=True)
class WriterOptions:
    """Limits of a writer."""

    max_bytes: int
    """Of batches that wait."""
    idle_ns: int
    """A trace without new spans for so long gets its runs."""


class StoreWriter:
    """Writes what is offered, in order.

    `open` opens the store, `set_aside` renames what is damaged and tells the new name. `done` is called in the thread
    with batches that were written, or with the reason why they were not; `report` when the store begins or ceases to
    be usable, with the reason or nothing. `refresh` makes summaries of what changed, and gives how many.

    While the store cannot be used, what is offered waits; what does not fit is not taken.
    """

    def __init__(
        self,
        *,
        plan: JourneyPlan,
        options: WriterOptions,
        log: logging.Logger,
        open: Callable[[], KeptStore],
        set_aside: Callable[[], str],
        done: Callable[[Sequence[Batch], str], None],
        report: Callable[[str], None],
        time_ns: Callable[[], int] = time.time_ns,
        left_out: Callable[[dict[str, int]], None] = lambda _counts: None,
        refresh: Callable[[KeptStore, int], int] = lambda _store, _limit: 0,
    ) -> None:
        self.store: KeptStore | None = None
        """While it can be used."""
        self.problem = ""
        """Why it cannot be used now."""
        self.stats: StoreStats | None = None
        """As of the last upkeep."""
        self.waiting_bytes = 0
        self._plan = plan
        self._options = options
        self._log = log
        self._open = open
        self._set_aside = set_aside
        self._done = done
        self._report = report
        self._time_ns = time_ns
        self._left_out = left_out
        self._refresh = refresh
        self._queue: deque[Batch] = deque()
        self._items = 0
        self._condition = Condition()
        self._closing = False
        self._abandoned = False
        self._backoff = 0.0
        self._settle_due = self._expire_due = 0.0
        self._unsettled = False
        self._thread = Thread(target=self._run, name="journey store writer", daemon=True)

    def start(self) -> None:
        """Starts the thread; the store is opened there."""
        self._thread.start()

    def offer(self, batch: Batch) -> bool:
        """Queues a batch; False where there is no room. Takes microseconds."""
        size = batch.size_bytes
        with self._condition:
            if self._closing or (self.waiting_bytes + size > self._options.max_bytes and self.waiting_bytes):
                return False
            self.waiting_bytes += size
            self._queue.append(batch)
            self._items += batch.items
            if self._items >= MIN_ITEMS or len(self._queue) == 1:
                self._condition.notify()
        return True

    def close(self) -> None:
        """Takes nothing more; the thread ends when all is written."""
        with self._condition:
            self._closing = True
            self._condition.notify()

    def join(self, seconds: float | None = None) -> bool:
        """Waits for the thread; whether it has ended."""
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """Gives up what is queued."""
        with self._condition:
            self._closing = self._abandoned = True
            self._condition.notify()

    # --- the thread

    def _run(self) -> None:
        while True:
            batches = self._take()
            if batches:
                self._write(batches)
            if self._ended():
                break
            self._keep_order(idle=not batches)
        if self.store is not None:
            self.store.close()
            self.store = None

    def _ended(self) -> bool:
        with self._condition:
            return self._abandoned or (self._closing and not self._queue)

    def _take(self) -> list[Batch]:
        """What is written next; nothing where nothing came for a second."""
        with self._condition:
            if not self._queue and not self._closing:
                self._condition.wait(SETTLE_EVERY_SECONDS)
            if self._queue and self._items < MIN_ITEMS and not self._closing:
                self._condition.wait_for(lambda: self._items >= MIN_ITEMS or self._closing, LINGER_SECONDS)
            batches: list[Batch] = []
            items = size = 0
            while self._queue and (not batches or (items < MAX_ITEMS and size < MAX_BYTES)):
                batch = self._queue[0]
                if batches and items + batch.items > MAX_ITEMS:
                    break
                batches.append(self._queue.popleft())
                items += batch.items
                size += batch.size_bytes
            self._items -= items
            return batches

    def _write(self, batches: list[Batch]) -> None:
        """Tries until it is written, given up, or found to be a defect."""
        reason = "shutdown"
        try:
            extracted, left_out = extract(self._plan, batches)
            while not self._abandoned:
                if self._usable(lambda store: store.write([extracted])):
                    self._left_out(left_out)
                    reason = ""
                    break
                if self._closing and self.problem:
                    reason = "store_unavailable"
                    break
        except Exception:
            self._log.exception("a defect in the journey store: %d batches are dropped", len(batches))
            reason = "internal_error"
        with self._condition:
            self.waiting_bytes -= sum(batch.size_bytes for batch in batches)
        self._done(batches, reason)

    def _usable(self, use: Callable[[KeptStore], object]) -> bool:
        """Whether the store could be used, now; else the reason is told, and it is opened anew the next time."""
        try:
            if self.store is None:
                self._pause()
                self.store = self._open()
            use(self.store)
        except StoreError as error:
            self._fail(error)
            return False
        if self.problem:
            self.problem = ""
            self._report("")
        self._backoff = 0.0
        return True

    def _pause(self) -> None:
        with self._condition:
            if self._backoff and not self._closing:
                self._condition.wait_for(lambda: self._closing, self._backoff)

    def _fail(self, error: StoreError) -> None:
        if self.store is not None:
            self.store.close()
            self.store = None
        if isinstance(error, CorruptStoreError):
            self._log.error("%s: it is kept as %s, and a new one is begun", error, self._set_aside())
            if not self._backoff:
                self._backoff = 0.01
                return
        self._backoff = min(MAX_BACKOFF_SECONDS, max(0.5, self._backoff * 2))
        if str(error) != self.problem:
            self.problem = str(error)
            self._report(self.problem)

    def _keep_order(self, *, idle: bool) -> None:
        """Runs of idle traces, summaries, retention: a little at a time."""
        now = time.monotonic()
        if now < self._settle_due:
            return
        try:
            refreshed = REFRESHED_IDLE if idle else REFRESHED_BUSY
            more = self._usable(lambda store: self._settle(store, refreshed)) and idle
            if now >= self._expire_due:
                self._expire_due = now + EXPIRE_EVERY_SECONDS
                self._usable(self._expire)
        except Exception:
            more = False
            self._log.exception("a defect in the upkeep of the journey store")
        if not (more and self._unsettled):
            self._settle_due = now + SETTLE_EVERY_SECONDS

    def _settle(self, store: KeptStore, limit: int) -> None:
        settled = store.settle(self._time_ns() - self._options.idle_ns, AT_ONCE)
        refreshed = self._refresh(store, limit)
        self._unsettled = settled >= AT_ONCE or refreshed > 0

    def _expire(self, store: KeptStore) -> None:
        expired = store.expire(self._time_ns())
        self.stats = store.stats()
        if sum(expired.traces.values()):
            self._expire_due = 0.0
