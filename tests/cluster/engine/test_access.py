"""Kinds that the operator may not, or cannot, watch: said where people look, and overcome."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.cluster

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
DATASETS = f"{CRDS}/datasets.modelyard.dev"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
EVERYTHING_BUT_DATASETS: list[dict[str, list[str]]] = [
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]},
    {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["*"]},
    {"apiGroups": ["modelyard.dev"], "resources": ["datasets/status"], "verbs": ["*"]},
]
DATASETS_TOO = {"apiGroups": ["modelyard.dev"], "resources": ["datasets"], "verbs": ["*"]}


def ready(operator: Any) -> bool:
    answer = operator.ask("/readyz")
    return answer is not None and answer.status_code == 200


def watch_up(operator: Any, kind: str) -> bool:
    return f'modelyard_watch_up{{kind="{kind}"}} 1.0' in operator.ask("/metrics").text


@pytest.fixture
def narrow(server: Any, tmp_path: Path) -> Iterator[Path]:
    """A kubeconfig of an account that may do all that the operator needs but see Datasets."""
    account = "/api/v1/namespaces/default/serviceaccounts"
    server.call("POST", account, {"metadata": {"name": "narrow"}})
    role = {"metadata": {"name": "narrow"}, "rules": EVERYTHING_BUT_DATASETS}
    server.call("POST", f"{RBAC}/clusterroles", role)
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "narrow"}
    subject = {"kind": "ServiceAccount", "namespace": "default", "name": "narrow"}
    binding = {"metadata": {"name": "narrow"}, "roleRef": reference, "subjects": [subject]}
    server.call("POST", f"{RBAC}/clusterrolebindings", binding)
    config = yaml.safe_load(server.plane.kubeconfig.read_text())
    token = server.call("POST", f"{account}/narrow/token", {"spec": {}})["status"]["token"]
    config["users"][0]["user"] = {"token": token}
    path = tmp_path / "narrow.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    yield path
    server.call("DELETE", f"{RBAC}/clusterroles/narrow")
    server.call("DELETE", f"{RBAC}/clusterrolebindings/narrow")
    server.call("DELETE", f"{account}/narrow")


def allow(server: Any, *rules: dict[str, list[str]]) -> None:
    server.merge(f"{RBAC}/clusterroles/narrow", {"rules": [*EVERYTHING_BUT_DATASETS, *rules]})


def test_a_kind_that_may_not_be_watched_is_told(
    server: Any, space: str, start: Any, wait: Any, narrow: Path
) -> None:
    operator = start(kubeconfig=narrow)
    told = "cannot watch Dataset: the operator's role does not allow to list and watch it"
    wait(lambda: (operator.ask("/readyz") or Nothing).text.startswith(told), what="told at start")
    allow(server, DATASETS_TOO)
    wait(lambda: ready(operator) and operator.synced(), 20, what="goes on by itself")
    server.dataset(space, "a")
    wait(lambda: server.phase(space, "a") == "Ready", what="Ready")
    allow(server)
    server.plane.processes.stop(["kube-apiserver"])  # Rights are looked at when a watch starts.
    server.plane.start()
    wait(lambda: told in operator.ask("/readyz").text, 30, what="told while running")
    assert not watch_up(operator, "Dataset")
    assert (
        'modelyard_watch_failures_total{code="403",kind="Dataset"}' in operator.ask("/metrics").text
    )
    assert operator.log.read_text().count(told) == 2, "told once each time"
    allow(server, DATASETS_TOO)
    server.dataset(space, "b")
    wait(lambda: server.phase(space, "b") == "Ready", 30, what="goes on by itself")
    wait(lambda: ready(operator), what="ready again")
    assert watch_up(operator, "Dataset")


class Nothing:
    """In place of an answer, while the process does not listen yet."""

    text = ""


def test_a_crd_is_removed_and_made_again(server: Any, space: str, start: Any, wait: Any) -> None:
    operator = start()
    server.dataset(space, "a")
    wait(lambda: server.phase(space, "a") == "Ready", what="Ready")
    crd = server.get(DATASETS)
    server.call("DELETE", DATASETS)
    try:
        told = "cannot watch Dataset: its CRD is not installed"
        wait(lambda: told in operator.ask("/readyz").text, what="told")
        assert operator.ask("/healthz").status_code == 200, "a restart would not help"
    finally:
        wait(lambda: server.get(DATASETS) is None, what="removed")
        again = {key: crd[key] for key in ("apiVersion", "kind", "spec")}
        server.call("POST", CRDS, {**again, "metadata": {"name": crd["metadata"]["name"]}})
        datasets = f"/apis/modelyard.dev/v1alpha1/namespaces/{space}/datasets"
        wait(lambda: (server.get(datasets) or {}).get("items") == [], what="served again")
    server.dataset(space, "b")
    wait(lambda: server.phase(space, "b") == "Ready", 30, what="goes on by itself")
    assert operator.process.poll() is None
    assert ready(operator)
    assert 'modelyard_cache_objects{kind="Dataset"} 1.0' in operator.ask("/metrics").text
