"""A Deployment on edge nodes goes to its second version in two waves, while a node is away."""

from __future__ import annotations

from typing import Any

from ..scene import Scene
from .version import ready_version
from .workload import Step, Workload

NAME, EDGE, SITE = "fleet", "example.com/edge", "example.com/site"
NODES = {"north-1": "north", "north-2": "north", "south-1": "south", "south-2": "south"}
AWAY = "south-2"

SPEC = {
    "modelLine": NAME,
    "version": {"policy": "Pinned", "number": 1},
    "target": {
        "edge": {
            "nodeSelector": {EDGE: "true"},
            "pools": {"label": SITE, "values": ["north", "south"]},
        }
    },
    "rollout": {
        "prestage": True,
        "steps": [{"pool": "north", "pause": {}}],
        "analysis": {
            "metrics": [
                {"name": "errors", "metric": "ErrorRate", "max": 0.05, "interval": "1s"},
            ]
        },
    },
}
PROMOTE = {"metadata": {"annotations": {"modelyard.dev/promote": "step@2026-01-01T00:00:00Z"}}}
LATEST = {"spec": {"version": {"policy": "Latest", "number": None}}}


def _prepare(scene: Scene) -> None:
    for name, site in NODES.items():
        scene.add_node(name, {EDGE: "true", SITE: site})
    ready_version(scene, NAME, 1)
    ready_version(scene, NAME, 2)


def _serves(version: int, updated: int) -> Any:
    def done(scene: Scene) -> bool:
        status = scene.status("Deployment", NAME)
        return (
            scene.phase("Deployment", NAME) == "Healthy"
            and status["stable"]["version"] == version
            and status["updatedReplicas"] == updated
            and status["offlineReplicas"] == len(NODES) - updated
        )

    return done


def _waits(scene: Scene) -> bool:
    """Whether the first wave is through and waits for somebody."""
    status = scene.status("Deployment", NAME)
    return (
        scene.phase("Deployment", NAME) == "Paused"
        and status["updatedReplicas"] == 2
        and status["rollout"]["analysis"]["phase"] == "Successful"
    )


def _rest(scene: Scene) -> None:
    scene.delete("ModelVersion", f"{NAME}-1")
    scene.delete("ModelVersion", f"{NAME}-2")


EDGE_FLEET = Workload(
    name="edge",
    prepare=_prepare,
    steps=(
        Step("create", lambda scene: scene.create("Deployment", NAME, SPEC), _serves(1, 4)),
        Step(
            "a node is cut off",
            lambda scene: scene.set_node(AWAY, ready=False),
            _serves(1, 3),
        ),
        Step(
            "second version, first wave",
            lambda scene: scene.patch("Deployment", NAME, LATEST),
            _waits,
        ),
        Step(
            "second wave",
            lambda scene: scene.patch("Deployment", NAME, PROMOTE),
            _serves(2, 3),
        ),
        Step(
            "the node is back",
            lambda scene: scene.set_node(AWAY, ready=True),
            _serves(2, 4),
            last_of_life=True,
        ),
        Step(
            "delete",
            lambda scene: scene.delete("Deployment", NAME),
            lambda scene: scene.left() == scene.left("ModelVersion"),
        ),
        Step("delete the rest", _rest, lambda scene: scene.empty()),
    ),
)
