"""A server that an exporter posts requests to: what of its URLs and answers may be shown, and which failures pass."""

import asyncio
import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import httpx

from otel_pipeline import __version__
from otel_pipeline.errors import ConsumeError, PermanentError, RetryableError
from otel_pipeline.helpers.headers import HttpHeaders
from otel_pipeline.helpers.http_client import bare_client
from otel_pipeline.helpers.otlp_response import MAX_RESPONSE_BYTES
from otel_pipeline.helpers.peer_endpoint import redact_url
from otel_pipeline.helpers.printable import Scrubber
from otel_pipeline.helpers.tls import ClientTls

__all__ = ["HttpAnswer", "HttpPeer"]


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a peer answered."""

    status: int
    headers: httpx.Headers
    body: bytes
    """Empty where it was over the limit."""


class HttpPeer:
    """Posts to URLs of one peer. Follows no redirects, uses no proxy, keeps no cookies."""

    def __init__(self, urls: Iterable[str], headers: HttpHeaders, tls: ClientTls, timeout: float) -> None:
        """`timeout` in seconds, for one try from connecting to the end of the answer."""
        self._urls = tuple(urls)
        self._tls = tls
        self._timeout = timeout
        self._extensions = {"sni_hostname": name} if (name := tls.server_name_override) else {}
        self._client: httpx.AsyncClient | None = None
        secrets = [value.get_secret_value() for value in headers.values()]
        self.scrub = Scrubber([*secrets, *(part for url in self._urls for part in _url_secrets(url))])
        """Makes text of the peer fit to be shown."""
        self.headers = {name.lower(): value.get_secret_value() for name, value in headers.items()}
        """The user's, and a `user-agent`."""
        self.headers.setdefault("user-agent", f"otel-pipeline/{__version__}")
        self.headers["accept-encoding"] = "identity"

    def open(self, tls_path: str, *, keepalive_connections: int) -> None:
        """Prepares the client; raises ConfigError for certificates that cannot be used, telling `tls_path`, where
        these options stand. Connects later."""
        encrypted = any(url.startswith("https:") for url in self._urls)
        self._client = bare_client(
            verify=self._tls.ssl_context(tls_path) if encrypted else False,
            timeout=self._timeout,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=keepalive_connections),
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        """One try. Raises RetryableError or PermanentError where there is no answer."""
        if self._client is None:
            raise RetryableError("the exporter has not been started")
        try:
            async with asyncio.timeout(self._timeout):
                request = self._client.stream("POST", url, content=body, headers=headers, extensions=self._extensions)
                async with request as response:
                    answer = await _read_capped(response)
        except TimeoutError:
            raise RetryableError(f"{redact_url(url)}: no answer within the timeout") from None
        except httpx.TransportError as error:
            raise self._transport_error(url, error) from None
        return HttpAnswer(response.status_code, response.headers, answer)

    def describe(self, url: str, answer: HttpAnswer, text: str) -> str:
        """A sentence for logs; `text` is what the answer says."""
        text = self.scrub(text)
        return f"{redact_url(url)} answered {answer.status}{f': {text}' if text else ''}"

    async def close(self) -> None:
        """Closes all connections. May come without `open`, and twice."""
        if self._client is not None:
            await self._client.aclose()

    def _transport_error(self, url: str, error: httpx.TransportError) -> ConsumeError:
        message = f"{redact_url(url)}: {type(error).__name__}: {self.scrub(str(error))}"
        if isinstance(error, (httpx.UnsupportedProtocol, httpx.LocalProtocolError)):
            return PermanentError(message)
        return RetryableError(message)


async def _read_capped(response: httpx.Response) -> bytes:
    """The body as it came; none of it where it is over the limit."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_RESPONSE_BYTES:
            return b""
    return bytes(body)


def _url_secrets(url: str) -> list[str]:
    """What of a URL must not be shown: password, basic authorization made of it, and the query."""
    parts = urlsplit(url)
    if not parts.password:
        return [parts.query]
    user, password = unquote(parts.username or ""), unquote(parts.password)
    basic = base64.b64encode(f"{user}:{password}".encode()).decode()
    return [parts.query, parts.password, password, basic]
