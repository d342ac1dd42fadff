"""Links from stage spans to the trace of their requirement's journey."""

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from otel_pipeline import pdata
from otel_pipeline.journeys.journey_trace import journey_trace, journey_trace_id
from otel_pipeline.pdata import Batch, Signal
from otel_pipeline.processors.journey_links import JourneyLinks, JourneyLinksConfig
from otel_pipeline.testing import make_settings
from tests.ui.fakes import HOSTILE, journey

Values = dict[str, str | bool]


def spans(resource: Values, *items: tuple[Values, bytes]) -> Batch:
    """Spans of one resource: their attributes and parents."""
    data = TracesData()
    below = data.resource_spans.add()
    for key, value in resource.items():
        below.resource.attributes.add(key=key).value.string_value = str(value)
    scope = below.scope_spans.add()
    for number, (attributes, parent) in enumerate(items, start=1):
        span = scope.spans.add(trace_id=bytes(15) + b"\1", span_id=bytes([number] * 8), parent_span_id=parent, name="x")
        for key, value in attributes.items():
            target = span.attributes.add(key=key).value
            if isinstance(value, bool):
                target.bool_value = value
            else:
                target.string_value = value
    return pdata.from_trusted(Signal.TRACES, data.SerializeToString())


def read(batch: Batch) -> list[Span]:
    found = TracesData.FromString(batch.data)
    return [span for below in found.resource_spans for scope in below.scope_spans for span in scope.spans]


def linked(batch: Batch) -> Batch:
    result = JourneyLinks(JourneyLinksConfig(), make_settings("journey_links")).process(batch)
    assert result is not None
    return result


DELIVERY: Values = {"sdlc.project.id": "pay", "sdlc.requirement.id": "REQ-1001"}
STAGE: Values = {"sdlc.stage.name": "coding"}


@pytest.mark.parametrize(
    ("attributes", "parent", "expected"),
    [
        (STAGE, b"", True),
        (STAGE, bytes(8), True),
        (STAGE, b"\2" * 8, False),
        (STAGE | {"sdlc.stage.run": True}, b"\2" * 8, True),
        (STAGE | {"sdlc.stage.run": False}, b"", False),
        ({}, b"", False),
    ],
)
def test_runs_of_a_stage_are_linked(attributes: Values, parent: bytes, expected: bool) -> None:
    """What a rule marks, or the top of a trace that has a stage; nothing else."""
    (span,) = read(linked(spans(DELIVERY, (attributes, parent))))
    assert [link.trace_id.hex() for link in span.links] == ([journey_trace_id("pay", "REQ-1001")] if expected else [])


def test_the_link_leads_to_the_root_of_the_journey() -> None:
    """Its trace and span ids are those of the root that the journey's trace has."""
    root = read(pdata.from_trusted(Signal.TRACES, journey_trace(journey("REQ-1001"))))[0]
    (span,) = read(linked(spans(DELIVERY, (STAGE, b""))))
    assert (span.links[0].trace_id, span.links[0].span_id) == (root.trace_id, root.span_id)


def test_what_the_span_says_goes_before_its_resource() -> None:
    """Two requirements in one request get a link each, whatever their ids hold."""
    other: Values = STAGE | {"sdlc.requirement.id": HOSTILE}
    first, second, third = read(linked(spans(DELIVERY, (STAGE, b""), (other, b""), (STAGE, b""))))
    assert [one.links[0].trace_id.hex() for one in (first, second, third)] == [
        journey_trace_id("pay", "REQ-1001"), journey_trace_id("pay", HOSTILE), journey_trace_id("pay", "REQ-1001")
    ]  # fmt: skip


def test_a_batch_without_a_requirement_stays_as_it_is() -> None:
    """Byte for byte; and a second pass adds no second link."""
    batch = spans({"sdlc.project.id": "pay"}, (STAGE, b""))
    assert linked(batch).data == batch.data
    once = linked(spans(DELIVERY, (STAGE, b"")))
    assert linked(once).data == once.data
    journeys = pdata.from_trusted(Signal.TRACES, journey_trace(journey("REQ-1001")))
    assert linked(journeys).data == journeys.data
