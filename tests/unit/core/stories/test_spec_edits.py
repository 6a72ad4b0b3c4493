"""A stage is what it says, not its number: edits of steps and analyses in mid-rollout (R3, R4)."""

from __future__ import annotations

from typing import Any

import pytest

from ..sim import BAD, Sim, error_rate
from ..world import version

NODES = tuple(f"a-{i}" for i in range(1, 9))
FAST: dict[str, Any] = {"maxUnavailable": "100%"}
QUARTER, HALF = {"weight": 25}, {"weight": 50}
HALT: dict[str, Any] = {"pause": {}}
SOME_FAIL = {"requests": 194, "failures": 6, "boxes": 400, "confidenceMillis": 320_000}
"""Three in a hundred."""
ANEW = "what was measured by other bounds, or for another stage, proves nothing"


def rolling(steps: list[dict[str, Any]], *, on: int, **rollout: Any) -> Sim:
    """Version 2 waits for a promote, on so many of eight servers."""
    sim = Sim(*NODES, rollout=FAST | {"steps": steps} | rollout)
    sim.add(version(2))
    sim.run()
    sim.expect(phase="Paused", candidate=2, on={2: on}, because="the step has a pause")
    return sim


@pytest.mark.parametrize(
    ("before", "on", "after"),
    [
        pytest.param([QUARTER, HALF | HALT], 4, [HALF | HALT], id="a step before is removed"),
        pytest.param([QUARTER, HALF | HALT], 4, [HALF | HALT, QUARTER], id="steps change places"),
        pytest.param(
            [QUARTER | HALT, HALF | HALT],
            2,
            [HALF | HALT, QUARTER | HALT],
            id="the present step becomes the second",
        ),
        pytest.param([HALF | HALT], 4, [QUARTER, HALF | HALT], id="a step is put before"),
        pytest.param(
            [HALF | HALT],
            4,
            [QUARTER | HALT, HALF | HALT],
            id="a step with a pause is put before",
        ),
        pytest.param(
            [HALF | HALT], 4, [{"weight": 10}, QUARTER, HALF | HALT], id="two steps are put before"
        ),
        pytest.param([HALF | HALT], 4, [HALF | HALT, {"weight": 75}], id="a step is put behind"),
    ],
)
def test_a_step_waits_for_its_promote_wherever_it_stands(
    before: list[dict[str, Any]], on: int, after: list[dict[str, Any]]
) -> None:
    sim = rolling(before, on=on)
    sim.change_rollout(steps=after)
    sim.live(900)
    why = "its step is still in the spec, and nobody has promoted it"
    sim.expect(phase="Paused", stable=1, candidate=2, because=why)
    assert on <= len(sim.on(2)) <= 4, "no step that may wait wants more than a half"
    for number in range(sum("pause" in step for step in after)):
        sim.expect(phase=("Paused", "Healthy"), because="each step waits, or was passed before")
        sim.ask(promote=f"step@{number}")
        sim.run()
    sim.expect(phase="Healthy", stable=2, because="each step that waits was promoted")


def test_the_present_step_waits_although_the_one_after_it_goes() -> None:
    sim = rolling([QUARTER | HALT, HALF | HALT], on=2)
    sim.change_rollout(steps=[QUARTER | HALT])
    sim.live(900)
    sim.expect(phase="Paused", on={2: 2}, because="nobody has promoted it")


def test_steps_that_go_leave_the_last_stage_to_be_measured_anew() -> None:
    sim = rolling([{"weight": 10, **HALT}], on=1, analysis=error_rate())
    sim.figures[2] = BAD
    sim.change_rollout(steps=[])
    sim.live(600, every=30)
    sim.expect(stable=1, rejected=2, on={2: 0}, outcome="RolledBack", because=ANEW)


def test_narrower_bounds_are_measured_anew() -> None:
    sim = Sim(*NODES, rollout=FAST | {"steps": [HALF | HALT], "analysis": error_rate()})
    sim.figures[2] = SOME_FAIL
    sim.add(version(2))
    sim.run()
    sim.expect(phase="Paused", on={2: 4}, because="3 % is within 5 %")
    sim.change_rollout(analysis=error_rate(max=0.01))
    sim.live(600, every=30)
    sim.expect(stable=1, rejected=2, outcome="RolledBack", because=ANEW)


def test_an_analysis_that_is_added_in_a_pause_is_measured() -> None:
    sim = rolling([HALF | HALT], on=4)
    sim.figures[2] = BAD
    sim.change_rollout(analysis=error_rate())
    sim.live(600, every=30)
    sim.expect(stable=1, rejected=2, outcome="RolledBack", because="the step has an analysis now")


def test_an_unclear_analysis_is_measured_anew_once_it_asks_for_less() -> None:
    sim = Sim(*NODES, rollout=FAST | {"steps": [HALF], "analysis": error_rate(minSamples=5000)})
    sim.add(version(2))
    sim.run()
    sim.expect(phase="Paused", says="5000 needed", because="there are too few samples")
    sim.change_rollout(analysis=error_rate(minSamples=100))
    sim.run()
    sim.expect(phase="Healthy", stable=2, because=ANEW)


def test_an_analysis_that_is_removed_holds_up_nobody() -> None:
    sim = Sim(*NODES, rollout=FAST | {"steps": [HALF], "analysis": error_rate(minSamples=5000)})
    sim.add(version(2))
    sim.run()
    sim.expect(phase="Paused", says="5000 needed", because="there are too few samples")
    sim.change_rollout(analysis=None)
    sim.run()
    sim.expect(phase="Healthy", stable=2, because="nothing is to be measured any more")
