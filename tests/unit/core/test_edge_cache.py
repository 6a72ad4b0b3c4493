"""Where an edge server's agent keeps artifacts: in the pod, on the node, or on a shared claim."""

from __future__ import annotations

from typing import Any

from modelyard.contract import paths

from .world import World, deployment, version


def pod_of(**cache: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The pod's spec, the cache's volume, and the agent's mount of it."""
    target = {"edge": {"nodeSelector": {"camera": "true"}, **({"cache": cache} if cache else {})}}
    world = World(deployment(target=target), version(1))
    world.settle("Deployment", "cameras")
    (made,) = world.of("apps/DaemonSet")
    pod: dict[str, Any] = made["spec"]["template"]["spec"]
    mounts = [
        (volume, mount)
        for container in pod["containers"]
        for mount in container["volumeMounts"]
        for volume in pod["volumes"]
        if mount["mountPath"] == str(paths.AGENT_CACHE) and mount["name"] == volume["name"]
    ]
    (found,) = mounts
    return pod, *found


def test_without_a_word_it_goes_with_the_pod() -> None:
    _, volume, _ = pod_of()
    assert "emptyDir" in volume


def test_a_folder_of_the_node_belongs_to_the_agent_and_to_one_deployment() -> None:
    pod, volume, _ = pod_of(hostPath="/var/lib/modelyard")
    assert volume["hostPath"]["path"] == "/var/lib/modelyard/shop/cameras"
    (owner,) = pod["initContainers"]
    assert [m["mountPath"] for m in owner["volumeMounts"]] == [str(paths.AGENT_CACHE)]


def test_nodes_do_not_share_their_folder_of_a_claim() -> None:
    _, volume, mount = pod_of(claimName="models")
    assert volume["persistentVolumeClaim"]["claimName"] == "models"
    assert mount["subPathExpr"] == "shop/cameras/$(NODE_NAME)"
