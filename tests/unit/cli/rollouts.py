"""Deployments in the middle of rollouts, as the API server sends them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime(2026, 11, 17, 10, 0, 0, tzinfo=UTC)
DIGEST = "sha256:" + "ab" * 32


def at(seconds: float) -> str:
    """So many seconds before NOW."""
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def version(number: int) -> dict[str, Any]:
    return {"modelVersion": f"shelf-{number}", "version": number, "digest": DIGEST}


def metric(name: str, phase: str = "Running", **found: Any) -> dict[str, Any]:
    return {"name": name, "phase": phase, "bound": "≤ 0.01", "count": 3, **found}


def record(revision: int, number: int, outcome: str, began: float, **more: Any) -> dict[str, Any]:
    """An ended rollout of an hour's length."""
    return {
        "revision": revision,
        "modelVersion": f"shelf-{number}",
        "version": number,
        "previous": number - 1,
        "trigger": f"shelf-{number} is the highest Ready version",
        "startedAt": at(began),
        "endedAt": at(began - 3600),
        "outcome": outcome,
        **more,
    }


HISTORY = [
    record(6, 4, "Succeeded", 90_000, servers=4990),
    record(5, 4, "RolledBack", 190_000, message="errors 0.08 (must be ≤ 0.01)", servers=0),
    record(4, 3, "Succeeded", 800_000, servers=4800),
]
STEPS = [
    {"weight": 1, "pause": {"duration": "10m"}},
    {"pool": "lab", "pause": {}},
    {"pool": "north"},
]
ROLLOUT = {
    "prestage": True,
    "shadow": {
        "share": 0.1,
        "duration": "10m",
        "analysis": {"metrics": [{"name": "agreement", "metric": "Agreement", "min": 0.95}]},
    },
    "steps": STEPS,
    "analysis": {
        "metrics": [
            {"name": "errors", "metric": "ErrorRate", "max": 0.01},
            {"name": "p95", "metric": "LatencyP95", "maxRatio": 1.2},
        ]
    },
}
EDGE = {
    "edge": {
        "nodeSelector": {"camera": "true"},
        "pools": {"label": "region", "values": ["lab", "north", "south"]},
    }
}
COUNTS = {
    "replicas": 5000,
    "readyReplicas": 4896,
    "updatedReplicas": 340,
    "offlineReplicas": 104,
    "failedReplicas": 2,
}
POOLS = [
    {"name": "lab", "servers": 28, "updated": 28},
    {"name": "north", "servers": 1240, "updated": 312, "offline": 60, "failed": 2},
    {"name": "south", "servers": 3732, "offline": 44},
]


def deployment(*, spec: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    """cameras, with version 4 as the stable one."""
    return {
        "metadata": {"name": "cameras", "namespace": "vision", "generation": 3, "uid": "u"},
        "spec": {"modelLine": "shelf", "target": EDGE, "rollout": ROLLOUT, **(spec or {})},
        "status": {"observedGeneration": 3, "stable": version(4), **status},
    }


def state(stage: str, step: int | None = None, **more: Any) -> dict[str, Any]:
    """status.rollout."""
    found = {
        "revision": 7,
        "trigger": "shelf-5 is the highest Ready version",
        "startedAt": at(1450),
        "stage": stage,
        "steps": 4,
        "stageStartedAt": at(95),
        "lastProgressAt": at(2),
        "target": 1240,
        "done": 312,
        **more,
    }
    return found if step is None else found | {"step": step}


def rolling(stage: str = "Step", step: int | None = 3, **more: Any) -> dict[str, Any]:
    """cameras on its way to version 5."""
    return deployment(
        phase="Paused" if more.get("paused") else "Progressing",
        message="312 of 1,240 servers of pool north have switched to shelf-5",
        candidate=version(5),
        rollout=state(stage, step, **more),
        pools=POOLS,
        history=HISTORY,
        **COUNTS,
    )


def server(
    node: str = "node-17", *, loaded: dict[str, Any] | None = None, **status: Any
) -> dict[str, Any]:
    """A ModelServer."""
    found = status | ({"loaded": loaded} if loaded else {})
    return {
        "metadata": {
            "name": f"cameras-{node}-0123456789",
            "namespace": "vision",
            "creationTimestamp": at(2_000_000),
        },
        "spec": {"deployment": "cameras", "nodeName": node, "assigned": version(4)},
        "status": found,
    }


def period(number: int, since: float, until: float) -> dict[str, Any]:
    return version(number) | {"since": at(since), "until": at(until)}
