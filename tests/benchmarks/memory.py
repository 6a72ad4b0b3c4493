"""Benchmark `memory`: what the operator holds for many objects of all kinds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from . import idling, ours, population
from .processes import until, usage
from .report import Goal, Say, Table, at_most
from .site import site

MOST_MB = 150


@dataclass(frozen=True)
class Footprint:
    """The operator's memory with so many objects."""

    objects: int
    """Of our kinds."""
    cached: int
    """Everything that the operator holds: these and their children."""
    rss_mb: float
    """After it has made and settled all children."""
    peak_mb: float
    restarted_rss_mb: float
    """A fresh process, idle."""
    restart_seconds: float
    idle: idling.Idling | None
    """How the fresh process idles; None if that was not asked for."""


async def measure(
    sizes: Sequence[int], idle: float, workers: int, deadline: float, say: Say
) -> list[Footprint]:
    """Grows one population to each size; measures the operator's memory and, for `idle` seconds,
    its CPU."""
    found: list[Footprint] = []
    async with site(workers) as made:
        await made.install(ours.crd_files())
        lines = 0
        for size in sizes:
            operator = ours.Operator(made)
            operator.process.start()
            try:
                await until(operator.synced, deadline, "the operator is synced")
                more = -(-size // population.PER_LINE) - lines
                await population.add_lines(made, lines, more, deadline)
                lines += more
                worked = usage(operator.process.pid)
                cached = await operator.metric("modelyard_cache_objects") or 0
            finally:
                operator.process.stop()
            objects = lines * population.PER_LINE
            seconds, fresh = await ours.start_until_idle(made, objects // 2, deadline)
            try:
                now = usage(fresh.process.pid)
                rested = await idling.measure(made, fresh, idle, deadline) if idle else None
            finally:
                fresh.process.stop()
            found.append(
                Footprint(
                    objects=objects,
                    cached=int(cached),
                    rss_mb=round(worked.rss_mb, 1),
                    peak_mb=round(worked.peak_rss_mb, 1),
                    restarted_rss_mb=round(now.rss_mb, 1),
                    restart_seconds=round(seconds, 2),
                    idle=rested,
                )
            )
            say(f"{found[-1].objects:,} objects: {found[-1].rss_mb:.0f} MB")
    return found


def report(found: Sequence[Footprint]) -> tuple[list[Table], list[Goal]]:
    """Table and goal of `memory`."""
    rows = [
        [
            f"{one.objects:,}",
            f"{one.cached:,}",
            f"{one.rss_mb:.0f}",
            f"{one.peak_mb:.0f}",
            f"{one.restarted_rss_mb:.0f}",
            f"{one.restart_seconds:.1f}",
        ]
        for one in found
    ]
    columns = [
        "objects of our kinds",
        "with children",
        "RSS, MB",
        "peak",
        "restarted",
        "restart, s",
    ]
    title = "Memory of the operator with objects of mixed kinds"
    most = max(found, key=lambda one: one.objects, default=None)
    measured = None if most is None else max(most.rss_mb, most.restarted_rss_mb)
    name = f"RSS with {most.objects if most else 0:,} objects of mixed kinds"
    tables, goals = [Table(title, columns, rows)], [at_most(name, MOST_MB, measured, "MB")]
    for one in found:
        if one.idle is not None:
            heading = f"Idling with {one.objects:,} objects of mixed kinds"
            tables.append(Table(heading, ["", "measured"], idling.rows(one.idle)))
            goals += idling.goals(one.objects, one.idle)
    return tables, goals


def run(
    sizes: Sequence[int], idle: float, workers: int, deadline: float, say: Say
) -> tuple[list[dict[str, Any]], list[Table], list[Goal]]:
    """Samples, tables and goals of `memory`."""
    found = asyncio.run(measure(sizes, idle, workers, deadline, say))
    return ([asdict(one) for one in found], *report(found))
