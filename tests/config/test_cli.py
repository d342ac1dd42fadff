"""The commands as a user types them: what they print, where, and with which exit code."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from otel_pipeline import __version__, cli
from otel_pipeline.component import Kind
from otel_pipeline.config import DEFAULT_FILE
from otel_pipeline.config.check import Classes
from otel_pipeline.config.model import Config

Main = Callable[[list[str]], int]

CONFIG = """
receivers:
  otlp: {protocols: {grpc: {endpoint: "localhost:${env:PORT:-4317}"}}}
exporters:
  backend:
    endpoint: https://user:canary-url@host/a$$b
    api_key: ${env:KEY:-canary-key}
    headers: {authorization: Bearer canary-header, x: canary-value}
    labels: {x-api-key: canary-label, note: Basic canary-note, plain: shown}
processors:
  batch: {timeout: 90s}
service:
  pipelines:
    traces: {receivers: [otlp], processors: [batch], exporters: [backend]}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A valid file."""
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG, encoding="utf-8")
    return str(file)


@pytest.fixture
def main(components: Classes) -> Main:
    """The command line over the small components."""
    return lambda arguments: cli.main(arguments, components=components)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`version` prints it."""
    assert cli.main(["version"]) == 0
    assert capsys.readouterr().out == f"otel-pipeline {__version__}\n"


def test_validate_says_yes(config: str, main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    """A good configuration exits 0."""
    assert main(["validate", "--config", config]) == 0
    assert capsys.readouterr().out == "the configuration is valid: 1 pipeline\n"


def test_validate_tells_every_problem(config: str, main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    """A bad one exits 1 with one line for each problem and their number, on standard error."""
    sets = ["--set", "processors.batch.timeout=5 parsecs", "--set", "exporters::backend::ratio=7"]
    assert main(["validate", "--config", config, *sets]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "--set: processors::batch::timeout: not a duration: '5 parsecs' (write it like 200ms, 5s or 1m30s)",
        "--set: exporters::backend::ratio: must be at most 1.0, not 7",
        "2 problems",
    ]


@pytest.mark.parametrize("defaults", [[], ["--defaults"]])
def test_print_config_masks_secrets(
    defaults: list[str], config: str, main: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    """Typed secrets, names that sound secret, credentials in URLs and headers are all masked; the rest is resolved."""
    assert main(["print-config", "--config", config, *defaults]) == 0
    printed = capsys.readouterr().out
    assert "canary" not in printed
    written: dict[str, Any] = yaml.safe_load(printed)
    assert written["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"] == "localhost:4317"
    assert written["processors"]["batch"]["timeout"] == "1m30s"
    assert written["exporters"]["backend"]["labels"]["plain"] == "shown"
    assert written["exporters"]["backend"]["endpoint"] == "https://**********@host/a$$b"
    assert ("send_batch_size" in written["processors"]["batch"]) == bool(defaults)


def test_print_config_can_be_loaded_again(
    config: str, main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Printing what was printed changes nothing."""
    main(["print-config", "--config", config, "--defaults"])
    printed = capsys.readouterr().out
    again = tmp_path / "again.yaml"
    again.write_text(printed, encoding="utf-8")
    assert main(["print-config", "--config", str(again)]) == 0
    assert capsys.readouterr().out == printed


def test_components(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    """`components` lists, `components TYPE` prints the options, an unknown type is told."""
    assert main(["components"]) == 0
    assert "  batch  " in capsys.readouterr().out
    assert main(["components", "processors/batch"]) == 0
    assert "  timeout: 200ms\n" in capsys.readouterr().out
    assert main(["components", "bach"]) == 1
    assert capsys.readouterr().err == "there is no component 'bach' (did you mean 'batch'?)\n1 problem\n"


def test_files_by_scheme(config: str, main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    """`file:` is as in the Collector; `shipped:` names files that come with the gateway."""
    assert main(["validate", "--config", f"file:{config}"]) == 0
    assert main(["validate", "--config", "shipped:missing.yaml"]) == 1
    assert f"{DEFAULT_FILE.parent / 'missing.yaml'}: cannot be read" in capsys.readouterr().err


def stub(monkeypatch: pytest.MonkeyPatch, module: str, **functions: Any) -> None:
    """Puts a module with these functions in place of a real one."""
    monkeypatch.setitem(sys.modules, module, ModuleType(module))
    vars(sys.modules[module]).update(functions)


def test_run_hands_over_how_to_load(config: str, main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run` gives the service a function that reads the files anew each time, and exits with its code."""
    loaded: list[Config] = []

    def run(load: Callable[[], Config]) -> int:
        loaded.append(load())
        Path(config).write_text(CONFIG.replace("90s", "80s"), encoding="utf-8")
        loaded.append(load())
        return 3

    stub(monkeypatch, "otel_pipeline.service.run", run=run)
    assert main(["run", "--config", config, "--set", "processors.batch.send_batch_size=7"]) == 3
    options: list[Any] = [read.components[Kind.PROCESSOR]["batch"].options for read in loaded]
    assert [(read.timeout, read.send_batch_size) for read in options] == [(90.0, 7), (80.0, 7)]


def test_demo_gets_its_arguments(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    """`demo` passes on what it was given."""
    given: list[dict[str, Any]] = []

    def demo(**arguments: Any) -> int:
        given.append(arguments)
        return 0

    stub(monkeypatch, "otel_pipeline.demo", main=demo)
    assert main(["demo", "--once", "--config", "shipped:gateway.yaml", "--set", "a=b"]) == 0
    assert given == [{"once": True, "files": [DEFAULT_FILE], "sets": ["a=b"]}]


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["run", "--no-such-option"], ["components", "a", "b"]])
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong arguments exit 2 with the usage."""
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: otel-pipeline" in capsys.readouterr().err


def test_the_module_runs_and_stays_light() -> None:
    """`python -m otel_pipeline version` works and imports neither pydantic nor grpc."""
    command = [sys.executable, "-X", "importtime", "-m", "otel_pipeline", "version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"otel-pipeline {__version__}\n"
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "argparse" in imported
    assert not imported & {"pydantic", "grpc", "yaml", "otel_pipeline.component"}
