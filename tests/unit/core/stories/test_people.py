"""What somebody asked for by hand holds for what it was asked for: no longer, no further."""

from __future__ import annotations

from typing import Any

import pytest

from ..sim import Sim
from ..world import version

NODES = ("a-1", "a-2", "a-3", "a-4")
HALF: dict[str, Any] = {"maxUnavailable": "100%", "steps": [{"weight": 50, "pause": {}}]}


@pytest.mark.parametrize(
    ("nodes", "change"),
    [
        pytest.param(NODES, {"pipeline": {"confidence": 0.7}}, id="pipeline, edge"),
        pytest.param((), {"pipeline": {"confidence": 0.7}}, id="pipeline, cluster"),
        pytest.param(NODES, {"server": {"resources": {"cpu": "3"}}}, id="server pods, edge"),
    ],
)
def test_new_settings_of_a_version_that_somebody_went_back_to_go_by_the_steps(
    nodes: tuple[str, ...], change: dict[str, Any]
) -> None:
    sim = Sim(*nodes, edge=bool(nodes), rollout=HALF)
    sim.add(version(2))
    sim.run()
    sim.ask(promote="step@1")
    sim.run()
    sim.ask(rollback="1@1")
    sim.run()
    sim.expect(phase="Healthy", stable=1, candidate=None, because="somebody went back")
    sim.change(**change)
    sim.run()
    sim.expect(phase="Paused", stable=1, candidate=1, because="nobody goes back by that")


def test_a_pause_by_somebody_outlives_a_pause_by_the_spec() -> None:
    sim = Sim(*NODES, rollout={"steps": [{"weight": 25}]})
    sim.add(version(2))
    sim.operate()
    sim.ask("ada", pause="1")
    sim.run()
    sim.change_rollout(paused=True)
    sim.run()
    sim.change_rollout(paused=False)
    sim.run()
    sim.expect(phase="Paused", candidate=2, says="ada", because="she has not resumed it")
    sim.ask("ada", resume="1")
    sim.run()
    sim.expect(phase="Healthy", stable=2, because="she has resumed it")


@pytest.mark.parametrize("asked", ["promote", "abort"])
def test_what_was_asked_of_one_version_is_not_done_to_the_next(asked: str) -> None:
    sim = Sim(*NODES, rollout=HALF)
    sim.add(version(2))
    sim.run()
    sim.ask(**{asked: "full@1"})
    sim.add(version(3))
    sim.run()
    why = "it was asked while version 2 was rolled out; nobody has seen version 3 yet"
    sim.expect(phase="Paused", stable=1, candidate=3, rejected=None, on={3: 2}, because=why)


def test_an_abort_before_a_rollback_does_not_abort_that() -> None:
    sim = Sim(*NODES, rollout=HALF)
    sim.add(version(2))
    sim.run()
    sim.ask(promote="step@1")
    sim.run()
    sim.add(version(3))
    sim.run()
    sim.ask(abort="1", rollback="1@1")
    sim.run()
    sim.expect(phase="Healthy", stable=1, on={1: 4}, because="somebody went back to 1")


def test_a_lower_limit_shortens_the_history() -> None:
    sim = Sim(*NODES)
    for number in (2, 3, 4):
        sim.add(version(number))
        sim.run()
    sim.change_rollout(historyLimit=1)
    sim.run()
    assert [one["version"] for one in sim.status["history"]] == [4]


@pytest.mark.parametrize("other", [{"resume": "1"}, {"promote": "step@1"}, {"promote": "full@1"}])
def test_a_pause_that_comes_together_with_something_else_holds(other: dict[str, str]) -> None:
    sim = Sim(*NODES, rollout=HALF)
    sim.add(version(2))
    sim.run()
    sim.ask(pause="1", **other)
    sim.run()
    why = "the operator was away: nobody knows which was asked last, and waiting is safe"
    sim.expect(phase="Paused", candidate=2, on={2: 2}, says="paused", because=why)
