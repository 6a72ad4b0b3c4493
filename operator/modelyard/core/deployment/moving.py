"""Which servers a stage (prestage, shadow, canary step or wave) moves next, and how far it is.

How many may switch at once: selection.py. What a stage is: api/rolloutstages.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.api.rolloutstages import PRESTAGE, SHADOW, Stage
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.releases import Release
from modelyard.core.deployment.selection import Tallies, at_least, at_most, first, pick
from modelyard.core.fleet.fleet import Fleet
from modelyard.core.fleet.member import Group, Member
from modelyard.core.fleet.projections import Side

BATCH = 500
"""Most servers that one decision writes to: the next one sees how it went."""


@dataclass(frozen=True)
class Moves:
    """Which servers get what."""

    assign: Sequence[Member] = ()
    stage: Sequence[Member] = ()
    shadow: Sequence[Member] = ()
    shadowing: bool = False
    """Whether servers that shadow go on doing so."""
    together: int = 0
    """Servers that are to have the candidate after this stage."""


@dataclass(frozen=True)
class Reach:
    """How far a stage is: only servers that can be reached and that the candidate fits count."""

    done: int
    failed: int
    want: int
    moves: Moves


def move(
    observed: Observed,
    tallies: Tallies,
    stage: Stage,
    *,
    stable: Release,
    candidate: Release,
    paused: bool,
) -> Reach:
    """How far a stage is and whom it moves next; nobody while the rollout is paused."""
    if stage.kind == PRESTAGE:
        return _prestage(observed, candidate, tallies, paused)
    if stage.kind == SHADOW:
        return _shadow(observed, stable, candidate, tallies, stage, paused)
    return _step(observed, tallies, stage, paused)


def _prestage(observed: Observed, candidate: Release, tallies: Tallies, paused: bool) -> Reach:
    key, online = candidate.key, tallies.all.online
    wanted = done = failed = 0
    fresh: list[Group] = []
    for group, count in _fitting(observed.fleet, candidate):
        if tallies.has(group) or group.staged == (key, Side.DONE):
            done += count
        elif group.staged == (key, Side.FAILED):
            failed += count
        elif group.staged[0] == key:
            wanted += count
        else:
            fresh.append(group)
    slots = at_most(observed.spec.rollout.prestage_concurrency, online) - wanted
    chosen = [] if paused else first(observed.fleet, fresh, min(slots, BATCH))
    return Reach(done, failed, online, Moves(stage=chosen))


def _shadow(
    observed: Observed,
    stable: Release,
    candidate: Release,
    tallies: Tallies,
    stage: Stage,
    paused: bool,
) -> Reach:
    key, online = candidate.key, tallies.all.online
    chosen = running = failed = able = 0
    fresh: list[Group] = []
    for group, count in _fitting(observed.fleet, candidate):
        if group.shadow[0] == key:
            able += count
            chosen += count
            running += count * (group.shadow[1] is Side.RUNNING)
            failed += count * (group.shadow[1] is Side.FAILED)
        elif group.assigned == stable.key and group.answers:
            # One that still has a superseded candidate, or that stable does not fit, has nothing to
            # compare with. Whoever cannot be asked is not waited for, and proves nothing.
            able += count
            fresh.append(group)
    share = at_least(stage.shadow.servers if stage.shadow else 1, online)
    # Another server takes the place of one that cannot, within failureBudget: a candidate that
    # runs beside stable nowhere is not tried on all servers.
    want = min(share + min(failed, failure_budget(observed, tallies)), able)
    more = [] if paused else first(observed.fleet, fresh, min(want - chosen, BATCH))
    return Reach(running, failed, want, Moves(shadow=more, shadowing=True))


def _step(observed: Observed, tallies: Tallies, stage: Stage, paused: bool) -> Reach:
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
    if paused:
        return Reach(done, failed, here, Moves(together=want))
    assign = pick(
        observed.fleet,
        tallies,
        want=want,
        max_unavailable=rollout.max_unavailable,
        by_pool=observed.by_pool,
        only=lambda group: stage.pool is None or group.pool == stage.pool,
        limit=BATCH,
    )
    return Reach(done, failed, here, Moves(assign=assign, together=want))


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
