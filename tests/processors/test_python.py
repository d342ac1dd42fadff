"""Processors written by users: loading, options, isolation, and the shipped examples."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from otel_pipeline.errors import PermanentError, RetryableError
from otel_pipeline.processors.python import Python, PythonConfig
from otel_pipeline.testing import FakeTime, make_settings, make_span, make_traces

EXAMPLES = Path(__file__).parents[2] / "collector-config" / "examples"
BATCH = make_traces(
    make_span("fast", span=1, seconds=0.01, user__email="ann@example.com"),
    make_span("failed", span=2, seconds=0.01, error="no"),
    make_span("slow", span=3, seconds=5),
)
RAISES = """
from otel_pipeline.component import Processor
from otel_pipeline.errors import RetryableError
class Raises(Processor):
    def process(self, batch):
        raise {error}
"""


def make(path: Path, **options: Any) -> Python:
    """The processor of that file."""
    config = PythonConfig.model_validate({"path": path.name} | options, context={"directory": path.parent})
    return Python(config, make_settings("python/test", time=FakeTime()))


def write(directory: Path, text: str) -> Path:
    """A file with a processor."""
    path = directory / "mine.py"
    path.write_text(text)
    return path


def test_the_masking_example_masks_and_leaves_the_rest() -> None:
    """Only attributes that hold addresses change."""
    masked = make(EXAMPLES / "mask_user_email.py").process(BATCH)
    assert masked is not None
    assert masked.column("user.email") == ["***@example.com", None, None]
    assert masked.field("name") == BATCH.field("name")


def test_the_sampling_example_keeps_slow_and_failed_spans() -> None:
    """Its own options are typed, and what it drops is counted under its own reason."""
    sampler = make(EXAMPLES / "keep_slow_or_failed.py", config={"slower_than": "1s", "keep_one_in": 2})
    assert sampler.drop_reason == "sampled"
    kept = [sampler.process(BATCH), sampler.process(BATCH)]
    assert [batch.field("name") for batch in kept if batch] == [["failed", "slow"], ["fast", "failed", "slow"]]


def test_an_exception_refuses_the_batch_for_good(tmp_path: Path) -> None:
    """The sender hears of it without a word of the data, and it is counted by its class."""
    processor = make(write(tmp_path, RAISES.format(error="KeyError('x')")))
    with pytest.raises(PermanentError, match="python/test failed: Raises raised KeyError"):
        processor.process(BATCH)
    errors = processor.settings.telemetry.counters["otelcol_processor_python_errors"]
    assert dict(errors.values) == {("python/test", "KeyError"): 1}


def test_an_exception_passes_the_batch_on_where_the_user_says_so(tmp_path: Path) -> None:
    """error_mode ignore keeps the telemetry, unchanged."""
    processor = make(write(tmp_path, RAISES.format(error="KeyError('x')")), error_mode="ignore")
    assert processor.process(BATCH) is BATCH


def test_a_refusal_on_purpose_goes_through(tmp_path: Path) -> None:
    """RetryableError means what it says."""
    processor = make(write(tmp_path, RAISES.format(error="RetryableError('later')")), error_mode="ignore")
    with pytest.raises(RetryableError, match="later"):
        processor.process(BATCH)


def test_a_slow_batch_is_counted(tmp_path: Path) -> None:
    """Over the budget the batch still goes on."""
    text = """
from otel_pipeline.component import Processor
class Slow(Processor):
    def process(self, batch):
        self.settings.data_dir.advance(1.0)
        return batch
"""
    time = FakeTime()
    config = PythonConfig.model_validate({"path": str(write(tmp_path, text)), "time_budget": "10ms"})
    settings = make_settings("python/slow", time=time)
    settings.data_dir = time  # type: ignore[assignment]
    assert Python(config, settings).process(BATCH) is BATCH
    assert settings.telemetry.counters["otelcol_processor_python_over_budget"].values[("python/slow",)] == 1


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("syntax error here", {}, "cannot be imported: SyntaxError"),
        ("x = 1", {}, "expected one Processor subclass .*found none"),
        (RAISES.format(error="KeyError"), {"config": {"unknown": 1}}, "config::unknown"),
        (RAISES.format(error="KeyError"), {"class": "Other"}, "expected one Processor subclass Other"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_problem(
    tmp_path: Path, text: str, options: dict[str, Any], message: str
) -> None:
    """Found when the configuration is read, in plain words."""
    with pytest.raises(ValidationError, match=message):
        make(write(tmp_path, text), **options)


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    """The message names the path that was looked for."""
    with pytest.raises(ValidationError, match=r"no such file: .*nowhere\.py"):
        make(tmp_path / "nowhere.py")
