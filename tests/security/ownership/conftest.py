"""The operator with the chart's rights and policies, on a real API server with Kubernetes' own
controllers. Pods are played: no kubelet runs, the administrator writes their statuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.contract.result import Outcome
from modelyard_local.cluster import ControlPlane

from ...cluster.conftest import ROOT, Cluster
from ...cluster.fake_status import NODES_STAY, pod_status
from ...cluster.installed import SYSTEM, running_operator
from ...waiting import until

NS, TIGHT, ELSEWHERE = "vision", "tight", "elsewhere"
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
    with running_operator(site, tmp_path_factory.mktemp("operator")) as path:
        yield path
