"""Keeps on disk what a series store has shown, so that the store of the next run goes on from it.

A file has one whole state and then what changed from save to save. It is written anew when it has grown to a multiple
of the state, into another file that takes its name. A record that was not written to its end is left out at the next
start; what came before it is never touched.
"""

import fcntl
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock

from otel_pipeline._native import Restored, SeriesStore

__all__ = ["Checkpoint"]

_GROWTH = 4
"""A file this many times as long as the state it began with is written anew."""
_SMALL_BYTES = 1 << 20
"""Below this much more than the state it never is."""
_LOCK_SECONDS = 5.0
"""How long the exporter that is replaced may take to let go of its file."""

_ADVICE = {
    "configuration": "it was written with other options for names and labels, so its series do not continue",
    "version": "it was written by another version of the gateway, so its series do not continue",
    "foreign": "it is no checkpoint; give the exporter a directory of its own",
    "empty": "it was created and not written: was the disk full, or the power gone? Its series begin anew",
    "damaged": "parts of it are not what was written: check the disk. Series that could be read continue; gauges, and "
    "what their senders said last, are forgotten",
    "clock": "it was written in the future: has the clock been set back? Series continue; gauges, and what their "
    "senders said last, are forgotten",
    "over_limit": "max_series, max_series_per_metric or max_streams are lower than what it holds: raise them",
    "torn": "its last record was not written to its end and is left out; no scrape has shown it",
}
_SET_ASIDE = ("configuration", "version", "foreign", "empty", "damaged", "clock")


class Checkpoint:
    """The file behind one store. Methods block, and may be called from any thread; problems are logged and counted.

    A process that is killed loses nothing of what `save` took. A loss of power can lose what came after the last
    `tidy`, never what is older.
    """

    def __init__(
        self,
        store: SeriesStore,
        path: Path,
        *,
        now_ns: Callable[[], int],
        log: logging.Logger,
        count: Callable[[str], None],
    ) -> None:
        self._store = store
        self._path = path
        self._now_ns = now_ns
        self._log = log
        self._count = count
        self._busy = Lock()
        self._lock = -1
        self._file = -1
        self._state_bytes = 0
        self._bytes = 0
        self._synced_bytes = 0
        self._failing = False

    def open(self) -> Restored | None:
        """Fills the empty store and begins to write; None where the file cannot be had, or there is none yet."""
        with self._busy:
            if not self._take_lock():
                return None
            restored = self._restore()
            self._rewrite()
            return restored

    def save(self) -> None:
        """Writes down what changed. Call it when a page is made, before anyone sees it."""
        with self._busy:
            if self._file < 0:
                return
            changes = self._store.take_changes(self._now_ns())
            try:
                _write(self._file, changes)
                self._bytes += len(changes)
            except OSError as error:
                with suppress(OSError):
                    os.ftruncate(self._file, self._bytes)
                self._fail("cannot be written", error)

    def tidy(self) -> None:
        """Forces to disk what was saved, and writes the file anew where it is long or could not be written."""
        with self._busy:
            if self._lock < 0:
                return
            if self._file < 0 or self._bytes > _GROWTH * self._state_bytes + _SMALL_BYTES:
                self._rewrite()
            if self._file < 0 or self._bytes == self._synced_bytes:
                return
            self._synced_bytes = self._bytes
            file = os.dup(self._file)
        try:
            os.fdatasync(file)
        except OSError as error:
            with self._busy:
                self._fail("cannot be forced to disk", error)
        finally:
            os.close(file)

    def close(self) -> None:
        """Saves for the last time and lets go of the file; may be called twice."""
        self.save()
        self.tidy()
        with self._busy:
            self._close_file()
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1

    def _take_lock(self) -> bool:
        """One writer for each file: two would each restore what the other one shows."""
        path = self._path.with_name(f"{self._path.name}.lock")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            self._count("not_writable")
            self._log.warning(
                "%s cannot be written (%s): counters will begin anew at the next start. Set OTEL_PIPELINE_DATA_DIR or "
                "checkpoint::directory to a directory that can be written, or checkpoint::enabled to false",
                path,
                error.strerror,
            )
            return False
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                os.close(lock)
                self._count("locked")
                self._log.warning(
                    "%s is in use by another gateway: this one does not continue its series, and its own counters will "
                    "begin anew at the next start. Give each gateway a OTEL_PIPELINE_DATA_DIR of its own",
                    self._path,
                )
                return False
            self._lock = lock
            return True

    def _restore(self) -> Restored | None:
        try:
            restored = self._store.restore(self._path.read_bytes(), self._now_ns())
        except FileNotFoundError:
            return None
        except OSError as error:
            self._fail("cannot be read", error)
            self._set_aside("unreadable")
            return None
        if problem := restored.problem:
            self._count(problem)
            aside = self._set_aside(problem) if problem in _SET_ASIDE else ""
            left_out = f" ({restored.left_out} left out)" if restored.left_out else ""
            self._log.warning("%s: %s%s%s", self._path, _ADVICE[problem], left_out, aside)
        if restored.series:
            self._log.info("%d series of %d streams continue from %s", restored.series, restored.streams, self._path)
        return restored

    def _set_aside(self, problem: str) -> str:
        """Nothing is deleted, but of the files of former configurations only the last one is kept."""
        moment = "" if problem == "configuration" else f"-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
        aside = self._path.with_name(f"{self._path.name}.{problem}{moment}")
        number = 0
        while moment and aside.exists():
            number += 1
            aside = self._path.with_name(f"{self._path.name}.{problem}{moment}-{number}")
        try:
            self._path.replace(aside)
        except OSError as error:
            return f"; it cannot be set aside ({error.strerror})"
        return f"; kept as {aside.name}"

    def _rewrite(self) -> None:
        """The whole state into a new file."""
        self._close_file()
        state = self._store.take_changes(self._now_ns(), everything=True)
        new = self._path.with_name(f"{self._path.name}.new")
        file = -1
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open(new, flags, 0o600)
            _write(file, state)
            os.fdatasync(file)
            new.replace(self._path)
            _sync_folder(self._path.parent)
        except OSError as error:
            if file >= 0:
                os.close(file)
            self._fail("cannot be written", error)
            return
        self._file = file
        self._state_bytes = self._bytes = self._synced_bytes = len(state)
        if self._failing:
            self._failing = False
            self._log.warning("%s can be written again", self._path)

    def _fail(self, what: str, error: OSError) -> None:
        """Scrapes go on. The next `tidy` tries again, with the whole state."""
        self._close_file()
        self._count("write_failed")
        if not self._failing:
            self._failing = True
            self._log.error(
                "%s %s (%s): until it can be, counters fall back at a restart. Free or change the disk",
                self._path,
                what,
                error.strerror,
            )

    def _close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _write(file: int, record: bytes) -> None:
    rest = memoryview(record)
    while rest:
        rest = rest[os.write(file, rest) :]


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
