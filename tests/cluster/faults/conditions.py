"""What a reference run is played under: an idle machine, or one that is busy in some way.

How often the operator writes a status depends on how busy the machine is. The record of a
workload's writes (`recorded.json`) is made from one run under each of CONDITIONS, so that it knows
which writes every machine makes.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .proxy import Fault, Stream

ONE_WORKER = {"MODELYARD_WORKERS": "1"}
"""Settings with which the order of writes is the same in every run, up to a kill."""


class Bursts(Fault):
    """Watch events arrive in bursts: each waits for the next time that the gate opens.

    The operator then sees at once what it would otherwise see one at a time.
    """

    PERIOD = 0.25
    OPEN = 0.05
    """Seconds of each period in which events pass."""

    async def events(self, stream: Stream, event: dict[str, Any]) -> bool:
        now = time.monotonic() % self.PERIOD
        if now > self.OPEN:
            await asyncio.sleep(self.PERIOD - now)
        return True


@dataclass(frozen=True)
class Conditions:
    """See the module."""

    name: str
    settings: Mapping[str, str] = field(default_factory=lambda: ONE_WORKER)
    """Of the operator."""
    disturbance: type[Fault] = Fault
    """Between the operator and the API server."""
    competitors: int = 0
    """Processes for each processor that do nothing but use it."""

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Keep the machine as busy as these conditions say."""
        spin = [sys.executable, "-c", "while True: pass"]
        number = self.competitors * (os.cpu_count() or 1)
        processes = [subprocess.Popen(spin) for _ in range(number)]
        try:
            yield
        finally:
            for process in processes:
                process.kill()
                process.wait()


CALM = Conditions("calm")
CONDITIONS = (
    CALM,
    Conditions("workers", settings={}),
    Conditions("busy", competitors=2),
    Conditions("bursts", settings={}, disturbance=Bursts),
)
