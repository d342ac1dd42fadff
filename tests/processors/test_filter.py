"""The filter processor: which items stay."""

from typing import Any

import pytest
from pydantic import ValidationError

from otel_pipeline.processors.filter import Filter, FilterConfig
from otel_pipeline.testing import make_settings, make_span, make_traces

SPANS = make_traces(
    make_span("GET /healthz", span=1, seconds=0.001, kind=2, http__route="/healthz"),
    make_span("coding", span=2, seconds=60, retries=3),
    make_span("chat", span=3, seconds=2, error="overloaded", gen_ai__request__model="claude-sonnet-4-5"),
    resource={"service.name": "agent"},
)


def names(conditions: list[dict[str, Any]]) -> list[str]:
    """The spans that stay."""
    config = FilterConfig.model_validate({"traces": {"span": conditions}})
    kept = Filter(config, make_settings()).process(SPANS)
    return kept.field("name") if kept else []


@pytest.mark.parametrize(
    ("condition", "dropped"),
    [
        ({"name": "chat"}, {"chat"}),
        ({"name": ["chat", "coding"]}, {"chat", "coding"}),
        ({"name": {"glob": "GET *"}}, {"GET /healthz"}),
        ({"name": {"regex": "^c"}}, {"chat", "coding"}),
        ({"kind": "server"}, {"GET /healthz"}),
        ({"status": "error"}, {"chat"}),
        ({"duration": {"at_least": "1s", "below": "30s"}}, {"chat"}),
        ({"duration": {"below": "5ms"}}, {"GET /healthz"}),
        ({"attributes": {"http.route": {"present": True}}}, {"GET /healthz"}),
        ({"attributes": {"http.route": {"present": False}}}, {"coding", "chat"}),
        ({"attributes": {"retries": {"at_least": 3}}}, {"coding"}),
        ({"attributes": {"retries": 3}}, {"coding"}),
        ({"attributes": {"retries": "3"}}, set()),
        ({"resource": {"service.name": "agent"}, "name": "chat"}, {"chat"}),
        ({"resource": {"service.name": "other"}}, set()),
        ({"scope": "test"}, {"GET /healthz", "coding", "chat"}),
        ({"severity": 9}, set()),
    ],
)
def test_a_condition_drops_what_matches_in_all_its_parts(condition: dict[str, Any], dropped: set[str]) -> None:
    """Every kind of condition, and what it does not concern."""
    assert set(names([condition])) == {"GET /healthz", "coding", "chat"} - dropped


def test_any_of_several_conditions_drops() -> None:
    """Conditions are alternatives; their parts are not."""
    assert names([{"name": "chat"}, {"kind": "server", "name": "coding"}]) == ["GET /healthz", "coding"]


def test_a_batch_that_nothing_matches_keeps_its_bytes() -> None:
    """Not even a copy is made."""
    config = FilterConfig.model_validate({"traces": {"span": [{"name": "none"}]}})
    kept = Filter(config, make_settings()).process(SPANS)
    assert kept is not None
    assert kept.data is SPANS.data


def test_other_signals_pass() -> None:
    """Conditions on logs say nothing of traces."""
    config = FilterConfig.model_validate({"logs": {"log_record": [{"severity": {"below": 9}}]}})
    assert Filter(config, make_settings()).process(SPANS) is SPANS


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({}, "an empty condition would drop everything"),
        ({"name": {"regex": "("}}, "unclosed group"),
        ({"name": {"regex": "a", "glob": "b"}}, "give one of"),
        ({"nmae": "x"}, "Extra inputs"),
    ],
)
def test_a_wrong_condition_is_found_when_the_configuration_is_read(condition: dict[str, Any], message: str) -> None:
    """Nothing is dropped by mistake."""
    with pytest.raises(ValidationError, match=message):
        FilterConfig.model_validate({"traces": {"span": [condition]}})
