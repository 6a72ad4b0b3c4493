"""The intake service as a process, with a real API server, the chart, and its embedded store.

Played: the kubelet. Pods are objects that no node runs; their tokens come from the API server.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from kubernetes import client

from modelyard.contract.capture import AUDIENCE
from modelyard_local.cluster import ControlPlane

from ...cluster.conftest import CRDS, Cluster, thing
from ...cluster.process import free_port
from ...cluster.waiting import until, until_discovered
from ...kinds import example
from ...unit.chart.conftest import helm, render
from ..store.conftest import Embedded, start, values

__all__ = ["helm", "render", "start"]

ROOT = Path(__file__).parents[3]
SPACES = ("shop", "other")
SYSTEM = "modelyard-system"
INTAKE = "modelyard-intake"
AGENT = "modelyard-agent"


@pytest.fixture(scope="package")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The chart's policies, accounts and roles; no operator runs."""
    with ControlPlane(tmp_path_factory.mktemp("intake")) as plane:
        cluster = Cluster(plane.kubeconfig)
        cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
        until_discovered(cluster.kubectl)
        for namespace in (SYSTEM, *SPACES):
            cluster.kubectl("create", "namespace", namespace)
        given = ("crds.enabled=false", "intake.enabled=true", "workloads.namespaces={shop,other}")
        options = [part for one in given for part in ("--set", one)]
        cluster.helm("install", "modelyard", str(ROOT / "charts/modelyard"), "-n", SYSTEM, *options)
        cluster.until_policies_know("shop")
        yield cluster


@pytest.fixture(scope="package")
def store(start: Callable[..., Any]) -> Iterator[Embedded]:
    """The embedded store with the intake's account."""
    with start(values(*SPACES) | {"intake": {"enabled": True}}) as running:
        yield running


@dataclass
class Place:
    """The service and what it works with."""

    cluster: Cluster
    store: Embedded
    url: str

    def token(
        self, account: str, pod: str | None, namespace: str = "shop", audience: str = AUDIENCE
    ) -> str:
        """A token as the kubelet asks for it."""
        core = client.CoreV1Api(self.cluster.client())
        bound = None
        if pod:
            uid = core.read_namespaced_pod(pod, namespace).metadata.uid
            bound = client.V1BoundObjectReference(api_version="v1", kind="Pod", name=pod, uid=uid)
        spec = client.V1TokenRequestSpec(
            audiences=[audience] if audience else [], bound_object_ref=bound
        )
        made = core.create_namespaced_service_account_token(
            account, namespace, client.AuthenticationV1TokenRequest(spec=spec)
        )
        return str(made.status.token)

    def pod(self, namespace: str = "shop", account: str = AGENT) -> str:
        """Makes a pod."""
        name = f"pod-{uuid.uuid4().hex[:8]}"
        body = {"serviceAccountName": account, "containers": [{"name": "c", "image": "none"}]}
        meta = {"name": name, "namespace": namespace}
        self.cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": body})
        return name

    def server(self, pod: str, namespace: str = "shop", *, capture: bool = True) -> str:
        """Makes the pod's ModelServer, of Deployment shelf."""
        name, spec = example("ModelServer", pod)
        own: dict[str, Any] = {"podName": pod, "deployment": "shelf"}
        if capture:
            own["monitoring"] = {"capture": {}}
        self.cluster.create(thing("ModelServer", name, namespace, spec | own))
        return name

    def ask(self, token: str, server: str, **changes: Any) -> httpx.Response:
        """Asks to store a file."""
        wanted = {
            "server": server,
            "name": "20261128-0123456789ab-000001-o1.tar",
            "sha256": "0" * 64,
            "sizeBytes": 10,
        }
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.post(
            f"{self.url}/v1/captures", json=wanted | changes, headers=headers, timeout=30
        )


@pytest.fixture(scope="package")
def serve(
    chart: Cluster, store: Embedded, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Place]]:
    """Starts the service, with further variables of its environment."""
    processes: list[subprocess.Popen[bytes]] = []

    def run(**variables: str) -> Place:
        account = tmp_path_factory.mktemp("account")
        port = free_port()
        place = Place(chart, store, f"http://127.0.0.1:{port}")
        admin = chart.client()
        (account / "token").write_text(place.token(INTAKE, None, SYSTEM, ""))
        (account / "ca.crt").write_bytes(Path(admin.configuration.ssl_ca_cert).read_bytes())
        server = urlsplit(admin.configuration.host)
        key = store.key(SYSTEM, "intake")
        environment = os.environ | {
            "KUBERNETES_SERVICE_HOST": str(server.hostname),
            "KUBERNETES_SERVICE_PORT": str(server.port),
            "MODELYARD_SERVICE_ACCOUNT": str(account),
            "MODELYARD_STORE__URL": store.rendered.operator_env()["MODELYARD_STORE__URL"],
            "MODELYARD_STORE__ENDPOINT": store.endpoint,
            "MODELYARD_NAMESPACES": ",".join(SPACES),
            "MODELYARD_INTAKE_PORT": str(port),
            "AWS_ACCESS_KEY_ID": key.access_key_id,
            "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
        }
        command = [sys.executable, "-m", "modelyard.workloads.intake"]
        processes.append(subprocess.Popen(command, env=environment | variables))

        def answers() -> bool:
            try:
                return httpx.get(f"{place.url}/healthz").status_code == 200
            except httpx.TransportError:
                assert processes[-1].poll() is None, "the service ended"
                return False

        until(answers, what="the intake service to answer")
        return place

    yield run
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + 10
    for process in processes:
        process.wait(max(0.1, deadline - time.monotonic()))


@pytest.fixture(scope="package")
def place(serve: Callable[..., Place]) -> Place:
    """The service with its usual limits."""
    return serve()
