"""Benchmark `restart`: an operator that comes back to thousands of live objects, and idles."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from . import ours
from .actor import Actor
from .api import each
from .arms import JOB
from .processes import usage
from .report import Goal, Say, Table, at_most, below
from .sampling import PREFIX
from .site import Site, site

MOST_SECONDS = 10
RESYNC_SECONDS = (5.0, 20.0)
"""Least and most between two rounds that reconcile everything, so that there are some in the idle
time; 600 by default."""


@dataclass(frozen=True)
class Restart:
    """An operator that comes back to live objects, and then has nothing to do."""

    objects: int
    seconds: float
    """From the start of the process until it is idle."""
    writes: dict[str, int]
    """Until then, Leases left out."""
    resync_seconds: float
    """Between two resyncs."""
    resynced: int
    """Objects reconciled by resyncs in the idle time that followed."""
    idle_seconds: float
    idle_writes: dict[str, int]
    """In that time, with its resyncs."""
    lease_writes: int
    idle_cpu_percent: float
    rss_mb: float


async def measure(
    objects: int, rounds: int, idle: float, workers: int, deadline: float, say: Say
) -> list[Restart]:
    """Running TrainingJobs with their Jobs and pods; the operator stops and starts again."""
    found: list[Restart] = []
    async with site(workers) as made:
        await made.install(ours.crd_files())
        arm = ours.Modelyard(made)
        try:
            await arm.start(objects)

            async def create(number: int) -> None:
                name = f"{PREFIX}{number:05d}"
                await made.api.create(arm.owner, arm.manifest(name, number))

            await each(range(objects), create)
            await made.settled(deadline)
            await Actor(made.api, plays_jobs=True, prefix=PREFIX).run()
            await made.settled(deadline)
        finally:
            arm.stop()
        say(f"{len(await made.api.items(JOB)):,} Jobs run")
        for number in range(rounds):
            one = await _once(made, objects, idle if number == rounds - 1 else 0.0, deadline)
            say(f"restart {number + 1}: idle after {one.seconds:.1f} s, writes {one.writes}")
            found.append(one)
    return found


async def _once(made: Site, objects: int, idle: float, deadline: float) -> Restart:
    before = await made.api.controllers_writes()
    resync = min(max(idle / 3, RESYNC_SECONDS[0]), RESYNC_SECONDS[1])
    seconds, operator = await ours.start_until_idle(
        made, objects, deadline, RESYNC_SECONDS=str(resync)
    )
    try:
        after = await made.api.controllers_writes()
        reconciled = await operator.metric("modelyard_reconciles_total") or 0
        leases, cost, begun = await _leases(made), usage(operator.process.pid), time.monotonic()
        await asyncio.sleep(idle)
        end, took = usage(operator.process.pid), time.monotonic() - begun
        resynced = (await operator.metric("modelyard_reconciles_total") or 0) - reconciled
        return Restart(
            objects=objects,
            seconds=round(seconds, 2),
            writes=dict(after - before),
            resync_seconds=resync,
            resynced=int(resynced),
            idle_seconds=round(idle, 1),
            idle_writes=dict(await made.api.controllers_writes() - after),
            lease_writes=await _leases(made) - leases,
            idle_cpu_percent=round(100 * (end.cpu_seconds - cost.cpu_seconds) / took, 1),
            rss_mb=round(end.rss_mb, 1),
        )
    finally:
        operator.process.stop()


async def _leases(made: Site) -> int:
    return sum(n for k, n in (await made.api.server_writes()).items() if k.endswith(" leases"))


def report(found: Sequence[Restart]) -> tuple[list[Table], list[Goal]]:
    """Table and goals of `restart`."""
    last = found[-1]
    minutes = last.idle_seconds / 60
    seconds = [one.seconds for one in found]
    idle_writes = sum(last.idle_writes.values())
    leases = f"{last.lease_writes / minutes:.1f}" if minutes else ""
    rows = [
        ["start of the process → idle, s", ", ".join(f"{one:.1f}" for one in seconds)],
        ["writes until idle", ", ".join(str(sum(one.writes.values())) for one in found)],
        ["objects reconciled by resyncs afterwards", f"{last.resynced:,}"],
        ["writes a minute meanwhile", f"{idle_writes / minutes:.1f}" if minutes else ""],
        ["writes of Leases a minute, the API server's too", leases],
        ["CPU meanwhile, % of a core", f"{last.idle_cpu_percent:.1f}"],
        ["RSS, MB", f"{last.rss_mb:.0f}"],
    ]
    title = f"Restart with {last.objects:,} running TrainingJobs, their Jobs and pods"
    note = f"While idle it resynchronises every {last.resync_seconds:.0f} s; the default is 600 s."
    resynced = idle_writes if last.resynced >= last.objects else None
    goals = [
        below(
            f"restart with {last.objects:,} live objects to idle", MOST_SECONDS, max(seconds), "s"
        ),
        at_most("writes of a restart", 0, max(sum(one.writes.values()) for one in found)),
        at_most("writes of resyncs", 0, resynced),
    ]
    return [Table(title, ["", "measured"], rows, note)], goals


def run(
    objects: int, rounds: int, idle: float, workers: int, deadline: float, say: Say
) -> tuple[list[dict[str, Any]], list[Table], list[Goal]]:
    """Samples, tables and goals of `restart`."""
    found = asyncio.run(measure(objects, rounds, idle, workers, deadline, say))
    return ([asdict(one) for one in found], *report(found))
