"""Tells scrapers apart, so that each is shown a new series at 0 first."""

from collections import OrderedDict
from collections.abc import Callable

__all__ = ["MAX_SCRAPERS", "Scrapers"]

MAX_SCRAPERS = 64
"""Slots of the series store."""


class Scrapers:
    """Gives each identity a slot of the series store; the one that scraped longest ago loses its slot to a new one.

    An identity is whatever tells scrapers apart: remote address and User-Agent. Two Prometheus servers behind one
    address that also call themselves alike count as one, and only the faster one is shown the 0.
    """

    def __init__(self, register: Callable[[int], None]) -> None:
        self._register = register
        self._slots: OrderedDict[tuple[str, str], int] = OrderedDict()

    def slot(self, identity: tuple[str, str]) -> int:
        """The slot of a scraper that scrapes now; tells the store where it is a new one."""
        slot = self._slots.get(identity)
        if slot is None:
            full = len(self._slots) >= MAX_SCRAPERS
            slot = self._slots.popitem(last=False)[1] if full else len(self._slots)
            self._register(slot)
            self._slots[identity] = slot
        self._slots.move_to_end(identity)
        return slot
