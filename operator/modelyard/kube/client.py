"""`Api` over HTTP: plain dicts, orjson, one session with a connection pool.

Connections and credentials come from connection.py, the types of errors from errors.py. Watches do
not go through here but through kopf (handlers/kopf_adapter.py).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import aiohttp
import orjson

from modelyard.core.plan import KubeObject
from modelyard.kube.api import FIELD_MANAGER, STATUS_MANAGER, Object, Page
from modelyard.kube.connection import CONNECT_SECONDS, Connection
from modelyard.kube.errors import NotFound, Unreachable, from_response
from modelyard.kube.kinds import EVENT, KubeKind

PAGE_SIZE = 100
"""Objects per page of a list. Decoded, they take fifty times the memory that the cache needs."""
REQUEST_SECONDS = 30.0

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

NO_ANSWER = "none"
"""Replaces the HTTP status of a request without a response."""

OnRequest = Callable[[str, str, str, float], None]
"""Called after each request with verb, kind, HTTP status (or NO_ANSWER) and seconds."""


class HttpApi:
    """Implements Api. Close it when done."""

    def __init__(
        self,
        connection: Connection,
        *,
        limit: int = 64,
        seconds: float = REQUEST_SECONDS,
        on_request: OnRequest | None = None,
    ) -> None:
        self._server = connection.server
        self._session = connection.session(limit=limit)
        self._timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)
        self._on_request = on_request or (lambda verb, kind, code, seconds: None)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def get(self, kind: KubeKind, namespace: str, name: str) -> Object:
        """Read an object. Raises NotFound."""
        found: Object = await self._call("get", kind, "GET", kind.path(namespace, name))
        return found

    async def served(self, kind: KubeKind) -> bool:
        """Whether the API server serves a kind; false while its CRD is not installed."""
        try:
            await self._call("list", kind, "GET", kind.path(), params={"limit": "1"})
        except NotFound:
            return False
        return True

    async def pages(self, kind: KubeKind) -> AsyncIterator[Page]:
        """All objects of a kind, page by page."""
        params = {"limit": str(PAGE_SIZE)}
        if kind.selector:
            params["labelSelector"] = kind.selector
        if kind.fields:
            params["fieldSelector"] = kind.fields
        while True:
            answer = await self._call("list", kind, "GET", kind.path(), params=params)
            items = answer.get("items") or []
            for item in items:
                # Items of built-in kinds have no apiVersion and kind.
                item.setdefault("apiVersion", kind.api_version)
                item.setdefault("kind", kind.kind)
            metadata = answer.get("metadata") or {}
            yield Page(items, int(metadata.get("resourceVersion") or 0))
            token = metadata.get("continue")
            if not token:
                return
            params["continue"] = token

    async def create(self, kind: KubeKind, manifest: KubeObject) -> Object:
        """Create an object. Raises AlreadyExists."""
        path = kind.path(manifest["metadata"].get("namespace", ""))
        params = {"fieldManager": FIELD_MANAGER}
        made: Object = await self._call("create", kind, "POST", path, manifest, params=params)
        return made

    async def apply(self, kind: KubeKind, manifest: KubeObject) -> Object:
        """Server-side apply an object, with force."""
        metadata = manifest["metadata"]
        path = kind.path(metadata.get("namespace", ""), metadata["name"])
        params = {"fieldManager": FIELD_MANAGER, "force": "true"}
        applied: Object = await self._call(
            "apply", kind, "PATCH", path, manifest, params=params, content_type=APPLY_PATCH
        )
        return applied

    async def replace(self, kind: KubeKind, manifest: KubeObject) -> Object:
        """Replace an object; its resourceVersion must be the stored one. Raises Conflict."""
        metadata = manifest["metadata"]
        path = kind.path(metadata.get("namespace", ""), metadata["name"])
        params = {"fieldManager": FIELD_MANAGER}
        replaced: Object = await self._call("update", kind, "PUT", path, manifest, params=params)
        return replaced

    async def patch_status(
        self, kind: KubeKind, namespace: str, name: str, patch: KubeObject
    ) -> Object:
        """JSON merge patch of an object's status."""
        patched: Object = await self._call(
            "patch_status",
            kind,
            "PATCH",
            kind.path(namespace, name, "status"),
            patch,
            params={"fieldManager": STATUS_MANAGER},
            content_type=MERGE_PATCH,
        )
        return patched

    async def delete(
        self, kind: KubeKind, namespace: str, name: str, uid: str | None
    ) -> Object | None:
        """Delete an object in the background; with `uid`, only if it has that UID."""
        options: Object = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
        }
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        answer = await self._call("delete", kind, "DELETE", kind.path(namespace, name), options)
        return None if answer.get("kind") == "Status" else answer

    async def create_event(self, manifest: KubeObject) -> None:
        """Create an Event."""
        await self.create(EVENT, manifest)

    async def _call(
        self,
        verb: str,
        kind: KubeKind,
        method: str,
        path: str,
        body: KubeObject | None = None,
        *,
        params: Mapping[str, str] | None = None,
        content_type: str = JSON,
    ) -> Any:
        code = NO_ANSWER
        started = time.perf_counter()
        try:
            async with self._session.request(
                method,
                self._server + path,
                params=params,
                data=None if body is None else orjson.dumps(body),
                headers=None if body is None else {"Content-Type": content_type},
                timeout=self._timeout,
            ) as response:
                raw = await response.read()
                code = str(response.status)
                if response.status >= 400:
                    raise from_response(response.status, _decoded(raw), response.headers)
                return orjson.loads(raw)
        except (TimeoutError, aiohttp.ClientError, OSError, orjson.JSONDecodeError) as error:
            what = str(error) or type(error).__name__
            raise Unreachable(f"no answer from {self._server}: {what}") from error
        finally:
            self._on_request(verb, kind.name, code, time.perf_counter() - started)


def _decoded(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
