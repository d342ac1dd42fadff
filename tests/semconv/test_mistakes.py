"""Files with anything in any place: they are used or refused with a line, and never end in a traceback."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_pipeline.connectors.stage_metrics import StageMetrics, StageMetricsConfig
from otel_pipeline.semconv import compile_plan
from otel_pipeline.semconv.check import check
from otel_pipeline.testing import make_settings

TESTS = Path(__file__).parents[1]
FILES = (
    TESTS / "golden" / "derive" / "metrics.yaml",
    TESTS / "fixtures" / "semconv_v1" / "registry.yaml",
    TESTS.parent / "collector-config" / "examples" / "semconv" / "review_agent.yaml",
)
DOCUMENTS = [yaml.safe_load(path.read_text()) for path in FILES]
ANYTHING: tuple[Any, ...] = (
    *(None, True, 3, -1.5, 10**30, float("inf"), "", "x", "*", "(", "sdlc.stage.name", [], {}),
    *(["a"], {"a": 1}, {"attribute": "x"}, {"regex": "("}, {"metric": "x"}),
)
Path_ = tuple[str | int, ...]


def places(value: Any, above: Path_ = ()) -> Iterator[Path_]:
    """Every place below the top."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*above, key)
        yield from places(child, (*above, key))


@st.composite
def mistaken(draw: st.DrawFn) -> Any:
    """A right document in which something is replaced, left out or wrapped into a list."""
    document = copy.deepcopy(draw(st.sampled_from(DOCUMENTS)))
    for _ in range(draw(st.integers(1, 2))):
        *above, last = draw(st.sampled_from(sorted(places(document), key=str)))
        parent = document
        for step in above:
            parent = parent[step]
        match draw(st.sampled_from(("replace", "leave out", "wrap"))):
            case "replace":
                parent[last] = draw(st.sampled_from(ANYTHING))
            case "leave out":
                del parent[last]
            case _:
                parent[last] = [parent[last]]
    return document


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=mistaken())
def test_every_file_is_used_or_refused(tmp_path: Path, document: Any) -> None:
    """What has no problem makes plans that native code takes; every problem has a file and a line."""
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(document))
    registry, problems = check([tmp_path])
    assert all(problem.file and problem.line for problem in problems)
    if not problems:
        compile_plan(registry)
        StageMetrics(StageMetricsConfig(directories=(tmp_path,)), make_settings())
