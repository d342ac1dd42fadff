"""Spans from log records in plain Python: which records become spans, of what times, below which prompt.

Knows no waiting: everything arrives before anything is decided.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Event", "Made", "make"]


@dataclass(frozen=True)
class Event:
    """A record of a session; `at` and `took` in milliseconds."""

    number: int
    session: str
    prompt: str | None
    """The id of the prompt that it names."""
    at: int
    took: int | None
    """None for a record that opens a prompt."""
    trace: int = 0
    sampled: bool = False


@dataclass(frozen=True)
class Made:
    """A span by the number of its record, its times, and the record of the prompt above it."""

    number: int
    start: int
    end: int
    below: int | None
    trace: int
    """As sent; 0 for one that was made."""


def make(events: Sequence[Event], sessions: Iterable[str], traces: Iterable[int]) -> set[Made]:
    """The spans; of `sessions` and `traces` spans came."""
    sessions, traces = set(sessions), set(traces)

    def is_told(event: Event) -> bool:
        return event.trace in traces or (event.session in sessions and (event.sampled or not event.trace))

    prompts = sorted((event for event in events if event.took is None), key=lambda event: event.at)
    ends = {prompt.number: prompt.at for prompt in prompts}
    made = set()
    for work in (event for event in events if event.took is not None and not is_told(event)):
        of_session = [prompt for prompt in prompts if prompt.session == work.session]
        if work.prompt is not None:
            above = next((prompt for prompt in of_session if prompt.prompt == work.prompt), None)
        else:
            above = next((prompt for prompt in reversed(of_session) if prompt.at <= work.at), None)
        if above:
            ends[above.number] = max(ends[above.number], work.at)
        trace = work.trace or (above.trace if above else 0)
        below = above.number if above and trace == above.trace else None
        made.add(Made(work.number, work.at - (work.took or 0), work.at, below, trace))
    made |= {Made(one.number, one.at, ends[one.number], None, one.trace) for one in prompts if not is_told(one)}
    return made
