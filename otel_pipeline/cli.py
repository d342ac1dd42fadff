"""The command line. Each command imports what it needs, so that `version` and mistakes in arguments answer at once."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from otel_pipeline import __version__
from otel_pipeline.errors import ProblemsError
from otel_pipeline.journey_commands import add_journey_commands
from otel_pipeline.semconv_commands import add_commands

if TYPE_CHECKING:
    from otel_pipeline.config.check import Checked, Classes

__all__ = ["main"]

Command = Callable[[argparse.Namespace], int]

_FILES_HELP = (
    "configuration file; may be repeated, later files are laid over earlier ones; shipped:NAME is a file that comes "
    "with the gateway (default: shipped:gateway.yaml)"
)


def main(arguments: Sequence[str] | None = None, *, components: "Classes | None" = None) -> int:
    """Runs one command; `components` stand for the gateway's own.

    Returns 0, or 1 for problems, which it prints to standard error. Wrong arguments exit with 2.
    """
    parsed = _parser().parse_args(arguments, argparse.Namespace(classes=components))
    command: Command = parsed.command
    try:
        return command(parsed)
    except ProblemsError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        count = len(error.problems)
        print(f"{count} problem{'s' if count > 1 else ''}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader, such as `head`, has gone; nothing can be told to it.
        sys.stderr.close()
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="otel-pipeline",
        description="An OpenTelemetry gateway for software that AI agents deliver.",
    )
    add = _adder(parser)

    def add_configured(name: str, command: Command, help: str) -> argparse.ArgumentParser:
        added = add(name, command, help)
        added.add_argument("--config", metavar="FILE", action="append", default=[], help=_FILES_HELP)
        set_help = "sets one option over the files, such as processors.memory_limiter.limit_mib=512; may be repeated"
        added.add_argument("--set", metavar="PATH=VALUE", action="append", default=[], help=set_help)
        return added

    add_configured("run", _run, "run the gateway until SIGTERM or Ctrl-C")
    add_configured("validate", _validate, "check configuration files and tell every problem")
    components = add("components", _components, "list the components, or print every option of one")
    components.add_argument("type", nargs="?", help="such as batch, or receivers/otlp")
    printed = add_configured("print-config", _print_config, "print the merged configuration, secrets masked")
    printed.add_argument("--defaults", action="store_true", help="also print options that the files leave out")
    demo = add_configured("demo", _demo, "run the gateway, send it a small delivery and show what came out")
    demo.add_argument("--once", action="store_true", help="stop after showing; exit 1 if it is not what was sent")
    doctor = add_configured("doctor", _doctor, "check a running gateway: send marked telemetry and read it back")
    doctor.add_argument("--url", metavar="URL", default="", help="where it runs, if elsewhere, such as http://gateway")
    doctor.add_argument("--json", action="store_true", help="print findings as JSON")
    add_journey_commands(add)
    semconv = add("semconv", _version, "check, explain and print the semantic-convention files")
    add_commands(_adder(semconv))
    add("version", _version, "print the version")
    return parser


def _adder(parser: argparse.ArgumentParser) -> Callable[[str, Command, str], argparse.ArgumentParser]:
    """What adds a command to `parser`: by name, function and help."""
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, command: Command, help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help, allow_abbrev=False)
        added.set_defaults(command=command)
        return added

    return add


def _files(parsed: argparse.Namespace) -> list[Path]:
    from otel_pipeline.config import DEFAULT_FILE

    files = []
    for name in parsed.config:
        scheme, colon, rest = name.partition(":")
        shipped = DEFAULT_FILE.parent / rest if colon and scheme == "shipped" else None
        files.append(shipped or Path(rest if colon and scheme == "file" else name))
    return files


def _read(parsed: argparse.Namespace) -> "Checked":
    from otel_pipeline.config import read

    return read(_files(parsed), parsed.set, components=parsed.classes)


def _run(parsed: argparse.Namespace) -> int:
    from otel_pipeline.service.run import run

    return run(lambda: _read(parsed).config())


def _validate(parsed: argparse.Namespace) -> int:
    config = _read(parsed).config()
    pipelines = len(config.pipelines)
    print(f"the configuration is valid: {pipelines} pipeline{'s' if pipelines != 1 else ''}")
    return 0


def _print_config(parsed: argparse.Namespace) -> int:
    from otel_pipeline.config.printed import print_config

    print(print_config(_read(parsed), defaults=parsed.defaults), end="")
    return 0


def _components(parsed: argparse.Namespace) -> int:
    from otel_pipeline.config.check import classes
    from otel_pipeline.config.reference import overview, references

    known = parsed.classes or classes()
    print(references(parsed.type, known) if parsed.type else overview(known), end="")
    return 0


def _demo(parsed: argparse.Namespace) -> int:
    from otel_pipeline.demo import main as run_demo

    return run_demo(once=parsed.once, files=_files(parsed), sets=parsed.set)


def _doctor(parsed: argparse.Namespace) -> int:
    from otel_pipeline.doctor import main as run_doctor

    host = urlsplit(parsed.url if "//" in parsed.url else f"//{parsed.url}").hostname or ""
    return run_doctor(_read(parsed).config(), host=host, as_json=parsed.json)


def _version(parsed: argparse.Namespace) -> int:
    print(f"otel-pipeline {__version__}")
    return 0
