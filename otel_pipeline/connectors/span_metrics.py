"""Call counts and durations of all spans, under the names and options of the Collector's connector of this name."""

from itertools import pairwise
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from otel_pipeline.component import Connector, Options, Settings
from otel_pipeline.helpers.span_aggregation import SpanAggregation, nanoseconds
from otel_pipeline.options import Duration
from otel_pipeline.pdata import Batch, Signal

__all__ = ["SpanMetrics", "SpanMetricsConfig"]

_DEFAULT_DIMENSIONS = {
    "service.name": {"attributes": ["service.name"]},
    "span.name": {"field": "span_name"},
    "span.kind": {"field": "span_kind"},
    "status.code": {"field": "status_code"},
}
_DEFAULT_BUCKETS = (0.002, 0.004, 0.006, 0.008, 0.01, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.4, 2.0, 5.0, 10.0, 15.0)
_UNITS_PER_SECOND = {"ms": 1000, "s": 1}

DefaultDimension = Literal["service.name", "span.name", "span.kind", "status.code"]


class Explicit(Options):
    """A histogram with fixed buckets."""

    buckets: tuple[Duration, ...] = _DEFAULT_BUCKETS
    """Upper bounds, ascending. The default is the Collector's and ends at 15s: give your own for work that takes
    minutes or hours."""

    @field_validator("buckets")
    @classmethod
    def _ascend(cls, buckets: tuple[float, ...]) -> tuple[float, ...]:
        if any(bound >= after for bound, after in pairwise(buckets)):
            raise ValueError("bounds must ascend")
        return buckets


class Histogram(Options):
    """The histogram of durations."""

    disable: bool = False
    """Leaves the histogram out; calls are still counted."""
    unit: Literal["ms", "s"] = "ms"
    """The unit of the values, and of the metric: `_milliseconds` or `_seconds` in Prometheus, which prefers seconds."""
    explicit: Explicit = Explicit()
    """The buckets."""


class Dimension(Options):
    """A further label."""

    name: str = Field(min_length=1)
    """Key of the attribute that is looked up on the span, then on its scope, then on its resource."""
    default: str | None = None
    """The value of spans without the attribute; without a default they do not get the label."""


class Exemplars(Options):
    """Trace and span ids on data points."""

    enabled: bool = False
    """Whether data points carry exemplars."""
    max_per_data_point: int = Field(default=5, ge=1)
    """The latest of each bucket are kept, and of these the latest so many are sent."""


class SpanMetricsConfig(Options):
    """Options of `span_metrics`."""

    namespace: str = "traces.span.metrics"
    """What the metric names begin with: `<namespace>.calls` and `<namespace>.duration`."""
    histogram: Histogram = Histogram()
    """The histogram of durations."""
    dimensions: tuple[Dimension, ...] = ()
    """Labels beside service.name, span.name, span.kind and status.code."""
    exclude_dimensions: tuple[DefaultDimension, ...] = ()
    """Those of the four that are left out."""
    exemplars: Exemplars = Exemplars()
    """Trace and span ids on data points."""
    aggregation_cardinality_limit: int = Field(default=2000, ge=0)
    """Series of each metric. Observations of further ones are counted in the series `otel_metric_overflow="true"`, so
    that totals stay exact. 0 = no limit, which is the Collector's default."""
    metrics_flush_interval: Duration = Field(default=60.0, gt=0)
    """How often the series that changed are handed on."""
    series_expiration: Duration = 0.0
    """Series without a new span for so long are forgotten, and start again when one comes. 0 = never."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        kept = [name for name in _DEFAULT_DIMENSIONS if name not in self.exclude_dimensions]
        names = kept + [dimension.name for dimension in self.dimensions]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"dimension {twice[0]!r} is given twice, or is one of the four that are always there")
        return self


class SpanMetrics(Connector):
    """Counts every span when it arrives; nothing waits for the rest of a trace, so a span that a client sends twice
    counts twice. Spans whose resource has no service.name are counted without that label."""

    type = "span_metrics"
    aliases = ("spanmetrics",)
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.TRACES})
    produces: ClassVar[frozenset[Signal]] = frozenset({Signal.METRICS})
    Config = SpanMetricsConfig

    def __init__(self, config: SpanMetricsConfig, settings: Settings) -> None:
        super().__init__(config, settings)
        self.flush_interval = config.metrics_flush_interval
        self._aggregation = SpanAggregation(plan(config), settings)

    def process(self, batch: Batch) -> None:
        """Takes in spans; what comes of them leaves with `flush`."""
        self._aggregation.update(batch)

    def flush(self, now_unix_ns: int) -> Batch | None:
        """The series that changed since the last call."""
        return self._aggregation.flush(now_unix_ns, everything=False)


def plan(config: SpanMetricsConfig) -> dict[str, Any]:
    """The plan for the native aggregator; see `_native.pyi`."""
    prefix = f"{config.namespace}." if config.namespace else ""
    shared = {
        "labels": _labels(config),
        "max_exemplars": config.exemplars.max_per_data_point if config.exemplars.enabled else 0,
    }
    metrics = [
        {
            "name": f"{prefix}calls",
            "unit": "1",
            "instrument": "counter",
            "derivations": [{"source": "all", "value": "one"}],
            **shared,
        }
    ]
    if not config.histogram.disable:
        metrics.append({"name": f"{prefix}duration", **_duration(config.histogram), **shared})
    return {
        "metrics": metrics,
        "cardinality_limit": config.aggregation_cardinality_limit,
        "series_expiration_ns": nanoseconds(config.series_expiration),
    }


def _labels(config: SpanMetricsConfig) -> list[dict[str, Any]]:
    defaults = [
        {"name": name, "from": source}
        for name, source in _DEFAULT_DIMENSIONS.items()
        if name not in config.exclude_dimensions
    ]
    further = [
        {"name": dimension.name, "from": {"attributes": [dimension.name]}, "default": dimension.default}
        for dimension in config.dimensions
    ]
    return defaults + further


def _duration(histogram: Histogram) -> dict[str, Any]:
    scale = _UNITS_PER_SECOND[histogram.unit]
    return {
        "unit": histogram.unit,
        "instrument": "histogram",
        "derivations": [{"source": "all", "value": "duration"}],
        # Rounded, as 0.0014 s is not quite 1.4 ms in floating point.
        "buckets": [round(bound * scale, 9) for bound in histogram.explicit.buckets],
    }
