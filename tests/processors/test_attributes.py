"""The attributes and resource processors: the Collector's actions."""

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from otel_pipeline.helpers.attribute_actions import Action
from otel_pipeline.pdata import Batch, to_proto
from otel_pipeline.processors.attributes import Attributes, AttributesConfig
from otel_pipeline.processors.resource import Resource, ResourceConfig
from otel_pipeline.testing import make_settings, make_span, make_traces


def run(batch: Batch, *actions: dict[str, Any]) -> Batch:
    """The batch after the actions."""
    config = AttributesConfig.model_validate({"actions": actions})
    edited = Attributes(config, make_settings()).process(batch)
    assert edited is not None
    return edited


def own(batch: Batch) -> dict[str, Any]:
    """The attributes of the only span."""
    keys = [pair.key for pair in to_proto(batch).resource_spans[0].scope_spans[0].spans[0].attributes]
    return {key: batch.column(key, level="item")[0] for key in keys}


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        ([{"action": "insert", "key": "a", "value": 9}, {"action": "insert", "key": "n", "value": 9}], {"a": "x@y", "n": 9}),
        ([{"action": "update", "key": "a", "value": 9}, {"action": "update", "key": "n", "value": 9}], {"a": 9}),
        ([{"action": "upsert", "key": "a", "value": 1.5}, {"action": "upsert", "key": "n", "value": True}], {"a": 1.5, "n": True}),
        ([{"action": "upsert", "key": "n", "from_attribute": "a"}], {"a": "x@y", "n": "x@y"}),
        ([{"action": "upsert", "key": "n", "from_attribute": "none"}], {"a": "x@y"}),
        ([{"action": "delete", "key": "a"}], {}),
        ([{"action": "delete", "pattern": "^[ab]$"}], {}),
        ([{"action": "hash", "key": "a"}], {"a": hashlib.sha256(b"x@y").hexdigest()}),
        ([{"action": "extract", "key": "a", "pattern": "^(?P<user>[^@]+)@(?P<host>.+)$"}], {"a": "x@y", "user": "x", "host": "y"}),
        ([{"action": "extract", "key": "a", "pattern": "^(?P<user>[0-9]+)$"}], {"a": "x@y"}),
        ([{"action": "convert", "key": "a", "converted_type": "int"}], {"a": "x@y"}),
        ([{"action": "upsert", "key": "a", "value": "42"}, {"action": "convert", "key": "a", "converted_type": "int"}], {"a": 42}),
    ],
)  # fmt: skip
def test_actions_do_what_the_collector_documents(actions: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    """Each action, on an attribute that is there and on one that is not."""
    assert own(run(make_traces(make_span(a="x@y")), *actions)) == expected


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 9) | st.text(), max_size=4), st.data())
def test_actions_equal_a_dict(start: dict[str, Any], data: st.DataObject) -> None:
    """Any sequence of insert, update, upsert and delete leaves the attributes a dict would have."""
    values = st.integers(-(2**63), 2**63 - 1) | st.text()
    action_names = st.sampled_from(["insert", "update", "upsert", "delete"])
    steps = data.draw(st.lists(st.tuples(action_names, st.sampled_from("abcd"), values), min_size=1))
    model = dict(start)
    for action, key, value in steps:
        if action == "delete":
            model.pop(key, None)
        elif action == "upsert" or (action == "insert") == (key not in model):
            model[key] = value
    actions: list[dict[str, Any]] = []
    for action, key, value in steps:
        actions.append({"action": action, "key": key} | ({} if action == "delete" else {"value": value}))
    assert own(run(make_traces(make_span(**start)), *actions)) == model


def test_a_batch_that_no_action_touches_keeps_its_bytes() -> None:
    """Not even a copy is made."""
    batch = make_traces(make_span(a=1))
    assert run(batch, {"action": "delete", "key": "none"}).data is batch.data


def test_resource_actions_touch_resources_only() -> None:
    """The same actions, one level up."""
    batch = make_traces(make_span(a=1), resource={"a": 2, "b": 3})
    config = ResourceConfig.model_validate({"attributes": [{"action": "delete", "key": "a"}]})
    edited = Resource(config, make_settings()).process(batch)
    assert edited is not None
    assert edited.column("a") == [1]
    assert edited.column("b", level="resource") == [3]
    assert edited.column("a", level="resource") == [None]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ({"action": "insert", "key": "a"}, "insert needs either value or from_attribute"),
        ({"action": "insert", "value": 1}, "insert needs key"),
        ({"action": "delete"}, "delete needs either key or pattern"),
        ({"action": "extract", "key": "a", "pattern": "x"}, "extract needs a pattern with named groups"),
        ({"action": "hash", "pattern": "("}, "unclosed group"),
        ({"action": "convert", "key": "a"}, "convert needs converted_type"),
    ],
)
def test_a_wrong_action_says_what_it_needs(action: dict[str, Any], message: str) -> None:
    """Problems are found when the configuration is read, in plain words."""
    with pytest.raises(ValidationError, match=message.replace("(", r"\(")):
        Action.model_validate(action)
