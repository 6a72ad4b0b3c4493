"""A real API server for the session, and short ways to talk to it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from modelyard_local.cluster import ControlPlane, ensure, ensure_all

from ..prebuild import say
from .sharing import share
from .waiting import CRDS, until, until_discovered

ROOT = Path(__file__).parent.parent.parent
API = "modelyard.dev/v1alpha1"
BUILT = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "helm",
         "kubelet", "kube-proxy", "kube-network-policies", "coredns", "prometheus",
         "kwok")  # fmt: skip
"""What these tests run, besides what few of them build for themselves."""


def pytest_sessionstart(session: pytest.Session) -> None:
    """Builds what is not built yet, which takes ten minutes once: in a fixture it would count
    against the time that one test may take."""
    worker = hasattr(session.config, "workerinput")
    if not worker and not session.config.option.collectonly:
        ensure_all(BUILT, say)


@pytest.hookimpl(tryfirst=True)  # Before xdist reads the groups.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups tests by what they share."""
    share(items, Path(__file__).parent)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Fails where pytest-xdist does not group, as with a pytest that it does not know: tests of one
    control plane would run in two workers, each with half of the objects."""
    if getattr(session.config.option, "loadgroup", False):
        ungrouped = [item.nodeid for item in session.items if "@" not in item.nodeid]
        assert not ungrouped, f"pytest-xdist has left out the groups of {ungrouped[:3]}"


@dataclass(frozen=True)
class Cluster:
    """An API server and the tools that a user would use on it."""

    kubeconfig: Path

    def run(self, tool: str, *arguments: str, stdin: object = None) -> subprocess.CompletedProcess:
        """kubectl or helm with the administrator's rights; never raises for its exit code."""
        return subprocess.run(
            [str(ensure(tool)), "--kubeconfig", str(self.kubeconfig), *arguments],
            input=None if stdin is None else json.dumps(stdin),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def kubectl(self, *arguments: str, stdin: object = None) -> str:
        """kubectl's standard output; fails the test if kubectl fails."""
        done = self.run("kubectl", *arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def helm(self, *arguments: str) -> str:
        """helm's standard output; fails the test if helm fails."""
        done = self.run("helm", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *arguments: str, stdin: object = None) -> str:
        """What the user reads when kubectl is refused; fails the test if it is not."""
        done = self.run("kubectl", *arguments, stdin=stdin)
        assert done.returncode != 0, f"expected a refusal, got: {done.stdout}"
        return done.stderr

    def create(self, *objects: dict[str, Any], impersonate: str | None = None) -> None:
        """Creates objects, as the administrator or somebody else."""
        who = [f"--as={impersonate}"] if impersonate else []
        for one in objects:
            self.kubectl("create", "-f", "-", *who, stdin=one)

    def until_policies_know(self, namespace: str) -> None:
        """Wait until the chart's policies, users' names among them, are in force: the API server
        takes policies up once a second, and reads the schemas that mutating ones need every 5 s; it
        refuses with 503 in between."""
        one = thing("Deployment", "probe", namespace, {"modelLine": "probe"})
        ask = ("create", "--dry-run=server", "-o", "json", "-f", "-")
        account = f"--as=system:serviceaccount:{namespace}:modelyard-activator"
        stranger = (*ask, account, "--as-group=system:masters")

        def noted() -> bool:
            done = self.run("kubectl", *ask, stdin=one)
            return not done.returncode and "modelyard.dev/changed-by" in done.stdout

        def refused() -> bool:
            return "may only scale" in self.run("kubectl", *stranger, stdin=one).stderr

        until(noted, what="the mutating policy to note who made a Deployment", pause=0.5)
        until(refused, what="a validating policy to refuse what RBAC allows", pause=0.5)

    def set_status(self, kind: str, namespace: str, name: str, status: dict[str, Any]) -> None:
        """Merges into an object's status with the administrator's rights."""
        patch = json.dumps({"status": status})
        target = ["-n", namespace, kind, name, "--subresource=status", "--type=merge"]
        self.kubectl("patch", *target, "-p", patch)

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        """An object as the API server has it."""
        return json.loads(self.kubectl("get", kind, name, "-n", namespace, "-o", "json"))

    def client(self, token: str | None = None) -> client.ApiClient:
        """A Python client: the administrator's, or one that has nothing but a token."""
        if token is None:
            return config.new_client_from_config(str(self.kubeconfig))
        settings = client.Configuration()
        admin = config.new_client_from_config(str(self.kubeconfig)).configuration
        settings.host, settings.ssl_ca_cert = admin.host, admin.ssl_ca_cert
        settings.api_key = {"authorization": f"Bearer {token}"}
        return client.ApiClient(settings)


def thing(kind: str, name: str, namespace: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A manifest of one of our kinds."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec}


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server with nothing of ours on it."""
    with ControlPlane(tmp_path_factory.mktemp("cluster")) as plane:
        yield Cluster(plane.kubeconfig)


@pytest.fixture(scope="session")
def crds(cluster: Cluster) -> Cluster:
    """The cluster with `crds/` applied and known to kubectl."""
    cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
    until_discovered(cluster.kubectl)
    return cluster


@pytest.fixture
def make() -> Any:
    """`thing`, for test modules, which cannot import this one."""
    return thing
