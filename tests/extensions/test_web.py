"""The read-only JSON API, over real connections."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from otel_pipeline.component import Document
from otel_pipeline.errors import StoreError
from otel_pipeline.extensions.web import Web, WebOptions
from otel_pipeline.service.lifecycle import Service
from tests.service.fakes import FakeProcessor, component, make_config


class Telling(FakeProcessor):
    """Shows a document, and one that cannot be read."""

    def documents(self) -> Sequence[Document]:
        return (
            Document("fakes/notes", "What was noted.", self._notes, {"type": "object"}),
            Document("fakes/broken", "Never there.", self._broken),
            Document("fakes/later", "Not there yet.", self._later),
        )

    def _notes(self) -> dict[str, Any]:
        return {"setting": self.config.setting, "html": "</script><b>"}

    @staticmethod
    def _broken() -> dict[str, Any]:
        raise OSError("secret in /etc")

    @staticmethod
    def _later() -> dict[str, Any]:
        raise StoreError("it is being opened")


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    running = Service(
        make_config(
            {"traces": ("in", "one two", "out")},
            classes={"web": Web, "one": Telling, "two": Telling},
            options={"web": {"endpoint": "127.0.0.1:0"}, "one": {"setting": "a"}, "two": {"setting": "b"}},
            extensions="web",
        )
    )
    await running.start()
    yield running
    await running.shutdown()


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    base_url = f"http://{component(service, 'web').endpoint}"
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as connected:
        yield connected


async def test_a_document_is_shown_for_each_component_that_has_it(client: httpx.AsyncClient) -> None:
    """One entry for each, with what names the component."""
    answer = await client.get("/api/fakes/notes")
    assert answer.status_code == 200
    entries = answer.json()["components"]
    assert [(one["kind"], one["id"], one["pipeline"]) for one in entries] == [
        ("processor", "one", "traces"),
        ("processor", "two", "traces"),
    ]
    assert [one["content"]["setting"] for one in entries] == ["a", "b"]


async def test_every_answer_is_json_that_no_page_can_use(client: httpx.AsyncClient) -> None:
    """Also errors forbid sniffing, scripts and storage, and give no cross-origin access; HEAD has no body."""
    for path in ("/api/fakes/notes", "/api/openapi.json", "/api/nothing", "/nothing", "/api/fakes/broken"):
        answer = await client.get(path)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        answer.json()
        head = await client.head(path)
        assert (head.status_code, head.content) == (answer.status_code, b"")


async def test_the_description_lists_what_is_there(client: httpx.AsyncClient) -> None:
    """Every path of the description answers GET; those of documents are all in it."""
    description = (await client.get("/api/openapi.json")).json()
    assert description["openapi"].startswith("3.")
    assert set(description["paths"]) == {"/api/fakes/notes", "/api/fakes/broken", "/api/fakes/later"}
    notes = description["paths"]["/api/fakes/notes"]["get"]
    assert notes["summary"] == "What was noted."
    content = notes["responses"]["200"]["content"]["application/json"]["schema"]
    assert content["properties"]["components"]["items"]["properties"]["content"] == {"type": "object"}


async def test_a_document_that_cannot_be_read_tells_nothing_of_the_reason(client: httpx.AsyncClient) -> None:
    """The text of an exception may hold anything."""
    answer = await client.get("/api/fakes/broken")
    assert answer.status_code == 500
    assert "secret" not in answer.text


async def test_what_cannot_be_read_now_is_not_missing(client: httpx.AsyncClient) -> None:
    """A store that is being opened, or that another process has, is no reason to believe that nothing is there."""
    answer = await client.get("/api/fakes/later")
    assert (answer.status_code, answer.json()) == (503, {"error": "it is being opened"})


@pytest.mark.parametrize(
    ("method", "path", "headers", "expected"),
    [
        ("GET", "/nothing", {}, 404),
        ("GET", "/api", {}, 404),
        ("GET", "/api/", {}, 404),
        ("GET", "/api/fakes/notes/", {}, 404),
        ("GET", "/api/../fakes", {}, 404),
        ("POST", "/api/fakes/notes", {}, 405),
        ("OPTIONS", "/api/fakes/notes", {}, 405),
        ("DELETE", "/api/openapi.json", {}, 405),
        ("GET", "/api/fakes/notes", {"host": "evil.example"}, 403),
        ("GET", "/api/fakes/notes", {"host": "127.0.0.1.evil.example:8088"}, 403),
        ("GET", "/api/fakes/notes", {"origin": "https://evil.example"}, 403),
        ("GET", "/api/fakes/notes", {"origin": "null"}, 403),
    ],
)
async def test_strangers_and_other_methods_are_turned_away(
    client: httpx.AsyncClient, method: str, path: str, headers: dict[str, str], expected: int
) -> None:
    """No page of another site can read anything, and nothing can be changed; the reason comes as JSON."""
    answer = await client.request(method, path, headers=headers)
    assert answer.status_code == expected
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error"}
    if expected == 405:
        assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("options", [{"endpoint": "0.0.0.0:8088"}, {"endpoint": "http://localhost"}])
def test_what_must_not_be_is_refused_in_the_configuration(options: dict[str, str]) -> None:
    """Addresses that others can reach need to be asked for in so many words."""
    with pytest.raises(ValidationError):
        WebOptions.model_validate(options)
    assert WebOptions.model_validate({"endpoint": "0.0.0.0:8088", "insecure_ok": True})
