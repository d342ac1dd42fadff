"""A store goes on from what another wrote down: nothing that was shown falls, and nothing counts twice."""

import struct
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from otel_pipeline.prometheus import Restored, SeriesStore
from otel_pipeline.testing import make_counter, make_gauge, make_histogram, make_metrics

T = 1_767_225_600_000_000_000
SECOND = 1_000_000_000
HOUR = 3600 * SECOND
HEAD = len(b"otel-pipeline checkpoint 2\n")
MARK = b"\xf5CK\xf6"
C = 'c_total{job="s",type="input"}'
Samples = dict[str, float]


def make_store(epoch: int = T, **options: object) -> SeriesStore:
    given = {"metric_expiration_ns": HOUR, "drop_labels": ["session", "user"], "kept": True, **options}
    return SeriesStore(epoch_ns=epoch, **given)  # type: ignore[arg-type]


def samples(store: SeriesStore, now: int = T, scraper: int | None = None) -> Samples:
    lines = store.render("text", scraper, now).decode().split("\n")
    told = [line for line in lines if line and line[0] != "#"]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in told)}


def restart(checkpoint: bytes, now: int = T, **options: object) -> tuple[SeriesStore, Restored]:
    store = make_store(now, **options)
    return store, store.restore(checkpoint, now)


def delta(value: float, end: float, session: str = "a", *, name: str = "c", start: float = 0) -> Metric:
    metric = total(value, end, session, name=name, start=start)
    metric.sum.aggregation_temporality = 1  # type: ignore[assignment]
    return metric


def total(value: float, end: float, session: str = "a", *, name: str = "c", start: float = 0) -> Metric:
    labels = {"session": session, "type": "input"}
    return make_counter(name, value, labels, start_ns=round(T + start * SECOND), time_ns=round(T + end * SECOND))


def ingest(store: SeriesStore, *metrics: Metric, now: int = T) -> Mapping[str, int]:
    ingested = store.ingest(make_metrics(*metrics, resource={"service.name": "s"}), now)
    return ingested.dropped


def every_kind() -> list[Metric]:
    metrics = [
        make_counter("counter", 3, {"a": 'quo"te\n'}, start_ns=T, time_ns=T + 1, unit="s", help="what\nit counts"),
        make_gauge("gauge", float("nan"), {"a": 1}, time_ns=T + 2),
        make_histogram("histogram", [1, 0, 2], [1, 2], sum=11, start_ns=T, time_ns=T + 3),
    ]
    exponential = Metric(name="exponential").exponential_histogram
    exponential.aggregation_temporality = 2  # type: ignore[assignment]
    point = exponential.data_points.add(start_time_unix_nano=T, time_unix_nano=T + 4, count=6, sum=7.5, scale=2)
    point.positive.offset = -3
    point.positive.bucket_counts.extend([1, 0, 4])
    point.zero_count = 1
    metrics.append(Metric(name="exponential", exponential_histogram=exponential))
    summary = Metric(name="summary")
    quantiles = summary.summary.data_points.add(start_time_unix_nano=T, time_unix_nano=T + 5, count=2, sum=3)
    quantiles.quantile_values.add(quantile=0.5, value=1.5)
    sum_of_last = make_counter("open", 4, {"session": "a"}, start_ns=T, time_ns=T + 6)
    sum_of_last.sum.is_monotonic = False
    return [*metrics, summary, sum_of_last, delta(5, 10, "a"), delta(6, 10, "b")]


def page(store: SeriesStore, now: int = T) -> bytes:
    return store.render("openmetrics", None, now)


@pytest.mark.parametrize("everything", [True, False])
def test_a_page_is_the_same_after_a_restart(everything: bool) -> None:
    """Every kind of series with its start time, help and unit, and targets; written whole or as changes."""
    store = make_store(max_series_per_metric=1)
    before = store.take_changes(T, everything=True)
    ingest(store, *every_kind())
    ingest(store, make_counter("counter", 9, {"a": "over the limit"}, start_ns=T, time_ns=T + 1))
    taken = store.take_changes(T, everything=everything)
    after, restored = restart(taken if everything else before + taken, max_series_per_metric=1)
    assert (restored.problem, restored.left_out, restored.streams) == (None, 0, store.stats()["streams"])
    assert page(after) == page(store)
    assert after.stats() == store.stats()


def test_only_what_changed_is_written() -> None:
    store = make_store()
    store.take_changes(T, everything=True)
    ingest(store, *(total(1, 1, name=f"c{number}") for number in range(100)))
    first = store.take_changes(T)
    assert store.take_changes(T) == b""
    ingest(store, total(2, 2, name="c7"))
    second = store.take_changes(T)
    assert len(second) < len(first) / 20
    assert second.count(MARK) == 1


@pytest.mark.parametrize("make", [total, delta])
def test_a_sender_that_goes_on_adds_only_its_increment(make: object) -> None:
    """Behind a series of its own and behind one that adds up; with what it sent between checkpoint and crash, if it
    counts from its start."""
    store = make_store()
    make_point = total if make is total else delta
    ingest(store, make_point(5, 10, "a"), make_point(7, 10, "b"), make_point(2, 10, "a", name="alone"))
    taken = store.take_changes(T, everything=True)
    ingest(store, make_point(6, 20, "a", start=0 if make is total else 10))
    after, _ = restart(taken, T + 30 * SECOND)
    before = 0 if make is total else 20
    ingest(after, make_point(8, 40, "a", start=before), make_point(3, 40, "a", name="alone", start=before))
    shown = samples(after)
    assert shown['c_total{job="s",type="input"}'] == (15 if make is total else 20)
    assert shown['alone_total{job="s",type="input"}'] == (3 if make is total else 5)


def test_a_sender_that_was_not_written_down_yet_brings_all_it_counted() -> None:
    """It began after the first store did, and nothing of it was shown: so it is 0 first, and joins with everything."""
    store = make_store()
    ingest(store, total(5, 10, "a"))
    taken = store.take_changes(T, everything=True)
    ingest(store, total(3, 20, "b", start=15), total(4, 20, "b", name="new", start=15))
    after, _ = restart(taken, T + 30 * SECOND)
    after.register_scraper(0, "p")
    ingest(after, total(6, 40, "b", start=15), total(7, 40, "b", name="new", start=15))
    new, c = 'new_total{job="s",type="input"}', 'c_total{job="s",type="input"}'
    assert [samples(after, scraper=0)[new], samples(after, scraper=0)[new]] == [0, 7]
    assert samples(after)[c] == 11


def test_a_sender_that_began_anew_meanwhile_adds_up() -> None:
    """Connectors do at every restart of the gateway: the series has its start time and goes on from its value."""
    store = make_store()
    histogram = make_histogram("h", [1, 1], [1], sum=3.5, start_ns=T, time_ns=T + SECOND)
    ingest(store, total(5, 10), histogram)
    after, _ = restart(store.take_changes(T, everything=True), T + 30 * SECOND)
    again = make_histogram("h", [1, 0], [1], sum=0.25, start_ns=T + 30 * SECOND, time_ns=T + 31 * SECOND)
    ingest(after, total(2, 40, start=30), again)
    ingest(after, total(3, 50, start=30))
    lines = page(after).decode().splitlines()
    assert 'c_total{job="s",type="input"} 8' in lines
    assert 'c_created{job="s",type="input"} 1767225600.000' in lines
    assert 'h_bucket{job="s",le="1.0"} 2' in lines
    assert 'h_count{job="s"} 3' in lines
    assert 'h_sum{job="s"} 3.75' in lines
    assert 'h_created{job="s"} 1767225600.000' in lines


def test_the_one_sender_of_a_series_may_begin_anew_without_a_restart() -> None:
    """Also where a fall is the only sign of it. Without a checkpoint the series begins anew with its sender."""
    for kept, shown in ((True, 7), (False, 2)):
        store = make_store(kept=kept)
        ingest(store, total(5, 10))
        ingest(store, total(2, 20, start=15))
        assert next(iter(samples(store).values())) == shown
    store = make_store()
    for value, time in ((5, 1), (2, 2)):
        ingest(store, make_counter("c", value, {}, start_ns=0, time_ns=T + time))
    assert samples(store)['c_total{job="s"}'] == 7


def test_gauges_are_restored_with_their_time_and_expire_as_they_would_have() -> None:
    store = make_store()
    ingest(store, make_gauge("g", 1, time_ns=T))
    taken = store.take_changes(T, everything=True)
    after, _ = restart(taken, T + HOUR)
    ingest(after, make_gauge("g", 2, time_ns=T - 1), now=T + HOUR)
    assert samples(after, T + HOUR)['g{job="s"}'] == 1
    assert 'g{job="s"}' not in samples(after, T + HOUR + 1)
    later, restored = restart(taken, T + HOUR + 1)
    assert (restored.series, later.stats()["families"], later.stats()["streams"]) == (0, 0, 0)


def test_a_part_of_a_sum_goes_with_its_sender_also_across_a_restart() -> None:
    store = make_store()
    for session, value, now in (("a", 3, T), ("b", 4, T + HOUR)):
        part = make_counter("open", value, {"session": session}, start_ns=T, time_ns=now)
        part.sum.is_monotonic = False
        ingest(store, part, now=now)
    after, _ = restart(store.take_changes(T, everything=True), T + HOUR + 1)
    assert samples(after, T + HOUR + 1)['open{job="s"}'] == 4


def test_each_scraper_goes_on_with_what_it_has_seen() -> None:
    """Who saw the 0 gets the value; who has not scraped since the birth gets its 0 still; who is new gets the value."""
    store = make_store()
    store.register_scraper(0, "first")
    store.register_scraper(1, "second")
    ingest(store, total(5, 10))
    assert next(iter(samples(store, scraper=0).values())) == 0
    after, restored = restart(store.take_changes(T, everything=True))
    assert restored.scrapers == [(0, "first"), (1, "second")]
    after.register_scraper(2, "third")
    assert [next(iter(samples(after, scraper=slot).values())) for slot in (0, 1, 1, 2)] == [5, 0, 5, 5]


@pytest.mark.parametrize(
    "option",
    [
        {"namespace": "gw"},
        {"translation_strategy": "NoTranslation"},
        {"drop_labels": ["session"]},
        {"const_labels": [("site", "eu")]},
        {"without_scope_info": True},
        {"given_labels": [("a", "b")]},
        {"resource_labels": True},
    ],
)
def test_other_names_or_labels_begin_anew(option: dict[str, object]) -> None:
    store = make_store()
    ingest(store, total(5, 10))
    after, restored = restart(store.take_changes(T, everything=True), T, **option)
    assert (restored.problem, restored.series, samples(after)) == ("configuration", 0, {})


def test_lower_limits_hold_and_nothing_jumps() -> None:
    """What finds no room is left out and told; its sender then adds only what it gains."""
    store = make_store()
    ingest(store, *(make_counter("c", 100, {"n": n}, start_ns=T, time_ns=T + 1) for n in range(10)))
    ingest(store, *(total(50, 1, session, name="sum") for session in "abcdef"))
    taken = store.take_changes(T, everything=True)
    after, restored = restart(taken, T + SECOND, max_series_per_metric=4, max_streams=6)
    assert (restored.problem, restored.left_out) == ("over_limit", 10)
    assert (after.stats()["series"], after.stats()["streams"]) == (5, 6)
    ingest(after, *(make_counter("c", 101, {"n": n}, start_ns=T, time_ns=T + 2) for n in range(10)))
    shown = samples(after)
    assert shown['sum_total{job="s",type="input"}'] == 300
    assert shown['c_total{job="s",n="0"}'] == 101
    assert shown['c_total{otel_metric_overflow="true"}'] == 0
    ingest(after, *(make_counter("c", 103, {"n": n}, start_ns=T, time_ns=T + 3) for n in range(10)))
    assert samples(after)['c_total{otel_metric_overflow="true"}'] == 12


def test_a_clock_that_was_set_back_makes_nothing_jump_or_stand_still() -> None:
    store = make_store()
    ingest(store, total(5, 10), make_gauge("g", 1, time_ns=T))
    taken = store.take_changes(T + HOUR, everything=True)
    after, restored = restart(taken, T)
    assert (restored.problem, samples(after)) == ("clock", {C: 5, 'target_info{job="s"}': 1})
    ingest(after, total(7, 1, start=0.5))
    assert samples(after)[C] == 12


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        (b"", "empty"),
        (b"\0" * 100, "foreign"),
        (b"# TYPE c counter\n", "foreign"),
        (b"otel-pipeline checkpoint 3\n\0\0", "version"),
        (b"otel-pipeline checkpoint 2\n", "damaged"),
        (b"otel-pipeline checkpoint 2\n" + b"\0" * 1000, "damaged"),
    ],
)
def test_a_file_that_says_nothing(file: bytes, problem: str) -> None:
    store, restored = restart(file)
    assert (restored.problem, restored.series) == (problem, 0)
    ingest(store, total(5, 10))
    assert samples(store)['c_total{job="s",type="input"}'] == 5


def test_a_torn_record_is_left_out_and_the_rest_is_whole() -> None:
    """At every length: the state is that before the record."""
    store = make_store()
    ingest(store, total(5, 10, "a"), total(7, 10, "b"))
    whole = store.take_changes(T, everything=True)
    ingest(store, total(6, 20, "a"))
    record = store.take_changes(T)
    for length in range(1, len(record)):
        after, restored = restart(whole + record[:length])
        assert (restored.problem, restored.streams) == ("torn", 2)
        assert samples(after)[C] == 12
    after, restored = restart(whole + record)
    assert (restored.problem, samples(after)[C]) == (None, 13)


def test_a_hole_lets_nothing_fall_below_what_stands_behind_it_and_nothing_count_twice() -> None:
    store = make_store()
    ingest(store, total(5, 10, "a"), total(7, 10, "b"))
    whole = store.take_changes(T, everything=True)
    ingest(store, total(6, 20, "a"))
    lost = store.take_changes(T)
    ingest(store, total(9, 30, "b"))
    rest = store.take_changes(T)
    broken = bytearray(lost)
    broken[len(lost) // 2] ^= 4
    after, restored = restart(whole + bytes(broken) + rest, T + 40 * SECOND)
    assert (restored.problem, restored.streams) == ("damaged", 0)
    ingest(after, total(6, 50, "a"), total(9, 50, "b"))
    assert samples(after)[C] == 15
    ingest(after, total(7, 60, "a"), total(9, 60, "b"))
    assert samples(after)[C] == 16


# --- against a model


class Restarts(RuleBasedStateMachine):
    """Senders count, begin anew and send; pages are shown; the gateway is killed and goes on from what it wrote.

    The model: a series is the sum of what each run of each sender said last, and of all deltas; a kill takes both back
    to the last page.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = T
        self.store = make_store()
        self.file = self.store.take_changes(T, everything=True)
        self.runs = dict.fromkeys("abc", (T, 0))
        self.said: dict[tuple[str, int], int] = {}
        self.deltas = 0
        self.saved = dict(self.said), 0
        self.shown = 0.0

    @rule(session=st.sampled_from("abc"), gain=st.integers(0, 9))
    def send(self, session: str, gain: int) -> None:
        self.now += SECOND
        start, value = self.runs[session]
        self.runs[session] = start, value + gain
        self.said[session, start] = value + gain
        point = make_counter("c", value + gain, {"session": session}, start_ns=start, time_ns=self.now)
        assert not ingest(self.store, point, now=self.now)

    @rule(value=st.integers(1, 9))
    def send_delta(self, value: int) -> None:
        self.now += SECOND
        self.deltas += value
        point = make_counter("c", value, {"session": "d"}, start_ns=self.now - 1, time_ns=self.now)
        point.sum.aggregation_temporality = 1  # type: ignore[assignment]
        assert not ingest(self.store, point, now=self.now)

    @rule(session=st.sampled_from("abc"))
    def begin_anew(self, session: str) -> None:
        self.now += SECOND
        self.runs[session] = self.now, 0

    @rule()
    def scrape(self) -> None:
        shown = samples(self.store, self.now).get('c_total{job="s"}', 0.0)
        assert shown == sum(self.said.values()) + self.deltas >= self.shown
        self.shown = shown
        self.file += self.store.take_changes(self.now)
        self.saved = dict(self.said), self.deltas

    @rule(torn=st.integers(0, 80))
    def kill(self, torn: int) -> None:
        self.now += SECOND
        lost = self.store.take_changes(self.now)
        part = lost[: min(torn, len(lost) - 1)]
        self.store, restored = restart(self.file + part, self.now)
        assert restored.problem == ("torn" if part else None)
        self.said, self.deltas = dict(self.saved[0]), self.saved[1]
        self.file = self.store.take_changes(self.now, everything=True)

    @invariant()
    def nothing_falls(self) -> None:
        assert samples(self.store, self.now).get('c_total{job="s"}', 0.0) >= self.shown


test_restarts_against_a_model = Restarts.TestCase
test_restarts_against_a_model.settings = settings(max_examples=60, stateful_step_count=30)


# --- fuzzing


def frames(file: bytes) -> list[bytes]:
    """The bodies of a file's frames."""
    found, at = [], HEAD
    while at < len(file):
        (length,) = struct.unpack_from("<I", file, at + 4)
        found.append(file[at + 16 : at + 16 + length])
        at += 16 + length
    return found


def joined(bodies: list[bytes]) -> bytes:
    return b"otel-pipeline checkpoint 2\n" + b"".join(
        MARK + struct.pack("<IQ", len(body), checksum(body)) + body for body in bodies
    )


def checksum(body: bytes) -> int:
    """The store's: 128-bit blocks are multiplied half by half and folded, the rest with its two ends."""
    key, ones = 0xD6E8FEB86659FD93, (1 << 64) - 1
    state = 0x9E3779B97F4A7C15

    def fold(state: int, low: int, high: int) -> int:
        product = (state ^ low) * (key ^ high)
        return (product & ones) ^ (product >> 64)

    whole = len(body) // 16 * 16
    for at in range(0, whole, 16):
        state = fold(state, *struct.unpack_from("<QQ", body, at))
    rest = body[whole:]
    if len(rest) >= 8:
        low, high = int.from_bytes(rest[:8], "little"), int.from_bytes(rest[-8:], "little")
    elif len(rest) >= 4:
        low, high = int.from_bytes(rest[:4], "little"), int.from_bytes(rest[-4:], "little")
    else:
        low, high = int.from_bytes(rest, "big"), 0
    return fold((state + len(body)) & ones, low, high)


def a_file() -> bytes:
    store = make_store(max_series_per_metric=3)
    store.register_scraper(0, "p")
    whole = store.take_changes(T, everything=True)
    for step in range(1, 4):
        ingest(store, *every_kind(), *(total(step, step, s, name="sum") for s in "abcde"))
        ingest(store, *(make_counter("many", step, {"n": n}, start_ns=T, time_ns=T + step) for n in range(6)))
        samples(store, scraper=0)
        whole += store.take_changes(T)
    return whole


FILE = a_file()


def works(store: SeriesStore) -> None:
    """Limits hold, everything can be ingested and shown, and counted ones go up."""
    stats = store.stats()
    assert stats["series"] <= 40
    assert stats["lines"] <= 200
    for step in range(5, 8):
        ingest(store, *every_kind(), total(step, step, name="new"), now=T + step)
        ingest(store, *(make_counter("many", step, {"n": n}, start_ns=T, time_ns=T + step) for n in range(6)))
        assert samples(store, T + step)['new_total{job="s",type="input"}'] == step
    store.render("openmetrics", 0, T + 10)
    checkpoint = store.take_changes(T + 10, everything=True)
    again, restored = restart(checkpoint, T + 10, max_series=200, max_streams=50, max_series_per_metric=3)
    assert restored.problem in (None, "over_limit", "configuration")
    store.expire(T + 2 * HOUR)
    again.expire(T + 2 * HOUR)
    assert store.stats()["lines"] == 0
    assert store.stats()["streams"] == 0


Edit = tuple[str, int, int]
edits = st.lists(
    st.tuples(st.sampled_from(["flip", "cut", "insert", "double"]), st.integers(0, 1 << 30), st.integers(0, 255)),
    min_size=1,
    max_size=6,
)


def edited(data: bytes, changes: list[Edit]) -> bytes:
    out = bytearray(data)
    for kind, where, what in changes:
        at = where % (len(out) + 1)
        if kind == "flip" and at < len(out):
            out[at] ^= what or 1
        elif kind == "cut":
            del out[at : at + what]
        elif kind == "insert":
            out[at:at] = bytes([what]) * (what % 9)
        elif kind == "double":
            out[at:at] = out[at : at + what]
    return bytes(out)


def test_the_checksum_of_the_tests_is_that_of_the_store() -> None:
    assert joined(frames(FILE)) == FILE


@given(edits)
def test_any_damage_leaves_a_store_that_works(changes: list[Edit]) -> None:
    store, _ = restart(edited(FILE, changes), max_series=200, max_streams=50, max_series_per_metric=3)
    works(store)


@given(st.data())
def test_damage_behind_the_checksum_leaves_a_store_that_works(data: st.DataObject) -> None:
    """Records that are whole and wrong: numbers, lengths, kinds, places."""
    bodies = frames(FILE)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(bodies) - 1))
        bodies[at] = edited(bodies[at], data.draw(edits))
    store, _ = restart(joined(bodies), max_series=200, max_streams=50, max_series_per_metric=3)
    works(store)
