"""What real controllers make of quotas and lost nodes reaches the user; it shares the control plane
of test_ownership.py. Kubelets and agents are played by the administrator, who writes the statuses
of pods, nodes and ModelServers by name. The decisions: tests/unit/core/test_child_state.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ...cluster.conftest import thing
from ...cluster.fake_status import binding, loaded
from ...waiting import until
from .conftest import NS, TIGHT, Site

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("ownership")]
DIGEST = "sha256:" + "a" * 64
NODE = "camera-7"
DATA = {"source": {"s3": {"bucket": "data", "key": "x/"}}}
Object = dict[str, Any]
OWNER = "modelyard.dev/owner"


def pods(site: Site, owner: str, namespace: str = NS) -> list[Object]:
    """Pods that work for one of our objects, `Kind/name`, oldest first."""
    found = [
        pod
        for pod in site.listed("pods", namespace)
        if (pod["metadata"].get("annotations") or {}).get(OWNER) == owner
    ]
    return sorted(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


def first_pod(site: Site, owner: str, namespace: str = NS) -> Object:
    found: list[Object] = until(lambda: pods(site, owner, namespace), what=f"a pod of {owner}")
    return found[0]


def serving(site: Site, name: str, namespace: str, **spec: Any) -> None:
    """A Deployment of a version that was judged before."""
    version = {"modelLine": name, "version": 1, "weights": {"digest": DIGEST}}
    version["dataset"] = {"name": "digits", "digest": DIGEST}
    site.create(thing("ModelVersion", f"{name}-1", namespace, version))
    artifact = {"name": "onnx", "format": "onnx", "digest": DIGEST, "manifestDigest": DIGEST}
    ready = {"phase": "Ready", "artifacts": [artifact | {"sizeBytes": 1000}]}
    site.set_status("mv", namespace, f"{name}-1", ready)
    site.create(thing("Deployment", name, namespace, {"modelLine": name, **spec}))


def answers(site: Site, pod: Object) -> None:
    """A server's pod is ready, and its agent has loaded what it must."""
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    site.set_status("pod", namespace, name, ready)
    named = [one for one in site.listed("ms", namespace) if one["metadata"]["name"] == name]
    assert named, f"no ModelServer {name} yet"
    site.set_status("ms", namespace, name, loaded(named[0]))


def hard(site: Site, cpus: str) -> None:
    """Set the quota, and wait until it is in force."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "spec": {"hard": {"requests.cpu": cpus}}}
    quota["metadata"] = {"name": "compute", "namespace": TIGHT}
    site.kubectl("apply", "-f", "-", stdin=quota)

    def known() -> bool:
        found = site.status("resourcequota", "compute", TIGHT)
        return (found.get("hard") or {}).get("requests.cpu") == cpus

    until(known, what="the quota to be in force")


@pytest.fixture(scope="module")
def lost(site: Site, log: Path) -> Object:
    """A Dataset's pod whose node has lost its power; Kubernetes has evicted the pod, which nobody
    can confirm."""
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
    site.create(node)
    site.kubectl("patch", "node", NODE, "--subresource=status", "--type=merge", "-p",
                 json.dumps({"status": {"conditions": [ready]}}))  # fmt: skip
    site.create(thing("Dataset", "lost", NS, DATA))
    pod = first_pod(site, "Dataset/lost")
    name = pod["metadata"]["name"]
    path = f"/api/v1/namespaces/{NS}/pods/{name}/binding"
    site.kubectl("create", "--raw", path, "-f", "-", stdin=binding(pod, NODE))
    site.set_status("pod", NS, name, {"phase": "Running"})
    until(lambda: site.status("dset", "lost").get("phase") == "Fetching", what="Fetching")
    ready |= {"status": "Unknown", "reason": "NodeStatusUnknown"}
    ready["lastTransitionTime"] = "2026-11-22T11:58:00Z"
    site.kubectl("patch", "node", NODE, "--subresource=status", "--type=merge", "-p",
                 json.dumps({"status": {"conditions": [ready]}}))  # fmt: skip
    return pod


def test_a_node_without_power_is_named_until_somebody_confirms(site: Site, lost: Object) -> None:
    def told() -> bool:
        return site.reason("dset", "lost") == "NodeNotReady"

    until(told, what="the lost node to be told")
    site.kubectl("-n", NS, "delete", "pod", lost["metadata"]["name"], "--wait=false")
    message = site.status("dset", "lost")["message"]
    assert f"node {NODE} of pod {lost['metadata']['name']} is not ready since" in message
    assert "2026-11-22T11:58:00Z (NodeStatusUnknown)" in message
    assert told(), "also once Kubernetes wants the pod gone"
    # The garbage collector of pods takes this up within 20 s: see the last test.
    taint = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
    site.kubectl("taint", "node", NODE, taint)


def test_new_settings_that_a_quota_refuses(site: Site, log: Path) -> None:
    target = {"cluster": {"replicas": 1}}
    serving(site, "mugs", TIGHT, target=target, rollout={"progressDeadlineSeconds": 5})
    pod = first_pod(site, "Deployment/mugs", TIGHT)

    def assigned() -> bool:
        return pod["metadata"]["name"] in [s["metadata"]["name"] for s in site.listed("ms", TIGHT)]

    until(assigned, what="the ModelServer")
    answers(site, pod)
    until(lambda: site.status("mdep", "mugs", TIGHT).get("phase") == "Healthy", what="Healthy")
    hard(site, "1m")
    change = '{"spec":{"server":{"maxBatchSize":4}}}'
    site.kubectl("-n", TIGHT, "patch", "mdep", "mugs", "--type=merge", "-p", change)
    seen = []

    def refused() -> bool:
        found = site.get("mdep", TIGHT, "mugs")
        status = found["status"]
        if status["observedGeneration"] == found["metadata"]["generation"]:
            seen.append(status["phase"])
        return status["phase"] == "Degraded"

    until(refused, what="Degraded after the deadline", pause=0.1)
    assert "Healthy" not in seen, "for a generation that no server has"
    assert site.reason("mdep", "mugs", TIGHT) == "QuotaExceeded"
    message = site.status("mdep", "mugs", TIGHT)["message"]
    assert "0 of 1 servers have the present settings of spec.server" in message
    assert "exceeded quota: compute, requested: requests.cpu=1050m" in message


def test_a_dataset_whose_pod_a_quota_refuses(site: Site, log: Path) -> None:
    hard(site, "1m")
    site.create(thing("Dataset", "digits", TIGHT, DATA))

    def told() -> bool:
        return site.reason("dset", "digits", TIGHT) == "QuotaExceeded"

    until(told, 60, what="the API server's words within a minute")
    assert "exceeded quota: compute" in site.status("dset", "digits", TIGHT)["message"]
    hard(site, "20")


def failed(site: Site, name: str) -> None:
    pod = first_pod(site, f"Dataset/{name}")
    words = "The node was low on resource: ephemeral-storage."
    disrupted = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}
    status = {"phase": "Failed", "reason": "Evicted", "message": words, "conditions": [disrupted]}
    site.set_status("pod", NS, pod["metadata"]["name"], status)


def crashed(site: Site, name: str) -> None:
    pod = first_pod(site, f"Deployment/{name}")
    last = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}}
    one = {"name": pod["spec"]["containers"][0]["name"], "image": "x", "imageID": ""}
    one |= {"ready": False, "restartCount": 5, "state": waiting, "lastState": last}
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}
    site.set_status("pod", NS, pod["metadata"]["name"], {**status, "containerStatuses": [one]})


Play = Callable[[Site, str], None]


@pytest.mark.parametrize(
    ("kind", "name", "play", "reason", "says"),
    [
        ("dset", "evicted", failed, "Evicted", "was evicted from its node: The node was low on"),
        ("mdep", "bowls", crashed, "OutOfMemory", "raise spec.server.resources.memory"),
    ],
)
def test_what_a_kubelet_reports(
    site: Site, log: Path, kind: str, name: str, play: Play, reason: str, says: str
) -> None:
    if kind == "dset":
        site.create(thing("Dataset", name, NS, DATA))
    else:
        serving(site, name, NS, target={"cluster": {"replicas": 1}})
    play(site, name)
    until(lambda: site.reason(kind, name) == reason, what=reason)
    assert says in site.status(kind, name)["message"]


def test_a_confirmed_loss_goes_on_elsewhere(site: Site, lost: Object) -> None:
    def replaced() -> bool:
        names = {pod["metadata"]["name"] for pod in pods(site, "Dataset/lost")}
        return bool(names - {lost["metadata"]["name"]})

    until(replaced, 90, what="another pod")
    until(lambda: site.reason("dset", "lost") != "NodeNotReady", what="the loss to be history")
