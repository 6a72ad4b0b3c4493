"""Part `verdicts`: candidates good and bad, by many seeds; the bad ones must not get beyond the
first wave, the good ones must get everywhere.

Several Deployments share the nodes, each with a server on every node, a model line and seeds of its
own: their candidates are judged side by side.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..processes import TooLong, until
from ..report import Goal, Table, at_most
from . import objects
from .config import BAD, candidate
from .objects import WAVES
from .site import FleetSite

AT_ONCE = 5
"""Deployments."""


@dataclass
class Verdict:
    """What became of one candidate."""

    seed: int
    kind: str
    """good, or how it was bad."""
    outcome: str
    """Of the rollout's record in history; empty if it did not end in time."""
    told: int
    """Servers that were ever told to serve it."""
    first_wave: int
    """Servers of the first wave."""
    seconds: float
    message: str
    analyses: list[str] = field(default_factory=list)
    """What the analysis of each wave last said."""

    @property
    def right(self) -> bool:
        """Whether a good one got everywhere, and a bad one nowhere beyond the first wave."""
        if self.kind == "good":
            return self.outcome == "Succeeded"
        return self.outcome == "RolledBack" and self.told <= self.first_wave


async def measure(site: FleetSite, seeds: int, bad: Sequence[str] = tuple(BAD)) -> list[Verdict]:
    """A good and a bad candidate for each seed, bad in these ways in turn. Raises TooLong where the
    fleet cannot be set up."""
    names = [f"line-{number}" for number in range(min(AT_ONCE, seeds))]
    for number, name in enumerate(names):
        own = replace(site.config, seed=site.config.seed + number, versions={})
        site.simulator.configs[name] = own
    ways = {
        name: [bad[s % len(bad)] for s in range(n, seeds, len(names))]
        for n, name in enumerate(names)
    }
    judged = objects.analysis(_first_wave(site), site.config.requests)
    # Errors would show in a shadow too: the waves are to be judged without it.
    await site.deploy(
        *(
            objects.deployment(name, most="50%", judged=judged, shadow="disagrees" in ways[name])
            for name in names
        )
    )
    for name in names:
        site.simulator.configs[name].report_seconds = site.config.report_seconds
    found: list[Verdict] = []

    async def line(number: int, name: str) -> None:
        version = 1
        for seed in range(number, seeds, len(names)):
            for kind in ("good", bad[seed % len(bad)]):
                version += 1
                found.append(await _judge(site, name, version, seed, kind))
                site.say(f"{name}: {found[-1]}")

    async with asyncio.TaskGroup() as group:
        for number, name in enumerate(names):
            group.create_task(line(number, name))
    return sorted(found, key=lambda one: (one.seed, one.kind != "good"))


def _first_wave(site: FleetSite) -> int:
    """Its servers."""
    return math.ceil(WAVES[0] * site.count / 100)


async def _judge(site: FleetSite, name: str, version: int, seed: int, kind: str) -> Verdict:
    config = site.simulator.configs[name]
    config.versions[version] = candidate(kind, seed)
    begun = time.perf_counter()
    await objects.release(site.api, name, version)

    async def ended() -> bool:
        history = site.seen.status(name).get("history") or [{}]
        return bool(history[0].get("version") == version)

    outcome = message = ""
    try:
        await until(ended, site.deadline, f"the rollout of {name}-{version} ends")
        record = site.seen.status(name)["history"][0]
        outcome, message = record["outcome"], str(record.get("message") or "")
        stable = version if outcome == "Succeeded" else None
        await until(lambda: _calm(site, name, version, stable), site.deadline, f"{name} is calm")
    except TooLong as error:
        message = f"{error}: {site.seen.status(name).get('message')}"
    return Verdict(
        seed=seed,
        kind=kind,
        outcome=outcome,
        told=len(site.simulator.told.get((name, version), ())),
        first_wave=_first_wave(site),
        seconds=round(time.perf_counter() - begun, 1),
        message=message[:300],
        analyses=[
            said
            for (revision, _), said in sorted(site.seen.analyses.get(name, {}).items())
            if revision == max(site.seen.status(name).get("revision") or 0, 1)
        ],
    )


async def _calm(site: FleetSite, name: str, version: int, stable: int | None) -> bool:
    """Whether every server holds what it should after the end of a rollout."""
    if stable is not None:
        return site.simulator.holding(name, stable) == site.count
    return site.simulator.holding(name, version) == 0


def report(found: list[Verdict]) -> tuple[list[Table], list[Goal]]:
    """Table and goals of `verdicts`."""
    rows = []
    for kind in ("good", *BAD):
        mine = [one for one in found if one.kind == kind]
        if not mine:
            continue
        ends = ", ".join(
            f"{sum(o.outcome == outcome for o in mine)} {outcome or 'without end'}"
            for outcome in sorted({o.outcome for o in mine})
        )
        seconds = sorted(o.seconds for o in mine)
        rows.append(
            [
                kind,
                str(len(mine)),
                ends,
                str(max(o.told for o in mine)),
                f"{seconds[len(seconds) // 2]:.0f}",
                mine[0].message[:160],
            ]
        )
    columns = ["candidate", "seeds", "ended", "most servers told", "median, s", "one verdict"]
    good = [one for one in found if one.kind == "good"]
    bad = [one for one in found if one.kind != "good"]
    goals = [
        at_most(
            f"bad candidates of {len(bad)} that got beyond the first wave",
            0,
            float(sum(not one.right for one in bad)) if bad else None,
        ),
        at_most(
            f"good candidates of {len(good)} that did not get everywhere",
            0,
            float(sum(not one.right for one in good)) if good else None,
        ),
    ]
    return [Table("Verdicts by seed", columns, rows)], goals
