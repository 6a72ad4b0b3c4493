"""A namespace as its users see and change it, past the proxy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard.api.base import API_VERSION

from ...kinds import DECLARED, OPERATORS_ALONE
from ..admin import MERGE, Admin
from ..fake_status import node, node_status
from .journal import Journal, Object
from .resources import path

MADE = (
    *OPERATORS_ALONE, "Job", "Pod", "Service", "apps/Deployment", "apps/ReplicaSet",
    "apps/DaemonSet", "PodDisruptionBudget",
)  # fmt: skip
NODES = "/api/v1/nodes"
ACCOUNTS = ("default", "modelyard-trainer", "modelyard-agent")


class Scene:
    """One namespace, and nodes of its own."""

    def __init__(self, admin: Admin, journal: Journal, namespace: str) -> None:
        self.admin = admin
        self.journal = journal
        self.namespace = namespace
        self._nodes: list[str] = []

    def prepare(self) -> int:
        """Make the namespace and its service accounts; returns a resourceVersion after that."""
        self.admin.namespace(self.namespace)
        accounts = f"/api/v1/namespaces/{self.namespace}/serviceaccounts"
        made: Any = None
        for name in ACCOUNTS:
            answer = self.admin.http.post(accounts, json={"metadata": {"name": name}})
            assert answer.status_code in (201, 409), answer.text  # `default` makes itself.
            made = made or answer.json()
        listed = self.admin.get(accounts)
        return int(listed["metadata"]["resourceVersion"])

    def create(self, kind: str, name: str, spec: Mapping[str, Any]) -> None:
        """Declare an object of ours."""
        body = {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"name": name},
            "spec": dict(spec),
        }
        self.admin.call("POST", path(kind, self.namespace), body)

    def patch(self, kind: str, name: str, body: Any, subresource: str = "") -> None:
        """A JSON merge patch."""
        self.admin.merge(path(kind, self.namespace, name, subresource), body)

    def delete(self, kind: str, name: str) -> None:
        """Delete as kubectl does: children go in the background."""
        self.admin.call("DELETE", path(kind, self.namespace, name))

    def add_node(self, name: str, labels: Mapping[str, str]) -> None:
        """Register a node that is Ready and takes pods."""
        self._nodes.append(name)
        self.admin.call("POST", NODES, node(name, labels))
        self.admin.merge(f"{NODES}/{name}", {"spec": {"taints": None}})

    def set_node(self, name: str, *, ready: bool) -> None:
        """Cut a node off, or bring it back."""
        self.admin.merge(f"{NODES}/{name}/status", {"status": node_status(ready=ready)})

    def reaches(self, name: str) -> bool:
        """Whether a node is Ready."""
        found = self.journal.find("Node", "", name)
        return found is not None and found["status"]["conditions"][0]["status"] == "True"

    def call(self, method: str, kind: str, name: str, subresource: str, body: Any) -> bool:
        """What kubelets, schedulers and agents ask; False if there is nobody any more to ask it
        of. What was done already, and is not seen yet, may be asked again."""
        where = path(kind, self.namespace, name, subresource)
        headers = MERGE if method == "PATCH" else None
        answer = self.admin.http.request(method, where, json=body, headers=headers)
        assert answer.status_code in (200, 201, 404, 409), answer.text
        return answer.status_code != 404

    def reap(self, pod: Object) -> bool:
        """Let a pod be gone that is asked to end, as its node's kubelet does."""
        metadata = pod["metadata"]
        if not metadata.get("deletionTimestamp"):
            return False
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
        return self.call("DELETE", "Pod", metadata["name"], "", body)

    def find(self, kind: str, name: str) -> Object | None:
        """An object that exists, or None."""
        return self.journal.find(kind, self.namespace, name)

    def live(self, kind: str) -> list[Object]:
        """Objects that exist, oldest first."""
        return self.journal.live(kind, self.namespace)

    def status(self, kind: str, name: str) -> Mapping[str, Any]:
        """An object's status; empty if there is none."""
        return (self.find(kind, name) or {}).get("status") or {}

    def phase(self, kind: str, name: str) -> str | None:
        """An object's phase, once it is about the present spec."""
        obj = self.find(kind, name)
        status = (obj or {}).get("status") or {}
        if obj is None or status.get("observedGeneration") != obj["metadata"]["generation"]:
            return None
        return str(status.get("phase"))

    def left(self, *kinds: str) -> list[str]:
        """What exists of these kinds, or of all."""
        return self.journal.left(self.namespace, kinds or (*DECLARED, *MADE))

    def empty(self) -> bool:
        """Whether nothing is left."""
        return not self.left()

    def clear(self) -> None:
        """Delete whatever is left; returns before it is gone."""
        for kind in (*DECLARED, *MADE):
            if kind not in ("Pod", "apps/ReplicaSet") and self.left(kind):
                query = "?propagationPolicy=Background"
                self.admin.http.delete(path(kind, self.namespace) + query)

    def tidy(self) -> None:
        """Let ending pods be gone."""
        for pod in self.live("Pod"):
            self.reap(pod)

    def remove(self) -> None:
        """Delete the namespace and its nodes; returns before they are gone."""
        for name in self._nodes:
            self.admin.http.delete(f"{NODES}/{name}")
        self.admin.http.delete(f"/api/v1/namespaces/{self.namespace}")
