"""The API server as the engine needs it, as a protocol. Objects are plain dicts.

client.py implements it over HTTP; unit tests have implementations in memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple, Protocol

from modelyard.core.plan import KubeObject
from modelyard.kube.kinds import KubeKind

Object = dict[str, Any]

FIELD_MANAGER = "modelyard"
STATUS_MANAGER = "modelyard-status"


class Page(NamedTuple):
    """One page of a list; all pages have the same resourceVersion."""

    items: list[Object]
    resource_version: int
    """resourceVersion of the list."""


class Api(Protocol):
    """Reads and writes. Every method raises modelyard.kube.errors.ApiError."""

    async def get(self, kind: KubeKind, namespace: str, name: str) -> Object:
        """Read one object. Raises NotFound."""

    def pages(self, kind: KubeKind) -> AsyncIterator[Page]:
        """All objects of a kind that match its selector, in all namespaces."""

    async def create(self, kind: KubeKind, manifest: KubeObject) -> Object:
        """Create an object. Raises AlreadyExists if the name is in use."""

    async def apply(self, kind: KubeKind, manifest: KubeObject) -> Object:
        """Server-side apply with force: takes over fields of other managers."""

    async def replace(self, kind: KubeKind, manifest: KubeObject) -> Object:
        """Replace an object. Raises Conflict unless it has the manifest's resourceVersion."""

    async def patch_status(
        self, kind: KubeKind, namespace: str, name: str, patch: KubeObject
    ) -> Object:
        """JSON merge patch of the status subresource; `patch` may carry metadata.uid and
        metadata.resourceVersion as preconditions."""

    async def delete(
        self, kind: KubeKind, namespace: str, name: str, uid: str | None
    ) -> Object | None:
        """Delete in the background, only the object with that UID. Returns the object if it
        stays until its finalizers are gone, else None."""

    async def create_event(self, manifest: KubeObject) -> None:
        """Create an events.k8s.io/v1 Event."""
