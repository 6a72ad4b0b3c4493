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


def test_no_box_is_not_less_than_one() -> None:
    not_rejected(compared(ONE_BOX, NO_BOX, metric="DetectionsPerImage", minRatio=0.8))


def test_no_box_is_less_than_many() -> None:
    many = NO_BOX | {"boxes": 400, "confidenceMillis": 320_000}
    sim = compared(many, NO_BOX, metric="DetectionsPerImage", minRatio=0.8)
    sim.expect(stable=1, rejected=2, outcome="RolledBack", because="it finds nothing any more")


def test_a_multiple_of_no_throughput_is_unclear() -> None:
    idle = dict.fromkeys(MANY, 0)
    sim = compared(idle, MANY, metric="Throughput", maxRatio=2, minSamples=0)
    why = "stable was asked nothing: no multiple of that says anything"
    sim.expect(phase="Paused", stable=1, candidate=2, rejected=None, says="0", because=why)
    assert sim.status["rollout"]["paused"]["reason"] == "Inconclusive"


def in_the_last_step(candidate: dict[str, int]) -> Sim:
    """Version 2 is as good as stable at first; all servers have it when it gets worse."""
    metric = {"name": "errors", "metric": "ErrorRate", "maxRatio": 2, "minSamples": 1000}
    analysis = {"metrics": [metric]}
    steps = [{"weight": 50, "pause": {}}]
    sim = Sim("a-1", "a-2", "a-3", "a-4", rollout={"steps": steps, "analysis": analysis})
    sim.figures |= {1: MANY, 2: MANY}
    sim.live(300)
    sim.add(version(2))
    sim.live(300, every=30)
    sim.expect(phase="Paused", candidate=2, because="half of the servers have it")
    sim.figures[2] = candidate
    sim.ask(promote="step")
    sim.live(300, every=30)
    return sim


def test_what_stable_was_counts_when_no_server_has_it_any_more() -> None:
    sim = in_the_last_step(MANY | {"requests": 97_000, "failures": 3000})
    sim.expect(stable=1, rejected=2, because="3 % fail, of stable's at least 1000 none did")


def test_one_error_in_the_last_step_is_not_twice_none_either() -> None:
    not_rejected(in_the_last_step(ONE_ERROR))
