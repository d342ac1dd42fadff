"""What a tree means: the full text of every sort of problem, defaults, references, and what is left out."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otel_pipeline.component import Kind
from otel_pipeline.config import read
from otel_pipeline.config.check import Checked, Classes, data_dir
from otel_pipeline.errors import ConfigError
from otel_pipeline.pdata import Signal

CASES = sorted((Path(__file__).parents[1] / "golden" / "config").iterdir())
ENVIRONMENT = {"TOKEN": "canary-from-environment", "SHORT": "cnry", "EMPTY": ""}
VALID = """
receivers: {otlp: }
exporters: {debug: }
service: {pipelines: {traces: {receivers: [otlp], exporters: [debug]}}}
"""

ReadText = Callable[..., Checked]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_problems_read_as_expected(case: Path, components: Classes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad file gives exactly these lines, all in one run, in the order of the file."""
    monkeypatch.chdir(case)
    with pytest.raises(ConfigError) as caught:
        read([Path("config.yaml")], environment=ENVIRONMENT, components=components)
    assert str(caught.value) + "\n" == Path("expected.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_problems_never_show_secrets(case: Path, components: Classes, monkeypatch: pytest.MonkeyPatch) -> None:
    """No value of a secret, of a secret-sounding name or of the environment is in any part of a problem."""
    monkeypatch.chdir(case)
    with pytest.raises(ConfigError) as caught:
        read([Path("config.yaml")], environment=ENVIRONMENT, components=components)
    for shown in (str(caught.value), repr(caught.value), repr(caught.value.problems)):
        assert "canary" not in shown
        assert "cnry" not in shown


def test_the_secrets_case_has_teeth() -> None:
    """The case that the test above relies on does hold secrets."""
    text = (Path(__file__).parents[1] / "golden" / "config" / "secrets" / "config.yaml").read_text(encoding="utf-8")
    assert text.count("canary") > 8


def test_nothing_below_a_type_means_its_defaults(read_text: ReadText) -> None:
    """`otlp:` is the receiver with the defaults of its Config class."""
    component = read_text(VALID).components[Kind.RECEIVER]["otlp"]
    assert component.options == component.component.Config()


def test_null_is_the_default_of_an_option(read_text: ReadText) -> None:
    """An option without a value is as if it were not written."""
    checked = read_text(VALID, "processors: {batch: {timeout: , send_batch_size: ~, metadata_keys: null}}")
    options = checked.components[Kind.PROCESSOR]["batch"].options
    assert options == checked.components[Kind.PROCESSOR]["batch"].component.Config()


def test_null_turns_on_a_group_that_is_off_by_default(read_text: ReadText) -> None:
    """`grpc:` alone serves gRPC with its defaults, as in the Collector; `http`, not written, stays off."""
    checked = read_text(VALID, "receivers: {otlp: {protocols: {grpc: }}}")
    protocols = vars(checked.components[Kind.RECEIVER]["otlp"].options)["protocols"]
    assert protocols.grpc.endpoint == "127.0.0.1:4317"
    assert protocols.http is None


def test_pipelines_keep_order(read_text: ReadText) -> None:
    """Processors run in the order in which the pipeline lists them."""
    checked = read_text(
        VALID, "processors: {batch: , batch/a: }", "service: {pipelines: {traces: {processors: [batch/a, batch]}}}"
    )
    pipeline = checked.pipelines["traces"]
    assert (pipeline.signal, pipeline.processors) == (Signal.TRACES, ("batch/a", "batch"))


def test_unused_components_are_left_out_with_a_warning(read_text: ReadText, caplog: pytest.LogCaptureFixture) -> None:
    """What no pipeline uses is checked, told of and not run; an exporter does not keep a receiver of its name."""
    checked = read_text(
        VALID, "exporters: {backend/x: {endpoint: a}}\nextensions: {health_check: }\nprocessors: {batch: }"
    )
    with caplog.at_level(logging.WARNING):
        config = checked.config()
    assert {kind: list(known) for kind, known in config.components.items() if known} == {
        Kind.RECEIVER: ["otlp"],
        Kind.EXPORTER: ["debug"],
    }
    told = {record.getMessage().partition(" ")[0] for record in caplog.records}
    assert told == {"exporters::backend/x", "extensions::health_check", "processors::batch"}


def test_older_type_names_are_read_with_a_warning(read_text: ReadText, caplog: pytest.LogCaptureFixture) -> None:
    """A renamed type still works under the id that the file gives it."""
    with caplog.at_level(logging.WARNING):
        checked = read_text(VALID, "exporters: {back_end/a: {endpoint: x}}")
    assert checked.components[Kind.EXPORTER]["back_end/a"].component.type == "backend"
    assert "type 'back_end' is now called 'backend'" in caplog.text


def test_connectors_join_pipelines(read_text: ReadText) -> None:
    """A connector stands among exporters of one signal and receivers of another."""
    checked = read_text(
        VALID,
        """
connectors: {stage_metrics: }
service:
  pipelines:
    traces: {exporters: [debug, stage_metrics]}
    metrics/stages: {receivers: [stage_metrics], exporters: [debug]}
""",
    )
    assert list(checked.config().components[Kind.CONNECTOR]) == ["stage_metrics"]


@pytest.mark.parametrize("text", ["0123", "1e400", "null", "true", "5", "[a, b]", "{a: 1}", "12:30"])
def test_text_options_take_variables_as_they_are(read_text: ReadText, text: str) -> None:
    """A key or password that looks like a number, a word or a list of YAML stays what it is."""
    checked = read_text(VALID, "exporters: {backend: {endpoint: '${env:X}', labels: {a: '${X}'}}}", X=text)
    options: Any = checked.components[Kind.EXPORTER]["backend"].options
    assert options.endpoint == text
    assert options.labels == {"a": text}


def test_an_empty_secret_is_refused(read_text: ReadText) -> None:
    """A variable that is set to nothing must not turn a check of credentials off."""
    with pytest.raises(ConfigError, match=r"backend::api_key: is empty: \$\{env:KEY\}"):
        read_text(VALID, "exporters: {backend: {endpoint: a, api_key: '${env:KEY}'}}", KEY="")


def test_secrets_have_no_repr(read_text: ReadText) -> None:
    """Nothing that is checked shows a secret when it is printed for debugging."""
    text = "exporters: {backend: {endpoint: a, api_key: '${env:KEY}', headers: {a: canary-header}}}"
    checked = read_text(VALID, text, KEY="canary-key")
    assert "canary" not in repr(checked) + str(checked) + repr(checked.config())


def test_components_learn_the_folder_of_their_file(components: Classes, tmp_path: Path) -> None:
    """A relative path is beside the file that names it, also where another file is laid under it."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "1.yaml").write_text(VALID + "processors: {python/x: {path: ./x.py}, python/y: {path: ./y.py}}")
    (tmp_path / "b" / "2.yaml").write_text("processors: {python/y: {path: ./z.py}}")
    files = [tmp_path / "a" / "1.yaml", tmp_path / "b" / "2.yaml"]
    processors = read(files, components=components).components[Kind.PROCESSOR]
    options: dict[str, Any] = {id: component.options for id, component in processors.items()}
    assert options["python/x"].directory == tmp_path / "a"
    assert options["python/y"].directory == tmp_path / "b"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"OTEL_PIPELINE_DATA_DIR": "/var/data"}, "/var/data"),
        ({"OTEL_PIPELINE_DATA_DIR": "", "XDG_DATA_HOME": "/xdg"}, "/xdg/otel-pipeline"),
        ({"XDG_DATA_HOME": "relative"}, str(Path.home() / ".local/share/otel-pipeline")),
        ({}, str(Path.home() / ".local/share/otel-pipeline")),
    ],
)
def test_data_dir(environment: dict[str, str], expected: str) -> None:
    """The folder is the named one, else the XDG one, which must be absolute."""
    assert data_dir(environment) == Path(expected)
