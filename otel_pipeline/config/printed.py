"""A checked configuration as YAML again: merged, resolved, with every secret masked."""

from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from otel_pipeline.config.check import Checked
from otel_pipeline.config.explain import MASK, mask_text, sounds_secret

__all__ = ["print_config"]


def print_config(checked: Checked, *, defaults: bool = False) -> str:
    """YAML that can be loaded again, secrets apart; with `defaults`, also the options that the files leave out.

    Masked are options of type Secret, and as a defence whatever has a name like `token` or `authorization`, and the
    credentials in URLs.
    """
    sections: dict[str, Any] = {
        kind.value: {id: _dump(component.options, defaults) for id, component in components.items()}
        for kind, components in checked.components.items()
        if components
    }
    service = _dump(checked.service, defaults)
    if checked.extensions:
        service["extensions"] = list(checked.extensions)
    service["pipelines"] = {
        id: {
            "receivers": list(pipeline.receivers),
            "processors": list(pipeline.processors),
            "exporters": list(pipeline.exporters),
        }
        for id, pipeline in checked.pipelines.items()
    }
    return yaml.safe_dump({**_masked(sections), "service": service}, sort_keys=False, width=120, allow_unicode=True)


def _dump(options: BaseModel, defaults: bool) -> dict[str, Any]:
    # Null in a file would turn on a group that is off, so nothing is written for it.
    return options.model_dump(mode="json", by_alias=True, exclude_unset=not defaults, exclude_none=True)


def _masked(value: Any, named_secret: bool = False) -> Any:
    if isinstance(value, Mapping):
        return {key: _masked(child, named_secret or sounds_secret(str(key))) for key, child in value.items()}
    if isinstance(value, list):
        return [_masked(child, named_secret) for child in value]
    if isinstance(value, str):
        return MASK if named_secret and value else mask_text(value).replace("$", "$$")
    return value
