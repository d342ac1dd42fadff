"""A real PostgreSQL server for tests, on a Unix socket in a folder of its own."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/lib/postgresql"))
"""Where Debian keeps the programs of its newest PostgreSQL."""
START_SECONDS = 60.0


def skip_without_server() -> None:
    """By name where PostgreSQL is not installed; an error in CI."""
    if not (BIN / "initdb").exists():
        if os.environ.get("CI") == "true":
            pytest.fail("PostgreSQL is not installed")
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")


@contextmanager
def postgres_server() -> Iterator[str]:
    """A new server and the dsn of its empty database; PostgreSQL refuses to run as root, so it runs as `nobody`."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # paths of sockets must be short
    user = "nobody" if os.geteuid() == 0 else None
    data = folder / "data"
    if user:
        shutil.chown(folder, user)
    try:
        initdb: list[str | Path] = [
            BIN / "initdb",
            "-D",
            data,
            "-U",
            "gateway",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "--no-sync",
        ]
        subprocess.run(initdb, check=True, capture_output=True, user=user, cwd=folder, env={"LC_ALL": "C"})
        options = ["-c", "listen_addresses=", "-k", str(folder), "-c", "fsync=off", "-c", "max_connections=20"]
        log = (folder / "log").open("wb")
        command: list[str | Path] = [BIN / "postgres", "-D", data, *options]
        server = subprocess.Popen(command, stdout=log, stderr=log, user=user, cwd=folder, env={"LC_ALL": "C"})
        try:
            wait_until_ready(folder, server)
            yield f"host={folder} user=gateway dbname=postgres"
        finally:
            server.send_signal(signal.SIGINT)  # does not wait for clients
            server.wait(START_SECONDS)
            log.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_until_ready(folder: Path, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        ready = subprocess.run(
            [BIN / "pg_isready", "-h", folder, "-U", "gateway", "-d", "postgres"], capture_output=True
        )
        if ready.returncode == 0:
            return
        if server.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError((folder / "log").read_text(errors="replace"))
