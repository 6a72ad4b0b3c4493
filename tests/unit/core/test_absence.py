"""Absence of evidence is never success: a rollout waits, says for what, and stable stays stable."""

from __future__ import annotations

from typing import Any

import pytest

from .sim import BAD, GOOD, Sim, error_rate
from .world import condition, version

FOUR = ("lab-1", "lab-2", "site-1", "site-2")
UNTIL_PROMOTED: dict[str, Any] = {"pause": {}}


def reason(sim: Sim) -> str:
    return str(condition(sim.mdep, "Ready")["reason"])


def unproven(sim: Sim) -> None:
    """Version 2 is neither taken for good nor forgotten."""
    status = sim.status
    assert (status["stable"]["version"], status["candidate"]["version"]) == (1, 2)
    assert "history" not in status


# No server at all.


def scaled(replicas: int, **rollout: Any) -> Sim:
    sim = Sim(edge=False, replicas=replicas, rollout=rollout)
    sim.add(version(2))
    sim.run()
    return sim


@pytest.mark.parametrize(
    "rollout",
    [
        pytest.param({"steps": [{"weight": 50, **UNTIL_PROMOTED}]}, id="paused at a step"),
        pytest.param({"paused": True}, id="paused by the spec"),
        pytest.param({"analysis": error_rate(minSamples=10**6)}, id="analysis"),
    ],
)
def test_scaling_to_zero_decides_nothing(rollout: dict[str, Any]) -> None:
    sim = scaled(2, **rollout)
    unproven(sim)
    sim.change("", target={"cluster": {"replicas": 0}})
    status = sim.run()
    unproven(sim)
    assert status["phase"] == "Suspended"
    assert "scaled to zero: the rollout of shelf-2 goes on when a server is" in status["message"]
    sim.change("", target={"cluster": {"replicas": 2}})
    sim.run()
    unproven(sim)
    assert sim.status["phase"] == "Paused"


def test_a_version_that_comes_while_there_is_no_server_rolls_out_once_there_is_one() -> None:
    sim = scaled(1)
    assert sim.status["stable"]["version"] == 2
    sim.change("", target={"cluster": {"replicas": 0}})
    sim.run()
    sim.add(version(3))
    sim.unloadable.add(3)
    sim.run()
    assert sim.status["stable"]["version"] == 2
    sim.change("", target={"cluster": {"replicas": 1}})
    sim.run()
    assert (sim.status["stable"]["version"], sim.status["rejected"]["version"]) == (2, 3)


def test_new_servers_start_with_what_somebody_went_back_to() -> None:
    sim = scaled(2)
    assert sim.status["stable"]["version"] == 2
    sim.change("", target={"cluster": {"replicas": 0}})
    sim.run()
    sim.ask(rollback="1@now")
    sim.run()
    sim.change("", target={"cluster": {"replicas": 2}})
    sim.operate()
    sim.workloads()
    sim.operate()
    assert set(sim.assigned().values()) == {1}
    assert (sim.run()["phase"], sim.status["stable"]["version"]) == ("Healthy", 1)


def test_the_first_version_needs_no_server() -> None:
    sim = Sim(edge=False, replicas=0)
    assert (sim.status["phase"], sim.status["stable"]["version"]) == ("Suspended", 1)


def test_edge_labels_that_vanish_for_a_moment_decide_nothing() -> None:
    sim = Sim(*FOUR, rollout={"steps": [{"weight": 50, **UNTIL_PROMOTED}]})
    sim.add(version(2))
    sim.run()
    for name in FOUR:
        sim.objects["Node", name]["metadata"]["labels"]["edge"] = "false"
    status = sim.run()
    unproven(sim)
    assert reason(sim) == "NoServerReachable"
    assert "the rollout of shelf-2 goes on when one" in status["message"]
    for name in FOUR:
        sim.objects["Node", name]["metadata"]["labels"]["edge"] = "true"
    sim.run()
    unproven(sim)
    assert sim.status["rollout"]["paused"]["reason"] == "Step"


def test_a_failure_budget_is_no_success_where_nobody_has_it() -> None:
    sim = Sim(edge=False, replicas=1, rollout={"failureBudget": 1})
    sim.add(version(2))
    sim.unloadable.add(2)
    status = sim.run()
    assert (status["phase"], status["stable"]["version"]) == ("Degraded", 1)
    assert status["rejected"]["reason"] == "FailureBudgetExceeded"


# A pool that is unknown or dark.


@pytest.mark.parametrize(
    "pause",
    [
        pytest.param({}, id="without a pause"),
        pytest.param({"pause": {"duration": "1m"}}, id="with a pause that ends by itself"),
        pytest.param(UNTIL_PROMOTED, id="until promoted"),
    ],
)
@pytest.mark.parametrize(
    ("pool", "dark", "wanted", "text"),
    [
        pytest.param("labb", False, "PoolUnknown", "there are lab, site (label pool)", id="typo"),
        pytest.param("lab", True, "PoolUnreachable", "all its 2 servers cannot", id="dark"),
    ],
)
def test_an_unknown_or_dark_pool_is_not_passed(
    pause: dict[str, Any], pool: str, dark: bool, wanted: str, text: str
) -> None:
    sim = Sim(*FOUR, rollout={"steps": [{"pool": pool, **pause}]})
    for name in FOUR[:2]:
        sim.dark(name, dark=dark)
    sim.add(version(2))
    sim.run()
    sim.wait(3600)
    status = sim.run()
    unproven(sim)
    assert (status["phase"], reason(sim)) == ("Paused", wanted)
    assert f"step 1, pool {pool}" in status["message"]
    assert text in status["message"]
    assert "modelyard rollout promote cameras goes on without it" in status["message"]
    assert sim.on(2) == set()


def test_a_dark_pool_gets_its_step_when_it_is_back() -> None:
    sim = Sim(*FOUR, rollout={"steps": [{"pool": "lab", **UNTIL_PROMOTED}]})
    for name in FOUR[:2]:
        sim.dark(name)
    sim.add(version(2))
    sim.run()
    for name in FOUR[:2]:
        sim.dark(name, dark=False)
    sim.run()
    assert sim.on(2) == set(FOUR[:2])
    assert sim.status["rollout"]["paused"]["reason"] == "Step"


def test_a_pool_that_goes_dark_while_its_pause_runs_is_waited_for() -> None:
    sim = Sim(*FOUR, rollout={"steps": [{"pool": "lab", "pause": {"duration": "10m"}}]})
    sim.add(version(2))
    sim.run()
    for name in FOUR[:2]:
        sim.dark(name)
    sim.wait(3600)
    sim.run()
    unproven(sim)
    assert reason(sim) == "PoolUnreachable"
    assert sim.on(2) <= set(FOUR[:2])


def test_somebody_who_promotes_goes_on_without_the_pool() -> None:
    sim = Sim(*FOUR, rollout={"steps": [{"pool": "labb"}]})
    sim.add(version(2))
    sim.run()
    sim.ask(promote="step@1")
    assert sim.run()["stable"]["version"] == 2


def test_a_step_of_a_pool_where_none_are_declared_is_unknown() -> None:
    target = {"edge": {"nodeSelector": {"edge": "true"}}}
    sim = Sim(*FOUR, target=target, rollout={"steps": [{"pool": "lab"}]})
    sim.add(version(2))
    assert "spec.target.edge.pools is not set" in sim.run()["message"]
    unproven(sim)


# Steps that are edited during a rollout.

TEN = {"weight": 25}
HALF = {"weight": 50, **UNTIL_PROMOTED}
FIRST = {"weight": 25, **UNTIL_PROMOTED}


def paused_at(steps: list[dict[str, Any]], promotes: int = 0, **rollout: Any) -> Sim:
    sim = Sim(*FOUR, rollout={"steps": steps, "maxUnavailable": "100%", **rollout})
    sim.add(version(2))
    sim.run()
    for number in range(promotes):
        sim.ask(promote=f"step@{number}")
        sim.run()
    assert sim.status["rollout"]["paused"]["reason"] == "Step"
    return sim


def edit(sim: Sim, steps: list[dict[str, Any]], **rollout: Any) -> None:
    sim.change("", rollout={"maxUnavailable": "100%", "steps": steps, **rollout})
    sim.run()


@pytest.mark.parametrize(
    ("before", "promotes", "after", "servers", "step"),
    [
        pytest.param([TEN, HALF], 0, [HALF], 2, 1, id="a passed step is removed"),
        pytest.param([HALF], 0, [TEN, HALF], 2, 2, id="a step is put in front"),
        pytest.param([TEN, HALF], 0, [HALF, TEN], 2, 1, id="steps change places"),
        pytest.param([HALF], 0, [{"nodes": 3, **UNTIL_PROMOTED}], 3, 1, id="the present is edited"),
        pytest.param([FIRST, HALF], 1, [FIRST], 2, 1, id="the present one is removed"),
        pytest.param([FIRST, HALF, {"weight": 75}], 1, [FIRST, {"weight": 75}], 2, 1, id="or this"),
        pytest.param([HALF, HALF], 0, [HALF], 2, 1, id="one of two equal steps is removed"),
        pytest.param([TEN, HALF], 0, [FIRST, HALF], 2, 1, id="a passed step gets a pause"),
    ],
)
def test_a_step_that_nobody_promoted_goes_on_waiting(
    before: list[dict[str, Any]],
    promotes: int,
    after: list[dict[str, Any]],
    servers: int,
    step: int,
) -> None:
    sim = paused_at(before, promotes)
    edit(sim, after)
    unproven(sim)
    assert (len(sim.on(2)), sim.status["rollout"]["step"]) == (servers, step)
    assert sim.status["rollout"]["paused"]["reason"] == "Step"
    sim.ask(promote="last@1")
    sim.run()
    sim.ask(promote="last@2")
    assert sim.run()["stable"]["version"] == 2


def test_a_timed_pause_that_is_shortened_goes_on() -> None:
    sim = Sim(*FOUR, rollout={"steps": [{"weight": 50, "pause": {"duration": "1h"}}]})
    sim.add(version(2))
    sim.run()
    sim.wait(1900)
    sim.change("", rollout={"steps": [{"weight": 50, "pause": {"duration": "30m"}}]})
    assert sim.run()["stable"]["version"] == 2


def test_a_measurement_of_a_step_that_is_gone_does_not_count() -> None:
    sim = paused_at([HALF], analysis=error_rate())
    assert sim.status["rollout"]["analysis"]["phase"] == "Successful"
    sim.figures[2] = BAD
    edit(sim, [], analysis=error_rate())
    assert sim.status["rejected"]["reason"] == "AnalysisFailed"


def test_an_analysis_that_was_edited_is_measured_anew() -> None:
    sim = paused_at([HALF], analysis=error_rate())
    sim.figures[2] = {**GOOD, "failures": 5}
    edit(sim, [HALF], analysis=error_rate(max=0.001))
    assert sim.status["rejected"]["reason"] == "AnalysisFailed"


def test_other_names_of_metrics_alone_are_measured_anew_too() -> None:
    sim = paused_at([HALF], analysis=error_rate())
    began = sim.status["rollout"]["analysis"]["startedAt"]
    sim.wait(60)
    edit(sim, [HALF], analysis=error_rate(minSamples=60))
    assert sim.status["rollout"]["analysis"]["startedAt"] > began
    unproven(sim)


# A rate of nothing.


@pytest.mark.parametrize(
    ("good", "failures", "stable", "phase"),
    [
        pytest.param(100_000, 1, 1_000_000, "Healthy", id="one error in very many"),
        pytest.param(100_000, 1, 200, "Healthy", id="against few samples"),
        pytest.param(199, 1, 200, "Healthy", id="one error in few"),
        pytest.param(150, 50, 200, "Degraded", id="every fourth"),
        pytest.param(100_000, 100, 1_000_000, "Degraded", id="a hundred in very many"),
    ],
)
def test_a_multiple_of_no_error_allows_one_and_not_many(
    good: int, failures: int, stable: int, phase: str
) -> None:
    analysis = {"metrics": [{"name": "errors", "metric": "ErrorRate", "maxRatio": 2}]}
    sim = Sim(*FOUR, rollout={"steps": [{"nodes": 1}], "analysis": analysis})
    sim.figures = {
        1: {**GOOD, "requests": stable // 3},
        2: {**GOOD, "requests": good, "failures": failures},
    }
    sim.agents()
    sim.add(version(2))
    assert sim.run()["phase"] == phase
