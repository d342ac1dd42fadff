"""How the week of a small organisation is sent: over a real socket, with patience, and never silently in part."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from otel_pipeline.demo_week import play
from otel_pipeline.testing.organisation import organisation


@contextmanager
def receiver(*answers: int) -> Iterator[tuple[str, Counter[tuple[str, int]]]]:
    """Answers requests with these in turn, then with 200; counts them by path and answer."""
    seen: Counter[tuple[str, int]] = Counter()
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status = left.pop(0) if left else 200
            seen[self.path, status] += 1
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.send_header("Retry-After", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()


def test_what_is_asked_to_wait_is_sent_again() -> None:
    """Every request arrives once with success, after as many refusals as there were."""
    week = organisation(days=2, projects=1, requirements_per_week=4, work=0.05)
    with receiver(503, 429) as (url, seen):
        sent = play(url, week.deliveries())
    accepted = {path: count for (path, status), count in seen.items() if status == 200}
    assert sum(accepted.values()) == sent > 10
    assert accepted.keys() == {"/v1/traces", "/v1/logs"}
    assert seen.total() == sent + 2


def test_what_is_refused_for_good_is_told() -> None:
    """It is no success to have played a part."""
    week = organisation(days=2, projects=1, requirements_per_week=4, work=0.05)
    with receiver(400) as (url, _), pytest.raises(OSError, match="400"):
        play(url, week.deliveries())
