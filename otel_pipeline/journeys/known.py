"""What a writer remembers of the database that it writes to, bounded."""

from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Known"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Known(Generic[K, V]):
    """Remembers the `limit` entries that were put in last, about; asking does not make an entry younger."""

    def __init__(self, limit: int = 100_000) -> None:
        self._limit = limit
        self._entries: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """None where it is not remembered."""
        return self._entries.get(key)

    def put(self, key: K, value: V) -> V:
        """Remembers and gives the value."""
        if len(self._entries) >= self._limit:
            for old in [*self._entries][: self._limit // 10]:
                del self._entries[old]
        self._entries[key] = value
        return value

    def clear(self) -> None:
        """Forgets everything: what was remembered may not have been written."""
        self._entries.clear()
