"""A step of a pool that is unknown or dark waits and says so (R6)."""

from __future__ import annotations

from typing import Any

import pytest

from ..sim import Sim
from ..world import version

NODES = ("lab-1", "lab-2", "field-1", "field-2", "field-3")
LAB = ("lab-1", "lab-2")
FAST: dict[str, Any] = {"maxUnavailable": "100%"}
TIMED: dict[str, Any] = {"pause": {"duration": "1m"}}


@pytest.mark.parametrize("more", [{}, TIMED], ids=["no pause", "a timed pause"])
def test_a_step_of_an_unknown_pool_waits_until_it_is_put_right(more: dict[str, Any]) -> None:
    sim = Sim(*NODES, rollout=FAST | {"steps": [{"pool": "labb", **more}]})
    sim.add(version(2))
    sim.live(900)
    why = "no node is in a pool of this name: nothing was tried"
    sim.expect(stable=1, candidate=2, on={2: 0}, says="labb", because=why)
    sim.change_rollout(steps=[{"pool": "lab", **more}])
    sim.run()
    sim.expect(phase="Healthy", stable=2, because="the pool is there")


@pytest.mark.parametrize("more", [{}, TIMED], ids=["no pause", "a timed pause"])
def test_a_step_of_a_dark_pool_waits_until_it_is_back(more: dict[str, Any]) -> None:
    sim = Sim(*NODES, rollout=FAST | {"steps": [{"pool": "lab", **more}]})
    sim.dark(*LAB)
    sim.add(version(2))
    sim.live(900)
    why = "no server of the pool can be reached: nothing was tried"
    sim.expect(stable=1, candidate=2, on={2: 0}, says="lab", because=why)
    sim.dark(*LAB, dark=False)
    sim.run()
    sim.expect(phase="Healthy", stable=2, because="the pool is back")


def test_a_pool_that_goes_dark_in_its_pause_has_been_tried() -> None:
    sim = Sim(*NODES, rollout=FAST | {"steps": [{"pool": "lab", "pause": {}}]})
    sim.add(version(2))
    sim.run()
    sim.expect(phase="Paused", on={2: 2}, because="the step has a pause")
    sim.dark(*LAB)
    sim.live(900)
    sim.expect(stable=1, candidate=2, on={2: 2}, because="nobody has promoted it")


def test_a_pool_of_which_one_server_is_reached_goes_on_with_that_one() -> None:
    sim = Sim(*NODES, rollout=FAST | {"steps": [{"pool": "lab", "pause": {}}]})
    sim.dark("lab-1")
    sim.add(version(2))
    sim.run()
    sim.expect(phase="Paused", candidate=2, because="one server of the pool has it")
    assert {name for name in sim.on(2) if sim.reachable(name)} == {"lab-2"}


def test_a_full_promote_passes_a_pool_that_stays_dark() -> None:
    sim = Sim(*NODES, rollout=FAST | {"steps": [{"pool": "lab"}]})
    sim.dark(*LAB)
    sim.add(version(2))
    sim.live(900)
    sim.expect(stable=1, candidate=2, on={2: 0}, says="lab", because="the pool is dark")
    sim.ask(promote="full@1")
    sim.run()
    sim.expect(stable=2, because="a person has passed all that is left, and three servers have it")


def test_failures_in_several_pools_count_together() -> None:
    steps = [{"pool": "a"}, {"pool": "b", "pause": {}}]
    sim = Sim("a-1", "a-2", "b-1", "b-2", "c-1", rollout={"failureBudget": 1, "steps": steps})
    sim.unfit = {("a-1", 2), ("b-1", 2)}
    sim.add(version(2))
    sim.run()
    sim.expect(stable=1, rejected=2, on={2: 0}, because="two servers failed, one may")
