"""The few requests that the cluster tool makes to its own API server, on the standard library."""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from modelyard_local.cluster.errors import ClusterError
from modelyard_local.cluster.pki import Pair

Object = dict[str, Any]


class Api:
    """JSON requests to `server`, authenticated with a client certificate."""

    def __init__(self, server: str, authority: Path, client: Pair) -> None:
        self._server = urlsplit(server)
        self._context = ssl.create_default_context(cafile=str(authority))
        self._context.load_cert_chain(client.certificate, client.key)

    def get(self, path: str) -> Object | None:
        """The object at `path`, or None where there is none."""
        return self._request("GET", path)

    def apply(self, path: str, document: Object) -> None:
        """Server-side apply of `document` to the object at `path`, overriding other managers."""
        path = f"{path}?fieldManager=modelyard-cluster&force=true"
        self._request("PATCH", path, document, "application/apply-patch+yaml")

    def patch(self, path: str, document: Object) -> None:
        """Strategic merge patch of the object at `path`."""
        self._request("PATCH", path, document, "application/strategic-merge-patch+json")

    def delete(self, path: str) -> None:
        """Deletes the object at `path`; fine where there is none."""
        self._request("DELETE", path)

    def _request(
        self, method: str, path: str, body: Object | None = None, content_type: str = ""
    ) -> Object | None:
        connection = http.client.HTTPSConnection(
            self._server.hostname or "", self._server.port, timeout=30, context=self._context
        )
        try:
            connection.request(
                method,
                path,
                body=json.dumps(body) if body is not None else None,
                headers={"Content-Type": content_type} if body else {},
            )
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            url = self._server.geturl()
            raise ClusterError(f"{method} {path}: {url} does not answer ({error})") from error
        finally:
            connection.close()
        if response.status == http.HTTPStatus.NOT_FOUND and method != "PATCH":
            return None
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            text = content.decode(errors="replace")[:500]
            raise ClusterError(f"{method} {path} was answered with {response.status}: {text}")
        found: Object = json.loads(content)
        return found
