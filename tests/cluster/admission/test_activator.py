"""An activator may scale the Deployment that it stands in front of, and nothing else.

Real: the API server with the chart's policies, and the names that it generates for pods. Played:
the Deployment and ReplicaSet controllers, which name pods after the workload that the operator
makes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kubernetes import client

from modelyard.core.deployment.activator import workload_name

pytestmark = pytest.mark.cluster
NS = "work"
GROUP, VERSION = "modelyard.dev", "v1alpha1"
ACCOUNT = "modelyard-activator"
REPLICA_SET = "5d764fdc8f"
OWN = "cameras"
NAMES = [
    pytest.param(OWN, id="short"),
    pytest.param("north.cameras", id="dotted"),
    pytest.param("c" * 36, id="36"),
    pytest.param("c" * 37, id="37"),
    pytest.param("c" * 52 + "-x", id="54"),
    pytest.param("c" * 63, id="63"),
    pytest.param("d.c" * 21, id="63 dotted"),
]
ALIKE = [
    ("shop-a", "shop.a"),
    ("shop.a", "shop-a"),
    (OWN, "cameras-activator-b"),
    ("cameras-activator-b", OWN),
    ("c" * 63, "c" * 62),
    ("d.c" * 21, "d-c" * 21),
]
"""Deployments whose activators' names are alike: a pod's, and one that is not its own."""

Pod = Callable[[str], str]
Try = Callable[..., str]


@pytest.fixture(scope="module")
def declared(policies: Any) -> Callable[[str], dict[str, Any]]:
    """A Deployment as the API server has it, made when it is first asked for."""
    made: dict[str, dict[str, Any]] = {}

    def get(name: str) -> dict[str, Any]:
        if name not in made:
            metadata = {"name": name, "namespace": NS}
            body = {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": "Deployment",
                "metadata": metadata,
                "spec": {"modelLine": "shelf"},
            }
            policies.create(body)
            made[name] = policies.get("deployments.modelyard.dev", NS, name)
        return made[name]

    return get


@pytest.fixture(scope="module")
def activator(policies: Any, declared: Any) -> Pod:
    """The name of a new pod of a Deployment's activator."""
    core = client.CoreV1Api(policies.client())

    def make(name: str) -> str:
        container = {"name": "main", "image": "example.org/none"}
        made = core.create_namespaced_pod(
            NS,
            {
                "metadata": {"generateName": f"{workload_name(declared(name))}-{REPLICA_SET}-"},
                "spec": {"serviceAccountName": ACCOUNT, "containers": [container]},
            },
        )
        return str(made.metadata.name)

    return make


@pytest.fixture(scope="module")
def scaling(policies: Any, token: Callable[..., str], declared: Any) -> Try:
    """Scales a Deployment with a pod's token; returns "" or what the API server answered."""

    def attempt(name: str, pod: str | None) -> str:
        api = client.CustomObjectsApi(policies.client(token(ACCOUNT, pod)))
        body = {"spec": {"replicas": 0}}
        declared(name)
        try:
            api.patch_namespaced_custom_object_scale(GROUP, VERSION, NS, "deployments", name, body)
        except client.ApiException as error:
            return str(error.body)
        return ""

    return attempt


@pytest.mark.parametrize("name", NAMES)
def test_it_scales_its_own_deployment(
    policies: Any, activator: Pod, scaling: Try, name: str
) -> None:
    assert scaling(name, activator(name)) == ""
    found = policies.get("deployments.modelyard.dev", NS, name)
    assert found["spec"]["target"]["cluster"]["replicas"] == 0


@pytest.mark.parametrize(("own", "other"), ALIKE)
def test_it_scales_no_other(activator: Pod, scaling: Try, own: str, other: str) -> None:
    assert f"may not scale Deployment {other}" in scaling(other, activator(own))


@pytest.fixture(scope="module")
def reporting(policies: Any, token: Callable[..., str], declared: Any) -> Try:
    """Patches a Deployment's status with a pod's token; returns "" or the API server's answer."""

    def attempt(name: str, pod: str | None, status: dict[str, Any]) -> str:
        api = client.CustomObjectsApi(policies.client(token(ACCOUNT, pod)))
        declared(name)
        try:
            api.patch_namespaced_custom_object_status(
                GROUP, VERSION, NS, "deployments", name, {"status": status}
            )
        except client.ApiException as error:
            return str(error.body)
        return ""

    return attempt


def test_it_reports_refusals_of_its_own_deployment_only(activator: Pod, reporting: Try) -> None:
    own, report = activator(OWN), {"activator": {"refusal": "no"}}
    assert reporting(OWN, own, report) == ""
    assert reporting(OWN, own, {"activator": None}) == ""
    assert "may not scale Deployment shop-a" in reporting("shop-a", own, report)
    assert "change their status.activator" in reporting(OWN, own, {"message": "m"})
    both = {"phase": "Healthy", **report}
    assert "change their status.activator" in reporting(OWN, own, both)


def test_a_token_of_no_pod_scales_nothing(scaling: Try) -> None:
    assert "pod (none) may not scale" in scaling(OWN, None)
