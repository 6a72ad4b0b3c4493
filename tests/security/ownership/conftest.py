"""The operator with the chart's rights and policies, on a real API server with Kubernetes' own
controllers. Pods are played: no kubelet runs, the administrator writes their statuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard.contract.result import Outcome
from modelyard_local.cluster import ControlPlane

from ...cluster.conftest import ROOT, Cluster
from ...cluster.fake_status import NODES_STAY, pod_status
from ...waiting import until

SYSTEM, NS, TIGHT, ELSEWHERE = "modelyard-system", "vision", "tight", "elsewhere"
EDITOR, TENANT = "mallory", "oscar"
"""Users with role `edit`, and with every right there is, in both namespaces."""


class Site(Cluster):
    """As an administrator reaches it."""

    def listed(self, kind: str, namespace: str = NS) -> list[dict[str, Any]]:
        text = self.kubectl("-n", namespace, "get", kind, "-o", "json")
        items: list[dict[str, Any]] = json.loads(text)["items"]
        return items

    def tried(self, user: str, *arguments: str, stdin: object = None) -> str:
        """What a user is answered; empty if it was done."""
        done = self.run("kubectl", f"--as={user}", *arguments, stdin=stdin)
        return done.stderr if done.returncode else ""

    def status(self, kind: str, name: str, namespace: str = NS) -> dict[str, Any]:
        found: dict[str, Any] = self.get(kind, namespace, name).get("status") or {}
        return found

    def reason(self, kind: str, name: str, namespace: str = NS) -> str:
        """Why an object is not Ready."""
        conditions = self.status(kind, name, namespace).get("conditions") or ()
        return next((str(c["reason"]) for c in conditions if c["type"] == "Ready"), "")

    def pods_of(self, owner: str, role: str) -> list[dict[str, Any]]:
        """Pods of the Jobs of one of our objects, `Kind/name`, by what they do."""
        marks = {"modelyard.dev/role": role}
        return [
            pod
            for pod in self.listed("pods")
            if marks.items() <= pod["metadata"].get("labels", {}).items()
            and (pod["metadata"].get("annotations") or {}).get("modelyard.dev/owner") == owner
        ]

    def pod_of(self, owner: str, role: str) -> dict[str, Any]:
        """The one pod, once it is there."""
        found: list[dict[str, Any]] = until(
            lambda: self.pods_of(owner, role), what=f"pod of {role}"
        )
        return found[0]

    def end(self, pod: dict[str, Any], outcome: Outcome) -> None:
        """A pod succeeds with an outcome, as its kubelet would write it."""
        own, container = pod["metadata"], pod["spec"]["containers"][0]
        status = pod_status(container["name"], container["image"], "Succeeded", outcome=outcome)
        self.set_status("pod", own["namespace"], own["name"], status)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("ownership")
    flags = {"kube-controller-manager": [NODES_STAY]}
    with ControlPlane(folder / "plane", controller_manager=True, more_flags=flags) as plane:
        made = Site(plane.kubeconfig)
        for namespace in (SYSTEM, NS, TIGHT, ELSEWHERE):
            made.kubectl("create", "namespace", namespace)
        for namespace in (NS, ELSEWHERE):
            for user, role in ((EDITOR, "edit"), (TENANT, "cluster-admin")):
                bind = ("create", "rolebinding", f"{user}-{role}", f"--clusterrole={role}")
                made.kubectl("-n", namespace, *bind, f"--user={user}")
        values = ("--set", f"workloads.namespaces={{{NS},{TIGHT}}}")
        chart = str(ROOT / "charts/modelyard")
        made.helm("install", "modelyard", chart, "--namespace", SYSTEM, *values)
        made.until_policies_know(NS)
        yield made


@pytest.fixture(scope="session")
def log(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The log of the running operator."""
    folder = tmp_path_factory.mktemp("operator")
    deployment = site.get("deployment", SYSTEM, "modelyard-operator")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    environment = {one["name"]: one.get("value", "") for one in container["env"]}
    environment |= {"POD_NAME": "operator-0", "MODELYARD_LISTEN_PORT": "0"}
    environment |= {"PATH": os.environ["PATH"], "KUBECONFIG": str(_kubeconfig(site, folder))}
    path = folder / "operator.log"
    with path.open("w") as output:
        command = [sys.executable, "-m", "modelyard.handlers"]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        yield path
        process.terminate()
        process.wait(20)


def _kubeconfig(site: Site, folder: Path) -> Path:
    """The administrator's, with the operator's token in place of the certificate."""
    token = site.kubectl("-n", SYSTEM, "create", "token", "modelyard-operator").strip()
    config = yaml.safe_load(site.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path
