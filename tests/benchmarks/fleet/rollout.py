"""Part `rollout`: one version replaced by the next on every node, in waves."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from ..report import Goal, Table, at_most, below
from ..stats import quantile
from . import objects
from .meters import OPERATOR, Cost
from .site import FleetSite

MOST_SECONDS = {5_000: 300, 10_000: 360}
"""Of a rollout, by the number of nodes up to which that holds."""
MOST_WRITES, MOST_REPORTS, MOST_KB, MOST_MB = 1.1, 3, 20, 300


@dataclass
class Rollout:
    """One rollout over the fleet."""

    nodes: int
    dark: int
    seconds: float
    """From the version's Ready until the Deployment is Healthy with it."""
    waves: list[tuple[str, float]]
    """Phase and stage, and after how many seconds they began."""
    cost: dict[str, Any]
    """meters.Cost."""
    busiest: str
    writes_per_node: float
    """The operator's own."""
    reports_per_node: float
    """The agents'."""
    reports_by_phase: dict[str, float]
    """The same, by the phase that they tell of."""
    late_p99: float
    """Seconds from when an agent wanted to report until its report was sent: what the simulator,
    or an API server that leaves it no free writer, holds up."""
    refused: dict[str, int]
    largest_bytes: int
    """Of the Deployment, as JSON, until then."""
    phases: list[tuple[str, float]] = field(default_factory=list)
    """How long the set-up took."""


async def roll(site: FleetSite, name: str, version: int, *, dark: int = 0) -> Rollout:
    """Releases a version and waits until all that can be reached serve it. Raises TooLong."""
    simulator = site.simulator
    before, reports = await site.meter.snapshot(), simulator.reports.copy()
    simulator.late.clear()
    simulator.refused.clear()
    told = len(site.seen.history[name])
    begun = time.perf_counter()
    await objects.release(site.api, name, version)
    await site.healthy(name, version)
    seconds = time.perf_counter() - begun
    cost = await site.meter.since(before)
    sent = simulator.reports - reports
    made = Rollout(
        nodes=site.count,
        dark=dark,
        seconds=round(seconds, 1),
        waves=[(words, round(at - begun, 1)) for at, words in site.seen.history[name][told:]],
        cost=vars(cost),
        busiest=cost.busiest(),
        writes_per_node=round(cost.total_writes / site.count, 3),
        reports_per_node=round(sent.total() / site.count, 2),
        reports_by_phase={phase: round(n / site.count, 2) for phase, n in sent.items()},
        late_p99=round(quantile(simulator.late, 0.99), 3) if simulator.late else 0.0,
        refused={str(status): n for status, n in simulator.refused.items()},
        largest_bytes=site.seen.largest[name],
        phases=list(site.phases),
    )
    site.say(
        f"version {version} on {site.count - dark} of {site.count} nodes: {made.seconds} s, "
        f"{made.writes_per_node} writes a node, {made.busiest}"
    )
    return made


def report(made: Rollout) -> tuple[list[Table], list[Goal]]:
    """Tables and goals of `rollout`."""
    cost = Cost(**made.cost)
    nodes = made.nodes
    rows = [
        ["until all serve the new version, s", f"{made.seconds:.0f}"],
        ["writes of the operator a node", f"{made.writes_per_node:.2f}"],
        ["reports of agents a node", f"{made.reports_per_node:.1f}"],
        *([f"… of {phase}", f"{n:.2f}"] for phase, n in sorted(made.reports_by_phase.items())),
        ["Deployment object, largest, kB", f"{made.largest_bytes / 1000:.1f}"],
        ["RSS of the operator, MB", f"{cost.rss_mb:.0f}"],
        ["CPU of the operator, s", f"{cost.cpu[OPERATOR]:.1f}"],
        ["reports held up in the simulator, p99, s", f"{made.late_p99:.2f}"],
    ]
    rows += [[words, f"after {at:.0f} s"] for words, at in made.waves]
    written = ", ".join(f"{n:,} {name}" for name, n in sorted(cost.writes.items()))
    note = f"Writes: {written}. CPU, share of a core: {made.busiest}."
    words = f"rollout over {nodes:,} nodes"
    most_seconds = next((s for n, s in MOST_SECONDS.items() if nodes <= n), 0)
    goals = [
        below(f"{words} in waves of 1, 10, 100 %", most_seconds, made.seconds, "s"),
        at_most(f"{words}: operator's writes a node", MOST_WRITES, made.writes_per_node),
        at_most(f"{words}: reports of agents a node", MOST_REPORTS, made.reports_per_node),
        below(f"{words}: Deployment object", MOST_KB, made.largest_bytes / 1000, "kB"),
        below(f"{words}: most RSS of the operator", MOST_MB, cost.peak_mb, "MB"),
    ]
    setup = Table(
        f"{nodes:,} nodes: set-up", ["step", "s"], [[n, f"{s:.0f}"] for n, s in made.phases]
    )
    table = Table(f"{nodes:,} nodes: a new version everywhere", ["", "measured"], rows, note)
    return [table, setup], goals
