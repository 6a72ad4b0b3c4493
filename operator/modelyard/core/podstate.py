"""What a pod's whole state means: why it does not start, keeps ending, or ended.

Every controller reads a pod here, so that the same pod has the same reason and words in a Dataset,
a TrainingJob, a ModelVersion and a Deployment. Read are the phase with its reason and message
(written by the kubelet), conditions (by the scheduler and the disruption controllers), the state
and the last termination of every container, init containers too, and the readiness of its node.

    pod_trouble   a pod that has not ended: why it does not run, or not for long
    pod_fate      a pod that has ended: why, where it left no result
    node_trouble  a pod on a node of which nothing is heard
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from modelyard.contract import labels
from modelyard.core import meta
from modelyard.core.plan import KubeObject

PULL_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
)
CONFIG_REASONS = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
CRASH_RESTARTS = 2
"""Restarts after which a container that does not answer counts as one that keeps ending, also
while the kubelet tries it again."""

IMAGE_PULL_FAILED = "ImagePullFailed"
POD_CONFIG_ERROR = "PodConfigError"
UNSCHEDULABLE = "Unschedulable"
OUT_OF_MEMORY = "OutOfMemory"
CRASH_LOOPING = "CrashLooping"
EVICTED = "Evicted"
POD_REFUSED = "PodRefused"
POD_DISRUPTED = "PodDisrupted"
NODE_NOT_READY = "NodeNotReady"
CONTAINER_FAILED = "ContainerFailed"

POD_TROUBLES = (
    IMAGE_PULL_FAILED, POD_CONFIG_ERROR, UNSCHEDULABLE, OUT_OF_MEMORY, CRASH_LOOPING,
    NODE_NOT_READY, EVICTED, POD_REFUSED,
)  # fmt: skip
"""Reasons whose message names the pod already."""


class Trouble(NamedTuple):
    """What is wrong, for programs and for people."""

    reason: str
    message: str


def ended(pod: KubeObject) -> bool:
    """Whether a pod has ended: nothing of it runs or will run."""
    return phase(pod) in ("Succeeded", "Failed")


def phase(pod: KubeObject) -> str:
    """A pod's phase; Pending before the first status."""
    return str(meta.status(pod).get("phase") or "Pending")


def node_name(pod: KubeObject) -> str:
    """Where a pod was placed; empty before."""
    return str((pod.get("spec") or {}).get("nodeName") or "")


def age(pod: KubeObject) -> tuple[str, str]:
    """Orders pods by when they were created, oldest first."""
    return str(pod["metadata"].get("creationTimestamp", "")), meta.name(pod)


def pod_trouble(pod: KubeObject) -> Trouble | None:
    """Why a pod that has not ended does not run; None if nothing is wrong.

    The message has no counts or times: it stays the same until something changes.
    """
    name = meta.name(pod)
    for one in _containers(pod):
        waiting = (one.get("state") or {}).get("waiting") or {}
        reason, detail = waiting.get("reason"), waiting.get("message") or ""
        if reason in PULL_REASONS:
            image = one.get("image")
            return Trouble(
                IMAGE_PULL_FAILED, f"pod {name} cannot pull image {image}: {detail or reason}"
            )
        if reason in CONFIG_REASONS:
            return Trouble(POD_CONFIG_ERROR, f"pod {name} cannot start: {detail or reason}")
        crash = _crash(pod, one)
        if crash is not None:
            return crash
    return _unscheduled(pod)


def _containers(pod: KubeObject) -> Iterator[KubeObject]:
    """Statuses of all containers, in the order in which they start."""
    state = meta.status(pod)
    yield from state.get("initContainerStatuses") or ()
    yield from state.get("containerStatuses") or ()


def _crash(pod: KubeObject, container: KubeObject) -> Trouble | None:
    """That a container ends again and again."""
    state = container.get("state") or {}
    backing_off = (state.get("waiting") or {}).get("reason") == "CrashLoopBackOff"
    restarted = int(container.get("restartCount") or 0) >= CRASH_RESTARTS
    last = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if last is None or container.get("ready") or not (backing_off or restarted):
        return None
    name, pod_name = container.get("name"), meta.name(pod)
    if last.get("reason") == "OOMKilled":
        text = (
            f"container {name} of pod {pod_name} is killed again and again for using more memory "
            f"than its limit: {_more_memory(pod, str(name))}"
        )
        return Trouble(OUT_OF_MEMORY, text)
    text = (
        f"container {name} of pod {pod_name} ends again and again, {_exit(last)}: see "
        f"`kubectl logs {pod_name} -c {name} --previous`"
    )
    return Trouble(CRASH_LOOPING, text)


def _unscheduled(pod: KubeObject) -> Trouble | None:
    cond = condition(pod, "PodScheduled")
    if cond is None or cond.get("status") != "False":
        return None
    problem = "fits no node"
    if cond.get("reason") not in (None, "Unschedulable"):
        problem = f"is not given a node ({cond['reason']})"
    return Trouble(UNSCHEDULABLE, f"pod {meta.name(pod)} {problem}: {cond.get('message', '')}")


def pod_fate(pod: KubeObject) -> Trouble | None:
    """Why a pod failed, by its node, or else by its containers; None if it did not fail or nothing
    but an exit code says so."""
    if phase(pod) != "Failed":
        return None
    name, state = meta.name(pod), meta.status(pod)
    node = f"node {node_name(pod)}" if node_name(pod) else "its node"
    reason, words = state.get("reason"), state.get("message") or "no reason given"
    disrupted = disruption(pod)
    if disrupted is not None:
        return disrupted
    killed = next((k for one in _containers(pod) if (k := _killed(pod, one))), None)
    if killed is not None:
        return killed
    if reason and not any(_ending(one) for one in _containers(pod)):
        return Trouble(POD_REFUSED, f"{node} refused pod {name} ({reason}): {words}")
    return None


def disruption(pod: KubeObject) -> Trouble | None:
    """Who is ending, or has ended, a pod before it was done: its node for want of something, the
    scheduler for another pod, a drain, a taint. None if nobody."""
    name, state = meta.name(pod), meta.status(pod)
    words = state.get("message") or "no reason given"
    if state.get("reason") == "Evicted":
        node = f"node {node_name(pod)}" if node_name(pod) else "its node"
        return Trouble(EVICTED, f"pod {name} was evicted from {node}: {words}")
    target = condition(pod, "DisruptionTarget")
    if target is None or target.get("status") != "True":
        return None
    by, text = target.get("reason"), target.get("message") or words
    return Trouble(POD_DISRUPTED, f"pod {name} was ended ({by}): {text}")


def container_failure(pod: KubeObject, *, but: str) -> Trouble | None:
    """The first container besides `but` that ended with an error in a pod that failed."""
    for one in _containers(pod) if phase(pod) == "Failed" else ():
        ending = _ending(one)
        if one.get("name") != but and ending and ending.get("exitCode"):
            text = f"container {one.get('name')} of pod {meta.name(pod)} ended, {_exit(ending)}"
            return Trouble(CONTAINER_FAILED, text)
    return None


def node_trouble(pod: KubeObject, node: KubeObject | None) -> Trouble | None:
    """That a pod's node is not ready, since when, and what to do; None if it is, or is unknown."""
    ready = condition(node, "Ready") if node is not None else None
    if node is None or ready is None or ready.get("status") == "True":
        return None
    return not_ready(
        meta.name(pod),
        meta.name(node),
        since=str(ready.get("lastTransitionTime") or "an unknown time"),
        why=str(ready.get("reason") or "no reason given"),
    )


def not_ready(pod: str, node: str, *, since: str, why: str) -> Trouble:
    """That a pod's node is not ready. Kubernetes cannot tell a node without power from one without
    a network, on which the pod may still write; so it waits for somebody who knows."""
    text = (
        f"node {node} of pod {pod} is not ready since {since} ({why}). If it comes back, nothing "
        "needs to be done. If it is off for good, say so, and the pod is replaced on another "
        f"node: delete Node {node}, or `kubectl taint node {node} "
        "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute`"
    )
    return Trouble(NODE_NOT_READY, text)


def condition(obj: KubeObject, type_: str) -> KubeObject | None:
    """A condition of a pod or node by type."""
    for one in meta.status(obj).get("conditions") or ():
        if one.get("type") == type_:
            found: KubeObject = one
            return found
    return None


def _ending(container: KubeObject) -> KubeObject | None:
    found: KubeObject | None = (container.get("state") or {}).get("terminated")
    return found


def _killed(pod: KubeObject, container: KubeObject) -> Trouble | None:
    ending = _ending(container)
    if ending is None or ending.get("reason") != "OOMKilled" or ending.get("message"):
        return None
    text = f"pod {meta.name(pod)} was killed for using more memory than its limit"
    return Trouble(OUT_OF_MEMORY, f"{text}: {_more_memory(pod, str(container.get('name')))}")


def _exit(ending: KubeObject) -> str:
    """How a container ended last, in words."""
    code, reason = ending.get("exitCode"), ending.get("reason")
    said = str(ending.get("message") or "").strip()
    text = f"last with exit code {code}" + (f" ({reason})" if reason else "")
    return f"{text}: {said[-300:]}" if said else text


_MORE_MEMORY = {
    "server": "raise spec.server.resources.memory",
    "training": "raise resources.memory or lower hyperparameters.batch or imgsz",
    "dataset": "raise spec.resources.memory",
}


def _more_memory(pod: KubeObject, container: str) -> str:
    component = str((pod["metadata"].get("labels") or {}).get(labels.COMPONENT))
    if container == "agent":
        return "raise the chart's value workloads.resources.agent.memory"
    return _MORE_MEMORY.get(component, "create the object again with more spec.resources.memory")
