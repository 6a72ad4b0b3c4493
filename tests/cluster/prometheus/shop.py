"""Modelyard Deployments with a real operator, whose pods, agents and metrics are played."""

from __future__ import annotations

from typing import Any

from ..admin import Admin
from ..fake_status import DIGEST_A, DIGEST_B, Served, artifact, binding, node, pod_status, reported
from ..waiting import until
from .pages import Does, Page

SPACE = "shop"
OURS = f"/apis/modelyard.dev/v1alpha1/namespaces/{SPACE}"
CORE = f"/api/v1/namespaces/{SPACE}"
NODE = "one"
API = "modelyard.dev/v1alpha1"


class Shop:
    """Each Deployment has two servers and is named like its model line. Looks on the way play."""

    def __init__(self, admin: Admin, page: Page) -> None:
        self.admin, self._page = admin, page
        self._does: dict[tuple[str, int], Does] = {}
        self._bound: set[str] = set()

    def prepare(self) -> None:
        """The namespace, its service accounts and a node."""
        self.admin.namespace(SPACE)
        self.admin.call("POST", "/api/v1/nodes", node(NODE, {}))
        for account in ("modelyard-trainer", "modelyard-agent"):
            self.admin.call("POST", f"{CORE}/serviceaccounts", {"metadata": {"name": account}})
        for kind in ("deployments", "modelservers", "modelversions"):
            path = f"{OURS}/{kind}"
            until(lambda path=path: self.admin.get(path) is not None, what=path)

    def version(self, line: str, number: int, does: Does) -> None:
        """A Ready version, and what servers will count once they have it."""
        self._does[line, number] = does
        name = f"{line}-{number}"
        spec = {
            "modelLine": line,
            "version": number,
            "weights": {"digest": DIGEST_B},
            "dataset": {"name": "any", "digest": DIGEST_A},
        }
        body = {"apiVersion": API, "kind": "ModelVersion", "metadata": {"name": name}, "spec": spec}
        self.admin.call("POST", f"{OURS}/modelversions", body)
        made = artifact(number).model_dump(mode="json", by_alias=True, exclude_none=True)
        status = {"phase": "Ready", "observedGeneration": 1, "artifacts": [made]}
        self.admin.merge(f"{OURS}/modelversions/{name}/status", {"status": status})

    def serve(self, line: str, *metrics: dict[str, Any]) -> None:
        """Version 1 serves; what comes next is measured by these metrics after half of the
        servers have it and again at the end."""
        self.version(line, 1, Does())
        spec = {
            "modelLine": line,
            "target": {"cluster": {"replicas": 2}},
            "rollout": {"steps": [{"weight": 50}], "analysis": {"metrics": list(metrics)}},
        }
        body = {"apiVersion": API, "kind": "Deployment", "metadata": {"name": line}, "spec": spec}
        self.admin.call("POST", f"{OURS}/deployments", body)
        self.reaches(line, "Healthy")

    def measured_by(self, line: str, *metrics: dict[str, Any]) -> None:
        """Somebody changes the analysis."""
        patch = {"spec": {"rollout": {"analysis": {"metrics": list(metrics)}}}}
        self.admin.merge(f"{OURS}/deployments/{line}", patch)

    def act(self, line: str, action: str) -> None:
        """Somebody annotates the Deployment."""
        patch = {"metadata": {"annotations": {f"modelyard.dev/{action}": "now"}}}
        self.admin.merge(f"{OURS}/deployments/{line}", patch)

    def status(self, line: str) -> dict[str, Any]:
        """The Deployment's, after pods and agents have done what is due."""
        self._play()
        return self.admin.get(f"{OURS}/deployments/{line}").get("status") or {}

    def reaches(self, line: str, phase: str) -> dict[str, Any]:
        """The status once the Deployment has a phase."""
        last: dict[str, Any] = {}

        def there() -> bool:
            last.clear()
            last.update(self.status(line))
            return last.get("phase") == phase

        try:
            until(there, 60, pause=0.2)
        except AssertionError:
            raise AssertionError(f"{line} is not {phase} but {last}") from None
        return last

    def measurements(self, line: str) -> dict[str, dict[str, Any]]:
        """Status of each metric of the analysis that is going on."""
        analysis = (self.status(line).get("rollout") or {}).get("analysis") or {}
        return {one["name"]: one for one in analysis.get("metrics") or ()}

    def held(self, line: str) -> list[int]:
        """Versions that the line's servers hold."""
        found = self.admin.get(f"{OURS}/modelservers")["items"]
        servers = [one for one in found if one["spec"]["deployment"] == line]
        return sorted(one["status"]["loaded"]["version"] for one in servers if one.get("status"))

    def _play(self) -> None:
        selector = "labelSelector=app.kubernetes.io/component%3Dserver"
        for pod in self.admin.get(f"{CORE}/pods?{selector}")["items"]:
            name = pod["metadata"]["name"]
            if name not in self._bound:
                self.admin.call("POST", f"{CORE}/pods/{name}/binding", binding(pod, NODE))
                status = pod_status("triton", "none", "Running", ready=True)
                self.admin.merge(f"{CORE}/pods/{name}/status", {"status": status})
                self._bound.add(name)
        for server in self.admin.get(f"{OURS}/modelservers")["items"]:
            wanted = reported(server, Served())
            if (server.get("status") or {}) != {**(server.get("status") or {}), **wanted}:
                path = f"{OURS}/modelservers/{server['metadata']['name']}/status"
                self.admin.merge(path, {"status": wanted})
                line, number = server["spec"]["modelLine"], wanted["loaded"]["version"]
                self._page.loads(line, number, self._does[line, number])
