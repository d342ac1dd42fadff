"""`otel-pipeline semconv live-check`: recorded telemetry compared with a registry, as Weaver's live-check does it."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from otel_pipeline.helpers.printable import printable, quoted
from otel_pipeline.pdata.otlp_files import read_batches
from otel_pipeline.semconv.live_check import LEVELS, compile_live_check
from otel_pipeline.semconv.load import load

__all__ = ["live_check", "text_report"]

_SHOWN_SIGNALS = 3
_MAX_CHARS = 600


def live_check(
    files: Sequence[Path],
    *,
    directories: Sequence[Path] = (),
    registry: Path | None = None,
    signal: str | None = None,
    format: str = "text",
    fail_on: str = "violation",
) -> int:
    """Prints the report of all files together. Returns 1 where a finding is as bad as `fail_on`, else 0.

    `registry` takes the place of the shipped files. Raises ProblemsError for files that cannot be read.
    """
    check = compile_live_check(load(directories, shipped=registry))
    for file in files:
        for batch in read_batches(file, signal):
            check.update(batch)
    report = json.loads(check.report())
    print(json.dumps(report, indent=2, ensure_ascii=False) if format == "json" else "\n".join(text_report(report)))
    found: dict[str, int] = report["statistics"]["advice_level_counts"]
    return int(fail_on != "none" and any(level in found for level in LEVELS[: LEVELS.index(fail_on) + 1]))


def text_report(report: dict[str, Any]) -> Iterator[str]:
    """Lines for people: what is told in the same words once, with the signals it is told of."""
    by_message: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for finding in report["findings"]:
        by_message.setdefault((finding["level"], finding["id"], finding["message"]), []).append(finding)
    level = ""
    for (now, id_, message), findings in by_message.items():
        if now != level:
            level = now
            yield f"{level}: {report['statistics']['advice_level_counts'][level]}"
        count = sum(finding["count"] for finding in findings)
        times = f"{count} time{'s' if count > 1 else ''}"
        yield f"  {id_}: {printable(message, _MAX_CHARS)} {times} in {_signals(findings)}"
    yield _summary(report)


def _signals(findings: Sequence[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(_signal(finding) for finding in findings))
    more = len(names) - _SHOWN_SIGNALS
    return ", ".join(names[:_SHOWN_SIGNALS]) + (f" and {more} more" if more > 0 else "")


def _signal(finding: dict[str, Any]) -> str:
    """The signal by type and name; a resource by its service."""
    example = finding["example"]
    if finding["signal_type"] == "resource":
        return f"resource of {quoted(example['service_name'])}"
    if finding["signal_type"] is None:
        return f"scope {quoted(example['scope_name'])}"
    return f"{finding['signal_type']} {quoted(finding['signal_name'])}"


def _summary(report: dict[str, Any]) -> str:
    statistics = report["statistics"]
    entities = statistics["total_entities"]
    counts = statistics["advice_level_counts"]
    levels = ", ".join(f"{counts.get(level, 0)} {level}{'s' * (level != 'information')}" for level in LEVELS)
    overflow = f"; {report['overflow']} findings are not listed" if report["overflow"] else ""
    coverage = f"{statistics['registry_coverage']:.1%} of the registry seen"
    return f"{entities} entities: {levels}; {statistics['no_advice_count']} without findings; {coverage}{overflow}"
