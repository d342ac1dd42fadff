"""Whole journeys by golden folders: items as senders send them, and the document of the API that they come to."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_pipeline.journeys.document import journey_document
from otel_pipeline.journeys.queries import Journeys
from otel_pipeline.pdata import Batch
from otel_pipeline.semconv import compile_plan
from otel_pipeline.testing import make_log, make_logs, make_span, make_traces
from tests.journeys.simulated import REGISTRY, fill, open_store
from tests.journeys.stores import at

GOLDEN = Path(__file__).parents[1] / "golden" / "journeys"
HOUR = 3600


def batch(item: dict[str, Any]) -> Batch:
    """One span or log record; `hours` after the start of the story."""
    told = {key: value for key, value in item.items() if key not in ("hours", "resource", "scope", "attributes", "log")}
    told |= {key.replace(".", "__"): value for key, value in item["attributes"].items()}
    start = item["hours"] * HOUR
    if "log" in item:
        return make_logs(make_log(item["log"], start=start, **told), resource=item["resource"])
    return make_traces(make_span(start=start, **told), resource=item["resource"], scope=item.get("scope", "test"))


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("case", sorted(path.name for path in GOLDEN.iterdir()))
def test_golden(case: str, backwards: bool, tmp_path: Path) -> None:
    """The head of each input says what it guarantees; the order in which items come changes nothing. `observed.json` is
    what came out instead."""
    folder = GOLDEN / case
    story = yaml.safe_load((folder / "input.yaml").read_text(encoding="utf-8"))
    plan = compile_plan(REGISTRY)
    batches = [plan.enrich(batch(item)) for item in story["items"]]
    now_ns = at(story["now_hours"] * HOUR)
    with closing(open_store(tmp_path / "j.sqlite")) as store:
        for one in reversed(batches) if backwards else batches:
            fill(store, [one])
        journeys = Journeys(store, REGISTRY)
        observed = []
        for project, requirement in story["requirements"]:
            found = journeys.journey(project, requirement, now_ns)
            observed.append(json.loads(json.dumps(found and journey_document(found, now_ns))))
    expected = folder / "expected.json"
    if not expected.exists() or json.loads(expected.read_text(encoding="utf-8")) != observed:
        text = json.dumps(observed, indent=1, ensure_ascii=False) + "\n"
        (folder / "observed.json").write_text(text, encoding="utf-8")
        pytest.fail(f"{case}: expected.json and observed.json differ")
