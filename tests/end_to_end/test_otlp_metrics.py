"""The gateway sends its series by OTLP, as shipped, to another that takes them in."""

from pathlib import Path

import pytest

from tests.end_to_end.harness import QUICK, StartGateway, wait_for
from tests.end_to_end.test_senders import python_grpc

EXAMPLE = Path(__file__).parents[2] / "collector-config" / "examples" / "otlp_metrics.yaml"
Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_the_series_of_the_page_arrive_by_otlp(
    temporality: str, start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every delivery series is at the other end, with the page's labels and value and the instance of its writer. Also
    as increments, which are added up there; and also where the other end was away, and nothing but the connector had
    what was to be handed on."""
    backend = start_gateway()
    monkeypatch.setenv("OTLP_METRICS_ENDPOINT", f"http://127.0.0.1:{backend.http}")
    series_of = "connectors.metric_series"
    sets = (
        f"{series_of}.metrics_flush_interval=100ms",
        f"{series_of}.aggregation_temporality={temporality}",
        "exporters.otlp_http/series.sending_queue.enabled=false",
        "exporters.otlp_http/series.retry_on_failure.enabled=false",
    )
    gateway = start_gateway(EXAMPLE, sets=(*QUICK, *sets))
    python_grpc(gateway)
    backend.wait_for_sample("sdlc_stage_runs_total", stage="coding", instance="gateway")
    assert backend.stop() == 0
    for _ in range(2):
        python_grpc(gateway)
    wait_for("three runs", lambda: gateway.wait_for_sample("sdlc_stage_runs_total", stage="coding") == 3 or None, 60)
    backend.launch()

    names = ("sdlc_stage_runs_total", "sdlc_stage_errors_total", "sdlc_stage_duration_seconds_bucket")

    def series(of: object, **labels: str) -> Series:
        found = [(name, own, value) for name in names for own, value in of.samples(name)]  # type: ignore[attr-defined]
        return {(name, tuple(sorted({**own, **labels}.items()))): value for name, own, value in found}

    def same() -> Series | None:
        sent = series(gateway, instance="gateway")
        return sent if sent == series(backend) else None

    assert len(wait_for("the same series", same, 60)) > 10
