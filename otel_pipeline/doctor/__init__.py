"""`otel-pipeline doctor`: sends marked telemetry to a running gateway, reads it back, and says what is wrong.

`addresses` tells where the configured gateway listens, `probe` sends, `checks` reads back and judges.
"""

import json

from otel_pipeline.config.model import Config
from otel_pipeline.doctor.addresses import find_addresses
from otel_pipeline.doctor.checks import Finding, examine

__all__ = ["main"]

_MARKS = {"ok": "ok      ", "warning": "warning ", "problem": "PROBLEM "}


def main(config: Config, *, host: str, as_json: bool) -> int:
    """Examines the gateway that runs with `config`, on `host` where that is given. 1 where there is a problem."""
    findings = examine(config, find_addresses(config, host))
    ok = not any(finding.level == "problem" for finding in findings)
    if as_json:
        print(json.dumps({"ok": ok, "findings": [finding.as_json() for finding in findings]}, indent=1))
    else:
        _print(findings)
    return 0 if ok else 1


def _print(findings: list[Finding]) -> None:
    for finding in findings:
        print(f"{_MARKS[finding.level]}{finding.check}: {finding.what}")
        if finding.fix:
            print(f"{'':8}-> {finding.fix}")
    problems = sum(finding.level == "problem" for finding in findings)
    print(f"\n{problems} problem{'' if problems == 1 else 's'}" if problems else "\nthe gateway works")
