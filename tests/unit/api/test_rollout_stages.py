"""Where a rollout stands among stages that were edited, and what its status may look like."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.api.rollout import Rollout
from modelyard.api.rolloutstages import Place, locate, planned, stages
from modelyard.api.rolloutstatus import RolloutState, StageKind

TIMES = dict.fromkeys(("startedAt", "stageStartedAt", "lastProgressAt"), "2026-11-22T12:00:00Z")
UNTIL_PROMOTED: dict[str, Any] = {"pause": {}}


def made(*steps: dict[str, Any], **rollout: Any) -> Any:
    wanted = Rollout.model_validate({"steps": list(steps), **rollout})
    return stages(wanted, edge=True)


def test_a_stage_is_called_by_what_it_does() -> None:
    found = made(
        {"weight": 10},
        {"nodes": 3, **UNTIL_PROMOTED},
        {"pool": "lab", "pause": {"duration": "1h"}},
        {"weight": 10},
        prestage=True,
        shadow={},
    )
    assert [stage.identity for stage in found] == [
        "prestage",
        "shadow",
        "10%",
        "3 servers until promoted",
        "pool lab",
        "10% #2",
        "100%",
    ]


@pytest.mark.parametrize(
    ("passed", "plan", "wanted", "edited"),
    [
        pytest.param(1, ["10%", "50%", "100%"], "50%", False, id="nothing was edited"),
        pytest.param(0, ["50%", "100%"], "10%", True, id="a step was put in front"),
        pytest.param(2, ["5%", "10%", "50%", "100%"], "50%", False, id="a passed step is gone"),
        pytest.param(1, ["10%", "70%", "50%", "100%"], "50%", True, id="the present step is gone"),
        pytest.param(2, ["10%", "50%", "70%", "100%"], "100%", True, id="it was the last one"),
        pytest.param(1, ["50%", "10%", "100%"], "10%", False, id="steps changed places"),
    ],
)
def test_the_first_stage_that_was_not_passed(
    passed: int, plan: list[str], wanted: str, edited: bool
) -> None:
    found = made({"weight": 10}, {"weight": 50})
    position = locate(found, Place("Step", plan=tuple(plan), passed=passed))
    assert (found[position.index].identity, position.edited) == (wanted, edited)


def test_where_the_present_stage_is_gone_the_last_promoted_one_waits_again() -> None:
    found = made({"weight": 10, **UNTIL_PROMOTED}, {"weight": 80})
    plan = ("10% until promoted", "50% until promoted", "80%", "100%")
    position = locate(found, Place("Step", plan=plan, passed=1))
    assert found[position.index].identity == "10% until promoted"
    assert position.passed == frozenset()


def test_what_comes_before_the_first_step_is_not_gone_back_to() -> None:
    found = made({"weight": 10}, prestage=True, shadow={})
    position = locate(found, Place("Step", 1, ("10%", "100%"), 0))
    assert (found[position.index].identity, sorted(position.passed)) == ("10%", [0, 1])


@pytest.mark.parametrize(
    ("kind", "step", "wanted"),
    [("Prestage", None, "prestage"), ("Shadow", None, "10%"), ("Step", 2, "50%"),
     ("Step", 9, "100%")],
)  # fmt: skip
def test_the_status_of_an_operator_that_kept_no_plan(
    kind: str, step: int | None, wanted: str
) -> None:
    found = made({"weight": 10}, {"weight": 50}, prestage=True)
    assert found[locate(found, Place(kind, step)).index].identity == wanted


def test_a_plan_is_found_again() -> None:
    found = made({"weight": 10}, {"pool": "lab"}, prestage=True)
    for plan_passed in range(len(found)):
        plan = tuple(stage.identity for stage in found)
        kind = found[plan_passed].kind
        position = locate(found, Place(kind, plan=plan, passed=plan_passed))
        assert planned(found, position) == {"plan": plan, "passed": plan_passed}


def test_a_status_with_fields_of_a_newer_operator_and_without_optional_ones() -> None:
    old = {"revision": 3, "trigger": "x", "stage": "Step", "step": 1, "steps": 2, **TIMES}
    state = RolloutState.model_validate({**old, "newer": {"a": 1}})
    assert (state.stage, state.target, state.paused, state.plan) == (StageKind.STEP, 0, None, None)
    assert state.wire() == {**old, "target": 0, "done": 0}
