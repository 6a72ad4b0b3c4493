"""Servers whose clocks are wrong are judged by when their reports arrive (R5)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ..cluster import name_of
from ..sim import BAD, Sim, error_rate
from ..world import version

NODES = ("a-1", "a-2", "a-3", "a-4")
SLOW, FAST = timedelta(minutes=-10), timedelta(hours=1)
REPORT = 100
"""Seconds between reports of agents."""


def with_clocks(*clocks: timedelta, **rollout: object) -> Sim:
    """Four nodes with these clocks, in order, that have reported for a while."""
    sim = Sim(*NODES, rollout=rollout)
    sim.clocks = dict(zip(NODES, clocks, strict=True))
    sim.live(1000, every=REPORT)
    sim.expect(phase="Healthy", stable=1, on={1: 4}, because="all servers report")
    return sim


def switching(sim: Sim) -> set[str]:
    """Servers that are assigned another version than they have loaded."""
    return {
        name_of(server)
        for server in sim.of("ModelServer")
        if server["spec"]["assigned"]["digest"] != server["status"]["loaded"]["digest"]
    }


def roll_out(sim: Sim, seconds: int = 3600) -> None:
    """Version 2 comes; at every moment at most one server switches."""
    sim.add(version(2))
    for _ in range(seconds // REPORT):
        sim.operate()
        if len(switching(sim)) > 1:
            raise sim.failure(f"{switching(sim)} switch at once, maxUnavailable is 1")
        sim.agents()
        sim.operate()
        sim.wait(REPORT)


SLOW_ONES = pytest.param((SLOW,) * 4, id="10 minutes slow")
FAST_ONES = pytest.param((FAST,) * 4, id="1 hour fast")
MIXED = (SLOW, FAST, timedelta(), SLOW)


@pytest.mark.parametrize(
    "clocks",
    [SLOW_ONES, FAST_ONES, pytest.param(MIXED, id="mixed")],
)
def test_a_good_version_comes_to_one_server_after_the_other(clocks: tuple[timedelta, ...]) -> None:
    sim = with_clocks(*clocks, maxUnavailable=1, analysis=error_rate())
    if sim.status["offlineReplicas"]:
        raise sim.failure("servers that report every 100 s pass for offline")
    roll_out(sim)
    sim.expect(phase="Healthy", stable=2, on={2: 4}, because="all servers report that they have it")


@pytest.mark.parametrize("clocks", [SLOW_ONES, FAST_ONES, pytest.param(MIXED, id="mixed")])
def test_a_bad_version_goes_back_by_its_analysis(clocks: tuple[timedelta, ...]) -> None:
    steps = [{"nodes": 1}]
    sim = with_clocks(*clocks, maxUnavailable=1, steps=steps, analysis=error_rate())
    sim.figures[2] = BAD
    roll_out(sim)
    sim.expect(stable=1, rejected=2, on={1: 4}, outcome="RolledBack", because="half of it fails")


@pytest.mark.parametrize("clock", [SLOW, FAST], ids=["10 minutes slow", "1 hour fast"])
def test_an_agent_that_falls_silent_is_offline_after_offline_after(clock: timedelta) -> None:
    sim = with_clocks(clock, clock, clock, clock)
    others = [name_of(s) for s in sim.of("ModelServer") if s["spec"]["nodeName"] != "a-1"]
    for _ in range(5):
        sim.agents(*others)
        sim.operate()
        sim.wait(REPORT)
    sim.operate()
    if sim.status["offlineReplicas"] != 1:
        raise sim.failure("a-1 has not reported for 500 s: offlineAfter is 5m")
