"""A paused step outlives that the steps before it are taken out (R3), and stable that it is made
anew with other weights, and then scaled up (R8).

A crash must not decide: what was promoted, and which weights are stable, is in the status before
servers are assigned anything. Servers that all go and come back (R1) are a matter of
tests/unit/core/test_rollout_machine.py: the pause has the same text then, and an Event like an
earlier one is sent again after a restart only.
"""

from __future__ import annotations

from typing import Any

from ...fake_status import evaluate_outcome, export_outcome
from ..actor import Ending
from ..scene import Scene
from .version import ready_version, version_spec
from .workload import Step, Workload

NAME = "aisle"
HALT, OTHER_HALT = {"weight": 50, "pause": {}}, {"weight": 30, "pause": {}}
SPEC = {
    "modelLine": NAME,
    "version": {"policy": "Pinned", "number": 1},
    "target": {"cluster": {"replicas": 2}},
    "rollout": {"steps": [{"weight": 10}, HALT]},
}
OTHER_WEIGHTS = 7
"""Number whose artifact the second version has once it is made anew."""
AGAIN = f"ModelVersion/{NAME}-2"


def _prepare(scene: Scene) -> None:
    ready_version(scene, NAME, 1)
    ready_version(scene, NAME, 2)


def _change(**spec: Any) -> Any:
    return lambda scene: scene.patch("Deployment", NAME, {"spec": spec})


def _scale(replicas: int) -> Any:
    return _change(target={"cluster": {"replicas": replicas}})


def _promote(number: int) -> Any:
    notes = {"modelyard.dev/promote": f"step@2026-01-01T00:00:0{number}Z"}
    return lambda scene: scene.patch("Deployment", NAME, {"metadata": {"annotations": notes}})


def _make_anew(scene: Scene) -> None:
    """The same name, and what is exported of it is another file."""
    _change(rollout={"steps": [OTHER_HALT]})(scene)
    scene.delete("ModelVersion", f"{NAME}-2")
    scene.create("ModelVersion", f"{NAME}-2", version_spec(NAME, 2))


def _serves(version: int, servers: int) -> Any:
    def done(scene: Scene) -> bool:
        status = scene.status("Deployment", NAME)
        return (
            scene.phase("Deployment", NAME) == "Healthy"
            and status["stable"]["version"] == version
            and status["updatedReplicas"] == servers
            and len(_digests(scene)) == 1
        )

    return done


def _waits(stable: int, updated: int, servers: int, steps: int) -> Any:
    """Whether the step of one half waits for a promote, one of so many steps, with all servers
    there: one that comes later is assigned what is stable then."""

    def done(scene: Scene) -> bool:
        status = scene.status("Deployment", NAME)
        return (
            scene.phase("Deployment", NAME) == "Paused"
            and status["rollout"]["paused"]["reason"] == "Step"
            and (status["rollout"]["step"], status["rollout"]["steps"]) == (steps - 1, steps)
            and status["stable"]["version"] == stable
            and status["candidate"]["version"] == 2
            and (status["updatedReplicas"], status["readyReplicas"]) == (updated, servers)
        )

    return done


def _digests(scene: Scene) -> set[str]:
    """What servers are assigned."""
    return {server["spec"]["assigned"]["digest"] for server in scene.live("ModelServer")}


def _rest(scene: Scene) -> None:
    scene.delete("ModelVersion", f"{NAME}-1")
    scene.delete("ModelVersion", f"{NAME}-2")


STORIES = Workload(
    name="stories",
    prepare=_prepare,
    script={
        (AGAIN, "export-onnx"): (Ending(export_outcome(OTHER_WEIGHTS)),),
        (AGAIN, "evaluate-cpu"): (Ending(evaluate_outcome(0.8)),),
    },
    steps=(
        Step("create", lambda scene: scene.create("Deployment", NAME, SPEC), _serves(1, 2)),
        Step(
            "second version, to its pause",
            # Pinned: while version 2 is made anew, the latest one would be version 1.
            _change(version={"policy": "Pinned", "number": 2}),
            _waits(1, 1, 2, 3),
        ),
        Step("the first step is taken out", _change(rollout={"steps": [HALT]}), _waits(1, 1, 2, 2)),
        Step("promote", _promote(1), _serves(2, 2)),
        # A share of which a third server changes nothing: which one would move is chance.
        Step("stable is made anew", _make_anew, _waits(2, 1, 2, 2)),
        Step("scaled up", _scale(3), _waits(2, 1, 3, 2)),
        Step("promote the new weights", _promote(2), _serves(2, 3), last_of_life=True),
        Step(
            "delete",
            lambda scene: scene.delete("Deployment", NAME),
            lambda scene: scene.left() == scene.left("ModelVersion", "Job", "Pod"),
        ),
        Step("delete the rest", _rest, lambda scene: scene.empty()),
    ),
)
