"""A Deployment sleeps while nobody asks, where KEDA can wake it."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.contract import labels
from modelyard.core.deployment import activation, activator, autoscaling
from modelyard.workloads.activator.__main__ import arguments

from .spec import EDGE, Children, cluster, existing, wanting


def sleepy(live: Children | None = None, metrics: dict[str, Any] | None = None, **zero: Any) -> Any:
    bounds: dict[str, Any] = {"minReplicas": 2, "maxReplicas": 5}
    if metrics:
        bounds["metrics"] = metrics
    one = cluster(autoscaling=bounds, scaleToZero={"by": "Keda", **zero})
    one.children = live or existing()
    return one


def scaled(live: Children | None = None, **target: Any) -> Any:
    one = cluster(**target)
    one.children = live or existing()
    return one


def everything(kind: str) -> bool:
    return True


def nothing(kind: str) -> bool:
    return False


def by_name(children: Any) -> dict[tuple[str, str], dict[str, Any]]:
    return {(one["kind"], one["metadata"]["name"]): one for one in children}


def test_keda_scales_our_object_between_zero_and_the_bounds() -> None:
    made = by_name(activation.parts(sleepy(after="90s"), everything).children)
    spec = made["ScaledObject", "cameras"]["spec"]
    assert spec["scaleTargetRef"]["apiVersion"] == "modelyard.dev/v1alpha1"
    assert (spec["idleReplicaCount"], spec["minReplicaCount"], spec["maxReplicaCount"]) == (0, 2, 5)
    assert spec["cooldownPeriod"] == 90
    assert spec["advanced"]["restoreToOriginalReplicaCount"] is True
    assert [t["type"] for t in spec["triggers"]] == ["external-push", "external-push", "cpu"]


def test_requests_wait_in_front_of_both_ports() -> None:
    one = sleepy(wait="2m", hosts=["a.example"], grpcHosts=["b.example"])
    made = by_name(activation.parts(one, everything).children)
    http = made["InterceptorRoute", "cameras-wake"]["spec"]
    rpc = made["InterceptorRoute", "cameras-wake-grpc"]["spec"]
    assert http["target"] == {"service": "cameras", "port": 8000}
    assert rpc["target"] == {"service": "cameras", "port": 8001}
    assert "cameras-wake.shop.svc" in http["rules"][0]["hosts"]
    assert "a.example" in http["rules"][0]["hosts"]
    assert "b.example" in rpc["rules"][0]["hosts"]
    assert not set(http["rules"][0]["hosts"]) & set(rpc["rules"][0]["hosts"])
    assert http["timeouts"] == {"readiness": "2m"}


def test_the_interceptor_has_a_name_next_to_the_servers() -> None:
    one = sleepy(kedaNamespace="autoscaling")
    made = by_name(activation.parts(one, everything).children)
    service = made["Service", "cameras-wake"]["spec"]
    assert service["type"] == "ExternalName"
    assert service["externalName"].endswith(".autoscaling.svc.cluster.local")
    assert activation.url(one) == "http://cameras-wake.shop.svc:8080"
    assert activation.url(scaled(replicas=1)) == ""


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({"requestsPerSecond": 2.5}, {"requestRate": {"targetValue": 3}}),
        ({"cpuPercent": 50}, {"concurrency": {"targetValue": 100}}),
    ],
)
def test_requests_or_concurrency_count(metrics: dict[str, Any], expected: dict[str, Any]) -> None:
    made = by_name(activation.parts(sleepy(metrics=metrics), everything).children)
    assert made["InterceptorRoute", "cameras-wake"]["spec"]["scalingMetric"] == expected


def test_our_own_autoscaler_goes_before_keda_comes() -> None:
    (own,) = autoscaling.children(cluster(autoscaling={"maxReplicas": 5}))
    first = activation.parts(sleepy(existing(own)), everything)
    assert "ScaledObject" not in {one["kind"] for one in first.children}
    assert [ref.kind for ref in first.leftovers] == ["HorizontalPodAutoscaler"]
    then = activation.parts(sleepy(), everything)
    assert "ScaledObject" in {one["kind"] for one in then.children}
    assert then.leftovers == ()


def test_without_keda_servers_stay_and_it_is_told() -> None:
    made = activation.parts(sleepy(), nothing)
    assert [one["kind"] for one in made.children] == ["HorizontalPodAutoscaler"]
    assert "ScaledObject and InterceptorRoute are not installed" in made.problem
    assert activation.parts(scaled(replicas=1), nothing).problem == ""


def test_taken_back_servers_are_woken_first() -> None:
    live = existing(*activation.parts(sleepy(), everything).children)
    back = activation.parts(scaled(live, autoscaling={"maxReplicas": 5}), everything)
    assert [ref.kind for ref in back.leftovers] == [
        "ScaledObject",
        "InterceptorRoute",
        "InterceptorRoute",
        "Service",
        "Service",
    ]
    assert [one["kind"] for one in back.children] == ["HorizontalPodAutoscaler"]


def test_an_activator_needs_nothing_installed() -> None:
    one = sleepy(by="Activator", after="90s", wait="2m", metrics={"queueMilliseconds": 20})
    made = by_name(activation.parts(one, nothing).children)
    assert set(made) == {
        ("HorizontalPodAutoscaler", "cameras"),
        ("Deployment", activator.workload_name(one.obj)),
        ("Service", "cameras-activator"),
    }
    pod = made["Deployment", activator.workload_name(one.obj)]["spec"]["template"]
    options = arguments(pod["spec"]["containers"][0]["args"])
    assert (options.deployment, options.namespace) == ("cameras", "shop")
    assert (options.servers, options.after, options.wait) == (2, 90, 120)
    assert options.ready == "http://cameras.shop.svc:8000/v2/health/ready"
    preserved = pod["spec"]["terminationGracePeriodSeconds"]
    assert preserved > options.wait, "requests that wait outlive the pod's end"
    assert dict(options.port) == {
        8000: ("cameras.shop.svc", 8000),
        8001: ("cameras.shop.svc", 8001),
    }
    assert activation.url(one) == "http://cameras-activator.shop.svc:8000"


def test_an_activator_is_no_server() -> None:
    one = sleepy(by="Activator")
    made = by_name(activation.parts(one, nothing).children)
    selector = made["Service", "cameras-activator"]["spec"]["selector"]
    template = made["Deployment", activator.workload_name(one.obj)]["spec"]["template"]
    assert selector.items() <= template["metadata"]["labels"].items()
    assert template["metadata"]["labels"][labels.COMPONENT] != "server"
    assert template["spec"]["serviceAccountName"] == "modelyard-activator"


def test_an_activator_goes_when_it_is_wanted_no_more() -> None:
    one = sleepy(by="Activator")
    made = by_name(activation.parts(one, nothing).children)
    service = made["Service", "cameras-activator"]
    workload = made["Deployment", activator.workload_name(one.obj)]
    live = existing(service, {**workload, "kind": "apps/Deployment"})
    for back in (scaled(live, replicas=1), sleepy(live)):
        gone = [(ref.kind, ref.name) for ref in activation.parts(back, everything).leftovers]
        assert ("Service", "cameras-activator") in gone
        assert len(gone) == 2


def test_the_edge_is_never_scaled() -> None:
    one = wanting(target=EDGE)
    one.children = existing()
    assert activation.parts(one, everything) == activation.Parts((), ())
