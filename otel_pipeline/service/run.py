"""The process: event loop, signals, log, exit status."""

import asyncio
import ctypes
import gc
import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvloop

from otel_pipeline.config.model import Config
from otel_pipeline.errors import ProblemsError, StartError
from otel_pipeline.service.lifecycle import Service
from otel_pipeline.service.log import configure, write_summaries

__all__ = ["run", "tune"]

_STUCK_SECONDS = 5.0
"""After the deadline of the shutdown, until a process that native code holds up is ended."""

_GRPC_EXPERIMENTS = (
    "-event_engine_listener,-event_engine_client,-event_engine_for_all_other_endpoints,-event_engine_callback_cq"
)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3), from malloc.h."""
_KEPT_BYTES = 32 << 20
"""Freed memory that the process keeps, at most; the memory_limiter gives it back under pressure."""

_log = logging.getLogger("otel_pipeline.service")


def run(load: Callable[[], Config]) -> int:
    """Runs the gateway until a signal ends it; returns the exit status.

    SIGTERM and SIGINT drain within `shutdown_timeout` and end with 0; a second one ends at once with 1. SIGHUP calls
    `load` again. A component that does not start gives 1. Raises the ProblemsError of the first `load`.
    """
    tune()
    config = load()
    restore = configure(config.service.telemetry.logs)
    try:
        return uvloop.run(_Process(load, config).main())
    finally:
        restore()


def tune() -> None:
    """Settings of the process that halve what a small gRPC request costs.

    grpcio hands each event from thread to thread. As batch threads, those that wake do not interrupt the one that
    works, so events pile up for a moment and are taken together. With grpcio's older event loop its one polling thread
    does the work of four. Garbage is mostly freed by reference counts: looking for cycles every 700 objects, over all
    that start-up made, finds next to nothing. Memory that one batch frees the next one takes; handed back to the system
    in between, every page of it would be cleared again.
    """
    with suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    os.environ.setdefault("GRPC_EXPERIMENTS", _GRPC_EXPERIMENTS)
    gc.set_threshold(20_000, 20, 50)
    with suppress(OSError, AttributeError):
        allocator = ctypes.CDLL(None)
        allocator.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        allocator.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


class _Process:
    def __init__(self, load: Callable[[], Config], config: Config) -> None:
        self._load = load
        self._config = config
        self._asked: asyncio.Queue[str] = asyncio.Queue()
        self._stopping = False
        self._starting: asyncio.Task[None] | None = None
        self._timeout = config.service.shutdown_timeout
        self._deadline = 0.0

    async def main(self) -> int:
        """Start, serve, drain."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_unhandled)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._asked.put_nowait, "reload")
        summaries = asyncio.create_task(_summaries())
        try:
            service = Service(self._config)
            self._starting = asyncio.create_task(service.start())
            await self._starting
            await self._serve(service)
        except asyncio.CancelledError:
            _log.info("stopped while starting")
            return 0
        except ProblemsError as error:
            for problem in error.problems:
                _log.error("%s", problem)
            return 1
        except StartError as error:
            _log.error("%s", error)
            return 1
        finally:
            summaries.cancel()
        return 0

    def _stop(self, number: signal.Signals) -> None:
        if self._stopping:
            _log.warning("%s again: ending at once, what is queued in memory is lost", number.name)
            logging.shutdown()
            os._exit(1)
        self._stopping = True
        _log.info("%s: draining", number.name)
        self._deadline = asyncio.get_running_loop().time() + self._timeout
        watchdog = threading.Timer(self._timeout + _STUCK_SECONDS, os._exit, (1,))
        watchdog.daemon = True
        watchdog.start()
        if self._starting and not self._starting.done():
            self._starting.cancel()
        self._asked.put_nowait("stop")

    async def _serve(self, service: Service) -> None:
        while await self._asked.get() == "reload":
            if await service.reload(self._load):
                configure(service.config.service.telemetry.logs)
                self._timeout = service.config.service.shutdown_timeout
        await service.shutdown(self._deadline - asyncio.get_running_loop().time())


async def _summaries() -> None:
    while True:
        await asyncio.sleep(60)
        write_summaries()


def _unhandled(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What no task caught: one line, without a traceback, so that clients cannot flood the log."""
    error = context.get("exception")
    _log.error("unhandled in the event loop: %s (%s)", context.get("message", ""), type(error).__name__)
    _log.debug("unhandled in the event loop, in full", exc_info=error)
