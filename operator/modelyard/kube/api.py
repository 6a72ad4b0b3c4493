"""The API server as the engine needs it. Objects are plain dicts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple, Protocol

from modelyard.core.plan import KubeObject
from modelyard.kube.kinds import KubeKind

Object = dict[str, Any]

FIELD_MANAGER = "modelyard"
STATUS_MANAGER = "modelyard-status"


class Page(NamedTuple):
    """A part of a list; all parts show the same moment."""

    items: list[Object]
    resource_version: int
    """The moment that the list shows."""


class Api(Protocol):
    """Reads and writes. Every method raises modelyard.kube.errors.ApiError."""

    async def get(self, kind: KubeKind, namespace: str, name: str) -> Object:
        """One object, as it is now."""

    def pages(self, kind: KubeKind) -> AsyncIterator[Page]:
        """All objects of a kind that match its selector, in all namespaces."""

    async def create(self, kind: KubeKind, manifest: KubeObject) -> Object:
        """Create an object; AlreadyExists if the name is taken."""

    async def apply(self, kind: KubeKind, manifest: KubeObject) -> Object:
        """Server-side apply, taking over fields of other managers."""

    async def replace(self, kind: KubeKind, manifest: KubeObject) -> Object:
        """Replace an object; Conflict unless it still has the manifest's resourceVersion."""

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
