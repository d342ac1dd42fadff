"""What the requirements of a simulated organisation share: projects, working hours, sessions of agents, trains."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

from otel_pipeline.testing.agents import Usage
from otel_pipeline.testing.outbox import SECOND, Outbox, Sender
from otel_pipeline.testing.truth import Ref

__all__ = ["HOUR", "MINUTE", "PROJECTS", "Project", "Session", "Train", "World"]

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


@dataclass(frozen=True, slots=True)
class Project:
    """How a project works."""

    name: str
    prefix: str
    """Of its requirements."""
    repositories: tuple[str, ...]
    pipeline: str
    """jenkins or github."""
    coding: str
    """How its agents are driven, which decides what their telemetry tells: by `people` in long sessions that tell the
    branch of a commit; in `resumed` sessions below a span of the conductor; in `tasks` with the requirement in their
    environment."""


PROJECTS = (
    Project("shop", "SHOP", ("acme/shop",), "jenkins", "people"),
    Project("billing", "BILL", ("acme/billing",), "github", "resumed"),
    Project("portal", "PORT", ("acme/portal-web", "acme/portal-api"), "github", "tasks"),
    Project("search", "FIND", ("acme/search",), "jenkins", "tasks"),
)
"""The third one has the same branches in both of its repositories, for different requirements."""


@dataclass(eq=False, slots=True)
class Session:
    """A session of an agent that lives on from one requirement to the next."""

    sender: Sender
    free_ns: int = 0
    prompts: int = 0
    served: int = 0


@dataclass(eq=False, slots=True)
class Train:
    """Changes that are merged, built and deployed together."""

    owners: list[Ref]
    departs_ns: int
    arrived_ns: int = 0
    revision: str = ""


@dataclass(slots=True)
class World:
    """What all requirements share."""

    out: Outbox
    rng: Random
    work: float
    late: float
    skewed: float
    closing_ns: int
    """Nothing begins after this time."""
    now: int = 0
    numbers: int = 1000
    stays: dict[Ref, list[tuple[str, int, int]]] = field(default_factory=lambda: defaultdict(list))
    usage: dict[Ref, Usage] = field(default_factory=lambda: defaultdict(Usage))
    sessions: dict[str, list[Session]] = field(default_factory=lambda: defaultdict(list))
    trains: dict[str, Train] = field(default_factory=dict)

    def number(self) -> int:
        """Of a build, a pull request, a deployment."""
        self.numbers += self.rng.randrange(1, 4)
        return self.numbers

    def between(self, low: float, high: float) -> int:
        """Some minutes, in nanoseconds."""
        return round(self.rng.uniform(low, high) * MINUTE)

    def turns(self, low: int, high: int) -> int:
        """How much an agent does: now and then far more than usual."""
        many = self.rng.choice((1, 1, 1, 1, 1, 1, 1, 1, 2, 5))
        return max(1, round(self.rng.randint(low, high) * many * self.work))

    def work_time(self, time_ns: int) -> int:
        """The first moment from then on at which people work: weekdays from 8 to 18 o'clock."""
        while True:
            then = datetime.fromtimestamp(time_ns // SECOND, UTC)
            if then.weekday() < 5 and 8 <= then.hour < 18:
                return time_ns
            time_ns += HOUR - time_ns % HOUR if then.hour != 7 or then.weekday() > 4 else self.between(61, 100)

    def skew(self) -> int:
        """Of some host's clock."""
        return 45 * SECOND if self.rng.random() < self.skewed else self.rng.randrange(-200, 200) * 1_000_000

    def lateness(self) -> int:
        """Of some host's requests."""
        return round(self.rng.uniform(20, 120) * HOUR) if self.rng.random() < self.late else 0
