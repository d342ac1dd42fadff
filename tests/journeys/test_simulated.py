"""Journeys of the simulated organisation, from the bytes that its senders send to the assembled whole."""

from contextlib import closing
from pathlib import Path

from otel_pipeline.journeys.queries import Journeys
from otel_pipeline.testing.grade import grade
from tests.journeys.simulated import REGISTRY, all_journeys, end_ns, fill, open_store, sent, simulated


def test_journeys_are_what_really_happened(tmp_path: Path) -> None:
    """Every span is in the right journey and none in a wrong one; states, lead and work times, rework, errors, tokens,
    cost and interventions are the true ones, whatever came late or twice."""
    with closing(open_store(tmp_path / "j.sqlite")) as store:
        fill(store, sent())
        journeys = all_journeys(Journeys(store, REGISTRY), end_ns())
        truth = simulated().truth
        runs = store.runs({span.trace_id for span in truth.spans.values()})
        result = grade(journeys, truth, [(run.trace_id, run.span_id) for run in runs])
    assert (result.share, result.wrong, result.differences) == (1.0, 0, []), str(result)
    assert {journey.state.value for journey in journeys} >= {"accepted", "cancelled"}
