"""Delivery by the OTLP rules: what is tried again and when, what is cut, what is given up, and how it counts."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_pipeline.component import Health, Settings
from otel_pipeline.errors import ConsumeError, PermanentError, RetryableError, TooLargeError
from otel_pipeline.helpers.retry import MAX_SERVER_DELAY_SECONDS, Rejection, Result, Retry, RetryOptions
from otel_pipeline.pdata import Batch, to_proto
from otel_pipeline.testing import FakeTime, make_settings, make_span, make_traces, until


def spans(count: int = 3) -> Batch:
    return make_traces(*[make_span(span=number + 1) for number in range(count)])


@dataclass
class Bench:
    """A Retry over a peer with prepared answers, on a clock that its waiting advances."""

    options: dict[str, Any] = field(default_factory=dict)
    answers: list[ConsumeError | Rejection | None] = field(default_factory=list)
    """One for each try; the last stays."""
    jitter: float = 0.0
    time: FakeTime = field(default_factory=FakeTime)
    waits: list[float] = field(default_factory=list)
    tried: list[int] = field(default_factory=list)
    healths: list[Health] = field(default_factory=list)
    attempt_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.settings: Settings = make_settings("otlp_grpc", time=self.time)
        self.settings.report = lambda health, _reason: self.healths.append(health)
        self.retry = Retry(
            RetryOptions.model_validate(self.options),
            self.settings,
            self.attempt,
            pause=self.pause,
            jitter=lambda: self.jitter,
        )

    async def attempt(self, batch: Batch) -> Rejection | None:
        self.tried.append(batch.items)
        self.time.advance(self.attempt_seconds)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, ConsumeError):
            raise answer
        return answer

    async def pause(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time.advance(seconds)

    async def deliver(self, batch: Batch) -> Result:
        result = Result()
        await self.retry.deliver(batch, result)
        assert result.items == batch.items
        return result


LATER = RetryableError("busy")


async def test_waits_grow_up_to_the_maximum() -> None:
    """The wait begins at `initial_interval`, grows by `multiplier` and stays at `max_interval`."""
    bench = Bench({"initial_interval": "1s", "max_interval": "4s", "multiplier": 2}, [LATER] * 5 + [None])
    result = await bench.deliver(spans())
    assert bench.waits == [1, 2, 4, 4, 4]
    assert (result.sent, result.error) == (3, None)


async def test_jitter_is_added_to_each_wait() -> None:
    """Up to `randomization_factor` of the back-off is added, on top of what the server asked for, too."""
    bench = Bench({"initial_interval": "10s", "randomization_factor": 0.5}, [LATER, None], jitter=0.9)
    await bench.deliver(spans())
    assert bench.waits == [14.5]
    asked = Bench({"initial_interval": "10s"}, [RetryableError("busy", retry_after=20), None], jitter=0.9)
    await asked.deliver(spans())
    assert asked.waits == [24.5]


@given(
    jitter=st.floats(0, 1, exclude_max=True),
    asked=st.one_of(st.none(), st.floats(allow_nan=False)),
    elapsed=st.floats(0, 1000),
    limit=st.sampled_from(["0", "300s", "1s"]),
)
def test_no_peer_can_make_us_wait_for_ever_or_not_at_all(
    jitter: float, asked: float | None, elapsed: float, limit: str
) -> None:
    """Whatever the peer asks, the wait is at least the back-off or the end of the budget, and bounded."""
    bench = Bench({"max_elapsed_time": limit}, [None], jitter=jitter)
    wait = bench.retry._wait_seconds(5.0, asked, elapsed)
    seconds = {"0": 0.0, "300s": 300.0, "1s": 1.0}[limit]
    if seconds and elapsed >= seconds:
        assert wait is None
    else:
        assert wait is not None
        assert min(5.0, seconds - elapsed if seconds else 5.0) <= wait <= MAX_SERVER_DELAY_SECONDS + 2.5


@pytest.mark.parametrize(
    ("asked", "waited"), [(None, 5.0), (1.0, 5.0), (12.0, 12.0), (1e9, MAX_SERVER_DELAY_SECONDS), (-3.0, 5.0)]
)
async def test_the_wait_is_the_longer_of_server_delay_and_back_off(asked: float | None, waited: float) -> None:
    """A server delay counts where it is longer than the back-off, clamped."""
    bench = Bench({"max_elapsed_time": 0}, [RetryableError("busy", retry_after=asked), None])
    await bench.deliver(spans())
    assert bench.waits == [waited]


async def test_gives_up_when_the_time_is_used_up() -> None:
    """After `max_elapsed_time`, with a last try at its very end, the batch is dropped for `retries_exhausted`."""
    bench = Bench({"initial_interval": "4s", "multiplier": 1, "max_elapsed_time": "10s"}, [LATER], attempt_seconds=0.5)
    result = await bench.deliver(spans())
    assert bench.waits == [4, 4, 0.5]
    assert dict(result.dropped) == {"retries_exhausted": 3}
    assert result.error is LATER


async def test_zero_elapsed_time_never_gives_up() -> None:
    """`max_elapsed_time: 0` goes on for days."""
    bench = Bench({"max_elapsed_time": 0, "initial_interval": "1h", "max_interval": "1h"}, [LATER] * 100 + [None])
    assert (await bench.deliver(spans())).sent == 3
    assert len(bench.waits) == 100


async def test_disabled_means_one_try() -> None:
    """Without retry a retryable error drops the batch after one try."""
    bench = Bench({"enabled": False}, [LATER])
    result = await bench.deliver(spans())
    assert (bench.tried, dict(result.dropped), result.error) == ([3], {"retries_exhausted": 3}, LATER)


async def test_permanent_errors_are_not_tried_again() -> None:
    """One try, dropped for `permanent_error`, and whoever waits is told so."""
    never = PermanentError("bad data")
    bench = Bench({}, [never])
    result = await bench.deliver(spans())
    assert (bench.tried, dict(result.dropped), result.error) == ([3], {"permanent_error": 3}, never)


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_what_is_too_large_is_halved_until_it_fits(limit: int) -> None:
    """A batch over the peer's limit arrives in pieces, every item, in order."""
    bench = Bench({}, [None])
    arrived: list[int] = []

    async def attempt(batch: Batch) -> None:
        if batch.items > limit:
            raise TooLargeError("413")
        scopes = to_proto(batch).resource_spans[0].scope_spans
        arrived.extend(int.from_bytes(span.span_id, "big") for scope in scopes for span in scope.spans)

    bench.retry._attempt = attempt
    result = await bench.deliver(spans(7))
    assert (result.sent, result.error) == (7, None)
    assert arrived == [1, 2, 3, 4, 5, 6, 7]
    assert not bench.waits


async def test_an_item_that_is_too_large_alone_costs_only_itself() -> None:
    """One huge item is dropped for `too_large`; its neighbours arrive."""
    batch = make_traces(make_span(span=1), make_span(span=2, text="x" * 5000), make_span(span=3), make_span(span=4))
    bench = Bench({}, [None])

    async def attempt(batch: Batch) -> None:
        if batch.size_bytes > 5000:
            raise TooLargeError("413")

    bench.retry._attempt = attempt
    result = await bench.deliver(batch)
    assert (result.sent, dict(result.dropped), result.error) == (3, {"too_large": 1}, None)


async def test_rejected_items_are_dropped_and_never_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    """`partial_success` is a success: rejected items count as `rejected_by_peer`, the reason is logged."""
    bench = Bench({}, [Rejection(2, "too old")])
    result = await bench.deliver(spans(5))
    assert (bench.tried, result.sent, dict(result.dropped)) == ([5], 3, {"rejected_by_peer": 2})
    assert result.error is None
    assert "too old" in caplog.text


@pytest.mark.parametrize(("claimed", "rejected"), [(9, 5), (-1, 0), (0, 0)])
async def test_a_peer_cannot_reject_more_than_was_sent(claimed: int, rejected: int) -> None:
    """Nonsense counts of a peer are brought into what is possible."""
    result = await Bench({}, [Rejection(claimed, "odd")]).deliver(spans(5))
    assert (result.sent, sum(result.dropped.values())) == (5 - rejected, rejected)


async def test_retryable_parts_decide_the_answer() -> None:
    """Where one half arrived and the other could not for now, the sender is asked to send again: nothing is lost."""
    bench = Bench({"enabled": False}, [TooLargeError("413"), None, LATER])
    result = await bench.deliver(spans(4))
    assert (result.sent, dict(result.dropped), result.error) == (2, {"retries_exhausted": 2}, LATER)


async def test_closing_gives_each_batch_one_last_try() -> None:
    """`close` ends a wait at once; a last failure drops the batch for `shutdown`."""
    tried: list[int] = []

    async def attempt(batch: Batch) -> None:
        tried.append(batch.items)
        raise LATER

    retry = Retry(
        RetryOptions(initial_interval=3600.0, max_interval=3600.0, max_elapsed_time=0.0), make_settings(), attempt
    )
    result = Result()
    task = asyncio.create_task(retry.deliver(spans(), result))
    await until(lambda: tried)
    await asyncio.sleep(0)
    assert not task.done()
    retry.close()
    await asyncio.wait_for(task, 60)
    assert (tried, dict(result.dropped), result.error) == ([3, 3], {"shutdown": 3}, LATER)


async def test_health_is_reported_on_repeated_failure_and_on_recovery() -> None:
    """One failure is no news; the second is reported once, and so is the recovery."""
    bench = Bench({"max_elapsed_time": 0}, [LATER, None, LATER, LATER, LATER, None])
    await bench.deliver(spans())
    assert bench.healths == []
    await bench.deliver(spans())
    assert bench.healths == [Health.RECOVERABLE_ERROR, Health.OK]


async def test_the_log_says_each_kind_of_thing_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """A peer that fails thousands of times costs a line a minute, which tells how many were left out."""
    caplog.set_level(logging.WARNING)
    bench = Bench({}, [PermanentError("bad")])
    for _ in range(100):
        await bench.deliver(spans(1))
    assert len(caplog.records) == 1
    bench.time.advance(61)
    await bench.deliver(spans(1))
    assert [record.getMessage() for record in caplog.records] == [
        "could not deliver 1 spans (permanent_error): bad",
        "could not deliver 1 spans (permanent_error): bad (99 more like it before)",
    ]


@given(
    sent=st.integers(0, 50),
    dropped=st.dictionaries(st.sampled_from("abc"), st.integers(0, 20)),
    cuts=st.lists(st.integers(0, 30)),
)
def test_taking_shares_keeps_every_item(sent: int, dropped: dict[str, int], cuts: list[int]) -> None:
    """Shares of a result together are the result."""
    result = Result(sent=sent)
    for reason, count in dropped.items():
        result.drop(count, reason)
    total = result.items
    shares = [result.take(min(cut, result.items)) for cut in cuts]
    assert sum(share.items for share in shares) + result.items == total
    assert sum(share.sent for share in shares) + result.sent == sent
