"""The whole error tree of the gateway.

OtelPipelineError
├── ProblemsError            a list of problems, all found in one run
│   ├── ConfigError          the configuration files
│   └── SemconvError         the semantic-convention files
├── StartError               a component could not be started
├── DecodeError              a request body that is not OTLP
├── StoreError               a journey store cannot be used now
│   └── CorruptStoreError    what it keeps is damaged
└── ConsumeError             a component did not take a batch; raised between components
    ├── RetryableError       try the same batch again later: queue full, memory high, shutting down
    └── PermanentError       never send this batch again
        └── TooLargeError    over a size limit
"""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "ConfigError",
    "ConsumeError",
    "CorruptStoreError",
    "DecodeError",
    "OtelPipelineError",
    "PermanentError",
    "Problem",
    "ProblemsError",
    "RetryableError",
    "SemconvError",
    "StartError",
    "StoreError",
    "TooLargeError",
]


class OtelPipelineError(Exception):
    """Everything that this package raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a file, written for the person who has to mend it."""

    path: str
    """Where in the document, as keys joined by `::`: `processors::batch::timeout`. Empty for the whole file."""
    message: str
    """What is wrong, with the value that was found."""
    hint: str = ""
    """What to do, where it can be told: "did you mean 'send_batch_size'?"."""
    file: str = ""
    line: int = 0
    """Counted from 1; 0 where there is none."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        path = f"{self.path}: " if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}{path}{self.message}{hint}"


class ProblemsError(OtelPipelineError):
    """One or more problems in the user's files; `str()` gives one line for each."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class ConfigError(ProblemsError):
    """The configuration cannot be used."""


class SemconvError(ProblemsError):
    """The semantic-convention files cannot be used."""


class StartError(OtelPipelineError):
    """A component could not be built or started; the message names it and says why."""


class DecodeError(OtelPipelineError):
    """The bytes are not an OTLP request of that signal and encoding."""


class StoreError(OtelPipelineError):
    """A journey store cannot be used now: locked, full, unreachable. Nothing of the call was kept."""


class CorruptStoreError(StoreError):
    """What the store keeps is damaged; only a new one helps."""


class ConsumeError(OtelPipelineError):
    """A component did not take a batch."""


class RetryableError(ConsumeError):
    """The batch may be sent again; nothing of it was kept by the component that raised this."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds to wait, where the refusing side can tell."""


class PermanentError(ConsumeError):
    """The batch will never be taken."""


class TooLargeError(PermanentError):
    """The batch is over a size limit; a smaller one may be taken."""
