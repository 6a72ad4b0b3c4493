"""Servers that took the candidate and then stop answering, while the rollout halts by itself."""

from __future__ import annotations

import pytest

from ..cluster import name_of
from ..sim import BAD, Sim, error_rate
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


def test_bad_figures_count_also_while_one_server_of_the_step_is_missing() -> None:
    steps = [{"weight": 50, "pause": {"duration": "1h"}, "analysis": error_rate()}]
    nodes = [f"a-{number}" for number in range(1, 9)]
    sim = Sim(*nodes, rollout={"maxUnavailable": "100%", "steps": steps})
    sim.add(version(2))
    sim.live(120, every=30)
    sim.expect(candidate=2, on={2: 4}, because="half of the servers have it, and it is good so far")
    sim.figures[2] = BAD
    (missing, *_) = sorted(sim.on(2))
    for _ in range(6):
        sim.wait(30)
        sim.workloads()
        sim.agents(*(n["metadata"]["name"] for n in sim.of("ModelServer")
                     if n["spec"]["nodeName"] != missing))  # fmt: skip
        pod = next(p for p in sim.of("Pod") if p["spec"].get("nodeName") == missing)
        pod["status"]["conditions"][0]["status"] = "False"
        sim.operate()
    why = "three servers answer with errors only: that a fourth is missing excuses nothing"
    sim.expect(stable=1, candidate=None, rejected=2, outcome="RolledBack", because=why)
