"""Gets the page of a target over HTTP: bounded in time, in size and in where it may lead."""

import asyncio
import base64
from collections.abc import Sequence
from pathlib import Path

import httpx

from otel_pipeline import __version__
from otel_pipeline.errors import DecodeError, OtelPipelineError, TooLargeError
from otel_pipeline.helpers.decompress import DECOMPRESSORS
from otel_pipeline.helpers.http_client import bare_client
from otel_pipeline.helpers.scrape_options import PROTOCOLS, ScrapeConfig

__all__ = ["PageClient", "ScrapeError"]

_PROTOBUF = "application/vnd.google.protobuf"
_FORMATS = {"application/openmetrics-text": "openmetrics", "text/plain": "text", "": "text"}
_MAX_REDIRECTS = 3


class ScrapeError(OtelPipelineError):
    """No page; the text says why and shows nothing of the target's answer."""


class PageClient:
    """Gets the pages of one job. Uses no proxy, keeps no cookies, follows redirects within scheme, host and port."""

    def __init__(self, config: ScrapeConfig, path: str) -> None:
        """Raises ConfigError for certificates that cannot be used; `path` is where the options stand."""
        self._config = config
        tls = config.tls_config
        encrypted = any(target.url.startswith("https:") for target in config.targets())
        self._client = bare_client(
            verify=tls.client().ssl_context(f"{path}::tls_config") if encrypted else False,
            timeout=config.scrape_timeout,
        )
        self._accept = _accept([PROTOCOLS[name][0] for name in config.scrape_protocols])
        self._extensions = {"sni_hostname": tls.server_name} if tls.server_name else {}

    async def close(self) -> None:
        """Ends all connections."""
        await self._client.aclose()

    async def get(self, url: str) -> tuple[bytes, str]:
        """The page, and its format as `ScrapeTarget.scrape` takes it. Raises ScrapeError."""
        try:
            async with asyncio.timeout(self._config.scrape_timeout):
                headers = await asyncio.to_thread(self._headers)
                for _ in range(_MAX_REDIRECTS + 1):
                    answer = await self._ask(url, headers)
                    if not isinstance(answer, str):
                        return answer
                    url = answer
        except TimeoutError:
            raise ScrapeError("no whole page within scrape_timeout") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ScrapeError(type(error).__name__) from None
        except TooLargeError:
            raise ScrapeError("the page is larger than body_size_limit") from None
        except DecodeError:
            raise ScrapeError("the page is not the gzip that it says it is") from None
        raise ScrapeError("too many redirects")

    async def _ask(self, url: str, headers: dict[str, str]) -> tuple[bytes, str] | str:
        """The page, or the URL to ask instead."""
        async with self._client.stream("GET", url, headers=headers, extensions=self._extensions) as response:
            if response.next_request is not None:
                if _origin(response.next_request.url) != _origin(response.url):
                    raise ScrapeError("it redirects to another host")
                return str(response.next_request.url)
            if response.status_code != 200:
                raise ScrapeError(f"it answered {response.status_code}")
            page_format = self._format(response.headers.get("content-type", ""))
            body = await self._read(response)
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding == "gzip":
            body = await asyncio.to_thread(DECOMPRESSORS["gzip"], body, self._config.body_size_limit)
        elif encoding != "identity":
            raise ScrapeError("the page has a content encoding that was not asked for")
        return body, page_format

    def _format(self, content_type: str) -> str:
        media_type, _, parameters = content_type.lower().partition(";")
        found = _FORMATS.get(media_type.strip())
        if media_type.strip() == _PROTOBUF:
            given = {part.strip() for part in parameters.replace('"', "").split(";")}
            if {"proto=io.prometheus.client.metricfamily", "encoding=delimited"} <= given:
                found = "protobuf"
        if found is None and self._config.fallback_scrape_protocol is not None:
            found = PROTOCOLS[self._config.fallback_scrape_protocol][1]
        if found is None:
            raise ScrapeError("the content type is not of Prometheus text, OpenMetrics or Prometheus protobuf")
        return found

    async def _read(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > self._config.body_size_limit:
                raise TooLargeError
        return bytes(body)

    def _headers(self) -> dict[str, str]:
        seconds = f"{self._config.scrape_timeout:g}"
        headers = {
            "accept": self._accept,
            "accept-encoding": "gzip",
            "user-agent": f"otel-pipeline/{__version__}",
            "x-prometheus-scrape-timeout-seconds": seconds,
        }
        basic, token = self._config.basic_auth, self._config.authorization
        if basic is not None:
            password = basic.password.get_secret_value() if basic.password else _secret_of(basic.password_file)
            pair = base64.b64encode(f"{basic.username}:{password}".encode()).decode()
            headers["authorization"] = f"Basic {pair}"
        if token is not None:
            secret = token.credentials.get_secret_value() if token.credentials else _secret_of(token.credentials_file)
            if not (secret.isascii() and secret.isprintable()):
                raise ScrapeError("the credentials have characters that are not printable ASCII")
            headers["authorization"] = f"{token.type} {secret}"
        return headers


def _accept(media_types: Sequence[str]) -> str:
    """The best first; whatever else a target may have comes last, for some answer 406 where nothing matches."""
    weights = range(len(media_types) + 1, 0, -1)
    return ",".join(f"{one};q=0.{weight}" for one, weight in zip((*media_types, "*/*"), weights, strict=True))


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or {"https": 443}.get(url.scheme, 80)


def _secret_of(file: Path | None) -> str:
    try:
        return file.read_text(encoding="utf-8").strip() if file else ""
    except (OSError, UnicodeDecodeError):
        raise ScrapeError("the file with the credentials cannot be read") from None
