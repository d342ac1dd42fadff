"""The process: signals and exit status."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from threading import Thread

import pytest

ROOT = Path(__file__).parents[2]


class Gateway:
    """A running gateway_process.py and its output, line by line."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "tests.service.gateway_process", str(folder)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        self.lines: list[str] = []
        self._queue: Queue[str] = Queue()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._queue.put(line.rstrip("\n"))

    def wait_for(self, text: str) -> str:
        """The first line from now on that holds `text`."""
        while True:
            line = self._queue.get(timeout=60)
            self.lines.append(line)
            if text in line:
                return line

    def end(self) -> int:
        """The exit status."""
        status = self.process.wait(timeout=60)
        self._reader.join(timeout=60)
        while not self._queue.empty():
            self.lines.append(self._queue.get())
        return status


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Gateway]]:
    """Starts a gateway with a setting; ends it after the test."""
    started: list[Gateway] = []

    def begin(setting: str) -> Gateway:
        (tmp_path / "config").write_text(setting)
        started.append(Gateway(tmp_path))
        return started[-1]

    yield begin
    for gateway in started:
        gateway.process.kill()
        gateway.process.wait()
        assert gateway.process.stdout
        gateway.process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_drains_and_ends_well(start: Callable[[str], Gateway], number: int) -> None:
    """What a processor held reaches the exporter before it stops; the exit status is 0."""
    gateway = start("first")
    gateway.wait_for("receiver started")
    gateway.process.send_signal(number)
    assert gateway.end() == 0
    assert "exporter ends with 3 items" in gateway.lines
    assert not any("Traceback" in line for line in gateway.lines)


def test_the_second_signal_ends_at_once(start: Callable[[str], Gateway]) -> None:
    """A shutdown that hangs, with a deadline far away, does not hold up an operator who insists."""
    gateway = start("stubborn")
    gateway.wait_for("receiver started")
    gateway.process.send_signal(signal.SIGTERM)
    gateway.wait_for("SIGTERM: draining")
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.end() == 1


def test_a_signal_during_the_start_ends_it(start: Callable[[str], Gateway]) -> None:
    """What has been started is stopped, receivers are never opened."""
    gateway = start("slow")
    gateway.wait_for("exporter started slow")
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.end() == 0
    assert "receiver started" not in gateway.lines


def test_hangup_keeps_the_old_configuration_when_the_new_one_is_bad(
    start: Callable[[str], Gateway], tmp_path: Path
) -> None:
    """Every problem is logged, on a line of its own and without what a terminal obeys; then a good one is taken."""
    gateway = start("first")
    gateway.wait_for("receiver started")
    (tmp_path / "config").write_text("bad")
    gateway.process.send_signal(signal.SIGHUP)
    gateway.wait_for("the old configuration stays in force, the new one has 2 problems")
    gateway.wait_for("receivers::in: is wrong")
    assert "is wrong\\u001b[31m too" in gateway.wait_for("exporters::out")
    (tmp_path / "config").write_text("second")
    gateway.process.send_signal(signal.SIGHUP)
    gateway.wait_for("exporter ends with 3 items")
    gateway.wait_for("exporter started second")
    gateway.wait_for("configuration reloaded")
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.end() == 0


def test_a_component_that_does_not_start_ends_the_process_with_its_name(start: Callable[[str], Gateway]) -> None:
    """Exit status 1 and one line that says which and why."""
    gateway = start("broken")
    assert gateway.end() == 1
    assert any(line.endswith("exporter 'out' did not start: port 4317 is in use") for line in gateway.lines)
    assert not any("Traceback" in line for line in gateway.lines)
