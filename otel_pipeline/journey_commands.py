"""The commands `otel-pipeline trace` and `otel-pipeline requirements`: they ask a gateway, or read its files."""

import argparse
import json
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from otel_pipeline.errors import Problem, ProblemsError, StoreError

if TYPE_CHECKING:
    from otel_pipeline.component import Query

__all__ = ["add_journey_commands"]

Command = Callable[[argparse.Namespace], int]
Ask = Callable[[Sequence[str], Mapping[str, str | None]], Any]
"""Answers to the segments of a path below /api and the values of a query string."""
DEFAULT_URL = "http://127.0.0.1:8088"
TIMEOUT_SECONDS = 30.0
MAX_ANSWER_BYTES = 256 * 1024 * 1024


def add_journey_commands(add: Callable[[str, Command, str], argparse.ArgumentParser]) -> None:
    """Adds both commands. `add` takes name, function and help, and returns the command's parser."""
    trace = add("trace", _trace, "show the whole way of one requirement: stages, waiting, errors, cost")
    trace.add_argument("requirement", help="its id, such as REQ-1042")
    trace.add_argument("--project", metavar="ID", default="", help="where several projects have one of that id")
    listed = add("requirements", _requirements, "list requirements")
    listed.add_argument("--project", metavar="ID", help="only of this project")
    listed.add_argument("--stage", metavar="STAGE", help="only those that entered this stage last")
    listed.add_argument("--state", metavar="STATE", help="running, waiting, accepted or cancelled; several with commas")
    listed.add_argument("--class", metavar="CLASS", dest="kind", help="such as feature or defect")
    listed.add_argument("--text", metavar="TEXT", help="only those whose id or title has it")
    listed.add_argument("--errors", action="store_true", help="only those with errors")
    sorts = ("last_seen", "start", "lead", "active", "cost", "tokens", "errors", "reruns", "id")
    listed.add_argument("--sort", choices=sorts, default="last_seen", help="by what (default: last_seen)")
    listed.add_argument("--ascending", action="store_true", help="the smallest or oldest first")
    listed.add_argument("--limit", metavar="N", type=int, default=50, help="rows (default: 50)")
    for parser in (trace, listed):
        parser.add_argument("--json", action="store_true", help="print what the API answers")
        where = parser.add_mutually_exclusive_group()
        url_help = f"where the gateway's pages are (default: {DEFAULT_URL})"
        where.add_argument("--url", metavar="URL", default=DEFAULT_URL, help=url_help)
        data_help = "read the journeys in a gateway's data directory instead, whether it runs or not"
        where.add_argument("--data-dir", metavar="DIR", type=Path, help=data_help)


def _trace(parsed: argparse.Namespace) -> int:
    from otel_pipeline.journey_text import journey_text

    with _source(parsed) as ask:
        project = parsed.project or _project_of(ask, parsed.requirement)
        _show(ask(("requirements", project, parsed.requirement), {}), parsed.json, journey_text)
    return 0


def _requirements(parsed: argparse.Namespace) -> int:
    from otel_pipeline.journey_text import list_text

    wanted = {
        "project": parsed.project,
        "stage": parsed.stage,
        "state": parsed.state,
        "class": parsed.kind,
        "q": parsed.text,
        "errors": "true" if parsed.errors else "",
        "sort": parsed.sort,
        "order": "asc" if parsed.ascending else "desc",
        "limit": str(parsed.limit),
    }
    with _source(parsed) as ask:
        _show(ask(("requirements",), wanted), parsed.json, list_text)
    return 0


@contextmanager
def _source(parsed: argparse.Namespace) -> Iterator[Ask]:
    if parsed.data_dir is None:
        yield lambda segments, values: _ask(parsed.url, segments, values)
        return
    from otel_pipeline.journeys.files import reading

    try:
        with reading(parsed.data_dir) as queries:
            yield lambda segments, values: _read(queries, segments, values)
    except StoreError as error:
        hint = "the exporter journeys writes it; is this the data directory of a gateway that has one?"
        raise ProblemsError([Problem("", str(error), hint)]) from None


def _read(queries: "Sequence[Query]", segments: Sequence[str], values: Mapping[str, str | None]) -> Any:
    """Raises ProblemsError where there is no such thing."""
    from otel_pipeline.ui.api import NotFoundError, ask

    try:
        return ask(queries, segments, {key: value for key, value in values.items() if value})
    except (LookupError, NotFoundError, ValueError) as error:
        raise ProblemsError([Problem("", str(error.args[0] if error.args else error))]) from None


def _project_of(ask: Ask, requirement: str) -> str:
    """The only project that has a requirement of that id."""
    rows = ask(("requirements",), {"q": requirement, "sort": "id", "order": "asc", "limit": "500"})["requirements"]
    projects = sorted({row["project"] for row in rows if row["requirement"] == requirement})
    if not projects:
        hint = "otel-pipeline requirements lists those that are known"
        raise ProblemsError([Problem("", f"nothing is known of requirement {requirement!r}", hint)])
    if len(projects) > 1:
        hint = f"--project with one of {', '.join(map(repr, projects))}"
        raise ProblemsError([Problem("", f"several projects have a requirement {requirement!r}", hint)])
    return str(projects[0])


def _ask(url: str, segments: Sequence[str], values: Mapping[str, str | None]) -> Any:
    """The gateway's answer. Raises ProblemsError where there is none."""
    path = "/".join(quote(segment, safe="") for segment in segments)
    query = urlencode({key: value for key, value in values.items() if value})
    base = (url if "://" in url else f"http://{url}").rstrip("/")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{base}/api/{path}?{query}".rstrip("?"), timeout=TIMEOUT_SECONDS) as answer:
            return json.loads(answer.read(MAX_ANSWER_BYTES))
    except urllib.error.HTTPError as error:
        raise ProblemsError([Problem("", _refusal(error))]) from None
    except (OSError, ValueError) as error:
        hint = "is a gateway running there, with the extension web? --url says where else"
        raise ProblemsError([Problem("", f"{base} does not answer: {error}", hint)]) from None


def _refusal(error: urllib.error.HTTPError) -> str:
    """In the gateway's words, where it gives some."""
    try:
        told = json.loads(error.read(65536))
        return str(told["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"{error.url} answers {error.code} {error.reason}"


def _show(document: Any, as_json: bool, text_of: Callable[..., str]) -> None:
    if as_json:
        print(json.dumps(document, indent=1, ensure_ascii=False))
        return
    is_terminal = sys.stdout.isatty()
    color = is_terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    print(text_of(document, width=shutil.get_terminal_size((100, 24)).columns, color=color), end="")
