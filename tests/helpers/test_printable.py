"""Text of peers and of telemetry cannot forge log lines, reach the terminal, or bring our secrets back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_pipeline.helpers.printable import Scrubber, printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain – ü 漢", "plain – ü 漢"),
        ("a\nb\r\x1b[31m\x00", "a\\x0ab\\x0d\\x1b[31m\\x00"),
        ("\x9b31m\x85", "\\x9b31m\\x85"),
        ("a\u2028b\u2029c\u202ed\ufeff\ud800", "a\\u2028b\\u2029c\\u202ed\\ufeff\\ud800"),
        ("x" * 300, "x" * 256 + "…"),
    ],
)
def test_control_characters_are_escaped_and_length_is_cut(text: str, expected: str) -> None:
    """C0, C1, line separators, direction marks and lone surrogates become visible escapes."""
    assert printable(text) == expected


@given(st.text(st.characters()))
def test_any_text_is_one_encodable_line(text: str) -> None:
    """Whatever comes, the result is one line that every output can encode."""
    made = printable(text)
    assert len(made.splitlines()) <= 1
    made.encode()


def test_secrets_are_replaced_whole_and_in_words() -> None:
    """A secret that a peer echoes is not logged, neither with its scheme nor without."""
    scrub = Scrubber(["Bearer canary-4711", "canary-4711-longer", "ab"])
    assert scrub("got Bearer canary-4711, canary-4711 and canary-4711-longer; ab") == "got ***, *** and ***; ab"
    assert Scrubber([])("nothing\n") == "nothing\\x0a"
