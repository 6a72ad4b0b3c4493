"""An API server of the engine's own tests, and the operator as processes on it."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.api import ALL_KINDS
from modelyard_local.cluster import ControlPlane

from ..admin import Admin, access
from ..process import Operator
from ..waiting import until

ROOT = Path(__file__).parents[3]
SUBJECT = Path(__file__).with_name("subject.py")
GROUP = "/apis/modelyard.dev/v1alpha1"
PLURALS = sorted(kind.plural for kind in ALL_KINDS)
TOUCHED = {
    "datasets", "trainingjobs", "modelversions", "modelservers", "deployments",
    "configmaps", "jobs", "pods", "services", "events",
}  # fmt: skip
WRITES = {"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"}


class Server(Admin):
    """The API server, seen by an administrator."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        super().__init__(access(plane.kubeconfig, folder))
        self.plane = plane

    def dataset(self, space: str, name: str, mode: str = "") -> Any:
        """Create a Dataset; `mode` tells the test controller how to misbehave."""
        annotations = {"tests/mode": mode} if mode else {}
        body = {
            "apiVersion": "modelyard.dev/v1alpha1",
            "kind": "Dataset",
            "metadata": {"name": name, "annotations": annotations},
            "spec": {"source": {"http": {"url": f"http://example.com/{name}.zip"}}},
        }
        return self.call("POST", f"{GROUP}/namespaces/{space}/datasets", body)

    def see(self, space: str, name: str) -> Any:
        return self.get(f"{GROUP}/namespaces/{space}/datasets/{name}")

    def phase(self, space: str, name: str) -> str | None:
        return ((self.see(space, name) or {}).get("status") or {}).get("phase")

    def patch(self, space: str, name: str, patch: Any, subresource: str = "") -> Any:
        return self.merge(f"{GROUP}/namespaces/{space}/datasets/{name}{subresource}", patch)

    def stalled(self, space: str, name: str) -> Any:
        """The Stalled condition of a Dataset, or None."""
        found = (self.see(space, name) or {}).get("status") or {}
        conditions = found.get("conditions") or ()
        return next((c for c in conditions if c["type"] == "Stalled"), None)

    def config_map(self, space: str, name: str) -> Any:
        return self.get(f"/api/v1/namespaces/{space}/configmaps/{name}")

    def ready(self, space: str) -> int:
        """Number of Datasets with phase Ready."""
        items = self.get(f"{GROUP}/namespaces/{space}/datasets")["items"]
        return sum((o.get("status") or {}).get("phase") == "Ready" for o in items)

    def writes(self) -> int:
        """Writes that the API server has served for what controllers touch."""
        total = 0
        for line in self.http.get("/metrics").text.splitlines():
            if line.startswith("apiserver_request_total{"):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
                if labels["resource"] in TOUCHED and labels["verb"] in WRITES:
                    total += int(float(line.rsplit(" ", 1)[1]))
        return total


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An API server with our CRDs, which tests may stop and start."""
    folder = tmp_path_factory.mktemp("engine")
    with ControlPlane(folder / "plane") as plane:
        made = Server(plane, folder)
        made.install(ROOT / "crds")
        for crd in (ROOT / "crds").glob("*.yaml"):
            path = f"{GROUP}/{crd.name.split('.')[0]}"
            until(lambda path=path: (made.get(path) or {}).get("items") == [], what=path)
        yield made


@pytest.fixture
def space(server: Server, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own, emptied at the end."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())
    name = name[:50].strip("-")
    server.namespace(name)
    yield name
    # Whatever stays is seen, and counted, by the next test's operator.
    for plural in PLURALS:
        server.call("DELETE", f"{GROUP}/namespaces/{name}/{plural}")
    server.call("DELETE", f"/api/v1/namespaces/{name}/configmaps")


@pytest.fixture
def start(server: Server, tmp_path: Path) -> Iterator[Callable[..., Operator]]:
    """Starts operators; whatever still runs at the end is killed."""
    started: list[Operator] = []

    def make(
        name: str = "operator", *command: str, kubeconfig: Path | None = None, **env: str
    ) -> Operator:
        where = kubeconfig or server.plane.kubeconfig
        one = Operator(where, tmp_path, name, *(command or (str(SUBJECT),)), **env)
        started.append(one)
        return one

    yield make
    for one in started:
        one.kill()
        one.kill(signal.SIGCONT)
        one.gone()
        if os.environ.get("SHOW_LOGS"):
            print(one.log.read_text())
    # No test waits for the Lease of the one before.
    server.http.delete("/apis/coordination.k8s.io/v1/namespaces/default/leases/modelyard-operator")


@pytest.fixture
def wait() -> Callable[..., Any]:
    """`until`, for test modules, which cannot import this one."""
    return until
