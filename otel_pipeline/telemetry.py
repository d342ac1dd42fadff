"""The gateway's own counts: plain integers on the hot path, read by OpenTelemetry instruments when somebody looks."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Counter", "Counts", "Telemetry"]


@dataclass(slots=True)
class Counts:
    """Items of one signal at one component since its start.

    At every moment: consumed = produced + sent + refused + failed + sum(dropped) + held + pending.
    """

    consumed: int = 0
    """Came in."""
    produced: int = 0
    """Handed on, and taken by everything behind."""
    sent: int = 0
    """Left the gateway: delivered to a peer, written to a file, ingested into the series store."""
    refused: int = 0
    """Answered with a retryable error."""
    failed: int = 0
    """Answered with a permanent error."""
    pending: int = 0
    """Being handed on right now."""
    dropped: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Given up, by reason."""
    held: Callable[[], int] = lambda: 0
    """In a queue or buffer now."""

    def missing(self) -> int:
        """How many items the balance cannot explain; 0 in a correct gateway."""
        explained = self.produced + self.sent + self.refused + self.failed + self.pending
        return self.consumed - explained - sum(self.dropped.values()) - self.held()


class Counter:
    """A counter with labels, cheap enough to be added to per batch."""

    def __init__(self, name: str, unit: str, description: str, labels: tuple[str, ...]) -> None:
        self.name = name
        self.unit = unit
        self.description = description
        self.labels = labels
        self.values: dict[tuple[str, ...], int | float] = defaultdict(int)

    def add(self, amount: float, *label_values: str) -> None:
        """Adds `amount` (zero or more) to the series with these label values, in the order of `labels`."""
        self.values[label_values] += amount


class Telemetry:
    """Makes and keeps the gateway's own instruments."""

    def __init__(self) -> None:
        self.counters: dict[str, Counter] = {}
        self.gauges: dict[str, Callable[[], dict[tuple[str, ...], float]]] = {}

    def counter(self, name: str, *, unit: str = "1", description: str = "", labels: tuple[str, ...] = ()) -> Counter:
        """The counter of this name; made at the first call. Names are the Collector's where it has one."""
        if name not in self.counters:
            self.counters[name] = Counter(name, unit, description, labels)
        return self.counters[name]
