"""Series as OTLP: what a database by OTLP gets of the deltas of many senders."""

from typing import Any

from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from otel_pipeline.connectors.metric_series import MetricSeries, MetricSeriesConfig
from otel_pipeline.pdata import Signal, to_proto
from otel_pipeline.testing import FakeTime, make_counter, make_gauge, make_metrics, make_settings


def make(time: FakeTime, **options: Any) -> MetricSeries:
    given = {"external_labels": {"instance": "one"}, **options}
    return MetricSeries(MetricSeriesConfig.model_validate(given), make_settings("metric_series", time=time))


def delta(value: float, session: str, time: FakeTime) -> Metric:
    labels = {"session.id": session, "type": "input"}
    metric = make_counter("tokens", value, labels, start_ns=time.unix_ns - 10**9, time_ns=time.unix_ns)
    metric.sum.aggregation_temporality = 1  # type: ignore[assignment]
    return metric


def flushed(connector: MetricSeries) -> list[Metric]:
    batch = connector.flush(0)
    return list(to_proto(batch).resource_metrics[0].scope_metrics[0].metrics) if batch else []


def test_deltas_of_sessions_become_one_cumulative_series() -> None:
    """One writer, cumulative, from 0 on, with the start that it keeps, under the names and labels of the page."""
    time = FakeTime()
    connector = make(time)
    for session, value in (("a", 5), ("b", 7)):
        connector.process(make_metrics(delta(value, session, time), resource={"service.name": "claude-code"}))
    [metric] = flushed(connector)
    zero, point = metric.sum.data_points
    assert (metric.name, metric.sum.is_monotonic, metric.sum.aggregation_temporality) == ("tokens_total", True, 2)
    assert (zero.as_double, point.as_double) == (0, 12)
    assert zero.time_unix_nano < point.time_unix_nano == time.unix_ns
    labels = {one.key: one.value.string_value for one in point.attributes}
    assert labels == {"instance": "one", "job": "claude-code", "type": "input"}
    assert flushed(connector) == []

    time.advance(5)
    connector.process(make_metrics(delta(1, "c", time), resource={"service.name": "claude-code"}))
    [metric] = flushed(connector)
    [later] = metric.sum.data_points
    assert (later.as_double, later.start_time_unix_nano) == (13, point.start_time_unix_nano)


def test_what_does_not_change_is_repeated_but_not_at_the_end() -> None:
    """Queries look back five minutes only; a last flush has nothing that was handed on before."""
    time = FakeTime()
    connector = make(time, repeat_interval="30s")
    connector.process(make_metrics(make_gauge("g", 1, time_ns=time.unix_ns)))
    assert len(flushed(connector)) == 1
    time.advance(30)
    [metric] = flushed(connector)
    assert metric.gauge.data_points[0].time_unix_nano == time.unix_ns
    time.advance(60)
    connector.draining = True
    assert flushed(connector) == []


def test_data_points_that_are_added_up_count_as_sent() -> None:
    """The balance of the connector: what the store has left as other items, what it refused is dropped by reason."""
    time = FakeTime()
    connector = make(time)
    connector.process(make_metrics(delta(5, "a", time), delta(-5, "b", time)))
    counts = connector.settings.counts[Signal.METRICS]
    assert (counts.sent, dict(counts.dropped)) == (1, {"invalid_value": 1})
