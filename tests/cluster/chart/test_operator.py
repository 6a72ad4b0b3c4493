"""The operator itself, with nothing but the rights and settings that the chart gives it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard_local.cluster import ControlPlane

from ..installed import SYSTEM, running_operator

pytestmark = pytest.mark.cluster
CHART = str(Path(__file__).parent.parent.parent.parent / "charts/modelyard")
NS = "vision"
DIGEST = "sha256:" + "0123456789abcdef" * 4
API = "modelyard.dev/v1alpha1"
LEVELS = ("restricted", "baseline", "privileged")
"""Of Pod Security, each enforced in a namespace of that name."""


@pytest.fixture(scope="module")
def installed(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An API server with the chart on it."""
    with ControlPlane(tmp_path_factory.mktemp("operator")) as plane:
        mine = type(cluster)(plane.kubeconfig)
        for namespace in (SYSTEM, NS, "unprepared"):
            mine.kubectl("create", "namespace", namespace)
        for level in LEVELS:
            # A label that comes later is heeded later.
            marks = {"pod-security.kubernetes.io/enforce": level}
            metadata = {"name": level, "labels": marks}
            mine.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        for namespace in (NS, *LEVELS):
            mine.kubectl("-n", namespace, "create", "serviceaccount", "default")
        values = ("--set", f"workloads.namespaces={{{NS}}}")
        mine.helm("install", "modelyard", CHART, "--namespace", SYSTEM, *values)
        mine.until_policies_know(NS)
        yield mine


@pytest.fixture(scope="module")
def log(installed: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The log of a running operator."""
    with running_operator(installed, tmp_path_factory.mktemp("process")) as path:
        yield path


def _eventually(look: Callable[[], Any], what: str, log: Path, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.3)
    pytest.fail(f"{what} did not happen; the operator's log ends:\n{log.read_text()[-3000:]}")


def _listed(installed: Any, kind: str, namespace: str = NS) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(
        installed.kubectl("-n", namespace, "get", kind, "-o", "json")
    )["items"]
    return items


def _object(kind: str, name: str, spec: dict[str, Any], namespace: str = NS) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec}


def _dataset(namespace: str = NS) -> dict[str, Any]:
    return _object(
        "Dataset", "digits", {"source": {"s3": {"bucket": "data", "key": "x/"}}}, namespace
    )


def _ready(installed: Any, number: int) -> None:
    """A version of the shelf line with a verdict that was reached before: the administrator is
    trusted to restore it."""
    name, digest = f"shelf-{number}", f"sha256:{number:064x}"
    version = {
        "modelLine": "shelf",
        "version": number,
        "weights": {"digest": digest},
        "dataset": {"name": "digits", "digest": DIGEST},
    }
    artifact = {
        "name": "onnx",
        "format": "onnx",
        "digest": digest,
        "manifestDigest": digest,
        "sizeBytes": 1000,
    }
    installed.create(_object("ModelVersion", name, version))
    verdict = {"phase": "Ready", "artifacts": [artifact], "mAP50": 0.9, "mAP50to95": 0.7}
    ready = {"type": "Ready", "status": "True", "reason": "GatesMet", "message": ""}
    ready["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    installed.set_status("mv", NS, name, verdict | {"conditions": [ready]})


def test_it_takes_its_lease(installed: Any, log: Path) -> None:
    def held() -> bool:
        return any(
            one["metadata"]["name"] == "modelyard-operator" and one["spec"].get("holderIdentity")
            for one in _listed(installed, "lease", SYSTEM)
        )

    _eventually(held, "taking the Lease", log)


def test_a_dataset_gets_its_job(installed: Any, log: Path) -> None:
    installed.create(_dataset())
    (job,) = _eventually(lambda: _listed(installed, "job"), "the Job of the Dataset", log)
    assert job["metadata"]["ownerReferences"][0]["name"] == "digits"
    _eventually(lambda: _status(installed, "dset", "digits").get("phase"), "a phase", log)


def test_a_served_version_gets_servers_and_assignments(installed: Any, log: Path) -> None:
    _ready(installed, 1)
    installed.create(_object("Deployment", "shelf", {"modelLine": "shelf"}))
    (workload,) = _eventually(
        lambda: _listed(installed, "deployments.apps"), "the Deployment of the servers", log
    )
    _eventually(lambda: _listed(installed, "service"), "the Service", log)
    _eventually(lambda: _listed(installed, "events.events.k8s.io"), "an Event", log)

    # What kube-controller-manager would make of it.
    template = workload["spec"]["template"]
    metadata = template["metadata"] | {"name": "shelf-server-0", "namespace": NS}
    metadata["labels"] |= {"pod-template-hash": "5d764fdc8f"}
    maker = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shelf-5d764fdc8f"}
    metadata["ownerReferences"] = [maker | {"uid": "rs", "controller": True}]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    installed.create(pod)
    (server,) = _eventually(lambda: _listed(installed, "ms"), "the ModelServer", log)
    assert server["spec"]["podName"] == "shelf-server-0"
    assert server["spec"]["assigned"]["modelVersion"] == "shelf-1"
    used = _eventually(
        lambda: _status(installed, "mv", "shelf-1").get("usedBy"), "status.usedBy", log
    )
    said = installed.refused("-n", NS, "delete", "mv", "shelf-1")
    assert f"ModelVersion shelf-1 is in use by {', '.join(used)}" in said


def test_a_rollout_names_the_people_whom_the_api_server_knows(installed: Any, log: Path) -> None:
    ada, robot = "ada@example.com", "system:serviceaccount:ci:deployer"

    def asks(user: str, *action: str) -> None:
        who = (f"--as={user}", "--as-group=system:masters")
        installed.kubectl("-n", NS, "annotate", "mdep", "shelf", *action, *who)

    def status() -> dict[str, Any]:
        return _status(installed, "mdep", "shelf")

    _ready(installed, 2)
    rollout = _eventually(lambda: status().get("rollout"), "the rollout", log)
    assert (rollout["trigger"], rollout.get("by")) == ("version 2 is Ready", None)

    asks(robot, "modelyard.dev/pause=1", "modelyard.dev/pause-by=somebody-else")
    paused = _eventually(lambda: status()["rollout"].get("paused"), "the pause", log)
    assert (paused["reason"], paused["by"]) == ("Requested", robot)

    asks(ada, "modelyard.dev/rollback=1@now")
    _eventually(lambda: status().get("history"), "the end of the rollout", log)
    found = status()
    assert found["override"]["by"] == ada
    (record,) = found["history"]
    assert (record["outcome"], record["message"]) == ("Aborted", f"{ada} went back to shelf-1")
    assert [(one["action"], one["by"]) for one in record["actions"]] == [("pause", robot)]

    def noted() -> bool:
        notes = [one.get("note") for one in _listed(installed, "events.events.k8s.io")]
        return f"{ada} went back to shelf-1" in notes

    _eventually(noted, "the Event, which follows the status", log)


@pytest.mark.parametrize(
    ("ports", "refusing"),
    [
        pytest.param(None, set(), id="by its Service"),
        pytest.param({"http": 8000}, {"restricted", "baseline"}, id="by a port of the node"),
    ],
)
def test_only_ports_of_nodes_need_a_privileged_namespace(
    installed: Any, log: Path, ports: dict[str, int] | None, refusing: set[str]
) -> None:
    name = "ported" if ports else "plain"
    edge = {"nodeSelector": {"camera": "true"}} | ({"hostPorts": ports} if ports else {})
    installed.create(_object("Deployment", name, {"modelLine": "shelf", "target": {"edge": edge}}))

    def made() -> list[dict[str, Any]]:
        found = _listed(installed, "daemonsets")
        return [one for one in found if one["metadata"]["name"] == name]

    (workload,) = _eventually(made, "the DaemonSet", log)
    template = workload["spec"]["template"]
    refused = {}
    for level in LEVELS:
        metadata = template["metadata"] | {"name": "try", "namespace": level}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        # Its account is of another namespace.
        pod["spec"] = pod["spec"] | {"serviceAccountName": "default"}
        done = installed.run("kubectl", "create", "--dry-run=server", "-f", "-", stdin=pod)
        if done.returncode:
            refused[level] = done.stderr
    assert refused.keys() == refusing
    assert all("hostPort" in said for said in refused.values())


def test_an_unprepared_namespace_is_told_and_gets_no_job(installed: Any, log: Path) -> None:
    installed.create(_dataset("unprepared"))
    status = _eventually(
        lambda: _status(installed, "dset", "digits", "unprepared"), "a status", log
    )
    assert "unprepared" in status["message"]
    assert _listed(installed, "job", "unprepared") == []


def test_nothing_was_forbidden(log: Path) -> None:
    text = log.read_text()
    assert "orbidden" not in text
    assert "Traceback" not in text


def _status(installed: Any, kind: str, name: str, namespace: str = NS) -> dict[str, Any]:
    status: dict[str, Any] = installed.get(kind, namespace, name).get("status") or {}
    return status
