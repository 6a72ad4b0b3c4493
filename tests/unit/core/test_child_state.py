"""The whole state of a child, in the same words for every kind: quota, eviction, refusal by the
kubelet, memory, a node without power. Each endless loop has an end."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.contract.result import Outcome
from modelyard.core.disruptions import MAX_DISRUPTIONS
from modelyard.core.jobstate import MAX_EVICTIONS
from modelyard.core.meta import RETRY

from .world import World, condition, dataset, ready_dataset, training, version

OBJECTS = {"Dataset": "shelf", "TrainingJob": "first", "ModelVersion": "shelf-2"}
every_kind = pytest.mark.parametrize("kind", OBJECTS)
PREEMPTED = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "PreemptionByScheduler",
    "message": "default-scheduler: preempting to accommodate a higher priority pod",
}
QUOTA = "exceeded quota: compute, requested: cpu=2, used: cpu=0, limited: cpu=1"
DISK = "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 3Mi."
NODE = "edge-7"


class Child:
    """An object whose Job was made."""

    def __init__(self, kind: str) -> None:
        shelf = dataset() if kind == "Dataset" else ready_dataset()
        self.world = World(shelf, training("first"), version(2, None))
        self.kind, self.name = kind, OBJECTS[kind]
        self.world.settle(kind, self.name)
        (self.job,) = self.world.of("Job")

    def seen(self) -> tuple[str, str]:
        """Reason and message."""
        one = self.world.settle(self.kind, self.name)
        return condition(one, "Ready")["reason"], one["status"]["message"]

    @property
    def object(self) -> dict[str, Any]:
        found: dict[str, Any] = self.world.objects[self.kind, self.name]
        return found

    @property
    def phase(self) -> str:
        return str(self.object["status"]["phase"])

    def refused(self, words: str, moment: str = "2026-11-22T12:00:30Z") -> None:
        """The Job's controller sends an Event: the API server has refused its pod."""
        own = self.job["metadata"]
        about = {"kind": "Job", "name": own["name"], "uid": own["uid"], "namespace": "shop"}
        text = f'Error creating: pods "{own["name"]}-x7k2p" is forbidden: {words}'
        event = {"apiVersion": "v1", "kind": "core/Event", "involvedObject": about}
        event |= {"message": text, "lastTimestamp": moment, "reason": "FailedCreate"}
        event["metadata"] = {"name": "e", "namespace": "shop"}
        self.world.add(event)

    def evict(self) -> None:
        condition = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}
        pod = self.world.pod_of(self.job, "Failed", reason="Evicted", message=DISK)
        pod["status"]["conditions"] = [condition]
        pod["spec"] = {"nodeName": NODE}

    def preempt(self) -> dict[str, Any]:
        """The scheduler ends its pod for a more important one."""
        pod = self.world.pod_of(self.job, "Running")
        pod["status"]["conditions"] = [PREEMPTED]
        pod["metadata"]["deletionTimestamp"] = "2026-11-22T12:30:00Z"
        return pod

    def gone(self, pod: dict[str, Any]) -> None:
        """Its containers have ended: the API server forgets it, and the Job makes another."""
        del self.world.objects["Pod", pod["metadata"]["name"]]

    def node(self, status: str) -> dict[str, Any]:
        ready = {"type": "Ready", "status": status, "reason": "NodeStatusUnknown"}
        ready["lastTransitionTime"] = "2026-11-22T11:58:00Z"
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
        return self.world.add({**node, "status": {"conditions": [ready]}})


@every_kind
def test_what_a_quota_refuses_is_told_in_the_api_servers_words(kind: str) -> None:
    child = Child(kind)
    child.refused(QUOTA)
    reason, message = child.seen()
    assert reason == "QuotaExceeded"
    assert f"pods are refused: forbidden: {QUOTA}" in message
    assert "x7k2p" not in message, "each attempt has another name: the status would never rest"
    child.world.pod_of(child.job, "Running")["metadata"]["creationTimestamp"] = (
        "2026-11-22T12:01:00Z"
    )
    assert child.seen()[0] != "QuotaExceeded", "there is room at last"


@every_kind
def test_an_event_of_another_job_of_that_name_is_no_reason(kind: str) -> None:
    child = Child(kind)
    child.refused(QUOTA)
    child.world.objects["core/Event", "e"]["involvedObject"]["uid"] = "of-the-one-before"
    assert child.seen()[0] != "QuotaExceeded"


@every_kind
def test_an_eviction_is_told_in_the_kubelets_words(kind: str) -> None:
    child = Child(kind)
    child.evict()
    reason, message = child.seen()
    assert reason == "Evicted"
    assert f"was evicted from node {NODE}: {DISK}" in message
    assert child.phase != "Failed", "another pod may find room"


@every_kind
def test_evictions_in_a_row_have_an_end(kind: str) -> None:
    child = Child(kind)
    for _ in range(MAX_EVICTIONS):
        child.evict()
    reason, message = child.seen()
    assert (child.phase, reason) == ("Failed", "Evicted")
    assert f"{MAX_EVICTIONS} pods in a row were evicted" in message
    assert DISK in message
    assert child.world.objects["Job", child.job["metadata"]["name"]]["spec"]["suspend"] is True


@every_kind
def test_evictions_between_which_a_pod_runs_do_not_end_it(kind: str) -> None:
    child = Child(kind)
    for _ in range(MAX_EVICTIONS):
        child.evict()
    child.world.pod_of(child.job, "Running")
    child.seen()
    assert child.phase != "Failed"


@every_kind
def test_preemptions_in_a_row_have_an_end_although_the_pods_vanish(kind: str) -> None:
    child = Child(kind)
    for number in range(1, MAX_DISRUPTIONS):
        pod = child.preempt()
        pod["metadata"]["creationTimestamp"] = f"2026-11-22T12:{number:02}:00Z"
        child.seen()
        child.gone(pod)
        child.seen()
        child.seen()  # Nothing is counted twice.
        assert child.phase != "Failed", number
    pod = child.preempt()
    pod["metadata"]["creationTimestamp"] = "2026-11-22T13:00:00Z"
    for _ in range(2):
        reason, message = child.seen()
        assert (child.phase, reason) == ("Failed", "PodDisrupted")
        assert f"{MAX_DISRUPTIONS} pods in a row were ended" in message
        assert "PreemptionByScheduler): default-scheduler: preempting" in message
        assert "scheduling.priorityClassName" in message
        assert condition(child.object, "Stalled")["status"] == "True"
        job = child.world.objects["Job", child.job["metadata"]["name"]]
        assert job["spec"]["suspend"] is True
        child.world.objects.pop(("Pod", pod["metadata"]["name"]), None)


@pytest.mark.parametrize("kind", ["Dataset", "TrainingJob"])
def test_a_retry_after_too_many_preemptions_counts_anew(kind: str) -> None:
    child = Child(kind)
    for number in range(MAX_DISRUPTIONS):
        pod = child.preempt()
        pod["metadata"]["creationTimestamp"] = f"2026-11-22T12:{number:02}:00Z"
        child.seen()
        child.gone(pod)
    assert child.phase == "Failed"
    child.object["metadata"].setdefault("annotations", {})[RETRY] = "1"
    child.seen()
    assert child.phase != "Failed"
    assert "disruptions" not in child.object["status"]


def test_a_training_that_gets_further_between_preemptions_goes_on_for_ever() -> None:
    child = Child("TrainingJob")
    for number in range(3 * MAX_DISRUPTIONS):
        pod = child.preempt()
        pod["metadata"]["creationTimestamp"] = f"2026-11-22T{12 + number // 60:02}:{number:02}:00Z"
        child.object["status"]["progress"] = {"epoch": number // 2}
        child.seen()
        child.gone(pod)
        assert child.phase != "Failed"
    (record,) = child.object["status"]["disruptions"]
    assert record["count"] <= 2


@every_kind
def test_a_pod_that_the_kubelet_refuses_is_told_in_its_words(kind: str) -> None:
    child = Child(kind)
    words = "Pod was rejected: Node didn't have enough resource: cpu, requested: 2000, capacity: 2"
    pod = child.world.pod_of(child.job, "Failed", reason="OutOfcpu", message=words)
    pod["spec"] = {"nodeName": NODE}
    child.job["status"] = {"failed": 1}
    assert f"node {NODE} refused pod" in child.seen()[1]
    child.job["status"] = {"conditions": [{"type": "Failed", "status": "True"}]}
    reason, message = child.seen()
    assert (child.phase, reason) == ("Failed", "PodRefused")
    assert words in message


@every_kind
def test_the_fate_of_the_last_pod_counts(kind: str) -> None:
    child = Child(kind)
    child.world.fail(child.job, Outcome(reason="StoreUnreachable", message="no store"), 1)
    killed = {"exitCode": 137, "reason": "OOMKilled"}
    ended = [{"name": "main", "state": {"terminated": killed}}]
    child.world.pod_of(child.job, "Failed", containerStatuses=ended)
    reason, message = child.seen()
    assert (child.phase, reason) == ("Failed", "OutOfMemory"), message


@every_kind
def test_what_another_container_says_is_no_result_but_its_failure_is_told(kind: str) -> None:
    child = Child(kind)
    ended = {"exitCode": 3, "reason": "Error", "message": "no route to the store"}
    child.world.pod_of(
        child.job,
        "Failed",
        initContainerStatuses=[{"name": "fetch", "state": {"terminated": ended}}],
        containerStatuses=[{"name": "main", "state": {"waiting": {"reason": "PodInitializing"}}}],
    )
    child.job["status"] = {"conditions": [{"type": "Failed", "status": "True"}]}
    reason, message = child.seen()
    assert (child.phase, reason) == ("Failed", "ContainerFailed")
    assert "container fetch of pod" in message
    assert "exit code 3 (Error): no route to the store" in message


@every_kind
def test_an_init_container_that_cannot_be_pulled_is_told(kind: str) -> None:
    child = Child(kind)
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
    init = [{"name": "fetch", "image": "x:1", "state": waiting}]
    child.world.pod_of(child.job, "Pending", initContainerStatuses=init)
    assert child.seen()[0] == "ImagePullFailed"


@every_kind
@pytest.mark.parametrize("deleting", [False, True], ids=["running", "evicted by Kubernetes"])
def test_a_node_without_power_is_named_with_what_to_do(kind: str, deleting: bool) -> None:
    child = Child(kind)
    pod = child.world.pod_of(child.job, "Running")
    pod["spec"] = {"nodeName": NODE}
    node = child.node("True")
    child.seen()
    node["status"]["conditions"][0]["status"] = "Unknown"
    if deleting:
        # Its kubelet does not confirm that it ended, so the Job makes no other.
        pod["metadata"]["deletionTimestamp"] = "2026-11-22T12:05:00Z"
    reason, message = child.seen()
    assert reason == "NodeNotReady"
    assert f"node {NODE} of pod {pod['metadata']['name']} is not ready since" in message
    assert "2026-11-22T11:58:00Z" in message
    assert "node.kubernetes.io/out-of-service" in message
    node["status"]["conditions"][0]["status"] = "True"
    assert child.seen()[0] != "NodeNotReady"


@every_kind
def test_the_owner_is_reconciled_when_its_pods_node_is_lost(kind: str) -> None:
    child = Child(kind)
    pod = child.world.pod_of(child.job, "Running")
    pod["spec"] = {"nodeName": NODE}
    node = child.node("True")
    child.world.feed()
    nodes = child.world.aggregate("job-nodes")
    assert not nodes.put("Node", node), "a heartbeat wakes nobody"
    node["status"]["conditions"][0]["status"] = "Unknown"
    assert [key[::2] for key in nodes.put("Node", node)] == [(kind, child.name)]
