"""Guarantee: what real senders were recorded to send is read in full, from protobuf and from JSON alike."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from otel_pipeline import pdata

RECORDED = Path(__file__).parent.parent / "fixtures" / "recorded"
LIMITS = pdata.Limits()


def signal(path: Path) -> str:
    return next(part for part in path.name.split(".") if part in set(pdata.Signal))


PROTOBUF = sorted(RECORDED.glob("*.pb"))
JSON = sorted(RECORDED.glob("*.json"))
BOTH = [path for path in JSON if path.with_suffix(".pb").exists()]


def test_recordings_are_there() -> None:
    assert len(PROTOBUF) == 9
    assert len(JSON) == 5
    assert {signal(path) for path in BOTH} == {"traces", "metrics", "logs"}


@pytest.mark.parametrize("path", PROTOBUF, ids=lambda path: path.name)
def test_protobuf_is_clean_and_survives_json(path: Path) -> None:
    body = path.read_bytes()
    batch, findings = pdata.decode(signal(path), body, False, LIMITS)
    assert findings is None
    assert batch.data is body
    assert batch.items > 0
    again, findings = pdata.decode(signal(path), pdata.to_json(batch), True, LIMITS)
    assert findings is None
    assert pdata.to_proto(again) == pdata.to_proto(batch)


@pytest.mark.parametrize("path", JSON, ids=lambda path: path.name)
def test_json_is_clean_and_stable(path: Path) -> None:
    batch, findings = pdata.decode(signal(path), path.read_bytes(), True, LIMITS)
    assert findings is None
    assert batch.items > 0
    text = pdata.to_json(batch)
    again, findings = pdata.decode(signal(path), text, True, LIMITS)
    assert findings is None
    assert pdata.to_proto(again) == pdata.to_proto(batch)
    assert pdata.to_json(again) == text


@pytest.mark.parametrize("path", BOTH, ids=lambda path: path.name)
def test_both_encodings_of_a_sender_say_the_same(path: Path) -> None:
    """The two files are two sessions of one task: their times, ids and lengths differ, what is said does not."""
    from_json, _ = pdata.decode(signal(path), path.read_bytes(), True, LIMITS)
    from_protobuf, _ = pdata.decode(signal(path), path.with_suffix(".pb").read_bytes(), False, LIMITS)
    assert from_json.items == from_protobuf.items
    assert shapes(pdata.to_proto(from_json)) == shapes(pdata.to_proto(from_protobuf))


def shapes(message: Any, path: str = "") -> Counter[str]:
    """The fields that are set anywhere, attributes with their keys, and how often."""
    found: Counter[str] = Counter()
    for field, value in message.ListFields():
        for part in value if field.is_repeated else [value]:
            place = f"{path}.{field.name}[{getattr(part, 'key', '')}]"
            found[place] += 1
            if field.message_type is not None:
                found += shapes(part, place)
    return found
