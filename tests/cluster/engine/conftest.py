"""An API server of the engine's own tests, and the operator as processes on it."""

from __future__ import annotations

import base64
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from modelyard.cluster import ControlPlane

ROOT = Path(__file__).parents[3]
SUBJECT = Path(__file__).with_name("subject.py")
GROUP = "/apis/modelyard.dev/v1alpha1"
TOUCHED = {
    "datasets", "trainingjobs", "modelversions", "modelservers", "deployments",
    "configmaps", "jobs", "pods", "services", "events",
}  # fmt: skip
WRITES = {"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"}
MERGE = {"Content-Type": "application/merge-patch+json"}


def until(check: Callable[[], Any], seconds: float = 30.0, what: str = "") -> Any:
    """The first true answer of `check`; fails the test after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what or check}"
        time.sleep(0.05)


class Server:
    """The API server, seen by an administrator."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.plane = plane
        config = yaml.safe_load(plane.kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        files = {}
        for name, source, key in (
            ("ca", cluster, "certificate-authority-data"),
            ("cert", user, "client-certificate-data"),
            ("key", user, "client-key-data"),
        ):
            files[name] = folder / name
            files[name].write_bytes(base64.b64decode(source[key]))
        context = ssl.create_default_context(cafile=files["ca"])
        context.load_cert_chain(files["cert"], files["key"])
        self.http = httpx.Client(
            base_url=cluster["server"], verify=context, timeout=30, trust_env=False
        )

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        answer = self.http.request(method, path, json=body, headers=headers or None)
        assert answer.status_code < 400, answer.text
        return answer.json()

    def get(self, path: str) -> Any:
        """An object, or None."""
        answer = self.http.get(path)
        return None if answer.status_code == 404 else answer.json()

    def namespace(self, name: str) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        self.call("POST", "/api/v1/namespaces", body)

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
        path = f"{GROUP}/namespaces/{space}/datasets/{name}{subresource}"
        return self.call("PATCH", path, patch, **MERGE)

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


class Operator:
    """One operator process."""

    def __init__(
        self, kubeconfig: Path, folder: Path, name: str, *command: str, **env: str
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = folder / f"{name}.log"
        self.http = httpx.Client(trust_env=False, timeout=5)
        variables = {
            "KUBECONFIG": str(kubeconfig),
            "MODELYARD_LISTEN_ADDRESS": "127.0.0.1",
            "MODELYARD_LISTEN_PORT": str(self.port),
            "MODELYARD_LEASE_SECONDS": "4",
            "MODELYARD_LEASE_NAMESPACE": "default",
            "PATH": os.environ["PATH"],
            **{f"MODELYARD_{key}": value for key, value in env.items()},
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *(command or (str(SUBJECT),))],
                env=variables,
                stderr=log,
                stdout=log,
            )

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)

    def gone(self, seconds: float = 15) -> int:
        """Wait for the end of the process; returns its exit code."""
        return self.process.wait(seconds)

    def ask(self, path: str) -> httpx.Response | None:
        """The HTTP answer, or None while the process does not answer."""
        try:
            return self.http.get(f"http://127.0.0.1:{self.port}{path}")
        except httpx.HTTPError:
            return None

    def metric(self, name: str) -> float:
        """Sum of a metric over its labels; -1 while there is no answer."""
        answer = self.ask("/metrics")
        if answer is None:
            return -1
        lines = [line for line in answer.text.splitlines() if re.match(rf"{name}(\{{| )", line)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def wrote(self) -> float:
        """Writes about what controllers touch that this process has sent, whatever came of them."""
        answer = self.ask("/metrics")
        assert answer is not None
        total = 0.0
        for line in answer.text.splitlines():
            if line.startswith("modelyard_api_requests_total{"):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
                if labels["verb"] not in ("get", "list") and labels["kind"] != "Lease":
                    total += float(line.rsplit(" ", 1)[1])
        return total

    def synced(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-4000:]
        return self.metric("modelyard_synced") == 1

    def idle(self) -> bool:
        """Whether all that is due has been done."""
        return self.synced() and self.metric("modelyard_queue_due") == 0


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An API server with our CRDs, which tests may stop and start."""
    folder = tmp_path_factory.mktemp("engine")
    with ControlPlane(folder / "plane") as plane:
        made = Server(plane, folder)
        for path in sorted((ROOT / "crds").glob("*.yaml")):
            crd = yaml.safe_load(path.read_text())
            made.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        until(lambda: (made.get(f"{GROUP}/datasets") or {}).get("items") == [], what="CRDs served")
        yield made


@pytest.fixture
def space(server: Server, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own, emptied at the end."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())
    name = name[:50].strip("-")
    server.namespace(name)
    yield name
    server.call("DELETE", f"{GROUP}/namespaces/{name}/datasets")
    server.call("DELETE", f"/api/v1/namespaces/{name}/configmaps")


@pytest.fixture
def start(server: Server, tmp_path: Path) -> Iterator[Callable[..., Operator]]:
    """Starts operators; whatever still runs at the end is killed."""
    started: list[Operator] = []

    def make(
        name: str = "operator", *command: str, kubeconfig: Path | None = None, **env: str
    ) -> Operator:
        one = Operator(kubeconfig or server.plane.kubeconfig, tmp_path, name, *command, **env)
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
