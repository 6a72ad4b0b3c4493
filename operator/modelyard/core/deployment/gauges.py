"""What Prometheus learns of each Modelyard Deployment: what serves, and how a rollout is."""

from __future__ import annotations

from collections.abc import Iterator

from modelyard.core import meta
from modelyard.core.deployment import reasons
from modelyard.core.deployment.recorded import Recorded
from modelyard.core.plan import KubeObject, ObjectGauge

WAITS = (reasons.POOL_UNKNOWN, reasons.POOL_UNREACHABLE, reasons.SERVERS_VANISH)
"""Reasons of conditions for which a rollout waits without a pause of its own."""
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
    found = Recorded.of(meta.status(obj))
    for role, one in (("stable", found.stable), ("candidate", found.candidate)):
        if one is not None:
            yield (role, one.model_version), float(one.version)
    if found.rejected is not None:
        yield ("rejected", found.rejected.model_version), float(found.rejected.version)


def _rollout(obj: KubeObject) -> Iterator[tuple[tuple[str, ...], float]]:
    status = meta.status(obj)
    state = Recorded.of(status).rollout
    if state is None:
        return
    paused: str = state.paused_for or ""
    found = {one["reason"] for one in status.get("conditions") or ()}
    for reason in WAITS:
        if reason in found:
            paused = reason
    yield (state.stage.value, str(paused)), float(state.step or 0)


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
