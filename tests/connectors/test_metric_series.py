"""Series as OTLP: what a database by OTLP gets of the deltas of many senders."""

import os
from pathlib import Path
from typing import Any, Literal

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from otel_pipeline.connectors.metric_series import MetricSeries, MetricSeriesConfig
from otel_pipeline.pdata import Signal, to_proto
from otel_pipeline.testing import FakeTime, make_counter, make_gauge, make_metrics, make_settings


def make(time: FakeTime, *, data_dir: Path | None = None, **options: Any) -> MetricSeries:
    given = {"external_labels": {"instance": "one"}, **options}
    settings = make_settings("metric_series", time=time, data_dir=data_dir)
    return MetricSeries(MetricSeriesConfig.model_validate(given), settings)


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


def test_increments_are_what_was_gained_since_the_last_flush() -> None:
    """Of all sessions together; nothing where nothing changed, however long, and nothing again at the end."""
    time = FakeTime()
    connector = make(time, aggregation_temporality="delta", repeat_interval="30s")
    begin_ns = 0
    for values in ((5, 7), (1,)):
        for session, value in enumerate(values):
            connector.process(make_metrics(delta(value, f"{time.unix_ns}-{session}", time)))
        time.advance(15)
        [metric] = flushed(connector)
        [point] = metric.sum.data_points
        assert (metric.sum.aggregation_temporality, point.as_double) == (1, sum(values))
        assert point.time_unix_nano == time.unix_ns
        assert not begin_ns or point.start_time_unix_nano == begin_ns
        begin_ns = time.unix_ns
    time.advance(60)
    connector.draining = True
    assert flushed(connector) == []


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
async def test_the_next_connector_goes_on_where_this_one_ended(
    temporality: Literal["cumulative", "delta"], tmp_path: Path
) -> None:
    """Whether it was shut down or killed: a cumulative series has its start and its value, and no 0 again; increments
    begin where the last ones ended, and none is given twice."""
    time = FakeTime()
    ends, starts, values = [], [], []
    for ending in ("killed", "shut down", ""):
        connector = make(time, data_dir=tmp_path, aggregation_temporality=temporality)
        await connector.start()
        time.advance(5)
        connector.process(make_metrics(delta(3, ending, time)))
        points = [point for metric in flushed(connector) for point in metric.sum.data_points]
        starts.append(points[-1].start_time_unix_nano)
        ends.append(points[-1].time_unix_nano)
        values += [point.as_double for point in points]
        time.advance(5)
        if ending == "killed":
            assert connector._intake._checkpoint is not None
            os.close(connector._intake._checkpoint._lock)
        else:
            await connector.shutdown()
    if temporality == "delta":
        assert values == [3, 3, 3]
        assert starts[1:] == ends[:-1]
    else:
        assert values == [0, 3, 6, 9]
        assert len(set(starts)) == 1
        assert ends == sorted(ends)
