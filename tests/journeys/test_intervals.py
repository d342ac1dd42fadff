"""Time that runs take, compared with counting every single moment."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from otel_pipeline.journeys.intervals import critical_path, holes, length, union
from otel_pipeline.journeys.model import Segment

END = 30
SPANS = st.lists(
    st.tuples(st.integers(0, END), st.integers(0, END)).map(lambda pair: (min(pair), max(pair))), max_size=9
)


def moments(spans: list[tuple[int, int]]) -> set[int]:
    """The moments that are covered, each for the unit of time after it."""
    return {time for start, end in spans for time in range(start, end)}


@settings(deadline=None)
@given(SPANS)
def test_union_covers_the_same_time_once(spans: list[tuple[int, int]]) -> None:
    """Every moment is covered by the union if and only if a run covers it, and by one part of it."""
    joined = union(spans)
    assert moments(joined) == moments(spans)
    assert length(joined) == len(moments(spans))
    assert all(one[1] < other[0] for one, other in pairwise(joined))


@settings(deadline=None)
@given(SPANS)
def test_holes_are_the_rest(spans: list[tuple[int, int]]) -> None:
    """Union and holes are the whole time, and share none of it."""
    joined = union(spans)
    free = holes(joined, 0, END)
    assert moments(free) | moments(joined) == set(range(END))
    assert length(free) + length(joined) == END


@settings(deadline=None)
@given(SPANS, st.data())
def test_critical_path_adds_up(spans: list[tuple[int, int]], data: st.DataObject) -> None:
    """Whatever calls what, even in circles: segments follow each other, cover all the time, name only runs that were
    under way, and wait only where none was."""
    places = st.one_of(st.none(), st.integers(0, max(0, len(spans) - 1)))
    parents = data.draw(st.lists(places, min_size=len(spans), max_size=len(spans)))
    path = critical_path(spans, parents, 0, END)
    assert sum(one.end_ns - one.start_ns for one in path) == END
    assert [one.start_ns for one in path] == [0, *(one.end_ns for one in path[:-1])]
    busy = moments(spans)
    for one in path:
        assert one.start_ns < one.end_ns
        covered = set(range(one.start_ns, one.end_ns))
        if one.run is None:
            assert not covered & busy
        else:
            assert covered <= moments([spans[one.run]])


def test_parts_stand_for_what_waits_for_them() -> None:
    """A build that runs tests is on the path only where it is doing something itself."""
    path = critical_path([(0, 10), (2, 4), (3, 8)], [None, 0, 0], 0, 12)
    assert path == (Segment(0, 2, 0), Segment(2, 3, 1), Segment(3, 8, 2), Segment(8, 10, 0), Segment(10, 12, None))


def test_of_parallel_work_what_ended_last_counts() -> None:
    """What came next waited for the slower of two."""
    path = critical_path([(0, 5), (0, 8), (8, 9)], [None, None, None], 0, 9)
    assert path == (Segment(0, 8, 1), Segment(8, 9, 2))


def test_many_runs_deep_and_wide() -> None:
    """Ten thousand runs inside each other or beside each other neither overflow nor take forever."""
    count = 10_000
    deep = [(at, 2 * count - at) for at in range(count)]
    assert len(critical_path(deep, [None, *range(count - 1)], 0, 2 * count)) == 2 * count - 1
    wide = [(at, at + 50) for at in range(count)]
    assert len(critical_path(wide, [None] * count, 0, count + 49)) > 100
