"""Endpoints of peers as users write them: checked, taken apart, and written without credentials."""

import ipaddress
import socket
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import httpx
from pydantic import AfterValidator

__all__ = ["GrpcEndpoint", "HttpUrl", "is_link_local", "parse_grpc_endpoint", "redact_url"]


class GrpcEndpoint(NamedTuple):
    """The endpoint of a gRPC server."""

    target: str
    """What a gRPC channel takes."""
    host: str
    scheme: str = ""
    """`http`, `https` or empty."""


def redact_url(url: str) -> str:
    """`url` without user name, password, query and fragment, for logs and messages."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def is_link_local(host: str) -> bool:
    """Whether `host` is an address of 169.254.0.0/16 or fe80::/10, in any spelling that resolvers take as a number.

    That is where clouds serve credentials to whoever asks from inside. Names are not looked up.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False
    numbers = [ipaddress.ip_address(str(address[0]).partition("%")[0]) for *_, address in found]
    return any((getattr(number, "ipv4_mapped", None) or number).is_link_local for number in numbers)


def _check_http_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
        called = httpx.URL(url).host
    except (ValueError, httpx.InvalidURL):
        raise ValueError("not a URL; write it like https://collector.example:4318") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("must begin with http:// or https://")
    if not host:
        raise ValueError("has no host; write it like https://collector.example:4318")
    if host != called:  # two readers that disagree could be made to check one host and to call another
        raise ValueError("has a host with odd characters; write it like https://collector.example:4318")
    return url


HttpUrl = Annotated[str, AfterValidator(lambda url: _check_http_url(url) if url else url)]
"""An http or https URL with a host; or empty."""


def parse_grpc_endpoint(endpoint: str) -> GrpcEndpoint:
    """Takes `host:port`, `http://host:port`, `https://host:port`, `dns://[resolver]/host:port` or `unix:path` apart.

    Raises ValueError, written for the user.
    """
    if endpoint.startswith("unix:"):
        return GrpcEndpoint(endpoint, "")
    scheme, separator, rest = endpoint.partition("://")
    if not separator:
        scheme, rest = "", endpoint
    elif scheme == "dns":
        rest = rest.rpartition("/")[2]
    elif scheme not in ("http", "https"):
        raise ValueError(f"unknown scheme {scheme!r}; write host:port, http://host:port or https://host:port")
    authority = rest.removesuffix("/")
    if "/" in authority or "@" in authority:
        raise ValueError("a gRPC endpoint has no path, user name or password; write host:port")
    host, _, port = authority.rpartition(":")
    if not (host and port.isdecimal() and int(port) < 65536):
        raise ValueError("needs a host and a port; OTLP over gRPC usually listens at host:4317")
    return GrpcEndpoint(endpoint, host) if scheme == "dns" else GrpcEndpoint(authority, host, scheme)
