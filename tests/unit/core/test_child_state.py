"""The whole state of a child, in the same words for every kind: quota, eviction, refusal by the
kubelet, memory, a node without power. Each endless loop has an end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from modelyard.contract.result import Outcome
from modelyard.core.jobstate import MAX_EVICTIONS

from .sim import Sim
from .world import NOW, World, condition, dataset, made_by, ready_dataset, training, version

OBJECTS = {"Dataset": "shelf", "TrainingJob": "first", "ModelVersion": "shelf-2"}
every_kind = pytest.mark.parametrize("kind", OBJECTS)
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
    def phase(self) -> str:
        return str(self.world.objects[self.kind, self.name]["status"]["phase"])

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


# Servers.

CLUSTER = {"cluster": {"replicas": 2}}


def servers() -> tuple[Sim, dict[str, Any]]:
    sim = Sim(edge=False, replicas=2)
    assert sim.status["phase"] == "Healthy"
    (workload,) = sim.of("apps/Deployment")
    return sim, workload


def test_new_settings_are_not_healthy_before_all_servers_have_them() -> None:
    """Case 6: Healthy, Ready for a generation that no server had, at once and for ever."""
    sim, workload = servers()
    sim.rolled_out = lambda workload: None  # type: ignore[method-assign]
    sim.spec["server"] = {"maxBatchSize": 4}
    status = sim.operate()
    assert (status["phase"], status["observedGeneration"]) == ("Progressing", 2)
    assert "about to get new settings" in status["message"]
    (workload,) = sim.of("apps/Deployment")
    refused = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}
    refused["message"] = f'pods "cameras-5f-x" is forbidden: {QUOTA}'
    counts = {"replicas": 2, "updatedReplicas": 0}
    workload["status"] = {"observedGeneration": workload["metadata"]["generation"], **counts}
    workload["status"]["conditions"] = [refused]
    status = sim.operate()
    assert (status["phase"], condition(sim.mdep, "Ready")["reason"]) == (
        "Progressing",
        "QuotaExceeded",
    )
    assert "0 of 2 servers have the present settings of spec.server" in status["message"]
    assert QUOTA in status["message"]
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    workload["status"]["conditions"].append(late)
    assert sim.operate()["phase"] == "Degraded"
    assert condition(sim.mdep, "Stalled")["status"] == "True"
    workload["status"] |= {"updatedReplicas": 2, "conditions": []}
    assert sim.operate()["phase"] == "Healthy"


def crash(pod: dict[str, Any], name: str, **last: Any) -> None:
    pod["status"]["conditions"][0]["status"] = "False"
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}}
    one = {"name": name, "ready": False, "restartCount": 7, "state": waiting}
    one["lastState"] = {"terminated": {"exitCode": 137, **last}}
    pod["status"]["containerStatuses"] = [one]


def test_a_server_that_is_killed_for_its_memory_again_and_again_is_degraded() -> None:
    """Case 12: Progressing, "0 of 2 servers answer", for ever."""
    sim, _ = servers()
    for pod in sim.of("Pod"):
        crash(pod, "triton", reason="OOMKilled")
    status = sim.operate()
    assert (status["phase"], condition(sim.mdep, "Ready")["reason"]) == ("Degraded", "OutOfMemory")
    assert "raise spec.server.resources.memory" in status["message"]


def test_a_server_that_never_came_up_for_its_memory_is_degraded_too() -> None:
    sim = Sim(edge=False, replicas=2)
    sim.spec["target"] = {"cluster": {"replicas": 3}}
    sim.operate()
    sim.workloads()
    crash(sim.objects["Pod", "pod-2"], "triton", reason="OOMKilled")
    status = sim.operate()
    assert (status["phase"], condition(sim.mdep, "Ready")["reason"]) == ("Degraded", "OutOfMemory")


def test_a_container_that_is_tried_again_is_still_told() -> None:
    sim, _ = servers()
    for pod in sim.of("Pod"):
        crash(pod, "triton", reason="Error")
        pod["status"]["containerStatuses"][0]["state"] = {"running": {}}
    status = sim.operate()
    assert (status["phase"], condition(sim.mdep, "Ready")["reason"]) == (
        "Degraded",
        "CrashLooping",
    )
    assert "kubectl logs pod-0 -c triton --previous" in status["message"]


def ended_server(sim: Sim, number: int, **status: Any) -> None:
    (workload,) = sim.of("apps/Deployment")
    made = NOW + timedelta(minutes=number)
    own = made_by(workload) | {"name": f"ended-{number}", "uid": f"uid-ended-{number}"}
    own["creationTimestamp"] = made.strftime("%Y-%m-%dT%H:%M:%SZ")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": own, "spec": {"nodeName": NODE}}
    sim.add({**pod, "status": {"phase": "Failed", **status}})


def test_servers_that_are_evicted_one_after_the_other_are_degraded() -> None:
    """Case 11: no reason after 12 evictions."""
    sim, _ = servers()
    del sim.objects["Pod", "pod-1"]
    for number in range(1, 13):
        ended_server(sim, number, reason="Evicted", message=DISK)
    status = sim.operate()
    assert (status["phase"], condition(sim.mdep, "Ready")["reason"]) == ("Degraded", "Evicted")
    assert f"pod ended-12 was evicted from node {NODE}: {DISK}" in status["message"]
    assert "3 or more pods in a row" in status["message"]
    sim.now += timedelta(hours=1)
    for _ in range(4):
        sim.round()
    assert sim.status["phase"] == "Healthy", "a pod that answers came after them"


def test_a_server_on_a_node_without_power_is_named() -> None:
    sim, _ = servers()
    ready = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}
    ready["lastTransitionTime"] = "2026-11-22T11:58:00Z"
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "somewhere"}}
    sim.add({**node, "status": {"conditions": [ready]}})
    sim.objects["Pod", "pod-0"]["status"]["conditions"][0]["status"] = "False"
    status = sim.operate()
    assert condition(sim.mdep, "Ready")["reason"] == "NodeNotReady"
    assert "node somewhere of pod pod-0 is not ready since" in status["message"]


def test_a_daemon_sets_pods_that_are_refused_are_told() -> None:
    sim = Sim("a-1", "a-2")
    (workload,) = sim.of("apps/DaemonSet")
    sim.node("a-3")
    sim.count()
    workload["status"]["currentNumberScheduled"] = 2
    own = workload["metadata"]
    about = {"kind": "DaemonSet", "name": own["name"], "uid": own["uid"]}
    event = {"apiVersion": "v1", "kind": "core/Event", "involvedObject": about}
    event |= {"message": f'Error creating: pods "c-x" is forbidden: {QUOTA}'}
    sim.add({**event, "lastTimestamp": "x", "metadata": {"name": "e", "namespace": "shop"}})
    status = sim.operate()
    assert condition(sim.mdep, "Ready")["reason"] == "QuotaExceeded"
    assert QUOTA in status["message"]
