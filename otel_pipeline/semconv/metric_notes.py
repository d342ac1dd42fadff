"""What may stand under `annotations: otel_pipeline:` of a metric: how it is derived."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from otel_pipeline.semconv.metrics import DerivationSource
from otel_pipeline.semconv.notes import Key, Keys, MatchNotes, Notes, RuleNotes

__all__ = ["DeriveNotes", "LabelKeys", "LabelMetric", "MetricNotes", "ValueKeys"]


class ValueKeys(Notes):
    """The number that an attribute holds."""

    attribute: Keys


class LabelKeys(Notes):
    """A label's value, from other attributes than its own."""

    attribute: Keys


class LabelMetric(Notes):
    """A label's value, from the value of another metric of the same resource."""

    metric: Key


def _label_form(value: Any) -> str:
    if isinstance(value, LabelMetric) or (isinstance(value, dict) and "metric" in value):
        return "<metric>"
    return "<attribute>" if isinstance(value, dict | LabelKeys) else "<text>"


class StatesNotes(Notes):
    """One series for every value that a number stands for: 1 for the current one, 0 for the others."""

    attribute: Key
    """The label that tells the state."""
    values: dict[float, str]


class DeriveNotes(Notes):
    """One way in which a metric is derived."""

    source: DerivationSource
    """What is looked at: stage_runs, errors (where they originate), spans (that are no stage runs), all_spans, events
    (log records), points (data points of OTLP metrics), usage (tokens and cost of model requests), members (of an enum,
    constant), journeys."""
    match: MatchNotes = MatchNotes()
    """Which of them. Without `name`, points are those of the metric's own name."""
    value: (
        Annotated[
            Annotated[Literal["one", "duration", "point", "tokens", "cost"], Tag("<text>")]
            | Annotated[ValueKeys, Tag("<mapping>")],
            Discriminator(lambda value: "<mapping>" if isinstance(value, dict | ValueKeys) else "<text>"),
        ]
        | None
    ) = None
    """What is observed: 1, the duration, the point's value, tokens or cost, or the number in an attribute. Left out:
    the value of points, 1 of everything else."""
    scale: Annotated[float, Field(gt=0)] = 1.0
    """The value is multiplied by this."""
    states: StatesNotes | None = None
    labels: dict[
        Key,
        Annotated[
            Annotated[str, Tag("<text>")]
            | Annotated[LabelKeys, Tag("<attribute>")]
            | Annotated[LabelMetric, Tag("<metric>")],
            Discriminator(_label_form),
        ],
    ] = Field(default={})
    """By attribute of a label: where this source has it under another name, or a fixed text."""


class MetricNotes(RuleNotes):
    """On a metric: how the gateway derives it (`derive`), or what data points of a sender's metric get."""

    derive: tuple[DeriveNotes, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram, in the metric's unit, ascending."""
    exemplars: bool = False
    """Observations carry trace and span id."""
    extend: bool = False
    """A derived metric: adds to `derive` and to the labels of the shipped one. Else as for rules."""

    @model_validator(mode="after")
    def _check(self) -> "MetricNotes":
        if list(self.buckets) != sorted(set(self.buckets)):
            raise ValueError("buckets must ascend")
        if self.derive and self.model_fields_set & {"match", "set", "usage"}:
            raise ValueError("a derived metric cannot be a sender's too: match stands inside derive")
        if not self.derive and not self.extend and self.model_fields_set & {"buckets", "exemplars"}:
            raise ValueError("buckets and exemplars belong to derived metrics: add derive")
        return self
