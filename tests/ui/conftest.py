"""The extension `web` on a free port, over journeys that are made up."""

import logging
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from otel_pipeline.component import Settings
from otel_pipeline.extensions.web import Web, WebOptions
from tests.ui.fakes import FakeJourneys


def make_web() -> Web:
    """Not started."""
    queries = FakeJourneys().queries()
    service: Any = SimpleNamespace(documents=list, queries=lambda: list(queries))
    settings = SimpleNamespace(id="web", service=service, log=logging.getLogger("web"))
    return Web(WebOptions(endpoint="127.0.0.1:0"), cast("Settings", settings))


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    running = make_web()
    await running.start()
    yield running
    await running.shutdown()
