"""Numbers, times and texts as people read them, in English and Chinese."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from operator import itemgetter
from pathlib import Path

import yaml

__all__ = ["LANGUAGES", "Words", "choose_language"]

LANGUAGES: Mapping[str, str] = {"en": "English", "zh": "简体中文"}
"""Offered, by the code in the address."""
_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


class Words:
    """Texts of one language. An English text is its own name; one without a translation stays English."""

    def __init__(self, language: str) -> None:
        self.language = language if language in LANGUAGES else "en"
        self._texts = _texts(self.language)

    def text(self, english: str, /, **values: object) -> str:
        """A text of the pages, with values at its `{names}`."""
        return self._texts.get(english, english).format(**values)

    def word(self, name: str) -> str:
        """A name of the semantic conventions, such as a stage or an outcome, as a word; `prd_design` is
        `prd design`."""
        return self._texts.get(name, name.replace("_", " ")) if name else self.text("unknown")

    def duration(self, seconds: float) -> str:
        """Two units at most: `2 d 4 h`, `41 min`, `3.2 s`, `12 ms`."""
        if seconds < 0.0005:
            return "0 s"
        if seconds < 0.9995:
            return f"{seconds * 1000:.3g} ms"
        if seconds < 10:
            return f"{seconds:.3g} s"
        at = next(at for at, (size, _) in enumerate(_UNITS) if seconds >= size)
        size, unit = _UNITS[at]
        if at + 1 == len(_UNITS):
            return f"{seconds:.0f} {unit}"
        smaller, name = _UNITS[at + 1]
        whole, rest = divmod(round(seconds / smaller), round(size / smaller))
        return f"{whole} {unit} {rest} {name}" if rest else f"{whole} {unit}"

    def money(self, usd: float | None) -> str:
        """Two decimals; four where it is less than a dime."""
        if usd is None:
            return self.text("no price")
        return f"${usd:,.4f}" if 0 < usd < 0.1 else f"${usd:,.2f}"

    def count(self, number: float) -> str:
        """Whole up to 9,999, then `12.3 k`, `4.5 M`."""
        for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
            if abs(number) >= size:
                return f"{number / (1e3 if unit == 'k' else size):.3g} {unit}"
        return f"{number:,.0f}"

    def percent(self, share: float) -> str:
        """A share of 1; below a percent with a decimal, so that little work is not none."""
        return f"{share:.1%}" if 0 < share < 0.01 else f"{share:.0%}"

    def time(self, unix_ms: float) -> str:
        """Day and minute, in UTC."""
        return _utc(unix_ms).strftime("%Y-%m-%d %H:%M")

    def exact_time(self, unix_ms: float) -> str:
        """To the millisecond, in UTC."""
        return _utc(unix_ms).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"


def choose_language(asked: str, accept_language: str) -> str:
    """The language of the address, else the first of the browser's that is offered, else English (RFC 9110, 12.5.4)."""
    if asked in LANGUAGES:
        return asked
    ranked: list[tuple[float, str]] = []
    for part in accept_language.split(","):
        name, _, quality = part.strip().partition(";q=")
        try:
            ranked.append((-float(quality or 1), name.split("-")[0].lower()))
        except ValueError:
            continue
    return next((name for rank, name in sorted(ranked, key=itemgetter(0)) if rank and name in LANGUAGES), "en")


@cache
def _texts(language: str) -> Mapping[str, str]:
    path = Path(__file__).with_name("texts") / f"{language}.yaml"
    texts: dict[str, str] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return texts


def _utc(unix_ms: float) -> datetime:
    try:
        return datetime.fromtimestamp(unix_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC)
