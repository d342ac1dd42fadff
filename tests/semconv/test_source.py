"""Reading YAML with the line of everything."""

from pathlib import Path

import pytest
import yaml

from otel_pipeline.semconv import shipped_directory
from otel_pipeline.semconv.source import read

FIXTURES = Path(__file__).parents[1]
FILES = sorted([*shipped_directory().rglob("*.yaml"), *FIXTURES.rglob("semconv*/**/*.yaml")])

ODD = """
plain: text
quoted: "1"
single: '2'
number: 1
octal: 0o7
real: 1.5
infinite: .inf
nothing: ~
empty:
flag: yes
day: 2025-09-29
tagged: !!str 3
folded: >
  a
  b
literal: |
  c
list: [a, [b], {c: d}]
? long
: value
2: a number
true: a flag
anchor: &text hello
again: *text
"""


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_files_are_read_as_yaml_says(path: Path) -> None:
    """Values are those that PyYAML gives."""
    source = read(path)
    assert source.problems == []
    assert source.value == yaml.safe_load(path.read_text())


def test_odd_values(tmp_path: Path) -> None:
    """So are those of every kind of scalar and key, and each has its line."""
    path = tmp_path / "odd.yaml"
    path.write_text(ODD)
    source = read(path)
    assert source.problems == []
    assert source.value == yaml.safe_load(ODD.replace("0o7", "'0o7'"))
    assert (source.line(("plain",)), source.line(("list", 2, "c")), source.line(("again",))) == (2, 19, 25)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x {b: 1}\nc: *x\n", "odd.yaml:2: the alias *x is not allowed here (write the values out)"),
        ("a: 1\n---\nb: 2\n", "odd.yaml:2: more than one document (split the file at the line ---)"),
        ("? [a]\n: b\n", "odd.yaml:1: a mapping or list cannot be a key"),
        ("a: 1\na: {b: 2}\n", "odd.yaml:2: a: the key 'a' stands twice (first in line 1)"),
        ("[" * 60 + "]" * 60, "odd.yaml:1: nested deeper than 50 levels"),
        ("[" * 100_000, "odd.yaml:1: nested deeper than 50 levels"),
        ("a: 2025-99-99\n", "odd.yaml:1: a: not a value: month must be in 1..12"),
        ("a: !!python/object:os.system x\n", "odd.yaml:1: a: not a value: "),
        ("a: [\n", "odd.yaml:2: not YAML: "),
        ("a: *b\n", "odd.yaml:1: the alias *b is not allowed here"),
    ],
)
def test_what_is_not_read(tmp_path: Path, text: str, expected: str) -> None:
    """Hostile and mistaken YAML is told with its line; it costs no more than reading it once."""
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    problems = [str(problem).removeprefix(f"{tmp_path}/") for problem in read(path).problems]
    assert len(problems) == 1
    assert problems[0].startswith(expected)
