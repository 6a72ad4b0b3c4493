"""Our kinds on an API server, in one API version or several."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelyard.api.crd import CrdVersion, render
from modelyard.api.kinds import ALL_KINDS, kind_info

from ..admin import APPLY, Admin, access
from ..process import Operator
from ..waiting import until

SPACE = "versions"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class Site:
    """An API server of its own: other tests must not meet our kinds in other versions."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        self.kubeconfig, self.folder = kubeconfig, folder
        self.admin = Admin(access(kubeconfig, folder))
        self.admin.namespace(SPACE)

    def serve(self, *versions: CrdVersion) -> None:
        """Apply our CRDs with these versions, and wait until they are in force."""
        for info in ALL_KINDS:
            path = f"{CRDS}/{info.crd_name}?fieldManager=test&force=true"
            self.admin.call("PATCH", path, render(info, versions), **APPLY)
        served = {version.name for version in versions if version.served}
        until(lambda: self._served() == served, what=f"{served} to be served")

    def _served(self) -> set[str]:
        group = self.admin.get("/apis/modelyard.dev") or {"versions": []}
        found = {one["version"] for one in group["versions"]}
        for version in found:
            listed = self.admin.get(f"/apis/modelyard.dev/{version}") or {"resources": []}
            if not {i.plural for i in ALL_KINDS} <= {one["name"] for one in listed["resources"]}:
                return set()
        return found

    def path(self, version: str, kind: str, name: str = "") -> str:
        """URL path of an object, or of all of the namespace."""
        plural = kind_info(kind).plural
        return f"/apis/modelyard.dev/{version}/namespaces/{SPACE}/{plural}/{name}".rstrip("/")

    def create(self, version: str, kind: str, name: str, spec: dict[str, Any]) -> None:
        body = {
            "apiVersion": f"modelyard.dev/{version}",
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        }
        self.admin.call("POST", self.path(version, kind), body)

    def get(self, version: str, kind: str, name: str) -> Any:
        """An object as a client of this version sees it; None where there is none."""
        return self.admin.get(self.path(version, kind, name))

    def status(self, version: str, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(version, kind, name).get("status") or {}
        return found

    def stored_versions(self, kind: str) -> list[str]:
        """Versions in which objects of a kind may be stored."""
        crd = self.admin.get(f"{CRDS}/{kind_info(kind).crd_name}")
        versions: list[str] = crd["status"]["storedVersions"]
        return versions

    def migrate(self, version: str) -> None:
        """Write every object as it is, so that it is stored in the storage version, and say so."""
        for info in ALL_KINDS:
            for one in self.admin.get(self.path(version, info.kind))["items"]:
                path = self.path(version, info.kind, one["metadata"]["name"])
                self.admin.call("PUT", path, one)
            status = {"status": {"storedVersions": [version]}}
            self.admin.merge(f"{CRDS}/{info.crd_name}/status", status)

    @contextmanager
    def operator(self) -> Iterator[Operator]:
        """Today's operator, which knows the first version only."""
        started = Operator(self.kubeconfig, self.folder, "operator")
        try:
            until(started.idle, what="the operator to be idle")
            yield started
        finally:
            started.kill()
            started.gone()

    def modelyard(self, *arguments: str) -> str:
        """What today's CLI prints."""
        command = [sys.executable, "-m", "modelyard.cli.main", *arguments]
        command += ["-n", SPACE, "--kubeconfig", str(self.kubeconfig)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout
