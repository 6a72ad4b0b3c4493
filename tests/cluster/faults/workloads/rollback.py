"""A version that answers badly and one that cannot be loaded are rolled back; a good one stays."""

from __future__ import annotations

from typing import Any

from ...fake_status import Served
from ..scene import Scene
from .version import ready_version
from .workload import Step, Workload

NAME = "lane"
SPEC = {
    "modelLine": NAME,
    "version": {"policy": "Pinned", "number": 1},
    "target": {"cluster": {"replicas": 2}},
    "rollout": {
        "steps": [{"nodes": 1}],
        "analysis": {
            "metrics": [
                {"name": "errors", "metric": "ErrorRate", "max": 0.05, "interval": "1s"},
            ]
        },
    },
}
BAD, BROKEN, GOOD = 2, 3, 4


def _prepare(scene: Scene) -> None:
    for number in (1, BAD, BROKEN, GOOD):
        ready_version(scene, NAME, number)


def _pin(number: int) -> Any:
    spec = {"version": {"policy": "Pinned", "number": number}}
    return lambda scene: scene.patch("Deployment", NAME, {"spec": spec})


def _serves(version: int) -> Any:
    def done(scene: Scene) -> bool:
        status = scene.status("Deployment", NAME)
        return (
            scene.phase("Deployment", NAME) == "Healthy"
            and status["stable"]["version"] == version
            and status["updatedReplicas"] == 2
        )

    return done


def _went_back(version: int, reason: str) -> Any:
    def done(scene: Scene) -> bool:
        status = scene.status("Deployment", NAME)
        rejected = status.get("rejected") or {}
        return (
            scene.phase("Deployment", NAME) == "Degraded"
            and (rejected.get("version"), rejected.get("reason")) == (version, reason)
            and status["stable"]["version"] == 1
            and status["updatedReplicas"] == 2
        )

    return done


def _rest(scene: Scene) -> None:
    for number in (1, BAD, BROKEN, GOOD):
        scene.delete("ModelVersion", f"{NAME}-{number}")


ROLLBACK = Workload(
    name="rollback",
    prepare=_prepare,
    served={BAD: Served(failures=20), BROKEN: Served(loads=False)},
    steps=(
        Step("create", lambda scene: scene.create("Deployment", NAME, SPEC), _serves(1)),
        Step("a bad version", _pin(BAD), _went_back(BAD, "AnalysisFailed")),
        Step("a broken version", _pin(BROKEN), _went_back(BROKEN, "FailureBudgetExceeded")),
        Step("a good version", _pin(GOOD), _serves(GOOD), last_of_life=True),
        Step(
            "delete",
            lambda scene: scene.delete("Deployment", NAME),
            lambda scene: scene.left() == scene.left("ModelVersion"),
        ),
        Step("delete the rest", _rest, lambda scene: scene.empty()),
    ),
)
