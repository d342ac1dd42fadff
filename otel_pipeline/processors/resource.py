"""Inserts, changes, hashes and deletes attributes of resources, with the Collector's actions."""

from pydantic import Field

from otel_pipeline.component import Options, Processor, Settings
from otel_pipeline.helpers.attribute_actions import Action, compile_actions
from otel_pipeline.pdata import Batch, edit_attributes

__all__ = ["Resource", "ResourceConfig"]


class ResourceConfig(Options):
    """What to do to the attributes of every resource."""

    attributes: tuple[Action, ...] = Field(min_length=1)
    """The steps, in order."""


class Resource(Processor):
    """Runs the actions on every resource; the items below keep their bytes."""

    type = "resource"
    Config = ResourceConfig

    def __init__(self, config: ResourceConfig, settings: Settings) -> None:
        super().__init__(config, settings)
        self._plan = compile_actions(config.attributes, on_resource=True)

    def process(self, batch: Batch) -> Batch | None:
        """The edited batch."""
        return edit_attributes(batch, self._plan)
