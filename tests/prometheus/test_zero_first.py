"""Which scraper is shown 0 first: the store against a plain model of the rule."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar

from otel_pipeline.prometheus import SeriesStore
from otel_pipeline.testing import make_counter, make_gauge, make_histogram, make_metrics

T = 1_767_225_600_000_000_000
SECOND = 1_000_000_000
HOUR = 3600 * SECOND


def counted(store: SeriesStore, value: float, start: int, time: int, now: int, series: int = 0) -> None:
    metric = make_counter("c", value, {"s": series}, start_ns=start, time_ns=time)
    store.ingest(make_metrics(metric), now)


def shown(store: SeriesStore, scraper: int | None, now: int = T) -> list[float]:
    lines = store.render("text", scraper, now).decode().splitlines()
    return [float(line.rpartition(" ")[2]) for line in lines if line[0] != "#"]


def test_a_new_counter_is_0_once_for_each_scraper() -> None:
    store = SeriesStore(epoch_ns=T)
    store.register_scraper(0)
    store.register_scraper(1)
    counted(store, 5, T, T, T)
    assert shown(store, None) == [5]
    assert [shown(store, 0), shown(store, 0), shown(store, 1), shown(store, 1)] == [[0], [5], [0], [5]]


def test_a_new_histogram_is_0_in_every_line_and_has_no_exemplar() -> None:
    store = SeriesStore(epoch_ns=T)
    seen = [Exemplar(as_double=0.5, trace_id=b"\1" * 16)]
    metric = make_histogram("h", [1, 2], [1.0], sum=4, start_ns=T, time_ns=T, exemplars=seen)
    store.ingest(make_metrics(metric), T)
    first, second = (store.render("openmetrics", 0, T).decode() for _ in range(2))
    values = [line.rpartition(" ")[2] for line in first.splitlines() if line[0] != "#"]
    assert values == ["0", "0", "0", "0", "1767225600.000"]
    assert "trace_id" not in first
    assert "trace_id" in second


def test_a_gauge_is_never_0_first() -> None:
    store = SeriesStore(epoch_ns=T)
    store.ingest(make_metrics(make_gauge("g", 5, time_ns=T)), T)
    assert shown(store, 0) == [5]


def test_it_can_be_switched_off() -> None:
    store = SeriesStore(epoch_ns=T, zero_first=False)
    counted(store, 5, T, T, T)
    assert shown(store, 0) == [5]


def test_a_scraper_under_a_new_address_sees_no_false_reset() -> None:
    store = SeriesStore(epoch_ns=T)
    store.register_scraper(0)
    counted(store, 5, T, T, T, series=0)
    shown(store, 0)
    counted(store, 7, T, T, T, series=1)
    store.register_scraper(1)
    assert shown(store, 1) == [5, 0]


def test_a_counter_from_before_the_gateway_is_not_0_first() -> None:
    """The gateway that ran before may have shown it: 0 would look like a reset and count it twice."""
    store = SeriesStore(epoch_ns=T)
    counted(store, 5, T - 1, T, T)
    assert shown(store, 0) == [5]


def test_a_counter_without_start_time_is_not_0_first() -> None:
    store = SeriesStore(epoch_ns=T)
    counted(store, 5, 0, T, T)
    assert shown(store, 0) == [5]


def test_a_counter_that_comes_back_after_it_expired_is_not_0_first() -> None:
    store = SeriesStore(epoch_ns=T, metric_expiration_ns=HOUR)
    counted(store, 5, T, T, T)
    shown(store, 0)
    assert shown(store, 0, T + HOUR + 1) == []
    counted(store, 6, T, T + HOUR + 2, T + HOUR + 2)
    assert shown(store, 0, T + HOUR + 2) == [6]


def test_a_counter_that_was_hidden_is_not_0_again() -> None:
    store = SeriesStore(epoch_ns=T)
    counted(store, 5, T, T, T)
    shown(store, 0)
    gone = make_counter("c", 0, {"s": 0}, start_ns=T, time_ns=T + 1)
    gone.sum.data_points[0].flags = 1
    store.ingest(make_metrics(gone), T)
    assert shown(store, 0) == []
    counted(store, 6, T, T + 2, T)
    assert shown(store, 0) == [6]


def test_a_reset_is_0_again_so_that_a_higher_value_loses_nothing() -> None:
    store = SeriesStore(epoch_ns=T)
    counted(store, 5, T, T, T)
    assert [shown(store, 0), shown(store, 0)] == [[0], [5]]
    counted(store, 8, T + 1, T + 2, T)
    assert [shown(store, 0), shown(store, 0)] == [[0], [8]]


@dataclass
class Born:
    """What the model knows of one series."""

    start: int
    value: int
    fresh: bool
    seen_by: set[str] = field(default_factory=set)
    known_at_birth: set[str] = field(default_factory=set)


class ZeroFirst(RuleBasedStateMachine):
    """Series are born, grow and restart; scrapers come, share slots by losing them to one another, and scrape."""

    def __init__(self) -> None:
        super().__init__()
        self.store = SeriesStore(epoch_ns=T, metric_expiration_ns=HOUR)
        self.now = T
        self.series: dict[int, Born] = {}
        self.known: set[str] = set()
        self.slots: dict[int, str] = {}

    @rule(series=st.integers(0, 3), gain=st.integers(0, 9), old=st.booleans())
    def grow(self, series: int, gain: int, old: bool) -> None:
        self.now += SECOND
        born = self.series.get(series)
        if born is None:
            start = T - 1 if old else self.now
            born = self.series[series] = Born(start, 0, not old, known_at_birth=set(self.known))
        born.value += gain
        counted(self.store, born.value, born.start, self.now, self.now, series)

    @rule(series=st.integers(0, 3), value=st.integers(0, 9))
    def restart(self, series: int, value: int) -> None:
        if series in self.series:
            self.now += SECOND
            self.series[series] = Born(self.now, value, True, known_at_birth=set(self.known))
            counted(self.store, value, self.now, self.now, self.now, series)

    @rule(slot=st.sampled_from([0, 1, 63]), name=st.sampled_from("ABC"))
    def come(self, slot: int, name: str) -> None:
        """A scraper appears in a slot; who had it is forgotten, and is another one when it comes again."""
        self.known.discard(self.slots.get(slot, ""))
        self.slots[slot] = f"{name}{self.now}{slot}{len(self.known)}"
        self.now += SECOND
        self.known.add(self.slots[slot])
        self.store.register_scraper(slot)

    @rule(slot=st.sampled_from([0, 1, 63]))
    def scrape(self, slot: int) -> None:
        if slot not in self.slots:
            return
        name = self.slots[slot]
        expected = []
        for born in self.series.values():
            unseen = not born.seen_by or (name in born.known_at_birth and name not in born.seen_by)
            expected.append(0 if born.fresh and unseen else born.value)
            born.seen_by.add(name)
        assert shown(self.store, slot, self.now) == expected

    @invariant()
    def a_plain_reader_sees_the_values(self) -> None:
        assert shown(self.store, None, self.now) == [born.value for born in self.series.values()]


TestZeroFirst = ZeroFirst.TestCase
TestZeroFirst.settings = settings(deadline=None)
