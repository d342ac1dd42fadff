"""Jaeger's query API, as Grafana's data source calls it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status, TracesData

from otel_pipeline.extensions.web import Web
from otel_pipeline.journeys.jaeger import jaeger_queries
from otel_pipeline.journeys.journey_trace import JOURNEY_SERVICE, journey_trace, journey_trace_id
from otel_pipeline.journeys.model import Key
from tests.ui.fakes import HOSTILE, NOW, TRACE, FakeTraces, journey

KINDS = {"vcs.ref.head.name": "branch", "sdlc.requirement.id": "requirement"}


@pytest.fixture
def source() -> FakeTraces:
    return FakeTraces()


def ask(source: FakeTraces, path: str, **values: str) -> Any:
    query = next(one for one in jaeger_queries(lambda: source, KINDS, lambda: NOW) if one.path == path)
    return query.read(values)["data"]


def test_services_and_their_operations_are_listed(source: FakeTraces) -> None:
    """Journeys are a service of their own, whose operations are the projects."""
    assert ask(source, "jaeger/services") == ["jenkins", JOURNEY_SERVICE, "shop-agents"]
    assert ask(source, "jaeger/services/{service}/operations", service="shop-agents") == ["chat", "coding"]
    assert ask(source, "jaeger/services/{service}/operations", service=JOURNEY_SERVICE) == ["pay", "shop"]
    assert ask(source, "jaeger/dependencies") == []


def test_a_trace_has_the_shape_that_jaeger_has(source: FakeTraces) -> None:
    """Microseconds, references by kind, tags with types, logs, and one process for each resource."""
    (trace,) = ask(source, "jaeger/traces/{trace_id}", trace_id=TRACE)
    assert trace["traceID"] == TRACE
    assert trace["processes"] == {"p1": {"serviceName": "shop-agents", "tags": []}}
    failed = next(span for span in trace["spans"] if span["spanID"] == f"{2:016x}")
    assert (failed["duration"], failed["startTime"]) == (1_000_000, (NOW - 3600 * 10**9 + 2 * 10**8) // 1000)
    assert {"refType": "CHILD_OF", "traceID": TRACE, "spanID": f"{1:016x}"} in failed["references"]
    assert {"FOLLOWS_FROM", "CHILD_OF"} == {one["refType"] for one in failed["references"]}
    assert {"key": "error", "type": "bool", "value": True} in failed["tags"]
    assert failed["logs"][0]["fields"][0] == {"key": "event", "type": "string", "value": "exception"}


def test_a_tag_finds_its_value_in_every_scope(source: FakeTraces) -> None:
    """A branch of that name, not one that begins so, in both repositories; times and durations are passed on."""
    found = ask(
        source, "jaeger/traces", service="shop-agents", tags='{"vcs.ref.head.name": "fix"}', start="5", end="9",
        minDuration="100ms", limit="7", operation="all",
    )  # fmt: skip
    assert len(found) == 2
    assert {query.keys[0] for query in source.asked} == {Key("branch", "acme/a", "fix"), Key("branch", "acme/b", "fix")}
    (one, _) = source.asked
    assert (one.start_ns, one.end_ns, one.min_duration_ns, one.limit, one.operation) == (5000, 9000, 10**8, 7, "")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tags": "{"}, "JSON object"),
        ({"tags": "[]"}, "JSON object"),
        ({"tags": '{"http.method": "GET"}'}, "cannot search for http.method"),
        ({"start": "-5"}, "start has to be"),
        ({"minDuration": "long"}, "minDuration has to be"),
    ],
)
def test_a_search_that_is_not_understood_says_why(source: FakeTraces, values: dict[str, str], message: str) -> None:
    """Nothing is searched for instead."""
    with pytest.raises(ValueError, match=message):
        ask(source, "jaeger/traces", **values)


def test_journeys_are_found_by_requirement_and_by_the_id_of_their_trace(source: FakeTraces) -> None:
    """Both ways lead to one span for each run under a root."""
    tags = json.dumps({"sdlc.requirement.id": "REQ-1001"})
    (found,) = ask(source, "jaeger/traces", service=JOURNEY_SERVICE, tags=tags)
    trace_id = journey_trace_id("pay", "REQ-1001")
    assert found["traceID"] == trace_id
    assert len(found["spans"]) == 1 + len(journey("REQ-1001").runs)
    assert ask(source, "jaeger/traces/{trace_id}", trace_id=trace_id) == [found]
    with pytest.raises(LookupError):
        ask(source, "jaeger/traces/{trace_id}", trace_id=f"{99:032x}")


@pytest.fixture
async def client(web: Web) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://{web.endpoint}", trust_env=False) as connected:
        yield connected


async def test_it_is_below_the_path_that_grafana_uses(client: httpx.AsyncClient) -> None:
    """The address of the data source is the gateway's with `/jaeger`."""
    answer = await client.get(f"/jaeger/api/traces/{TRACE}?start=1&end=2")
    assert answer.json()["data"][0]["traceID"] == TRACE
    assert (await client.get(f"/jaeger/api/traces/{9:032x}")).status_code == 404


def spans(requirement: str) -> list[Any]:
    return list(TracesData.FromString(journey_trace(journey(requirement))).resource_spans[0].scope_spans[0].spans)


def test_a_journey_is_the_same_trace_whenever_it_is_made() -> None:
    """Ids come from project and requirement alone; two pairs that read alike when put together differ."""
    assert journey_trace(journey("REQ-1001")) == journey_trace(journey("REQ-1001"))
    assert journey_trace_id("a", "bc") != journey_trace_id("ab", "c")
    assert len({span.span_id for span in spans("REQ-1001")}) == 6


def test_runs_link_to_what_they_are_made_of() -> None:
    """Every run is a child of the root and links to its real span; failures carry their message."""
    root, *runs = spans("REQ-1001")
    assert not root.parent_span_id
    assert {run.parent_span_id for run in runs} == {root.span_id}
    assert [run.links[0].trace_id.hex() for run in runs] == [run.trace_id for run in journey("REQ-1001").runs]
    assert [run.status.code for run in runs].count(Status.StatusCode.STATUS_CODE_ERROR) == 1


def test_the_root_comes_with_the_end() -> None:
    """A requirement that still waits has runs but no root."""
    waiting = next(f"REQ-{1000 + place}" for place in range(1, 9) if place % 5 == 4)
    assert all(span.parent_span_id for span in spans(waiting))


def test_hostile_ids_are_ids_like_others() -> None:
    """Whatever they hold, they give one trace id and travel as text."""
    root = spans(HOSTILE)[0]
    values = {pair.key: pair.value.string_value for pair in root.attributes}
    assert values["sdlc.requirement.id"] == HOSTILE
