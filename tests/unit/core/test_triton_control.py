"""What a serving pod's manifest says of who may control its Triton: nothing that could be read."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from modelyard.contract import control

from .world import World, deployment, version

EDGE = {"edge": {"nodeSelector": {"camera": "true"}}}
ACTIVATED = {"cluster": {"scaleToZero": {"after": "10m"}}}


def applied(target: dict[str, Any] | None, **spec: Any) -> tuple[dict[str, Any], str]:
    """The serving pod's spec, and all that the operator writes for the Deployment, as text."""
    target = target or {"cluster": {"replicas": 2}}
    world = World(deployment(target=target, **spec), version(1))
    world.settle("Deployment", "cameras")
    kind = "apps/DaemonSet" if "edge" in target else "apps/Deployment"
    servers = [one for one in world.of(kind) if "activator" not in one["metadata"]["name"]]
    pod: dict[str, Any] = servers[0]["spec"]["template"]["spec"]
    everything = json.dumps([world.of(kind), world.of("ModelServer"), world.of("Deployment")])
    return pod, everything


@pytest.mark.parametrize("target", [None, EDGE, ACTIVATED], ids=["cluster", "edge", "activator"])
def test_no_identifier_authorises_and_no_object_shows_a_key(target: dict[str, Any] | None) -> None:
    pod, everything = applied(target)

    assert "metadata.uid" not in everything
    assert "MODELYARD_CONTROL" not in re.sub(r"\$\{MODELYARD_CONTROL\w+:-", "", everything)
    assert not re.search(r"[0-9a-f]{32}", json.dumps(pod))
    (triton, agent) = pod["containers"]
    assert "env" not in triton
    assert not [one for one in agent["env"] if "CONTROL" in one["name"]]


@pytest.mark.parametrize("target", [None, EDGE], ids=["cluster", "edge"])
def test_the_key_is_in_memory_that_two_containers_share(target: dict[str, Any] | None) -> None:
    pod, _ = applied(target)

    (volume,) = [one for one in pod["volumes"] if one["name"] == "control"]
    assert volume["emptyDir"]["medium"] == "Memory"
    mounts = {
        container["name"]: mount
        for container in [*pod["containers"], *pod.get("initContainers", [])]
        for mount in container["volumeMounts"]
        if mount["name"] == "control"
    }
    assert set(mounts) == {"triton", "agent"}
    assert {one["mountPath"] for one in mounts.values()} == {str(control.CONTROL)}
    assert mounts["agent"]["readOnly"]


def test_the_vendors_image_is_started_like_ours() -> None:
    ours, _ = applied(None)
    vendors, _ = applied(None, server={"image": "nvcr.io/nvidia/tritonserver:24.10-py3"})

    triton = vendors["containers"][0]
    assert triton["image"] == "nvcr.io/nvidia/tritonserver:24.10-py3"
    assert triton["command"][:2] == ["/bin/sh", "-c"]
    for part in ("command", "args"):
        assert triton[part] == ours["containers"][0][part]
        # The kubelet would replace these: $(NAME) by a variable, $$ by one $.
        assert not re.search(r"\$[($]", " ".join(triton[part]))
