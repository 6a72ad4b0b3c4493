"""A Deployment serves a pinned version, is scaled, follows the line to its second version."""

from __future__ import annotations

from typing import Any

from ..scene import Scene
from .version import ready_version
from .workload import Step, Workload

PINNED = {
    "modelLine": "lane",
    "version": {"policy": "Pinned", "number": 1},
    "target": {"cluster": {"replicas": 1}},
}


def _prepare(scene: Scene) -> None:
    ready_version(scene, "lane", 1)
    ready_version(scene, "lane", 2)


def _edit(spec: dict[str, Any]) -> Any:
    return lambda scene: scene.patch("Deployment", "lane", {"spec": spec})


def _serves(replicas: int, version: int) -> Any:
    def done(scene: Scene) -> bool:
        status = scene.status("Deployment", "lane")
        return (
            scene.phase("Deployment", "lane") == "Healthy"
            and status.get("updatedReplicas") == replicas
            and status["stable"]["version"] == version
        )

    return done


def _rest(scene: Scene) -> None:
    scene.delete("ModelVersion", "lane-1")
    scene.delete("ModelVersion", "lane-2")


DEPLOYMENT = Workload(
    name="deployment",
    prepare=_prepare,
    steps=(
        Step("create", lambda scene: scene.create("Deployment", "lane", PINNED), _serves(1, 1)),
        Step("scale", _edit({"target": {"cluster": {"replicas": 2}}}), _serves(2, 1)),
        Step(
            "second version",
            _edit({"version": {"policy": "Latest", "number": None}}),
            _serves(2, 2),
            last_of_life=True,
        ),
        Step(
            "delete",
            lambda scene: scene.delete("Deployment", "lane"),
            lambda scene: scene.left() == scene.left("ModelVersion"),
        ),
        Step("delete the rest", _rest, lambda scene: scene.empty()),
    ),
)
