"""Servers are heard of when their reports arrive, whatever their own clocks say."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from .feed import Feed
from .sim import Sim
from .world import version

NODES = ("a-1", "a-2", "a-3", "a-4", "b-1", "b-2")
OFF = [timedelta(hours=-1), timedelta(minutes=-10), timedelta(minutes=10), timedelta(hours=1)]


class Skewed(Sim):
    """Edge nodes with clocks of their own, and an operator that may start anew."""

    def __init__(self, *nodes: str, notes: bool = True, **spec: Any) -> None:
        """`notes`: whether the API server notes when a status was written."""
        self.notes = notes
        super().__init__(*nodes, **spec)

    def restart(self) -> None:
        """The operator starts anew and knows only what the API server has."""
        self._feed = Feed(self.clock)

    def _report(self, server: dict[str, Any], pod: dict[str, Any]) -> None:
        super()._report(server, pod)
        if not self.notes:
            del server["metadata"]["managedFields"]

    def names(self, *nodes: str) -> list[str]:
        """ModelServers of nodes."""
        return [str(self.server(node)["metadata"]["name"]) for node in nodes]

    def report(self, *nodes: str, seconds: float, every: float = 100) -> dict[str, Any]:
        """Time goes by, and the agents of some nodes report."""
        for _ in range(int(seconds / every)):
            self.wait(every)
            self.operate()
            self.workloads()
            self.operate()
            if nodes:
                self.agents(*self.names(*nodes))
            self.operate()
        return self.status


@pytest.mark.parametrize("off", OFF, ids=str)
@pytest.mark.parametrize("notes", [True, False])
def test_wrong_clocks_make_nobody_offline(off: timedelta, notes: bool) -> None:
    sim = Skewed(*NODES, notes=notes)
    sim.clocks = dict.fromkeys(NODES, off)
    for _ in range(10):
        sim.report(*NODES, seconds=100)
        assert sim.status["offlineReplicas"] == 0
        assert sim.status["phase"] == "Healthy"


@pytest.mark.parametrize("off", OFF, ids=str)
@pytest.mark.parametrize("notes", [True, False])
def test_silence_counts_whatever_the_clock_said(off: timedelta, notes: bool) -> None:
    sim = Skewed(*NODES, notes=notes)
    sim.clocks = {"a-1": off}
    others = NODES[1:]
    sim.report(*NODES, seconds=200)
    assert sim.report(*others, seconds=200)["offlineReplicas"] == 0
    assert sim.report(*others, seconds=100)["offlineReplicas"] == 1
    assert sim.report(*NODES, seconds=100)["offlineReplicas"] == 0


def test_servers_with_slow_clocks_wait_for_their_turn() -> None:
    rollout: dict[str, Any] = {"maxUnavailable": 1, "steps": [{"nodes": 1, "pause": {}}]}
    nodes = [f"a-{number}" for number in range(6)]
    sim = Skewed(*nodes, rollout=rollout)
    sim.clocks = dict.fromkeys(nodes[1:], timedelta(minutes=-10))
    sim.report(*nodes, seconds=600)
    sim.add(version(2))
    status = sim.report(*nodes, seconds=600)
    assert (status["phase"], len(sim.on(2))) == ("Paused", 1)
    sim.ask(promote="1")
    for expected in (2, 3, 4, 5, 6):
        sim.operate()
        assert len(sim.on(2)) == expected, "one at a time"
        sim.agents()
    assert sim.run()["phase"] == "Healthy"


def _with_clocks(off: timedelta, *, notes: bool = True, **rollout: Any) -> Skewed:
    sim = Skewed(*NODES, notes=notes, rollout=rollout)
    sim.clocks = dict.fromkeys(NODES, off)
    sim.report(*NODES, seconds=300)
    return sim


@pytest.mark.parametrize("off", [*OFF, timedelta()], ids=str)
def test_a_restart_of_the_operator_changes_nobody(off: timedelta) -> None:
    sim = _with_clocks(off)
    sim.report(*NODES[:3], seconds=400)
    before = sim.status["offlineReplicas"]
    assert before == 3
    for _ in range(3):
        sim.restart()
        sim.wait(20)
        assert sim.operate()["offlineReplicas"] == before
    assert sim.report(*NODES, seconds=100)["offlineReplicas"] == 0


@pytest.mark.parametrize("off", [*OFF, timedelta()], ids=str)
def test_a_restart_lets_no_step_pass_on_servers_that_are_long_silent(off: timedelta) -> None:
    steps = [{"nodes": 2, "pause": {"duration": "10m"}}]
    sim = _with_clocks(off, maxUnavailable=6, steps=steps)
    sim.add(version(2))
    sim.report(*NODES, seconds=300)
    assert len(sim.on(2)) == 2
    sim.report(seconds=2400)
    for _ in range(3):
        sim.restart()
        status = sim.operate()
        assert (status["stable"]["version"], status["offlineReplicas"]) == (1, 6)
        assert "none of 6 servers can be reached" in status["message"]
        assert len(sim.on(2)) == 2
        sim.wait(60)
    sim.report(*NODES, seconds=300)
    assert sim.run()["stable"]["version"] == 2


def test_without_notes_a_slow_clock_is_away_until_its_next_report() -> None:
    sim = _with_clocks(timedelta(minutes=-10), notes=False)
    sim.restart()
    assert sim.operate()["offlineReplicas"] == 6
    assert sim.report(*NODES, seconds=100)["offlineReplicas"] == 0
    assert set(sim.assigned().values()) == {1}


@pytest.mark.parametrize("off", [timedelta(minutes=10), timedelta(hours=1)], ids=str)
def test_without_notes_a_fast_clock_is_heard_at_the_start(off: timedelta) -> None:
    sim = _with_clocks(off, notes=False)
    sim.restart()
    assert sim.operate()["offlineReplicas"] == 0
    sim.wait(300)
    assert sim.operate()["offlineReplicas"] == 6


def test_a_node_that_is_not_ready_is_offline_whatever_arrives() -> None:
    sim = Skewed(*NODES)
    sim.dark("a-1")
    sim.restart()
    assert sim.operate()["offlineReplicas"] == 1


def test_what_the_operator_writes_is_no_report() -> None:
    sim = Skewed(*NODES)
    others = NODES[1:]
    sim.report(*others, seconds=200)
    sim.add(version(2))
    sim.operate()
    sim.report(*others, seconds=200)
    assert sim.status["offlineReplicas"] == 1


def test_another_limit_counts_from_then_on() -> None:
    sim = Skewed(*NODES)
    sim.report(*NODES[1:], seconds=200)
    edge = sim.spec["target"]["edge"]
    sim.spec["target"] = {"edge": {**edge, "offlineAfter": "150s"}}
    assert sim.operate()["offlineReplicas"] == 1
    sim.spec["target"] = {"edge": {**edge, "offlineAfter": "1h"}}
    assert sim.operate()["offlineReplicas"] == 0
