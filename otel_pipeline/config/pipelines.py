"""The pipelines of a configuration: do their components exist, do the signals fit, can data go in circles."""

from collections.abc import Callable, Mapping
from graphlib import CycleError, TopologicalSorter

from otel_pipeline.component import Component, Connector, Kind, Options
from otel_pipeline.config.explain import did_you_mean
from otel_pipeline.config.model import PipelineConfig
from otel_pipeline.config.tree import UNKNOWN, Node, Path, Place, problem
from otel_pipeline.errors import Problem
from otel_pipeline.pdata import Signal

__all__ = ["Declared", "check_pipelines", "check_references", "used"]

Declared = dict[Kind, dict[str, type[Component] | None]]
"""The configured ids of each kind with their class; None where the class is not known."""

_CheckOptions = Callable[[type["_PipelineOptions"], Node, Path], "_PipelineOptions | None"]

_PATH: Path = ("service", "pipelines")

_ROLES: dict[str, tuple[Kind, ...]] = {
    "receivers": (Kind.RECEIVER, Kind.CONNECTOR),
    "processors": (Kind.PROCESSOR,),
    "exporters": (Kind.EXPORTER, Kind.CONNECTOR),
}


class _PipelineOptions(Options):
    """One pipeline; its id is `signal` or `signal/name`."""

    receivers: tuple[str, ...] = ()
    """Ids of receivers, and of connectors that feed this pipeline."""
    processors: tuple[str, ...] = ()
    """Ids of processors, in the order in which they see the data."""
    exporters: tuple[str, ...] = ()
    """Ids of exporters, and of connectors that this pipeline feeds. Each gets everything."""


def used(pipelines: Mapping[str, PipelineConfig], extensions: tuple[str, ...]) -> dict[Kind, set[str]]:
    """The ids of each kind that the service names."""
    receivers = {id for pipeline in pipelines.values() for id in pipeline.receivers}
    exporters = {id for pipeline in pipelines.values() for id in pipeline.exporters}
    return {
        Kind.RECEIVER: receivers,
        Kind.PROCESSOR: {id for pipeline in pipelines.values() for id in pipeline.processors},
        Kind.CONNECTOR: receivers | exporters,
        Kind.EXPORTER: exporters,
        Kind.EXTENSION: set(extensions),
    }


def check_pipelines(
    section: Node | None, service: Place, declared: Declared, options: _CheckOptions, problems: list[Problem]
) -> dict[str, PipelineConfig]:
    """The pipelines of `service::pipelines`; adds what is wrong to `problems`."""
    if section is not None and section.value is UNKNOWN:
        return {}
    if section is None or not section.children():
        place = section.place if section else service
        problems.append(problem(place, _PATH, "there is no pipeline", "add one, such as 'traces:'"))
        return {}
    pipelines = {}
    for id, node in section.children().items():
        pipeline = _pipeline(id, node, declared, options, problems)
        if pipeline is not None:
            pipelines[id] = pipeline
    if len(pipelines) == len(section.children()):
        _check_connectors(pipelines, section, declared, problems)
        _check_cycles(pipelines, section, declared, problems)
    return pipelines


def check_references(
    references: Node, path: Path, kinds: tuple[Kind, ...], declared: Declared, problems: list[Problem]
) -> tuple[str, ...]:
    """The ids of a list; tells of those that are not configured under one of `kinds`, or are listed twice."""
    found: list[str] = []
    for index, node in enumerate(references.value if isinstance(references.value, list) else ()):
        id, here = node.value, (*path, index)
        if id is UNKNOWN:
            continue
        if not isinstance(id, str):
            problems.append(problem(node.place, here, "must be the id of a component"))
        elif id in found:
            problems.append(problem(node.place, here, f"'{id[:100]}' is listed twice", "remove one"))
        elif not any(id in declared[kind] for kind in kinds):
            message = f"refers to {kinds[0].singular} '{id[:100]}', which is not configured"
            problems.append(problem(node.place, here, message, _reference_hint(id, kinds, declared)))
        else:
            found.append(id)
    return tuple(found)


def _reference_hint(id: str, kinds: tuple[Kind, ...], declared: Declared) -> str:
    for kind in Kind:
        if id in declared[kind]:
            article = "an" if kind.singular[0] in "aeiou" else "a"
            return f"'{id[:100]}' is {article} {kind.singular}"
    names = [name for kind in kinds for name in declared[kind]]
    return did_you_mean(id, names, "configured") or f"configure it under '{kinds[0]}'"


def _pipeline(
    id: str, node: Node, declared: Declared, check_options: _CheckOptions, problems: list[Problem]
) -> PipelineConfig | None:
    path = (*_PATH, id)
    signal = id.partition("/")[0]
    if signal not in list(Signal) or id.endswith("/"):
        hint = did_you_mean(signal, list(Signal), "a pipeline begins with one of")
        problems.append(problem(node.place, path, "not a pipeline id of the form signal or signal/name", hint))
        return None
    options = check_options(_PipelineOptions, node, path)
    if options is None:
        return None
    found = len(problems)
    for role, kinds in _ROLES.items():
        listed = node.children().get(role, Node([], node.place))
        if role != "processors" and not getattr(options, role):
            problems.append(problem(listed.place, path, f"has no {role}", "list at least one"))
        for component_id in check_references(listed, (*path, role), kinds, declared, problems):
            place = _listed_at(listed, component_id)
            _check_signal(component_id, Signal(signal), role, declared, problems, (*path, role), place)
    if len(problems) > found:
        return None
    return PipelineConfig(id, Signal(signal), options.receivers, options.processors, options.exporters)


def _listed_at(listed: Node, id: str) -> Place:
    entries = listed.value if isinstance(listed.value, list) else []
    return next((entry.place for entry in entries if entry.value == id), listed.place)


def _check_signal(
    id: str, signal: Signal, role: str, declared: Declared, problems: list[Problem], path: Path, place: Place
) -> None:
    for kind in _ROLES[role]:
        component = declared[kind].get(id)
        if component is None:
            continue
        gives = role == "receivers"
        signals = component.produces if gives and issubclass(component, Connector) else component.signals
        if signal not in signals:
            verb, verbs = ("give", "gives") if gives else ("take", "takes")
            able = ", ".join(known for known in Signal if known in signals)
            message = f"{kind.singular} '{id}' does not {verb} {signal}"
            problems.append(problem(place, path, message, f"it {verbs} {able}"))


def _check_connectors(
    pipelines: Mapping[str, PipelineConfig], section: Node, declared: Declared, problems: list[Problem]
) -> None:
    """A connector must be listed on both sides."""
    feeding = {id: pipeline.id for pipeline in pipelines.values() for id in pipeline.exporters}
    fed = {id: pipeline.id for pipeline in pipelines.values() for id in pipeline.receivers}
    for id in declared[Kind.CONNECTOR]:
        if (id in feeding) == (id in fed):
            continue
        pipeline, side, other = (
            (feeding[id], "exporters", "receivers") if id in feeding else (fed[id], "receivers", "exporters")
        )
        listed = section.children()[pipeline].children()[side]
        message = f"connector '{id}' must also be among the {other} of a pipeline"
        problems.append(problem(_listed_at(listed, id), (*_PATH, pipeline, side), message))


def _check_cycles(
    pipelines: Mapping[str, PipelineConfig], section: Node, declared: Declared, problems: list[Problem]
) -> None:
    """Data that comes back to a pipeline would go round for ever."""
    connectors = declared[Kind.CONNECTOR]
    sorter: TopologicalSorter[tuple[str, str]] = TopologicalSorter()
    for pipeline in pipelines.values():
        here = ("pipeline", pipeline.id)
        sorter.add(here, *(("connector", id) for id in pipeline.receivers if id in connectors))
        for id in pipeline.exporters:
            if id in connectors:
                sorter.add(("connector", id), here)
    try:
        sorter.prepare()
    except CycleError as error:
        steps: list[tuple[str, str]] = error.args[1]
        first = next(index for index, (kind, _) in enumerate(steps) if kind == "pipeline")
        round_trip = [*steps[first:-1], *steps[: first + 1]]
        way = " -> ".join(name for _, name in round_trip)
        node = section.children()[round_trip[0][1]]
        problems.append(problem(node.place, (*_PATH, round_trip[0][1]), f"data would go in a circle: {way}"))
