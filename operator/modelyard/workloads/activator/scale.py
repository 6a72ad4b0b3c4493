"""Client of the scale subresource of a Modelyard Deployment, and the report of refusals.

A server that the API server refuses to wake would be missing without a word: the activator's log is
read by nobody. So the Deployment's status names what the API server answered.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from modelyard.contract.statustext import truncate
from modelyard.workloads.agent.apiserver import ApiError, ApiServer

logger = logging.getLogger(__name__)

MERGE = {"Content-Type": "application/merge-patch+json"}
MANAGER = {"fieldManager": "modelyard-activator"}
PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS)
"""Answers below 500 that the next attempt may not get."""


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
            params=MANAGER,
            data=json.dumps({"spec": {"replicas": replicas}}),
            headers=MERGE,
        )

    async def report(self, name: str, refusal: str) -> None:
        """Set status.activator.refusal, or remove it with "". Raises ApiError."""
        status = {"activator": {"refusal": truncate(refusal)} if refusal else None}
        await self._json(
            "PATCH",
            f"deployments/{name}/status",
            params=MANAGER,
            data=json.dumps({"status": status}),
            headers=MERGE,
        )


class Refusals:
    """Reports whether one Deployment can be scaled, when that changes."""

    def __init__(self, scale: Scale, name: str) -> None:
        self._scale, self._name = scale, name
        self._told: str | None = None
        """None: what an earlier activator reported is not known."""

    def watching(self, action: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """The action, whose refusal and whose success are reported. It raises as before."""

        async def watched() -> None:
            try:
                await action()
            except ApiError as error:
                if _refused(error):
                    await self._tell(str(error))
                raise
            await self._tell("")

        return watched

    async def _tell(self, refusal: str) -> None:
        if refusal == self._told:
            return
        try:
            await self._scale.report(self._name, refusal)
        except ApiError as error:
            logger.warning("cannot report to Deployment %s: %s", self._name, error)
            return
        self._told = refusal


def _refused(error: ApiError) -> bool:
    status = error.status
    return status is not None and 400 <= status < 500 and status not in PASSING
