"""The tables of the journey store in SQLite, and how a file of an older version becomes one of this."""

import sqlite3
from pathlib import Path

from otel_pipeline.errors import StoreError

__all__ = ["MIGRATIONS", "migrate"]

MIGRATIONS = (
    """
    CREATE TABLE trace (
        id INTEGER PRIMARY KEY,
        trace_id BLOB NOT NULL UNIQUE,
        start_ns INTEGER NOT NULL,
        end_ns INTEGER NOT NULL,
        spans INTEGER NOT NULL DEFAULT 0,
        name TEXT NOT NULL DEFAULT '',
        service TEXT NOT NULL DEFAULT '',
        errors INTEGER NOT NULL DEFAULT 0,
        unmade INTEGER);
    CREATE INDEX trace_start ON trace (start_ns);
    CREATE INDEX trace_end ON trace (end_ns);
    CREATE INDEX trace_unmade ON trace (unmade) WHERE unmade IS NOT NULL;
    CREATE TABLE chunk (id INTEGER PRIMARY KEY, trace INTEGER NOT NULL, digest INTEGER NOT NULL, blob BLOB NOT NULL);
    CREATE UNIQUE INDEX chunk_trace ON chunk (trace, digest);
    CREATE TABLE run (trace INTEGER PRIMARY KEY, runs BLOB NOT NULL);
    CREATE TABLE key (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, scope TEXT NOT NULL, value TEXT NOT NULL);
    CREATE UNIQUE INDEX key_value ON key (kind, value, scope);
    CREATE TABLE edge (
        cause INTEGER NOT NULL,
        product INTEGER NOT NULL,
        first_ns INTEGER NOT NULL,
        last_ns INTEGER NOT NULL,
        items INTEGER NOT NULL,
        trace_id BLOB NOT NULL,
        PRIMARY KEY (cause, product)) WITHOUT ROWID;
    CREATE INDEX edge_product ON edge (product);
    CREATE TABLE sighting (
        key INTEGER NOT NULL,
        trace INTEGER NOT NULL,
        first_ns INTEGER NOT NULL,
        last_ns INTEGER NOT NULL,
        items INTEGER NOT NULL,
        PRIMARY KEY (key, trace)) WITHOUT ROWID;
    CREATE INDEX sighting_trace ON sighting (trace);
    CREATE TABLE link (trace INTEGER NOT NULL, target BLOB NOT NULL, PRIMARY KEY (trace, target)) WITHOUT ROWID;
    CREATE INDEX link_target ON link (target);
    CREATE TABLE change (seq INTEGER PRIMARY KEY AUTOINCREMENT, trace INTEGER, key INTEGER);
    CREATE TABLE summary (
        project TEXT NOT NULL,
        id TEXT NOT NULL,
        class TEXT NOT NULL,
        state TEXT NOT NULL,
        stage TEXT NOT NULL,
        is_open INTEGER NOT NULL,
        start_ns INTEGER NOT NULL,
        end_ns INTEGER NOT NULL,
        lead_ns INTEGER NOT NULL,
        active_ns INTEGER NOT NULL,
        cost_usd REAL NOT NULL,
        tokens INTEGER NOT NULL,
        errors INTEGER NOT NULL,
        reruns INTEGER NOT NULL,
        due_ns INTEGER NOT NULL,
        search TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (project, id)) WITHOUT ROWID;
    """,
    """
    CREATE TABLE operation (id INTEGER PRIMARY KEY, service TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (service, name));
    CREATE TABLE trace_operation (
        operation INTEGER NOT NULL, trace INTEGER NOT NULL, PRIMARY KEY (operation, trace)) WITHOUT ROWID;
    CREATE INDEX trace_operation_trace ON trace_operation (trace);
    CREATE INDEX summary_due ON summary (due_ns) WHERE due_ns > 0;
    """,
)
"""Each makes the tables of version n out of those of version n - 1; `user_version` says how many were applied."""


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Applies what is missing, each step as a whole. Raises StoreError where the file is of a newer version."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise StoreError(f"{path}: was made by a newer version of the gateway")
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")
