"""Part `control`: what a status change of one server costs the operator, by the fleet's size.

All agents are held still, and the harness changes one server's status after the other, at a rate
that every size can bear. What the operator costs without any change is taken off.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from modelyard.contract.statustext import timestamp

from ..processes import until
from ..report import Goal, Table, at_most
from .agent import Agent, Manifest
from .meters import OPERATOR
from .simulator import SERVERS
from .site import FleetSite

RATE = 60.0
"""Changes a second."""
MOST_RATIO = 1.5


@dataclass
class Control:
    """Costs at one size."""

    nodes: int
    changes: int
    """Of each kind."""
    idle_ms: float
    """CPU of the operator a second without changes, in milliseconds."""
    figures_ms: float
    """CPU a change of nothing but figures."""
    figures_reconciles: int
    state_ms: float
    """CPU a change of what a server holds, which decisions look at."""
    state_reconciles: int


async def measure(site: FleetSite, name: str, seconds: float) -> Control:
    """Costs at the present size. Raises TooLong."""
    simulator = site.simulator
    simulator.pause()
    try:
        await until(site.operator.idle, site.deadline, "the operator is idle")
        await asyncio.sleep(2)
        before = await site.meter.snapshot()
        await asyncio.sleep(seconds)
        idle = await site.meter.since(before)
        per_second = idle.cpu[OPERATOR] / idle.seconds
        agents = [a for a in simulator.agents.values() if a.server is not None]
        site.config.rng("control").shuffle(agents)
        count = max(1, int(seconds * RATE))
        figures = await _changes(site, agents, count, _figures, per_second)
        state = await _changes(site, agents, count, _state, per_second)
    finally:
        simulator.resume()
    for number, agent in enumerate(agents[: count // 2 + 1]):
        agent.unsaid(time.time(), number / RATE)
        simulator.plan(agent)
    await asyncio.sleep(count / RATE / 2)
    await until(simulator.idle, site.deadline, "agents have said what they were kept from saying")
    await site.healthy(name)
    made = Control(
        site.count, count, round(per_second * 1000, 2), figures[0], figures[1], state[0], state[1]
    )
    site.say(f"{made}")
    return made


async def _changes(
    site: FleetSite,
    agents: list[Agent],
    count: int,
    change: Callable[[Agent, int], Manifest],
    idle: float,
) -> tuple[float, int]:
    """CPU in milliseconds a change, and reconciles in all."""
    before = await site.meter.snapshot()
    begun = time.perf_counter()
    for number in range(count):
        agent = agents[(number // 2) % len(agents)]
        assert agent.server is not None
        server = agent.server["metadata"]["name"]
        body = {**change(agent, number), "reportedAt": timestamp(datetime.now(UTC))}
        await site.api.patch(SERVERS, server, {"status": body})
        ahead = begun + (number + 1) / RATE - time.perf_counter()
        if ahead > 0:
            await asyncio.sleep(ahead)
    await until(site.operator.idle, site.deadline, "the operator is idle again")
    cost = await site.meter.since(before)
    spent = cost.cpu[OPERATOR] - idle * cost.seconds
    return round(1000 * spent / count, 3), cost.reconciles


def _figures(agent: Agent, number: int) -> Manifest:
    held = agent.held
    assert held is not None
    return {"figures": {"version": held.version, "seconds": 60, "requests": 100 + number}}


def _state(agent: Agent, number: int) -> Manifest:
    """It seems to hold something else, and the next time what it should."""
    held = agent.held
    assert held is not None
    other = "sha256:" + "0" * 64
    return {"loaded": {"digest": held.digest if number % 2 else other}}


def report(found: list[Control]) -> tuple[list[Table], list[Goal]]:
    """Table and goals of `control`; the costs at the largest against the smallest size."""
    rows: list[list[Any]] = [
        [
            f"{one.nodes:,}",
            f"{one.figures_ms:.2f}",
            f"{one.figures_reconciles}",
            f"{one.state_ms:.2f}",
            f"{one.state_reconciles}",
            f"{one.idle_ms:.1f}",
        ]
        for one in found
    ]
    columns = [
        "nodes",
        "change of figures, ms",
        "reconciles",
        "change of state, ms",
        "reconciles",
        "idle, ms/s",
    ]
    changes = found[0].changes if found else 0
    note = f"CPU of the operator a change, over {changes:,} changes of each kind."
    goals = []
    small, large = min(found, key=lambda c: c.nodes), max(found, key=lambda c: c.nodes)
    for kind in ("figures", "state"):
        low, high = getattr(small, f"{kind}_ms"), getattr(large, f"{kind}_ms")
        ratio = round(high / low, 2) if low > 0 and small is not large else None
        words = f"CPU of a change of {kind}, {large.nodes:,} / {small.nodes:,} nodes"
        goals.append(at_most(words, MOST_RATIO, ratio))
    return [Table("What a status change of one server costs", columns, rows, note)], goals
