"""Plays what a kubelet, and where none runs the Job controller, would write."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from modelyard.kube.kinds import KubeKind

from ..cluster.fake_status import pod_status, train_outcome
from .api import SPACE, Api, Manifest, each
from .arms import JOB, POD, owner_name

MOMENT = "2026-01-01T00:00:00Z"
LATER = "2026-01-01T00:01:00Z"


class Actor:
    """Brings every pod of a sample to Running, then to its end; both as fast as it can."""

    def __init__(self, api: Api, *, plays_jobs: bool, prefix: str) -> None:
        """`plays_jobs`: make the Jobs' pods and write the Jobs' status too. Only what works for
        owners with names that begin with `prefix` is touched."""
        self._api = api
        self._prefix = prefix
        self._plays_jobs = plays_jobs
        self._pods: list[Manifest] = []
        self.ended: dict[str, float] = {}
        """When the last write about an owner's pod was sent (time.perf_counter)."""

    async def run(self) -> None:
        """Every pod runs, and its Job says so."""
        if self._plays_jobs:
            await each(await self._mine(JOB), self._make_pod)
        else:
            self._pods = await self._mine(POD)
            for pod in self._pods:
                pod["owner"] = owner_name(pod["metadata"])
        await each(self._pods, self._run)

    async def end(self) -> None:
        """Every pod succeeds with a trainer's result, and its Job says so."""
        await each(self._pods, self._end)

    async def _mine(self, kind: KubeKind) -> list[Manifest]:
        found = await self._api.items(kind)
        return [o for o in found if str(owner_name(o["metadata"])).startswith(self._prefix)]

    async def _make_pod(self, job: Manifest) -> None:
        template = job["spec"]["template"]
        pod = {
            "metadata": {
                "name": f"{job['metadata']['name']}-0",
                "namespace": SPACE,
                **{k: template["metadata"].get(k) for k in ("labels", "annotations")},
                "ownerReferences": [
                    {
                        "apiVersion": "batch/v1",
                        "kind": "Job",
                        "name": job["metadata"]["name"],
                        "uid": job["metadata"]["uid"],
                        "controller": True,
                        "blockOwnerDeletion": True,
                    }
                ],
            },
            "spec": template["spec"],
        }
        made = await self._api.create(POD, pod)
        made["owner"] = owner_name(job["metadata"])
        self._pods.append(made)

    async def _run(self, pod: Manifest) -> None:
        await self._pod_status(pod, _status(pod, "Running"))
        if self._plays_jobs:
            await self._job_status(pod, {"startTime": MOMENT, "active": 1, "ready": 1})

    async def _end(self, pod: Manifest) -> None:
        owner = str(pod["owner"])
        self.ended[owner] = time.perf_counter()
        await self._pod_status(pod, _status(pod, "Succeeded"))
        if self._plays_jobs:
            self.ended[owner] = time.perf_counter()
            await self._job_status(pod, _complete())

    async def _pod_status(self, pod: Manifest, status: Mapping[str, Any]) -> None:
        await self._api.patch(POD, pod["metadata"]["name"], {"status": status})

    async def _job_status(self, pod: Manifest, status: Mapping[str, Any]) -> None:
        await self._api.patch(JOB, str(owner_name(pod["metadata"])), {"status": status})


def _status(pod: Manifest, phase: str) -> dict[str, Any]:
    container = pod["spec"]["containers"][0]
    outcome = train_outcome() if phase == "Succeeded" else None
    running = phase == "Running"
    return pod_status(container["name"], container["image"], phase, outcome=outcome, ready=running)


def _complete() -> dict[str, Any]:
    """A Job's last status, as the Job controller leaves it."""
    done = {"status": "True", "reason": "CompletionsReached", "message": ""}
    moments = {"lastProbeTime": LATER, "lastTransitionTime": LATER}
    return {
        "startTime": MOMENT,
        "completionTime": LATER,
        "active": 0,
        "ready": 0,
        "terminating": 0,
        "succeeded": 1,
        "uncountedTerminatedPods": {},
        "conditions": [{"type": t, **done, **moments} for t in ("SuccessCriteriaMet", "Complete")],
    }
