"""A Deployment on edge nodes."""

from __future__ import annotations

from .world import World, deployment, version

EDGE = {"edge": {"nodeSelector": {"edge": "true"}}}


def test_nothing_is_healthy_before_its_nodes_are_counted() -> None:
    world = World(version(1), deployment(target=EDGE))
    world.settle("Deployment", "cameras")
    found = world.objects["Deployment", "cameras"]["status"]
    assert found["phase"] == "Progressing"
    assert "waiting for the nodes to be counted" in found["message"]
    (workload,) = world.of("apps/DaemonSet")
    workload["status"] = {"observedGeneration": 1, "desiredNumberScheduled": 0}
    world.settle("Deployment", "cameras")
    assert world.objects["Deployment", "cameras"]["status"]["phase"] == "Healthy"
