"""A Deployment that goes to another model line, whose versions have the same numbers."""

from __future__ import annotations

from .test_deployment import healthy
from .world import version


def test_another_line_with_the_same_number_is_another_version() -> None:
    world = healthy(1)
    other = version(1, modelLine="other")
    other["metadata"] |= {"name": "other-1", "uid": "uid-other-1"}
    world.add(other)
    cameras = world.objects["Deployment", "cameras"]
    cameras["spec"]["modelLine"] = "other"
    world.settle("Deployment", "cameras")
    assert cameras["status"]["candidate"]["modelVersion"] == "other-1"
    assert "version 1 is Ready" in cameras["status"]["rollout"]["trigger"]
    (server,) = world.of("ModelServer")
    assert server["spec"]["assigned"]["modelVersion"] == "other-1"
