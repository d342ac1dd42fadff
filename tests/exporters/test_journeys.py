"""The exporter `journeys`: it never lets a sender wait, its counts balance, and a store that fails is told and mended."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from otel_pipeline.component import Health
from otel_pipeline.errors import StoreError
from otel_pipeline.exporters.journeys import Journeys, JourneysOptions
from otel_pipeline.journeys.sqlite import SqliteStore
from otel_pipeline.journeys.store import RequirementQuery
from otel_pipeline.pdata import Signal
from otel_pipeline.testing import (
    FakeTime,
    make_counter,
    make_log,
    make_logs,
    make_metrics,
    make_settings,
    make_span,
    make_traces,
    until,
)
from tests.journeys.stores import PLAN, at, trace_id, work

SECONDS = 60.0


def make(path: Path, **options: Any) -> Journeys:
    settings = make_settings("journeys", time=FakeTime(), data_dir=path)  # a day when nothing is too old
    exporter = Journeys(JourneysOptions.model_validate(options), settings)
    exporter.reports = []  # type: ignore[attr-defined]
    settings.report = lambda health, reason: exporter.reports.append((health, reason))  # type: ignore[attr-defined]
    return exporter


@asynccontextmanager
async def running(path: Path, **options: Any) -> AsyncIterator[Journeys]:
    exporter = make(path, **options)
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.shutdown()


def balance(exporter: Journeys, signal: Signal = Signal.TRACES) -> dict[str, int]:
    counts = exporter.settings.counts[signal]
    return {"sent": counts.sent, "held": counts.held(), **counts.dropped}


def reported(exporter: Journeys) -> list[tuple[Health, str]]:
    return exporter.reports  # type: ignore[attr-defined,no-any-return]


async def settled(condition: Callable[[], bool]) -> None:
    await until(condition, seconds=SECONDS)


def file(path: Path) -> Path:
    return path / "journeys" / "journeys.sqlite"


async def test_what_is_consumed_is_kept(tmp_path: Path) -> None:
    """Traces, log records and metrics go to the store and are counted as sent; shutdown writes what is queued."""
    async with running(tmp_path) as exporter:
        await exporter.consume(work(1, requirement="REQ-1"))
        await exporter.consume(
            make_logs(make_log(sdlc__requirement__id="REQ-2", session__id="s-1"), resource={"sdlc.project.id": "shop"})
        )
        await exporter.consume(make_metrics(make_counter("tokens", 1.0, start_ns=at(0), time_ns=at(1))))
    for signal in Signal:
        assert balance(exporter, signal) == {"sent": 1, "held": 0}
    store = SqliteStore(file(tmp_path), PLAN)
    assert [key.value for key in store.keys("requirement", "", 10)] == ["REQ-1", "REQ-2"]
    assert len(store.trace(trace_id(1))) == 1
    store.close()


async def test_requirements_appear_in_the_list_by_themselves(tmp_path: Path) -> None:
    """The writer makes their rows when it has time, and they are answered over HTTP's questions."""
    async with running(tmp_path) as exporter:
        await exporter.consume(work(1, requirement="REQ-1", sdlc__stage__name="coding"))
        (ask,) = (query for query in exporter.queries() if query.path == "requirements")

        def rows() -> int:
            try:
                return exporter.answers().requirements(RequirementQuery(now_ns=at(60))).total
            except StoreError:
                return 0

        await settled(lambda: rows() == 1)
        assert ask.read({})["total"] == 1


async def test_what_does_not_fit_is_dropped_and_counted(tmp_path: Path) -> None:
    """`consume` neither waits nor refuses while the store cannot take anything."""
    blocker = SqliteStore(file(tmp_path), PLAN)
    async with running(tmp_path, max_queue_mib=1) as exporter:
        batch = make_traces(make_span(text="x" * 600_000))
        for _ in range(3):
            await exporter.consume(batch)
        assert balance(exporter) == {"sent": 0, "held": 1, "queue_full": 2}
        blocker.close()
        await settled(lambda: balance(exporter)["sent"] == 1)
    assert balance(exporter) == {"sent": 1, "held": 0, "queue_full": 2}


async def test_a_second_gateway_says_so_and_goes_on_when_the_first_ends(tmp_path: Path) -> None:
    """Two on one file: the second keeps what comes in its queue, tells why, and takes over."""
    first = make(tmp_path)
    await first.start()
    await first.consume(work(1, requirement="REQ-1"))
    await settled(lambda: balance(first)["sent"] == 1)
    async with running(tmp_path) as second:
        await second.consume(work(2, requirement="REQ-2"))
        await settled(lambda: bool(reported(second)))
        health, reason = reported(second)[0]
        assert health is Health.RECOVERABLE_ERROR
        assert "another gateway uses it" in reason
        with pytest.raises(StoreError, match="another gateway"):
            second.answers().trace(trace_id(1))
        await first.shutdown()
        await settled(lambda: balance(second)["sent"] == 1)
        assert reported(second)[-1][0] is Health.OK
        assert len(second.answers().trace(trace_id(1))) == 1


async def test_a_damaged_file_is_kept_and_a_new_one_begun(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At the start: renamed, said, and nothing that comes is lost."""
    file(tmp_path).parent.mkdir()
    file(tmp_path).write_bytes(b"this is no database, whatever its name says" * 200)
    async with running(tmp_path) as exporter:
        await exporter.consume(work(1, requirement="REQ-1"))
        await settled(lambda: balance(exporter)["sent"] == 1)
    (aside,) = file(tmp_path).parent.glob("*.unreadable-*")
    assert aside.read_bytes().startswith(b"this is no database")
    assert "a new one is begun" in caplog.text


async def test_a_file_that_breaks_while_in_use_is_replaced(tmp_path: Path) -> None:
    """Pages overwritten with nonsense: the batch that found it is written to the new file."""
    async with running(tmp_path) as exporter:
        await exporter.consume(work(1, requirement="REQ-1"))
        await settled(lambda: balance(exporter)["sent"] == 1)
    path = file(tmp_path)
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)
    async with running(tmp_path) as exporter:
        await exporter.consume(work(2, requirement="REQ-2"))
        await settled(lambda: balance(exporter)["sent"] == 1)
        assert len(exporter.answers().trace(trace_id(2))) == 1
    assert len([*path.parent.glob("*.unreadable-*")]) >= 1


async def test_a_full_disk_is_told_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost that fits the queue, and the gateway lives."""
    full = True
    write = SqliteStore.write

    def failing(store: SqliteStore, extracts: Any) -> None:
        if full:
            error = sqlite3.OperationalError("database or disk is full")
            with store._transaction():
                raise error
        write(store, extracts)

    monkeypatch.setattr(SqliteStore, "write", failing)
    async with running(tmp_path) as exporter:
        await exporter.consume(work(1, requirement="REQ-1"))
        await settled(lambda: bool(reported(exporter)))
        assert "disk is full" in reported(exporter)[0][1]
        assert balance(exporter) == {"sent": 0, "held": 1}
        full = False
        await settled(lambda: balance(exporter)["sent"] == 1)


async def test_what_is_left_at_the_deadline_is_counted(tmp_path: Path) -> None:
    """Shutdown that is cancelled while the store is locked drops what is queued, with a count."""
    blocker = SqliteStore(file(tmp_path), PLAN)
    exporter = make(tmp_path)
    await exporter.start()
    await exporter.consume(work(1))
    await settled(lambda: bool(reported(exporter)))
    shutdown = asyncio.ensure_future(exporter.shutdown())
    await asyncio.wait([shutdown], timeout=SECONDS)
    counts = balance(exporter)
    assert counts.pop("held") == 0
    assert counts.pop("sent") == 0
    assert sum(counts.values()) == 1
    blocker.close()


async def test_a_defect_costs_one_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that nobody expects drops the batches at hand; the next ones are written."""
    write = SqliteStore.write
    failures = ["first"]

    def failing(store: SqliteStore, extracts: Any) -> None:
        if failures:
            raise KeyError(failures.pop())
        write(store, extracts)

    monkeypatch.setattr(SqliteStore, "write", failing)
    async with running(tmp_path) as exporter:
        await exporter.consume(work(1))
        await settled(lambda: balance(exporter).get("internal_error") == 1)
        await exporter.consume(work(2))
        await settled(lambda: balance(exporter)["sent"] == 1)


def test_storage_and_dsn_belong_together() -> None:
    """A dsn without `postgresql`, and the other way round, are mistakes; a dsn is never printed."""
    for options in ({"storage": "postgresql"}, {"dsn": "postgresql://u:secret@h/d"}):
        with pytest.raises(ValidationError, match="dsn"):
            JourneysOptions.model_validate(options)
    valid = JourneysOptions.model_validate({"storage": "postgresql", "dsn": "postgresql://u:secret@h/d"})
    assert "secret" not in repr(valid)
