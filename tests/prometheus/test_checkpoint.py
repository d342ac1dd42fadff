"""The file behind a store: what is kept when a process dies, the disk is full, or two want the same one."""

import errno
import logging
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_pipeline.prometheus import Restored, SeriesStore
from otel_pipeline.prometheus import checkpoint as module
from otel_pipeline.prometheus.checkpoint import Checkpoint
from otel_pipeline.testing import make_counter, make_metrics

T = 1_767_225_600_000_000_000
LOG = logging.getLogger("otel_pipeline.checkpoint")


class Run:
    """One run of a gateway: a store and its checkpoint."""

    def __init__(self, path: Path, **options: object) -> None:
        self.path = path
        self.problems: Counter[str] = Counter()
        self.store = SeriesStore(epoch_ns=T, kept=True, **options)  # type: ignore[arg-type]
        count: Callable[[str], None] = lambda reason: self.problems.update([reason])  # noqa: E731
        self.checkpoint = Checkpoint(self.store, path, now_ns=lambda: T + 1000, log=LOG, count=count)
        self.restored: Restored | None = self.checkpoint.open()

    def count(self, value: float, series: int = 0) -> None:
        metric = make_counter("c", value, {"s": series}, start_ns=T, time_ns=T + round(value))
        self.store.ingest(make_metrics(metric), T + 1000)

    def shown(self) -> list[float]:
        lines = self.store.render("text", None, T + 1000).decode().splitlines()
        return [float(line.rpartition(" ")[2]) for line in lines if line[0] != "#"]

    def die(self) -> None:
        """As a killed process does: nothing is written, the system closes what was open."""
        self.checkpoint._close_file()
        os.close(self.checkpoint._lock)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "prometheus.checkpoint"


def test_what_was_saved_is_there_after_a_kill_and_the_rest_after_an_orderly_end(path: Path) -> None:
    run = Run(path)
    run.count(5)
    run.checkpoint.save()
    run.count(6)
    run.die()
    run = Run(path)
    assert run.shown() == [5]
    run.count(7)
    run.checkpoint.close()
    run.checkpoint.close()
    run = Run(path)
    assert (run.shown(), run.problems) == ([7], {})
    run.die()


def test_only_its_user_can_read_it(path: Path) -> None:
    run = Run(path)
    assert {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {
        "prometheus.checkpoint": 0o600,
        "prometheus.checkpoint.lock": 0o600,
    }
    assert path.parent.stat().st_mode & 0o777 == 0o700
    run.die()


def test_a_file_that_has_grown_is_written_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `tidy`, to the size of the state; nothing is lost, and what comes after is there too."""
    monkeypatch.setattr(module, "_SMALL_BYTES", 0)
    run = Run(path)
    sizes = []
    for value in range(1, 100):
        run.count(value)
        run.checkpoint.save()
        run.checkpoint.tidy()
        sizes.append(path.stat().st_size)
    assert max(sizes) < 2000
    run.die()
    run = Run(path)
    assert run.shown() == [99]
    run.die()


def test_a_second_gateway_runs_without_and_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It shows and writes nothing of the first one's, whose file stays as it is."""
    monkeypatch.setattr(module, "_LOCK_SECONDS", 0.1)
    first = Run(path)
    first.count(5)
    first.checkpoint.save()
    second = Run(path)
    assert (second.restored, second.problems) == (None, {"locked": 1})
    assert "in use by another gateway" in caplog.text
    second.count(9, series=1)
    second.checkpoint.save()
    second.checkpoint.tidy()
    second.checkpoint.close()
    first.die()
    third = Run(path)
    assert third.shown() == [5]
    third.die()


def test_the_next_exporter_waits_until_the_one_before_has_let_go(path: Path) -> None:
    """Another process has the file, and ends."""
    path.parent.mkdir()
    code = (
        "import fcntl, os, sys; f = os.open(sys.argv[1], 66); fcntl.flock(f, 2); print('locked', flush=True); input()"
    )
    command = [sys.executable, "-c", code, f"{path}.lock"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdin
        holder.stdout.readline()
        holder.stdin.write("\n")
        holder.stdin.flush()
        run = Run(path)
    assert run.problems == {}
    run.die()


def test_a_full_disk_costs_no_scrape_and_is_made_up_for(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Half a record is taken back; it is told once; when there is room again everything is written."""
    run = Run(path)
    run.count(5)
    run.checkpoint.save()
    write = os.write

    def full(file: int, data: bytes) -> int:
        if len(data) <= 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, bytes(data)[:10])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        for value in (6, 7):
            run.count(value)
            run.checkpoint.save()
            run.checkpoint.tidy()
    assert caplog.text.count("No space left") == 1
    assert run.problems["write_failed"] == 3
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    now = Run(copy)
    assert (now.shown(), now.problems) == ([5], {})
    now.die()
    run.checkpoint.save()
    run.checkpoint.tidy()
    assert "can be written again" in caplog.text
    run.die()
    run = Run(path)
    assert run.shown() == [7]
    run.die()


def test_a_directory_that_cannot_be_written_costs_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no directory")
    run = Run(tmp_path / "file" / "prometheus.checkpoint")
    run.count(5)
    run.checkpoint.save()
    run.checkpoint.tidy()
    run.checkpoint.close()
    assert (run.shown(), run.problems) == ([5], {"not_writable": 1})
    assert "OTEL_PIPELINE_DATA_DIR" in caplog.text


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty"),
        (b"something else", "foreign"),
        (b"otel-pipeline checkpoint 9\n", "version"),
        (b"otel-pipeline checkpoint 2\n???", "damaged"),
    ],
)
def test_a_file_that_cannot_be_read_is_set_aside(
    path: Path, content: bytes, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Never deleted, also not the second time; the log says which file, what is wrong and what to do."""
    for _ in range(2):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        run = Run(path)
        assert run.problems == {problem: 1}
        run.count(5)
        run.checkpoint.close()
        again = Run(path)
        assert (again.shown(), again.problems) == ([5], {})
        again.die()
    kept = [file for file in path.parent.iterdir() if f".{problem}-" in file.name]
    assert [file.read_bytes() for file in kept] == [content, content]
    assert str(path) in caplog.text
    assert all(file.name in caplog.text for file in kept)


def test_other_labels_begin_anew_and_the_file_before_is_kept(path: Path) -> None:
    run = Run(path)
    run.count(5)
    run.checkpoint.close()
    before = path.read_bytes()
    run = Run(path, drop_labels=["user"])
    assert (run.shown(), run.problems) == ([], {"configuration": 1})
    run.die()
    assert path.with_name("prometheus.checkpoint.configuration").read_bytes() == before
