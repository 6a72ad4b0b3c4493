"""What the state of a workload Job and its pods means, for every kind that has Jobs.

Read are the Job's conditions, its pods and their nodes (podstate.py), and what the API server said
when it refused to make a pod (refusals.py). The fate of the newest pod counts: an older one's words
are not the reason why the Job failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from modelyard.api.disruption import Disruption
from modelyard.contract.result import Outcome, parse_outcome
from modelyard.core import disruptions, meta, ownership, podstate
from modelyard.core.conditions import parse_timestamp
from modelyard.core.disruptions import MAX_DISRUPTIONS
from modelyard.core.jobs import CONTAINER, with_suspend
from modelyard.core.plan import KubeObject, View
from modelyard.core.podstate import Trouble, age
from modelyard.core.refusals import refusal, refused

MAX_LOST_RESULTS = 3
"""How often a complete Job whose result cannot be read is made again before the user is asked."""

UNSEEN_SECONDS = 10.0
"""Jobs and pods come by watches of their own: what an ended Job's pod has left may come into view
that much later."""

MAX_EVICTIONS = 5
"""Pods in a row that their nodes evict before the Job is stopped. Kubernetes does not count them
towards backoffLimit: a disk that is too small would evict one after the other for ever."""


@dataclass(frozen=True)
class JobState:
    """A Job and its pods, as far as they matter."""

    job: KubeObject | None = None
    pods: tuple[KubeObject, ...] = ()
    nodes: Mapping[str, KubeObject] = field(default_factory=dict)
    """Nodes, by name, of pods that have not ended."""
    refusal: tuple[str, str] = ("", "")
    """When the API server refused to make a pod last, and its words; see refusals.py."""
    disrupted: Disruption | None = None
    """Pods that Kubernetes ended, also those that are gone; see disruptions.py."""

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
        live = [p for p in self.pods if not podstate.ended(p) and not meta.deleting(p)]
        return max(live, key=age, default=None)

    @property
    def running(self) -> bool:
        """Whether the Job's pod is running."""
        pod = self.live_pod
        return bool(pod and podstate.phase(pod) == "Running")

    @property
    def working_pod(self) -> KubeObject | None:
        """The pod that runs, or that has succeeded and the Job does not say so yet."""
        if self.running:
            return self.live_pod
        done = [p for p in self.pods if podstate.phase(p) == "Succeeded"]
        return max(done, key=age, default=None)

    @property
    def started(self) -> bool:
        """Whether a pod of the Job has run, as far as can be seen."""
        counts = (self.job or {}).get("status") or {}
        phases = ((p.get("status") or {}).get("phase") for p in self.pods)
        ended = any(counts.get(key) for key in ("succeeded", "failed", "ready"))
        return ended or any(phase not in (None, "Pending") for phase in phases)

    @property
    def _ended_pods(self) -> list[KubeObject]:
        """Newest first."""
        found = [p for p in self.pods if podstate.ended(p) or _terminated(p) is not None]
        return sorted(found, key=age, reverse=True)

    @property
    def outcome(self) -> Outcome | None:
        """What the pod that succeeded has left, once the Job is complete; before that, and of a Job
        that failed, what the newest pod that ended has left."""
        found = self._ended_pods
        if self._condition("Complete") is not None:
            found = [p for p in found if podstate.phase(p) == "Succeeded"]
        return _outcome(next(iter(found), None))

    @property
    def trouble(self) -> Trouble | None:
        """Why no pod works."""
        for pod in sorted(self.pods, key=age, reverse=True):
            lost = None if podstate.ended(pod) else podstate.node_trouble(pod, self._node(pod))
            if lost is not None:
                return lost
        live = self.live_pod
        if live is not None:
            return podstate.pod_trouble(live)
        moment, words = self.refusal
        made = max((age(pod)[0] for pod in self.pods), default="")
        if not words or moment < made or self.suspended or self.succeeded or self.failed:
            return None
        return refused(words)

    def _node(self, pod: KubeObject) -> KubeObject | None:
        return self.nodes.get(podstate.node_name(pod))

    @property
    def last_fate(self) -> Trouble | None:
        """Why the newest pod that ended did so, if it failed: its own words if it left any."""
        pod = next(iter(self._ended_pods), None)
        if pod is None or podstate.phase(pod) == "Succeeded":
            return None
        outcome = _outcome(pod)
        if outcome is not None and outcome.reason != "Succeeded":
            return Trouble(outcome.reason, outcome.message)
        return podstate.pod_fate(pod) or podstate.container_failure(pod, but=CONTAINER)

    @property
    def hindrance(self) -> Trouble | None:
        """Why nothing goes on at this moment: trouble of the pod, or the end of the one before."""
        return self.trouble or (None if self.running else self.last_fate)

    @property
    def given_up(self) -> Trouble | None:
        """Why the Job is to be stopped although Kubernetes would go on with it for ever."""
        count, last = 0, None
        for pod in self._ended_pods:
            fate = podstate.pod_fate(pod)
            if fate is None or fate.reason != podstate.EVICTED:
                break
            count, last = count + 1, last or fate
        if self.running:
            return None
        if count >= MAX_EVICTIONS and last is not None:
            text = f"{count} pods in a row were evicted, so it was stopped; the last one: "
            return Trouble(podstate.EVICTED, text + last.message)
        endless = self.disrupted
        if endless is None or endless.count < MAX_DISRUPTIONS:
            return None
        text = (
            f"{endless.count} pods in a row were ended by Kubernetes before they were done, so it "
            f"was stopped; the last one: {endless.message}. Raise its priority "
            "(scheduling.priorityClassName), or choose other nodes"
        )
        return Trouble(endless.reason, text)

    @property
    def failure(self) -> Trouble:
        """Why the Job failed."""
        outcome, cond = self.outcome, self._condition("Failed") or {}
        if outcome is not None and outcome.reason != "Succeeded":
            return Trouble(outcome.reason, outcome.message)
        job = meta.name(self.job) if self.job else "Job"
        if cond.get("reason") == "DeadlineExceeded":
            text = f"Job {job} ran longer than activeDeadlineSeconds"
            return Trouble("DeadlineExceeded", text)
        why = cond.get("message") or "no reason given"
        return self.last_fate or Trouble(
            str(cond.get("reason") or "JobFailed"),
            f"Job {job} failed: {why}; see its pods' logs",
        )


def read_job(view: View, owner: KubeObject, name: str) -> JobState:
    """The state of an object's Job by name. A Job of this name that is not its own is not seen;
    that the name is taken is told when the operator tries to create its own."""
    job = ownership.owned(owner, view.get("Job", meta.namespace(owner), name))
    if job is None:
        return JobState()
    pods = tuple(view.children(job, "Pod"))
    names = {podstate.node_name(pod) for pod in pods if not podstate.ended(pod)} - {""}
    nodes = {name: node for name in names if (node := view.get("Node", "", name)) is not None}
    return replace(
        job_state(job, pods),
        nodes=nodes,
        refusal=refusal(view, job),
        disrupted=disruptions.count(owner, name, pods),
    )


def job_state(job: KubeObject | None, pods: Iterable[KubeObject]) -> JobState:
    """The state of a Job from pods, of which those count that it controls."""
    if job is None:
        return JobState()
    return JobState(job, tuple(pod for pod in pods if ownership.owns(job, pod)))


def _terminated(pod: KubeObject) -> KubeObject | None:
    """How the container ended whose termination message is the result. What any other container
    of the pod says is never a result: it may run what is not ours."""
    for one in meta.status(pod).get("containerStatuses") or ():
        if one.get("name") == CONTAINER:
            found: KubeObject | None = (one.get("state") or {}).get("terminated")
            return found
    return None


def _outcome(pod: KubeObject | None) -> Outcome | None:
    return parse_outcome((_terminated(pod) or {}).get("message")) if pod is not None else None


def stopped(state: JobState) -> tuple[KubeObject, ...]:
    """The Job, suspended, if it is given up and still goes on: its pods stay for their logs."""
    if state.given_up is None or state.job is None or state.suspended:
        return ()
    return () if state.succeeded or state.failed else (with_suspend(state.job, True),)


def lost_result(attempt: int, job: str) -> tuple[str, str] | None:
    """(reason, message) once too many results were lost; None while it is worth another try."""
    if attempt < MAX_LOST_RESULTS:
        return None
    return (
        "ResultLost",
        f"Job {job} completed {attempt + 1} times without a readable result: see its pods' logs, "
        "and whether something deletes pods as soon as they end",
    )
