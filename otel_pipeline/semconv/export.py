"""The registry for other programs: as JSON, and as Python constants."""

import keyword
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from otel_pipeline.semconv.attributes import Attribute, Member
from otel_pipeline.semconv.metrics import Metric
from otel_pipeline.semconv.registry import Registry
from otel_pipeline.semconv.source import Definition

__all__ = ["exported", "python_constants"]


def exported(registry: Registry) -> dict[str, Any]:
    """Everything that readers of the telemetry may want to know, in plain values."""
    return {
        "metrics": [_metric(metric) for metric in registry.metrics.values()],
        "attributes": [_attribute(attribute) for attribute in registry.attributes.values()],
        "stages": [_stage(position, member) for position, member in enumerate(registry.stages, start=1)],
        "models": [_model(member) for member in registry.models],
        "projects": [
            {"id": member.value, **asdict(member.project)} for member in registry.projects if member.project is not None
        ],
    }


def _metric(metric: Metric) -> dict[str, Any]:
    return {
        "name": metric.name,
        "prometheus_name": metric.prometheus_name,
        "type": metric.instrument,
        "unit": metric.unit,
        "brief": metric.brief,
        "labels": [label.name for label in metric.labels],
        "source": list(dict.fromkeys(derivation.source for derivation in metric.derivations)),
        "buckets": list(metric.buckets),
    }


def _attribute(attribute: Attribute) -> dict[str, Any]:
    return {
        "key": attribute.key,
        "type": attribute.type,
        "brief": attribute.brief,
        "stability": attribute.stability,
        "canonical": attribute.canonical,
        "label": attribute.label,
        "aliases": list(attribute.aliases),
        "identifies": attribute.identifies and asdict(attribute.identifies),
        "content": attribute.content,
        "members": [
            {"value": member.value, "brief": member.brief, "aliases": list(member.aliases)}
            for member in attribute.members
        ],
    }


def _stage(position: int, member: Member) -> dict[str, Any]:
    facts = member.stage
    return {
        "name": member.value,
        "brief": member.brief,
        "order": position,
        "role": facts and facts.role,
        "expected_duration_seconds": facts and facts.expected_duration_seconds,
    }


def _model(member: Member) -> dict[str, Any]:
    facts = member.model
    return {
        "name": member.value,
        "provider": member.properties.get("provider"),
        "context_size": facts and facts.context_size,
        "prices": [asdict(price) for price in facts.prices] if facts else [],
    }


# --- Python

_GENERATED = """

Generated from the semantic-convention files by `otel-pipeline semconv export --python`: change those, not this file.
\"\"\"
"""


def python_constants(registry: Registry, sections: Mapping[str, Mapping[str, Definition]]) -> dict[str, str]:
    """Modules by file name: names of attributes, their known values, and names of metrics.

    What only rules for senders name (in a folder `rules`) is left out: nobody but that sender is to send it.
    """
    definitions = sections.get("attributes", {})
    attributes = [one for key, one in sorted(registry.attributes.items()) if not _is_private(definitions[key])]
    metrics = sorted(registry.metrics.values(), key=lambda metric: metric.name)
    final = "\nfrom typing import Final\n\n"
    return {
        "attributes.py": f'"""Names of attributes.{_GENERATED}{final}'
        + "".join(_documented(_constant(one.key), one.key, one.brief) for one in attributes),
        "metrics.py": f'"""Names of metrics.{_GENERATED}{final}'
        + "".join(_documented(_constant(one.name), one.name, one.brief) for one in metrics),
        "values.py": f'"""Known values of attributes.{_GENERATED}\nfrom enum import StrEnum\n'
        + "".join(f"\n\n{_enum(attribute)}" for attribute in attributes if attribute.members),
    }


def _is_private(entry: Definition) -> bool:
    return "/rules/" in entry.source.file.replace("\\", "/")


def _constant(name: str) -> str:
    return _identifier(re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").upper())


def _identifier(name: str) -> str:
    return f"_{name}" if not name or name[0].isdigit() or keyword.iskeyword(name) else name


def _documented(name: str, value: str, brief: str) -> str:
    return f'{name}: Final = "{value}"\n{_docstring(brief)}\n'


def _docstring(brief: str, indent: str = "") -> str:
    """One line where it fits in 120 characters, else broken between words."""
    words = brief.replace("\\", "\\\\").replace('"""', "'''").split()
    lines, line = [], f'{indent}"""'
    for word in words:
        if len(line) + len(word) > 115:
            lines.append(line.rstrip())
            line = indent
        line += f"{word} "
    return "\n".join([*lines, f'{line.rstrip()}"""'])


def _enum_name(attribute: Attribute) -> str:
    return "".join(part.capitalize() for part in re.split(r"[^A-Za-z0-9]+", attribute.key))


def _enum(attribute: Attribute) -> str:
    return "\n".join([f"class {_enum_name(attribute)}(StrEnum):", *_members(attribute)]) + "\n"


def _members(attribute: Attribute) -> Iterator[str]:
    yield _docstring(f"Values of {attribute.key}.", "    ")
    yield ""
    taken: set[str] = set()
    for member in attribute.members:
        name = _constant(member.value)
        if name not in taken:
            taken.add(name)
            yield f'    {name} = "{member.value}"'
