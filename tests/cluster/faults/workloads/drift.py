"""What servers see changes with a version: an episode of drift, which somebody accepts; then images
are asked for, and monitoring is switched off.

A crash must neither begin an episode twice nor forget since when servers drift, and every server is
told of what was accepted and of what it is to keep.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...fake_status import Served
from ..scene import Scene
from .version import ready_version
from .workload import Step, Workload

NAME, SERVERS = "dock", 2
CALM, DRIFTS = 1, 2
SPEC = {
    "modelLine": NAME,
    "version": {"policy": "Pinned", "number": CALM},
    "target": {"cluster": {"replicas": SERVERS}},
    "monitoring": {"drift": {"fleet": {"for": "1s"}}, "capture": {}},
}


def _prepare(scene: Scene) -> None:
    ready_version(scene, NAME, CALM)
    ready_version(scene, NAME, DRIFTS)


def _spec(**spec: Any) -> Callable[[Scene], None]:
    return lambda scene: scene.patch("Deployment", NAME, {"spec": spec})


def _ask(action: str, value: str) -> Callable[[Scene], None]:
    notes = {f"modelyard.dev/{action}": value}
    return lambda scene: scene.patch("Deployment", NAME, {"metadata": {"annotations": notes}})


def _told(scene: Scene) -> list[dict[str, Any]]:
    """What the servers are told to monitor."""
    return [s["spec"].get("monitoring") or {} for s in scene.live("ModelServer")]


def _heard(scene: Scene) -> bool:
    """Whether every server has reported since it was told something else."""
    return all(
        (s.get("status") or {}).get("observedGeneration") == s["metadata"]["generation"]
        for s in scene.live("ModelServer")
    )


def _drifting(scene: Scene) -> str:
    conditions = scene.status("Deployment", NAME).get("conditions") or ()
    return next((c["status"] for c in conditions if c["type"] == "Drifting"), "")


def _serves(version: int, drifting: str) -> Callable[[Scene], bool]:
    def done(scene: Scene) -> bool:
        status = scene.status("Deployment", NAME)
        return (
            scene.phase("Deployment", NAME) == "Healthy"
            and status["stable"]["version"] == version
            and status["updatedReplicas"] == SERVERS
            and _drifting(scene) == drifting
            and _heard(scene)
        )

    return done


def _accepted(scene: Scene) -> bool:
    status = scene.status("Deployment", NAME)["monitoring"]
    ended = [one["outcome"] for one in status.get("episodes") or ()]
    told = [one.get("accepted") for one in _told(scene)]
    calm = ended == ["Accepted"] and not status["drift"]["drifting"]
    return calm and _drifting(scene) == "False" and told == ["1"] * SERVERS and _heard(scene)


def _asked(scene: Scene) -> bool:
    requested = scene.status("Deployment", NAME)["monitoring"].get("requested") or {}
    told = [one["capture"].get("onDemand") for one in _told(scene)]
    return bool(requested.get("assigned")) and told == ["2/x1"] * SERVERS and _heard(scene)


def _off(scene: Scene) -> bool:
    return not any(_told(scene)) and not _drifting(scene) and _heard(scene)


def _rest(scene: Scene) -> None:
    scene.delete("ModelVersion", f"{NAME}-{CALM}")
    scene.delete("ModelVersion", f"{NAME}-{DRIFTS}")


DRIFT = Workload(
    name="drift",
    prepare=_prepare,
    served={DRIFTS: Served(drifts="TopScore")},
    steps=(
        Step(
            "create",
            lambda scene: scene.create("Deployment", NAME, SPEC),
            _serves(CALM, "False"),
        ),
        Step(
            "a version that sees something else",
            _spec(version={"policy": "Pinned", "number": DRIFTS}),
            _serves(DRIFTS, "True"),
        ),
        Step("accept", _ask("drift-accept", "1"), _accepted),
        Step("ask for images", _ask("capture", "4/x1"), _asked),
        Step("switch it off", _spec(monitoring=None), _off, last_of_life=True),
        Step(
            "delete",
            lambda scene: scene.delete("Deployment", NAME),
            lambda scene: scene.left() == scene.left("ModelVersion"),
        ),
        Step("delete the rest", _rest, lambda scene: scene.empty()),
    ),
)
