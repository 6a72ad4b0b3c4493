"""The few requests that the collector makes to the API server, with the standard library."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlencode

from modelyard.api.base import API_VERSION
from modelyard.api.kinds import ALL_KINDS
from modelyard.contract.labels import MANAGED_BY, MANAGER
from modelyard.store.collector import Evidence, evidence_of
from modelyard.workloads.errors import RetryableError
from modelyard.workloads.report import SERVICE_ACCOUNT

ACCOUNT_ENV = "MODELYARD_SERVICE_ACCOUNT"
"""Directory with token and CA, in place of the pod's; for tests and by hand."""
_TIMEOUT = 30.0
_PAGE = 500
_MANAGED = f"{MANAGED_BY}={MANAGER}"


@dataclass(frozen=True)
class ApiServer:
    """The API server as a pod sees it. Every method raises RetryableError."""

    host: str
    port: int
    account: Path = SERVICE_ACCOUNT
    """Directory with `token` and `ca.crt`, which are read for every request."""

    @classmethod
    def from_environment(cls) -> Self:
        """Of the cluster that this pod runs in. Raises KeyError outside of one."""
        host = os.environ["KUBERNETES_SERVICE_HOST"]
        port = int(os.environ.get("KUBERNETES_SERVICE_PORT") or 443)
        return cls(host, port, Path(os.environ.get(ACCOUNT_ENV) or SERVICE_ACCOUNT))

    def evidence(self, namespace: str) -> Evidence:
        """What all objects of a namespace need."""
        space = quote(namespace)
        objects = [
            {"kind": info.kind, **one}
            for info in ALL_KINDS
            for one in self._list(f"/apis/{API_VERSION}/namespaces/{space}/{info.plural}")
        ]
        jobs = self._list(f"/apis/batch/v1/namespaces/{space}/jobs", _MANAGED)
        pods = self._list(f"/api/v1/namespaces/{space}/pods", _MANAGED)
        return evidence_of(
            self._request("GET", f"/api/v1/namespaces/{space}"),
            objects,
            [{"kind": "Job", **one} for one in jobs],
            [{"kind": "Pod", **one} for one in pods],
        )

    def write_config_map(self, namespace: str, name: str, data: Mapping[str, str]) -> None:
        """Set entries of a ConfigMap that exists."""
        path = f"/api/v1/namespaces/{quote(namespace)}/configmaps/{quote(name)}"
        self._request("PATCH", f"{path}?fieldManager=modelyard-collector", {"data": dict(data)})

    def _list(self, path: str, selector: str = "") -> Iterator[dict[str, Any]]:
        query = {"limit": str(_PAGE)} | ({"labelSelector": selector} if selector else {})
        while True:
            found = self._request("GET", f"{path}?{urlencode(query)}")
            yield from found["items"]
            token = found["metadata"].get("continue")
            if not token:
                return
            query["continue"] = token

    def _request(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        try:
            token = (self.account / "token").read_text(encoding="ascii").strip()
            context = ssl.create_default_context(cafile=str(self.account / "ca.crt"))
            connection = HTTPSConnection(self.host, self.port, timeout=_TIMEOUT, context=context)
            try:
                headers = {
                    "Authorization": f"Bearer {token}",
                    "Content-Type": "application/merge-patch+json",
                    "Accept": "application/json",
                }
                content = None if body is None else json.dumps(body)
                connection.request(method, path, content, headers)
                response = connection.getresponse()
                answer = json.loads(response.read())
            finally:
                connection.close()
        except (OSError, HTTPException, ValueError) as error:
            raise RetryableError(
                "ApiServerUnreachable", f"the API server cannot be reached ({error})"
            ) from error
        if response.status >= 300 or not isinstance(answer, dict):
            message = answer.get("message") if isinstance(answer, dict) else answer
            raise RetryableError(
                "ApiServerRefused", f"{method} {path.partition('?')[0]}: {message}"
            )
        return answer
