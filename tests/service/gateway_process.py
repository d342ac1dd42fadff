"""A gateway of fakes as a process: `python gateway_process.py FOLDER`.

Its receiver sends one batch at the start. FOLDER/config may say `bad` (load raises), `stubborn` (the exporter does not
end), `broken` (the exporter does not start), `slow` (the exporter never finishes its start) or anything else (a setting
of the exporter).
"""

import asyncio
import sys
from pathlib import Path

from otel_pipeline.component import Component
from otel_pipeline.config.model import Config
from otel_pipeline.errors import ConfigError, Problem
from otel_pipeline.service.run import run
from tests.service.fakes import FakeExporter, FakeReceiver, HoldingProcessor, StubbornExporter, make_batch, make_config

FOLDER = Path(sys.argv[1])


def tell(text: str) -> None:
    print(text, flush=True)


class Sending(FakeReceiver):
    async def start(self) -> None:
        await self.send(make_batch(3))
        asyncio.get_running_loop().call_soon(tell, "receiver started")


class Telling(FakeExporter):
    async def start(self) -> None:
        tell(f"exporter started {self.config.setting}")
        if self.config.setting == "slow":
            await asyncio.Event().wait()
        await super().start()

    async def shutdown(self) -> None:
        tell(f"exporter ends with {self.items} items")


def load() -> Config:
    setting = (FOLDER / "config").read_text()
    if setting == "bad":
        raise ConfigError([Problem("receivers::in", "is wrong"), Problem("exporters::out", "is wrong\x1b[31m too")])
    exporter: type[Component] = StubbornExporter if setting == "stubborn" else Telling
    return make_config(
        {"traces": ("in", "hold", "out")},
        classes={"in": Sending, "hold": HoldingProcessor, "out": exporter},
        options={"out": {"setting": setting, "fail_start": setting == "broken"}},
        shutdown_timeout=300.0 if setting == "stubborn" else 5.0,
    )


if __name__ == "__main__":
    sys.exit(run(load))
