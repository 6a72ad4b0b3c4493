"""A bound that is a multiple of nothing is unclear, or has a floor (R9)."""

from __future__ import annotations

from typing import Any

from ..sim import BAD, Sim
from ..world import version

MANY = {"requests": 100_000, "failures": 0, "boxes": 200_000, "confidenceMillis": 160_000_000}
ONE_ERROR = MANY | {"requests": 99_999, "failures": 1}
NO_BOX = {"requests": 200, "failures": 0, "boxes": 0, "confidenceMillis": 0}
ONE_BOX = NO_BOX | {"boxes": 1, "confidenceMillis": 800}


def compared(stable: dict[str, int], candidate: dict[str, int], **metric: Any) -> Sim:
    """Version 2 is measured on one of four servers, beside stable on the others."""
    analysis = {"metrics": [{"name": "figure", "interval": "30s", "count": 2, **metric}]}
    sim = Sim("a-1", "a-2", "a-3", "a-4", rollout={"steps": [{"nodes": 1, "analysis": analysis}]})
    sim.figures |= {1: stable, 2: candidate}
    sim.live(300)
    sim.add(version(2))
    sim.live(1200, every=30)
    return sim


def not_rejected(sim: Sim) -> None:
    sim.expect(
        phase=("Healthy", "Paused"),
        rejected=None,
        because="a multiple of nothing says nothing: one event in many is no harm that is proven",
    )


def test_one_error_in_many_requests_is_not_twice_none() -> None:
    not_rejected(compared(MANY, ONE_ERROR, metric="ErrorRate", maxRatio=2))


def test_one_error_in_a_few_requests_is_not_twice_none() -> None:
    few = MANY | {"requests": 199, "failures": 1}
    not_rejected(compared(MANY, few, metric="ErrorRate", maxRatio=2))


def test_one_box_is_not_more_than_none() -> None:
    not_rejected(compared(NO_BOX, ONE_BOX, metric="DetectionsPerImage", maxRatio=1.2))


def test_no_error_beside_no_error_is_good() -> None:
    sim = compared(MANY, MANY, metric="ErrorRate", maxRatio=2)
    not_rejected(sim)


def test_a_truly_bad_version_still_goes_back() -> None:
    sim = compared(MANY, BAD, metric="ErrorRate", maxRatio=2)
    sim.expect(stable=1, rejected=2, outcome="RolledBack", because="half of its answers fail")


def test_twice_the_errors_of_a_stable_that_fails_at_times_goes_back() -> None:
    some = MANY | {"requests": 98_000, "failures": 2000}
    worse = MANY | {"requests": 90_000, "failures": 10_000}
    sim = compared(some, worse, metric="ErrorRate", maxRatio=2)
    sim.expect(stable=1, rejected=2, outcome="RolledBack", because="it fails five times as often")


def test_a_metric_that_measures_another_figure_is_not_compared_with_the_former_one() -> None:
    figure = {"name": "figure", "metric": "ErrorRate", "maxRatio": 2}
    half = {"maxUnavailable": "100%", "steps": [{"weight": 50, "pause": {}}]}
    sim = Sim("a-1", "a-2", "a-3", "a-4", rollout=half | {"analysis": {"metrics": [figure]}})
    sim.add(version(2))
    sim.live(300, every=30)
    sim.expect(phase="Paused", candidate=2, because="stable and candidate are alike so far")
    sim.figures[2] = MANY | {"confidenceMillis": 2_000_000}
    other = {"name": "figure", "metric": "Confidence", "minRatio": 0.9}
    sim.change_rollout(steps=[], analysis={"metrics": [other]})
    sim.live(600, every=30)
    why = "stable's confidence was never kept, and a share of its error rate says nothing of it"
    sim.expect(stable=1, candidate=2, says="stable has", because=why)
