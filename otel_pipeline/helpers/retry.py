"""Delivery of one batch to a peer by the OTLP rules: try again, cut, or give up, and tell what became of the items."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pydantic import Field

from otel_pipeline.component import Health, Settings
from otel_pipeline.errors import ConsumeError, PermanentError, RetryableError, TooLargeError
from otel_pipeline.options import Duration, Options
from otel_pipeline.pdata import Batch, Signal, split
from otel_pipeline.telemetry import Counts

__all__ = ["MAX_SERVER_DELAY_SECONDS", "Attempt", "Rejection", "Result", "Retry", "RetryOptions"]

MAX_SERVER_DELAY_SECONDS = 300.0
"""The longest that a peer can make us wait."""
_LOG_INTERVAL_SECONDS = 60.0
_FAILURES_TO_REPORT = 2


class RetryOptions(Options):
    """What to do when a peer cannot take a batch now: try again after a growing, jittered time."""

    enabled: bool = True
    """Try again at all. Without it, a batch that fails once is dropped."""
    initial_interval: Duration = 5.0
    """Wait before the second try."""
    max_interval: Duration = 30.0
    """The wait grows up to this."""
    max_elapsed_time: Duration = 300.0
    """How long to go on before the batch is dropped; 0 = for ever."""
    multiplier: float = Field(1.5, ge=1)
    """How much longer each wait is than the one before."""
    randomization_factor: float = Field(0.5, ge=0, le=1)
    """Up to this part of the wait is added at random, so that many senders do not come back all at once."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """What a peer says of a batch that it took: a `partial_success`."""

    items: int
    message: str


Attempt = Callable[[Batch], Awaitable[Rejection | None]]
"""One try to send a batch; raises a ConsumeError where the peer did not take it."""


@dataclass(slots=True)
class Result:
    """What became of the items of one request; grows while its parts are delivered."""

    sent: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """By reason."""
    retryable: RetryableError | None = None
    """Why a part of it could not be delivered for now."""
    permanent: PermanentError | None = None
    """Why a part of it can never be delivered."""

    @property
    def error(self) -> ConsumeError | None:
        """What to answer whoever waits: an error where sending again makes sense, or where nothing was delivered."""
        return self.retryable or (self.permanent if not self.sent else None)

    @property
    def items(self) -> int:
        """All items whose fate is known."""
        return self.sent + sum(self.dropped.values())

    def drop(self, items: int, reason: str, error: ConsumeError | None = None) -> None:
        """Counts items that are given up."""
        self.dropped[reason] += items
        if isinstance(error, RetryableError):
            self.retryable = self.retryable or error
        elif isinstance(error, PermanentError):
            self.permanent = self.permanent or error

    def take(self, items: int) -> "Result":
        """Moves the fate of `items` items into a result of their own."""
        part = Result()
        for reason, count in self.dropped.items():
            taken = min(items, count)
            self.dropped[reason] -= taken
            part.dropped[reason] += taken
            items -= taken
        part.sent = min(items, self.sent)
        self.sent -= part.sent
        return part

    def count(self, counts: Counts) -> None:
        """Adds to what the component has counted so far."""
        counts.sent += self.sent
        for reason, items in self.dropped.items():
            counts.dropped[reason] += items


class Retry:
    """Sends batches with `attempt` until they are taken or given up. Rules: OTLP specification 1.11, Failures.

    Reports the health of the component after repeated failures, and when they end. Its log says each kind of thing at
    most once a minute.
    """

    def __init__(
        self,
        options: RetryOptions,
        settings: Settings,
        attempt: Attempt,
        *,
        pause: Callable[[float], Awaitable[None]] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._options = options
        self._settings = settings
        self._attempt = attempt
        self._pause = pause or self._wait_for_close
        self._jitter = jitter
        self._closing = asyncio.Event()
        self._failures = 0
        self._logged: dict[str, tuple[float, int]] = {}

    def close(self) -> None:
        """Ends all waiting: each batch gets one last try, at once."""
        self._closing.set()

    async def deliver(self, batch: Batch, result: Result) -> None:
        """Adds to `result` what became of the items of `batch`; does not raise ConsumeErrors.

        What a peer finds too large is cut in halves, down to single items.
        """
        todo = [batch]
        while todo:
            part = todo.pop()
            try:
                self._taken(part, await self._send(part), result)
            except TooLargeError as error:
                halves = split(part, (part.items + 1) // 2, 0) if part.items > 1 else []
                if len(halves) > 1:
                    todo.extend(reversed(halves))
                else:
                    self._drop(part, "too_large", error, result)
            except PermanentError as error:
                self._failed(error)
                self._drop(part, "permanent_error", error, result)
            except RetryableError as error:
                self._drop(part, "shutdown" if self._closing.is_set() else "retries_exhausted", error, result)

    async def _send(self, batch: Batch) -> Rejection | None:
        """One part, tried as often as the options say. Raises the last error."""
        now = self._settings.clock.monotonic
        began = now()
        interval = self._options.initial_interval
        while True:
            try:
                return await self._attempt(batch)
            except RetryableError as error:
                self._failed(error)
                wait = self._wait_seconds(interval, error.retry_after, now() - began)
                if wait is None or self._closing.is_set():
                    raise
            await self._pause(wait)
            interval = min(interval * self._options.multiplier, self._options.max_interval)

    def _wait_seconds(self, interval: float, server_delay: float | None, elapsed: float) -> float | None:
        """How long to wait before the next try; None to give up. The last try comes when the time is just used up."""
        options = self._options
        limit = options.max_elapsed_time
        if not options.enabled or (limit and elapsed >= limit):
            return None
        asked = min(max(server_delay or 0.0, 0.0), MAX_SERVER_DELAY_SECONDS)
        wait = max(asked, interval) + self._jitter() * options.randomization_factor * interval
        return min(wait, limit - elapsed) if limit else wait

    async def _wait_for_close(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            pass

    def _taken(self, batch: Batch, rejection: Rejection | None, result: Result) -> None:
        if self._failures >= _FAILURES_TO_REPORT:
            self._settings.report(Health.OK, "delivers again")
            self._settings.log.info("delivers again after %d failed tries", self._failures)
        self._failures = 0
        rejected = 0
        if rejection is not None:
            rejected = min(max(rejection.items, 0), batch.items)
            kind = "rejected_by_peer" if rejected else "peer_warning"
            self._log(kind, f"the peer rejected {rejected} of {batch.items} {_items(batch)}: {rejection.message}")
        result.sent += batch.items - rejected
        if rejected:
            result.drop(rejected, "rejected_by_peer")

    def _failed(self, error: ConsumeError) -> None:
        self._failures += 1
        if self._failures == _FAILURES_TO_REPORT:
            self._settings.report(Health.RECOVERABLE_ERROR, str(error))
        if isinstance(error, RetryableError):
            self._log("retry", f"cannot deliver for now: {error}")

    def _drop(self, batch: Batch, reason: str, error: ConsumeError, result: Result) -> None:
        result.drop(batch.items, reason, error)
        if reason != "shutdown":  # what a shutdown leaves is told once, by the queue
            what = f"{batch.items} {_items(batch)}"
            self._log(reason, f"could not deliver {what} ({reason}): {error}")

    def _log(self, kind: str, message: str) -> None:
        """A warning, unless one of its kind was written less than a minute ago."""
        now = self._settings.clock.monotonic()
        last, left_out = self._logged.get(kind, (float("-inf"), 0))
        if now - last < _LOG_INTERVAL_SECONDS:
            self._logged[kind] = (last, left_out + 1)
            return
        self._logged[kind] = (now, 0)
        self._settings.log.warning("%s%s", message, f" ({left_out} more like it before)" if left_out else "")


def _items(batch: Batch) -> str:
    return Signal(batch.signal).items
