"""Pages, to the letter: each folder of golden/ has a request and the two pages that come of it."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from otel_pipeline.pdata import from_proto
from otel_pipeline.prometheus import SeriesStore

CASES = sorted((Path(__file__).parent / "golden").iterdir())
NOW = 1_767_225_700_000_000_000


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize(("format", "expected"), [("text", "page.txt"), ("openmetrics", "page.openmetrics")])
def test_page_is_as_expected(case: Path, format: str, expected: str) -> None:
    """A page that differs is left beside the expected one as `observed.*`."""
    request = text_format.Parse((case / "input.textproto").read_text(), ExportMetricsServiceRequest())
    store = SeriesStore(epoch_ns=NOW)
    store.ingest(from_proto(request), NOW)
    page = store.render(format, None, NOW)
    observed = case / expected.replace("page", "observed")
    if page != (case / expected).read_bytes():
        observed.write_bytes(page)
        pytest.fail(f"the page differs: diff {case / expected} {observed}")
    observed.unlink(missing_ok=True)
