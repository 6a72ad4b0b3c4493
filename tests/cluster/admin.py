"""The API server as an administrator reaches it, over plain HTTP clients."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import yaml

APPLY = {"Content-Type": "application/apply-patch+yaml"}
MERGE = {"Content-Type": "application/merge-patch+json"}


class Access(NamedTuple):
    """Where an API server is, and TLS with an administrator's certificate."""

    url: str
    tls: ssl.SSLContext


def access(kubeconfig: Path, folder: Path) -> Access:
    """Unpacks a kubeconfig's certificates into `folder`."""
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    files = {}
    for name, source, key in (
        ("ca", cluster, "certificate-authority-data"),
        ("cert", user, "client-certificate-data"),
        ("key", user, "client-key-data"),
    ):
        files[name] = folder / name
        files[name].write_bytes(base64.b64decode(source[key]))
    tls = ssl.create_default_context(cafile=files["ca"])
    tls.load_cert_chain(files["cert"], files["key"])
    return Access(cluster["server"], tls)


class Admin:
    """Plain requests with the administrator's rights."""

    def __init__(self, where: Access) -> None:
        self.http = httpx.Client(base_url=where.url, verify=where.tls, timeout=30, trust_env=False)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The decoded answer; fails the test if the API server refuses."""
        answer = self.http.request(method, path, json=body, headers=headers or None)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def get(self, path: str) -> Any:
        """An object, or None."""
        answer = self.http.get(path)
        return None if answer.status_code == 404 else answer.json()

    def merge(self, path: str, patch: Any) -> Any:
        """A JSON merge patch."""
        return self.call("PATCH", path, patch, **MERGE)

    def apply(self, path: str, body: Any) -> Any:
        """Server-side apply of an object into the collection `path`, as the operator does it."""
        where = f"{path}/{body['metadata']['name']}?fieldManager=test&force=true"
        return self.call("PATCH", where, body, **APPLY)

    def namespace(self, name: str) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        self.call("POST", "/api/v1/namespaces", body)

    def install(self, crds: Path) -> None:
        """Creates all CRDs of a folder; returns before they are served."""
        for path in sorted(crds.glob("*.yaml")):
            body = yaml.safe_load(path.read_text())
            self.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body)
