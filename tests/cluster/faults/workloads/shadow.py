"""Versions run in the shadow: one is superseded, one is promoted, one disagrees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...fake_status import Served
from ..scene import Scene
from .version import ready_version
from .workload import Step, Workload

NAME, SERVERS = "lens", 2
FIRST, SUPERSEDED, AGREES, DISAGREES = 1, 2, 3, 4

AGREEMENT = {"name": "agreement", "metric": "Agreement", "min": 0.9, "interval": "1s"}
SPEC = {
    "modelLine": NAME,
    "version": {"policy": "Pinned", "number": FIRST},
    "target": {"cluster": {"replicas": SERVERS}},
    "rollout": {
        "shadow": {"duration": "1s", "servers": 1, "analysis": {"metrics": [AGREEMENT]}},
        "steps": [{"nodes": 1, "pause": {}}],
    },
}
PROMOTE = {"metadata": {"annotations": {"modelyard.dev/promote": "step@2026-01-01T00:00:00Z"}}}


def _prepare(scene: Scene) -> None:
    for number in (FIRST, SUPERSEDED, AGREES, DISAGREES):
        ready_version(scene, NAME, number)


def _pin(number: int) -> Callable[[Scene], None]:
    spec = {"version": {"policy": "Pinned", "number": number}}
    return lambda scene: scene.patch("Deployment", NAME, {"spec": spec})


def _unshadowed(scene: Scene) -> bool:
    """Whether no server runs anything in the shadow, nor reports of it."""
    servers = scene.live("ModelServer")
    return not any("shadow" in (s["spec"] | (s.get("status") or {})) for s in servers)


def _serves(version: int) -> Callable[[Scene], bool]:
    def done(scene: Scene) -> bool:
        status = scene.status("Deployment", NAME)
        return (
            scene.phase("Deployment", NAME) == "Healthy"
            and status["stable"]["version"] == version
            and status["updatedReplicas"] == SERVERS
            and _unshadowed(scene)
        )

    return done


def _waits(version: int) -> Callable[[Scene], bool]:
    """Whether a version is through the shadow, on one server, and waits for somebody."""

    def done(scene: Scene) -> bool:
        status = scene.status("Deployment", NAME)
        return (
            scene.phase("Deployment", NAME) == "Paused"
            and status["candidate"]["version"] == version
            and status["updatedReplicas"] == 1
            and _unshadowed(scene)
        )

    return done


def _refused(scene: Scene) -> bool:
    status: Any = scene.status("Deployment", NAME)
    rejected = status.get("rejected") or {}
    return (
        scene.phase("Deployment", NAME) == "Degraded"
        and (rejected.get("version"), rejected.get("reason")) == (DISAGREES, "AnalysisFailed")
        and status["stable"]["version"] == AGREES
        and status["updatedReplicas"] == SERVERS
        and _unshadowed(scene)
    )


def _rest(scene: Scene) -> None:
    for number in (FIRST, SUPERSEDED, AGREES, DISAGREES):
        scene.delete("ModelVersion", f"{NAME}-{number}")


SHADOWED = Workload(
    name="shadow",
    prepare=_prepare,
    served={DISAGREES: Served(matched=60)},
    steps=(
        Step("create", lambda scene: scene.create("Deployment", NAME, SPEC), _serves(FIRST)),
        Step("a version that agrees, first wave", _pin(SUPERSEDED), _waits(SUPERSEDED)),
        Step("another one instead, first wave", _pin(AGREES), _waits(AGREES)),
        Step(
            "all servers",
            lambda scene: scene.patch("Deployment", NAME, PROMOTE),
            _serves(AGREES),
        ),
        Step("a version that disagrees", _pin(DISAGREES), _refused, last_of_life=True),
        Step(
            "delete",
            lambda scene: scene.delete("Deployment", NAME),
            lambda scene: scene.left() == scene.left("ModelVersion"),
        ),
        Step("delete the rest", _rest, lambda scene: scene.empty()),
    ),
)
