"""With no server that holds it, a candidate proves nothing: the rollout stays open (R1, R2)."""

from __future__ import annotations

from typing import Any

import pytest

from ..sim import Sim
from ..world import version

HALF = {"maxUnavailable": "100%", "steps": [{"weight": 50, "pause": {}}]}
NODES = ("a-1", "a-2", "a-3", "a-4")
ASLEEP = {"replicas": 4, "autoscaling": {"maxReplicas": 4}, "scaleToZero": {"after": "10m"}}
OPEN = "without a server nothing is proven: the rollout stays open, stable stays stable"
BACK = "the servers that come back start with stable, and the step waits for its promote again"


def paused(*nodes: str, **spec: Any) -> Sim:
    """Version 2 is on half of four servers and waits for a promote."""
    sim = Sim(*nodes, edge=bool(nodes), **({"rollout": HALF} | spec))
    sim.add(version(2))
    sim.run()
    sim.expect(phase="Paused", stable=1, candidate=2, on={2: 2}, because="the step waits")
    return sim


def goes_on(sim: Sim) -> None:
    """The servers are back: the step waits as before, and a promote ends the rollout."""
    sim.run()
    sim.expect(phase="Paused", stable=1, candidate=2, on={2: 2}, because=BACK)
    sim.ask(promote="step@1")
    sim.run()
    sim.expect(phase="Healthy", stable=2, outcome="Succeeded", because="it was promoted")


def test_scaling_to_zero_does_not_end_a_paused_rollout() -> None:
    sim = paused()
    sim.scale(0)
    sim.run()
    sim.expect(stable=1, candidate=2, because=OPEN)
    sim.scale(4)
    goes_on(sim)


def test_a_version_that_comes_while_scaled_to_zero_is_proven_later() -> None:
    sim = Sim(edge=False, rollout=HALF)
    sim.scale(0)
    sim.add(version(2))
    sim.run()
    sim.expect(stable=1, because=OPEN)
    sim.scale(4)
    goes_on(sim)


def test_node_labels_that_vanish_for_a_moment_do_not_end_a_paused_rollout() -> None:
    sim = paused(*NODES)
    for name in NODES:
        sim.objects["Node", name]["metadata"]["labels"]["edge"] = "no"
    sim.run()
    sim.expect(stable=1, candidate=2, because=OPEN)
    for name in NODES:
        sim.objects["Node", name]["metadata"]["labels"]["edge"] = "true"
    goes_on(sim)


def test_a_selector_with_a_typo_does_not_end_a_paused_rollout() -> None:
    sim = paused(*NODES)
    sim.select_nodes(edge="ture")
    sim.run()
    sim.expect(stable=1, candidate=2, because=OPEN)
    sim.select_nodes(edge="true")
    goes_on(sim)


@pytest.mark.parametrize("how", ["spec", "action"])
def test_a_paused_rollout_stays_open_while_its_servers_sleep(how: str) -> None:
    sim = Sim(edge=False, target={"cluster": ASLEEP}, rollout={"paused": how == "spec"})
    sim.add(version(2))
    if how == "action":
        sim.operate()
        sim.ask(pause="1")
    sim.operate()
    moved = len(sim.on(2))
    sim.scale(0)
    sim.run()
    sim.expect(stable=1, candidate=2, because=OPEN)
    sim.scale(4)
    sim.run()
    sim.expect(phase="Paused", stable=1, candidate=2, because="nobody has resumed it")
    assert len(sim.on(2)) <= moved
    if how == "spec":
        sim.change_rollout(paused=False)
    else:
        sim.ask(resume="1")
    sim.run()
    sim.expect(phase="Healthy", stable=2, because="it was resumed, and all servers have it")


@pytest.mark.parametrize("budget", ["1%", 1, "50%", "100%"])
def test_a_version_that_the_only_server_cannot_load_is_rolled_back(budget: int | str) -> None:
    sim = Sim(edge=False, replicas=1, rollout={"failureBudget": budget})
    sim.unloadable.add(2)
    sim.add(version(2))
    sim.run()
    why = "a budget is rounded down, and nothing succeeds that no server holds"
    sim.expect(stable=1, candidate=None, rejected=2, outcome="RolledBack", because=why)


@pytest.mark.parametrize("budget", ["10%", "49%"])
def test_a_share_of_servers_that_may_fail_is_rounded_down(budget: str) -> None:
    sim = Sim("a-1", "a-2", rollout={"failureBudget": budget})
    sim.unfit = {("a-1", 2)}
    sim.add(version(2))
    sim.run()
    sim.expect(stable=1, rejected=2, on={2: 0}, because="less than one of two servers is none")


def test_a_version_that_no_edge_server_can_load_is_rolled_back_within_any_budget() -> None:
    sim = Sim("a-1", "a-2", rollout={"failureBudget": 2})
    sim.unloadable.add(2)
    sim.add(version(2))
    sim.run()
    sim.expect(stable=1, rejected=2, outcome="RolledBack", because="no server holds it")


def test_a_version_that_nobody_could_be_asked_to_shadow_is_not_rejected() -> None:
    sim = Sim(edge=False, replicas=2, rollout={"shadow": {"duration": "5m"}})
    sim.scale(0)
    sim.run()
    sim.unloadable.add(1)
    sim.scale(2)
    sim.add(version(2))
    sim.live(3000)
    why = "no server answers with stable, so none can run the candidate beside it"
    sim.expect(phase="Paused", candidate=2, rejected=None, says="promote", because=why)
    sim.ask(promote="step@1")
    sim.run()
    sim.expect(phase="Healthy", stable=2, outcome="Succeeded", because="it was promoted")
