"""The health endpoints, over real connections."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import ValidationError

from otel_pipeline.component import Health
from otel_pipeline.extensions.health_check import HealthCheck, HealthCheckOptions
from otel_pipeline.service.lifecycle import Service
from tests.service.fakes import FakeExporter, component, eventually, make_batch, make_config


def service_with(**classes: type) -> Service:
    return Service(
        make_config(
            {"traces": ("in", "one", "out")},
            classes={"health_check": HealthCheck, **classes},
            options={"health_check": {"endpoint": "127.0.0.1:0"}},
            extensions="health_check",
        )
    )


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    running = service_with()
    await running.start()
    yield running
    await running.shutdown()


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(service) as connected:
        yield connected


def connect(service: Service) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://{component(service, 'health_check').endpoint}", trust_env=False)


async def test_a_running_gateway_is_healthy_and_ready(client: httpx.AsyncClient) -> None:
    """`/` has the Collector's body, and all pages forbid sniffing and give no cross-origin access."""
    for path in ("/", "/health", "/ready", "/status"):
        answer = await client.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        head = await client.head(path)
        assert (head.status_code, head.content) == (200, b"")
    assert (await client.get("/")).json()["status"] == "Server available"
    assert (await client.get("/ready")).json() == {"ready": True, "reasons": []}


async def test_status_tells_components_pipelines_balance_and_versions(
    client: httpx.AsyncClient, service: Service
) -> None:
    """What a component reports is shown with its reason, and its pipeline is as its worst component."""
    await component(service, "in").send(make_batch(3))
    component(service, "out").settings.report(Health.RECOVERABLE_ERROR, "peer refuses connections")
    status = (await client.get("/status")).json()
    by_id = {one["id"]: one for one in status["components"]}
    assert set(by_id) == {"in", "one", "out", "health_check"}
    assert (by_id["out"]["health"], by_id["out"]["reason"]) == ("recoverable_error", "peer refuses connections")
    assert by_id["out"]["since"].endswith("Z")
    assert by_id["one"]["pipeline"] == "traces"
    assert status["pipelines"]["traces"]["health"] == "recoverable_error"
    assert status["pipelines"]["traces"]["reason"] == "exporter 'out': peer refuses connections"
    row = next(row for row in status["balance"] if row["id"] == "out")
    assert (row["consumed"], row["sent"], row["missing"]) == (3, 3, 0)
    assert status["versions"]["otel-pipeline"]
    assert status["reloads"] == {"done": 0, "failed": 0, "last": "", "problems": []}


async def test_not_ready_before_the_end_of_the_start_and_during_the_shutdown() -> None:
    """Probes see 503 with the reason, while `/health` says that the process lives."""
    gate = asyncio.Event()

    class Slow(FakeExporter):
        async def start(self) -> None:
            await gate.wait()

        async def shutdown(self) -> None:
            await gate.wait()

    service = service_with(out=Slow)
    starting = asyncio.create_task(service.start())
    await eventually(lambda: component(service, "health_check").endpoint.port != 0)
    async with connect(service) as client:
        for reason in ("the gateway is starting", "the gateway is stopping"):
            answer = await client.get("/ready")
            assert (answer.status_code, answer.json()["reasons"]) == (503, [reason])
            assert (await client.get("/")).status_code == 503
            assert (await client.get("/health")).status_code == 200
            assert (await client.get("/status")).json()["ready"] is False
            if not starting.done():
                gate.set()
                await starting
                assert (await client.get("/ready")).status_code == 200
                gate.clear()
                stopping = asyncio.create_task(service.shutdown())
                await eventually(lambda: bool(service.unready()))
    gate.set()
    await stopping


@pytest.mark.parametrize(
    ("method", "path", "headers", "expected"),
    [
        ("GET", "/nothing", {}, 404),
        ("POST", "/", {}, 405),
        ("DELETE", "/status", {}, 405),
        ("GET", "/status", {"host": "evil.example"}, 403),
        ("GET", "/status", {"origin": "https://evil.example"}, 403),
        ("GET", "/status", {"origin": "null"}, 403),
    ],
)
async def test_strangers_and_other_methods_are_turned_away(
    client: httpx.AsyncClient, method: str, path: str, headers: dict[str, str], expected: int
) -> None:
    """No page of another site can read the status, and nothing can be changed."""
    answer = await client.request(method, path, headers=headers)
    assert answer.status_code == expected


@pytest.mark.parametrize(
    "options", [{"endpoint": "0.0.0.0:13133"}, {"endpoint": "http://localhost"}, {"path": "health"}]
)
def test_what_must_not_be_is_refused_in_the_configuration(options: dict[str, str]) -> None:
    """Addresses that others can reach need to be asked for in so many words."""
    with pytest.raises(ValidationError):
        HealthCheckOptions.model_validate(options)
    assert HealthCheckOptions.model_validate({"endpoint": "0.0.0.0:13133", "insecure_ok": True})
