"""The commands `otel-pipeline semconv ...`. To add one: a function here, and a line in `add_commands`."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

__all__ = ["add_commands"]

Command = Callable[[argparse.Namespace], int]

_FOLDER_HELP = "folder with semantic-convention files over the shipped ones; may be repeated"


def add_commands(add: Callable[[str, Command, str], argparse.ArgumentParser]) -> None:
    """Adds every command of the group. `add` takes name, function and help, and returns the command's parser."""

    def add_with_directories(name: str, command: Command, help: str) -> argparse.ArgumentParser:
        added = add(name, command, help)
        added.add_argument("--directory", metavar="FOLDER", action="append", type=Path, default=[], help=_FOLDER_HELP)
        return added

    checked = add_with_directories("check", _check, "check semantic-convention files and tell every problem")
    checked.add_argument("--json", action="store_true", help="print the problems as JSON")


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
