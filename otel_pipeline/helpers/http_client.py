"""The HTTP client of every component that asks others: it goes only where it is sent, and tells nobody."""

import logging
import ssl
from http.cookiejar import DefaultCookiePolicy

import httpx

__all__ = ["bare_client"]

_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20)


def bare_client(
    *,
    verify: ssl.SSLContext | bool,
    timeout: float,
    limits: httpx.Limits = _LIMITS,
) -> httpx.AsyncClient:
    """A client that follows no redirects, uses no proxy, keeps no cookies and logs no URLs. `timeout` in seconds."""
    for library in ("httpx", "httpcore"):  # at lower levels they write whole URLs, with their secrets
        logging.getLogger(library).setLevel(logging.WARNING)
    client = httpx.AsyncClient(verify=verify, trust_env=False, follow_redirects=False, timeout=timeout, limits=limits)
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
    return client
