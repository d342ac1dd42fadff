"""What one can ask about journeys over HTTP: the list of requirements, one journey, a trace, the overview."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, get_args

from otel_pipeline.component import Query
from otel_pipeline.journeys.document import JOURNEY_SCHEMA, PAGE_SCHEMA, journey_document, page_document
from otel_pipeline.journeys.model import Journey, Key, State
from otel_pipeline.journeys.overview import OVERVIEW_SCHEMA, overview_document
from otel_pipeline.journeys.store import RequirementPage, RequirementQuery, RequirementSort
from otel_pipeline.journeys.trace_document import TRACE_SCHEMA, span_document, trace_document

__all__ = ["JourneySource", "journey_queries", "whole_number"]

MAX_ROWS = 500
_SORTS: tuple[RequirementSort, ...] = get_args(RequirementSort)
_LIST_PARAMETERS = {
    "project": "Only of this project.",
    "stage": "Only those that entered this stage last.",
    "state": f"Only in this state; several with commas: {', '.join(State)}.",
    "class": "Only of this class of requirements.",
    "q": "Only those whose id or title has this text.",
    "errors": "`true`: only those with errors.",
    "sort": f"One of {', '.join(_SORTS)}; last_seen where left out.",
    "order": "asc or desc; desc where left out.",
    "limit": f"Rows, at most {MAX_ROWS}; 50 where left out.",
    "offset": "Rows to skip.",
}
Values = Mapping[str, str]


class JourneySource(Protocol):
    """Who answers: the journeys over a store."""

    def journey(self, project: str, requirement: str, now_ns: int) -> Journey | None:
        """The whole way of one requirement; None where nothing is known of it."""
        ...

    def requirements(self, query: RequirementQuery) -> RequirementPage:
        """Rows of the list."""
        ...

    def trace(self, trace_id: str) -> Sequence[bytes]:
        """OTLP TracesData, in pieces."""
        ...

    def requirements_of(self, trace_id: str, now_ns: int) -> Sequence[Key]:
        """The requirements to which some part of the trace belongs."""
        ...


def journey_queries(
    source: Callable[[], JourneySource], stages: Sequence[str], now_ns: Callable[[], int]
) -> tuple[Query, ...]:
    """The questions. `source` gives who answers, or raises StoreError while nobody can; `stages` are all of them in
    the order of delivery."""

    def requirements(values: Values) -> Any:
        query = _requirement_query(values, now_ns())
        return page_document(source().requirements(query), stages, query.now_ns)

    def journey(values: Values) -> Any:
        now = now_ns()
        found = source().journey(values["project"], values["requirement"], now)
        if found is None:
            raise LookupError(f"nothing is known of requirement {values['requirement']} of project {values['project']}")
        return journey_document(found, now)

    def trace(values: Values) -> Any:
        trace_id, answers = _trace_id(values), source()
        requirements = [
            {"project": key.scope, "requirement": key.value} for key in answers.requirements_of(trace_id, now_ns())
        ]
        return {**trace_document(trace_id, answers.trace(trace_id)), "requirements": requirements}

    def span(values: Values) -> Any:
        return span_document(_trace_id(values), values["span_id"].lower(), source().trace(_trace_id(values)))

    def overview(_values: Values) -> Any:
        return overview_document(source().requirements, stages, now_ns())

    return (
        Query("requirements", "Requirements, page by page.", requirements, _LIST_PARAMETERS, PAGE_SCHEMA),
        Query("requirements/{project}/{requirement}", "The journey of one requirement.", journey, {}, JOURNEY_SCHEMA),
        Query("traces/{trace_id}", "The spans of one trace.", trace, {}, TRACE_SCHEMA),
        Query("traces/{trace_id}/spans/{span_id}", "Everything that is kept of one span.", span),
        Query("overview", "Where requirements are now, and the last four weeks.", overview, {}, OVERVIEW_SCHEMA),
    )


def _requirement_query(values: Values, now_ns: int) -> RequirementQuery:
    sort = values.get("sort") or "last_seen"
    if sort not in _SORTS:
        raise ValueError(f"sort has to be one of {', '.join(_SORTS)}")
    if values.get("order", "desc") not in ("asc", "desc"):
        raise ValueError("order has to be asc or desc")
    states = [one for one in values.get("state", "").split(",") if one]
    if unknown := [one for one in states if one not in set(State)]:
        raise ValueError(f"unknown state {unknown[0]!r}: it has to be of {', '.join(State)}")
    return RequirementQuery(
        now_ns=now_ns,
        project=values.get("project", ""),
        stage=values.get("stage", ""),
        states=tuple(State(one) for one in states),
        requirement_class=values.get("class", ""),
        text=values.get("q", ""),
        with_errors=values.get("errors", "").lower() in ("1", "true", "on"),
        sort=sort,
        descending=values.get("order", "desc") == "desc",
        limit=min(MAX_ROWS, whole_number(values, "limit", 50)),
        offset=whole_number(values, "offset"),
    )


def whole_number(values: Values, name: str, default: int = 0, *, digits: int = 9) -> int:
    """A parameter that has to be a whole number of at most so many digits. Raises ValueError."""
    text = values.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > digits:
        raise ValueError(f"{name} has to be a whole number")
    return int(text)


def _trace_id(values: Values) -> str:
    text = values["trace_id"].lower()
    if len(text) != 32 or not all(letter in "0123456789abcdef" for letter in text):
        raise ValueError("a trace id is 32 hexadecimal digits")
    return text
