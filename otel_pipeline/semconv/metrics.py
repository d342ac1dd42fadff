"""Derived metrics as the files define them, resolved: labels, and where their observations come from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from otel_pipeline._native import prometheus_name
from otel_pipeline.semconv.rules import Selector

__all__ = [
    "NANOSECONDS",
    "SPAN_SOURCES",
    "Derivation",
    "DerivationSource",
    "Instrument",
    "Label",
    "LabelFrom",
    "Metric",
    "States",
    "ValueKind",
]

DerivationSource = Literal[
    "stage_runs", "errors", "spans", "all_spans", "events", "points", "usage", "members", "journeys"
]
SPAN_SOURCES = frozenset({"stage_runs", "errors", "spans", "all_spans"})
Instrument = Literal["counter", "updowncounter", "gauge", "histogram"]
ValueKind = Literal["one", "duration", "point", "tokens", "cost"]

NANOSECONDS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9}
"""The units that durations can have."""


@dataclass(frozen=True, slots=True)
class Label:
    """One label of a metric."""

    name: str
    """Name of the Prometheus label: `project_id`."""
    attribute: str
    """Key of the attribute it is taken from: `sdlc.project.id`."""
    default: str
    """Its value where the attribute is not known: `unknown`."""


@dataclass(frozen=True, slots=True)
class LabelFrom:
    """Where one source has a label's value, instead of the label's own attribute. Exactly one of the three is set."""

    value: str | None = None
    attributes: tuple[str, ...] = ()
    """The first that is there."""
    metric: str | None = None
    """The value of this metric in the same resource."""


@dataclass(frozen=True, slots=True)
class States:
    """A number that stands for one of several states: one series for each, 1 for the current one and 0 for the rest."""

    attribute: str
    """The label that tells the state."""
    values: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Derivation:
    """One way in which a metric is derived."""

    source: DerivationSource
    match: Selector
    """What is asked of the item when it arrives."""
    late: Mapping[str, tuple[str, ...]]
    """What canonical attributes must be, decided after inheritance: any of the texts."""
    value: ValueKind | tuple[str, ...]
    """What is observed; a tuple: the number in the first of these attributes that is there."""
    scale: float
    states: States | None
    labels: Mapping[str, LabelFrom]
    """By attribute of the label."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that the gateway derives."""

    name: str
    """As in the registry: `sdlc.stage.duration`."""
    instrument: Instrument
    unit: str
    """UCUM: `s`, `{run}`."""
    brief: str
    labels: tuple[Label, ...]
    """In the order in which the file lists the attributes."""
    derivations: tuple[Derivation, ...]
    """An item is observed by each that fits."""
    buckets: tuple[float, ...]
    """Upper bounds in `unit`, ascending, without +Inf; empty for all but histograms."""
    exemplars: bool
    """Whether observations carry trace and span id."""

    @property
    def prometheus_name(self) -> str:
        """As it is scraped: `sdlc_stage_duration_seconds`."""
        return prometheus_name(self.name, self.unit, self.instrument)
