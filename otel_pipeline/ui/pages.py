"""The pages, rendered on the server from the same JSON that the API gives; scripts only make them comfortable."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from otel_pipeline.component import Query, Served
from otel_pipeline.ui.api import NotFoundError, ask, show
from otel_pipeline.ui.journey_view import journey_lines, journey_view, note_text
from otel_pipeline.ui.list_view import scatter
from otel_pipeline.ui.trace_view import trace_view
from otel_pipeline.ui.words import LANGUAGES, Words

__all__ = ["Pages"]

_HERE = Path(__file__).parent
_PAGE_ROWS = 50
Values = Mapping[str, str]


class Pages:
    """Renders pages for one reader. Raises LookupError for what is not there, ValueError for values not understood."""

    def __init__(self, queries: Sequence[Query], language: str, served: Sequence[Served] = ()) -> None:
        self._queries = queries
        self._words = Words(language)
        self._served = served

    def render(self, segments: Sequence[str], values: Values) -> str:
        """The page of a path, whose segments are decoded already."""
        match segments:
            case [""]:
                return self._overview(values)
            case ["requirements"]:
                return self._requirements(values)
            case ["requirements", project, requirement]:
                return self._journey(project, requirement, values)
            case ["traces", trace_id]:
                return self._trace(trace_id, values)
        raise NotFoundError("no such page")

    def error(self, status: int, message: str) -> str:
        """The page of an answer that is none."""
        return self._template("error.html", {}, status=status, message=message)

    def _ask(self, *segments: str, **parameters: str) -> Any:
        return ask(self._queries, segments, {name: value for name, value in parameters.items() if value})

    def _overview(self, values: Values) -> str:
        overview = self._ask("overview") if self._has("overview") else None
        return self._template("overview.html", values, overview=overview, senders=self._senders())

    def _senders(self) -> list[Any]:
        if not any(one.document.path == "senders" for one in self._served):
            return []
        (first, *_) = show(self._served, "senders")["components"]
        senders: list[Any] = first["content"]["senders"]
        return senders

    def _requirements(self, values: Values) -> str:
        names = ("project", "stage", "state", "class", "q", "errors", "sort", "order")
        asked = {name: values[name] for name in names if values.get(name)}
        number = _page_number(values.get("page", ""))
        found = self._ask("requirements", **asked, limit=str(_PAGE_ROWS), offset=str((number - 1) * _PAGE_ROWS))
        return self._template(
            "requirements.html",
            values,
            found=found,
            asked=asked,
            number=number,
            pages=max(1, -(-found["total"] // _PAGE_ROWS)),
            scatter=scatter(found["requirements"], self._words),
        )

    def _journey(self, project: str, requirement: str, values: Values) -> str:
        journey = self._ask("requirements", project, requirement)
        view = journey_view(journey, self._words, compress=values.get("gaps") != "off")
        lines = journey_lines(journey, self._words) if values.get("view") == "table" else []
        return self._template("journey.html", values, journey=journey, view=view, lines=lines)

    def _trace(self, trace_id: str, values: Values) -> str:
        trace = self._ask("traces", trace_id)
        span = self._ask("traces", trace_id, "spans", values["span"]) if values.get("span") else None
        return self._template("trace.html", values, trace=trace, view=trace_view(trace, self._words), span=span)

    def _has(self, path: str) -> bool:
        return any(query.path == path for query in self._queries)

    def _template(self, name: str, values: Values, **parts: Any) -> str:
        words = self._words
        kept = {"lang": words.language} if values.get("lang") else {}

        def link(*segments: str, **parameters: object) -> str:
            """An address of a page that keeps the language; empty parameters are left out."""
            path = "/" + "/".join(quote(segment, safe="") for segment in segments)
            query = {name: str(value) for name, value in (kept | parameters).items() if value not in ("", None)}
            return f"{path}?{urlencode(query)}" if query else path

        return (
            _environment()
            .get_template(name)
            .render(
                _=words.text,
                words=words,
                link=link,
                values=values,
                note_text=lambda note: note_text(note, words),
                languages={code: (name, "?" + urlencode({**values, "lang": code})) for code, name in LANGUAGES.items()},
                **parts,
            )
        )


def _page_number(text: str) -> int:
    if not text:
        return 1
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= 1_000_000:
        raise ValueError("page has to be a whole number from 1 on")
    return int(text)


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(_HERE / "templates")
    return Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
