"""Which format and compression a scraper gets, by its Accept and Accept-Encoding headers (RFC 9110, section 12).

Source: Prometheus "Content negotiation" and "Escaping schemes". Names are escaped by `underscores`, unless the scraper
asks for `allow-utf-8`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["TEXT", "Format", "accepts_gzip", "choose_format"]

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAMETER = re.compile(rf'\s*;\s*({_TOKEN})\s*=\s*({_TOKEN}|"[^"\\]*")\s*')
_RANGE = re.compile(rf"\s*({_TOKEN}(?:/{_TOKEN})?)\s*")
_Q = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")
_MAX_HEADER = 4096
_TELLING = frozenset({"version", "proto", "encoding"})
"""Parameters that tell formats of one media type apart."""


@dataclass(frozen=True, slots=True)
class Format:
    """One format that can be answered."""

    name: Literal["text", "openmetrics", "protobuf"]
    """As `SeriesStore.render` takes it."""
    media_type: str
    parameters: Mapping[str, str]
    """By which a range may ask for it more closely: all that it names must be as here."""
    escaping: bool
    """Whether the content type names the escaping scheme."""
    utf8: bool = False
    """Names need no escaping."""

    @property
    def content_type(self) -> str:
        """The Content-Type of the answer."""
        parts = [self.media_type, *(f"{name}={value}" for name, value in self.parameters.items())]
        if self.name != "protobuf":
            parts.append("charset=utf-8")
        if self.escaping:
            parts.append(f"escaping={'allow-utf-8' if self.utf8 else 'underscores'}")
        return "; ".join(parts)


TEXT = Format("text", "text/plain", {"version": "0.0.4"}, escaping=False)
"""What a client gets that asks for nothing, or for nothing that can be understood."""

_TEXT_1 = Format("text", "text/plain", {"version": "1.0.0"}, escaping=True)
_OPENMETRICS = Format("openmetrics", "application/openmetrics-text", {"version": "1.0.0"}, escaping=True)
_OPENMETRICS_0 = Format("openmetrics", "application/openmetrics-text", {"version": "0.0.1"}, escaping=False)
_PROTOBUF = Format(
    "protobuf",
    "application/vnd.google.protobuf",
    {"proto": "io.prometheus.client.MetricFamily", "encoding": "delimited"},
    escaping=True,
)
_FORMATS = (TEXT, _TEXT_1, _OPENMETRICS, _OPENMETRICS_0, _PROTOBUF)
"""In the order in which a range that fits several of them means them."""


@dataclass(frozen=True, slots=True)
class _Range:
    """One element of an Accept header."""

    value: str
    q: float
    parameters: Mapping[str, str]

    def specificity(self, offered: Format) -> int:
        """0 where the range does not fit, else more for the closer fit. Who does not name protobuf may be a person."""
        binary = offered is _PROTOBUF
        if self.value == "*/*":
            return 0 if binary else 1
        if self.value == offered.media_type.partition("/")[0] + "/*":
            return 0 if binary else 2
        named = self.parameters.keys() & _TELLING
        if self.value != offered.media_type or any(
            self.parameters[name] != offered.parameters.get(name) for name in named
        ):
            return 0
        return 4 if named else 3


def choose_format(accept: str, *, openmetrics: bool = True, utf8: bool = False) -> Format:
    """The format with the highest q-value, among equals the one that is named first; 0.0.4 where none is acceptable.

    `utf8`: there are names that need escaping, unless the scraper reads UTF-8.
    """
    ranges = _parse(accept)
    best: tuple[float, int] = (0.0, 0)
    chosen = TEXT
    for offered in _FORMATS:
        if offered.name == "openmetrics" and not openmetrics:
            continue
        fits = [(accepted.specificity(offered), -place) for place, accepted in enumerate(ranges)]
        closest, place = max(fits, default=(0, 0))
        if closest and ranges[-place].q > 0 and (ranges[-place].q, place) > best:
            best = (ranges[-place].q, place)
            allowed = utf8 and offered.escaping and ranges[-place].parameters.get("escaping") == "allow-utf-8"
            chosen = replace(offered, utf8=True) if allowed else offered
    return chosen


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the answer may be compressed with gzip."""
    values = {accepted.value: accepted.q for accepted in _parse(accept_encoding)}
    return next((values[name] for name in ("gzip", "x-gzip", "*") if name in values), 0.0) > 0


def _parse(header: str) -> list[_Range]:
    """The elements of the header; none where it is not valid as a whole."""
    if len(header) > _MAX_HEADER:
        return []
    ranges: list[_Range] = []
    for element in header.split(","):
        if not element.strip():
            continue
        parsed = _parse_element(element)
        if parsed is None:
            return []
        ranges.append(parsed)
    return ranges


def _parse_element(element: str) -> _Range | None:
    value = _RANGE.match(element)
    if value is None:
        return None
    at, parameters = value.end(), dict[str, str]()
    while at < len(element):
        parameter = _PARAMETER.match(element, at)
        if parameter is None:
            return None
        at = parameter.end()
        parameters[parameter[1].lower()] = parameter[2].strip('"')
    q = parameters.get("q", "1")
    return _Range(value[1].lower(), float(q), parameters) if _Q.fullmatch(q) else None
