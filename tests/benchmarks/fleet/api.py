"""The harness's client with what a fleet needs besides: patches of nodes and of parts of lists."""

from __future__ import annotations

from modelyard.kube.kinds import KubeKind

from ..api import MERGE, SPACE, Api, Manifest, write_name

STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}


class FleetApi(Api):
    """The API server as the harness sees it."""

    async def merge(self, kind: KubeKind, name: str, body: Manifest) -> None:
        """Merges into an object, not its status. Raises Refused."""
        self.written[write_name("PATCH", kind.plural)] += 1
        await self._call("PATCH", _path(kind, name), body, MERGE)

    async def strategic(self, kind: KubeKind, name: str, body: Manifest) -> None:
        """Merges into a status; lists by their keys, such as conditions by type. Raises Refused."""
        self.written[write_name("PATCH", kind.plural, "status")] += 1
        await self._call("PATCH", _path(kind, name, "status"), body, STRATEGIC)


def _path(kind: KubeKind, name: str, subresource: str = "") -> str:
    return kind.path("" if kind.name == "Node" else SPACE, name, subresource)
