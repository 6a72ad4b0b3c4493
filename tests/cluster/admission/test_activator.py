"""An activator may scale the Deployment that it stands in front of, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kubernetes import client

pytestmark = pytest.mark.cluster
NS = "work"
GROUP, VERSION = "modelyard.dev", "v1alpha1"
ACCOUNT = "modelyard-activator"
OWN, OTHER = "cameras", "cameras-activator-b"
POD = "cameras-activator-5d764fdc8f-l9j7v"
DOTTED = "north.cameras"
DOTTED_POD = "north-cameras-0123ab-activator-5d764fdc8f-l9j7v"

Try = Callable[..., str]


@pytest.fixture(scope="module")
def scaling(policies: Any, valid: Any, token: Callable[..., str]) -> Try:
    """Scales a Deployment with a pod's token; returns "" or what the API server answered."""
    for name in (OWN, OTHER, DOTTED):
        policies.create(valid("Deployment", name))
    for name in (POD, DOTTED_POD):
        container = {"name": "main", "image": "example.org/none"}
        spec = {"serviceAccountName": ACCOUNT, "containers": [container]}
        metadata = {"name": name, "namespace": NS}
        policies.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

    def attempt(name: str, pod: str | None) -> str:
        api = client.CustomObjectsApi(policies.client(token(ACCOUNT, pod)))
        body = {"spec": {"replicas": 0}}
        try:
            api.patch_namespaced_custom_object_scale(GROUP, VERSION, NS, "deployments", name, body)
        except client.ApiException as error:
            return str(error.body)
        return ""

    return attempt


@pytest.fixture(scope="module")
def valid() -> Any:
    def manifest(kind: str, name: str) -> dict[str, Any]:
        return {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": kind,
            "metadata": {"name": name, "namespace": NS},
            "spec": {"modelLine": "shelf"},
        }

    return manifest


@pytest.mark.parametrize(("name", "pod"), [(OWN, POD), (DOTTED, DOTTED_POD)])
def test_it_scales_its_own_deployment(policies: Any, scaling: Try, name: str, pod: str) -> None:
    assert scaling(name, pod) == ""
    found = policies.get("deployments.modelyard.dev", NS, name)
    assert found["spec"]["target"]["cluster"]["replicas"] == 0


@pytest.mark.parametrize(
    ("name", "pod"),
    [
        pytest.param(OTHER, POD, id="another deployment"),
        pytest.param(OWN, DOTTED_POD, id="another pod"),
        pytest.param(OWN, None, id="a token of no pod"),
    ],
)
def test_it_scales_no_other(scaling: Try, name: str, pod: str | None) -> None:
    assert "may not scale" in scaling(name, pod)
