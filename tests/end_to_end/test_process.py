"""The process that runs the gateway: how it is scheduled, and what it leaves behind."""

import contextlib
import os
from pathlib import Path

from tests.end_to_end.harness import StartGateway


def test_threads_of_the_gateway_do_not_interrupt_one_another(start_gateway: StartGateway) -> None:
    """Every thread is a batch thread, those of native libraries included."""
    gateway = start_gateway()
    found: set[int] = set()
    for thread in Path(f"/proc/{gateway.process.pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # one that has ended meanwhile
            found.add(os.sched_getscheduler(int(thread.name)))
    assert found == {os.SCHED_BATCH}


def test_it_ends_cleanly_and_says_so(start_gateway: StartGateway) -> None:
    """SIGTERM gives exit code 0 and no traceback, and nothing of the log is left unsaid."""
    gateway = start_gateway()
    assert gateway.stop() == 0
    log = gateway.log.read_text()
    assert "Traceback" not in log
    assert log.rstrip().endswith("stopped")
