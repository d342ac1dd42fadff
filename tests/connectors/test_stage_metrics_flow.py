"""Metrics of requirements on their way, from spans of many traces."""

from pathlib import Path
from typing import Any

import pytest

from otel_pipeline.connectors.stage_metrics import StageMetrics, StageMetricsConfig
from otel_pipeline.pdata import to_proto
from otel_pipeline.testing import FakeTime, make_settings, make_span, make_traces

DAY = 86400
START_NS = 1_767_225_600_000_000_000


class Gateway:
    """The connector with a folder that survives it; `points` holds what it flushed last, by metric and labels."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.time = FakeTime()
        self.points: dict[tuple[str, frozenset[tuple[str, str]]], Any] = {}
        self.open()

    def open(self) -> None:
        settings = make_settings("stage_metrics", time=self.time, data_dir=self.folder)
        self.connector = StageMetrics(StageMetricsConfig(), settings)

    async def start(self) -> None:
        await self.connector.start()

    def send(self, stage: str, start_s: float, seconds: float, trace: int, **more: Any) -> None:
        attributes = {"sdlc__project__id": "shop", "sdlc__requirement__id": "REQ-1", "sdlc__stage__name": stage} | more
        span = make_span(stage, trace=trace, span=1, start=start_s, seconds=seconds, **attributes)
        self.connector.process(make_traces(span))

    def wait(self, seconds: float = 31) -> None:
        self.time.advance(seconds)
        batch = self.connector.flush(self.time.unix_ns)
        if batch is None:
            return
        for resource in to_proto(batch).resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in getattr(metric, metric.WhichOneof("data")).data_points:
                        labels = frozenset((one.key, one.value.string_value) for one in point.attributes)
                        self.points[metric.name, labels] = point

    def point(self, name: str, **labels: str) -> Any:
        found = [
            point for (metric, have), point in self.points.items() if metric == name and set(labels.items()) <= have
        ]
        assert len(found) == 1, (name, labels, [key for key in self.points if key[0] == name])
        return found[0]


@pytest.fixture
async def gateway(tmp_path: Path) -> Gateway:
    gateway = Gateway(tmp_path)
    await gateway.start()
    return gateway


async def test_a_requirement_is_followed_over_traces_and_restarts(gateway: Gateway) -> None:
    """Waiting, rework, lead time, flow efficiency and delivery come out once, though the gateway restarted midway."""
    gateway.send("requirement_analysis", 0, DAY, 1, sdlc__requirement__class="bug")
    gateway.send("coding", 2 * DAY, DAY, 2)
    gateway.wait()
    gateway.open()
    await gateway.start()
    gateway.send("unit_test", 3 * DAY, DAY, 3)
    gateway.send("coding", 4 * DAY, DAY, 4)
    gateway.send("deployment", 6 * DAY, DAY, 5, deployment__environment__name="production")
    gateway.send("ui_acceptance", 7 * DAY, DAY, 6)
    gateway.wait()
    gateway.wait()
    assert gateway.point("sdlc.stage.wait", stage="coding").sum == 0
    assert gateway.point("sdlc.stage.wait", stage="deployment").sum == DAY
    assert gateway.point("sdlc.requirement.rework", stage="coding").as_int == 1
    lead = gateway.point("sdlc.requirement.lead_time", project_id="shop", outcome="success")
    assert (lead.count, lead.sum) == (1, 8 * DAY)
    assert ("class", "defect") in next(key[1] for key in gateway.points if key[0] == "sdlc.requirement.lead_time")
    assert gateway.point("sdlc.requirement.active_time_ratio").sum == pytest.approx(6 / 8)
    assert gateway.point("sdlc.change.lead_time").sum == 5 * DAY


async def test_failed_deployments_are_counted_and_recovered(gateway: Gateway) -> None:
    """A rollback makes the deployment before it a failed one; the next deployment repairs it."""
    gateway.send("deployment", 0, 100, 1, deployment__environment__name="prod")
    gateway.send("deployment", 500, 100, 2, deployment__environment__name="prod", sdlc__rollback__reason="error_rate")
    gateway.send("deployment", 900, 100, 3, deployment__environment__name="prod", sdlc__requirement__class="hotfix")
    gateway.wait()
    gateway.wait()
    assert gateway.point("sdlc.change.failures", environment="production").as_int == 1
    assert gateway.point("sdlc.recovery.time").sum == 500
    assert gateway.point("sdlc.deployment.rework").as_int == 1


async def test_open_requirements_are_shown_by_stage(gateway: Gateway) -> None:
    """The gauges show where a requirement is and how old it is."""
    gateway.send("coding", (gateway.time.unix_ns - START_NS) / 1e9 - 3600, 60, 1)
    gateway.wait()
    gateway.wait(61)
    assert gateway.point("sdlc.requirements.in_stage", project_id="shop", stage="coding").as_double == 1
    age = gateway.point("sdlc.requirement.oldest_age", project_id="shop", stage="coding").as_double
    assert age == pytest.approx(3600 + 31 + 61, abs=62)
