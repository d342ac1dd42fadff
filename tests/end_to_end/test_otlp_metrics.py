"""The gateway sends its series by OTLP, as shipped, to another that takes them in."""

from pathlib import Path

import pytest

from tests.end_to_end.harness import QUICK, StartGateway, wait_for
from tests.end_to_end.test_senders import python_grpc

EXAMPLE = Path(__file__).parents[2] / "collector-config" / "examples" / "otlp_metrics.yaml"
Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def test_the_series_of_the_page_arrive_by_otlp(start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every delivery series is at the other end, with the page's labels and value and the instance of its writer."""
    backend = start_gateway()
    monkeypatch.setenv("OTLP_METRICS_ENDPOINT", f"http://127.0.0.1:{backend.http}")
    gateway = start_gateway(EXAMPLE, sets=(*QUICK, "connectors.metric_series.metrics_flush_interval=100ms"))
    python_grpc(gateway)
    gateway.wait_for_sample("sdlc_stage_runs_total", stage="coding")

    names = ("sdlc_stage_runs_total", "sdlc_stage_errors_total", "sdlc_stage_duration_seconds_bucket")

    def series(of: object, **labels: str) -> Series:
        found = [(name, own, value) for name in names for own, value in of.samples(name)]  # type: ignore[attr-defined]
        return {(name, tuple(sorted({**own, **labels}.items()))): value for name, own, value in found}

    def same() -> Series | None:
        sent = series(gateway, instance="gateway")
        return sent if sent == series(backend) else None

    assert len(wait_for("the same series", same, 60)) > 10
