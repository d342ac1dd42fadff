"""Which Host and Origin a server on this machine believes: the guard against DNS rebinding and foreign web pages."""

import re
from collections.abc import Iterable
from fnmatch import translate

from otel_pipeline.helpers.endpoint import Endpoint

__all__ = ["OriginPolicy", "local_hosts"]

_REMEMBERED = 64


def local_hosts(endpoint: Endpoint) -> tuple[str, ...]:
    """The host names under which a server at `endpoint` is meant to be called; `*` where other machines reach it."""
    return ("localhost", "127.0.0.1", "::1", endpoint.host) if endpoint.is_local else ("*",)


class OriginPolicy:
    """Allow-lists of host names (without port) and of origins; `*` stands for any text.

    A request without Origin comes from no web page, and one whose Origin is the called host from a page of our own:
    both pass. `null` never does.
    """

    def __init__(self, hosts: Iterable[str], origins: Iterable[str] = ()) -> None:
        self._hosts = _pattern(hosts)
        self._origins = _pattern(origins)
        self._known_hosts: set[bytes] = set()

    @classmethod
    def for_endpoint(cls, endpoint: Endpoint, hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> "OriginPolicy":
        """The policy for a server at `endpoint`: its local names where `hosts` are not given."""
        return cls(tuple(hosts) or local_hosts(endpoint), origins)

    def host_allowed(self, host: bytes) -> bool:
        """Whether a Host header may be served."""
        if host in self._known_hosts:
            return True
        name = host.decode("latin-1").lower()
        name = name[1 : name.find("]")] if name.startswith("[") else name.partition(":")[0]
        if not self._hosts.fullmatch(name):
            return False
        if len(self._known_hosts) < _REMEMBERED:
            self._known_hosts.add(host)
        return True

    def origin_allowed(self, origin: bytes, host: bytes) -> bool:
        """Whether a page of `origin` may call `host`."""
        scheme, _, authority = origin.partition(b"://")
        if scheme in (b"http", b"https") and authority == host:
            return True
        return origin != b"null" and self.cross_origin(origin)

    def cross_origin(self, origin: bytes) -> bool:
        """Whether the list of origins names `origin`."""
        return bool(self._origins.fullmatch(origin.decode("latin-1").lower()))


def _pattern(texts: Iterable[str]) -> re.Pattern[str]:
    literal = (translate(text.lower().replace("[", "[[]").replace("?", "[?]")) for text in texts)
    return re.compile("|".join(literal) or r"(?!)")
