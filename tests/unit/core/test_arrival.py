"""Servers are heard of when their reports arrive, whatever their own clocks say."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from modelyard.core.conditions import timestamp
from modelyard.core.fleet.fleets import FLEETS, Fleets

from .sim import Sim
from .world import version

NODES = ("a-1", "a-2", "a-3", "a-4", "b-1", "b-2")
OFF = [timedelta(hours=-1), timedelta(minutes=-10), timedelta(minutes=10), timedelta(hours=1)]


class Skewed(Sim):
    """An operator that stays up, and edge nodes with clocks of their own."""

    def __init__(self, *nodes: str, notes: bool = True, **spec: Any) -> None:
        """`notes`: whether the API server notes when a status was written."""
        self.clocks: dict[str, timedelta] = {}
        self.notes = notes
        self.fleets: Fleets | None = None
        self.known: dict[tuple[str, str], dict[str, Any]] = {}
        super().__init__(*nodes, **spec)

    def aggregate(self, name: str) -> Any:
        """What the operator's cache has absorbed since the operator started."""
        if self.fleets is None:
            self.fleets, self.known = Fleets(self.clock), {}
        live = {key: one for key, one in self.objects.items() if key[0] in FLEETS.kinds}
        for key in self.known.keys() - live.keys():
            self.fleets.drop(key[0], self.known[key])
        for kind in FLEETS.kinds:
            for key, one in live.items():
                if key[0] == kind:
                    self.fleets.put(kind, one)
        self.known = live
        return self.fleets

    def restart(self) -> None:
        """The operator starts anew and knows only what the API server has."""
        self.fleets = None

    def _report(self, server: dict[str, Any], pod: dict[str, Any]) -> None:
        super()._report(server, pod)
        off = self.clocks.get(server["spec"]["nodeName"], timedelta())
        server["status"]["reportedAt"] = timestamp(self.now + off)
        if not self.notes:
            del server["metadata"]["managedFields"]
        self.aggregate("fleets")

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
        assert "no server can be reached" in status["message"]
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
