"""The operator as a process on a real API server with the real Job controller; pods are played.

No kubelet runs here: `Site.play` writes the pod statuses that a kubelet would write.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from modelyard.api.base import API_VERSION, GROUP, VERSION
from modelyard.api.kinds import kind_info
from modelyard.contract import labels
from modelyard.contract.result import Outcome
from modelyard_local.cluster import ControlPlane, ensure

from ..fake_status import pod_status
from ..waiting import until, until_discovered

ROOT = Path(__file__).parents[3]
SPACE = "shop"


class Site:
    """An API server with our CRDs, the operator, and hands to play pods with."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.kubeconfig = plane.kubeconfig
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        api = config.new_client_from_config(str(plane.kubeconfig))
        self.core = client.CoreV1Api(api)
        self.batch = client.BatchV1Api(api)
        self.apps = client.AppsV1Api(api)
        self.custom = client.CustomObjectsApi(api)

    def kubectl(self, *arguments: str) -> str:
        command = [str(ensure("kubectl")), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def prepare(self) -> None:
        """CRDs, a namespace and its service accounts."""
        self.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        until_discovered(self.kubectl)
        self.kubectl("create", "namespace", SPACE)
        for account in ("modelyard-trainer", "modelyard-agent"):
            self.kubectl("create", "serviceaccount", account, "-n", SPACE)

    def start_operator(self) -> None:
        environment = {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "MODELYARD_LISTEN_ADDRESS": "127.0.0.1",
            "MODELYARD_LISTEN_PORT": "0",
            "MODELYARD_LEASE_SECONDS": "3",
            "MODELYARD_LEASE_NAMESPACE": SPACE,
            "MODELYARD_LOG_FORMAT": "logfmt",
            "MODELYARD_ALLOWED_IMAGES": "registry.invalid/nobody/*",
        }
        with (self._folder / "operator.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "modelyard.handlers"],
                env=environment,
                stdout=log,
                stderr=log,
            )

    def kill_operator(self) -> None:
        """SIGKILL, as a node that dies."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(15)

    def create(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        body = {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"name": name, "namespace": SPACE},
            "spec": spec,
        }
        plural = kind_info(kind).plural
        self.custom.create_namespaced_custom_object(GROUP, VERSION, SPACE, plural, body)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One of our objects; {} if there is none."""
        plural = kind_info(kind).plural
        try:
            return self.custom.get_namespaced_custom_object(GROUP, VERSION, SPACE, plural, name)
        except client.ApiException as error:
            if error.status != 404:
                raise
            return {}

    def list(self, kind: str) -> list[dict[str, Any]]:
        plural = kind_info(kind).plural
        return self.custom.list_namespaced_custom_object(GROUP, VERSION, SPACE, plural)["items"]

    def patch(self, kind: str, name: str, **body: Any) -> None:
        plural = kind_info(kind).plural
        self.custom.patch_namespaced_custom_object(GROUP, VERSION, SPACE, plural, name, body)

    def patch_status(self, kind: str, name: str, status: dict[str, Any]) -> None:
        plural = kind_info(kind).plural
        self.custom.patch_namespaced_custom_object_status(
            GROUP, VERSION, SPACE, plural, name, {"status": status}
        )

    def phase(self, kind: str, name: str) -> str | None:
        return (self.get(kind, name).get("status") or {}).get("phase")

    def reaches(self, kind: str, name: str, phase: str, seconds: float = 60) -> dict[str, Any]:
        """Waits for a phase; the object."""
        last: dict[str, Any] = {}

        def there() -> bool:
            last.update(self.get(kind, name))
            return (last.get("status") or {}).get("phase") == phase

        until(there, seconds, f"{kind} {name} {phase}")
        return last

    def pods(self, owner: str, role: str | None = None) -> list[Any]:
        """Pods that work for one of our objects, `Kind/name`, oldest first."""
        found = [
            p
            for p in self.core.list_namespaced_pod(SPACE).items
            if (p.metadata.annotations or {}).get(labels.OWNER) == owner
            and role in (None, (p.metadata.labels or {}).get(labels.ROLE))
        ]
        return sorted(found, key=lambda p: p.metadata.creation_timestamp)

    def pod(self, owner: str, role: str | None = None, count: int = 1) -> Any:
        """The newest of at least so many pods, once it is there."""
        return until(
            lambda: (found := self.pods(owner, role)) and len(found) >= count and found[-1],
            what=f"pod {count} of {owner} {role}",
        )

    def play(
        self,
        pod: Any,
        phase: str,
        *,
        outcome: Outcome | None = None,
        exit_code: int = 0,
        waiting: dict[str, str] | None = None,
        ready: bool = False,
    ) -> None:
        """What a kubelet would write into the pod's status."""
        container = pod.spec.containers[0]
        status = pod_status(
            container.name,
            container.image,
            phase,
            outcome=outcome,
            exit_code=exit_code,
            waiting=waiting,
            ready=ready,
        )
        self.core.patch_namespaced_pod_status(pod.metadata.name, SPACE, {"status": status})


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("kinds"), controller_manager=True) as plane:
        yield plane


@pytest.fixture(scope="module")
def site(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(plane, tmp_path_factory.mktemp("operator"))
    site.prepare()
    site.start_operator()
    yield site
    site.stop()
