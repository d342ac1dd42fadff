"""A processor of your own, column by column: replaces the local part of e-mail addresses.

Used by python_processors.yaml. `column` and `with_column` cost about a microsecond for an item.
"""

from otel_pipeline.component import Options, Processor
from otel_pipeline.pdata import Batch


class MaskUserEmailConfig(Options):
    """Which attributes hold addresses."""

    keys: tuple[str, ...] = ("user.email",)
    """Attributes to mask, on items and resources."""


class MaskUserEmail(Processor):
    """`ann@example.com` becomes `***@example.com`."""

    Config = MaskUserEmailConfig
    config: MaskUserEmailConfig

    def process(self, batch: Batch) -> Batch | None:
        """The batch with every address masked; the same batch where it holds none."""
        for key in self.config.keys:
            values = batch.column(key, level="item")
            if any(value is not None for value in values):
                batch = batch.with_column(key, [mask(value) for value in values])
        return batch


def mask(value: object) -> object:
    """Keeps the domain, which tells companies apart, and hides the person."""
    if not isinstance(value, str):
        return value
    _, at, domain = value.rpartition("@")
    return f"***@{domain}" if at else "***"
