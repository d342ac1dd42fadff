"""Refuses batches, with an answer that tells senders to retry, while the process uses too much memory."""

import ctypes
import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Self

from pydantic import model_validator

from otel_pipeline.component import Health, Options, Processor, Settings
from otel_pipeline.errors import RetryableError
from otel_pipeline.options import Duration, Percentage
from otel_pipeline.pdata import Batch

__all__ = ["MemoryLimiter", "MemoryLimiterConfig", "available_memory_bytes", "resident_bytes"]

_PAGE = os.sysconf("SC_PAGE_SIZE")
_MIB = 1 << 20


class MemoryLimiterConfig(Options):
    """Limits on the resident memory of the whole process."""

    check_interval: Duration = 1.0
    """How often memory is measured, at most."""
    limit_mib: int = 0
    """Hard limit in MiB; 0 = use `limit_percentage`. Above it memory is also given back to the system at once."""
    spike_limit_mib: int = 0
    """How far below the hard limit refusing begins; 0 = a fifth of the hard limit."""
    limit_percentage: Percentage = 0
    """Hard limit as a share of what the machine, or the container, has; `limit_mib` wins."""
    spike_limit_percentage: Percentage = 0
    """`spike_limit_mib` as a share of what the machine, or the container, has."""
    min_gc_interval: Duration = 10.0
    """Pause between two attempts to give memory back."""

    @model_validator(mode="after")
    def _limits(self) -> Self:
        if self.check_interval <= 0:
            raise ValueError("check_interval must be longer than 0; 1s is a good value")
        if not self.limit_mib and not self.limit_percentage:
            raise ValueError("set limit_mib or limit_percentage")
        if self.limit_mib and self.spike_limit_mib >= self.limit_mib:
            raise ValueError("spike_limit_mib must be below limit_mib")
        if self.limit_percentage and self.spike_limit_percentage >= self.limit_percentage:
            raise ValueError("spike_limit_percentage must be below limit_percentage")
        return self


def resident_bytes() -> int:
    """Resident memory of this process."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE


def available_memory_bytes() -> int:
    """What the machine has, or what the container may use where that is less (cgroup v2, then v1)."""
    total = os.sysconf("SC_PHYS_PAGES") * _PAGE
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            return min(total, int(text))
    return total


def _give_back() -> None:
    """Collects garbage and returns freed pages, which malloc would keep and which would count as used for ever."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class MemoryLimiter(Processor):
    """Above the soft limit (hard limit less spike limit) batches are refused until memory is below it again."""

    type = "memory_limiter"
    Config = MemoryLimiterConfig

    def __init__(
        self,
        config: MemoryLimiterConfig,
        settings: Settings,
        resident: Callable[[], int] = resident_bytes,
        give_back: Callable[[], None] = _give_back,
    ) -> None:
        super().__init__(config, settings)
        self._resident = resident
        self._give_back = give_back
        self._hard, self._soft = _limits(config)
        self._check_at = self._give_back_at = float("-inf")
        self._refusing = False

    def process(self, batch: Batch) -> Batch | None:
        """The same batch. Raises RetryableError while memory is above the soft limit."""
        if reason := self.refusal():
            raise RetryableError(reason, retry_after=1.0)
        return batch

    def refusal(self) -> str:
        """Receivers ask this before they decode; memory is measured once an interval, whoever asks."""
        now = self.settings.clock.monotonic()
        if now >= self._check_at:
            self._check_at = now + self.config.check_interval
            self._check(now)
        return "memory usage is high, try again" if self._refusing else ""

    def _check(self, now: float) -> None:
        used = self._resident()
        if used > self._soft and now >= self._give_back_at:
            self._give_back_at = now + (
                self.config.min_gc_interval if used <= self._hard else self.config.check_interval
            )
            self._give_back()
            used = self._resident()
        if (used > self._soft) != self._refusing:
            self._refusing = used > self._soft
            self._tell(used)

    def _tell(self, used: int) -> None:
        if not self._refusing:
            self.settings.report(Health.OK, "")
            self.settings.log.info("memory is below the soft limit again: %d MiB", used // _MIB)
            return
        reason = f"memory usage {used // _MIB} MiB is above the soft limit of {self._soft // _MIB} MiB: refusing data"
        self.settings.report(Health.RECOVERABLE_ERROR, reason)
        self.settings.log.warning("%s", reason)


def _limits(config: MemoryLimiterConfig) -> tuple[int, int]:
    if config.limit_mib:
        hard = config.limit_mib * _MIB
        return hard, hard - (config.spike_limit_mib * _MIB or hard // 5)
    total = available_memory_bytes()
    hard = total * config.limit_percentage // 100
    return hard, hard - (total * config.spike_limit_percentage // 100 or hard // 5)
