"""Server pods and capture: where requests lie, what the agent gets for uploads."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from modelyard.contract.capture import AUDIENCE
from modelyard.contract.paths import RUN_ANNOTATION, SPOOL
from modelyard.core.settings import Settings

from .world import World, deployment, version

EDGE = {"edge": {"nodeSelector": {"edge": "true"}, "cache": {"hostPath": "/var/cache/modelyard"}}}
URL = "http://modelyard-intake.modelyard-system.svc:8070"


def template(settings: Settings | None = None, **spec: Any) -> dict[str, Any]:
    world = World(deployment(**spec), version(1), settings=settings)
    world.settle("Deployment", "cameras")
    [one] = world.of("apps/Deployment") + world.of("apps/DaemonSet")
    found: dict[str, Any] = one["spec"]["template"]
    return found


def test_copies_of_requests_lie_in_memory() -> None:
    """They are in clear: no redaction has seen them."""
    spec = template()["spec"]
    volumes = {one["name"]: one for one in spec["volumes"]}
    for container in spec["containers"]:
        for mount in container["volumeMounts"]:
            if mount["mountPath"] == str(SPOOL):
                assert volumes[mount["name"]]["emptyDir"]["medium"] == "Memory"


def test_without_an_intake_service_pods_stay_as_they_were() -> None:
    found = template()
    assert AUDIENCE not in json.dumps(found)
    assert "intake" not in json.loads(found["metadata"]["annotations"][RUN_ANNOTATION])


def test_only_the_agent_gets_a_token_for_the_intake_service_alone() -> None:
    found = template(replace(Settings(), intake_url=URL))
    run = json.loads(found["metadata"]["annotations"][RUN_ANNOTATION])
    assert run["intake"] == URL
    [volume] = [one for one in found["spec"]["volumes"] if AUDIENCE in json.dumps(one)]
    [source] = volume["projected"]["sources"]
    assert source["serviceAccountToken"]["audience"] == AUDIENCE
    mounted = [
        one["name"]
        for one in found["spec"]["containers"]
        if volume["name"] in {mount["name"] for mount in one["volumeMounts"]}
    ]
    assert mounted == ["agent"]


@pytest.mark.parametrize(("target", "durable"), [({"cluster": {}}, False), (EDGE, True)])
def test_the_agent_knows_whether_its_cache_outlives_it(
    target: dict[str, Any], durable: bool
) -> None:
    run = json.loads(template(target=target)["metadata"]["annotations"][RUN_ANNOTATION])
    assert run["durableCache"] is durable
