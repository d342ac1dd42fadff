"""Headers that users have exporters send: names and values checked, values never shown."""

import re
from typing import Annotated

from pydantic import AfterValidator

from otel_pipeline.options import Secret

__all__ = ["GrpcHeaders", "HttpHeaders"]

_GRPC_NAME = re.compile(r"(?!grpc-)[0-9a-z_.-]+")
_HTTP_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_OWN = frozenset({"content-type", "content-encoding", "content-length", "transfer-encoding", "accept-encoding"})


def _check(headers: dict[str, Secret], allowed: re.Pattern[str]) -> dict[str, Secret]:
    for name, value in headers.items():
        if not allowed.fullmatch(name.lower()) or name.lower() in _OWN:
            raise ValueError(f"{name!r} is not a name that can be set")
        if not _VALUE.fullmatch(value.get_secret_value()):
            raise ValueError(f"the value of {name!r} has characters that are not printable ASCII")
    return headers


GrpcHeaders = Annotated[dict[str, Secret], AfterValidator(lambda headers: _check(headers, _GRPC_NAME))]
"""Metadata of gRPC requests."""

HttpHeaders = Annotated[dict[str, Secret], AfterValidator(lambda headers: _check(headers, _HTTP_NAME))]
"""Headers of HTTP requests."""
