"""What the operator and everybody else cost over a time."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import orjson

from modelyard_local.cluster import ControlPlane

from ..api import Manifest
from ..ours import Operator
from ..processes import usage

WRITES = frozenset({"create", "apply", "update", "patch_status", "delete"})
_SAMPLE = re.compile(r'^modelyard_api_requests_total\{code="(\w+)",kind="([^"]+)",verb="(\w+)"\}')
SIMULATOR, OPERATOR = "simulator and harness", "operator"


def parse_requests(metrics: str) -> Counter[str]:
    """The operator's own writes, whatever came of them, as `apply ModelServer`; Leases left out."""
    found: Counter[str] = Counter()
    for line in metrics.splitlines():
        match = _SAMPLE.match(line)
        if match and match[3] in WRITES and match[2] != "Lease":
            found[f"{match[3]} {match[2]}"] += int(float(line.rsplit(" ", 1)[1]))
    return found


@dataclass
class Snapshot:
    """Counters at one moment."""

    at: float
    cpu: dict[str, float]
    """CPU seconds so far, by process."""
    rss_mb: float
    peak_mb: float
    """Of the operator, since it began."""
    writes: Counter[str]
    """Of the operator."""
    reconciles: float


@dataclass
class Cost:
    """The difference of two snapshots."""

    seconds: float
    cpu: dict[str, float]
    rss_mb: float
    peak_mb: float
    writes: dict[str, int]
    reconciles: int

    @property
    def total_writes(self) -> int:
        """All writes of the operator."""
        return sum(self.writes.values())

    def busiest(self) -> str:
        """`operator 31 %, kube-apiserver 88 %`: shares of one core."""
        named = sorted(self.cpu.items(), key=lambda item: -item[1])
        return ", ".join(f"{n} {100 * s / self.seconds:.0f} %" for n, s in named if s > 0.05)


@dataclass
class Meter:
    """Reads the processes' counters."""

    plane: ControlPlane
    operator: Operator

    async def snapshot(self) -> Snapshot:
        """Counters now."""
        mine = usage(self.operator.process.pid)
        cpu = {OPERATOR: mine.cpu_seconds, SIMULATOR: usage(os.getpid()).cpu_seconds}
        for name in self.plane.component_names:
            running = self.plane.processes.running(name)
            if running is not None:
                cpu[name] = usage(running.pid).cpu_seconds
        text = await self.operator.metrics() or ""
        return Snapshot(
            at=time.monotonic(),
            cpu=cpu,
            rss_mb=mine.rss_mb,
            peak_mb=mine.peak_rss_mb,
            writes=parse_requests(text),
            reconciles=await self.operator.metric("modelyard_reconciles_total") or 0,
        )

    async def since(self, before: Snapshot) -> Cost:
        """What was spent since a snapshot."""
        now = await self.snapshot()
        return Cost(
            seconds=now.at - before.at,
            cpu={name: round(s - before.cpu.get(name, 0.0), 2) for name, s in now.cpu.items()},
            rss_mb=round(now.rss_mb, 1),
            peak_mb=round(now.peak_mb, 1),
            writes=dict(now.writes - before.writes),
            reconciles=int(now.reconciles - before.reconciles),
        )


@dataclass
class Seen:
    """Deployments as a watch shows them."""

    latest: dict[str, Manifest] = field(default_factory=dict)
    largest: dict[str, int] = field(default_factory=dict)
    """Most bytes as JSON, by name."""
    history: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    """(moment, phase and stage) whenever they changed, by name."""
    analyses: dict[str, dict[tuple[int, int], str]] = field(default_factory=dict)
    """What each step's analysis last said, by name, then by revision and step."""

    def take(self, obj: Manifest, now: float) -> None:
        """One state."""
        name = obj["metadata"]["name"]
        self.latest[name] = obj
        self.largest[name] = max(self.largest.get(name, 0), len(orjson.dumps(obj)))
        told = self.history.setdefault(name, [])
        words = _words(obj)
        if not told or told[-1][1] != words:
            told.append((now, words))
        rollout = (obj.get("status") or {}).get("rollout") or {}
        if rollout.get("analysis"):
            place = (int(rollout["revision"]), int(rollout.get("step") or 0))
            self.analyses.setdefault(name, {})[place] = _figures(rollout["analysis"])

    def status(self, name: str) -> dict[str, Any]:
        """A Deployment's status; empty if there is none."""
        return (self.latest.get(name) or {}).get("status") or {}


def _figures(analysis: Manifest) -> str:
    """`errors 0.05 of 150 (2 good, 0 bad), …`."""
    return ", ".join(
        f"{m['name']} {m.get('value')} of {m.get('samples')} "
        f"({m['successful']} good, {m['failed']} bad)"
        for m in analysis["metrics"]
    )


def _words(obj: Manifest) -> str:
    status = obj.get("status") or {}
    rollout = status.get("rollout") or {}
    where = f" {rollout.get('stage')} {rollout.get('step') or ''}".rstrip() if rollout else ""
    return f"{status.get('phase')}{where}"
