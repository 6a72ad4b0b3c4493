"""Which servers a stage of a rollout moves next, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from modelyard.api.rolloutstages import PRESTAGE, SHADOW, Stage
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.releases import Release
from modelyard.core.deployment.selection import Tallies, at_least, at_most, first, pick
from modelyard.core.fleet.fleet import Fleet
from modelyard.core.fleet.member import Group, Member

BATCH = 500
"""Most servers that one decision writes to: the next one sees how it went."""


@dataclass
class Moves:
    """Which servers are told what."""

    assign: list[Member] = field(default_factory=list)
    stage: list[Member] = field(default_factory=list)
    shadow: list[Member] = field(default_factory=list)
    shadowing: bool = False
    """Whether servers that shadow go on doing so."""
    together: int = 0
    """Servers that are to have the candidate after this stage."""


@dataclass
class Reach:
    """How far a stage is: only servers that can be reached and that the candidate fits count."""

    done: int
    failed: int
    want: int
    moves: Moves = field(default_factory=Moves)


def move(
    observed: Observed,
    tallies: Tallies,
    stage: Stage,
    *,
    stable: Release,
    candidate: Release,
    held: bool,
) -> Reach:
    """How far a stage is and whom it moves next; nobody while the rollout is held."""
    if stage.kind == PRESTAGE:
        return _prestage(observed, candidate, tallies, held)
    if stage.kind == SHADOW:
        return _shadow(observed, stable, candidate, tallies, stage, held)
    return _step(observed, tallies, stage, held)


def _prestage(observed: Observed, candidate: Release, tallies: Tallies, held: bool) -> Reach:
    key, online = candidate.key, tallies.all.online
    wanted = done = failed = 0
    fresh: list[Group] = []
    for group, count in _fitting(observed.fleet, candidate):
        if tallies.has(group) or group.staged == (key, "done"):
            done += count
        elif group.staged == (key, "failed"):
            failed += count
        elif group.staged[0] == key:
            wanted += count
        else:
            fresh.append(group)
    there = Reach(done, failed, online)
    if not held:
        room = at_most(observed.spec.rollout.prestage_concurrency, online) - wanted
        there.moves.stage = first(observed.fleet, fresh, min(room, BATCH))
    return there


def _shadow(
    observed: Observed,
    stable: Release,
    candidate: Release,
    tallies: Tallies,
    stage: Stage,
    held: bool,
) -> Reach:
    key, online = candidate.key, tallies.all.online
    chosen = running = failed = able = 0
    fresh: list[Group] = []
    for group, count in _fitting(observed.fleet, candidate):
        able += count * stable.fits(group.product)
        if group.shadow[0] == key:
            chosen += count
            running += count * (group.shadow[1] == "running")
            failed += count * (group.shadow[1] == "failed")
        elif group.assigned == stable.key and group.state == "holds" and group.ready:
            # One that still has a superseded candidate, or that stable does not fit, has nothing to
            # compare with.
            fresh.append(group)
    share = at_least(stage.shadow.servers if stage.shadow else 1, online)
    # Another server takes the place of one that cannot, within failureBudget: a candidate that
    # runs beside stable nowhere is not tried on all servers.
    want = min(share + min(failed, failure_budget(observed, tallies)), able)
    there = Reach(running, failed, want, Moves(shadowing=True))
    if not held:
        there.moves.shadow = first(observed.fleet, fresh, min(want - chosen, BATCH))
    return there


def _step(observed: Observed, tallies: Tallies, stage: Stage, held: bool) -> Reach:
    total, rollout = tallies.all, observed.spec.rollout
    if stage.pool is not None:
        pool = tallies.pools.get(stage.pool)
        done, failed = (pool.done, pool.failed) if pool else (0, 0)
        here = pool.online if pool else 0
        want = total.on - (pool.on if pool else 0) + here
    else:
        done, failed = total.done, total.failed
        share = f"{stage.weight}%" if stage.nodes is None else stage.nodes
        # Another server takes the place of one that could not load the candidate.
        want = here = min(at_least(share, total.online) + failed, total.online)
    there = Reach(done, failed, here, Moves(together=want))
    if not held:
        there.moves.assign = pick(
            observed.fleet,
            tallies,
            want=want,
            max_unavailable=rollout.max_unavailable,
            by_pool=observed.by_pool,
            only=lambda group: stage.pool is None or group.pool == stage.pool,
            limit=BATCH,
        )
    return there


def failure_budget(observed: Observed, tallies: Tallies) -> int:
    """Servers that may fail to take the candidate."""
    return at_most(observed.spec.rollout.failure_budget, tallies.all.online, least=0)


def _fitting(fleet: Fleet, candidate: Release) -> list[tuple[Group, int]]:
    """Groups of servers that can be reached and that the candidate fits, with their sizes."""
    return [
        (group, len(places))
        for group, places in fleet.groups.items()
        if group.online and candidate.fits(group.product)
    ]
