"""The week of a small simulated organisation, sent to a running gateway over OTLP/HTTP as its senders would send it,
and read back as journeys."""

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from typing import Any

from otel_pipeline.journeys.model import Journey
from otel_pipeline.testing.grade import Grade, grade
from otel_pipeline.testing.organisation import DAY, Organisation, organisation
from otel_pipeline.testing.outbox import Delivery
from otel_pipeline.testing.told import told_journey
from otel_pipeline.testing.truth import RequirementTruth

__all__ = ["most_eventful", "play", "read_back", "week"]

PATIENCE_SECONDS = 60.0
"""How long one request is repeated while the gateway asks senders to wait, and how long journeys are waited for."""
WAIT = (429, 503)
"""What asks for patience (OTLP specification, "OTLP/HTTP Response")."""


def week(now_ns: int) -> Organisation:
    """Three projects and some dozen requirements, in the last seven days that ended with a Friday: the same week
    whenever it is played."""
    end_ns = now_ns - (now_ns - 2 * DAY) % (7 * DAY)
    return organisation(seed=11, days=7, projects=3, requirements_per_week=14, work=0.2, end_ns=end_ns)


def play(endpoint: str, deliveries: Iterable[Delivery]) -> int:
    """Sends everything, one request after the other; repeats what the gateway has no room for yet. Returns how many
    requests it took; OSError where the gateway refuses one."""
    address = urllib.parse.urlsplit(endpoint)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    try:
        return sum(_send(connection, delivery) for delivery in deliveries)
    finally:
        connection.close()


def _send(connection: http.client.HTTPConnection, delivery: Delivery) -> int:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        connection.request("POST", f"/v1/{delivery.signal}", delivery.body, {"Content-Type": "application/x-protobuf"})
        answer = connection.getresponse()
        answer.read()
        if answer.status == http.HTTPStatus.OK:
            return 1
        if answer.status not in WAIT or time.monotonic() > deadline:
            raise OSError(f"the gateway answered {answer.status} {answer.reason} to {delivery.signal}")
        time.sleep(min(float(answer.headers.get("Retry-After") or 0.2), 5.0))


def read_back(web: str, week: Organisation) -> Grade | None:
    """Waits until the gateway lists all requirements and tells their journeys as they happened, and gives how good they
    are at last. None where it keeps none."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(path: str) -> Any:
        with opener.open(f"{web}/api/{path}", timeout=30) as answer:
            return json.load(answer)

    def journeys() -> Iterator[Journey]:
        for project, requirement in week.truth.requirements:
            try:
                yield told_journey(ask(f"requirements/{project}/{requirement}"))
            except urllib.error.HTTPError as error:
                if error.code != http.HTTPStatus.NOT_FOUND:
                    raise

    try:
        ask("requirements?limit=1")
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.NOT_FOUND:
            return None
        raise
    while True:
        found = grade(journeys(), week.truth)
        listed = {(row["project"], row["requirement"]) for row in ask("requirements?limit=500")["requirements"]}
        if (found.is_good and listed >= week.truth.requirements.keys()) or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def most_eventful(week: Organisation) -> RequirementTruth:
    """The requirement with the most to see: accepted, through most stages, with rework and errors."""

    def seen(one: RequirementTruth) -> tuple[int, ...]:
        stages = {visit.stage for visit in one.visits}
        return one.state == "accepted", len(stages), one.rework, sum(one.errors.values())

    return max(week.truth.requirements.values(), key=seen)
