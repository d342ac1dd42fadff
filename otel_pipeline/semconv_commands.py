"""The commands `otel-pipeline semconv ...`. To add one: a function here, and a line in `add_commands`."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

__all__ = ["add_commands"]

Command = Callable[[argparse.Namespace], int]

_FOLDER_HELP = "folder with semantic-convention files over the shipped ones; may be repeated"
_TELEMETRY_HELP = "OTLP requests: JSON, lines of JSON, protobuf, or what the exporter `file` writes"
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
    live.add_argument(
        "--signal", choices=("traces", "metrics", "logs"), help="of protobuf files whose name does not tell it"
    )
    live.add_argument("--format", choices=("text", "json"), default="text", help="of what is printed (default: text)")
    live.add_argument("--fail-on", metavar="LEVEL", choices=_FAIL_ON, default="violation", help=_FAIL_ON_HELP)


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
