"""What Prometheus learns of each Modelyard Deployment: what serves, and how a rollout is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

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


def _drift(field: str) -> Callable[[KubeObject], Iterator[tuple[tuple[str, ...], float]]]:
    """A field of status.monitoring.drift, where there is one."""

    def values(obj: KubeObject) -> Iterator[tuple[tuple[str, ...], float]]:
        counts = (meta.status(obj).get("monitoring") or {}).get("drift")
        if counts:
            yield (), float(counts.get(field) or 0)

    return values


def _drifting_pools(obj: KubeObject) -> Iterator[tuple[tuple[str, ...], float]]:
    for pool in (meta.status(obj).get("monitoring") or {}).get("pools") or ():
        yield (str(pool["name"]),), float(pool.get("drifting") or 0)


def _findings(obj: KubeObject) -> Iterator[tuple[tuple[str, ...], float]]:
    for one in (meta.status(obj).get("monitoring") or {}).get("findings") or ():
        yield (str(one["kind"]),), float(one["servers"])


def _episode(obj: KubeObject) -> Iterator[tuple[tuple[str, ...], float]]:
    found = Recorded.of(meta.status(obj)).monitoring
    if found is not None and found.episode is not None:
        yield (found.episode.signal,), found.episode.since.timestamp()


def _monitoring(obj: KubeObject) -> Iterator[tuple[tuple[str, ...], float]]:
    for one in meta.status(obj).get("conditions") or ():
        if one["type"] in (reasons.DRIFTING, reasons.NOT_LIKE_HOLDOUT, reasons.CAPTURING):
            yield (one["type"], one["status"], one["reason"]), 1.0


GAUGES = (
    ObjectGauge(
        "modelyard_deployment_drifting_servers",
        "Servers of a Modelyard Deployment that drift, of those with a baseline.",
        (),
        _drift("drifting"),
    ),
    ObjectGauge(
        "modelyard_deployment_drift_threshold_servers",
        "Servers that must drift at once before the Deployment does.",
        (),
        _drift("threshold"),
    ),
    ObjectGauge(
        "modelyard_deployment_baseline_servers",
        "Servers that can be reached and have a complete baseline.",
        (),
        _drift("baseline"),
    ),
    ObjectGauge(
        "modelyard_deployment_drifting_pool_servers",
        "Servers that drift by pool, for at most ten pools.",
        ("pool",),
        _drifting_pools,
    ),
    ObjectGauge(
        "modelyard_deployment_drift_start_timestamp_seconds",
        "When the episode of drift that goes on began, by signal.",
        ("signal",),
        _episode,
    ),
    ObjectGauge(
        "modelyard_deployment_finding_servers",
        "Servers with a finding of monitoring that is no drift.",
        ("finding",),
        _findings,
    ),
    ObjectGauge(
        "modelyard_deployment_monitoring",
        "1 for the present status of each condition of monitoring, with its reason.",
        ("condition", "status", "reason"),
        _monitoring,
    ),
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
