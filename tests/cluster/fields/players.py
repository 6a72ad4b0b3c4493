"""Plays what no kubelet and no agent does here: servers become ready and hold what they must."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from modelyard.contract import labels
from modelyard.contract.result import DataResult, Outcome

from ..fake_status import binding, daemon_node
from .apiserver import MERGE_PATCH, Object, Server, path_of

SINCE = "2026-01-01T00:00:00Z"
FOR_EVER = "2100-01-01T00:00:00Z"
"""Agents here report when their server changes, and must not fall silent in between."""


class Players:
    """Reacts to serving pods and to their ModelServers."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._tasks: set[asyncio.Task[Any]] = set()
        self.failures: list[str] = []
        """What could not be played."""

    def see(self, kind: str, obj: Object) -> None:
        """Take in a change."""
        marks = obj["metadata"].get("labels") or {}
        if marks.get(labels.MANAGED_BY) != labels.MANAGER:
            return
        if "deletionTimestamp" in obj["metadata"]:
            if kind == "Pod" and obj["spec"].get("nodeName"):
                self._do(self._end(obj))
            return
        if kind == "Pod" and marks.get(labels.COMPONENT) == "server" and not _ready(obj):
            self._do(self._start(obj))
        if kind == "ModelServer" and not _holds(obj):
            self._do(self._load(obj))

    def _do(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self, pod: Object) -> None:
        own = pod["metadata"]
        path = f"/api/v1/namespaces/{own['namespace']}/pods/{own['name']}"
        now = {"gracePeriodSeconds": 0, "preconditions": {"uid": own["uid"]}}
        await self._try("DELETE", path, now)

    async def _start(self, pod: Object) -> None:
        own = pod["metadata"]
        path = f"/api/v1/namespaces/{own['namespace']}/pods/{own['name']}/status"
        node = daemon_node(pod)
        if node is not None and not pod["spec"].get("nodeName"):
            bind = path.removesuffix("status") + "binding"
            await self._try("POST", bind, binding(pod, node))
        ready = [{"type": "Ready", "status": "True"}]
        await self._try("PATCH", path, {"status": {"phase": "Running", "conditions": ready}})

    async def _load(self, server: Object) -> None:
        own, assigned = server["metadata"], server["spec"]["assigned"]
        reported = (
            "modelVersion",
            "version",
            "digest",
            "manifestDigest",
            "contentDigest",
            "pipeline",
        )
        loaded = {k: assigned[k] for k in reported if k in assigned}
        status = {
            "observedGeneration": own["generation"],
            "phase": "Serving",
            "loaded": {**loaded, "since": SINCE},
            "reportedAt": FOR_EVER,
        }
        path = path_of("ModelServer", own["namespace"], own["name"], "status")
        await self._try("PATCH", path, {"status": status})

    async def _try(self, method: str, path: str, body: Object) -> None:
        """Ask until it works, as kubelets and agents do; what is gone, bound or replaced
        meanwhile needs nothing."""
        content = MERGE_PATCH if method == "PATCH" else "application/json"
        done = (404,) if method == "PATCH" else (404, 409)
        for pause in (0.1, 0.3, 1, 3, 10, 10):
            try:
                status, answer = await self._server.ask(method, path, body, content=content)
            except (aiohttp.ClientError, TimeoutError) as error:
                status, answer = 0, {"message": repr(error)}
            if 200 <= status < 300 or status in done:
                return
            await asyncio.sleep(pause)
        self.failures.append(f"{path}: {status} {answer.get('message')}")

    async def resolve(self, pod: Object, digest: str) -> None:
        """End a Dataset's pod with a valid result."""
        own, container = pod["metadata"], pod["spec"]["containers"][0]
        outcome = Outcome(result=DataResult(valid=True, digest=digest, images=3, class_count=2))
        ended = {"terminated": {"exitCode": 0, "message": outcome.termination_message()}}
        statuses = [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": False,
                "restartCount": 0,
                "state": ended,
            }
        ]
        path = f"/api/v1/namespaces/{own['namespace']}/pods/{own['name']}/status"
        status = {"phase": "Succeeded", "containerStatuses": statuses}
        await self._server.merge(path, {"status": status})


def _ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _holds(server: Object) -> bool:
    status, assigned = server.get("status") or {}, server["spec"]["assigned"]
    loaded = status.get("loaded") or {}
    same = all(loaded.get(k) == assigned[k] for k in ("modelVersion", "digest", "pipeline"))
    return same and status.get("observedGeneration") == server["metadata"]["generation"]
