"""Edge servers get new settings, and so new pods, in two waves; then settings that their pods never
start with, and the former ones again."""

from __future__ import annotations

from typing import Any

from ...fake_status import TOO_MANY_CPUS
from ..scene import Scene
from .version import ready_version
from .workload import Step, Workload

NAME, EDGE, SITE = "boxes", "example.com/box", "example.com/site"
NODES = {"east-1": "east", "west-1": "west"}

SPEC = {
    "modelLine": NAME,
    "target": {
        "edge": {
            "nodeSelector": {EDGE: "true"},
            "pools": {"label": SITE, "values": ["east", "west"]},
        }
    },
    "rollout": {"steps": [{"pool": "east", "pause": {}}]},
}
PROMOTE = {"metadata": {"annotations": {"modelyard.dev/promote": "step@2026-01-01T00:00:00Z"}}}
DEADLINE = 2
"""Seconds that pods have which never start."""


def _prepare(scene: Scene) -> None:
    for name, site in NODES.items():
        scene.add_node(name, {EDGE: "true", SITE: site})
    ready_version(scene, NAME, 1)


def _set(cpus: str, deadline: int | None = None) -> Any:
    spec = {
        "server": {"resources": {"cpu": cpus}},
        "rollout": {"progressDeadlineSeconds": deadline},
    }
    return lambda scene: scene.patch("Deployment", NAME, {"spec": spec})


def _is(phase: str, updated: int) -> Any:
    def done(scene: Scene) -> bool:
        status = scene.status("Deployment", NAME)
        return (
            scene.phase("Deployment", NAME) == phase
            and status["stable"]["version"] == 1
            and status["updatedReplicas"] == updated
        )

    return done


SETTINGS = Workload(
    name="settings",
    prepare=_prepare,
    steps=(
        Step("create", lambda scene: scene.create("Deployment", NAME, SPEC), _is("Healthy", 2)),
        Step("new settings, first wave", _set("200m"), _is("Paused", 1)),
        Step(
            "second wave",
            lambda scene: scene.patch("Deployment", NAME, PROMOTE),
            _is("Healthy", 2),
        ),
        Step("pods that never start", _set(TOO_MANY_CPUS, DEADLINE), _is("Degraded", 0)),
        Step("the former settings", _set("200m"), _is("Healthy", 2), last_of_life=True),
        Step(
            "delete",
            lambda scene: scene.delete("Deployment", NAME),
            lambda scene: scene.left() == scene.left("ModelVersion"),
        ),
        Step(
            "delete the rest",
            lambda scene: scene.delete("ModelVersion", f"{NAME}-1"),
            lambda scene: scene.empty(),
        ),
    ),
)
