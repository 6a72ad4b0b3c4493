"""Valid objects to start from, and the chart's policies in force."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from ...kinds import EXAMPLES

CHART = Path(__file__).parent.parent.parent.parent / "charts/modelyard"
DIGEST = "sha256:" + "0123456789abcdef" * 4
NAMESPACE = "work"
RELEASE_NAMESPACE = "modelyard-system"


@pytest.fixture(scope="session")
def api(crds: Any) -> Any:
    """The cluster with our CRDs and the namespaces of the tests."""
    crds.kubectl("create", "namespace", NAMESPACE)
    crds.kubectl("create", "namespace", RELEASE_NAMESPACE)
    return crds


@pytest.fixture(scope="session")
def policies(api: Any) -> Any:
    """The cluster with the chart's service accounts, access and admission policies."""
    api.helm(
        *("install", "modelyard", str(CHART), "--namespace", RELEASE_NAMESPACE),
        *("--set", "crds.enabled=false", "--set", f"workloads.namespaces={{{NAMESPACE}}}"),
    )
    api.until_policies_know(NAMESPACE)
    return api


@pytest.fixture(scope="session")
def token(policies: Any) -> Callable[..., str]:
    """Asks the API server for a service account's token, bound to a pod that exists or to none."""
    core = client.CoreV1Api(policies.client())

    def ask(account: str, pod: str | None) -> str:
        bound = None
        if pod:
            uid = core.read_namespaced_pod(pod, NAMESPACE).metadata.uid
            bound = client.V1BoundObjectReference(api_version="v1", kind="Pod", name=pod, uid=uid)
        spec = client.V1TokenRequestSpec(audiences=[], bound_object_ref=bound)
        request = client.AuthenticationV1TokenRequest(spec=spec)
        made = core.create_namespaced_service_account_token(account, NAMESPACE, request)
        return str(made.status.token)

    return ask


@pytest.fixture
def valid() -> Any:
    """A function from a kind to a valid manifest, with changes given as `path=value`."""

    def manifest(kind: str, name: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
        one = {
            "apiVersion": "modelyard.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": copy.deepcopy(EXAMPLES[kind]),
        }
        for path, value in (changes or {}).items():
            *parents, last = path.split(".")
            at = one["spec"]
            for parent in parents:
                at = at.setdefault(parent, {})
            if value is None:
                at.pop(last, None)
            else:
                at[last] = value
        return one

    return manifest
