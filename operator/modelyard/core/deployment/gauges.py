"""What Prometheus learns of each Modelyard Deployment: what serves, and how a rollout is."""

from __future__ import annotations

from collections.abc import Iterator

from modelyard.core import meta
from modelyard.core.deployment import reasons
from modelyard.core.plan import KubeObject, ObjectGauge

_COUNTS = {
    "desired": "desiredReplicas",
    "existing": "replicas",
    "ready": "readyReplicas",
    "updated": "updatedReplicas",
    "offline": "offlineReplicas",
    "failed": "failedReplicas",
    "unfit": "unfitReplicas",
}


def _servers(obj: KubeObject) -> Iterator[tuple[tuple[str, ...], float]]:
    status = meta.status(obj)
    for state, field in _COUNTS.items():
        yield (state,), float(status.get(field) or 0)


def _versions(obj: KubeObject) -> Iterator[tuple[tuple[str, ...], float]]:
    for role in ("stable", "candidate", "rejected"):
        version = meta.status(obj).get(role)
        if version:
            yield (role, str(version["modelVersion"])), float(version["version"])


def _rollout(obj: KubeObject) -> Iterator[tuple[tuple[str, ...], float]]:
    status = meta.status(obj)
    state = status.get("rollout")
    if state:
        paused = (state.get("paused") or {}).get("reason") or ""
        if any(one["reason"] == reasons.SERVERS_VANISH for one in status.get("conditions") or ()):
            paused = reasons.SERVERS_VANISH
        yield (str(state["stage"]), paused), float(state.get("step") or 0)


GAUGES = (
    ObjectGauge(
        "modelyard_deployment_servers",
        "Servers of a Modelyard Deployment by state.",
        ("state",),
        _servers,
    ),
    ObjectGauge(
        "modelyard_deployment_version",
        "Number of the version that is stable, candidate or rejected.",
        ("role", "model_version"),
        _versions,
    ),
    ObjectGauge(
        "modelyard_rollout_step",
        "Step of the rollout that is going on, 0 before the first, with why it is paused.",
        ("stage", "paused"),
        _rollout,
    ),
)
