"""What a cluster is doing: one row a component, for tables and JSON."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelyard_local.cluster.probes import Check
from modelyard_local.cluster.processes import Processes


@dataclass(frozen=True)
class ComponentStatus:
    """One component."""

    component: str
    pid: int | None
    healthy: bool
    since: float | None
    """Seconds since the epoch."""
    message: str
    """Why it is not healthy; empty when it is."""


@dataclass(frozen=True)
class ClusterStatus:
    """A whole cluster."""

    name: str
    mode: str
    kubeconfig: Path
    logs: Path
    components: list[ComponentStatus]

    @property
    def healthy(self) -> bool:
        """Whether every component is."""
        return bool(self.components) and all(each.healthy for each in self.components)

    def as_json(self) -> dict[str, Any]:
        """The document of `modelyard cluster status --output json`."""
        document = asdict(self)
        document |= {
            "kubeconfig": str(self.kubeconfig),
            "logs": str(self.logs),
            "healthy": self.healthy,
        }
        for row in document["components"]:
            if row["since"] is not None:
                row["since"] = datetime.fromtimestamp(row["since"], UTC).isoformat()
        return document


def component_status(name: str, processes: Processes, check: Check) -> ComponentStatus:
    """Check one component's process, then its health endpoint."""
    running = processes.running(name)
    if running is None:
        return ComponentStatus(name, None, False, None, "not running")
    reason = check()
    return ComponentStatus(name, running.pid, not reason, running.since, reason)


def component_statuses(checks: Mapping[str, Check], processes: Processes) -> list[ComponentStatus]:
    """`component_status` of all."""
    return [component_status(name, processes, check) for name, check in checks.items()]


def age(since: float) -> str:
    """How long ago, as kubectl writes it: `12s`, `5m`, `3h`, `2d`."""
    seconds = max(0, round(time.time() - since))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
