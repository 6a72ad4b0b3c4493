"""Who switches next: a pure function of who holds what."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.core.deployment.observed import ServerState
from modelyard.core.plan import Manifest


@dataclass(frozen=True)
class Round:
    """The state of a rollout and its next round."""

    assign: dict[str, Manifest]
    """Assignment of each server, by name."""
    updated: int
    """Servers that answer with the target."""
    switching: tuple[ServerState, ...]
    """Servers that were told to switch and do not hold the target yet."""
    complete: bool
    """Whether every server holds the target."""


def most_unavailable(wanted: int | str, servers: int) -> int:
    """Servers that may switch at the same time: a percentage is rounded up, at least one."""
    if isinstance(wanted, str):
        return max(1, math.ceil(int(wanted.rstrip("%")) * servers / 100))
    return max(1, wanted)


def next_round(
    servers: Sequence[ServerState], *, target: Manifest, start: Manifest, budget: int
) -> Round:
    """Assigns the target to as many servers as the budget allows.

    `start` is what a server gets that has no assignment yet: the stable version during a
    rollout. A server counts against the budget while it switches or is not ready. Those that hold
    nothing useful go first (an assignment that was superseded or failed), then unready ones.
    """
    assign = {s.name: s.assigned or start for s in servers}
    switching = [s for s in servers if assign[s.name] == target and not s.holds(target)]
    busy = {s.name for s in switching} | {s.name for s in servers if not s.ready}
    outdated = sorted(
        (s for s in servers if assign[s.name] != target),
        key=lambda s: (s.holds(assign[s.name]), s.ready, s.name),
    )
    for server in outdated:
        if len(busy) >= budget and server.name not in busy:
            continue
        if server.name in busy and len(switching) >= budget:
            continue
        assign[server.name] = target
        busy.add(server.name)
        switching.append(server)
    return Round(
        assign=assign,
        updated=sum(s.ready and s.assigned == target and s.holds(target) for s in servers),
        switching=tuple(switching),
        complete=all(s.assigned == target and s.holds(target) for s in servers),
    )
