"""The operator with the Gateway API installed: what a rollout makes of Services, routes and labels,
and what Kubernetes' own endpoint controller makes of those. Pods and agents are played."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard_local.cluster import ControlPlane

from ..admin import Admin, access
from ..fake_status import (
    DIGEST_A,
    DIGEST_B,
    NODES_STAY,
    artifact,
    binding,
    loaded,
    node,
    pod_status,
)
from ..waiting import until
from .conftest import CRDS, ROOT, gateway_crds
from .stage import GATEWAYS

pytestmark = pytest.mark.cluster
SPACE = "shop"
OURS = f"/apis/modelyard.dev/v1alpha1/namespaces/{SPACE}"
CORE = f"/api/v1/namespaces/{SPACE}"
ROUTES = f"{GATEWAYS}/namespaces/{SPACE}/httproutes"
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{SPACE}/endpointslices"
NODE = "one"
SERVES = "modelyard.dev/serves"
WANTED = {"parentRefs": [{"name": "public"}], "grpcHostnames": ["grpc.example"]}


def _version(label: str) -> str:
    """The version's number in a label such as shelf-2-0a1b2c."""
    return label.rpartition("-")[0].rpartition("-")[2]


class Shop:
    """A Deployment with an operator; looks on the way play pods and agents."""

    def __init__(self, admin: Admin) -> None:
        self.admin = admin
        self.address: dict[str, str] = {}

    def items(self, path: str) -> dict[str, Any]:
        return {one["metadata"]["name"]: one for one in self.admin.get(path)["items"]}

    def servers(self) -> dict[str, Any]:
        """The serving pods."""
        return self.items(f"{CORE}/pods?labelSelector=app.kubernetes.io/component%3Dserver")

    def play(self) -> None:
        """Pods run, and agents load what they are assigned."""
        for name, pod in self.servers().items():
            if name not in self.address:
                self.admin.call("POST", f"{CORE}/pods/{name}/binding", binding(pod, NODE))
                self.address[name] = f"10.9.0.{len(self.address) + 1}"
                status = pod_status("triton", "none", "Running", ready=True)
                status |= {"podIP": self.address[name], "podIPs": [{"ip": self.address[name]}]}
                self.admin.merge(f"{CORE}/pods/{name}/status", {"status": status})
        for name, server in self.items(f"{OURS}/modelservers").items():
            wanted = loaded(server)
            if (server.get("status") or {}).get("loaded") != wanted["loaded"]:
                path = f"{OURS}/modelservers/{name}/status"
                self.admin.merge(path, {"status": wanted})

    def version(self, number: int) -> None:
        spec = {
            "modelLine": "shelf",
            "version": number,
            "weights": {"digest": DIGEST_B},
            "dataset": {"name": "any", "digest": DIGEST_A},
        }
        name = f"shelf-{number}"
        body = {
            "apiVersion": "modelyard.dev/v1alpha1",
            "kind": "ModelVersion",
            "metadata": {"name": name},
            "spec": spec,
        }
        self.admin.call("POST", f"{OURS}/modelversions", body)
        made = artifact(number).model_dump(mode="json", by_alias=True, exclude_none=True)
        status = {"phase": "Ready", "observedGeneration": 1, "artifacts": [made]}
        self.admin.merge(f"{OURS}/modelversions/{name}/status", {"status": status})

    def labels(self) -> list[str]:
        """What the pods' labels say, in short: the version's number."""
        pods = self.servers().values()
        return sorted(_version(p["metadata"]["labels"].get(SERVES) or "") for p in pods)

    def weights(self) -> dict[str, int]:
        route = self.admin.get(f"{ROUTES}/cameras")
        if route is None:
            return {}
        refs = route["spec"]["rules"][-1]["backendRefs"]
        return {ref["name"].removeprefix("cameras-"): ref["weight"] for ref in refs}

    def narrow(self, side: str) -> str:
        """The version that a Service selects by; empty if it leads to all servers."""
        service = self.admin.get(f"{CORE}/services/cameras-{side}")
        return _version(service["spec"]["selector"].get(SERVES, ""))

    def endpoints(self, side: str) -> list[str]:
        """Versions that the pods behind a Service hold, by the endpoint controller."""
        found = []
        versions = {
            self.address.get(s["spec"]["podName"]): str(s["status"]["loaded"]["version"])
            for s in self.items(f"{OURS}/modelservers").values()
            if s.get("status")
        }
        for one in self.items(SLICES).values():
            if one["metadata"]["labels"]["kubernetes.io/service-name"] == f"cameras-{side}":
                for endpoint in one["endpoints"] or ():
                    found.append(versions.get(endpoint["addresses"][0], "?"))
        return sorted(found)

    def reaches(self, **wanted: Any) -> None:
        """Plays until all that is wanted is so."""

        def now() -> dict[str, Any]:
            return {
                "weights": self.weights().get("candidate"),
                "labels": self.labels(),
                "narrow": (self.narrow("stable"), self.narrow("candidate")),
                "stable": self.endpoints("stable"),
                "candidate": self.endpoints("candidate"),
            }

        def there() -> bool:
            self.play()
            seen = now()
            return all(seen[key] == value for key, value in wanted.items())

        try:
            until(there, 60, pause=0.2)
        except AssertionError:
            raise AssertionError(f"wanted {wanted}, found {now()}") from None

    def annotate(self, action: str, value: str) -> None:
        patch = {"metadata": {"annotations": {f"modelyard.dev/{action}": value}}}
        self.admin.merge(f"{OURS}/deployments/cameras", patch)


@contextlib.contextmanager
def operator(kubeconfig: Path, folder: Path) -> Iterator[None]:
    """The operator's process."""
    environment = {
        **os.environ,
        "KUBECONFIG": str(kubeconfig),
        "MODELYARD_LISTEN_ADDRESS": "127.0.0.1",
        "MODELYARD_LISTEN_PORT": "0",
        "MODELYARD_LEASE_NAMESPACE": SPACE,
        "MODELYARD_LOG_FORMAT": "logfmt",
    }
    log = folder / "operator.log"
    with log.open("w") as out:
        command = [sys.executable, "-m", "modelyard.handlers"]
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)
        print(log.read_text()[-3000:])
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("operator")
    flags = {"kube-controller-manager": [NODES_STAY]}
    with ControlPlane(folder / "plane", controller_manager=True, more_flags=flags) as plane:
        admin = Admin(access(plane.kubeconfig, folder))
        admin.install(ROOT / "crds")
        for crd in gateway_crds():
            admin.call("POST", CRDS, crd)
        admin.namespace(SPACE)
        # The endpoint controller leaves out pods of nodes that it does not know.
        admin.call("POST", "/api/v1/nodes", node(NODE, {}))
        for account in ("modelyard-trainer", "modelyard-agent"):
            admin.call("POST", f"{CORE}/serviceaccounts", {"metadata": {"name": account}})
        for path in (f"{OURS}/modelservers", ROUTES, ROUTES.replace("http", "grpc")):
            until(lambda path=path: admin.get(path) is not None, what=path)
        with operator(plane.kubeconfig, folder):
            yield Shop(admin)


def test_a_rollout_moves_labels_services_and_weights_and_leaves_nothing(shop: Shop) -> None:
    shop.version(1)
    spec = {
        "modelLine": "shelf",
        "target": {"cluster": {"replicas": 3, "gateway": WANTED}},
        "rollout": {"steps": [{"weight": 30, "pause": {}}]},
    }
    body = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "Deployment",
        "metadata": {"name": "cameras"},
        "spec": spec,
    }
    shop.admin.call("POST", f"{OURS}/deployments", body)
    until(lambda: shop.admin.get(f"{ROUTES}/cameras"), what="the route")
    all_of_one = ["1", "1", "1"]
    shop.reaches(labels=all_of_one, narrow=("", ""), weights=0, stable=all_of_one)
    shop.version(2)
    shop.reaches(
        labels=["1", "1", "2"],
        narrow=("1", "2"),
        weights=30,
        stable=["1", "1"],
        candidate=["2"],
    )
    shop.annotate("abort", "now")
    shop.reaches(labels=all_of_one, narrow=("", ""), weights=0, stable=all_of_one)
    shop.annotate("retry", "again")
    shop.reaches(narrow=("1", "2"), weights=30, candidate=["2"])
    shop.annotate("promote", "full@now")
    all_of_two = ["2", "2", "2"]
    shop.reaches(labels=all_of_two, narrow=("", ""), weights=0, stable=all_of_two)
    patch = {"spec": {"target": {"cluster": {"gateway": None}}}}
    shop.admin.merge(f"{OURS}/deployments/cameras", patch)
    until(lambda: not shop.items(ROUTES), what="the route to go")
    until(lambda: not shop.items(ROUTES.replace("http", "grpc")))
    until(lambda: set(shop.items(f"{CORE}/services")) == {"cameras"}, what="the Services to go")


def test_an_activator_comes_and_goes_with_scale_to_zero(shop: Shop) -> None:
    """By KEDA nothing would be, since it is not installed: that is told."""
    wanted = {"autoscaling": {"maxReplicas": 2}, "scaleToZero": {"after": "1m"}}
    body = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "Deployment",
        "metadata": {"name": "sleepy"},
        "spec": {"modelLine": "shelf", "target": {"cluster": wanted}},
    }
    path = f"{OURS}/deployments/sleepy"
    selector = "labelSelector=app.kubernetes.io%2Fcomponent%3Dactivator"
    workloads = f"/apis/apps/v1/namespaces/{SPACE}/deployments?{selector}"

    def activators() -> list[dict[str, Any]]:
        return list(shop.admin.get(workloads)["items"])

    def status() -> dict[str, Any]:
        return shop.admin.get(path).get("status") or {}

    shop.admin.call("POST", f"{OURS}/deployments", body)
    until(activators, what="the activator")
    url = "http://sleepy-activator.shop.svc:8000"
    until(lambda: status().get("url") == url, what="the address that wakes")
    keda = {"spec": {"target": {"cluster": {"scaleToZero": {"by": "Keda"}}}}}
    shop.admin.merge(path, keda)
    until(lambda: not activators(), what="it to go")
    until(lambda: shop.admin.get(f"{CORE}/services/sleepy-activator") is None)
    hpas = f"/apis/autoscaling/v2/namespaces/{SPACE}/horizontalpodautoscalers/sleepy"
    assert shop.admin.get(hpas), "servers are scaled nevertheless"

    def told() -> bool:
        shop.play()
        return "ScaledObject and InterceptorRoute are not installed" in status().get("message", "")

    until(told, what="the status to tell")
