"""Rows of the list of requirements as a database keeps them, and the SQL that finds them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from otel_pipeline.journeys.model import State
from otel_pipeline.journeys.store import (
    RequirementPage,
    RequirementQuery,
    RequirementSort,
    RequirementSummary,
    StageDot,
)

__all__ = ["COLUMNS", "Selection", "made_page", "page", "row", "select", "summary"]

COLUMNS = (
    *("project", "id", "class", "state", "stage", "is_open", "start_ns", "end_ns", "lead_ns", "active_ns"),
    *("cost_usd", "tokens", "errors", "reruns", "due_ns", "search", "body"),
)

_LEAD = "CASE WHEN is_open = 0 THEN lead_ns WHEN ? > start_ns THEN ? - start_ns ELSE 0 END"
_SORTS: dict[RequirementSort, str] = {
    "last_seen": "end_ns",
    "start": "start_ns",
    "lead": _LEAD,
    "active": "active_ns",
    "cost": "cost_usd",
    "tokens": "tokens",
    "errors": "errors",
    "reruns": "reruns",
    "id": "id",
}


class Selection(NamedTuple):
    """A statement with `?` for parameters, and these."""

    sql: str
    parameters: list[Any]


def row(one: RequirementSummary) -> tuple[Any, ...]:
    """The values of `COLUMNS`."""
    search = f"{one.requirement}\n{one.title}".casefold()
    return (
        *(one.project, one.requirement, one.requirement_class, one.state.value, one.stage, int(one.is_open)),
        *(one.start_ns, one.end_ns, one.lead_ns, one.active_ns, one.cost_usd, one.tokens, one.errors, one.reruns),
        *(one.due_ns, search, json.dumps(asdict(one))),
    )


def summary(body: str) -> RequirementSummary:
    """What `row` was made of."""
    told = json.loads(body)
    stages = tuple(StageDot(**dot) for dot in told["stages"])
    return RequirementSummary(**{**told, "state": State(told["state"]), "stages": stages})


def select(query: RequirementQuery, what: str, *, but: str = "", contains: str = "instr") -> Selection:
    """`SELECT what FROM summary` under the conditions of the query; `but` names the column whose own is left out.
    `contains` is the database's function that finds one text in another."""
    tests: list[tuple[str, list[Any]]] = []
    for column, value in (("project", query.project), ("stage", query.stage), ("class", query.requirement_class)):
        if value and column != but:
            tests.append((f"{column} = ?", [value]))
    if query.states and but != "state":
        marks = ", ".join("?" * len(query.states))
        tests.append((f"state IN ({marks})", [state.value for state in query.states]))
    if query.text:
        tests.append((f"{contains}(search, ?) > 0", [query.text.casefold()]))
    if query.with_errors:
        tests.append(("errors > 0", []))
    where = " WHERE " + " AND ".join(test for test, _ in tests) if tests else ""
    return Selection(f"SELECT {what} FROM summary{where}", [value for _, values in tests for value in values])


def page(query: RequirementQuery, *, contains: str = "instr") -> Selection:
    """The bodies of the rows that are asked for, in order."""
    found = select(query, "body", contains=contains)
    direction = "DESC" if query.descending else "ASC"
    leads = [query.now_ns, query.now_ns] if query.sort == "lead" else []
    order = f" ORDER BY {_SORTS[query.sort]} {direction}, project, id LIMIT ? OFFSET ?"
    return Selection(found.sql + order, [*found.parameters, *leads, query.limit, query.offset])


def made_page(
    bodies: Iterable[str],
    total: int,
    by_stage: Sequence[tuple[str, int]],
    by_state: Sequence[tuple[str, int]],
    projects: Iterable[str],
) -> RequirementPage:
    """The page of what the statements found."""
    states = {State(state): count for state, count in by_state}
    rows = tuple(summary(body) for body in bodies)
    return RequirementPage(rows, total, dict(by_stage), states, tuple(sorted(projects)))
