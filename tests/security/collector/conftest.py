"""A real API server with Kubernetes' controllers and the chart, to lose things on; a store, and the
collector's process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from kubernetes import client

from modelyard.contract.paths import COLLECTOR_STATE, blob_key
from modelyard.contract.run import StoreLocation
from modelyard.store import Store
from modelyard_local.cluster import ControlPlane

from ...cluster.conftest import CRDS, Cluster
from ...cluster.waiting import until_discovered

ROOT = Path(__file__).parents[3]
SPACE = "shop"
SYSTEM, NAME = "modelyard-system", "modelyard-collector"
DAY = 86_400
COMMAND = [sys.executable, "-m", "modelyard.workloads.collect"]


@pytest.fixture(scope="package")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The chart's policies and accounts, and the real garbage collector; no operator runs."""
    with ControlPlane(tmp_path_factory.mktemp("security"), controller_manager=True) as plane:
        cluster = Cluster(plane.kubeconfig)
        cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
        until_discovered(cluster.kubectl)
        for namespace in ("modelyard-system", SPACE):
            cluster.kubectl("create", "namespace", namespace)
        cluster.helm(
            *("install", "modelyard", str(ROOT / "charts/modelyard"), "-n", "modelyard-system"),
            *("--set", "crds.enabled=false", "--set", f"workloads.namespaces={{{SPACE}}}"),
        )
        cluster.until_policies_know(SPACE)
        yield cluster


@dataclass
class Yard:
    """A store, and the collector's pod."""

    cluster: Cluster
    url: str
    folder: Path
    store: Store
    environment: dict[str, str]
    stored: int = 0

    def publisher(self) -> Store:
        """The same part, as another process opens it."""
        return Store.open(StoreLocation(url=self.folder.as_uri()))

    def put(self, content: bytes) -> str:
        digest = self.store.put_bytes(content)
        then = time.time() - 30 * DAY
        os.utime(self.folder / blob_key(digest), (then, then))
        return digest

    def start(self, **settings: str) -> subprocess.Popen[bytes]:
        """The collector's process, at work."""
        return subprocess.Popen(COMMAND, env=self.environment | settings)

    def collect(self, **settings: str) -> tuple[int, dict[str, Any]]:
        """Exit code, and the report in the ConfigMap."""
        done = subprocess.run(
            COMMAND,
            env=self.environment | settings,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert "Traceback" not in done.stderr, done.stderr
        data = self.cluster.get("configmap", SYSTEM, NAME).get("data") or {}
        return done.returncode, json.loads(data["report.json"])

    def pretend(self, days: int) -> None:
        """As if its state were older."""
        path = self.folder / COLLECTOR_STATE
        state = json.loads(path.read_text())
        then = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - days * DAY))
        path.write_text(json.dumps(state | {"unneeded": dict.fromkeys(state["unneeded"], then)}))


@pytest.fixture
def yard(chart: Cluster, tmp_path: Path) -> Yard:
    url = (tmp_path / "store").as_uri()
    part = StoreLocation(url=url).within(SPACE)
    account = tmp_path / "account"
    account.mkdir()
    admin = chart.client()
    spec = client.V1TokenRequestSpec(audiences=[])
    token = client.CoreV1Api(admin).create_namespaced_service_account_token(
        NAME, SYSTEM, client.AuthenticationV1TokenRequest(spec=spec)
    )
    (account / "token").write_text(token.status.token)
    (account / "ca.crt").write_bytes(Path(admin.configuration.ssl_ca_cert).read_bytes())
    server = urlsplit(admin.configuration.host)
    environment = os.environ | {
        "KUBERNETES_SERVICE_HOST": str(server.hostname),
        "KUBERNETES_SERVICE_PORT": str(server.port),
        "MODELYARD_SERVICE_ACCOUNT": str(account),
        "MODELYARD_STORE__URL": url,
        "MODELYARD_NAMESPACES": SPACE,
        "MODELYARD_COLLECTOR_REPORT": f"{SYSTEM}/{NAME}",
        "MODELYARD_COLLECTOR_GRACE_HOURS": "168",
        "MODELYARD_COLLECTOR_DELETE": "false",
    }
    return Yard(chart, url, tmp_path / "store" / SPACE, Store.open(part), environment)
