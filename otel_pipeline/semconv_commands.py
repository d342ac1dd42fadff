"""The commands `otel-pipeline semconv ...`. To add one: a function here, and a line in `add_commands`."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

__all__ = ["add_commands"]

Command = Callable[[argparse.Namespace], int]

_FOLDER_HELP = "folder with semantic-convention files over the shipped ones; may be repeated"
_TELEMETRY_HELP = "OTLP requests: JSON, lines of JSON, protobuf, or what the exporter `file` writes"
_SIGNAL_HELP = "of protobuf files whose name does not tell it"
_FAIL_ON = ("violation", "improvement", "information", "none")
_FAIL_ON_HELP = f"exit with 1 where a finding is as bad as this: {', '.join(_FAIL_ON)} (default: violation)"


def add_commands(add: Callable[[str, Command, str], argparse.ArgumentParser]) -> None:
    """Adds every command of the group. `add` takes name, function and help, and returns the command's parser."""

    def add_with_directories(name: str, command: Command, help: str) -> argparse.ArgumentParser:
        added = add(name, command, help)
        added.add_argument("--directory", metavar="FOLDER", action="append", type=Path, default=[], help=_FOLDER_HELP)
        return added

    checked = add_with_directories("check", _check, "check semantic-convention files and tell every problem")
    checked.add_argument("--json", action="store_true", help="print the problems as JSON")
    live = add_with_directories(
        "live-check", _live_check, "compare recorded telemetry with the registry, as Weaver does"
    )
    live.add_argument("file", metavar="FILE", nargs="+", type=Path, help=_TELEMETRY_HELP)
    live.add_argument(
        "--registry", metavar="FOLDER", type=Path, help="compare with this registry, not with the shipped one"
    )
    live.add_argument("--signal", choices=("traces", "metrics", "logs"), help=_SIGNAL_HELP)
    live.add_argument("--format", choices=("text", "json"), default="text", help="of what is printed (default: text)")
    live.add_argument("--fail-on", metavar="LEVEL", choices=_FAIL_ON, default="violation", help=_FAIL_ON_HELP)
    docs = add_with_directories("docs", _docs, "write the reference of attributes, metrics, rules, stages and models")
    docs.add_argument(
        "--file", metavar="FILE", type=Path, help="Markdown file that has it (default: semconv/README.md)"
    )
    docs.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file says something else")
    exported = add_with_directories("export", _export, "print the registry as JSON")
    python_help = "write constants for Python into this folder instead: attributes.py, metrics.py, values.py"
    exported.add_argument("--python", metavar="FOLDER", type=Path, help=python_help)
    explained = add_with_directories("explain", _explain, "tell what is made of recorded telemetry, and why")
    explained.add_argument("file", metavar="FILE", nargs="+", type=Path, help=_TELEMETRY_HELP)
    explained.add_argument("--signal", choices=("traces", "metrics", "logs"), help=_SIGNAL_HELP)
    explained.add_argument("--json", action="store_true", help="print it as JSON")


def _check(parsed: argparse.Namespace) -> int:
    from dataclasses import asdict

    from otel_pipeline.errors import SemconvError
    from otel_pipeline.semconv.check import check

    registry, problems = check(parsed.directory)
    if parsed.json:
        print(json.dumps([asdict(problem) for problem in problems], indent=1, ensure_ascii=False))
        return 1 if problems else 0
    if problems:
        raise SemconvError(problems)
    counts = f"{len(registry.attributes)} attributes, {len(registry.metrics)} metrics, {len(registry.rules)} rules"
    print(f"no problem in {counts}")
    return 0


def _live_check(parsed: argparse.Namespace) -> int:
    from otel_pipeline.semconv_live_check import live_check

    return live_check(
        parsed.file,
        directories=parsed.directory,
        registry=parsed.registry,
        signal=parsed.signal,
        format=parsed.format,
        fail_on=parsed.fail_on,
    )


def _docs(parsed: argparse.Namespace) -> int:
    from otel_pipeline.semconv import shipped_directory
    from otel_pipeline.semconv.load import load_with_definitions
    from otel_pipeline.semconv.reference import reference, with_reference

    registry, definitions = load_with_definitions(parsed.directory)
    file = parsed.file or shipped_directory() / "README.md"
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    written = with_reference(text, reference(registry, definitions.by_section))
    if not parsed.check:
        file.write_text(written, encoding="utf-8")
    elif written != text:
        print(f"{file} is not what the files say: run `otel-pipeline semconv docs`", file=sys.stderr)
        return 1
    return 0


def _export(parsed: argparse.Namespace) -> int:
    from otel_pipeline.semconv.export import exported, python_constants
    from otel_pipeline.semconv.load import load_with_definitions

    registry, definitions = load_with_definitions(parsed.directory)
    if parsed.python:
        for name, text in python_constants(registry, definitions.by_section).items():
            (parsed.python / name).write_text(text, encoding="utf-8")
    else:
        print(json.dumps(exported(registry), indent=1, ensure_ascii=False))
    return 0


def _explain(parsed: argparse.Namespace) -> int:
    from otel_pipeline.semconv_explain import explain

    return explain(parsed.file, directories=parsed.directory, signal=parsed.signal, as_json=parsed.json)
