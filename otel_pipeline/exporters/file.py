"""Write batches to a file, as lines of OTLP/JSON.

exporters:
  file:
    path: /var/lib/otel/traces.jsonl
    rotation: {max_megabytes: 100, max_backups: 10}
"""

import asyncio
import errno
import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from otel_pipeline import pdata
from otel_pipeline.component import Exporter, Health, Settings
from otel_pipeline.errors import ConfigError, Problem, RetryableError
from otel_pipeline.options import Duration, Options
from otel_pipeline.pdata import Batch, Signal

__all__ = ["File"]

_MEGABYTE = 1 << 20
_DAY_SECONDS = 86_400.0


class Rotation(Options):
    """When to begin a new file, and how long to keep the old ones."""

    max_megabytes: int = Field(100, ge=1)
    """A file is closed before it grows over this, and renamed with the time in its name."""
    max_days: int = Field(0, ge=0)
    """Closed files older than this are deleted; 0 = never."""
    max_backups: int = Field(100, ge=0)
    """No more than this number of closed files is kept; 0 = all."""


class FileOptions(Options):
    """Options of `file`."""

    path: Path
    """The file. Missing folders are made, for our own user alone. A symbolic link is refused."""
    format: Literal["json", "proto"] = "json"
    """`json`: one OTLP/JSON request a line. `proto`: protobuf requests, each after its length in four bytes."""
    append: bool = False
    """Keep what is in the file at the start. With `rotation` it is always kept."""
    flush_interval: Duration = Field(1.0, gt=0)
    """How often what was written is forced to disk. Senders are answered when a batch is with the system."""
    rotation: Rotation | None = None
    """Off by default: one file that grows."""


class File(Exporter):
    """Appends each batch to the file before it answers; there is no queue. A full disk is a retryable error."""

    type = "file"
    Config = FileOptions
    config: FileOptions

    def __init__(self, config: FileOptions, settings: Settings) -> None:
        super().__init__(config, settings)
        self._encode = _json_line if config.format == "json" else _proto_record
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"exporter {settings.id}")
        self._output: Output | None = None
        self._syncing: asyncio.Task[None] | None = None
        self._failing = False

    async def start(self) -> None:
        """Opens the file; raises ConfigError where that cannot be done."""
        config = self.config
        self._output = Output(config.path, config.rotation, self.settings.clock.time_ns)
        try:
            self._output.open(keep=config.append or config.rotation is not None)
        except OSError as error:
            reason = "is a symbolic link" if error.errno == errno.ELOOP else error.strerror or str(error)
            problem = f"cannot write to {str(config.path)!r}: {reason}"
            raise ConfigError([Problem(f"exporters::{self.settings.id}::path", problem)]) from None
        self._syncing = asyncio.create_task(self._sync(self._output), name=f"{self.settings.id} sync")

    async def consume(self, batch: Batch) -> None:
        """Returns when the batch is in the file; RetryableError when it cannot be written now."""
        output = self._output
        if output is None:
            raise RetryableError("the file is not open")
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, lambda: output.write(self._encode(batch)))
        except OSError as error:
            self._report(Health.RECOVERABLE_ERROR, f"cannot write: {error.strerror}")
            raise RetryableError(f"cannot write to the file: {error.strerror}") from None
        self._report(Health.OK, "writes again")
        self.settings.counts[Signal(batch.signal)].sent += batch.items

    def _report(self, health: Health, reason: str) -> None:
        failing = health is not Health.OK
        if failing != self._failing:
            self._failing = failing
            self.settings.report(health, reason)
            self.settings.log.warning("%s: %s", self.config.path, reason)

    async def _sync(self, output: "Output") -> None:
        while True:
            await asyncio.sleep(self.config.flush_interval)
            with suppress(OSError):
                await asyncio.get_running_loop().run_in_executor(self._thread, output.sync)

    async def shutdown(self) -> None:
        """Waits for writes under way and closes the file."""
        output, self._output = self._output, None
        if self._syncing is not None:
            self._syncing.cancel()
        if output is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, output.close)
        self._thread.shutdown(wait=False)


class Output:
    """The file and its older parts. All methods block; they are called from one thread at a time."""

    def __init__(self, path: Path, rotation: Rotation | None, time_ns: Callable[[], int]) -> None:
        self._path = path
        self._rotation = rotation
        self._time_ns = time_ns
        self._file = -1
        self._size = 0
        self._written = False

    def open(self, *, keep: bool) -> None:
        """Opens the file for writing at its end; empties it first unless it is to be kept."""
        for folder in [folder for folder in self._path.parents if not folder.exists()][::-1]:
            folder.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        flags |= os.O_NONBLOCK  # a pipe without a reader must be an error, not a wait
        descriptor = os.open(self._path, flags, 0o600)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            os.close(descriptor)
            raise OSError(errno.EPERM, "is not a regular file of our own user")
        if not keep:
            os.ftruncate(descriptor, 0)
        self._file = descriptor
        self._size = status.st_size if keep else 0

    def write(self, record: bytes) -> None:
        """Appends the whole record or, with an OSError, nothing of it."""
        rotation = self._rotation
        if rotation and self._size and self._size + len(record) > rotation.max_megabytes * _MEGABYTE:
            self._rotate(rotation)
        if self._file < 0:
            self.open(keep=True)
        rest = memoryview(record)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(record)
        self._written = True

    def sync(self) -> None:
        """Forces to disk what was written since the last time."""
        if self._written and self._file >= 0:
            self._written = False
            os.fdatasync(self._file)

    def close(self) -> None:
        """Forces to disk and closes; may be called twice."""
        if self._file >= 0:
            with suppress(OSError):
                self.sync()
            os.close(self._file)
            self._file = -1

    def _rotate(self, rotation: Rotation) -> None:
        self.close()
        self._path.rename(self._backup_path())
        self.open(keep=True)
        self._delete_old(rotation)

    def _backup_path(self) -> Path:
        """`traces-2026-01-31T12-00-00.000.jsonl` for `traces.jsonl`; the next free millisecond."""
        milliseconds = self._time_ns() // 1_000_000
        while True:
            moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
            written = moment.strftime("%Y-%m-%dT%H-%M-%S.") + f"{milliseconds % 1000:03d}"
            backup = self._path.with_name(f"{self._path.stem}-{written}{self._path.suffix}")
            if not backup.exists():
                return backup
            milliseconds += 1

    def _delete_old(self, rotation: Rotation) -> None:
        backups = sorted(self._backups(), reverse=True)
        kept = rotation.max_backups or len(backups)
        oldest = datetime.fromtimestamp(self._time_ns() / 1e9 - rotation.max_days * _DAY_SECONDS, UTC)
        for number, (moment, backup) in enumerate(backups):
            if number >= kept or (rotation.max_days and moment < oldest):
                with suppress(OSError):
                    backup.unlink()

    def _backups(self) -> Iterator[tuple[datetime, Path]]:
        """Closed files of ours, by the time in their names. What else lies in the folder is left alone."""
        stem, suffix = f"{self._path.stem}-", self._path.suffix
        for file in self._path.parent.iterdir():
            if file.name.startswith(stem) and file.name.endswith(suffix):
                written = file.name[len(stem) : len(file.name) - len(suffix)]
                with suppress(ValueError):
                    yield datetime.strptime(written, "%Y-%m-%dT%H-%M-%S.%f").replace(tzinfo=UTC), file


def _json_line(batch: Batch) -> bytes:
    return pdata.to_json(batch) + b"\n"


def _proto_record(batch: Batch) -> bytes:
    return batch.size_bytes.to_bytes(4, "big") + batch.data
