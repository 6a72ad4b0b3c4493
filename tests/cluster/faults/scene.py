"""A namespace as its users see and change it, past the proxy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard.api.base import API_VERSION

from ..admin import Admin
from .journal import Journal, Object
from .resources import DECLARED, path

MADE = ("ModelServer", "Job", "Pod", "Service", "apps/Deployment", "apps/ReplicaSet")
ACCOUNTS = ("default", "modelyard-trainer", "modelyard-agent")


class Scene:
    """One namespace."""

    def __init__(self, admin: Admin, journal: Journal, namespace: str) -> None:
        self.admin = admin
        self.journal = journal
        self.namespace = namespace

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
        for kind in (*DECLARED, "ModelServer", "apps/Deployment", "Job", "Service"):
            if self.left(kind):
                query = "?propagationPolicy=Background"
                self.admin.http.delete(path(kind, self.namespace) + query)

    def remove(self) -> None:
        """Delete the namespace; returns before it is gone."""
        self.admin.http.delete(f"/api/v1/namespaces/{self.namespace}")
