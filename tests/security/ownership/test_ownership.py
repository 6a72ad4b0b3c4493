"""A pod's results count only if it is really that Job's pod, and nobody can make it seem so.

Two walls, each tried alone: what the API server refuses to users with role `edit`, and what the
operator makes of objects that exist all the same, made here by the administrator, whom the
policies let pass.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ...cluster.conftest import thing
from ...cluster.fake_status import evaluate_outcome, export_outcome
from ...waiting import until
from .conftest import EDITOR, ELSEWHERE, NS, TENANT, Site

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("ownership")]
DIGEST = "sha256:" + "a" * 64
VERSION = {
    "modelLine": "shelf",
    "version": 1,
    "weights": {"digest": DIGEST},
    "exports": [{"name": "onnx", "format": "onnx"}],
    "dataset": {"name": "digits", "digest": DIGEST},
    "gates": {"mAP50": 0.5},
}
IMAGE = "example.org/evil:1"
Object = dict[str, Any]


@pytest.fixture(scope="module")
def judged(site: Site, log: Path) -> Object:
    """A version whose evaluation is under way; its pod."""
    site.create(thing("ModelVersion", "shelf-1", NS, VERSION))
    site.end(site.pod_of("ModelVersion/shelf-1", "export-onnx"), export_outcome(1))
    return site.pod_of("ModelVersion/shelf-1", "evaluate-cpu")


@pytest.fixture(scope="module")
def served(site: Site, log: Path) -> Object:
    """A Deployment's server pod, of a version that was judged before."""
    site.create(thing("ModelVersion", "cups-1", NS, {**VERSION, "modelLine": "cups"}))
    artifact = {"name": "onnx", "format": "onnx", "digest": DIGEST, "manifestDigest": DIGEST}
    ready = {"phase": "Ready", "artifacts": [artifact | {"sizeBytes": 1000}]}
    site.set_status("mv", NS, "cups-1", ready)
    site.create(thing("Deployment", "cups", NS, {"modelLine": "cups"}))

    def pods() -> list[Object]:
        found = site.listed("pods")
        marks = {"app.kubernetes.io/instance": "cups", COMPONENT: "server"}
        return [p for p in found if marks.items() <= p["metadata"].get("labels", {}).items()]

    found: list[Object] = until(pods, what="the server's pod")
    return found[0]


COMPONENT = "app.kubernetes.io/component"


def copied(pod: Object, name: str, namespace: str = NS) -> Object:
    """A pod with another's labels, annotations and owner, that runs something else."""
    kept = ("labels", "annotations", "ownerReferences")
    metadata = {key: copy.deepcopy(pod["metadata"][key]) for key in kept}
    container = {"name": "main", "image": IMAGE}
    spec = {"containers": [container], "restartPolicy": "Never"}
    own = {**metadata, "name": name, "namespace": namespace}
    # Whose owner is not in its namespace is soon collected as garbage: not before the test ends.
    own["finalizers"] = ["example.org/keep"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": own, "spec": spec}


def workload(api: str, kind: str, name: str, pod: Object, **spec: Any) -> Object:
    """A workload whose pods have the labels of another."""
    one = copied(pod, name)
    template = {"metadata": {"labels": one["metadata"]["labels"]}, "spec": one["spec"]}
    if kind != "Job":
        template["spec"] = {"containers": one["spec"]["containers"]}
        spec["selector"] = {"matchLabels": one["metadata"]["labels"]}
    own = {"name": name, "namespace": NS}
    return {"apiVersion": api, "kind": kind, "metadata": own, "spec": {"template": template} | spec}


def without(one: Object, *fields: str) -> Object:
    for field in fields:
        del one["metadata"][field]
    return one


def labels_of_kubernetes(one: Object) -> Object:
    """Labels by which the Job controller adopts a pod, and ours by which it is seen."""
    return without(one, "ownerReferences", "annotations")


def ours(one: Object) -> Object:
    """An owner of our group and no label."""
    reference = {"apiVersion": "modelyard.dev/v1alpha1", "kind": "ModelVersion", "name": "shelf-1"}
    one["metadata"]["ownerReferences"] = [reference | {"uid": "u", "controller": True}]
    return without(one, "labels", "annotations")


FORGED: dict[str, Callable[[Object], Object]] = {
    "a pod like ours": lambda pod: copied(pod, "forged"),
    "a pod to be adopted": lambda pod: labels_of_kubernetes(copied(pod, "forged")),
    "a pod of our object itself": lambda pod: ours(copied(pod, "forged")),
    "a Job": lambda pod: workload("batch/v1", "Job", "forged", pod),
    "a Deployment": lambda pod: workload("apps/v1", "Deployment", "forged", pod),
    "a ReplicaSet": lambda pod: workload("apps/v1", "ReplicaSet", "forged", pod),
    "a DaemonSet": lambda pod: workload("apps/v1", "DaemonSet", "forged", pod),
}


@pytest.mark.parametrize("user", [EDITOR, TENANT])
@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_nobody_makes_what_passes_for_ours(
    site: Site, judged: Object, forge: Callable[[Object], Object], user: str
) -> None:
    one = forge(judged)
    if one["kind"] == "Job":
        del one["spec"]["template"]["metadata"]["labels"]["batch.kubernetes.io/controller-uid"]
        del one["spec"]["template"]["metadata"]["labels"]["controller-uid"]
        del one["spec"]["template"]["metadata"]["labels"]["batch.kubernetes.io/job-name"]
        del one["spec"]["template"]["metadata"]["labels"]["job-name"]
    said = site.tried(user, "create", "-f", "-", stdin=one)
    assert "is marked as Modelyard's" in said
    assert f"{user} is none" in said


def test_a_controller_that_makes_no_pods_of_ours_cannot_lend_its_hand(
    site: Site, judged: Object
) -> None:
    """Kubernetes' controllers act for whoever wrote their objects."""
    spec = {"serviceName": "x", "replicas": 1}
    site.create(workload("apps/v1", "StatefulSet", "lent", judged, **spec), impersonate=EDITOR)

    def refused() -> bool:
        events = site.listed("events")
        return any("is marked as Modelyard's" in (one.get("message") or "") for one in events)

    until(refused, what="the StatefulSet's pod to be refused")
    site.kubectl("-n", NS, "delete", "statefulset", "lent")


PATCHES = {
    "its image": '{"spec":{"containers":[{"name":"%s","image":"example.org/evil:1"}]}}',
    "what it does": '{"metadata":{"annotations":{"modelyard.dev/run":"{}"}}}',
    "whose it is": '{"metadata":{"labels":{"modelyard.dev/owner-uid":"another"}}}',
    "whose it is, for Kubernetes": '{"metadata":{"ownerReferences":null}}',
    "that it is ours": '{"metadata":{"labels":{"app.kubernetes.io/managed-by":null}}}',
}


@pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES)
@pytest.mark.parametrize("kind", ["judged", "served"])
def test_nobody_changes_a_pod_of_ours(
    site: Site, request: pytest.FixtureRequest, kind: str, patch: str
) -> None:
    pod = request.getfixturevalue(kind)
    text = patch % pod["spec"]["containers"][0]["name"] if "%s" in patch else patch
    target = ("-n", NS, "patch", "pod", pod["metadata"]["name"])
    said = site.tried(TENANT, *target, "-p", text)
    assert "nobody but the Modelyard operator may change" in said


def test_nobody_adds_a_container_to_a_pod_of_ours(site: Site, judged: Object) -> None:
    name = judged["metadata"]["name"]
    pod = site.get("pod", NS, name)
    pod["spec"]["ephemeralContainers"] = [{"name": "x", "image": IMAGE}]
    path = f"/api/v1/namespaces/{NS}/pods/{name}/ephemeralcontainers"
    said = site.tried(TENANT, "replace", "--raw", path, "-f", "-", stdin=pod)
    assert "nobody may add containers to it" in said


@pytest.mark.parametrize("container", [["-c", "main"], []], ids=["by name", "by default"])
def test_nobody_opens_a_shell_in_a_container_of_ours(
    site: Site, judged: Object, container: list[str]
) -> None:
    target = ("-n", NS, "exec", judged["metadata"]["name"], *container, "--", "sh")
    assert "nobody may open a shell in container main" in site.tried(EDITOR, *target)


def test_a_shell_without_the_name_of_a_container_is_refused(site: Site, judged: Object) -> None:
    path = f"/api/v1/namespaces/{NS}/pods/{judged['metadata']['name']}/exec?command=sh"
    said = site.tried(EDITOR, "create", "--raw", path, "-f", "-", stdin={})
    assert "name the container of pod" in said


def test_an_editor_does_not_write_what_a_kubelet_writes(site: Site, judged: Object) -> None:
    target = ("-n", NS, "patch", "pod", judged["metadata"]["name"], "--subresource=status")
    said = site.tried(EDITOR, *target, "--type=merge", "-p", '{"status":{"phase":"Succeeded"}}')
    assert 'cannot patch resource "pods/status"' in said


OTHER_OWNER = '{"metadata":{"annotations":{"modelyard.dev/owner":"Dataset/evil"}}}'
OTHER_RUN = '{"spec":{"template":{"metadata":{"annotations":{"modelyard.dev/run":"{}"}}}}}'


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("job", OTHER_OWNER),  # Its template cannot change anyway.
        ("deployment.apps", OTHER_OWNER),
        ("deployment.apps", OTHER_RUN),
        ("replicaset.apps", OTHER_RUN),
    ],
)
def test_nobody_changes_what_makes_pods_of_ours(
    site: Site, judged: Object, served: Object, kind: str, text: str
) -> None:
    (one,) = [
        found
        for found in site.listed(kind)
        if found["metadata"]["name"].startswith("shelf-1-evaluate" if kind == "job" else "cups")
    ]
    said = site.tried(TENANT, "-n", NS, "patch", kind, one["metadata"]["name"], "-p", text)
    assert "nobody but the Modelyard operator may change" in said


def test_a_pod_of_others_is_left_alone(site: Site) -> None:
    container = {"name": "main", "image": "example.org/fine:1"}
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [container]}}
    pod["metadata"] = {"name": "fine", "namespace": NS, "labels": {COMPONENT: "server"}}
    site.create(pod, impersonate=EDITOR)
    assert site.tried(EDITOR, "-n", NS, "label", "pod", "fine", "a=b") == ""
    mark = "app.kubernetes.io/managed-by=modelyard"
    said = site.tried(EDITOR, "-n", NS, "label", "pod", "fine", mark)
    assert "nobody but the Modelyard operator may change" in said
    assert site.tried(EDITOR, "-n", NS, "delete", "pod", "fine", "--force") == ""


PLANTED: dict[str, Callable[[Object], Object]] = {
    "elsewhere": lambda pod: copied(pod, "planted-a", ELSEWHERE),
    "by labels": lambda pod: without(copied(pod, "planted-b", ELSEWHERE), "ownerReferences"),
}


def test_the_true_verdict_stands_whatever_exists(site: Site, judged: Object, log: Path) -> None:
    """Ran on the version before: `Rejected, mAP50 0.050` became `Ready, 0.990`."""
    for plant in PLANTED.values():
        one = plant(judged)
        site.create(one)
        site.end(one, evaluate_outcome(0.99))
    owned = copied(judged, "planted-c")
    owned["metadata"]["ownerReferences"][0]["controller"] = False
    owned["metadata"]["labels"] = {
        k: v for k, v in owned["metadata"]["labels"].items() if "controller-uid" not in k
    }
    site.create(owned)
    site.end(owned, evaluate_outcome(0.99))
    site.end(judged, evaluate_outcome(0.05))

    def verdict() -> Any:
        status = site.get("mv", NS, "shelf-1").get("status") or {}
        return status if status.get("phase") in ("Ready", "Rejected", "Failed") else None

    status = until(verdict, what="a verdict")
    assert (status["phase"], status["mAP50"]) == ("Rejected", 0.05)


def test_a_planted_pod_joins_no_fleet(site: Site, served: Object, log: Path) -> None:
    elsewhere = copied(served, "planted", ELSEWHERE)
    here = copied(served, "planted")
    here["metadata"]["ownerReferences"][0]["name"] = "another-5d764fdc8f"
    here["metadata"]["ownerReferences"][0]["uid"] = "another"
    for pod in (elsewhere, here):
        site.create(pod)
        running = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        site.set_status("pod", pod["metadata"]["namespace"], "planted", running)
    # What came after is seen: so what came before was, too.
    site.kubectl("-n", NS, "patch", "mdep", "cups", "--type=merge", "-p",
                 '{"spec":{"target":{"cluster":{"replicas":2}}}}')  # fmt: skip

    def servers() -> set[str]:
        found = [one for one in site.listed("ms") if one["spec"]["deployment"] == "cups"]
        return {str(one["metadata"]["name"]) for one in found}

    until(lambda: len(servers()) >= 2, what="the second server's ModelServer")
    assert "planted" not in servers()
    assert site.listed("ms", ELSEWHERE) == []


def test_nothing_was_forbidden_to_the_operator(log: Path) -> None:
    text = log.read_text()
    assert "orbidden" not in text
    assert "Traceback" not in text
