"""Client of the scale subresource of a Modelyard Deployment."""

from __future__ import annotations

import json

from modelyard.workloads.agent.apiserver import ApiServer


class Scale(ApiServer):
    """The scale subresource. Use it as an asynchronous context manager."""

    async def replicas(self, name: str) -> int:
        """spec.replicas. Raises ApiError."""
        found = await self._json("GET", f"deployments/{name}/scale")
        return int((found.get("spec") or {}).get("replicas") or 0)

    async def scale(self, name: str, replicas: int) -> None:
        """Set spec.replicas. Raises ApiError."""
        await self._json(
            "PATCH",
            f"deployments/{name}/scale",
            params={"fieldManager": "modelyard-activator"},
            data=json.dumps({"spec": {"replicas": replicas}}),
            headers={"Content-Type": "application/merge-patch+json"},
        )
