"""Text from elsewhere made fit for a log line: secrets out, control characters escaped, length cut."""

import re
from collections.abc import Iterable

__all__ = ["Scrubber", "printable", "quoted"]

_MIN_SECRET_CHARS = 4
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL, C1: terminal escapes and line breaks
    "\u2028\u2029"  # line and paragraph separator
    "\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff"  # invisible, or turns the reading direction
    "\ud800-\udfff]"  # lone surrogates cannot be encoded
)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def printable(text: str, max_chars: int = 256) -> str:
    """`text` on one line: at most `max_chars` of its characters, those that could forge or hide output as `\\x1b`."""
    cut = text if len(text) <= max_chars else text[:max_chars] + "…"
    return _UNPRINTABLE.sub(_escape, cut)


def quoted(text: str) -> str:
    """`printable`, in quotes."""
    return f"'{printable(text)}'"


class Scrubber:
    """Makes text of a peer printable, with every secret that we sent to it (and it may echo) replaced."""

    def __init__(self, secrets: Iterable[str]) -> None:
        words = {word for secret in secrets for word in (secret, *secret.split())}
        longest_first = sorted((word for word in words if len(word) >= _MIN_SECRET_CHARS), key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, text: str, max_chars: int = 256) -> str:
        """The first `max_chars` characters of `text`, printable and without secrets."""
        scrubbed = self._secrets.sub("***", text) if self._secrets else text
        return printable(scrubbed, max_chars)
