"""Keeps what a `Flow` remembers in a SQLite file, so that a requirement of weeks survives restarts of the gateway."""

import json
import logging
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from otel_pipeline.journeys.flow import Environment, Flow, Requirement

__all__ = ["FlowStore"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS requirement
    (project TEXT, id TEXT, state TEXT NOT NULL, PRIMARY KEY (project, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS environment
    (project TEXT, name TEXT, state TEXT NOT NULL, PRIMARY KEY (project, name)) WITHOUT ROWID;
PRAGMA user_version = 1;
"""
_VERSION = 1


class FlowStore:
    """One file. A file that cannot be used is set aside under another name, and a new one begun; disk errors while
    saving are logged once, and the flow goes on in memory."""

    def __init__(self, path: Path, log: logging.Logger) -> None:
        self._path = path
        self._log = log
        self._failed = False

    def load(self, flow: Flow) -> None:
        """Puts everything that was saved into `flow`."""
        if not self._path.exists():
            return
        try:
            with closing(self._open()) as file:
                for project, name, state in file.execute("SELECT project, id, state FROM requirement"):
                    flow.requirements[project, name] = Requirement(**json.loads(state))
                for project, name, state in file.execute("SELECT project, name, state FROM environment"):
                    flow.environments[project, name] = Environment(**json.loads(state))
        except (sqlite3.Error, TypeError, ValueError) as error:
            flow.requirements.clear()
            flow.environments.clear()
            self._set_aside(error)

    def save(self, flow: Flow) -> None:
        """Writes what changed since the last call."""
        if not flow.changed:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._open()) as file, file:
                file.executemany("DELETE FROM requirement WHERE project = ? AND id = ?", flow.changed)
                file.executemany("INSERT INTO requirement VALUES (?, ?, ?)", _rows(flow, flow.changed))
                file.execute("DELETE FROM environment")
                environments = ((*key, json.dumps(asdict(one))) for key, one in flow.environments.items())
                file.executemany("INSERT INTO environment VALUES (?, ?, ?)", environments)
        except (OSError, sqlite3.Error) as error:
            if not self._failed:
                self._log.warning("cannot keep the state of requirements in %s: %s", self._path, error)
            self._failed = True
            return
        flow.changed.clear()
        self._failed = False

    def _open(self) -> sqlite3.Connection:
        file = sqlite3.connect(self._path, timeout=1.0)
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = NORMAL")
        if file.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
            file.executescript(_SCHEMA)
        return file

    def _set_aside(self, error: Exception) -> None:
        aside = self._path.with_suffix(".unreadable")
        self._log.error("%s cannot be read (%s): it is kept as %s, and a new one is begun", self._path, error, aside)
        for suffix in ("", "-wal", "-shm"):
            part = self._path.with_name(self._path.name + suffix)
            if part.exists():
                part.replace(aside.with_name(aside.name + suffix))


def _rows(flow: Flow, keys: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str, str]]:
    for key in keys:
        known = flow.requirements.get(key)
        if known is not None:
            yield (*key, json.dumps(asdict(known)))
