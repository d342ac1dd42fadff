"""What the gateway knows, over HTTP, as JSON that can only be read.

```yaml
extensions:
  web:
    endpoint: 127.0.0.1:8088
```

Components say what they show (`component.Document`); each document is at `/api/` and its path, and all are described at
`/api/openapi.json`.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Self

from pydantic import model_validator
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from otel_pipeline import __version__
from otel_pipeline.component import Extension, Served, Settings
from otel_pipeline.helpers.endpoint import Endpoint, check_exposure, parse_endpoint
from otel_pipeline.helpers.http_origin import OriginPolicy
from otel_pipeline.helpers.http_server import HttpServer
from otel_pipeline.options import Options

__all__ = ["Web", "WebOptions"]

_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


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
    """Serves the documents of all components below `/api/`."""

    type = "web"
    Config = WebOptions

    def __init__(self, config: WebOptions, settings: Settings) -> None:
        super().__init__(config, settings)
        endpoint = parse_endpoint(config.endpoint)
        app = Starlette(
            routes=[Route("/api/openapi.json", self._openapi), Route("/api/{path:path}", self._document)],
            exception_handlers={HTTPException: _http_error},
        )
        app.router.redirect_slashes = False
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

    def _served(self) -> list[Served]:
        service = self.settings.service
        return service.documents() if service else []

    async def _openapi(self, _request: Request) -> Response:
        return _json(200, _openapi(self._served()))

    async def _document(self, request: Request) -> Response:
        path = request.path_params["path"]
        served = [one for one in self._served() if one.document.path == path]
        if not served:
            raise HTTPException(404, "no such document; /api/openapi.json lists them all")
        try:
            return await asyncio.to_thread(_answer, served)
        except Exception as error:
            self.settings.log.warning("/api/%s could not be read: %s", path, type(error).__name__)
            raise HTTPException(500, "the document could not be read; the gateway's log tells more") from None


def _answer(served: Sequence[Served]) -> Response:
    """The contents of one path, each with the component that it is from."""
    components = [
        {"kind": one.kind, "id": one.id, "pipeline": one.pipeline, "content": one.document.read()} for one in served
    ]
    return _json(200, {"components": components})


def _json(status: int, body: Any, headers: dict[str, str] | None = None) -> Response:
    data = json.dumps(body).encode()
    return Response(data, status, headers={**_HEADERS, **(headers or {})}, media_type="application/json")


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = "only GET and HEAD" if error.status_code == 405 else error.detail
    headers = {"allow": "GET, HEAD"} if error.status_code == 405 else {}
    return _json(error.status_code, {"error": detail}, headers)


def _refused(_status: int, message: str, _content_type: bytes) -> tuple[bytes, bytes]:
    """Content type and body of what the server itself turns away."""
    return b"application/json", json.dumps({"error": message}).encode()


def _openapi(served: Sequence[Served]) -> dict[str, Any]:
    """The description of the API as it is now (OpenAPI 3.1)."""
    documents = {one.document.path: one.document for one in served}
    return {
        "openapi": "3.1.0",
        "info": {"title": "otel-pipeline", "version": __version__},
        "paths": {
            f"/api/{path}": {
                "get": {
                    "summary": document.summary,
                    "responses": {
                        "200": {
                            "description": "One entry for each component that has this document.",
                            "content": {"application/json": {"schema": _schema(document.schema)}},
                        }
                    },
                }
            }
            for path, document in sorted(documents.items())
        },
    }


def _schema(content: Any) -> dict[str, Any]:
    names = {name: {"type": "string"} for name in ("kind", "id", "pipeline")}
    entry = {"type": "object", "required": [*names, "content"], "properties": {**names, "content": dict(content)}}
    return {
        "type": "object",
        "required": ["components"],
        "properties": {"components": {"type": "array", "items": entry}},
    }
