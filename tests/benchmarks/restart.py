"""Benchmark `restart`: an operator that comes back to thousands of live objects, and idles."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from . import idling, ours
from .actor import Actor
from .api import each
from .arms import JOB
from .processes import usage
from .report import Goal, Say, Table, at_most, below
from .sampling import PREFIX
from .site import Site, site

MOST_SECONDS = 10


@dataclass(frozen=True)
class Restart:
    """An operator that comes back to live objects, and then has nothing to do."""

    objects: int
    seconds: float
    """From the start of the process until it is idle."""
    writes: dict[str, int]
    """Until then, Leases left out."""
    idle: idling.Idling | None
    """How it idled then."""
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
    seconds, operator = await ours.start_until_idle(made, objects, deadline)
    try:
        writes = await made.api.controllers_writes() - before
        rested = await idling.measure(made, operator, idle, deadline) if idle else None
        return Restart(
            objects=objects,
            seconds=round(seconds, 2),
            writes=dict(writes),
            idle=rested,
            rss_mb=round(usage(operator.process.pid).rss_mb, 1),
        )
    finally:
        operator.process.stop()


def report(found: Sequence[Restart]) -> tuple[list[Table], list[Goal]]:
    """Table and goals of `restart`."""
    last = found[-1]
    seconds = [one.seconds for one in found]
    rows = [
        ["start of the process → idle, s", ", ".join(f"{one:.1f}" for one in seconds)],
        ["writes until idle", ", ".join(str(sum(one.writes.values())) for one in found)],
        *([] if last.idle is None else idling.rows(last.idle)),
        ["RSS, MB", f"{last.rss_mb:.0f}"],
    ]
    title = f"Restart with {last.objects:,} running TrainingJobs, their Jobs and pods"
    goals = [
        below(
            f"restart with {last.objects:,} live objects to idle", MOST_SECONDS, max(seconds), "s"
        ),
        at_most("writes of a restart", 0, max(sum(one.writes.values()) for one in found)),
        *([] if last.idle is None else idling.goals(last.objects, last.idle)),
    ]
    return [Table(title, ["", "measured"], rows)], goals


def run(
    objects: int, rounds: int, idle: float, workers: int, deadline: float, say: Say
) -> tuple[list[dict[str, Any]], list[Table], list[Goal]]:
    """Samples, tables and goals of `restart`."""
    found = asyncio.run(measure(objects, rounds, idle, workers, deadline, say))
    return ([asdict(one) for one in found], *report(found))
