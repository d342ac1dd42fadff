"""Inserts, changes, hashes and deletes attributes of items, with the Collector's actions."""

from pydantic import Field

from otel_pipeline.component import Options, Processor, Settings
from otel_pipeline.helpers.attribute_actions import Action, compile_actions
from otel_pipeline.pdata import Batch, edit_attributes

__all__ = ["Attributes", "AttributesConfig"]


class AttributesConfig(Options):
    """What to do to the attributes of every span, data point and log record."""

    actions: tuple[Action, ...] = Field(min_length=1)
    """The steps, in order."""


class Attributes(Processor):
    """Runs the actions on every item; what they do not change keeps its bytes."""

    type = "attributes"
    Config = AttributesConfig

    def __init__(self, config: AttributesConfig, settings: Settings) -> None:
        super().__init__(config, settings)
        self._plan = compile_actions(config.actions, on_resource=False)

    def process(self, batch: Batch) -> Batch | None:
        """The edited batch."""
        return edit_attributes(batch, self._plan)
