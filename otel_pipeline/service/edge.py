"""What happens between components: items are counted, exceptions caught, answers of branches joined.

The equation of `telemetry.Counts`, by kind. Every term is per signal; an attempt that is refused and comes again counts
as a new one.

- receiver: consumed = what it handed over; produced = taken by every pipeline (accepted). What it leaves out of a
  request itself it counts as consumed and dropped.
- processor: consumed = given to it; produced = its result was taken by everything behind. What `process` and `flush`
  neither return, nor hold, nor count as dropped themselves is dropped for `drop_reason`.
- connector, result of the same signal: as a processor. Result of another signal: what came in is `sent` (turned into
  something else), what comes out is `created`, then produced.
- exporter: consumed = given to it; refused and failed = not taken; `sent`, `dropped` and `held` are its own.
- between two components: what one has handed on (produced, refused, failed and pending, in as far as it got past the
  component itself, and what it dropped because its flush was not taken) is what the next one consumed. Behind a fan-out
  every branch consumes the whole.

While a worker thread has a component, the batch is pending at whoever handed it over, and `Counts.away` is set.
"""

import asyncio
from collections.abc import Sequence

from otel_pipeline.component import Consumer, Exporter, Settings
from otel_pipeline.errors import ConsumeError, PermanentError, RetryableError, TooLargeError
from otel_pipeline.pdata import Batch
from otel_pipeline.telemetry import Counts

__all__ = ["ExporterEdge", "Faults", "Inlet", "count_refusal", "fan_out", "not_ready"]


def fan_out(branches: Sequence[Consumer]) -> Consumer:
    """One consumer for all branches. They are asked in order, all of them; the worst answer is the answer.

    Retryable wins over permanent: the sender sends again, and branches that had taken the batch get it twice.
    """
    if len(branches) == 1:
        return branches[0]

    async def consume(batch: Batch) -> None:
        errors: list[ConsumeError] = []
        for branch in branches:
            try:
                await branch(batch)
            except ConsumeError as error:
                errors.append(error)
        if errors:
            raise _worst(errors)

    return consume


def _worst(errors: Sequence[ConsumeError]) -> ConsumeError:
    if len(errors) == 1:
        return errors[0]
    retryable = [error for error in errors if isinstance(error, RetryableError)]
    message = "; ".join(dict.fromkeys(str(error) for error in retryable or errors))
    if retryable:
        waits = [error.retry_after for error in retryable if error.retry_after is not None]
        return RetryableError(message, retry_after=min(waits, default=None))
    too_large = all(isinstance(error, TooLargeError) for error in errors)
    return TooLargeError(message) if too_large else PermanentError(message)


def count_refusal(counts: Counts, items: int, error: BaseException) -> None:
    """A cancelled call counts as refused: nobody told the sender that its items are kept."""
    if isinstance(error, Exception) and not isinstance(error, RetryableError):
        counts.failed += items
    else:
        counts.refused += items


class Faults:
    """Turns exceptions that a component may not raise into answers: counted, and logged with the component's name."""

    def __init__(self, label: str, settings: Settings) -> None:
        self.label = label
        self.log = settings.log
        self._counter = settings.telemetry.counter(
            "otel_pipeline_component_errors",
            description="Exceptions that are faults of a component.",
            labels=("component", "exception"),
        )

    def answer(self, error: Exception) -> ConsumeError:
        """The ConsumeError for the sender. Texts of exceptions may hold telemetry, so they are logged at debug only."""
        if isinstance(error, ConsumeError):
            return error
        kind = type(error).__name__
        self._counter.add(1, self.label, kind)
        self.log.error("internal error in %s: %s at %s", self.label, kind, _place(error))
        self.log.debug("internal error in %s, in full", self.label, exc_info=error)
        fault = PermanentError(f"internal error in {self.label} ({kind})")
        fault.__cause__ = error
        return fault


def _place(error: Exception) -> str:
    """File, line and function that raised."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    code = trace.tb_frame.f_code
    return f"{code.co_filename}:{trace.tb_lineno} in {code.co_qualname}"


class Inlet:
    """The consumer that a receiver has for one signal. It stays the same when a reload changes what is behind it."""

    def __init__(self, faults: Faults, counts: Counts) -> None:
        self.counts = counts
        self.target: Consumer = not_ready
        self._faults = faults
        self._resumed: asyncio.Event | None = None

    def pause(self) -> None:
        """Calls from now on wait for `resume`; those that are inside go on, and are `counts.pending`."""
        self._resumed = self._resumed or asyncio.Event()

    def resume(self) -> None:
        """Lets calls through again."""
        if self._resumed:
            self._resumed.set()
            self._resumed = None

    def close(self) -> None:
        """Refuses calls that wait, where no graph will let them in any more."""
        if self._resumed:
            self.target = not_ready
            self.resume()

    async def consume(self, batch: Batch) -> None:
        """Hands a batch to every pipeline that lists the receiver."""
        while self._resumed:
            await self._resumed.wait()
        items = batch.items
        await _counted(self.target, batch, items, self.counts, self._faults)
        self.counts.produced += items


async def _counted(consume: Consumer, batch: Batch, items: int, counts: Counts, faults: Faults) -> None:
    """Hands a batch on; until the answer comes its items are pending. Raises only ConsumeErrors, or what cancels."""
    counts.consumed += items
    counts.pending += items
    try:
        await consume(batch)
    except BaseException as error:
        counts.pending -= items
        count_refusal(counts, items, error)
        if isinstance(error, Exception):
            raise faults.answer(error) from error.__cause__
        raise
    counts.pending -= items


async def not_ready(_batch: Batch) -> None:
    """The consumer of what is not joined yet."""
    raise RetryableError("the gateway is not ready")


class ExporterEdge:
    """What stands before an exporter, for one signal."""

    def __init__(self, exporter: Exporter, faults: Faults, counts: Counts) -> None:
        self._consume = exporter.consume
        self._faults = faults
        self._counts = counts

    async def consume(self, batch: Batch) -> None:
        """Hands a batch to the exporter."""
        await _counted(self._consume, batch, batch.items, self._counts, self._faults)
