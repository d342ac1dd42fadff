"""The scale of a journey's page."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from otel_pipeline.ui.scale import honest_scale, journey_scale

HOUR = 3_600_000.0
intervals = st.lists(
    st.tuples(st.floats(0, 1e10), st.floats(0, 1e9)).map(lambda one: (one[0], one[0] + one[1])), max_size=20
)


@given(intervals, st.floats(1, 1e10))
def test_a_scale_covers_everything_and_never_goes_back(work: list[tuple[float, float]], end: float) -> None:
    """Pieces follow each other from 0 to 100 %, and a later time is never drawn before an earlier one."""
    scale = journey_scale(0.0, end, work)
    pieces = scale.pieces
    assert (pieces[0].left, pieces[0].start_ms, pieces[-1].end_ms) == (0.0, 0.0, end)
    assert abs(pieces[-1].right - 100.0) < 1e-6
    for one, following in pairwise(pieces):
        assert (one.end_ms, one.right) == (following.start_ms, following.left)
    places = [scale.at(end * step / 50) for step in range(51)]
    assert places == sorted(places)
    assert 0.0 <= places[0] <= places[-1] <= 100.0


def test_long_waits_are_bands_and_work_keeps_its_proportions() -> None:
    """Two runs of one and two hours, days apart: the second is drawn twice as long as the first, the wait is a band."""
    scale = journey_scale(0.0, 75 * HOUR, [(0.0, HOUR), (73 * HOUR, 75 * HOUR)])
    assert [one.is_gap for one in scale.pieces] == [False, True, False]
    first, gap, second = (one.right - one.left for one in scale.pieces)
    assert abs(gap - 9.0) < 1e-9
    assert abs(second - 2 * first) < 1e-9


def test_short_waits_stay_as_they_are() -> None:
    """Under a tenth of the whole, and under eight hours, nothing is compressed."""
    assert not journey_scale(0.0, 100.0, [(0.0, 60.0), (65.0, 100.0)]).is_compressed
    assert honest_scale(0.0, 10.0).at(5.0) == 50.0


def test_many_waits_leave_room_for_work() -> None:
    """However many bands there are, they take less than half of the width."""
    work = [(day * 24 * HOUR, day * 24 * HOUR + HOUR) for day in range(40)]
    scale = journey_scale(0.0, 40 * 24 * HOUR, work)
    assert sum(one.right - one.left for one in scale.pieces if one.is_gap) <= 45.0 + 1e-6


def test_nothing_but_waiting_is_drawn_in_true_proportion() -> None:
    """Without any work there is nothing that a band could make room for."""
    assert not journey_scale(0.0, 100 * HOUR, []).is_compressed
