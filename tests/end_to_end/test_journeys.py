"""A simulated organisation sends its telemetry to a real gateway: the journeys that come back are what happened."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from otel_pipeline.demo_week import most_eventful, play, week
from otel_pipeline.journeys.extract import compile_plan
from otel_pipeline.journeys.model import Journey, Run, State
from otel_pipeline.journeys.sqlite import SqliteStore
from otel_pipeline.semconv import load
from otel_pipeline.testing.grade import grade
from otel_pipeline.testing.outbox import Delivery
from otel_pipeline.testing.told import told_journey
from otel_pipeline.testing.truth import Ref, Truth
from tests.end_to_end.harness import Gateway, StartGateway, get, wait_for


def document(gateway: Gateway, ref: Ref) -> dict[str, Any]:
    """The API's answer, as soon as the store is open."""
    path = "/".join(quote(part, safe="") for part in ref)
    answer = wait_for(path, lambda: get(f"http://127.0.0.1:{gateway.web}/api/requirements/{path}"))
    found: dict[str, Any] = json.loads(answer)
    return found


def journeys(gateway: Gateway, refs: Iterable[Ref]) -> list[Journey]:
    """As the API tells them."""
    return [told_journey(document(gateway, ref)) for ref in refs]


def send(gateway: Gateway, deliveries: Iterable[Delivery]) -> None:
    """Everything, until nothing of it waits for the store; nothing may be lost."""
    play(f"http://127.0.0.1:{gateway.http}", deliveries)

    def nothing_held() -> bool | None:
        mine = [one for one in gateway.status()["balance"] if (one["kind"], one["id"]) == ("exporter", "journeys")]
        assert all(not one["dropped"] and not one["missing"] for one in mine), mine
        return True if mine and not any(one["held"] for one in mine) else None

    wait_for("an empty queue", nothing_held)


def stored_runs(directory: Path, truth: Truth) -> list[Run]:
    """All runs of all traces, out of the file that a gateway left behind."""
    store = SqliteStore(directory / "journeys" / "journeys.sqlite", compile_plan(load()))
    try:
        return store.runs(sorted({trace for trace, _ in truth.spans}))
    finally:
        store.close()


def without_clock(found: Iterable[Journey]) -> list[Journey]:
    """What does not depend on when one asks."""
    return [one if one.state in (State.ACCEPTED, State.CANCELLED) else replace(one, lead_ns=0) for one in found]


@pytest.mark.timeout(300)
def test_journeys_are_what_happened_and_survive_kills(start_gateway: StartGateway, tmp_path: Path) -> None:
    """Killed in the midst of it and once more at the end, the gateway tells each journey as it was: every span in the
    right one, none in a wrong one, every number the true one."""
    gateway, org = start_gateway(), week(time.time_ns())
    deliveries = list(org.deliveries())
    middle = len(deliveries) // 2
    send(gateway, deliveries[:middle])
    gateway.kill()
    gateway.launch()
    send(gateway, deliveries[middle:])
    told = journeys(gateway, org.truth.requirements)
    gateway.kill()
    gateway.launch()
    assert without_clock(journeys(gateway, org.truth.requirements)) == without_clock(told)
    gateway.stop()
    runs = stored_runs(tmp_path / "data-0", org.truth)
    found = grade(told, org.truth, {(run.trace_id, run.span_id) for run in runs})
    assert found.told > 2000
    assert (found.wrong, found.right, found.differences) == (0, found.told, []), str(found)


@pytest.mark.timeout(300)
def test_the_command_and_the_page_tell_what_happened(start_gateway: StartGateway) -> None:
    """`otel-pipeline trace` and the page of the requirement with the most to see agree with the truth, and with each
    other."""
    gateway, org = start_gateway(), week(time.time_ns())
    send(gateway, org.deliveries())
    truth, url = most_eventful(org), f"http://127.0.0.1:{gateway.web}"
    command = [sys.executable, "-m", "otel_pipeline", "trace", truth.requirement, "--url", url]

    def listed() -> bool | None:
        return True if f'"{truth.requirement}"' in get(f"{url}/api/requirements?limit=500") else None

    wait_for("the list", listed)
    printed = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True, timeout=60).stdout
    told = told_journey(json.loads(printed))
    expected = (truth.title, truth.rework, truth.lead_ns // 10**6, sum(truth.errors.values()))
    reruns, errors = sum(one.is_rework for one in told.visits), sum(told.errors.values())
    assert (told.title, reruns, round(told.lead_ns / 1e6), errors) == expected
    assert told.cost_usd == pytest.approx(truth.cost_usd, abs=1e-6)

    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert text.startswith(
        f"{truth.requirement}  {truth.title}  ({truth.project} · {truth.requirement_class})\naccepted"
    )
    assert f"{truth.rework} reruns · {errors} errors" in text

    page = get(f"{url}/requirements/{truth.project}/{truth.requirement}")
    tiles = dict(re.findall(r"<dt>([^<]+)</dt>\s*<dd>([^<]+)", unescape(page)))
    shown = {name: text.strip() for name, text in tiles.items()}
    assert shown["reruns"] == str(truth.rework)
    assert shown["errors"] == str(errors)
    assert shown["cost"] == f"${truth.cost_usd:,.2f}"
    assert truth.title in page
