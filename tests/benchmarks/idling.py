"""What an operator costs that has nothing to do: a while without a resync, then one resync."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from . import ours
from .processes import until, usage
from .report import Goal, at_most, below
from .site import Site

MOST_PERCENT = 1
RESYNCS = "modelyard_resyncs_total"
RECONCILES = "modelyard_reconciles_total"


@dataclass(frozen=True)
class Idling:
    """An operator whose cache is complete, and which has reconciled everything."""

    seconds: float
    """Without a resync."""
    cpu_percent: float
    """Of a core, in that time."""
    writes: int
    """In that time and by the resync; Leases left out."""
    lease_writes: int
    resync_cpu_seconds: float
    """Of one resync that lists and reconciles everything, as SIGUSR1 asks for."""
    resynced: int
    """Objects that it has reconciled."""
    resync_period: float
    """Seconds between two resyncs, by default."""

    @property
    def cpu_percent_with_resyncs(self) -> float:
        """The most that it costs by default: regular resyncs reconcile a part of all objects."""
        return self.cpu_percent + 100 * self.resync_cpu_seconds / self.resync_period


async def measure(made: Site, operator: ours.Operator, seconds: float, deadline: float) -> Idling:
    """Of an idle operator with default settings. Raises TooLong."""
    before, leases = await made.api.controllers_writes(), await _leases(made)
    cost, begun = usage(operator.process.pid), time.monotonic()
    await asyncio.sleep(seconds)
    quiet, took = usage(operator.process.pid), time.monotonic() - begun
    lease_writes = await _leases(made) - leases
    rounds, reconciled = await _counted(operator, RESYNCS), await _counted(operator, RECONCILES)

    async def resynced() -> bool:
        return await _counted(operator, RESYNCS) > rounds and await operator.idle()

    asked = usage(operator.process.pid)
    operator.process.resync()
    await until(resynced, deadline, "a resync", pause=0.5)
    end = usage(operator.process.pid)
    return Idling(
        seconds=round(took, 1),
        cpu_percent=round(100 * (quiet.cpu_seconds - cost.cpu_seconds) / took, 2),
        writes=sum((await made.api.controllers_writes() - before).values()),
        lease_writes=lease_writes,
        resync_cpu_seconds=round(end.cpu_seconds - asked.cpu_seconds, 2),
        resynced=int(await _counted(operator, RECONCILES) - reconciled),
        resync_period=await _counted(operator, "modelyard_resync_period_seconds"),
    )


def rows(one: Idling) -> list[list[str]]:
    """Lines of a table with what was measured."""
    leases = one.lease_writes * 60 / one.seconds
    return [
        ["CPU while idle, % of a core", f"{one.cpu_percent:.2f}"],
        ["writes of Leases a minute meanwhile, the API server's too", f"{leases:.1f}"],
        ["objects reconciled by a resync", f"{one.resynced:,}"],
        ["its CPU, s", f"{one.resync_cpu_seconds:.2f}"],
        ["writes while idle and by the resync", f"{one.writes}"],
        [
            f"CPU with such a resync every {one.resync_period:.0f} s, % of a core",
            f"{one.cpu_percent_with_resyncs:.2f}",
        ],
    ]


def goals(objects: int, one: Idling) -> Sequence[Goal]:
    """Of an operator with so many objects."""
    every = one.writes if one.resynced >= objects // 2 else None
    percent = round(one.cpu_percent_with_resyncs, 2)
    return [
        at_most("writes while idle and by a resync", 0, every),
        below(f"idle with {objects:,} objects, resyncs included", MOST_PERCENT, percent, "%"),
    ]


async def _counted(operator: ours.Operator, name: str) -> float:
    return await operator.metric(name) or 0.0


async def _leases(made: Site) -> int:
    return sum(n for k, n in (await made.api.server_writes()).items() if k.endswith(" leases"))
