"""The admission policy `exec` knows containers by their names alone: it must know all of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ..core.world import World, dataset, deployment, ready_dataset, training, version

VALUES = Path(__file__).parents[3] / "charts/modelyard/values.yaml"
ASLEEP = {"cluster": {"autoscaling": {"maxReplicas": 2}, "scaleToZero": {}}}
EDGE = {"edge": {"nodeSelector": {"edge": "true"}, "cache": {"hostPath": "/var/cache/modelyard"}}}


def made(kind: str, *objects: Any) -> list[dict[str, Any]]:
    """Pod templates of the children of the first object."""
    world = World(*objects)
    world.settle(kind, objects[0]["metadata"]["name"])
    kinds = ("Job", "apps/Deployment", "apps/DaemonSet")
    return [one["spec"]["template"]["spec"] for kind in kinds for one in world.of(kind)]


def test_every_container_of_the_operators_pods_is_protected() -> None:
    shelf = ready_dataset()
    pods = [
        *made("Dataset", dataset()),
        *made("TrainingJob", training("first"), shelf),
        *made("ModelVersion", version(2, None)),
        *made("Deployment", deployment(target=ASLEEP), version(1)),
        *made("Deployment", deployment(target=EDGE), version(1)),
    ]
    assert len(pods) == 6
    names = {
        one["name"] for pod in pods for one in (*pod["containers"], *pod.get("initContainers", ()))
    }
    protected = yaml.safe_load(VALUES.read_text())["admission"]["protectedContainers"]
    assert names == set(protected)
