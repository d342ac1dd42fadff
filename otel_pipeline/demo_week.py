"""The week of a small simulated organisation, sent to a running gateway over OTLP/HTTP as its senders would send it."""

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request

from otel_pipeline.testing.organisation import Organisation, organisation
from otel_pipeline.testing.outbox import Delivery
from otel_pipeline.testing.truth import RequirementTruth

__all__ = ["listed", "most_eventful", "play", "week"]

PATIENCE_SECONDS = 60.0
"""How long one request is repeated while the gateway asks senders to wait, and how long its list is waited for."""
WAIT = (429, 503)
"""What asks for patience (OTLP specification, "OTLP/HTTP Response")."""


def week(end_ns: int) -> Organisation:
    """Two projects and some ten requirements, in the seven days that end at `end_ns`."""
    return organisation(seed=7, days=7, projects=2, requirements_per_week=12, work=0.2, end_ns=end_ns)


def play(endpoint: str, week: Organisation) -> int:
    """Sends everything, one request after the other; repeats what the gateway has no room for yet. Returns how many
    requests it took; OSError where the gateway refuses one."""
    address = urllib.parse.urlsplit(endpoint)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    try:
        return sum(_send(connection, delivery) for delivery in week.deliveries())
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


def listed(web: str, week: Organisation) -> set[str] | None:
    """Waits until the gateway lists every requirement of the week; returns those that it does not. None where it keeps
    no journeys."""
    names = {name for _, name in week.truth.requirements}
    deadline = time.monotonic() + PATIENCE_SECONDS
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            with opener.open(f"{web}/api/requirements?limit=500", timeout=30) as answer:
                missing = names - {row["requirement"] for row in json.load(answer)["requirements"]}
        except urllib.error.HTTPError as error:
            if error.code == http.HTTPStatus.NOT_FOUND:
                return None
            raise
        if not missing or time.monotonic() > deadline:
            return missing
        time.sleep(0.2)


def most_eventful(week: Organisation) -> RequirementTruth:
    """The requirement with the most to see: accepted if there is one, and sent back most often."""
    return max(week.truth.requirements.values(), key=lambda one: (one.state == "accepted", one.sent_back, one.spans))
