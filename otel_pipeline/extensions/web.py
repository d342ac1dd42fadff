"""Pages for people and JSON for programs: requirements, their journeys, traces, and what components show. Read only.

```yaml
extensions:
  web:
    endpoint: 127.0.0.1:8088
```

`/` is the overview, `/requirements` the list, `/requirements/PROJECT/REQUIREMENT` one journey and `/traces/TRACE_ID`
one trace. Everything on them is JSON below `/api/` too; `/api/openapi.json` describes it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

from pydantic import model_validator
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from otel_pipeline import __version__, ui
from otel_pipeline.component import Extension, Query, Served, Settings
from otel_pipeline.errors import StoreError
from otel_pipeline.helpers.endpoint import Endpoint, check_exposure, parse_endpoint
from otel_pipeline.helpers.http_origin import OriginPolicy
from otel_pipeline.helpers.http_server import HttpServer
from otel_pipeline.options import Options
from otel_pipeline.ui.api import NotFoundError, ask, describe, find_query, show, to_json
from otel_pipeline.ui.pages import Pages
from otel_pipeline.ui.words import choose_language

__all__ = ["Web", "WebOptions"]

_HEADERS = {
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_NOTHING = "default-src 'none'; frame-ancestors 'none'"
_OWN_FILES = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_STATIC = Path(ui.__file__).with_name("static")


class WebOptions(Options):
    """Options of `web`."""

    endpoint: str = "127.0.0.1:8088"
    """Where to listen, as `host:port`; port 0 takes a free one."""
    insecure_ok: bool = False
    """Lets other machines read everything, without TLS and without asking who they are."""

    @model_validator(mode="after")
    def _check_endpoint(self) -> Self:
        check_exposure(parse_endpoint(self.endpoint), authenticates=False, insecure_ok=self.insecure_ok)
        return self


class Web(Extension):
    """Serves the pages, and the documents and queries of all components below `/api/`."""

    type = "web"
    Config = WebOptions

    def __init__(self, config: WebOptions, settings: Settings) -> None:
        super().__init__(config, settings)
        endpoint = parse_endpoint(config.endpoint)
        app = Starlette(
            routes=[Mount("/static", StaticFiles(directory=_STATIC)), Route("/{path:path}", self._get)],
            exception_handlers={HTTPException: _http_error},
        )
        self._server = HttpServer(
            app, endpoint, origins=OriginPolicy.for_endpoint(endpoint), answer=_refused, log=settings.log
        )

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens; after `start` with the real port."""
        return self._server.endpoint

    async def start(self) -> None:
        """Listens."""
        await self._server.start()

    async def shutdown(self) -> None:
        """Closes."""
        await self._server.shutdown(grace=1.0)

    async def _get(self, request: Request) -> Response:
        service = self.settings.service
        served, queries = (service.documents(), service.queries()) if service else ([], [])
        try:
            return await asyncio.to_thread(_answer, request, served, queries)
        except Exception as error:
            # The texts of these are made for readers; that of any other exception may hold anything.
            if type(error) in (LookupError, NotFoundError):
                raise HTTPException(404, str(error)) from None
            if type(error) is ValueError:
                raise HTTPException(400, str(error)) from None
            if isinstance(error, StoreError):
                raise HTTPException(503, str(error)) from None
            path = "/".join(_segments(request)[:2])
            self.settings.log.warning("/%s could not be read: %s", path, type(error).__name__)
            raise HTTPException(500, "it could not be read; the gateway's log tells more") from None


def _answer(request: Request, served: Sequence[Served], queries: Sequence[Query]) -> Response:
    segments = _segments(request)
    values = dict(request.query_params)
    if segments[:2] == ["jaeger", "api"]:  # Grafana's data source has http://HOST:8088/jaeger as its address
        return _json(ask(queries, ["jaeger", *segments[2:]], values))
    if segments[0] != "api":
        return _page(Pages(queries, _language(request), served).render(segments, values))
    if segments == ["api", "openapi.json"]:
        return _json(describe(served, queries, __version__))
    if find_query(queries, segments[1:]):
        return _json(ask(queries, segments[1:], values))
    return _json(show(served, "/".join(segments[1:])))


def _segments(request: Request) -> list[str]:
    """Of the path: ids may hold slashes, so it is taken apart before it is decoded."""
    raw: bytes = request.scope["raw_path"]
    return [unquote(part) for part in raw.decode("latin-1").split("?")[0].split("/")[1:]]


def _json(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    all_headers = {**_HEADERS, "content-security-policy": _NOTHING, **(headers or {})}
    return Response(to_json(body), status, headers=all_headers, media_type="application/json")


def _page(text: str, status: int = 200) -> Response:
    headers = {**_HEADERS, "content-security-policy": _OWN_FILES}
    return Response(text.encode("utf-8", "replace"), status, headers=headers, media_type="text/html; charset=utf-8")


def _language(request: Request) -> str:
    return choose_language(request.query_params.get("lang", ""), request.headers.get("accept-language", "")[:200])


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return _json({"error": "only GET and HEAD"}, 405, {"allow": "GET, HEAD"})
    if "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/"):
        return _page(Pages((), _language(request)).error(error.status_code, error.detail), error.status_code)
    return _json({"error": error.detail}, error.status_code)


def _refused(_status: int, message: str, _content_type: bytes) -> tuple[bytes, bytes]:
    """Content type and body of what the server itself turns away."""
    return b"application/json", to_json({"error": message})
