"""Budgets: how numbers and percentages are rounded, and that no budget makes a success of a
candidate that no server holds."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.core.deployment.selection import at_least, at_most

from .sim import Sim
from .world import version

TEN = tuple(f"a-{number}" for number in range(10))


@pytest.mark.parametrize(
    ("wanted", "servers", "found"),
    [
        (1, 10, 1),
        (20, 10, 20),
        ("1%", 1, 0),
        ("1%", 99, 0),
        ("1%", 100, 1),
        ("10%", 19, 1),
        ("99%", 1, 0),
        ("100%", 7, 7),
        ("50%", 0, 0),
    ],
)
def test_a_budget_is_rounded_down(wanted: int | str, servers: int, found: int) -> None:
    assert at_most(wanted, servers, least=0) == found
    assert at_most(wanted, servers) == max(1, found)


@pytest.mark.parametrize(
    ("wanted", "servers", "found"),
    [(1, 10, 1), ("1%", 1, 1), ("1%", 100, 1), ("1%", 101, 2), ("50%", 3, 2), ("100%", 7, 7)],
)
def test_a_goal_is_rounded_up(wanted: int | str, servers: int, found: int) -> None:
    assert at_least(wanted, servers) == found


def _all_fail(sim: Sim) -> dict[str, Any]:
    sim.unloadable.add(2)
    sim.add(version(2))
    return sim.run()


def _rolled_back(sim: Sim) -> None:
    status = sim.status
    assert status["phase"] == "Degraded", status["message"]
    assert (status["stable"]["version"], status["rejected"]["version"]) == (1, 2)
    assert status["history"][0]["outcome"] == "RolledBack"
    assert set(sim.assigned().values()) == {1}


@pytest.mark.parametrize("edge", [True, False])
@pytest.mark.parametrize("budget", [0, 1, 5, "1%", "100%"])
@pytest.mark.parametrize("servers", [1, 3])
def test_a_version_that_no_server_can_load_is_rolled_back(
    budget: int | str, servers: int, edge: bool
) -> None:
    nodes = TEN[:servers] if edge else ()
    rollout = {"failureBudget": budget, "maxUnavailable": "100%"}
    sim = Sim(*nodes, edge=edge, replicas=servers, rollout=rollout)
    _all_fail(sim)
    _rolled_back(sim)


@pytest.mark.parametrize(
    "rollout",
    [
        {"steps": [{"nodes": 1}]},
        {"steps": [{"weight": 10}, {"weight": 50}]},
        {"steps": [{"pool": "a"}]},
        {"prestage": True},
    ],
    ids=str,
)
def test_no_stage_passes_without_a_server(rollout: dict[str, Any]) -> None:
    sim = Sim("a-1", "b-1", "b-2", rollout={"failureBudget": 3} | rollout)
    _all_fail(sim)
    _rolled_back(sim)


def test_the_message_says_why_a_large_budget_did_not_help() -> None:
    sim = Sim("a-1", rollout={"failureBudget": 1})
    message = _all_fail(sim)["message"]
    assert "1 of 1 servers failed to take it, and no server has done so" in message
    assert "failureBudget is 1" in message


def _fails_on(sim: Sim, *nodes: str) -> None:
    """Version 2 cannot be loaded on some nodes."""
    report = sim._report

    def reports(server: dict[str, Any], pod: dict[str, Any]) -> None:
        bad = sim._where(server) in nodes
        (sim.unloadable.add if bad else sim.unloadable.discard)(2)
        report(server, pod)
        sim.unloadable.discard(2)

    sim._report = reports  # type: ignore[method-assign]


def test_another_server_takes_the_place_of_one_that_fails_within_the_budget() -> None:
    rollout = {"steps": [{"nodes": 1, "pause": {}}], "failureBudget": 1}
    sim = Sim(*TEN, rollout=rollout)
    trial = Sim(*TEN, rollout=rollout)
    trial.add(version(2))
    trial.run()
    (first,) = trial.on(2)
    _fails_on(sim, first)
    sim.add(version(2))
    status = sim.run()
    assert status["phase"] == "Paused"
    assert status["updatedReplicas"] == 1, "the step has one server that holds the version"
    assert len(sim.on(2)) == 2
    sim.ask(promote="1")
    status = sim.run()
    assert status["stable"]["version"] == 2
    assert status["history"][0]["outcome"] == "Succeeded"


def test_a_percentage_below_one_server_tolerates_no_failure() -> None:
    rollout = {"failureBudget": "9%"}
    sim = Sim(*TEN, rollout=rollout)
    _fails_on(sim, "a-3")
    sim.add(version(2))
    sim.run()
    _rolled_back(sim)


def test_a_pool_of_one_server_may_fail_once_others_hold_the_version() -> None:
    rollout = {"steps": [{"pool": "a"}, {"pool": "b"}], "failureBudget": 1}
    sim = Sim("a-1", "a-2", "b-1", rollout=rollout)
    _fails_on(sim, "b-1")
    sim.add(version(2))
    assert sim.run()["stable"]["version"] == 2
