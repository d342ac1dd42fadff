"""Files, `--set` and variables to one tree; what cannot be read is refused with its place and nothing else happens."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from otel_pipeline.component import Kind
from otel_pipeline.config import read
from otel_pipeline.config.check import Checked, Classes
from otel_pipeline.config.load import MAX_FILE_BYTES, load_tree
from otel_pipeline.config.tree import UNKNOWN, plain
from otel_pipeline.config.yaml_file import MAX_NESTING, parse, read_scalar
from otel_pipeline.errors import ConfigError, Problem
from otel_pipeline.pdata import Signal

ReadText = Callable[..., Checked]


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Any]:
    """The plain tree of texts, in order."""

    def call(*texts: str, sets: tuple[str, ...] = (), **environment: str) -> Any:
        files = [tmp_path / f"{number}.yaml" for number, _ in enumerate(texts, 1)]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text, encoding="utf-8")
        loaded, problems = load_tree(files, sets, environment)
        return [str(problem) for problem in problems] or plain(loaded)

    return call


def refused(data: bytes, tmp_path: Path) -> str:
    """What is said of a file with these bytes."""
    file = tmp_path / "config.yaml"
    file.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load_tree([file])
    return str(caught.value).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a: " + b"x" * MAX_FILE_BYTES, "config.yaml: is larger than 1 MiB"),
        (b"a: b\nc: \xff\n", "config.yaml:2: not UTF-8 text"),
        (b"a:\n  b: \x01\n", "config.yaml:2: not valid YAML: a control character that YAML does not allow"),
        (b"[" * 5000, "nested more than 50 levels deep"),
        (b"{a: " * 5000, "nested more than 50 levels deep"),
        (b"a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]", "config.yaml:1: a: anchors and aliases"),
        (b"a: *a", "config.yaml:1: a: anchors and aliases"),
        (b"a: !!binary aGk=", "config.yaml:1: a: tags"),
        (b"a:\n  ? [b]\n  : c", "config.yaml:2: a: a mapping or list cannot be a key"),
        (b"a: 1\n---\nb: 2", "config.yaml:2: a second document begins here"),
        (b"%YAML 9.9\n---\na", "config.yaml:1: not valid YAML"),
        (b"a: 'x\nb: 1\n", "config.yaml:1: not valid YAML: while scanning a quoted scalar"),
        (b"just text", "config.yaml:1: the file must hold a mapping"),
    ],
    ids=range(13),
)
def test_hostile_files_are_refused(data: bytes, said: str, tmp_path: Path) -> None:
    """Every kind of file that is no configuration is refused with one line that says where and why."""
    answer = refused(data, tmp_path)
    assert said in answer
    assert "\n" not in answer


def test_the_nesting_limit_is_exact() -> None:
    """As many levels as allowed are read, one more is refused."""
    parse("[" * MAX_NESTING + "]" * MAX_NESTING, "a", [])
    with pytest.raises(ConfigError):
        parse("[" * (MAX_NESTING + 1) + "]" * (MAX_NESTING + 1), "a", [])


def test_files_that_cannot_be_read_are_all_told(tmp_path: Path) -> None:
    """A missing file, a folder and a wrong `--set` are told together."""
    with pytest.raises(ConfigError) as caught:
        load_tree(
            [tmp_path / "missing.yaml", tmp_path, Path("nul\0")], ["a", "=1", "a..b=1", ".".join("a" * 5000) + "=1"]
        )
    lines = [line.replace(str(tmp_path), "TMP") for line in str(caught.value).splitlines()]
    wrong_set = "--set: not of the form path=value (write it like --set processors.batch.timeout=5s)"
    assert lines == [
        "TMP/missing.yaml: cannot be read: No such file or directory",
        "TMP: cannot be read: Is a directory",
        "nul\\x00: is not a file name",
        *[wrong_set] * 4,
    ]


def test_empty_files_are_empty_mappings(tree: Callable[..., Any]) -> None:
    """A file of comments changes nothing."""
    assert tree("a: 1", "", "# nothing\n", "\ufeffb: 2") == {"a": 1, "b": 2}


def test_merging(tree: Callable[..., Any]) -> None:
    """Mappings merge key by key at every depth, lists and scalars are replaced whole, `--set` comes last."""
    merged = tree(
        "a: {b: {c: 1, d: [1, 2]}, e: 1}\nf: [1, 2]\ng: {h: 1}",
        "a: {b: {d: [3]}, e: {x: 1}}\nf: \ng: text",
        sets=("a.b.c=2", "i::j.k=[1, {l: m}]", "a.e.y=", "n=5s"),
    )
    assert merged == {
        "a": {"b": {"c": 2, "d": [3]}, "e": {"x": 1, "y": None}},
        "f": None,
        "g": "text",
        "i": {"j.k": [1, {"l": "m"}]},
        "n": "5s",
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("[::1]:4317", "[::1]:4317"),
        ("'05'", "05"),
        ("[a, 'b']", ["a", "b"]),
        ("{a: {b: 1}}", {"a": {"b": 1}}),
        ("a=b", "a=b"),
        ("@x", "@x"),
        ("", None),
    ],
)
def test_set_values(tree: Callable[..., Any], text: str, value: object) -> None:
    """A `--set` value is a YAML scalar, list or mapping; what is none of these is text."""
    assert tree(sets=(f"x.y={text}",)) == {"x": {"y": value}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("on", "on"), ("12:30", "12:30"), ("0750", "0750"), ("-007", "-007"), ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"), ("v1", "v1"),
        ("5s", "5s"), ("=", "="), ("<<", "<<"), (".", "."), ("-", "-"), ("1.2.3", "1.2.3"),
        ("~", None), ("null", None), ("", None), ("True", True), ("false", False),
        ("0", 0), ("-12", -12), ("0x1F", 31), ("0o17", 15), ("1.5", 1.5), ("-.5e3", -500.0), ("1e3", 1000.0),
        ("9" * 5000, "9" * 5000),
    ],
)  # fmt: skip
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    """Only what YAML 1.2 calls a number, a boolean or null is one; a word or a time stays text."""
    read_back = read_scalar(text)
    assert (read_back, type(read_back)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${env:PORT}", 4317), ("'${env:PORT}'", 4317), ("${PORT}", 4317), ("a${env:PORT}", "a4317"),
        ("${env:UNSET:-5}", 5), ("${env:UNSET:-}", ""), ("${env:EMPTY:-x}", ""), ("${env:EMPTY}", ""),
        ("${env:UNSET:-a:-b}", "a:-b"), ("${env:LIST}", ["a", 1]), ("x ${env:LIST}", "x [a, 1]"),
        ("$${env:PORT}", "${env:PORT}"), ("$$$${PORT}", "$${PORT}"), ("$$${PORT}", "$4317"), ("^a$", "^a$"),
        ("$PORT", "$PORT"), ("a$$b", "a$b"), ("${env:LOOP}", "${env:PORT}"), ("${env:BROKEN}", "[a"),
        ("${env:TRUE}", True),
    ],
)  # fmt: skip
def test_variables(tree: Callable[..., Any], text: str, value: object) -> None:
    """Expressions are replaced once; a value that is only one takes its YAML type; `$$` is a dollar sign."""
    environment = {"PORT": "4317", "EMPTY": "", "LIST": "[a, 1]", "LOOP": "${env:PORT}", "BROKEN": "[a", "TRUE": "true"}
    assert tree(f"x: [{text!r}]" if "'" not in text else f"x: [{text}]", **environment) == {"x": [value]}


def test_variables_that_are_overridden_need_no_value(tree: Callable[..., Any]) -> None:
    """Only what counts in the end has to resolve."""
    assert tree("a: ${env:UNSET}\nb: ${env:UNSET}", "a: 1", sets=("b=2",)) == {"a": 1, "b": 2}


@pytest.mark.parametrize("text", ["${env:", "${}", "${env:}", "${a b}", "${file:x}", "${env:A:-${env:B}}", "${env:1A}"])
def test_expressions_that_cannot_be_read_are_told(tree: Callable[..., Any], text: str) -> None:
    """What begins like an expression and is none is a problem, not a text that slips through."""
    (told,) = tree(f"x: '{text}'", A="a", B="b")
    assert "cannot read the expression" in told


def test_variables_that_are_not_text_are_told(tree: Callable[..., Any]) -> None:
    """Bytes that are not UTF-8 do not get into the configuration."""
    (told,) = tree("x: ${env:BYTES}", BYTES="a\udcff")
    assert told.endswith("1.yaml:1: x: is not UTF-8 text")


def test_every_value_knows_its_line(tmp_path: Path) -> None:
    """The line of a value is that of its key, or its own in a list; `--set` names itself."""
    first, second = tmp_path / "1.yaml", tmp_path / "2.yaml"
    first.write_text("a:\n  b:\n    c\n  d:\n  - e\n  -\n    f: 1\n")
    second.write_text("\n\na: {b: 1}\n")
    node, _ = load_tree([first, second], ["a.g=1"])
    below = node.children()["a"].children()
    places = [(entry.place.file, entry.place.line) for entry in (below["b"], below["d"], below["g"])]
    assert places == [(str(second), 3), (str(first), 4), ("--set", 0)]
    items = below["d"].value
    assert isinstance(items, list)
    assert [item.place.line for item in items] == [5, 7]


def test_unset_variables_hide_nothing_else(read_text: ReadText) -> None:
    """A variable that is missing is told once, together with everything else that is wrong."""
    with pytest.raises(ConfigError) as caught:
        read_text(
            "receivers: {otlp: {protocols: '${env:X}'}, spans_only: '${env:Y}'}\nservice: {pipelines: '${env:Z}'}"
        )
    told = [(problem.path, problem.message) for problem in caught.value.problems]
    assert told == [
        ("receivers::otlp::protocols", "the environment variable X is not set"),
        ("receivers::spans_only", "the environment variable Y is not set"),
        ("service::pipelines", "the environment variable Z is not set"),
    ]


SHIPPED = (Path(__file__).parents[2] / "collector-config" / "gateway.yaml").read_text(encoding="utf-8")
PIECES = [
    *"{}[]&*!|>'\"%@`:-?,#\t\n ",
    "${env:",
    "${env:A:-",
    "}",
    "$$",
    ": ",
    "- ",
    "---\n",
    "null",
    "<<: ",
    "\udcff",
    "\x85",
]
mutations = st.lists(st.tuples(st.integers(0, len(SHIPPED)), st.integers(0, 40), st.sampled_from(PIECES)), max_size=6)


def never_raises_anything_else(data: bytes, file: Path, components: Classes) -> None:
    file.write_bytes(data)
    problems: tuple[Problem, ...] = ()
    try:
        read([file], environment={}, components=components)
    except ConfigError as error:
        problems = error.problems
    assert all(str(problem).isprintable() for problem in problems)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(text=st.text(max_size=200) | st.text("{}[]:-,&*!'\"$ \nabc0", max_size=200) | st.binary(max_size=100))
@example(text="receivers: {otlp: {protocols: {grpc: {tls: {cert_file: {}}}}}}")
def test_any_text_is_read_or_refused(text: str | bytes, tmp_path: Path, components: Classes) -> None:
    """Whatever a file holds, the only error is ConfigError."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    never_raises_anything_else(data, tmp_path / "a.yaml", components)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(changes=mutations)
def test_any_damage_is_read_or_refused(
    changes: list[tuple[int, int, str]], tmp_path: Path, components: Classes
) -> None:
    """A good file with pieces cut out and put in gives a configuration or a ConfigError."""
    text = SHIPPED
    for at, length, piece in changes:
        text = text[:at] + piece + text[at + length :]
    never_raises_anything_else(text.encode("utf-8", "surrogatepass"), tmp_path / "a.yaml", components)


NAMES = st.sampled_from([*Kind, *Signal, "service", "pipelines", "telemetry", "otlp", "batch", "backend", "python"]) | (
    st.sampled_from(["endpoint", "api_key", "headers", "labels", "actions", "path", "protocols", "grpc", "tls"])
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["5s", "${env:A}"]),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(NAMES, below, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(wanted=st.dictionaries(NAMES, st.dictionaries(NAMES, VALUES, max_size=4), max_size=6))
def test_any_tree_is_checked_or_refused(wanted: dict[str, Any], tmp_path: Path, components: Classes) -> None:
    """Known names with values of the wrong shape give problems, never another error."""
    never_raises_anything_else(json.dumps(wanted).encode(), tmp_path / "a.yaml", components)


def test_an_unset_section_hides_nothing_else(read_text: ReadText) -> None:
    """The same for a whole section."""
    with pytest.raises(ConfigError) as caught:
        read_text("service: ${env:X}")
    assert [problem.message for problem in caught.value.problems] == ["the environment variable X is not set"]


def test_unknown_is_not_a_value() -> None:
    """The mark of an unresolved value is no text that a file could hold."""
    assert not isinstance(UNKNOWN, str)
