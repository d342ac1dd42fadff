"""Numbers and texts as people read them."""

import re
from pathlib import Path

import pytest
import yaml

from otel_pipeline import semconv, ui
from otel_pipeline.ui.journey_view import _NOTES as NOTES
from otel_pipeline.ui.words import Words, choose_language

HERE = Path(ui.__file__).parent
CHINESE = yaml.safe_load((HERE / "texts" / "zh.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.012, "12 ms"), (0.9999, "1 s"), (3.24, "3.24 s"), (41, "41 s"), (61, "1 min 1 s"), (600, "10 min"),
        (3599.9, "60 min"), (5400, "1 h 30 min"), (86400, "1 d"), (187200, "2 d 4 h"), (40 * 86400 + 1, "40 d"),
    ],
)  # fmt: skip
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    """The larger ones; what is left is rounded."""
    assert Words("en").duration(seconds) == text


def test_money_counts_and_shares() -> None:
    """Cents where there are cents, thousands where there are thousands, and little is not nothing."""
    words = Words("en")
    assert [words.money(one) for one in (None, 0.0, 0.0123, 12.3, 1234.5)] == [
        "no price",
        "$0.00",
        "$0.0123",
        "$12.30",
        "$1,234.50",
    ]
    assert [words.count(one) for one in (0, 9999, 12345, 4_560_000)] == ["0", "9,999", "12.3 k", "4.56 M"]
    assert [words.percent(one) for one in (0.0, 0.004, 0.126, 1.0)] == ["0%", "0.4%", "13%", "100%"]


@pytest.mark.parametrize(
    ("asked", "header", "expected"),
    [
        ("zh", "en", "zh"), ("", "zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("", "en;q=0.5, zh;q=0.9", "zh"), ("", "fr, en;q=0.1", "en"),
        ("", "", "en"), ("xx", "zh;q=0", "en"), ("", "zh;q=x", "en"), ("", ";q=;;,,zh", "zh"),
    ],
)  # fmt: skip
def test_the_address_goes_before_the_browser(asked: str, header: str, expected: str) -> None:
    """What is not offered or not understood is passed over."""
    assert choose_language(asked, header) == expected


def used_texts() -> set[str]:
    """Every text that a page takes by `_(…)` or `words.text(…)`."""
    found: set[str] = set()
    for path in (*HERE.glob("*.py"), *HERE.glob("templates/*.html")):
        text = path.read_text(encoding="utf-8")
        for first, second in re.findall(r"""(?:\b_|words\.text|self\.text)\(\s*(?:"([^"]+)"|'([^']+)')""", text):
            found.add(first or second)
    return found | set(NOTES.values())


def test_every_text_of_the_pages_is_there_in_chinese() -> None:
    """And none is translated that is not used; values keep their names."""
    used = used_texts()
    assert len(used) > 80
    assert used - CHINESE.keys() == set()
    for english in used:
        assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", CHINESE[english])), english


def test_names_of_the_conventions_have_a_word_in_chinese() -> None:
    """All stages, states, outcomes, kinds of things and reasons to wait."""
    registry = semconv.load(())
    keys = ("sdlc.stage.name", "sdlc.outcome", "sdlc.entity.kind", "sdlc.wait.reason")
    names = {member.value for key in keys for member in registry.members(key)}
    assert names - CHINESE.keys() == set()
