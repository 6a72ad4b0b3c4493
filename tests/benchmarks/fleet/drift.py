"""Part `drift`: what monitoring costs the operator of a fleet: one server's change, a wave of
alarms over all servers, and an acceptance that every server is told.

The agents are played: they report api.monitoring.DriftStatus as real ones do, on a change at once
and else with the reports that they write anyway.

    quiet    nothing changes: the operator writes nothing
    change   one server after the other begins or ceases to drift, far below the threshold
    wave     all servers begin to drift within a minute; the condition turns True once
    accept   somebody accepts: every ModelServer is written, at most some fifty a second
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from modelyard.contract.statustext import timestamp
from modelyard.core.deployment.servers import REPORTS

from ..processes import until
from ..report import Goal, Table, at_most
from . import objects
from .agent import Agent, Manifest
from .control import RATE
from .meters import OPERATOR, Cost
from .site import FleetSite

MONITORING: Manifest = {"drift": {"fleet": {"for": "0s"}}}
WAVE_SECONDS = 60.0
MOST_CPU_MS = 5.0
"""CPU of the operator for one server's change."""
STABLE: Manifest = {"state": "Stable", "sources": 1, "calibrated": 1}


@dataclass
class Step:
    """What one step cost the operator."""

    name: str
    changes: int
    """Servers that changed, or were written."""
    seconds: float
    cpu_ms: float
    """CPU of the operator a change, in milliseconds, without what it costs to be idle; a second for
    `quiet`."""
    servers: int
    """ModelServers that it wrote."""
    statuses: int
    """Statuses of the Deployment that it wrote."""
    noticed: float | None = None
    """Seconds from the last change until the condition said so."""


def alarm(signal: str, size: float) -> Manifest:
    """What a server reports that drifts."""
    moment = timestamp(datetime.now(UTC))
    finding = {"kind": "Drift", "signal": signal, "size": size, "since": moment}
    finding["because"] = [f"Brightness {size:+.1f}"]
    return STABLE | {"state": "Drifting", "findings": [finding], "alarmSince": moment}


async def measure(site: FleetSite, name: str, seconds: float) -> list[Step]:
    """All steps at the present size. Raises TooLong."""
    await site.api.patch(objects.DEPLOYMENT, name, {"spec": {"monitoring": MONITORING}})
    begun = time.monotonic()
    await until(lambda: _all_known(site, name), site.deadline, "all servers report of drift")
    site.say(f"all servers report of drift after {time.monotonic() - begun:.0f} s")
    await _calm(site)
    before = await site.meter.snapshot()
    await asyncio.sleep(seconds)
    quiet = await site.meter.since(before)
    idle = quiet.cpu[OPERATOR] / quiet.seconds
    found = [_step("quiet", quiet, 1, 0.0)]
    found[0].cpu_ms = round(1000 * idle, 2)
    agents = [one for one in site.simulator.agents.values() if one.server is not None]
    site.config.rng("drift").shuffle(agents)
    found.append(await _single(site, agents, seconds, idle))
    found.append(await _wave(site, name, agents, idle))
    found.append(await _accept(site, name, agents, idle))
    for one in found:
        site.say(f"{one}")
    return found


async def _single(site: FleetSite, agents: Sequence[Agent], seconds: float, idle: float) -> Step:
    """One server after the other drifts, and the next moment does not."""
    count = max(2, int(seconds * RATE) // 2 * 2)
    before, begun = await site.meter.snapshot(), time.perf_counter()
    for number in range(count):
        agent = agents[(number // 2) % len(agents)]
        site.simulator.see(agent, STABLE if number % 2 else alarm("TopScore", -3.0))
        await asyncio.sleep(max(0.0, begun + (number + 1) / RATE - time.perf_counter()))
    await _calm(site)
    return _step("change", await site.meter.since(before), count, idle)


async def _wave(site: FleetSite, name: str, agents: Sequence[Agent], idle: float) -> Step:
    """All servers drift, one after the other within a minute."""
    spread = min(WAVE_SECONDS, len(agents) / RATE)
    before, begun = await site.meter.snapshot(), time.perf_counter()
    for number, agent in enumerate(agents):
        site.simulator.see(agent, alarm("Embedding", 2.0 + number / len(agents)))
        if number % 10 == 0:
            ahead = begun + number * spread / len(agents) - time.perf_counter()
            await asyncio.sleep(max(0.0, ahead))
    last = time.perf_counter()
    await until(lambda: _drifting(site, name, len(agents)), site.deadline, "all servers drift")
    noticed = round(time.perf_counter() - last, 2)
    await _calm(site)
    made = _step("wave", await site.meter.since(before), len(agents), idle)
    made.noticed = noticed
    return made


async def _accept(site: FleetSite, name: str, agents: Sequence[Agent], idle: float) -> Step:
    """Somebody accepts; every server is told, and drifts no more."""
    for agent in agents:
        agent.accepts = True
    notes = {"metadata": {"annotations": {"modelyard.dev/drift-accept": "all@bench"}}}
    before, last = await site.meter.snapshot(), time.perf_counter()
    await site.api.patch(objects.DEPLOYMENT, name, notes)
    await until(lambda: _drifting(site, name, 0), site.deadline, "no server drifts any more")
    noticed = round(time.perf_counter() - last, 2)
    await _calm(site)
    made = _step("accept", await site.meter.since(before), len(agents), idle)
    made.noticed = noticed
    return made


def _step(name: str, cost: Cost, changes: int, idle: float) -> Step:
    spent = cost.cpu[OPERATOR] - idle * cost.seconds
    return Step(
        name=name,
        changes=changes,
        seconds=round(cost.seconds, 1),
        cpu_ms=round(1000 * spent / changes, 3),
        servers=cost.writes.get("apply ModelServer", 0),
        statuses=cost.writes.get("patch_status Deployment", 0),
    )


async def _calm(site: FleetSite) -> None:
    """Everything is said, and the operator has nothing to do."""
    await until(site.simulator.idle, site.deadline, "agents have said what they want to say")
    await until(site.operator.idle, site.deadline, "the operator is idle")
    await asyncio.sleep(2)


def _counts(site: FleetSite, name: str) -> dict[str, Any]:
    found: dict[str, Any] = (site.seen.status(name).get("monitoring") or {}).get("drift") or {}
    return found


async def _all_known(site: FleetSite, name: str) -> bool:
    return bool(_counts(site, name).get("baseline") == site.count)


async def _drifting(site: FleetSite, name: str, servers: int) -> bool:
    """Whether so many drift, and the condition fits."""
    conditions = site.seen.status(name).get("conditions") or ()
    status = next((one["status"] for one in conditions if one["type"] == "Drifting"), "")
    counted = _counts(site, name).get("drifting") == servers
    return counted and status == ("True" if servers else "False")


def report(found: Sequence[Step], nodes: int) -> tuple[list[Table], list[Goal]]:
    """Table and goals of `drift`."""
    rows = [
        [
            one.name,
            f"{one.changes:,}" if one.name != "quiet" else "",
            f"{one.seconds:.0f}",
            f"{one.cpu_ms:.2f}",
            f"{one.servers:,}",
            f"{one.statuses:,}",
            "" if one.noticed is None else f"{one.noticed:.1f}",
        ]
        for one in found
    ]
    columns = [
        "step", "servers that change", "seconds", "operator's CPU a change, ms",
        "ModelServers written", "statuses written", "known after, s",
    ]  # fmt: skip
    note = f"{nodes:,} played agents. `quiet`: CPU a second; there, nothing must be written."
    by_name = {one.name: one for one in found}
    quiet, change, accept = (by_name.get(one) for one in ("quiet", "change", "accept"))
    rate = accept.servers / accept.noticed if accept is not None and accept.noticed else None
    goals = [
        at_most(
            "writes of the operator while nothing changes",
            0,
            float(quiet.servers + quiet.statuses) if quiet is not None else None,
        ),
        at_most(
            "CPU of the operator for one server's change, ms",
            MOST_CPU_MS,
            change.cpu_ms if change is not None else None,
        ),
        at_most(
            "ModelServers written a second while all are told what was accepted",
            # A batch a second, and those that changes of other servers add meanwhile.
            3.0 * REPORTS,
            rate,
        ),
    ]
    return [Table("Drift of a fleet", columns, rows, note)], goals
