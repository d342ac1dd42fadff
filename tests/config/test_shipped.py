"""The configurations that come with the gateway."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from otel_pipeline.component import Kind, discover
from otel_pipeline.config import DEFAULT_FILE, read
from otel_pipeline.config.load import load_tree
from otel_pipeline.config.tree import leaves

EXAMPLES = sorted((DEFAULT_FILE.parent / "examples").glob("*.yaml"))
ENVIRONMENT = {
    "FORWARD_ENDPOINT": "collector.example:4317",
    "JOURNEYS_ENDPOINT": "tempo.example:4317",
    "OTLP_METRICS_ENDPOINT": "http://peer.example/otlp",
    "REMOTE_WRITE_ENDPOINT": "http://peer.example/api/v1/write",
}


def test_there_are_shipped_files() -> None:
    """The default and the examples are found where the package looks for them."""
    assert DEFAULT_FILE.is_file()
    assert EXAMPLES


def test_the_default_names_its_components() -> None:
    """Scripts and `--set` rely on these ids."""
    tree, problems = load_tree([DEFAULT_FILE], (), {})
    assert problems == []
    ids = {f"{kind}::{id}" for kind in Kind for id in tree.children()[kind].children()}
    assert ids == {
        "receivers::otlp",
        "processors::memory_limiter",
        "processors::semconv",
        "connectors::agent_events",
        "connectors::stage_metrics",
        "exporters::sender_health",
        "exporters::journeys",
        "exporters::prometheus",
        "exporters::debug",
        "extensions::health_check",
        "extensions::web",
    }


def test_the_default_listens_on_this_machine_only() -> None:
    """Nothing is open to the network until somebody asks for it."""
    tree, _ = load_tree([DEFAULT_FILE], (), {})
    endpoints = [str(leaf.value) for path, leaf in leaves(tree) if path[-1] == "endpoint"]
    assert len(endpoints) == 5
    assert {urlsplit(f"//{endpoint}").hostname for endpoint in endpoints} == {"127.0.0.1"}


@pytest.mark.parametrize("overlay", [None, *EXAMPLES], ids=lambda file: file.stem if file else "default")
def test_shipped_configurations_are_valid(overlay: Path | None) -> None:
    """The default, and each example laid over it, is a configuration of the components there are."""
    files = [DEFAULT_FILE, overlay] if overlay else [DEFAULT_FILE]
    sections = load_tree(files, (), ENVIRONMENT)[0].children()
    wanted = {f"{kind}/{id.partition('/')[0]}" for kind in Kind for id in sections[kind].children()}
    missing = wanted - {f"{kind}/{known}" for kind in Kind for known in discover(kind)}
    if missing:
        pytest.skip(f"not built yet: {', '.join(sorted(missing))}")
    checked = read(files, environment=ENVIRONMENT)
    assert {"traces", "metrics", "metrics/stages", "logs"} <= checked.pipelines.keys()
    assert "otlp" in checked.config().components[Kind.RECEIVER]
