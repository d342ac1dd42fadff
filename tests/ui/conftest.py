"""The extension `web` on a free port, over journeys that are made up."""

import logging
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from otel_pipeline.component import Settings
from otel_pipeline.extensions.web import Web, WebOptions
from otel_pipeline.journeys.jaeger import jaeger_queries
from tests.ui.fakes import NOW, FakeTraces


def make_web() -> Web:
    """Not started."""
    source = FakeTraces()
    queries = (*source.queries(), *jaeger_queries(lambda: source, {}, lambda: NOW))
    service: Any = SimpleNamespace(documents=list, queries=lambda: list(queries))
    settings = SimpleNamespace(id="web", service=service, log=logging.getLogger("web"))
    return Web(WebOptions(endpoint="127.0.0.1:0"), cast("Settings", settings))


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    running = make_web()
    await running.start()
    yield running
    await running.shutdown()
