"""The pages as a reader without scripts gets them, and the same as JSON."""

import re
from collections.abc import AsyncIterator
from html import unescape
from html.parser import HTMLParser
from urllib.parse import quote

import httpx
import pytest
from jsonschema import validate

from otel_pipeline.extensions.web import Web
from otel_pipeline.journeys.document import JOURNEY_SCHEMA, PAGE_SCHEMA
from otel_pipeline.journeys.overview import OVERVIEW_SCHEMA
from tests.ui.fakes import HOSTILE, LARGE_TRACE, TRACE

PAGES = (
    "/",
    "/requirements",
    "/requirements/pay/REQ-1001",
    f"/traces/{TRACE}",
    f"/traces/{TRACE}?span={2:016x}",
    "/nothing",
)
VOID = {"meta", "link", "input", "img", "br", "hr", "rect", "line", "circle"}


@pytest.fixture
async def client(web: Web) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"accept": "text/html"}
    async with httpx.AsyncClient(base_url=f"http://{web.endpoint}", trust_env=False, headers=headers) as connected:
        yield connected


class Tags(HTMLParser):
    """Which elements a page opens, with their attributes; and whether all are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.problems: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open[-1] != tag:
            self.problems.append(f"</{tag}> at {self.getpos()}, open: {self.open[-3:]}")
        else:
            self.open.pop()


OPTIONAL = {"li", "option", "dt", "dd"}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("page", PAGES)
async def test_pages_are_whole_and_bring_nothing_from_elsewhere(
    client: httpx.AsyncClient, page: str, language: str
) -> None:
    """Elements are closed, there is no script, style or handler in the text, and every file is our own."""
    answer = await client.get(page, headers={"accept-language": language})
    tags = Tags(answer.text)
    assert tags.problems == []
    assert tags.open == []
    for tag, attributes in tags.found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert tag not in ("img", "iframe", "object", "style", "base")
        for name in ("src", "href"):
            if (address := attributes.get(name)) is not None:
                assert re.match(r"/(?!/)|\?|#|data:,$", address), address
        if tag == "script":
            assert attributes["src"] == "/static/pages.js"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert f'lang="{"zh-CN" if language == "zh" else "en"}"' in answer.text


async def test_hostile_texts_are_shown_as_text(client: httpx.AsyncClient) -> None:
    """Ids, titles, messages and notes that are HTML stay what was written, and lead to their page."""
    listed = (await client.get("/requirements?q=script")).text
    address = f"/requirements/shop/{quote(HOSTILE, safe='')}"
    assert f'href="{address}"' in listed
    for page in (listed, (await client.get(address)).text, (await client.get(f"/traces/{TRACE}?span={2:016x}")).text):
        assert "<script>document" not in page
        assert "<img" not in page
        assert HOSTILE in unescape(page)


async def test_filters_and_order_are_kept_in_every_link(client: httpx.AsyncClient) -> None:
    """A page of the list leads to the next one with the same question, and back from a filter."""
    page = (await client.get("/requirements?project=pay&stage=ui_acceptance&sort=lead&order=asc&lang=zh")).text
    links = [attributes for tag, attributes in Tags(page).found if tag == "a"]
    following = [one["href"] for one in links if one.get("rel") == "next"]
    assert following == ["/requirements?lang=zh&project=pay&stage=ui_acceptance&sort=lead&order=asc&page=2"]
    chosen = [one["href"] for one in links if one.get("aria-current") == "true"]
    assert "/requirements?lang=zh&project=pay&sort=lead&order=asc" in chosen


async def test_the_list_has_pages(client: httpx.AsyncClient) -> None:
    """All rows are on one page or another, none on two."""
    found: list[str] = []
    for number in (1, 2, 3):
        text = (await client.get("/requirements", params={"page": number})).text
        found += re.findall(r'<th scope="row"><a href="(/requirements/[^"]+)"', text)
    assert (len(found), len(set(found))) == (120, 120)


async def test_a_journey_shows_its_waits_by_name(client: httpx.AsyncClient) -> None:
    """The review of two days is a band with its words; in full it is drawn as long as it was."""
    compressed = (await client.get("/requirements/pay/REQ-1001")).text
    assert "waiting for review · 2 d" in compressed
    assert 'class="gap"' in compressed
    assert "rework" in compressed
    in_full = (await client.get("/requirements/pay/REQ-1001?gaps=off")).text
    assert 'class="gap"' not in in_full
    assert "waiting for review · 2 d" in in_full


async def test_a_journey_is_a_table_too(client: httpx.AsyncClient) -> None:
    """Runs and waits in the order in which they began, for those who do not see bars."""
    page = (await client.get("/requirements/pay/REQ-1001?view=table")).text
    names = re.findall(r'<th scope="row">(?:<a [^>]*>)?([^<]+)', page)
    assert [name.split()[0] for name in names if " of " in name or "waiting" in name][:6] == [
        "requirement_analysis", "coding", "unit_test", "waiting", "coding", "ui_acceptance"
    ]  # fmt: skip


async def test_a_large_trace_says_what_it_leaves_out(client: httpx.AsyncClient) -> None:
    """Five thousand spans are drawn, and the page says of how many."""
    page = (await client.get(f"/traces/{LARGE_TRACE}")).text
    assert "5000 of 9000 spans are shown" in page
    assert page.count('role="row"') == 5000


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/requirements/pay/REQ-1", 404, "nothing is known of requirement REQ-1"),
        ("/requirements/shop/REQ-1001", 404, "nothing is known"),
        (f"/traces/{9:032x}", 404, "no trace"),
        ("/traces/xyz", 400, "32 hexadecimal digits"),
        ("/requirements?sort=color", 400, "sort has to be one of"),
        ("/requirements?state=gone", 400, "unknown state"),
        ("/requirements?page=0", 400, "page has to be"),
        ("/requirements/a/b/c", 404, "no such page"),
        ("/static/../web.py", 404, ""),
    ],
)
async def test_what_is_not_there_is_said_in_the_form_that_was_asked_for(
    client: httpx.AsyncClient, path: str, status: int, message: str
) -> None:
    """A page for a reader, JSON for a program."""
    page = await client.get(path)
    assert (page.status_code, page.headers["content-type"].split(";")[0]) == (status, "text/html")
    assert message in unescape(page.text)
    as_json = await client.get(path, headers={"accept": "*/*"})
    assert (as_json.status_code, list(as_json.json())) == (status, ["error"])


async def test_the_api_answers_as_it_is_described(client: httpx.AsyncClient) -> None:
    """Every question is in the description, with its parameters; answers fit the schemas."""
    paths = (await client.get("/api/openapi.json")).json()["paths"]
    names = {one["name"] for one in paths["/api/requirements"]["get"]["parameters"]}
    assert {"project", "state", "sort", "limit"} <= names
    assert paths["/api/traces/{trace_id}"]["get"]["parameters"][0]["in"] == "path"
    validate((await client.get("/api/requirements?limit=3&sort=lead")).json(), PAGE_SCHEMA)
    validate((await client.get("/api/requirements/pay/REQ-1001")).json(), JOURNEY_SCHEMA)
    validate((await client.get("/api/overview")).json(), OVERVIEW_SCHEMA)
    unknown = await client.get("/api/requirements?colour=red")
    assert (unknown.status_code, "unknown parameter: colour" in unknown.json()["error"]) == (400, True)
