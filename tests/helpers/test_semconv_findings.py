"""What the processor `semconv` tells, as counters and over HTTP."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import jsonschema
import pytest

from otel_pipeline.extensions.web import Web
from otel_pipeline.helpers.semconv_findings import LiveCheckOptions, LiveFindings
from otel_pipeline.processors.semconv import Semconv
from otel_pipeline.semconv import load
from otel_pipeline.service.lifecycle import Service
from otel_pipeline.testing import make_settings, make_span, make_traces
from tests.service.fakes import component, make_config

REGISTRY = load()
ODD = make_traces(make_span("work", unheard__of="secret value"), resource={"service.name": "shop"})

Running = Callable[..., AbstractAsyncContextManager[tuple[Service, httpx.AsyncClient]]]


@pytest.fixture
def running() -> Running:
    """Runs a gateway with these options of live_check."""

    @asynccontextmanager
    async def run(**live_check: Any) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
        service = Service(
            make_config(
                {"traces": ("in", "semconv", "out"), "logs": ("in", "semconv", "out")},
                classes={"web": Web, "semconv": Semconv},
                options={"web": {"endpoint": "127.0.0.1:0"}, "semconv": {"live_check": live_check}},
                extensions="web",
            )
        )
        await service.start()
        base_url = f"http://{component(service, 'web').endpoint}"
        try:
            async with httpx.AsyncClient(base_url=base_url, trust_env=False) as client:
                yield service, client
        finally:
            await service.shutdown()

    return run


async def contents(client: httpx.AsyncClient, path: str) -> dict[str, Any]:
    """What each pipeline's processor tells; checked against the description of the API."""
    body = (await client.get(path)).json()
    described = (await client.get("/api/openapi.json")).json()["paths"][path]["get"]["responses"]["200"]
    jsonschema.validate(body, described["content"]["application/json"]["schema"])
    return {one["pipeline"]: one["content"] for one in body["components"]}


async def test_findings_are_shown_by_pipeline_and_counted(running: Running) -> None:
    """Each pipeline has its own report; the counter adds them up, and no value is in any."""
    async with running(enabled=True) as (service, client):
        for _ in range(3):
            await component(service, "in").send(ODD)
        shown = await contents(client, "/api/semconv/findings")
        assert shown["logs"]["batches"] == {"seen": 0, "checked": 0}
        traces = shown["traces"]
        assert (traces["enabled"], traces["batches"]) == (True, {"seen": 3, "checked": 3})
        found = {(one["id"], one["context"].get("attribute_key")): one for one in traces["findings"]}
        assert found["missing_attribute", "unheard.of"]["count"] == 3
        assert found["missing_attribute", "unheard.of"]["example"]["service_name"] == "shop"
        assert "secret value" not in (await client.get("/api/semconv/findings")).text
        counted = service.telemetry.counters["otelcol_processor_semconv_findings"].values
        statistics = traces["statistics"]
        assert {labels[1]: value for labels, value in counted.items()} == statistics["advice_type_counts"]
        assert {labels[0] for labels in counted} == {"semconv"}


async def test_switched_off_it_costs_nothing_and_says_how_to_switch_it_on(running: Running) -> None:
    """Without the option there is neither a check nor a counter."""
    async with running() as (service, client):
        await component(service, "in").send(ODD)
        shown = await contents(client, "/api/semconv/findings")
        hint = "set processors::semconv::live_check::enabled to true"
        assert shown == {key: {"enabled": False, "hint": hint} for key in ("traces", "logs")}
        assert "otelcol_processor_semconv_findings" not in service.telemetry.counters


async def test_what_senders_leave_out_is_shown_with_the_line_that_mends_it(running: Running) -> None:
    """Each sender and expected attribute, with the members that it may be, counted up to the reading."""
    async with running() as (service, client):
        for _ in range(2):
            await component(service, "in").send(ODD)
        shown = (await contents(client, "/api/semconv/unresolved"))["traces"]
        by_attribute = {one["attribute"]: one for one in shown}
        assert by_attribute["sdlc.stage.name"] == {
            "sender": "shop",
            "attribute": "sdlc.stage.name",
            "items": 2,
            "fix": "export OTEL_RESOURCE_ATTRIBUTES=sdlc.stage.name=VALUE",
            "values": [member.value for member in REGISTRY.stages],
        }


def test_one_batch_of_so_many_is_looked_at() -> None:
    """The first, and then every n-th."""
    settings = make_settings("semconv")
    findings = LiveFindings(REGISTRY, LiveCheckOptions(enabled=True, every=3), settings)
    checked = []
    for _ in range(7):
        findings.look(ODD)
        checked.append(findings.read()["batches"]["checked"])
    assert checked == [1, 1, 1, 2, 2, 2, 3]
    entities = findings.read()["statistics"]["total_entities_by_type"]
    assert entities["span"] == 3
