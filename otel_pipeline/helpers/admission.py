"""How many bytes of requests may be under way at once: the guard of memory before anything is decoded."""

from collections.abc import Callable

__all__ = ["Admission"]


class Admission:
    """Bytes that were received and not yet answered, with a limit for all servers of a receiver together."""

    __slots__ = ("limit", "overloaded", "used")

    def __init__(self, limit: int, overloaded: Callable[[], str] = lambda: "") -> None:
        self.limit = limit
        self.used = 0
        self.overloaded = overloaded
        """Gives the reason why nothing may come in just now, or an empty text; asked before the limit."""

    def take(self, size: int) -> str:
        """Lets `size` more bytes in, and gives an empty text; or lets none in, and gives the reason.

        A single request always fits in an empty gateway, whatever its size.
        """
        reason = self.overloaded()
        if reason:
            return reason
        used = self.used + size
        if used > self.limit and self.used:
            return "too many bytes are in flight"
        self.used = used
        return ""

    def give(self, size: int) -> None:
        """Gives back what `take` let in."""
        self.used -= size
