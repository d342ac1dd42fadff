"""`otel-pipeline semconv check`: what can be loaded but leads to nothing, and everything else at once."""

import json
from pathlib import Path

import pytest

from otel_pipeline.cli import main
from otel_pipeline.semconv.check import check

HEAD = "file_format: definition/2\n"
METRIC = """metrics:
  - name: own.things
    instrument: {instrument}
    unit: "{{thing}}"
    brief: Things.
    stability: development
    attributes: [{{ref: sdlc.project.id}}]
    annotations: {{otel_pipeline: {{derive: [{derive}]}}}}
"""


def problems(folder: Path, text: str) -> list[str]:
    """What is told of a user's file, without its folder."""
    (folder / "own.yaml").write_text(HEAD + text)
    return [str(problem).removeprefix(f"{folder}/") for problem in check([folder])[1]]


def test_shipped_files_are_clean(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is wrong with what comes with the gateway."""
    assert main(["semconv", "check"]) == 0
    assert capsys.readouterr().out.startswith("no problem in ")


@pytest.mark.parametrize(
    ("derive", "expected"),
    [
        ("{source: events, match: {name: nobody.sends}}", "no event is named nobody.sends"),
        ("{source: points, match: {name: nobody.sends}}", "no point is named nobody.sends"),
        (
            "{source: all_spans, match: {attributes: {no.such.key: {present: true}}}}",
            "no attribute is named no.such.key",
        ),
        ("{source: all_spans, value: {attribute: [no.such.key]}}", "no attribute is named no.such.key"),
        ("{source: spans, match: {attributes: {sdlc.outcome: won}}}", "sdlc.outcome is never won"),
    ],
)
def test_a_metric_that_nothing_feeds(tmp_path: Path, derive: str, expected: str) -> None:
    """It is told with its line and what is missing; one way that can work is enough."""
    (problem,) = problems(tmp_path, METRIC.format(instrument="counter", derive=derive))
    assert problem.startswith("own.yaml:9: metrics::0::annotations::otel_pipeline::derive: nothing feeds 'own.things'")
    assert expected in problem
    assert problems(tmp_path, METRIC.format(instrument="counter", derive=f"{derive}, {{source: spans}}")) == []


@pytest.mark.parametrize(
    ("instrument", "derive", "expected"),
    [
        ("counter", "{source: spans, value: duration}", "a duration is in ns, us, ms, s, min, h, not '{thing}'"),
        ("histogram", "{source: spans}", "every derived histogram needs them"),
        ("counter", "{source: events, value: duration}", "events have no duration: one"),
        ("counter", "{source: usage}", "usage have no one: cost, tokens"),
        ("counter", "{source: sometimes}", "Input should be 'stage_runs'"),
        ("counter", "{source: events, match: {kind: client}}", "only spans have a kind"),
        (
            "counter",
            "{source: spans, match: {attributes: {sdlc.outcome: {not: failure}}}}",
            "decided after inheritance",
        ),
        ("counter", "{source: spans, labels: {sdlc.outcome: x}}", "'sdlc.outcome' is no label of this metric"),
        ("counter", "{source: members}", "members need a label whose attribute is an enum"),
        (
            "counter",
            "{source: points, states: {attribute: sdlc.project.id, values: {1: a}}}",
            "states are for gauges from points",
        ),
    ],
)
def test_a_derivation_that_does_not_fit(tmp_path: Path, instrument: str, derive: str, expected: str) -> None:
    """What cannot be derived so is told."""
    assert any(
        expected in problem for problem in problems(tmp_path, METRIC.format(instrument=instrument, derive=derive))
    )


ATTRIBUTE = """  - key: {key}
    type: {type}
    brief: x
    stability: development
    annotations: {{otel_pipeline: {notes}}}
"""


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ([("a", "string", "{label: stage}")], "the label 'stage' is already that of 'sdlc.stage.name'"),
        ([("a", "int", "{label: a}")], "a number would make a series of every value (add buckets)"),
        ([("a", "string", '{label: a, buckets: {"1": 1}}')], "buckets are of numbers"),
        ([("a", "int", '{label: a, buckets: {"2": 2, "1": 1}}')], "the bounds of buckets must ascend"),
        ([("a", "string", "{canonical: true, aliases: [stage]}")], "the alias 'stage' is already read for"),
        ([("a", "string", "{inherit: true}")], "add canonical: true"),
        ([("a", "int", "{canonical: true}")], "a canonical attribute cannot be int"),
        ([("a", "string", "{identifies: {kind: person}}")], "no member of sdlc.entity.kind is named 'person'"),
        ([("a", "string", "{extend: true}")], "extends 'a', which is not defined"),
        (
            [("a", "{members: [{id: x}, {id: y, annotations: {otel_pipeline: {aliases: [X]}}}]}", "{label: a}")],
            "'x' stands for both 'x' and 'y'",
        ),
        (
            [
                (
                    "sdlc.stage.name",
                    "{members: [{id: x, annotations: {otel_pipeline: {after: codng}}}]}",
                    "{extend: true}",
                )
            ],
            "no member is named 'codng' (did you mean 'coding'?)",
        ),
        (
            [
                (
                    "a",
                    "{members: [{id: x, annotations: {otel_pipeline: {model: {prices: [{from: 2025, input: 1}]}}}}]}",
                    "{}",
                )
            ],
            "from",
        ),
    ],
)
def test_an_attribute_that_does_not_fit(tmp_path: Path, attributes: list[tuple[str, str, str]], expected: str) -> None:
    """Clashes of labels and aliases, and notes that do not go together, are told with file and line."""
    parts = [ATTRIBUTE.format(key=key, type=type, notes=notes) for key, type, notes in attributes]
    found = problems(tmp_path, "attributes:\n" + "".join(parts))
    assert any(expected in problem and problem.startswith("own.yaml:") for problem in found), found


RULE = """{section}:
  - {head}
    brief: x
    stability: development
    annotations: {{otel_pipeline: {notes}}}
"""


@pytest.mark.parametrize(
    ("section", "notes", "expected"),
    [
        ("events", "{usage: {tokens: {inptu: x}}}", "Input should be 'input'"),
        ("events", "{usage: {request: id}}", "usage needs tokens, cost_usd or value"),
        ("events", "{usage: {tokens: {input: a}, value: tokens, kind: input}}", "value and kind are of data points"),
        ("events", "{usage: {tokens: {input: a}, inside: {input: input}}}", "cannot be inside itself"),
        ("events", "{match: {status: error}, set: {sdlc.outcome: failure}}", "only spans have a status"),
        ("metrics", "{usage: {tokens: {input: a}}}", "needs value: tokens or cost"),
        ("metrics", "{usage: {value: tokens}}", "value: tokens needs kind"),
        ("metrics", "{buckets: [1]}", "buckets and exemplars belong to derived metrics"),
        ("metrics", "{derive: [{source: points}], set: {sdlc.outcome: failure}}", "match stands inside derive"),
        ("metrics", "{set: {sdlc.outcom: failure}}", "did you mean 'sdlc.outcome'?"),
        ("metrics", "{match: {name: {regex: '('}}}", "not a regular expression"),
    ],
)
def test_a_sender_rule_that_does_not_fit(tmp_path: Path, section: str, notes: str, expected: str) -> None:
    """Rules for log records and data points are checked like those for spans."""
    head = "name: own.item" if section == "events" else "name: own.item\n    instrument: counter\n    unit: '1'"
    found = problems(tmp_path, RULE.format(section=section, head=head, notes=notes))
    assert any(expected in problem and problem.startswith("own.yaml:") for problem in found), found


def test_problems_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For tools: file, line, path, message and hint of each, and exit status 1."""
    (tmp_path / "own.yaml").write_text(HEAD + "atributes: []\n")
    assert main(["semconv", "check", "--json", "--directory", str(tmp_path)]) == 1
    (problem,) = json.loads(capsys.readouterr().out)
    assert problem == {
        "path": "atributes",
        "message": "unknown key 'atributes'",
        "hint": "did you mean 'attributes'?",
        "file": str(tmp_path / "own.yaml"),
        "line": 2,
    }
