"""Whatever is ingested, the page can be read: by the parsers of prometheus_client and by promtool."""

import math
import os
import re
import shutil
import subprocess
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as parse_text

from otel_pipeline.pdata import Batch
from otel_pipeline.prometheus import SeriesStore
from otel_pipeline.testing import make_counter, make_gauge, make_histogram, make_metrics

T = 1_767_225_600_000_000_000
RESERVED = {"le", "quantile", "job", "instance"}

texts = st.text(max_size=20)
keys = st.one_of(texts, st.text("ab.-_1", max_size=4), st.sampled_from(["le", "quantile", "job", "__name__", "a.b"]))
labels = st.dictionaries(keys, texts, max_size=5)
floats = st.floats(allow_nan=True, allow_infinity=True)
counts = st.integers(0, 2**49)


def expected_labels(attributes: dict[str, str]) -> dict[str, str]:
    """The rules once more, written for reading: legal names, reserved ones moved, clashes joined, nothing empty."""
    named = []
    for key, value in attributes.items():
        name = re.sub(r"[^a-zA-Z0-9]+", "_", key) or "_"
        name = "key_" + name if name[0].isdigit() else name
        named.append(("exported_" + name if name in RESERVED else name, key, value))
    joined = {
        name: ";".join(value for _, _, value in same) for name, same in groupby(sorted(named), key=lambda row: row[0])
    }
    return {"job": "s"} | {
        name: re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\ufffd", value) for name, value in joined.items() if value
    }


def parse_openmetrics(page: str) -> list[Metric]:
    return [*openmetrics_parser.text_string_to_metric_families(page)]  # type: ignore[no-untyped-call]


def page_of(batch: Batch, format: str) -> str:
    store = SeriesStore(epoch_ns=T)
    ingested = store.ingest(batch, T)
    assert ingested.kept == batch.items
    return store.render(format, None, T).decode()


def both_pages(batch: Batch) -> list[dict[str, Metric]]:
    """The families of the text page and of the OpenMetrics page, by name."""
    families = [*parse_text(page_of(batch, "text"))], parse_openmetrics(page_of(batch, "openmetrics"))
    return [
        {family.name: family for family in page if family.name not in ("target", "target_info")} for page in families
    ]


def same(left: float, right: float) -> bool:
    return left == right or (math.isnan(left) and math.isnan(right))


@given(labels, floats, st.text(max_size=30))
def test_any_gauge_is_read_back_equal(attributes: dict[str, str], value: float, help: str) -> None:
    batch = make_metrics(make_gauge("g", value, attributes, time_ns=T, help=help), resource={"service.name": "s"})
    for families in both_pages(batch):
        [sample] = families["g"].samples
        assert sample.labels == expected_labels(attributes)
        assert same(sample.value, value)


@given(labels, st.floats(min_value=0, allow_infinity=False))
def test_any_counter_is_read_back_equal(attributes: dict[str, str], value: float) -> None:
    metric = make_counter("c", value, attributes, start_ns=T, time_ns=T)
    for families in both_pages(make_metrics(metric, resource={"service.name": "s"})):
        sample = families["c"].samples[0]
        assert (sample.name, sample.labels, sample.value) == ("c_total", expected_labels(attributes), value)


@given(
    labels,
    st.lists(st.floats(-1e9, 1e9), unique=True, max_size=8).map(sorted),
    st.data(),
    st.one_of(st.none(), st.floats(-1e300, 1e300)),
)
def test_any_histogram_is_read_back_equal(
    attributes: dict[str, str], bounds: list[float], data: st.DataObject, total: float | None
) -> None:
    buckets = data.draw(st.lists(counts, min_size=len(bounds) + 1, max_size=len(bounds) + 1))
    metric = make_histogram("h", buckets, bounds, attributes, sum=total, start_ns=T, time_ns=T)
    pages = both_pages(make_metrics(metric, resource={"service.name": "s"}))
    for format, families in zip(("text", "openmetrics"), pages, strict=True):
        shown = [sample for sample in families["h"].samples if sample.name == "h_bucket"]
        assert [float(sample.labels.pop("le")) for sample in shown] == [*bounds, math.inf]
        assert [sample.value for sample in shown] == [sum(buckets[: n + 1]) for n in range(len(buckets))]
        assert all(sample.labels == expected_labels(attributes) for sample in shown)
        sums = [sample.value for sample in families["h"].samples if sample.name == "h_sum"]
        given = [] if total is None else [total]
        assert sums == given or (format == "openmetrics" and sums == [])


@given(st.lists(st.tuples(st.text(max_size=8), st.sampled_from(["", "s", "By", "1", "a/b", "{x}", "é"]))))
def test_no_set_of_metric_names_makes_a_page_unreadable(names: list[tuple[str, str]]) -> None:
    """Names that become the same, that differ only in their type, that look like another's samples."""
    makers = (
        lambda name, unit: make_gauge(name, 1, time_ns=T, unit=unit),
        lambda name, unit: make_counter(name, 1, start_ns=T, time_ns=T, unit=unit),
        lambda name, unit: make_histogram(name, [1], [], sum=1, start_ns=T, time_ns=T, unit=unit),
    )
    metrics = [makers[number % 3](*name) for number, name in enumerate([*names, ("a", ""), ("a_count", ""), ("a", "")])]
    store = SeriesStore(epoch_ns=T)
    batch = make_metrics(*metrics)
    ingested = store.ingest(batch, T)
    assert ingested.kept + sum(ingested.dropped.values()) == batch.items
    list(parse_text(store.render("text", None, T).decode()))
    parse_openmetrics(store.render("openmetrics", None, T).decode())


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("promtool is missing (Debian package: prometheus)")
    if found is None:
        pytest.skip("promtool is missing (Debian package: prometheus)")
    return found


@pytest.mark.parametrize("attack", ["plain", '"} 1\nevil 42', "\0\r\x1b[31m", "\\", "\U0010ffff", "é" * 2000])
def test_promtool_finds_nothing_to_say(promtool: str, attack: str) -> None:
    batch = make_metrics(
        make_gauge("sdlc.queue", -1.5, {"a": attack}, time_ns=T, help=attack),
        make_counter("sdlc.runs", 3, {"a": attack, "le": attack}, start_ns=T, time_ns=T, help="Runs."),
        make_histogram("sdlc.wait", [1, 2], [0.5], {"a": attack}, sum=4, start_ns=T, time_ns=T, unit="s", help="Wait."),
        resource={"service.name": attack},
    )
    page = page_of(batch, "text")
    checked = subprocess.run([promtool, "check", "metrics"], input=page.encode(), capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


@pytest.mark.parametrize("case", ["stages", "labels"])
def test_promtool_reads_the_golden_pages(promtool: str, case: str) -> None:
    """It may find fault with names that a sender chose, but it can read them all."""
    page = (Path(__file__).parent / "golden" / case / "page.txt").read_bytes()
    checked = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, check=False)
    assert b"error while linting" not in checked.stderr, checked.stderr
