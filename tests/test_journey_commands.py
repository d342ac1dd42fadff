"""`otel-pipeline trace` and `otel-pipeline requirements`, against a real server that answers as a gateway does."""

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from otel_pipeline import cli
from otel_pipeline.journey_text import journey_text, list_text
from otel_pipeline.journeys.document import journey_document, page_document
from otel_pipeline.journeys.model import Usage
from otel_pipeline.journeys.queries import Journeys
from otel_pipeline.journeys.questions import journey_queries
from otel_pipeline.journeys.sqlite import SqliteStore
from otel_pipeline.journeys.store import RequirementQuery
from otel_pipeline.semconv import load
from otel_pipeline.ui.api import NotFoundError, ask
from tests.journeys.memory import MemoryStore, at, branch, commit, image, req, run
from tests.journeys.stores import PLAN, extracted, work

NOW = at(120)
HOSTILE = req("a/b 'c' \x1b[31m", "bad \x1b]0;x\x07")


def organisation() -> Journeys:
    c, i = commit("9d59409a" * 5), image("sha256:" + "ab" * 32)
    use = (Usage("claude-sonnet-4", {"input": 1_000_000}, 3.0),)
    first = {"sdlc.requirement.title": "Add a basket", "sdlc.requirement.class": "feature"}
    store = MemoryStore(
        run("a", "requirement_analysis", 0, 0.3, [req("REQ-1")], facts=first),
        run("b", "coding", 1, 3, [req("REQ-1"), branch("feature/REQ-1"), c], usage=use),
        run("o", "", 3, 3.01, [branch("feature/REQ-1")], facts={"vcs.change.state": "opened"}),
        run("c", "ci_cd", 50, 51, [c, i], outcome="failure", errors={"Timeout": 2}),
        run("d", "coding", 52, 53, [req("REQ-1")]),
        run("e", "ci_cd", 54, 54.5, [c, i]),
        run("f", "ui_acceptance", 99, 100, [req("REQ-1")]),
        run("x", "coding", 0, 1, [req("REQ-2")]),
        run("y", "coding", 0, 1, [req("REQ-2", "billing")]),
        run("h", "coding", 0, 1, [HOSTILE]),
        run("n", "coding", 0, 1, [req("REQ-9", "")]),
    )
    journeys = Journeys(store, load())
    while journeys.refresh(NOW):
        pass
    return journeys


JOURNEYS = organisation()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    queries = journey_queries(lambda: JOURNEYS, list(JOURNEYS.rules.order), lambda: NOW)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            try:
                segments = [unquote(one) for one in parts.path.split("/")[2:]]
                status, body = 200, ask(queries, segments, dict(parse_qsl(parts.query)))
            except (LookupError, NotFoundError) as error:
                status, body = 404, {"error": str(error)}
            except ValueError as error:
                status, body = 400, {"error": str(error)}
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_trace_shows_the_whole_way(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Summary first, then stays with bars, long waits with their reason, stages, things and notes; no colour in a pipe."""
    assert cli.main(["trace", "REQ-1", "--url", url]) == 0
    told = capsys.readouterr().out
    lines = told.splitlines()
    assert lines[0] == "REQ-1  Add a basket  (shop · feature)"
    assert lines[1].startswith("accepted in ui_acceptance · lead 4d 4h · active 5h 48m (5.8%) · 1 rerun · 2 errors")
    assert "$3.00 · 1,000,000 tokens" in lines[1]
    assert "waiting for review" in told
    assert re.search(r"✗ ci_cd +2d 2h +1h +█", told)
    assert re.search(r"↺ coding +2d 4h +1h +█", told)
    assert "commit: 9d59409a" in told
    assert (
        "! no telemetry for prd_design, technical_design, api_design, unit_test, integration_test, deployment" in told
    )
    assert "\x1b" not in told


def test_trace_as_json_is_what_the_api_says(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The document of the API, nothing else on standard output."""
    assert cli.main(["trace", "REQ-1", "--project", "shop", "--json", "--url", url]) == 0
    told = json.loads(capsys.readouterr().out)
    found = JOURNEYS.journey("shop", "REQ-1", NOW)
    assert found is not None
    assert told == json.loads(json.dumps(journey_document(found, NOW)))


def test_an_id_of_two_projects(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The user is asked which one; --project answers."""
    assert cli.main(["trace", "REQ-2", "--url", url]) == 1
    assert "--project with one of 'billing', 'shop'" in capsys.readouterr().err
    assert cli.main(["trace", "REQ-2", "--project", "billing", "--url", url]) == 0


def test_a_requirement_without_project(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is found by its id alone."""
    assert cli.main(["trace", "REQ-9", "--url", url]) == 0
    assert capsys.readouterr().out.startswith("REQ-9\n")


def test_what_nobody_knows(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown id and an unknown project are told in one line, without a traceback."""
    assert cli.main(["trace", "REQ-404", "--url", url]) == 1
    assert "nothing is known of requirement 'REQ-404'" in capsys.readouterr().err
    assert cli.main(["trace", "REQ-1", "--project", "nowhere", "--url", url]) == 1
    assert "nothing is known of requirement REQ-1 of project nowhere" in capsys.readouterr().err


def test_no_gateway(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing listens, the user is told what to look at."""
    assert cli.main(["requirements", "--url", "http://127.0.0.1:1"]) == 1
    assert "is a gateway running there" in capsys.readouterr().err


def test_hostile_ids_reach_no_terminal(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters of ids and projects are escaped, wherever they are shown."""
    assert cli.main(["trace", HOSTILE.value, "--project", HOSTILE.scope, "--url", url]) == 0
    assert cli.main(["requirements", "--url", url]) == 0
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert "\x07" not in told
    assert r"\x1b[31m" in told


def test_requirements_are_listed(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A table with one line for each, and how many there are; wrong filters are told in the gateway's words."""
    assert cli.main(["requirements", "--project", "shop", "--url", url]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["requirement", "project", "state", "stage"]
    assert any(
        re.match(r"REQ-1 +shop +accepted +ui_acceptance +4d 4h +6% +1 +2 +\$3.00 +Add a basket", line) for line in lines
    )
    assert lines[-1] == "2 of 2 requirements"
    assert cli.main(["requirements", "--state", "asleep", "--url", url]) == 1
    assert "unknown state 'asleep'" in capsys.readouterr().err


def test_a_list_of_nothing() -> None:
    """An empty list says so."""
    page = page_document(MemoryStore().requirements(RequirementQuery(now_ns=NOW)), (), NOW)
    assert list_text(page) == "no requirements\n"


@pytest.mark.parametrize("width", [20, 60, 100, 240])
@pytest.mark.parametrize("requirement", ["REQ-1", "REQ-2"])
def test_bars_fit_the_width(width: int, requirement: str) -> None:
    """No line of the waterfall is wider than the terminal, or than sixty columns; bars follow each other in time."""
    found = JOURNEYS.journey("shop", requirement, NOW)
    assert found is not None
    lines = journey_text(journey_document(found, NOW), width=width).split("\n\n")[1].splitlines()
    assert all(len(line) <= max(width, 60) for line in lines)
    starts = [line.index("█") for line in lines if "█" in line]
    assert starts == sorted(starts)


def test_colour_adds_nothing_but_colour() -> None:
    """Without its escapes the coloured text is the plain one."""
    found = JOURNEYS.journey("shop", "REQ-1", NOW)
    assert found is not None
    document = journey_document(found, NOW)
    coloured = journey_text(document, color=True)
    assert "\x1b[31m" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == journey_text(document)


@pytest.mark.parametrize("runs", [True, False])
def test_a_data_directory_is_read_without_asking_a_gateway(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], runs: bool
) -> None:
    """Whether a gateway writes there at the time or not; the list is as it was made, the journey as the files say."""
    store = SqliteStore(tmp_path / "journeys" / "journeys.sqlite", PLAN)
    store.write([extracted(work(1, requirement="REQ-7", sdlc__stage__name="coding"))])
    while Journeys(store, load()).refresh(NOW):
        pass
    if not runs:
        store.close()
    assert cli.main(["requirements", "--data-dir", str(tmp_path)]) == 0
    assert "REQ-7" in capsys.readouterr().out
    assert cli.main(["trace", "REQ-7", "--data-dir", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["project"] == "shop"
    assert cli.main(["trace", "REQ-8", "--project", "shop", "--data-dir", str(tmp_path)]) != 0
    assert "nothing is known of requirement REQ-8" in capsys.readouterr().err
    store.close()


def test_a_directory_without_journeys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Says what was looked for, and makes nothing."""
    assert cli.main(["trace", "REQ-1", "--data-dir", str(tmp_path)]) != 0
    assert "there is no such file yet" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
