"""Servers that took the candidate and then stop answering, while the rollout halts by itself."""

from __future__ import annotations

import pytest

from ..cluster import name_of
from ..sim import Sim
from ..world import version

NODES = ("a-1", "a-2", "a-3", "a-4")


@pytest.mark.parametrize("nodes", [NODES, ()], ids=["edge", "cluster"])
@pytest.mark.parametrize("pause", [{}, {"duration": "20m"}], ids=["until promoted", "timed"])
def test_servers_that_crash_in_the_pause_of_a_step_are_not_waited_for_for_ever(
    nodes: tuple[str, ...], pause: dict[str, str]
) -> None:
    halved = {"maxUnavailable": "100%", "steps": [{"weight": 50, "pause": pause}]}
    sim = Sim(*nodes, edge=bool(nodes), rollout=halved)
    sim.add(version(2))
    sim.round()
    sim.expect(phase="Paused", candidate=2, on={2: 2}, because="the step pauses")
    _crash(sim, seconds=1500)
    why = "no server answers with it, and nobody has paused the rollout"
    sim.expect(stable=1, candidate=None, rejected=2, on={2: 0}, because=why)


def test_servers_that_crash_while_somebody_pauses_the_rollout_wait_for_that_person() -> None:
    sim = Sim(*NODES, rollout={"maxUnavailable": "100%", "steps": [{"weight": 50, "pause": {}}]})
    sim.add(version(2))
    sim.round()
    sim.ask(pause="1")
    sim.round()
    _crash(sim, seconds=1500)
    sim.expect(phase="Paused", candidate=2, on={2: 2}, because="somebody looks into it")
    sim.ask(resume="1")
    _crash(sim, seconds=1500)
    sim.expect(stable=1, rejected=2, on={2: 0}, because="it was resumed, and nobody came back")


def _crash(sim: Sim, *, seconds: int) -> None:
    """Servers of version 2 answer no more, and their agents are silent."""
    for _ in range(0, seconds, 100):
        servers = sim.of("ModelServer")
        on_two = [one for one in servers if one["spec"]["assigned"]["version"] == 2]
        for server in on_two:
            pod = sim.objects["Pod", server["spec"]["podName"]]
            pod["status"]["conditions"][0]["status"] = "False"
        others = [name_of(one) for one in servers if one not in on_two]
        sim.operate()
        sim.agents(*others)
        sim.operate()
        sim.wait(100)
    sim.operate()
