"""Instants as programs read them."""

from datetime import UTC, datetime

__all__ = ["time_or_none", "time_text"]


def time_text(unix_ns: int) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(unix_ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def time_or_none(unix_ns: int) -> str | None:
    """The same; None for 0, which stands for never."""
    return time_text(unix_ns) if unix_ns else None
