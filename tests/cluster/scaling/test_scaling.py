"""What the makers ask of Kubernetes' own controllers: scaling our object, keeping servers."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.core.deployment import autoscaling, disruption, serving

from ..admin import Admin
from ..fake_status import pod_status
from ..observing import observing
from ..waiting import until
from .conftest import Plane

pytestmark = pytest.mark.cluster
SPACE = "scaling"
OURS = f"/apis/modelyard.dev/v1alpha1/namespaces/{SPACE}/deployments"
HPAS = f"/apis/autoscaling/v2/namespaces/{SPACE}/horizontalpodautoscalers"
PODS = f"/api/v1/namespaces/{SPACE}/pods"


@pytest.fixture(scope="module")
def admin(scaled: Plane) -> Admin:
    scaled.admin.namespace(SPACE)
    return scaled.admin


def deployment(admin: Admin, name: str, **cluster: Any) -> Any:
    """A Deployment as view, with the selector that the operator would note."""
    body = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"modelLine": "shelf", "target": {"cluster": cluster}},
    }
    made = until(lambda: admin.http.post(OURS, json=body).status_code in (201, 409) and body)
    found = admin.get(f"{OURS}/{made['metadata']['name']}")
    labels = ",".join(f"{k}={v}" for k, v in sorted(serving.selector(found).items()))
    status = {"selector": labels, "replicas": cluster.get("replicas", 1)}
    return observing(admin.merge(f"{OURS}/{name}/status", {"status": status}))


def replicas(admin: Admin, name: str) -> int:
    return int(admin.get(f"{OURS}/{name}")["spec"]["target"]["cluster"]["replicas"])


def test_the_autoscaler_writes_our_replicas_through_the_scale_subresource(admin: Admin) -> None:
    metrics = {"cpuPercent": 70, "queueMilliseconds": 20, "requestsPerSecond": 5.5}
    bounds = {"minReplicas": 3, "maxReplicas": 5, "metrics": metrics}
    view = deployment(admin, "more", replicas=1, autoscaling=bounds)
    (manifest,) = autoscaling.children(view)
    admin.apply(HPAS, manifest)
    until(lambda: replicas(admin, "more") == 3, what="the least number of servers")

    def able() -> bool:
        # It writes the replicas first, its status after that.
        status = admin.get(f"{HPAS}/more").get("status") or {}
        found = {c["type"]: c["status"] for c in status.get("conditions") or ()}
        return found.get("AbleToScale") == "True"

    until(able, what="the autoscaler to say that it can scale")


def test_a_suspended_deployment_is_not_woken_by_its_autoscaler(admin: Admin) -> None:
    bounds = {"minReplicas": 3, "maxReplicas": 5}
    (manifest,) = autoscaling.children(deployment(admin, "off", replicas=0, autoscaling=bounds))
    admin.apply(HPAS, manifest)

    def disabled() -> bool:
        status = admin.get(f"{HPAS}/off").get("status") or {}
        reasons = {c["reason"] for c in status.get("conditions") or ()}
        return "ScalingDisabled" in reasons

    until(disabled, what="the autoscaler to rest")
    assert replicas(admin, "off") == 0


def test_evictions_take_one_server_at_a_time(admin: Admin) -> None:
    view = deployment(admin, "kept", replicas=3)
    carried = serving.metadata(view.obj, "kept")["labels"]
    container = {"name": "triton", "image": "none"}
    workload = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "kept"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": serving.selector(view.obj)},
            "template": {
                "metadata": {"labels": carried},
                "spec": {"containers": [container], **disruption.topology_spread(view)},
            },
        },
    }
    admin.apply(f"/apis/apps/v1/namespaces/{SPACE}/deployments", workload)
    (budget,) = disruption.children(view)
    budgets = f"/apis/policy/v1/namespaces/{SPACE}/poddisruptionbudgets"
    admin.apply(budgets, budget)
    pods = until(lambda: len(p := admin.get(PODS)["items"]) == 3 and p, what="three pods")
    names = [p["metadata"]["name"] for p in pods]
    for name in names:
        status = pod_status("triton", "none", "Running", ready=True)
        admin.merge(f"{PODS}/{name}/status", {"status": status})
    until(lambda: admin.get(f"{budgets}/kept")["status"]["disruptionsAllowed"] == 1)

    def evict(name: str) -> int:
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        return admin.http.post(f"{PODS}/{name}/eviction", json=body).status_code

    assert evict(names[0]) == 201
    assert evict(names[1]) == 429
