"""Part `offline`: a tenth of the nodes is away during rollouts and a rollback, and returns."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from ..processes import until
from ..report import Goal, Table, at_least, at_most
from . import nodes, objects
from .rollout import Rollout, roll
from .site import FleetSite

SHARE = 0.1
MOST_DELAY = 1.25
"""Rollout with offline nodes, in multiples of one without: two runs of one kind differ by as much
as a tenth on a busy machine."""


@dataclass
class Offline:
    """What became of those that were away."""

    nodes: int
    away: int
    shown: int
    """Offline servers that the Deployment showed meanwhile."""
    seconds: float
    """Of the rollout to those that were there."""
    without: float
    """Of a rollout with all nodes there."""
    caught_up: int
    """Of those that were away during the rollout: had the new version in the end."""
    catch_up_seconds: float
    rolled_back_seconds: float
    """Until all that were there were back on the version before."""
    away_at_rollback: int
    """Nodes with the newer or an older version that were away when it was rolled back."""
    returned: int
    """Of these: had the version that was rolled back to in the end."""
    return_seconds: float


async def measure(site: FleetSite, name: str, full: Rollout, version: int) -> Offline:
    """Rolls out `version` and the next one with nodes away, and back; all serve `version - 1`
    before, and `version` in the end. Raises TooLong."""
    order = [nodes.name(number) for number in range(site.count)]
    site.config.rng("offline").shuffle(order)
    count = round(SHARE * site.count)
    first, second, third = (set(order[i * count : (i + 1) * count]) for i in range(3))
    rest = set(order) - first

    await site.darken(first)
    await until(lambda: _shows(site, name, count), site.deadline, f"{count} are shown offline")
    shown = int(site.seen.status(name).get("offlineReplicas") or 0)
    made = await roll(site, name, version, dark=count)
    assert site.simulator.holding(name, version, among=rest) == len(rest)
    catch_up = await _return(site, name, first, version)
    caught_up = site.simulator.holding(name, version, among=first)

    # One group is away with the old version, and one leaves with the new one before it is
    # rolled back.
    await site.darken(second)
    await until(lambda: _shows(site, name, count), site.deadline, f"{count} are shown offline")
    await roll(site, name, version + 1, dark=count)
    await site.darken(third)
    away = second | third
    await until(
        lambda: _shows(site, name, len(away)), site.deadline, f"{len(away)} are shown offline"
    )
    begun = time.perf_counter()
    mark = {"metadata": {"annotations": {"modelyard.dev/rollback": f"{version}@benchmark"}}}
    await site.api.merge(objects.DEPLOYMENT, name, mark)
    await site.healthy(name, version)
    back = time.perf_counter() - begun
    returned = await _return(site, name, away, version)
    return Offline(
        nodes=site.count,
        away=count,
        shown=shown,
        seconds=made.seconds,
        without=full.seconds,
        caught_up=caught_up,
        catch_up_seconds=catch_up,
        rolled_back_seconds=round(back, 1),
        away_at_rollback=len(away),
        returned=site.simulator.holding(name, version, among=away),
        return_seconds=returned,
    )


async def _return(site: FleetSite, name: str, away: set[str], version: int) -> float:
    """Lets nodes back; seconds until all of them serve a version."""
    begun = time.perf_counter()
    await site.lighten(away)

    async def there() -> bool:
        return site.simulator.holding(name, version, among=away) == len(away)

    what = f"{len(away)} nodes that were away serve version {version}"
    try:
        await until(there, site.deadline, what, pause=0.2)
        await site.healthy(name, version)
    except Exception as error:
        held = {v: site.simulator.holding(name, v, among=away) for v in range(1, version + 2)}
        error.add_note(f"they serve {held}\n{site.trouble(name)}")
        raise
    return round(time.perf_counter() - begun, 1)


async def _shows(site: FleetSite, name: str, count: int) -> bool:
    return int(site.seen.status(name).get("offlineReplicas") or 0) == count


def report(made: Offline) -> tuple[list[Table], list[Goal]]:
    """Table and goals of `offline`."""
    ratio = made.seconds / made.without
    rows: list[list[Any]] = [
        ["nodes away during a rollout", f"{made.away:,} of {made.nodes:,}"],
        ["shown as offline", f"{made.shown:,}"],
        ["rollout to the rest, s", f"{made.seconds:.0f}"],
        ["rollout with all nodes, s", f"{made.without:.0f}"],
        ["until all that were away have it, from their return, s", f"{made.catch_up_seconds:.0f}"],
        ["rollback of those that are there, s", f"{made.rolled_back_seconds:.0f}"],
        ["nodes away meanwhile", f"{made.away_at_rollback:,}"],
        ["until they are back on the old version, s", f"{made.return_seconds:.0f}"],
    ]
    share = made.caught_up / made.away, made.returned / made.away_at_rollback
    goals = [
        at_most("rollout with 10 % of nodes away / with all", MOST_DELAY, round(ratio, 2)),
        at_least("share of nodes that caught up after a rollout", 1, share[0]),
        at_least("share of nodes that followed a rollback", 1, share[1]),
    ]
    return [Table(f"{made.nodes:,} nodes, a tenth of them away", ["", "measured"], rows)], goals
