"""The memory limiter: refuses above the soft limit, with an answer that makes senders retry."""

import pytest
from pydantic import ValidationError

from otel_pipeline.component import Health
from otel_pipeline.errors import RetryableError
from otel_pipeline.processors.memory_limiter import (
    MemoryLimiter,
    MemoryLimiterConfig,
    available_memory_bytes,
    resident_bytes,
)
from otel_pipeline.testing import FakeTime, make_settings, make_span, make_traces

BATCH = make_traces(make_span())
MIB = 1 << 20


class Memory:
    """Resident memory that a test sets, and how often it was asked to be given back."""

    def __init__(self) -> None:
        self.used = 0
        self.freed_by_giving_back = 0
        self.given_back = 0

    def give_back(self) -> None:
        """Frees what the test said could be freed."""
        self.given_back += 1
        self.used -= self.freed_by_giving_back
        self.freed_by_giving_back = 0


def make(memory: Memory, time: FakeTime, **options: object) -> MemoryLimiter:
    """A limiter of 100 MiB (soft limit 80 MiB) over that memory."""
    config = MemoryLimiterConfig.model_validate({"limit_mib": 100, "check_interval": "1s"} | options)
    return MemoryLimiter(config, make_settings("memory_limiter", time=time), lambda: memory.used, memory.give_back)


def test_it_refuses_above_the_soft_limit_and_takes_below_it() -> None:
    """Refusals are retryable and end as soon as a check sees memory below the limit."""
    memory, time = Memory(), FakeTime()
    limiter = make(memory, time)
    assert limiter.process(BATCH) is BATCH
    memory.used = 81 * MIB
    time.advance(1)
    with pytest.raises(RetryableError) as refused:
        limiter.process(BATCH)
    assert refused.value.retry_after == 1.0
    memory.used = 79 * MIB
    time.advance(1)
    assert limiter.process(BATCH) is BATCH


def test_memory_is_measured_once_an_interval() -> None:
    """Between checks the answer stays, so that a batch costs no system call."""
    memory, time = Memory(), FakeTime()
    limiter = make(memory, time)
    limiter.process(BATCH)
    memory.used = 200 * MIB
    assert limiter.process(BATCH) is BATCH


def test_freed_memory_is_given_back_before_anything_is_refused() -> None:
    """What the allocator merely keeps does not count."""
    memory, time = Memory(), FakeTime()
    memory.used, memory.freed_by_giving_back = 90 * MIB, 60 * MIB
    assert make(memory, time).process(BATCH) is BATCH
    assert memory.given_back == 1


def test_giving_back_is_not_tried_at_every_check() -> None:
    """Below the hard limit there is a pause between attempts."""
    memory, time = Memory(), FakeTime()
    memory.used = 90 * MIB
    limiter = make(memory, time, min_gc_interval="10s")
    for _ in range(5):
        time.advance(1)
        with pytest.raises(RetryableError):
            limiter.process(BATCH)
    assert memory.given_back == 1


def test_its_health_says_why_it_refuses() -> None:
    """The reason names both figures; recovery is told too."""
    memory, time = Memory(), FakeTime()
    limiter = make(memory, time)
    told: list[tuple[Health, str]] = []
    limiter.settings.report = lambda health, reason: told.append((health, reason))
    memory.used = 90 * MIB
    with pytest.raises(RetryableError):
        limiter.process(BATCH)
    memory.used = 0
    time.advance(1)
    limiter.process(BATCH)
    assert told == [
        (Health.RECOVERABLE_ERROR, "memory usage 90 MiB is above the soft limit of 80 MiB: refusing data"),
        (Health.OK, ""),
    ]


@pytest.mark.parametrize(
    "options", [{}, {"limit_mib": 10, "spike_limit_mib": 10}, {"limit_mib": 1, "check_interval": "0s"}]
)
def test_limits_that_make_no_sense_are_problems(options: dict[str, object]) -> None:
    """Found when the configuration is read."""
    with pytest.raises(ValidationError):
        MemoryLimiterConfig.model_validate(options)


def test_the_real_figures_are_plausible() -> None:
    """This process uses some memory, and less than there is."""
    assert MIB < resident_bytes() < available_memory_bytes()
