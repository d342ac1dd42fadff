"""The file exporter: whole records or none, private files, rotation, and a full disk that is no loss."""

import asyncio
import errno
import json
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from otel_pipeline import pdata
from otel_pipeline.component import Health, Settings
from otel_pipeline.errors import ConfigError, RetryableError
from otel_pipeline.exporters.file import File, FileOptions, Output, Rotation
from otel_pipeline.pdata import Batch, Signal
from otel_pipeline.testing import FakeTime, make_settings, make_span, make_traces, until


def closed_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("out-*.pb"))


@asynccontextmanager
async def export_to(path: Path, options: dict[str, Any], given: Settings | None = None) -> AsyncIterator[File]:
    config = FileOptions.model_validate({"path": str(path), "format": "proto", **options})
    exporter = File(config, given or make_settings("file"))
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.shutdown()


def spans(count: int = 2, **attributes: Any) -> Batch:
    return make_traces(*[make_span(span=number + 1, **attributes) for number in range(count)])


def records(path: Path) -> list[bytes]:
    """The requests of a file of format `proto`."""
    rest, found = path.read_bytes(), []
    while rest:
        size = int.from_bytes(rest[:4], "big")
        assert len(rest) >= 4 + size
        found.append(rest[4 : 4 + size])
        rest = rest[4 + size :]
    return found


async def test_each_batch_is_in_the_file_when_its_sender_is_answered(tmp_path: Path) -> None:
    """`consume` returns after the write; the records are the very bytes, in order."""
    own = make_settings("file")
    path = tmp_path / "out.pb"
    sent = [spans(1), spans(2), spans(3)]
    async with export_to(path, {}, own) as exporter:
        for number, batch in enumerate(sent):
            await exporter.consume(batch)
            assert len(records(path)) == number + 1
    assert records(path) == [batch.data for batch in sent]
    assert own.counts[Signal.TRACES].sent == 6


@pytest.mark.skipif(not hasattr(pdata, "to_json"), reason="batches cannot be written as JSON yet")
async def test_json_is_one_request_a_line(tmp_path: Path) -> None:
    """Each line is one OTLP/JSON request."""
    path = tmp_path / "out.jsonl"
    async with export_to(path, {"format": "json"}) as exporter:
        await exporter.consume(spans(2, note="a\nb\u2028"))
        await exporter.consume(spans(1))
    lines = path.read_bytes().splitlines()
    assert [len(json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]) for line in lines] == [2, 1]


async def test_many_senders_never_mix_their_records(tmp_path: Path) -> None:
    """Concurrent batches are whole records."""
    path = tmp_path / "out.pb"
    batches = [spans(number % 5 + 1) for number in range(50)]
    async with export_to(path, {}) as exporter:
        await asyncio.gather(*(exporter.consume(batch) for batch in batches))
    assert sorted(records(path)) == sorted(batch.data for batch in batches)


async def test_files_and_folders_are_private(tmp_path: Path) -> None:
    """Folders that are made have mode 0700, files 0600; what was there keeps its mode."""
    os.chmod(tmp_path, 0o755)
    path = tmp_path / "a" / "b" / "out.pb"
    async with export_to(path, {}) as exporter:
        await exporter.consume(spans())
    assert [stat.S_IMODE(os.stat(each).st_mode) for each in (path, path.parent, path.parent.parent, tmp_path)] == [
        0o600,
        0o700,
        0o700,
        0o755,
    ]


@pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "pipe"])
async def test_only_regular_files_are_written(tmp_path: Path, kind: str) -> None:
    """Symbolic links, folders and pipes are configuration errors; what a link points to stays as it is."""
    path, victim = tmp_path / "out.pb", tmp_path / "victim"
    match kind:
        case "link":
            victim.write_text("keep")
            path.symlink_to(victim)
        case "dangling link":
            path.symlink_to(victim)
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
    with pytest.raises(ConfigError, match="exporters::file::path: cannot write to"):
        async with asyncio.timeout(60), export_to(path, {}):
            pass
    assert (victim.read_text() if kind == "link" else victim.exists()) == ("keep" if kind == "link" else False)


@pytest.mark.parametrize(("options", "kept"), [({}, 0), ({"append": True}, 1), ({"rotation": {}}, 1)])
async def test_append_decides_about_what_is_there(tmp_path: Path, options: dict[str, Any], kept: int) -> None:
    """Without `append` the file begins empty, as in the Collector; with it, or with rotation, it goes on."""
    path = tmp_path / "out.pb"
    for _ in range(2):
        async with export_to(path, options) as exporter:
            await exporter.consume(spans())
    assert len(records(path)) == kept + 1


async def test_rotation_keeps_every_record_in_files_of_bounded_size(tmp_path: Path) -> None:
    """No file grows over the limit; closed files carry the time in their name; no record is lost or cut."""
    time = FakeTime()
    path = tmp_path / "out.pb"
    batches = [spans(1, note="x" * 300_000 + str(number)) for number in range(10)]
    async with export_to(path, {"rotation": {"max_megabytes": 1}}, make_settings("file", time=time)) as exporter:
        for batch in batches:
            await exporter.consume(batch)
    files = [*closed_files(tmp_path), path]
    assert [len(records(file)) for file in files] == [3, 3, 3, 1]
    assert [record for file in files for record in records(file)] == [batch.data for batch in batches]
    assert files[0].name == "out-2026-01-01T00-00-00.000.pb"
    assert all(file.stat().st_size <= 1 << 20 for file in files)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_old_files_are_deleted_by_number_and_age(tmp_path: Path) -> None:
    """`max_backups` and `max_days` delete the oldest closed files, and nothing else in the folder."""
    time = FakeTime()
    path = tmp_path / "out.pb"
    for name in ("out-notes.pb", "other.pb", "out-2020.txt"):
        (tmp_path / name).write_text("mine")
    old = tmp_path / "out-2025-12-01T00-00-00.000.pb"
    old.write_text("old")
    output = Output(path, Rotation(max_megabytes=1, max_backups=3, max_days=20), time.clock.time_ns)
    output.open(keep=True)
    for _ in range(7):
        output.write(b"x" * 900_000)
        time.advance(60)
    output.close()
    assert not old.exists()
    assert len(list(tmp_path.glob("out-2026-*.pb"))) == 3
    assert {file.name for file in tmp_path.iterdir() if file.read_bytes() == b"mine"} == {
        "out-notes.pb",
        "other.pb",
        "out-2020.txt",
    }


async def test_a_full_disk_is_retryable_and_leaves_whole_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENOSPC in the middle of a record: the sender keeps it, nothing of it stays, health tells, and later all is well."""
    own = make_settings("file")
    healths: list[Health] = []
    own.report = lambda health, _reason: healths.append(health)
    path = tmp_path / "out.pb"
    real_write = os.write

    def full(descriptor: int, data: Any) -> int:
        if len(data) > 20:
            return real_write(descriptor, bytes(data)[:20])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with export_to(path, {}, own) as exporter:
        await exporter.consume(spans(1))
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            for _ in range(3):
                with pytest.raises(RetryableError, match="No space left"):
                    await exporter.consume(spans(2))
        assert len(records(path)) == 1
        await exporter.consume(spans(3))
    assert records(path) == [spans(1).data, spans(3).data]
    assert own.counts[Signal.TRACES].sent == 4
    assert healths == [Health.RECOVERABLE_ERROR, Health.OK]


async def test_what_was_written_is_forced_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within `flush_interval` after a write the file is synced once, and not again without need."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    async with export_to(tmp_path / "out.pb", {"flush_interval": "5ms"}) as exporter:
        await exporter.consume(spans())
        await until(lambda: synced)
        await asyncio.sleep(0.03)
        assert len(synced) == 1


async def test_lifecycle(tmp_path: Path) -> None:
    """Shutdown without start and twice; a batch outside of the lifetime is retryable."""
    exporter = File(FileOptions(path=tmp_path / "out.pb"), make_settings("file"))
    with pytest.raises(RetryableError):
        await exporter.consume(spans())
    await exporter.shutdown()
    await exporter.shutdown()
    async with export_to(tmp_path / "out.pb", {}) as used:
        await used.consume(spans())
    await used.shutdown()
    with pytest.raises(RetryableError):
        await used.consume(spans())
