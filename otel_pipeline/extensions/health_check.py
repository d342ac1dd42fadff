"""Health of the gateway over HTTP, for probes and for people.

```yaml
extensions:
  health_check:
    endpoint: 127.0.0.1:13133
```

`/` answers as the Collector's extension does, `/health` tells that the process lives, `/ready` whether it takes data,
`/status` everything that is known of components, pipelines and the item balance. All of it is read-only.
"""

import json
from datetime import UTC, datetime
from typing import Any, Self

from pydantic import field_validator, model_validator

from otel_pipeline.component import Extension, Settings
from otel_pipeline.helpers.endpoint import Endpoint, check_exposure, parse_endpoint
from otel_pipeline.helpers.http_origin import OriginPolicy
from otel_pipeline.helpers.http_server import HttpServer
from otel_pipeline.options import Options

__all__ = ["HealthCheck", "HealthCheckOptions"]

_Answer = tuple[int, dict[str, Any]]


class HealthCheckOptions(Options):
    """Options of `health_check`."""

    endpoint: str = "127.0.0.1:13133"
    """Where to listen, as `host:port`; port 0 takes a free one."""
    path: str = "/"
    """Where the Collector's answer is given."""
    insecure_ok: bool = False
    """Lets other machines reach the endpoint, without TLS and without asking who they are: for probes of a cluster."""

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: str) -> str:
        if not path.startswith("/"):
            raise ValueError(f"not a path: {path!r} (write it like /healthz)")
        return path

    @model_validator(mode="after")
    def _check_endpoint(self) -> Self:
        check_exposure(parse_endpoint(self.endpoint), authenticates=False, insecure_ok=self.insecure_ok)
        return self


class HealthCheck(Extension):
    """Serves `/`, `/health`, `/ready` and `/status`."""

    type = "health_check"
    Config = HealthCheckOptions

    def __init__(self, config: HealthCheckOptions, settings: Settings) -> None:
        super().__init__(config, settings)
        endpoint = parse_endpoint(config.endpoint)
        self._started_ns = settings.clock.time_ns()
        self._server = HttpServer(self._serve, endpoint, origins=OriginPolicy.for_endpoint(endpoint), log=settings.log)
        self._pages = {"/health": _health, "/ready": self._ready, "/status": self._status, config.path: self._root}

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

    def _reasons(self) -> list[str]:
        service = self.settings.service
        return service.unready() if service else ["no service runs"]

    def _root(self) -> _Answer:
        """The body of the Collector's extension."""
        if self._reasons():
            return 503, {"status": "Server not available", "upSince": "0001-01-01T00:00:00Z", "uptime": ""}
        since = datetime.fromtimestamp(self._started_ns / 1e9, UTC).isoformat().replace("+00:00", "Z")
        uptime = (self.settings.clock.time_ns() - self._started_ns) / 1e9
        return 200, {"status": "Server available", "upSince": since, "uptime": f"{uptime:.3f}s"}

    def _ready(self) -> _Answer:
        reasons = self._reasons()
        return (503 if reasons else 200), {"ready": not reasons, "reasons": reasons}

    def _status(self) -> _Answer:
        service = self.settings.service
        return 200, service.describe() if service else {}

    async def _serve(self, scope: Any, _receive: Any, send: Any) -> None:
        page = self._pages.get(scope["path"])
        if page is None:
            status, body = 404, {"error": f"no such page; there are {', '.join(self._pages)}"}
        elif scope["method"] not in ("GET", "HEAD"):
            status, body = 405, {"error": "only GET and HEAD"}
        else:
            status, body = page()
        data = json.dumps(body, indent=1).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(data)).encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
        ]
        if status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else data})


def _health() -> _Answer:
    return 200, {"status": "alive"}
