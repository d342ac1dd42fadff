"""Senders without recordings: what their rules make of payloads written from their documentation.

tests/fixtures/written/README.md says what each payload was written from; tests/golden/senders holds the canonical
attributes of each item.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_pipeline.pdata import Batch, Limits, decode, enrich, to_proto
from otel_pipeline.semconv import compile_plan, load

TESTS = Path(__file__).parents[1]
WRITTEN = TESTS / "fixtures" / "written"
GOLDEN = TESTS / "golden" / "senders"
REGISTRY = load()
PLAN = compile_plan(REGISTRY)
FILES = sorted(path.name.removesuffix(".otlp.json") for path in WRITTEN.glob("*.traces.otlp.json"))


def written(name: str) -> Batch:
    """A payload by its name without the ending: `jenkins.traces`. It is read as a receiver reads it, without findings."""
    batch, findings = decode(name.rpartition(".")[2], (WRITTEN / f"{name}.otlp.json").read_bytes(), True, Limits())
    assert findings is None
    return batch


def values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes if one.HasField("value")}


def items(batch: Batch) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and attributes of every item; where it has none, those of its scope, else of its resource."""
    request = to_proto(batch)
    groups, inner = FIELDS[batch.signal]
    for resource in getattr(request, f"resource_{groups}"):
        for scope in getattr(resource, f"scope_{groups}"):
            around = values(resource.resource.attributes) | values(scope.scope.attributes)
            for one in getattr(scope, inner):
                for name, attributes in named(batch.signal, one):
                    yield name, around | values(attributes)


FIELDS = {"traces": ("spans", "spans"), "logs": ("logs", "log_records"), "metrics": ("metrics", "metrics")}


def named(signal: str, one: Any) -> Iterator[tuple[str, Any]]:
    if signal == "traces":
        yield one.name, one.attributes
    elif signal == "logs":
        yield values(one.attributes).get("event.name", one.event_name), one.attributes
    else:
        for point in getattr(one, one.WhichOneof("data")).data_points:
            yield one.name, point.attributes


@pytest.mark.parametrize("name", FILES)
def test_canonical_attributes(name: str) -> None:
    """Every item of a written payload gets exactly the canonical attributes of its golden file; `observed` shows what
    came out instead."""
    enriched, _ = enrich(written(name), PLAN)
    observed = [
        json.dumps({"": item} | {key: value for key, value in sorted(known.items()) if key in REGISTRY.canonical})
        for item, known in items(enriched)
    ]
    expected = GOLDEN / f"{name}.jsonl"
    text = "\n".join(observed) + "\n"
    if not expected.exists() or expected.read_text() != text:
        (GOLDEN / f"observed.{name}.jsonl").write_text(text)
        pytest.fail(f"{name}: the golden file and what was observed differ")
