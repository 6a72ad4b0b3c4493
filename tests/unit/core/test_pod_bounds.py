"""Every container of every pod has requests and limits for memory and for the node's disk."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.core.deployment import activator, serverpod
from modelyard.core.pods import DISK, quantity_bytes

from .spec import cluster, wanting
from .test_modelversion import jobs
from .world import World, dataset, ready_dataset, training, version

SCALE_TO_ZERO = {"autoscaling": {"maxReplicas": 2}, "scaleToZero": {}}


def edge(**cache: Any) -> Any:
    target = {"nodeSelector": {"camera": "yes"}, "cache": cache}
    return wanting(target={"edge": target})


def job_of(world: World, kind: str, name: str) -> Any:
    world.settle(kind, name)
    return world.of("Job")[0]["spec"]["template"]["spec"]


def exporting() -> Any:
    world = World(version(1, None))
    world.settle("ModelVersion", "shelf-1")
    return jobs(world, "export-onnx")[0]["spec"]["template"]["spec"]


def sleeping() -> Any:
    observed = cluster(**SCALE_TO_ZERO)
    (made, _) = activator.children(observed, observed.spec.target.cluster.scale_to_zero)
    return made["spec"]["template"]["spec"]


PODS = {
    "data": lambda: job_of(World(dataset()), "Dataset", "shelf"),
    "training": lambda: job_of(World(ready_dataset(), training()), "TrainingJob", "first"),
    "export": exporting,
    "server": lambda: serverpod.pod_spec(cluster()),
    "edge": lambda: serverpod.pod_spec(edge()),
    "edge with a folder of the node": lambda: serverpod.pod_spec(edge(hostPath="/var/lib/m")),
    "activator": sleeping,
}


@pytest.mark.parametrize("make", PODS.values(), ids=PODS)
def test_every_container_has_a_share_of_the_nodes_disk(make: Any) -> None:
    pod = make()
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        asked = {side: container["resources"][side] for side in ("requests", "limits")}
        for resource in ("memory", DISK):
            least, most = (quantity_bytes(asked[side][resource]) for side in asked)
            assert 0 < least <= most, (container["name"], resource)


def test_a_job_gets_the_disk_that_its_object_asks_for() -> None:
    world = World(dataset())
    (one,) = world.of("Dataset")
    one["spec"]["resources"] = {"ephemeralStorage": "300Gi"}
    (container,) = job_of(world, "Dataset", "shelf")["containers"]
    assert container["resources"]["requests"][DISK] == "300Gi"
    assert container["resources"]["limits"][DISK] == "300Gi"


def test_the_agents_share_has_room_for_its_cache() -> None:
    pod = serverpod.pod_spec(cluster(cache={"quota": "40Gi"}))
    (agent,) = [one for one in pod["containers"] if one["name"] == serverpod.AGENT]
    assert quantity_bytes(agent["resources"]["limits"][DISK]) > 2 * quantity_bytes("40Gi")
    assert quantity_bytes(agent["resources"]["requests"][DISK]) < quantity_bytes("1Gi")
