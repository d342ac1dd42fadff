"""Processors and connectors in their chains: called inline or in a worker thread, flushed, counted as edge.py tells."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from otel_pipeline.component import Connector, Consumer, Processor
from otel_pipeline.errors import ConsumeError, RetryableError
from otel_pipeline.pdata import Batch, Signal
from otel_pipeline.service.edge import Faults, count_refusal, not_ready
from otel_pipeline.telemetry import Counts

__all__ = ["INLINE_BYTES", "Chain", "Stage"]

INLINE_BYTES = 1 << 20
"""Larger batches go through processors in a worker thread, so that the loop stays free."""
_RETRY_SECONDS = 0.1

_Pending = tuple[Counts, int, bool]
"""Items on their way, and whether they are `sent` (turned into others) rather than `produced` once they are taken."""
_T = TypeVar("_T")


def _settle(pending: Iterable[_Pending], error: BaseException | None) -> None:
    for counts, items, turned in pending:
        counts.pending -= items
        if error is not None:
            count_refusal(counts, items, error)
        elif turned:
            counts.sent += items
        else:
            counts.produced += items


class Stage:
    """A processor or connector, and what its edge keeps for it: whose turn it is, and a flushed batch on its way."""

    def __init__(self, component: Processor, faults: Faults, counts: Mapping[str, Counts]) -> None:
        self.component = component
        self.faults = faults
        self.counts = counts
        """Of the signals that it takes and gives."""
        self.lock = asyncio.Lock()
        """Held while a worker thread has the component; one lock for all processors of a pipeline."""
        self.deliver: Consumer = not_ready
        """Where flushed batches go: the rest of the pipeline, or the pipelines behind a connector."""
        self.steady = not isinstance(component, Connector)
        """Whether as many items as it gives back are the same items."""
        self.gives = frozenset(component.produces if isinstance(component, Connector) else map(Signal, counts))
        """The signals that may come out."""
        self._flushed: tuple[Batch, list[_Pending]] | None = None

    def account(self, result: Batch | None) -> list[_Pending]:
        """Counts what left the component: `result`, and what it neither holds nor counted as dropped. Gives what is
        pending from now on."""
        pending: list[_Pending] = []
        for signal, counts in self.counts.items():
            given = result.items if result is not None and result.signal == signal else 0
            lost = counts.missing() - given
            if lost < 0:
                counts.created -= lost
            elif lost and signal not in self.gives:
                pending.append((counts, lost, True))
            elif lost:
                counts.dropped[self.component.drop_reason] += lost
            if given:
                pending.append((counts, given, False))
        for counts, items, _turned in pending:
            counts.pending += items
        return pending

    def check(self, result: Batch | None) -> None:
        """Raises TypeError where a component returned what it must not."""
        if result is not None and result.signal not in self.gives:
            raise TypeError(f"a batch of {result.signal} came out")

    async def flush(self) -> None:
        """Flushes, and hands on what comes of it.

        A batch that is refused for now is kept, as pending, and tried again at the next call, before the component is
        asked for more. One that is refused for good is dropped for `flush_failed`: there is no sender to tell.
        """
        if self._flushed is None:
            await self._collect()
        await self._hand_on()

    async def drain(self, until: float) -> None:
        """The last flush: hands on everything, tried again until `until` (of the loop's clock)."""
        await self.finish(until)
        self.component.draining = True
        await self._collect()
        await self.finish(until)

    async def finish(self, until: float) -> None:
        """Hands on what was flushed before; what is still refused at `until` is dropped for `flush_refused`."""
        await self._hand_on()
        while self._flushed and asyncio.get_running_loop().time() + _RETRY_SECONDS < until:
            await asyncio.sleep(_RETRY_SECONDS)
            await self._hand_on()
        if self._flushed:
            self._drop("flush_refused")

    async def _collect(self) -> None:
        try:
            async with _Away(self.lock, self.counts.values()) as away:
                now_unix_ns = self.component.settings.clock.time_ns()
                result = await away.call(lambda: self.component.flush(now_unix_ns))
                self.check(result)
                pending = self.account(result)
        except Exception as error:
            self.faults.answer(error)
            return
        if result is None:
            _settle(pending, None)
        else:
            self._flushed = result, pending

    async def _hand_on(self) -> None:
        if self._flushed is None:
            return
        batch, pending = self._flushed
        try:
            await self.deliver(batch)
        except RetryableError:
            return
        except Exception as error:
            answer = self.faults.answer(error)
            self.faults.log.warning("a flushed batch of %s was lost: %s", self.faults.label, answer)
            self._drop("flush_failed")
            return
        _settle(pending, None)
        self._flushed = None

    def _drop(self, reason: str) -> None:
        _batch, pending = self._flushed or (None, [])
        for counts, items, turned in pending:
            counts.pending -= items
            if turned:
                counts.sent += items
            else:
                counts.dropped[reason] += items
        self._flushed = None


class _Away:
    """Worker-thread calls of components, one at a time: their counts are marked, and read again when it is over.

    A call that is cancelled leaves its thread behind. The lock stays locked then: the component is not to be touched.
    """

    def __init__(self, lock: asyncio.Lock, counts: Iterable[Counts]) -> None:
        self._lock = lock
        self._counts = tuple(counts)
        self._lost = False

    async def __aenter__(self) -> "_Away":
        await self._lock.acquire()
        return self

    async def call(self, work: Callable[[], _T]) -> _T:
        """Runs `work` in a worker thread."""
        for counts in self._counts:
            counts.away = True
        self._lost = True
        try:
            result = await asyncio.get_running_loop().run_in_executor(None, work)
        except Exception:
            self._back()
            raise
        self._back()
        return result

    def _back(self) -> None:
        self._lost = False
        for counts in self._counts:
            counts.away = False

    async def __aexit__(self, *_error: object) -> None:
        if not self._lost:
            self._lock.release()


class Chain:
    """The processors of a pipeline, or from one of them on; or one connector: batches go through, then on to `next`."""

    def __init__(self, signal: Signal, stages: Sequence[Stage], lock: asyncio.Lock, next_: Consumer) -> None:
        self._steps = [(stage, stage.counts[signal]) for stage in stages]
        self._processes = [(stage.component.process, stage.check) for stage in stages]
        self._lock = lock
        self._next = next_
        self._tasks: set[asyncio.Task[None]] = set()

    async def consume(self, batch: Batch) -> None:
        """Takes a batch through; returns when everything behind has taken it."""
        if batch.size_bytes > INLINE_BYTES or self._lock.locked():
            await self._consume_apart(batch)
            return
        results, fault = self._process(batch)
        await self._finish(*self._account(batch, results, fault))

    async def _consume_apart(self, batch: Batch) -> None:
        """In a task of its own: a sender that hangs up must not leave the component in a thread and unwatched."""
        task = asyncio.create_task(self._consume_in_thread(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)

    async def _consume_in_thread(self, batch: Batch) -> None:
        async with _Away(self._lock, [counts for _stage, counts in self._steps]) as away:
            if batch.size_bytes > INLINE_BYTES:
                results, fault = await away.call(lambda: self._process(batch))
            else:
                results, fault = self._process(batch)
            taken = self._account(batch, results, fault)
        await self._finish(*taken)

    async def _finish(self, result: Batch | None, pending: list[_Pending], fault: ConsumeError | None) -> None:
        """Hands on, and ends what is pending with the answer."""
        try:
            if fault is not None:
                raise fault
            if result is not None:
                await self._next(result)
        except BaseException as error:
            _settle(pending, error)
            raise
        _settle(pending, None)

    def _process(self, batch: Batch) -> tuple[list[Batch | None], Exception | None]:
        """What each component returned, and the exception that ended it early. Touches no counts."""
        results: list[Batch | None] = []
        try:
            for process, check in self._processes:
                result = process(batch)
                if result is None:
                    results.append(None)
                    break
                if result is not batch:
                    check(result)
                    batch = result
                results.append(batch)
        except Exception as error:
            return results, error
        return results, None

    def _account(
        self, batch: Batch, results: Sequence[Batch | None], fault: Exception | None
    ) -> tuple[Batch | None, list[_Pending], ConsumeError | None]:
        pending: list[_Pending] = []
        items = batch.items
        for (stage, counts), result in zip(self._steps, results, strict=False):
            counts.consumed += items
            if result is not None and result.items == items and stage.steady:
                counts.pending += items
                pending.append((counts, items, False))
            else:
                pending += stage.account(result)
                items = result.items if result is not None else 0
        if fault is None:
            return results[-1], pending, None
        stage, counts = self._steps[len(results)]
        counts.consumed += items
        count_refusal(counts, items, fault)
        return None, pending, stage.faults.answer(fault)
