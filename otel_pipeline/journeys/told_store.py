"""Remembers in a SQLite file what was told of each requirement, so that nothing is told twice after a restart."""

import sqlite3
from collections.abc import Collection, Iterable
from contextlib import closing
from pathlib import Path

from otel_pipeline.errors import StoreError

__all__ = ["Ref", "ToldStore"]

Ref = tuple[str, str]
"""Project and requirement."""
_VERSION = 1
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS told
    (project TEXT, id TEXT, name TEXT, told_ns INTEGER NOT NULL, PRIMARY KEY (project, id, name)) WITHOUT ROWID;
PRAGMA user_version = {_VERSION};
"""


class ToldStore:
    """One file, about 100 bytes for each thing that was told. Raises StoreError where it cannot be used: what cannot be
    remembered is better told later than twice."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self, ref: Ref) -> set[str]:
        """What was told of a requirement."""
        try:
            with closing(self._open()) as file:
                return {name for (name,) in file.execute("SELECT name FROM told WHERE project = ? AND id = ?", ref)}
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{self._path}: {error}") from None

    def add(self, told: Iterable[tuple[Ref, Collection[str]]], now_ns: int) -> None:
        """Remembers all of it, or nothing."""
        rows = [(*ref, name, now_ns) for ref, names in told for name in names]
        try:
            with closing(self._open()) as file, file:
                file.executemany("INSERT OR IGNORE INTO told VALUES (?, ?, ?, ?)", rows)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{self._path}: {error}") from None

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = sqlite3.connect(self._path, timeout=5.0)
        file.execute("PRAGMA journal_mode = WAL")
        (version,) = file.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise sqlite3.DatabaseError("was made by a newer version of the gateway")
        if version < _VERSION:
            file.executescript(_SCHEMA)
        return file
