"""Pages of targets become OTLP: golden pages, whatever prometheus_client writes, and any bytes at all."""

import gzip
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, Info, Summary
from prometheus_client.exposition import generate_latest as text_page
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_page
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from otel_pipeline.pdata import Batch, Limits, decode, to_proto
from otel_pipeline.prometheus import RelabelPlan, Scraped, ScrapeTarget, SeriesStore

GOLDEN = Path(__file__).parents[1] / "golden" / "scrape"
NOW = 1_767_225_600_000_000_000
OWN = {"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling"}
Rule = tuple[str, list[str], str, str, str, str]
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def make_target(
    *rules: Rule,
    honor_labels: bool = False,
    sample_limit: int = 0,
    external: dict[str, str] | None = None,
    **labels: str,
) -> ScrapeTarget:
    return ScrapeTarget(
        job="job",
        instance="host:1",
        labels=list(labels.items()),
        external_labels=list((external or {}).items()),
        resource=[("url.scheme", "http")],
        relabel=RelabelPlan(list(rules)),
        honor_labels=honor_labels,
        honor_timestamps=True,
        sample_limit=sample_limit,
    )


def metrics(batch: Batch) -> dict[str, Any]:
    """The metrics of the page by name, without those of the receiver."""
    found = [metric for r in to_proto(batch).resource_metrics for s in r.scope_metrics for metric in s.metrics]
    assert decode("metrics", batch.data, False, Limits())[1] is None
    return {metric.name: metric for metric in found if metric.name not in OWN}


def scrape(page: str, *, openmetrics: bool = False, target: ScrapeTarget | None = None, now: int = NOW) -> Scraped:
    return (target or make_target()).scrape(page.encode(), "openmetrics" if openmetrics else "text", now, 0.25)


def value_of(batch: Batch, name: str) -> float:
    found = [m for r in to_proto(batch).resource_metrics for s in r.scope_metrics for m in s.metrics if m.name == name]
    value: float = found[0].gauge.data_points[0].as_double
    return value


@pytest.mark.parametrize("folder", ["text", "openmetrics", "damaged", "jenkins"])
def test_golden_pages(folder: str) -> None:
    """A page gives these metrics, and refuses these lines for these reasons."""
    page = (GOLDEN / folder / "page.txt").read_text()
    scraped = scrape(page, openmetrics=folder == "openmetrics")
    request = to_proto(scraped.batch)
    observed = {"refused": scraped.refused, "request": MessageToDict(request)}
    expected_file = GOLDEN / folder / "expected.json"
    if os.environ.get("UPDATE_GOLDEN"):
        expected_file.write_text(json.dumps(observed, indent=1, sort_keys=True) + "\n")
    assert observed == json.loads(expected_file.read_text())
    assert metrics(scraped.batch)


def samples_back(batch: Batch) -> Samples:
    """The samples that Prometheus would have for these metrics."""
    found: Samples = {}
    for name, metric in metrics(batch).items():
        data = getattr(metric, metric.WhichOneof("data"))
        for point in data.data_points:
            labels = {a.key: a.value.string_value for a in point.attributes}

            def put(name: str, value: float, labels: dict[str, str] = labels, **more: str) -> None:
                found[name, frozenset({**labels, **more}.items())] = value

            if metric.HasField("histogram"):
                total = 0
                for bound, count in zip([*point.explicit_bounds, math.inf], point.bucket_counts, strict=True):
                    total += count
                    put(f"{name}_bucket", total, le=repr(float(bound)))
                put(f"{name}_count", point.count)
                put(f"{name}_sum", point.sum)
            elif metric.HasField("summary"):
                put(f"{name}_count", point.count)
                put(f"{name}_sum", point.sum)
            else:
                put(name, point.as_double)
    return found


def oracle(page: str, openmetrics: bool) -> Samples:
    """The same samples as prometheus_client reads them."""
    read = read_openmetrics if openmetrics else read_text
    found: Samples = {}
    for family in read(page):
        for sample in family.samples:
            created = sample.name.endswith("_created") and openmetrics
            labels = {name: value for name, value in sample.labels.items() if value}
            if "le" in labels and family.type == "histogram":
                labels["le"] = repr(float(labels["le"]))
            if not created:
                found[sample.name, frozenset(labels.items())] = sample.value
    return found


names = st.from_regex(r"[a-z]{1,6}", fullmatch=True)
values = st.dictionaries(st.sampled_from(["one", "two"]), st.text(st.characters(exclude_categories=["Cs"])), min_size=2)
amounts = st.floats(min_value=0, max_value=1e12)
events = st.lists(st.tuples(st.integers(0, 5), values, amounts), max_size=12)


@settings(max_examples=80, deadline=None)
@given(events=events, openmetrics=st.booleans(), help_text=st.text(st.characters(exclude_categories=["Cs"])))
def test_what_prometheus_client_writes_is_read_back(events: Any, openmetrics: bool, help_text: str) -> None:
    """Whatever labels and values: the same samples come out as prometheus_client itself reads."""
    registry = CollectorRegistry()
    labels = ["one", "two"]
    counter = Counter("c", help_text, labels, registry=registry)
    gauge = Gauge("g", help_text, labels, registry=registry)
    histogram = Histogram("h", help_text, labels, registry=registry, buckets=(0.5, 10, 1e6))
    summary = Summary("s", help_text, labels, registry=registry)
    info = Info("i", help_text, labels, registry=registry)
    enum = Enum("e", help_text, labels, registry=registry, states=["a", "b"])
    for which, labelled, amount in events:
        match which:
            case 0:
                counter.labels(**labelled).inc(amount)
            case 1:
                gauge.labels(**labelled).set(-amount)
            case 2:
                histogram.labels(**labelled).observe(amount)
            case 3:
                summary.labels(**labelled).observe(amount)
            case 4:
                info.labels(**labelled).info({"version": str(amount)})
            case _:
                enum.labels(**labelled).state("b")
    page = (openmetrics_page if openmetrics else text_page)(registry).decode()
    scraped = scrape(page, openmetrics=openmetrics)
    assert (scraped.problem, scraped.refused) == ("", {})
    assert samples_back(scraped.batch) == oracle(page, openmetrics)


PIECES = [
    *(bytes([byte]) for byte in b'ab{}=",\\ \n#1e9-\xff'),
    b"# TYPE a histogram\n",
    b'a_bucket{le="1"} ',
    b"+Inf",
    b" # {",
]


@settings(max_examples=300, deadline=None)
@given(
    page=st.one_of(st.binary(max_size=300), st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join)),
    page_format=st.sampled_from(["text", "openmetrics", "protobuf"]),
)
def test_any_bytes_give_a_checked_batch(page: bytes, page_format: str) -> None:
    """Nothing panics, and what comes out is a request that every receiver takes as it is."""
    scraped = make_target().scrape(page, page_format, NOW, 0.0)
    assert decode("metrics", scraped.batch.data, False, Limits())[1] is None
    assert value_of(scraped.batch, "up") in (0.0, 1.0)


def test_an_unread_page_is_down() -> None:
    """Pages that are cut short, of another format or over the limit give `up` 0 and nothing of themselves."""
    cut = scrape("a 1\n", openmetrics=True)
    other = scrape("<html>\n<body>\n")
    many = scrape("a 1\nb 2\nc 3\n", target=make_target(sample_limit=2))
    for scraped in (cut, other, many, make_target().scrape(None, "text", NOW, 0.0)):
        assert value_of(scraped.batch, "up") == 0
        assert metrics(scraped.batch) == {}
    assert "EOF" in cut.problem
    assert "sample_limit" in many.problem


def test_bounds_of_lines_and_labels() -> None:
    """What is too long or too many costs its line, and no other."""
    many = ",".join(f'l{n}="x"' for n in range(200))
    long = "x" * 70_000
    page = f'a{{l="{long}"}} 1\n{"n" * 300} 1\nb{{{many}}} 1\n{"y" * 300_000} 1\ngood 1\n'
    scraped = scrape(page)
    assert list(metrics(scraped.batch)) == ["good"]
    assert scraped.refused == {"label_limit": 2, "name_too_long": 1, "line_too_long": 1}


def test_bounds_of_pages() -> None:
    """Families over the limit are left out, each counted; samples over any limit fail the page."""
    names = "".join(f"# TYPE a{n} counter\na{n} 1\n" for n in range(50_010))
    scraped = scrape(names)
    assert (scraped.problem, scraped.refused) == ("", {"family_limit": 21})  # ten of metadata, and a group is one too
    assert len(metrics(scraped.batch)) + 1 == 50_000
    many = make_target().scrape(b"a 1\n" * 1_000_002, "text", NOW, 0.0)
    assert "1000000" in many.problem


def counter_start(target: ScrapeTarget, value: float, now: int, name: str = "c") -> int:
    scraped = scrape(f"# TYPE {name} counter\n{name} {value}\n", target=target, now=now)
    start: int = metrics(scraped.batch)[name].sum.data_points[0].start_time_unix_nano
    return start


def test_start_times() -> None:
    """Unknown at the first scrape; after the scrape before for what falls or comes later; kept while it goes on."""
    target = make_target()
    assert counter_start(target, 5, NOW) == 0
    assert counter_start(target, 6, NOW + 10) == 0
    assert counter_start(target, 1, NOW + 20) == NOW + 10
    assert counter_start(target, 1, NOW + 30) == NOW + 10
    assert counter_start(target, 1, NOW + 40, "later") == NOW + 30


def absent(batch: Batch) -> list[str]:
    """The metrics whose points say that there is no value any more."""
    data = {name: getattr(one, one.WhichOneof("data")) for name, one in metrics(batch).items()}
    flags = {name: {point.flags for point in one.data_points} for name, one in data.items()}
    assert all(flags[name] in ({0}, {1}) for name in flags)
    return sorted(name for name in flags if flags[name] == {1})


FIVE = (
    "# TYPE c counter\nc 1\n# TYPE g gauge\ng 1\n"
    '# TYPE h histogram\nh_bucket{le="+Inf"} 1\nh_sum 1\nh_count 1\n# TYPE s summary\ns_count 1\ns_sum 1\nu 1\n'
)


def test_a_series_that_has_gone_is_told_once() -> None:
    """Of every kind: after a page without it, and after a scrape that failed; then it is quiet, and may come again."""
    target = make_target()
    assert absent(scrape(FIVE, target=target).batch) == []
    assert absent(scrape("u 1\n", target=target, now=NOW + 1).batch) == ["c", "g", "h", "s"]
    assert absent(scrape("u 1\n", target=target, now=NOW + 2).batch) == []
    assert absent(scrape(FIVE, target=target, now=NOW + 3).batch) == []
    failed = target.scrape(None, "text", NOW + 4, 0.0)
    assert absent(failed.batch) == ["c", "g", "h", "s", "u"]
    assert value_of(failed.batch, "up") == 0
    assert absent(target.scrape(None, "text", NOW + 5, 0.0).batch) == []
    assert absent(scrape("u 1\n", target=target, now=NOW + 6).batch) == []


def test_what_has_a_time_of_its_own_is_not_told_as_gone() -> None:
    """Prometheus cannot tell either, since such a page may skip a series; unless times are not honoured."""
    target = make_target()
    millis = NOW // 1_000_000
    scrape(f"a 1 {millis}\nb 1\n", target=target)
    assert absent(scrape("", target=target, now=NOW + 1).batch) == ["b"]


def test_series_that_have_gone_leave_the_store() -> None:
    """The page that Prometheus reads has them no longer, also not for the rest of their expiration."""
    target = make_target()
    store = SeriesStore(epoch_ns=NOW, zero_first=False)
    for page, now in ((FIVE, NOW), ('u{x="1"} 1\n', NOW + 1_000_000_000)):
        assert store.ingest(scrape(page, target=target, now=now).batch, now).dropped == {}
    families = {family.name for family in read_text(store.render("text", None, NOW + 1_000_000_000).decode())}
    assert families - OWN == {"u", "target"} or families - OWN == {"u", "target_info"}


def test_memory_of_series_that_come_and_go_is_bounded() -> None:
    """A target with new series at every scrape is remembered no further than its last page."""
    target = make_target()
    for turn in range(6):
        page = "# TYPE c counter\n" + "".join(f'c{{t="{turn}",n="{n}"}} 1\n' for n in range(60_000))
        scraped = scrape(page, target=target, now=NOW + turn)
        points = metrics(scraped.batch)["c"].sum.data_points
        assert sum(point.flags == 0 for point in points) in (60_000, 0)
    back = scrape('# TYPE c counter\nc{t="0",n="1"} 1\nc{t="5",n="1"} 1\n', target=target, now=NOW + 9)
    starts = [point.start_time_unix_nano for point in metrics_of(back.batch, "c") if point.flags == 0]
    assert starts == [NOW + 5, NOW + 4]


def metrics_of(batch: Batch, name: str) -> list[Any]:
    """The points of a counter, wherever they stand."""
    found = [m for r in to_proto(batch).resource_metrics for s in r.scope_metrics for m in s.metrics if m.name == name]
    return [point for metric in found for point in metric.sum.data_points]


def test_scope_labels_become_scopes() -> None:
    """Name, version, schema URL and attributes; what has no such labels is in the scope of the receiver."""
    page = (
        'a{otel_scope_version="1",otel_scope_name="lib",otel_scope_schema_url="http://s",otel_scope_x="y",k="v"} 1\n'
        'b{otel_scope_name="lib",otel_scope_version="1",otel_scope_schema_url="http://s",otel_scope_x="y"} 1\n'
        'c{otel_scope_version="1"} 1\n'
    )
    (resource,) = to_proto(scrape(page).batch).resource_metrics
    by_name = {one.scope.name: one for one in resource.scope_metrics}
    assert set(by_name) == {"lib", "otel_pipeline/receivers/prometheus"}
    lib = by_name["lib"]
    assert [metric.name for metric in lib.metrics] == ["a", "b"]
    assert (lib.scope.version, lib.schema_url) == ("1", "http://s")
    assert [(one.key, one.value.string_value) for one in lib.scope.attributes] == [("x", "y")]
    assert [one.key for one in lib.metrics[0].gauge.data_points[0].attributes] == ["k"]
    others = {metric.name: metric for metric in by_name["otel_pipeline/receivers/prometheus"].metrics}
    assert others["c"].gauge.data_points[0].attributes[0].key == "otel_scope_version"


def test_external_labels_fill_what_is_free() -> None:
    """On samples of the page and of the receiver; a label that is there stays."""
    target = make_target(external={"site": "fra", "env": "outer"}, env="own")
    scraped = scrape('a 1\nb{site="page"} 1\n', target=target)
    assert attributes_of(scraped.batch, "a") == [{"env": "own", "site": "fra"}]
    assert attributes_of(scraped.batch, "b") == [{"env": "own", "site": "page"}]
    up = next(m for s in to_proto(scraped.batch).resource_metrics[0].scope_metrics for m in s.metrics if m.name == "up")
    assert {one.key for one in up.gauge.data_points[0].attributes} == {"env", "site"}


def attributes_of(batch: Batch, name: str) -> list[dict[str, str]]:
    data = metrics(batch)[name]
    return [{a.key: a.value.string_value for a in point.attributes} for point in data.gauge.data_points]


def test_labels_of_target_and_page() -> None:
    """The target's label wins and the other is renamed, unless labels of the page are honoured."""
    page = 'a{env="theirs",job="other"} 1\n'
    ours = scrape(page, target=make_target(env="ours"))
    assert attributes_of(ours.batch, "a") == [{"env": "ours", "exported_env": "theirs", "exported_job": "other"}]
    theirs = scrape(page, target=make_target(env="ours", honor_labels=True))
    assert attributes_of(theirs.batch, "a") == [{"env": "theirs"}]
    services = {a.value.string_value for r in to_proto(theirs.batch).resource_metrics for a in r.resource.attributes}
    assert {"job", "other", "host:1"} <= services


def test_relabelling() -> None:
    """Every action does what Prometheus does with it."""
    rules: list[Rule] = [
        ("drop", ["__name__"], ";", "b.*", "", "$1"),
        ("keep", ["__name__"], ";", "a|b", "", "$1"),
        ("replace", ["x", "y"], "-", "(.)-(.*)", "z", "$2/${1}"),
        ("labelmap", [], ";", "old_(.*)", "", "new_$1"),
        ("labeldrop", [], ";", "old_.*|y", "", "$1"),
    ]
    scraped = scrape('a{x="1",y="2",old_k="v"} 1\nb 1\nc 1\n', target=make_target(*rules))
    assert attributes_of(scraped.batch, "a") == [{"x": "1", "z": "2/1", "new_k": "v"}]
    assert list(metrics(scraped.batch)) == ["a"]
    keep = RelabelPlan([("labelkeep", [], ";", "a.*", "", "$1")])
    assert keep.apply([("ab", "1"), ("b", "2")]) == [("ab", "1")]
    with pytest.raises(ValueError, match="regular expression"):
        RelabelPlan([("drop", ["a"], ";", "(", "", "")])


def test_gzip_is_not_a_page() -> None:
    """Bytes that are no text are refused, each line of them."""
    scraped = make_target().scrape(gzip.compress(b"a 1\n" * 100, mtime=0), "text", NOW, 0.0)
    assert scraped.problem
