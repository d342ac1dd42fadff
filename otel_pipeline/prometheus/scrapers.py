"""Tells scrapers apart, so that each is shown a new series at 0 first."""

from collections import OrderedDict
from collections.abc import Callable, Iterable

__all__ = ["MAX_SCRAPERS", "Scrapers"]

MAX_SCRAPERS = 64
"""Slots of the series store."""


class Scrapers:
    """Gives each identity a slot of the series store; the one that scraped longest ago loses its slot to a new one.

    An identity is whatever tells scrapers apart: remote address and User-Agent. Two Prometheus servers behind one
    address that also call themselves alike count as one, and only the faster one is shown the 0.
    """

    def __init__(self, register: Callable[[int, str], None]) -> None:
        self._register = register
        self._slots: OrderedDict[str, int] = OrderedDict()

    def restore(self, slots: Iterable[tuple[int, str]]) -> None:
        """Goes on with the slots that an earlier store gave away."""
        self._slots = OrderedDict((name, slot) for slot, name in slots)

    def slot(self, identity: tuple[str, str]) -> int:
        """The slot of a scraper that scrapes now; tells the store where it is a new one."""
        name = "\n".join(identity)
        slot = self._slots.get(name)
        if slot is None:
            taken = set(self._slots.values())
            free = (number for number in range(MAX_SCRAPERS) if number not in taken)
            slot = next(free, None)
            if slot is None:
                slot = self._slots.popitem(last=False)[1]
            self._register(slot, name)
            self._slots[name] = slot
        self._slots.move_to_end(name)
        return slot
