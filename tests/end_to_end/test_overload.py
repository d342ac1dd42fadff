"""A gateway that is short of memory refuses before it decodes, in a way that makes senders try again."""

import urllib.error
import urllib.request

import pytest

from tests.end_to_end.harness import QUICK, StartGateway


def test_a_body_is_not_even_decoded_while_memory_is_short(start_gateway: StartGateway) -> None:
    """A body that no decoder could read is answered 503 with Retry-After, not 400: nobody looked at it."""
    gateway = start_gateway(sets=(*QUICK, "processors.memory_limiter.limit_mib=1"))
    request = urllib.request.Request(
        f"http://127.0.0.1:{gateway.http}/v1/traces",
        data=b"\xff\xff not protobuf",
        headers={"Content-Type": "application/x-protobuf"},
    )
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.urlopen(request, timeout=30)
    with answer.value as error:
        assert error.code == 503
        assert 1 <= int(error.headers["Retry-After"]) <= 2
        assert b"memory usage is high" in error.read()
    rows = {(row["id"], row["pipeline"]): row for row in gateway.status()["components"] if row["kind"] == "processor"}
    assert "above the soft limit" in rows["memory_limiter", "traces"]["reason"]
