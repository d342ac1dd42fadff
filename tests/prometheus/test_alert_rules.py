"""The alert rules that come with the gateway."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.end_to_end.harness import program

ROOT = Path(__file__).parents[2]
RULES = sorted((ROOT / "collector-config" / "prometheus" / "rules").glob("*.yaml"))
TESTS = ROOT / "tests" / "golden" / "rules"

each_file = pytest.mark.parametrize("file", RULES, ids=lambda file: file.stem)


def test_there_are_rules() -> None:
    """The checks below have something to check."""
    assert RULES


@each_file
def test_every_alert_fires_when_it_shall_and_only_then(file: Path) -> None:
    """Each file has a promtool test of the same name, and passes it."""
    test = TESTS / file.name
    ran = subprocess.run([program("promtool"), "test", "rules", test], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@each_file
def test_every_alert_says_what_to_do_in_two_languages(file: Path) -> None:
    """Summary and description, in English and in Chinese."""
    groups = yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
    for rule in (rule for group in groups for rule in group["rules"] if "alert" in rule):
        assert {"summary", "description", "summary_zh", "description_zh"} <= rule["annotations"].keys(), rule["alert"]
