"""The version before stable is there for as long as somebody may go back to it."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.core.references import used_by

from ..sim import BAD, Sim, error_rate
from ..world import World, version


def users(sim: Sim, number: int) -> list[str] | None:
    """What keeps a version from being deleted."""
    one = version(number)
    return used_by(World(sim.mdep, one), one, "ModelVersion")


def served(*numbers: int, **spec: Any) -> Sim:
    """Versions rolled out one after the other, on two servers."""
    sim = Sim(edge=False, replicas=2, **spec)
    for number in numbers:
        sim.add(version(number))
        sim.run()
        assert sim.status["stable"]["version"] == number
    return sim


def test_the_first_version_has_none_before_it() -> None:
    sim = served()
    assert "rollbackTarget" not in sim.status
    assert users(sim, 1) == ["Deployment cameras"]


def test_the_version_before_stable_is_in_use_and_older_ones_are_not() -> None:
    sim = served(2, 3)
    assert sim.status["rollbackTarget"] == "shelf-2"
    assert users(sim, 3) == users(sim, 2) == ["Deployment cameras"]
    assert users(sim, 1) is None


def test_after_a_rollback_the_version_that_was_left_is_the_target() -> None:
    sim = served(2, 3)
    sim.ask(rollback="2@now")
    sim.run()
    assert sim.status["stable"]["version"] == 2
    assert sim.status["rollbackTarget"] == "shelf-3"


@pytest.mark.parametrize("limit", [1, 2])
def test_failed_rollouts_do_not_push_it_out(limit: int) -> None:
    """The history keeps so many rollouts; the last ones failed."""
    rollout = {"historyLimit": limit, "steps": [{"weight": 50}], "analysis": error_rate()}
    sim = served(2, rollout=rollout)
    for number in (3, 4, 5):
        sim.figures[number] = BAD
        sim.add(version(number))
        sim.run()
        assert sim.status["stable"]["version"] == 2
    assert sim.status["rollbackTarget"] == "shelf-1"


def test_a_deployment_that_goes_away_needs_nothing() -> None:
    sim = served(2)
    gone = {**sim.mdep}
    gone["metadata"] = {**gone["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    one = version(1)
    assert used_by(World(gone, one), one, "ModelVersion") is None
