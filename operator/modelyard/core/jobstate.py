"""What the state of a workload Job and its pods means."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from modelyard.contract.result import Outcome, parse_outcome
from modelyard.core import meta
from modelyard.core.conditions import parse_timestamp
from modelyard.core.jobs import CONTAINER
from modelyard.core.plan import KubeObject

MAX_LOST_RESULTS = 3
"""How often a complete Job whose result cannot be read is made again before the user is asked."""

UNSEEN_SECONDS = 10.0
"""Jobs and pods come by watches of their own: what an ended Job's pod has left may come into view
that much later."""

PULL_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
)
CONFIG_REASONS = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
POD_TROUBLES = ("ImagePullFailed", "PodConfigError", "Unschedulable")
"""Reasons of pod_trouble."""


@dataclass(frozen=True)
class JobState:
    """A Job and its pods, as far as they matter."""

    job: KubeObject | None = None
    pods: tuple[KubeObject, ...] = ()

    @property
    def exists(self) -> bool:
        """Whether the Job exists."""
        return self.job is not None

    def _condition(self, type_: str) -> KubeObject | None:
        conditions: Iterable[KubeObject] = (self.job or {}).get("status", {}).get(
            "conditions"
        ) or ()
        for cond in conditions:
            if cond.get("type") == type_ and cond.get("status") == "True":
                return cond
        return None

    @property
    def succeeded(self) -> bool:
        """The Job is complete, and its pod has been seen to end: Jobs and pods come by watches of
        their own, and what the pod has left must not be missed because it comes second."""
        return self._condition("Complete") is not None and self.live_pod is None

    @property
    def failed(self) -> bool:
        """Likewise."""
        return self._condition("Failed") is not None and self.live_pod is None

    def silent_seconds(self, now: datetime) -> float | None:
        """Seconds for which the last words of an ended Job's pod may still come; None if they are
        there, or not to be expected any more."""
        condition = self._condition("Complete") or self._condition("Failed") or {}
        since = condition.get("lastTransitionTime")
        if since is None or self._ended_pods:
            return None
        left = UNSEEN_SECONDS - (now - parse_timestamp(since)).total_seconds()
        return left if left > 0 else None

    @property
    def suspended(self) -> bool:
        """Whether the Job is suspended."""
        return bool(self.job and self.job["spec"].get("suspend"))

    @property
    def live_pod(self) -> KubeObject | None:
        """The pod that works, or is about to; the newest if several exist."""
        live = [
            p
            for p in self.pods
            if (p.get("status") or {}).get("phase") in (None, "Pending", "Running")
            and not meta.deleting(p)
        ]
        return max(live, key=_age, default=None)

    @property
    def running(self) -> bool:
        """Whether the Job's pod is running."""
        pod = self.live_pod
        return bool(pod and (pod.get("status") or {}).get("phase") == "Running")

    @property
    def working_pod(self) -> KubeObject | None:
        """The pod that runs, or that has succeeded and the Job does not say so yet."""
        if self.running:
            return self.live_pod
        done = [p for p in self.pods if (p.get("status") or {}).get("phase") == "Succeeded"]
        return max(done, key=_age, default=None)

    @property
    def started(self) -> bool:
        """Whether a pod of the Job has run, as far as can be seen."""
        counts = (self.job or {}).get("status") or {}
        phases = ((p.get("status") or {}).get("phase") for p in self.pods)
        ended = any(counts.get(key) for key in ("succeeded", "failed", "ready"))
        return ended or any(phase not in (None, "Pending") for phase in phases)

    @property
    def _ended_pods(self) -> list[KubeObject]:
        return [p for p in self.pods if _terminated(p) is not None]

    @property
    def outcome(self) -> Outcome | None:
        """What the newest pod that ended has left."""
        for pod in sorted(self._ended_pods, key=_age, reverse=True):
            result = parse_outcome((_terminated(pod) or {}).get("message"))
            if result is not None:
                return result
        return None

    @property
    def trouble(self) -> tuple[str, str] | None:
        """Why the live pod does not start: (reason, message), or None."""
        pod = self.live_pod
        return None if pod is None else pod_trouble(pod)

    @property
    def failure(self) -> tuple[str, str]:
        """Why the Job failed: (reason, message). The pod's own words if it left any."""
        outcome = self.outcome
        if outcome is not None and outcome.reason != "Succeeded":
            return outcome.reason, outcome.message
        cond = self._condition("Failed") or {}
        killed = next((k for p in self.pods if (k := _killed(p))), None)
        job = meta.name(self.job) if self.job else "Job"
        if cond.get("reason") == "DeadlineExceeded":
            return "DeadlineExceeded", f"Job {job} ran longer than activeDeadlineSeconds"
        if killed:
            return killed
        return (
            str(cond.get("reason") or "JobFailed"),
            f"Job {job} failed: {cond.get('message') or 'no reason given'}; see its pods' logs",
        )


def job_state(job: KubeObject | None, all_pods: Iterable[KubeObject]) -> JobState:
    """The state of a Job from all pods of its owner."""
    if job is None:
        return JobState()
    own = meta.uid(job)
    mine = tuple(
        p
        for p in all_pods
        if any(r.get("uid") == own for r in p["metadata"].get("ownerReferences") or ())
    )
    return JobState(job, mine)


def pod_trouble(pod: KubeObject) -> tuple[str, str] | None:
    """Why a pod does not start: (reason, message), or None if nothing is wrong."""
    name = meta.name(pod)
    state = pod.get("status") or {}
    statuses = [
        *(state.get("initContainerStatuses") or ()),
        *(state.get("containerStatuses") or ()),
    ]
    for one in statuses:
        waiting = (one.get("state") or {}).get("waiting") or {}
        reason, detail = waiting.get("reason"), waiting.get("message") or ""
        if reason in PULL_REASONS:
            return (
                "ImagePullFailed",
                f"pod {name} cannot pull image {one.get('image')}: {detail or reason}",
            )
        if reason in CONFIG_REASONS:
            return "PodConfigError", f"pod {name} cannot start: {detail or reason}"
    for cond in state.get("conditions") or ():
        if cond.get("type") == "PodScheduled" and cond.get("status") == "False":
            problem = "fits no node"
            if cond.get("reason") not in (None, "Unschedulable"):
                problem = f"is not given a node ({cond['reason']})"
            return "Unschedulable", f"pod {name} {problem}: {cond.get('message', '')}"
    return None


def _age(pod: KubeObject) -> tuple[str, str]:
    return str(pod["metadata"].get("creationTimestamp", "")), meta.name(pod)


def _terminated(pod: KubeObject) -> KubeObject | None:
    for one in (pod.get("status") or {}).get("containerStatuses") or ():
        if one.get("name") == CONTAINER:
            terminated = (one.get("state") or {}).get("terminated")
            return terminated
    return None


def _killed(pod: KubeObject) -> tuple[str, str] | None:
    ended = _terminated(pod)
    if ended is None or ended.get("message"):
        return None
    if ended.get("reason") == "OOMKilled":
        return (
            "OutOfMemory",
            f"pod {meta.name(pod)} was killed for using more memory than its limit: raise "
            "resources.memory or lower hyperparameters.batch or imgsz",
        )
    return None


def lost_result(attempt: int, job: str) -> tuple[str, str] | None:
    """(reason, message) once too many results were lost; None while it is worth another try."""
    if attempt < MAX_LOST_RESULTS:
        return None
    return (
        "ResultLost",
        f"Job {job} completed {attempt + 1} times without a readable result: see its pods' logs, "
        "and whether something deletes pods as soon as they end",
    )
