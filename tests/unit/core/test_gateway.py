"""A Deployment behind a Gateway has two Services and routes that split between them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from modelyard.api.rollout import Step
from modelyard.api.rolloutstatus import RolloutState
from modelyard.contract import labels
from modelyard.core import meta
from modelyard.core.deployment import gateway
from modelyard.core.deployment.traffic import Server, Split, mark
from modelyard.core.fleet.fleets import Fleets
from modelyard.core.fleet.projections import read_server

from .spec import EDGE, cluster, existing, wanting
from .world import made_by

OLD, NEW = "shelf-1:0.25:0.45:300", "shelf-2:0.25:0.45:300"
CANARY = Split(stable=mark(OLD), candidate=mark(NEW), weight=10)
PARENT = {"name": "public", "namespace": "gateways", "sectionName": "web"}


def served(kind: str) -> bool:
    return True


def behind(**fields: Any) -> Any:
    return cluster(replicas=3, gateway={"parentRefs": [PARENT], **fields})


def made(split: Split = CANARY, **fields: Any) -> dict[str, dict[str, Any]]:
    """Children by kind, or by name for Services."""
    found = gateway.children(behind(**fields), split, served)
    return {
        one["metadata"]["name"] if one["kind"] == "Service" else one["kind"]: one for one in found
    }


def weights(rule: dict[str, Any]) -> dict[str, int]:
    return {ref["name"]: ref["weight"] for ref in rule["backendRefs"]}


def test_nothing_is_made_without_a_gateway() -> None:
    assert gateway.children(cluster(replicas=3), Split(), served) == ()
    assert gateway.children(wanting(target=EDGE), Split(), served) == ()
    assert gateway.missing(cluster(replicas=3), lambda kind: False) == ""


def test_services_lead_to_all_servers_or_by_label() -> None:
    wide, narrow = made(Split()), made(CANARY)
    alone = made(Split(stable=mark(OLD)))
    for side, label in (("cameras-stable", mark(OLD)), ("cameras-candidate", mark(NEW))):
        assert labels.SERVES not in wide[side]["spec"]["selector"]
        assert narrow[side]["spec"]["selector"][labels.SERVES] == label
        assert alone[side]["spec"]["selector"][labels.SERVES] == mark(OLD)


def test_grpc_is_spoken_to_in_plain_http2() -> None:
    ports = {p["name"]: p for p in made()["cameras-stable"]["spec"]["ports"]}
    assert ports["grpc"]["appProtocol"] == "kubernetes.io/h2c"


def test_the_route_has_the_weight_of_the_step() -> None:
    route = made()["HTTPRoute"]["spec"]
    assert route["parentRefs"] == [PARENT]
    (rule,) = route["rules"]
    assert weights(rule) == {"cameras-stable": 90, "cameras-candidate": 10}


def test_without_hosts_only_requests_of_the_model_come_here() -> None:
    def path(**fields: Any) -> Any:
        return made(**fields)["HTTPRoute"]["spec"]["rules"][0]["matches"][0]["path"]["value"]

    assert path() == "/v2/models/shelf"
    assert path(hostnames=["shelf.example"]) == "/v2"


def test_a_header_leads_to_the_candidate() -> None:
    header = {"name": "x-model", "value": "candidate"}
    first, rest = made(candidate={"header": header, "weighted": False})["HTTPRoute"]["spec"][
        "rules"
    ]
    assert first["matches"][0]["headers"] == [{"type": "Exact", **header}]
    assert weights(first) == {"cameras-candidate": 1}
    assert weights(rest) == {"cameras-stable": 100, "cameras-candidate": 0}


def test_requests_are_copied_only_while_there_is_a_candidate() -> None:
    (rule,) = made(candidate={"mirror": 25})["HTTPRoute"]["spec"]["rules"]
    (copied,) = rule["filters"]
    assert copied["requestMirror"]["percent"] == 25
    assert copied["requestMirror"]["backendRef"] == {"name": "cameras-candidate", "port": 8000}
    (rule,) = made(Split(), candidate={"mirror": 25})["HTTPRoute"]["spec"]["rules"]
    assert "filters" not in rule


def test_grpc_has_a_route_where_it_has_hosts() -> None:
    assert "GRPCRoute" not in made()
    route = made(grpcHostnames=["grpc.example"])["GRPCRoute"]["spec"]
    assert route["hostnames"] == ["grpc.example"]
    assert {ref["port"] for ref in route["rules"][0]["backendRefs"]} == {8001}


def test_what_is_not_installed_is_told_and_left_out() -> None:
    one = behind(grpcHostnames=["grpc.example"])
    kinds = {c["kind"] for c in gateway.children(one, Split(), lambda kind: kind == "HTTPRoute")}
    assert kinds == {"Service", "HTTPRoute"}
    assert "GRPCRoute" in gateway.missing(one, lambda kind: kind == "HTTPRoute")
    assert gateway.missing(one, served) == ""


def test_all_of_it_goes_routes_first() -> None:
    live = existing(*made(grpcHostnames=["grpc.example"]).values())
    gone = gateway.leftovers(cluster(replicas=3), live)
    assert [(ref.kind, ref.name) for ref in gone] == [
        ("HTTPRoute", "cameras"),
        ("GRPCRoute", "cameras"),
        ("Service", "cameras-stable"),
        ("Service", "cameras-candidate"),
    ]
    assert [ref.kind for ref in gateway.leftovers(behind(), live)] == ["GRPCRoute"]


def test_pods_are_labelled_by_uid_with_nothing_else() -> None:
    servers = [
        Server("old", "u1", True, mark(OLD), OLD, OLD),
        Server("new", "u2", True, "", NEW, NEW),
    ]
    (one,) = gateway.pod_labels(behind(), servers, CANARY)
    assert set(one) == {"apiVersion", "kind", "metadata"}
    assert (one["metadata"]["name"], one["metadata"]["uid"]) == ("new", "u2")
    assert one["metadata"]["labels"][labels.SERVES] == mark(NEW)
    assert gateway.pod_labels(cluster(replicas=2), servers, CANARY) == ()


def model_server(name: str, version: int) -> dict[str, Any]:
    """A ModelServer that holds what it is assigned."""
    held = {"modelVersion": f"shelf-{version}", "version": version, "digest": "d"}
    return {
        "kind": "ModelServer",
        "metadata": {"name": name, "namespace": "shop", "uid": f"server-{name}"},
        "spec": {"podName": name, "modelLine": "shelf", "assigned": held},
        "status": {"loaded": held},
    }


def key(version: int) -> str:
    """The release key of a version."""
    read = read_server(model_server("any", version))
    assert read is not None
    return read.assigned


def pod_metadata(owner: Any, name: str, label: str) -> dict[str, Any]:
    """As the apps/v1 Deployment's controllers make it."""
    marks = {labels.TARGET: "cluster", labels.SERVES: label}
    template = meta.child_metadata(owner, "Deployment", child="", component="server", **marks)
    workload = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": {}}}
    workload["spec"] = {"template": {"metadata": template}}
    workload["metadata"] = {"name": owner["metadata"]["name"], "uid": "w"}
    return {**made_by(workload), "name": name, "uid": f"pod-{name}"}


def fleet_of(one: Any, *pods: tuple[str, int, str]) -> Any:
    """Servers by pod name, with the version that they hold and their label."""
    fleets = Fleets(lambda: 0.0)
    fleets.put("Deployment", one.obj)
    for name, version, label in pods:
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        pod = {"kind": "Pod", "metadata": pod_metadata(one.obj, name, label), "spec": {}}
        fleets.put("Pod", {**pod, "status": status})
        server = model_server(name, version)
        server["metadata"] |= meta.child_metadata(
            one.obj, "Deployment", child=name, component="server"
        )
        fleets.put("ModelServer", server)
    return fleets.of(one.obj)


@pytest.mark.parametrize(
    ("state", "weight"),
    [
        pytest.param({"stage": "Step", "step": 1}, 20, id="a step has its weight"),
        pytest.param({"stage": "Step", "step": 2}, 50, id="by servers: their share"),
        pytest.param({"stage": "Step", "step": 3}, None, id="the last one is everything"),
    ],
)
def test_a_rollouts_step_decides(state: dict[str, Any], weight: int | None) -> None:
    one = behind()
    state = {**state, "revision": 1, "trigger": "a test", "steps": 3}
    times = dict.fromkeys(("startedAt", "stageStartedAt", "lastProgressAt"), "2026-11-22T12:00:00Z")
    rollout = RolloutState.model_validate(state | times)
    one.spec.rollout.steps = [Step(weight=20), Step(nodes=2)]
    old, new = key(1), key(2)
    one.fleet = fleet_of(one, ("a", 1, mark(old)), ("b", 2, mark(new)), ("c", 2, ""))
    one.children = existing()
    made = gateway.parts(one, stable=old, candidate=new, state=rollout, kind_available=served)
    (rule,) = made.children[2]["spec"]["rules"]
    selector = made.children[0]["spec"]["selector"]
    if weight is None:
        assert labels.SERVES not in selector
    else:
        assert selector[labels.SERVES] == mark(old)
        assert weights(rule)["cameras-candidate"] == weight
    assert [m["metadata"]["name"] for m in made.labels] == ["c"]
    assert made.leftovers == ()
    assert made.problem == ""


def test_a_written_label_is_looked_at_since_weights_follow_from_it() -> None:
    one = behind()
    fleets = Fleets(lambda: 0.0)
    fleets.put("Deployment", one.obj)

    def pod(label: str) -> Any:
        metadata = pod_metadata(one.obj, "a", label)
        return {"kind": "Pod", "metadata": metadata, "spec": {}, "status": {"phase": "Running"}}

    fleets.put("Pod", pod(""))
    assert list(fleets.put("Pod", pod("1-abc")))
    assert not list(fleets.put("Pod", pod("1-abc")))


def test_parents_are_needed() -> None:
    with pytest.raises(ValidationError):
        cluster(gateway={"parentRefs": []})
