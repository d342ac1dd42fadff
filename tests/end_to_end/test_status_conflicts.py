"""A conflict of metric names can be read where operators look."""

import json
import urllib.request
from typing import Any

from tests.end_to_end.harness import Gateway, StartGateway, wait_for


def send(gateway: Gateway, kind: str, **more: object) -> None:
    """One point of `work.level`, over OTLP/HTTP."""
    point = {"asInt": "1", "timeUnixNano": "1767225600000000000", "attributes": []}
    metric = {"name": "work.level", kind: {"dataPoints": [point], **more}}
    service = {"key": "service.name", "value": {"stringValue": f"{kind}-sender"}}
    scope = {"scope": {"name": "lib"}, "metrics": [metric]}
    body = {"resourceMetrics": [{"resource": {"attributes": [service]}, "scopeMetrics": [scope]}]}
    url = f"http://127.0.0.1:{gateway.http}/v1/metrics"
    headers = {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=60).close()


def conflicts(gateway: Gateway) -> list[dict[str, Any]]:
    """All that any component tells at /status."""
    return [one for part in gateway.status()["components"] for one in part.get("conflicts", [])]


def test_a_conflict_of_types_is_told_at_status(start_gateway: StartGateway) -> None:
    """Nothing before; then both types, who was refused, and how often; the metric that was first stays on the page."""
    gateway = start_gateway()
    send(gateway, "gauge")
    gateway.wait_for_sample("work_level")
    assert conflicts(gateway) == []
    send(gateway, "sum", isMonotonic=True, aggregationTemporality=2)
    told = wait_for("the conflict", lambda: conflicts(gateway) or None, 60)
    seen = {key: told[0][key] for key in ("metric", "reason", "held", "told", "job", "scope", "count")}
    assert seen == {
        "metric": "work_level",
        "reason": "type_conflict",
        "held": "gauge",
        "told": "counter",
        "job": "sum-sender",
        "scope": "lib",
        "count": 1,
    }
    assert [value for _, value in gateway.samples("work_level")] == [1]
