"""Journeys of the simulated organisation, from the bytes that its senders send to the assembled whole."""

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from otel_pipeline.journeys.model import Journey
from otel_pipeline.journeys.queries import Journeys
from otel_pipeline.pdata import Batch
from otel_pipeline.testing.grade import Grade, grade
from otel_pipeline.testing.organisation import Organisation, organisation
from tests.journeys.simulated import REGISTRY, all_journeys, end_ns, enriched, fill, open_store, sent, simulated


def put_together(org: Organisation, batches: Iterable[Batch], path: Path) -> tuple[list[Journey], Grade]:
    """All journeys, and how good they are."""
    with closing(open_store(path)) as store:
        fill(store, batches)
        journeys = all_journeys(Journeys(store, REGISTRY), end_ns(org))
        runs = store.runs({span.trace_id for span in org.truth.spans.values()})
    return journeys, grade(journeys, org.truth, [(run.trace_id, run.span_id) for run in runs])


def test_journeys_are_what_really_happened(tmp_path: Path) -> None:
    """Every span is in the right journey and none in a wrong one; states, lead and work times, rework, errors, tokens,
    cost and interventions are the true ones, whatever came late or twice."""
    journeys, result = put_together(simulated(), sent(), tmp_path / "j.sqlite")
    assert result.is_good, str(result)
    assert {journey.state.value for journey in journeys} >= {"accepted", "cancelled"}


@pytest.mark.parametrize("seed", [3, 5, 13])
def test_so_they_are_in_other_organisations(seed: int, tmp_path: Path) -> None:
    """As above, in a fourth project, with more people and more requirements at a time."""
    org = organisation(seed=seed, days=20, projects=4, requirements_per_week=18, work=0.1)
    _, result = put_together(org, enriched(org), tmp_path / "j.sqlite")
    assert result.told > 5000
    assert result.is_good, str(result)
