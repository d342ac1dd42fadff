"""The log: one line a record, nothing that a terminal obeys, no floods, no secrets of URLs."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_pipeline.config.model import LogsOptions
from otel_pipeline.errors import PermanentError
from otel_pipeline.service.log import RateLimit, configure, escape, formatter

LOG = logging.getLogger("otel_pipeline.test_log")


@pytest.fixture(params=["console", "json"])
def stream(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """Where the log goes, in both encodings."""
    written = io.StringIO()
    restore = configure(LogsOptions(level="info", encoding=request.param), written)
    yield written
    restore()


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("otel_pipeline.x", logging.INFO, "", 0, message, arguments, None)
    made.__dict__.update(extra)
    return made


HOSTILE = "a\nb\r\tc\x00\x1b[31mred\x7f\x85\u2028\u2029\u202e\ud800 é"


@pytest.mark.parametrize("encoding", ["console", "json"])
@given(st.text(alphabet=st.characters(), max_size=50), st.text(alphabet=st.characters(), max_size=50))
def test_a_record_is_one_printable_line(encoding: str, message: str, value: str) -> None:
    """Whatever a message or a field holds, no control character, line separator or surrogate comes out."""
    line = formatter(encoding).format(record("%s", message + HOSTILE, sender=value + HOSTILE))
    assert len(line.splitlines()) == 1
    assert escape(line) == line
    assert line.encode()


def test_json_gives_back_what_was_logged() -> None:
    """Escapes are those of JSON, so that a reader finds the very text."""
    fields = json.loads(formatter("json").format(record("got %s", HOSTILE, component="otlp", items=3)))
    assert fields["message"] == "got " + HOSTILE
    assert (fields["level"], fields["logger"], fields["component"], fields["items"]) == (
        "info",
        "otel_pipeline.x",
        "otlp",
        3,
    )
    assert fields["time"].endswith("Z")


def test_errors_of_our_own_have_no_traceback(stream: io.StringIO) -> None:
    """A ConsumeError tells all in its text; other exceptions show where they come from, on the same line."""
    for error in (PermanentError("peer said no"), ValueError("oops")):
        try:
            raise error
        except Exception:
            LOG.exception("failed with %s", type(error).__name__)
    ours, other = stream.getvalue().splitlines()
    assert "peer said no" in ours
    assert "Traceback" not in ours
    assert "Traceback" in other
    assert "test_log.py" in other


def test_users_and_passwords_of_urls_are_not_logged(stream: io.StringIO) -> None:
    """What stands before the @ of an authority is replaced."""
    LOG.warning("cannot reach %s", "https://user:canary@example.com/v1/traces")
    assert "canary" not in stream.getvalue()
    assert "https://***@example.com/v1/traces" in stream.getvalue()


def test_own_records_keep_to_the_level_and_others_are_heard_from_warning_on(stream: io.StringIO) -> None:
    """Chatty libraries stay out of the log."""
    LOG.debug("own debug")
    LOG.info("own info")
    logging.getLogger("uvicorn.error").info("other info")
    logging.getLogger("uvicorn.error").warning("other warning")
    text = stream.getvalue()
    assert ["own debug" in text, "own info" in text, "other info" in text, "other warning" in text] == [
        False,
        True,
        False,
        True,
    ]


def test_a_flood_of_one_message_is_cut_and_told() -> None:
    """So many a minute of each message of each logger; the rest comes as one number; other messages pass."""
    now = [0.0]
    limit = RateLimit(3, clock=lambda: now[0])
    assert [limit.filter(record("client %s hung up", number)) for number in range(5)] == [True] * 3 + [False] * 2
    assert limit.filter(record("something else"))
    assert limit.summaries() == []
    now[0] = 60.0
    assert [summary.getMessage() for summary in limit.summaries()] == [
        "left out 2 more records like: client %s hung up"
    ]
    assert limit.summaries() == []
    assert limit.filter(record("client %s hung up", 6))


def test_a_summary_is_not_lost_when_the_message_comes_again_first() -> None:
    """The first record of the next minute carries the number."""
    now = [0.0]
    limit = RateLimit(1, clock=lambda: now[0])
    for _ in range(4):
        limit.filter(record("again"))
    now[0] = 61.0
    later = record("again")
    assert limit.filter(later)
    assert vars(later)["suppressed"] == 3


def test_many_different_messages_do_not_fill_memory() -> None:
    """The limiter forgets rather than grows."""
    limit = RateLimit()
    for number in range(5000):
        limit.filter(record(f"made of data {number}"))
    assert len(limit._windows) <= 1000
