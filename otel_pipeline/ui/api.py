"""The read-only API: what components show (documents) and answer (queries), below `/api/`, with its description."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from otel_pipeline.component import Query, Served

__all__ = ["NotFoundError", "ask", "describe", "find_query", "show", "to_json"]

Values = Mapping[str, str]


class NotFoundError(LookupError):
    """There is no such document, or nothing that the question is about."""


def show(served: Sequence[Served], path: str) -> dict[str, Any]:
    """The contents of the documents of one path, each with the component that it is from. Raises NotFoundError."""
    found = [one for one in served if one.document.path == path]
    if not found:
        raise NotFoundError("no such document; /api/openapi.json lists them all")
    contents = [
        {"kind": one.kind, "id": one.id, "pipeline": one.pipeline, "content": one.document.read()} for one in found
    ]
    return {"components": contents}


def find_query(queries: Sequence[Query], segments: Sequence[str]) -> tuple[Query, dict[str, str]] | None:
    """The first query of which a path is an instance, with the values of its names; segments are decoded already."""
    for query in queries:
        names = query.path.split("/")
        if len(names) == len(segments) and all(
            _is_name(name) or name == segment for name, segment in zip(names, segments, strict=True)
        ):
            pairs = zip(names, segments, strict=True)
            return query, {name[1:-1]: segment for name, segment in pairs if _is_name(name)}
    return None


def ask(queries: Sequence[Query], segments: Sequence[str], parameters: Values) -> Any:
    """The answer to a path and a query string. Raises NotFoundError, and ValueError for a value or a name that is not
    understood."""
    found = find_query(queries, segments)
    if found is None:
        raise NotFoundError("no such question; /api/openapi.json lists them all")
    query, values = found
    if unknown := sorted(parameters.keys() - query.parameters.keys()):
        known = ", ".join(query.parameters) or "none"
        raise ValueError(f"unknown parameter: {', '.join(unknown)} (there are: {known})")
    return query.read({**parameters, **values})


def describe(served: Sequence[Served], queries: Sequence[Query], version: str) -> dict[str, Any]:
    """All of it as OpenAPI 3.1."""
    paths = {f"/api/{one.document.path}": _document_path(one) for one in served}
    paths |= {f"/api/{one.path}": _query_path(one) for one in reversed(queries)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "otel-pipeline", "version": version},
        "paths": dict(sorted(paths.items())),
    }


def to_json(body: Any) -> bytes:
    """JSON in UTF-8."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _is_name(segment: str) -> bool:
    return segment.startswith("{")


def _document_path(served: Served) -> dict[str, Any]:
    names = {name: {"type": "string"} for name in ("kind", "id", "pipeline")}
    content = dict(served.document.schema)
    entry = {"type": "object", "required": [*names, "content"], "properties": {**names, "content": content}}
    schema = {
        "type": "object",
        "required": ["components"],
        "properties": {"components": {"type": "array", "items": entry}},
    }
    return _get(served.document.summary, "One entry for each component that has this document.", schema)


def _query_path(query: Query) -> dict[str, Any]:
    names = [part[1:-1] for part in query.path.split("/") if _is_name(part)]
    path = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    string = [
        {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
        for name, text in query.parameters.items()
    ]
    operation = _get(query.summary, "The answer.", dict(query.schema))
    operation["get"]["parameters"] = path + string
    return operation


def _get(summary: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    return {"get": {"summary": summary, "responses": {"200": {"description": description, "content": content}}}}
