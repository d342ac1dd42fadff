"""What a flow remembers, in a file."""

import logging
from pathlib import Path

from otel_pipeline.journeys.flow import Flow, FlowRules, StageRun
from otel_pipeline.journeys.flow_store import FlowStore

LOG = logging.getLogger("test")


def make_flow() -> Flow:
    rules = FlowRules({"coding": 0, "deploy": 1}, {"deploy": "deployment"}, frozenset())
    return Flow(rules, idle_ns=10**15, limit=10)


def run(requirement: str, stage: str = "coding") -> StageRun:
    return StageRun("shop", requirement, stage, "failure", "feature", "production", "", 10, 20)


def test_a_flow_is_read_back_as_it_was(tmp_path: Path) -> None:
    """After a save, a new flow knows what the old one did, without what was let go."""
    store, flow = FlowStore(tmp_path / "journeys" / "flow.sqlite", LOG), make_flow()
    flow.runs([run("REQ-1"), run("REQ-2", "deploy")])
    store.save(flow)
    del flow.requirements["shop", "REQ-1"]
    flow.changed.add(("shop", "REQ-1"))
    flow.cost("shop", "REQ-2", 3.5)
    store.save(flow)
    again = make_flow()
    store.load(again)
    assert again.requirements == flow.requirements
    assert again.environments == flow.environments
    assert again.requirements["shop", "REQ-2"].cost_usd == 3.5


def test_an_unreadable_file_is_kept_and_replaced(tmp_path: Path) -> None:
    """A damaged file costs what it held, never the start of the gateway."""
    path = tmp_path / "flow.sqlite"
    path.write_bytes(b"this is no database, though it is long enough to look like one" * 100)
    store, flow = FlowStore(path, LOG), make_flow()
    store.load(flow)
    assert flow.requirements == {}
    assert (tmp_path / "flow.unreadable").exists()
    flow.runs([run("REQ-1")])
    store.save(flow)
    again = make_flow()
    store.load(again)
    assert again.requirements == flow.requirements


def test_a_folder_that_cannot_be_written_costs_nothing_but_the_file(tmp_path: Path) -> None:
    """The flow goes on in memory, and keeps what is to be saved."""
    (tmp_path / "file").write_text("")
    store, flow = FlowStore(tmp_path / "file" / "flow.sqlite", LOG), make_flow()
    flow.runs([run("REQ-1")])
    store.save(flow)
    assert flow.changed == {("shop", "REQ-1")}
