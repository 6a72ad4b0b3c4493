"""A Deployment on edge nodes, which come, go, and cannot be reached."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.contract.naming import edge_server_name
from modelyard.core.conditions import is_true
from modelyard.core.fleet.projections import node_of

from .sim import BAD, EDGE, NAME, TOO_MUCH, Sim, error_rate
from .world import World, deployment, version

THREE = ("a-1", "a-2", "a-3")


def test_nothing_is_healthy_before_its_nodes_are_counted() -> None:
    world = World(version(1), deployment(target=EDGE))
    world.settle("Deployment", NAME)
    found = world.objects["Deployment", NAME]["status"]
    assert found["phase"] == "Progressing"
    assert "waiting for the nodes to be counted" in found["message"]
    (workload,) = world.of("apps/DaemonSet")
    workload["status"] = {"observedGeneration": 1, "desiredNumberScheduled": 0}
    world.settle("Deployment", NAME)
    assert world.objects["Deployment", NAME]["status"]["phase"] == "Healthy"


def test_one_server_on_each_node_by_a_daemon_set_that_replaces_nothing_itself() -> None:
    sim = Sim(*THREE)
    (workload,) = sim.of("apps/DaemonSet")
    assert workload["spec"]["updateStrategy"] == {"type": "OnDelete"}
    assert workload["spec"]["template"]["spec"]["nodeSelector"] == {"edge": "true"}
    assert sim.of("apps/Deployment") == []
    names = {s["metadata"]["name"] for s in sim.of("ModelServer")}
    assert names == {edge_server_name(NAME, node) for node in THREE}


def _ports(sim: Sim) -> dict[str, int | None]:
    """Ports of the node by the name of Triton's port."""
    (workload,) = sim.of("apps/DaemonSet")
    triton, agent = workload["spec"]["template"]["spec"]["containers"]
    assert "hostPort" not in agent["ports"][0]
    return {port["name"]: port.get("hostPort") for port in triton["ports"]}


def test_clients_beside_a_node_reach_its_server_where_ports_are_given() -> None:
    sim = Sim(*THREE)
    assert set(_ports(sim).values()) == {None}
    edge = sim.spec["target"]["edge"]
    sim.spec["target"] = {"edge": {**edge, "hostPorts": {"http": 8000, "grpc": 18001}}}
    assert sim.run()["phase"] == "Healthy"
    assert _ports(sim) == {"http": 8000, "grpc": 18001, "metrics": None}
    sim.spec["target"] = {"edge": {**edge, "hostPorts": {"grpc": 8001}}}
    assert sim.run()["phase"] == "Healthy"
    assert _ports(sim) == {"http": None, "grpc": 8001, "metrics": None}


def test_new_ports_of_nodes_replace_pods_one_by_one() -> None:
    sim = Sim(*THREE)
    old = {pod["metadata"]["name"] for pod in sim.of("Pod")}
    edge = sim.spec["target"]["edge"]
    sim.spec["target"] = {"edge": {**edge, "hostPorts": {"http": 8000}}}
    sim.operate()
    sim.count()
    sim.operate()
    assert len({pod["metadata"]["name"] for pod in sim.of("Pod")} & old) == 2


def test_a_server_outlives_its_pod() -> None:
    sim = Sim(*THREE)
    before = sim.server("a-1")["metadata"]["uid"]
    pod = sim.server("a-1")["spec"]["podName"]
    del sim.objects["Pod", pod]
    assert sim.run()["phase"] == "Healthy"
    assert sim.server("a-1")["metadata"]["uid"] == before
    assert sim.server("a-1")["spec"]["podName"] != pod
    assert ("Pod", sim.server("a-1")["spec"]["podName"]) in sim.objects


def test_new_settings_of_servers_replace_pods_step_by_step() -> None:
    sim = Sim(*THREE)
    old = {pod["metadata"]["name"] for pod in sim.of("Pod")}
    sim.spec["server"] = {"resources": {"cpu": "2"}}
    sim.operate()
    # The DaemonSet's controller would make it anew from the former template.
    assert {pod["metadata"]["name"] for pod in sim.of("Pod")} == old
    sim.count()
    for gone in (1, 2, 3):
        sim.operate()
        kept = {pod["metadata"]["name"] for pod in sim.of("Pod")} & old
        assert len(kept) == 3 - gone
        sim.workloads()
        sim.operate()
        assert {pod["metadata"]["name"] for pod in sim.of("Pod")} & old == kept, "one at a time"
        sim.agents()
    assert sim.run()["phase"] == "Healthy"


def _made_of(sim: Sim) -> dict[str, set[str]]:
    """Nodes by the template that their pods were made from."""
    found: dict[str, set[str]] = {}
    for pod in sim.of("Pod"):
        template = pod["metadata"]["labels"]["modelyard.dev/template"]
        found.setdefault(template, set()).add(node_of(pod["spec"]))
    return found


@pytest.mark.parametrize("broken", [False, True])
def test_new_settings_of_servers_that_are_taken_back_leave_no_pod_behind(broken: bool) -> None:
    sim = Sim(*THREE, "a-4")
    (before,) = _made_of(sim)
    sim.spec["server"] = {"resources": {"cpu": TOO_MUCH}}
    sim.round()
    sim.operate()
    sim.workloads()
    if broken:
        ready = {pod["metadata"]["name"] for pod in sim.of("Pod") if is_true(pod, "Ready")}
        servers = sim.of("ModelServer")
        well = [s["metadata"]["name"] for s in servers if s["spec"]["podName"] in ready]
        assert len(well) == 3
        for _ in range(15):
            sim.operate()
            sim.workloads()
            sim.wait(100)
            sim.agents(*well)
        status = sim.operate()
        assert status["phase"] == "Degraded"
        assert "1 still have to" in status["message"]
        assert "fits no node: Insufficient cpu" in status["message"]
        assert status["readyReplicas"] == 3, "a pod that does not come up is no offline node"
    assert len(_made_of(sim)) == 2
    del sim.spec["server"]
    others = len(_made_of(sim)[before])
    sim.operate()
    assert len(_made_of(sim).get(before, set())) == others, "those that answer stay"
    assert sim.run()["phase"] == "Healthy"
    assert set(_made_of(sim)) == {before}


def test_new_versions_spread_no_pods_that_never_start() -> None:
    sim = Sim(*THREE, "a-4")
    sim.spec["server"] = {"resources": {"cpu": TOO_MUCH}}
    for number in range(2, 6):
        sim.add(version(number))
        for _ in range(16):  # The version is rolled back; then its pods alone do not start either.
            sim.operate()
            sim.workloads()
            sim.wait(100)
            sim.agents()
        status = sim.operate()
        assert (status["phase"], status["readyReplicas"]) == ("Degraded", 3), number
        assert "new server pods" in status["message"]


def test_a_node_that_was_offline_gets_a_pod_of_the_new_settings() -> None:
    sim = Sim(*THREE)
    sim.dark("a-2")
    sim.spec["server"] = {"resources": {"cpu": "2"}}
    assert sim.run()["phase"] == "Healthy"
    assert len(_made_of(sim)) == 2
    sim.dark("a-2", dark=False)
    assert sim.run()["phase"] == "Healthy"
    assert len(_made_of(sim)) == 1


def test_a_node_that_leaves_takes_its_server_along_and_one_that_joins_gets_one() -> None:
    sim = Sim(*THREE)
    del sim.objects["Node", "a-1"]
    sim.node("b-1")
    assert sim.run()["phase"] == "Healthy"
    assert sim.assigned() == {"a-2": 1, "a-3": 1, "b-1": 1}
    sim.objects["Node", "a-2"]["metadata"]["labels"]["edge"] = "false"
    assert sim.run()["replicas"] == 2
    assert set(sim.assigned()) == {"a-3", "b-1"}


def test_a_node_that_changes_its_pool_is_followed() -> None:
    sim = Sim(*THREE)
    sim.objects["Node", "a-1"]["metadata"]["labels"]["pool"] = "z"
    sim.run()
    assert sim.server("a-1")["spec"]["pool"] == "z"
    assert [(p["name"], p["servers"]) for p in sim.status["pools"]] == [("a", 2), ("z", 1)]


def test_a_new_pod_has_its_time_before_its_silence_counts() -> None:
    sim = Sim(*THREE)
    del sim.objects["Pod", sim.server("a-1")["spec"]["podName"]]
    sim.wait(290)
    sim.agents()
    sim.operate()
    sim.workloads()
    sim.wait(290)
    sim.agents(*(sim.server(node)["metadata"]["name"] for node in ("a-2", "a-3")))
    status = sim.operate()
    assert (status["phase"], status["offlineReplicas"]) == ("Progressing", 0)
    sim.wait(20)
    assert sim.operate()["offlineReplicas"] == 1


@pytest.mark.parametrize("good", [True, False])
def test_offline_nodes_block_nobody_and_catch_up(good: bool) -> None:
    sim = Sim(*THREE, rollout={"steps": [{"weight": 50}], "analysis": error_rate()})
    sim.figures[2] = None if good else BAD
    if good:
        del sim.figures[2]
    sim.dark("a-2")
    sim.add(version(2))
    status = sim.run()
    assert status["phase"] == ("Healthy" if good else "Degraded")
    assert status["offlineReplicas"] == 1
    goal = 2 if good else 1
    sim.dark("a-2", dark=False)
    status = sim.run()
    assert sim.assigned() == dict.fromkeys(THREE, goal)
    assert sim.server("a-2")["status"]["loaded"]["version"] == goal
    assert status["offlineReplicas"] == 0


def test_a_node_that_goes_dark_with_a_version_that_fails_later_returns_to_stable() -> None:
    rollout: dict[str, Any] = {"steps": [{"weight": 50, "pause": {}}], "maxUnavailable": 2}
    sim = Sim(*THREE, rollout=rollout)
    sim.add(version(2))
    sim.run()
    gone = min(sim.on(2))
    sim.dark(gone)
    sim.ask(abort="1")
    sim.run()
    sim.dark(gone, dark=False)
    sim.run()
    assert sim.server(gone)["status"]["loaded"]["version"] == 1


def test_a_server_that_says_nothing_is_offline_after_a_while() -> None:
    sim = Sim(*THREE)
    sim.wait(200)
    sim.agents(sim.server("a-1")["metadata"]["name"], sim.server("a-2")["metadata"]["name"])
    assert sim.operate()["offlineReplicas"] == 0
    assert sim.look().requeue_after == 100
    sim.wait(100)
    assert sim.operate()["offlineReplicas"] == 1
    sim.agents()
    assert sim.operate()["offlineReplicas"] == 0


def test_a_rollout_waits_while_nobody_can_be_reached() -> None:
    sim = Sim(*THREE)
    for name in THREE:
        sim.dark(name)
    sim.add(version(2))
    status = sim.run()
    assert (status["phase"], status["stable"]["version"]) == ("Progressing", 1)
    assert "none of 3 servers can be reached" in status["message"]
    sim.wait(7200)
    for name in THREE:
        sim.dark(name, dark=False)
    assert sim.run()["stable"]["version"] == 2
    assert sim.status["phase"] == "Healthy"
