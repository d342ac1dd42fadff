"""Bytes in flight: what is let in is given back, and the limit holds."""

from hypothesis import given
from hypothesis import strategies as st

from otel_pipeline.helpers.admission import Admission


def test_limit_and_reason() -> None:
    """Up to the limit all are let in; above it nobody is, and told why."""
    admission = Admission(100)
    assert admission.take(60) == ""
    assert admission.take(40) == ""
    assert admission.take(1) == "too many bytes are in flight"
    assert admission.used == 100
    admission.give(40)
    assert admission.take(40) == ""


def test_a_large_request_fits_when_nothing_else_is_there() -> None:
    """No request is refused for ever."""
    admission = Admission(100)
    assert admission.take(500) == ""
    assert admission.take(1) != ""


def test_overload_comes_first() -> None:
    """Whoever watches the memory can close the door."""
    reasons = ["memory is high", ""]
    admission = Admission(100, lambda: reasons.pop(0))
    assert admission.take(1) == "memory is high"
    assert admission.take(1) == ""
    assert admission.used == 1


@given(st.lists(st.integers(0, 50)))
def test_everything_is_given_back(sizes: list[int]) -> None:
    """After all requests are answered nothing is in flight."""
    admission = Admission(100)
    taken = [size for size in sizes if not admission.take(size)]
    assert admission.used == sum(taken) <= 100
    for size in taken:
        admission.give(size)
    assert admission.used == 0
