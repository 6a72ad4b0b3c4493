"""A rollout is judged by the servers that can run (R7)."""

from __future__ import annotations

from typing import Any

from ..sim import BAD, Sim, error_rate
from ..world import version

SCALED = {"cluster": {"replicas": 3, "autoscaling": {"minReplicas": 3, "maxReplicas": 5}}}
LONGER_THAN_THE_DEADLINE = 1500


def autoscaled(*, capacity: int, **rollout: Any) -> Sim:
    """Three servers, with room for so many."""
    sim = Sim(edge=False, target=SCALED, rollout=rollout)
    sim.capacity = capacity
    return sim


def test_a_good_version_is_not_rejected_for_a_pod_that_never_ran() -> None:
    sim = autoscaled(capacity=3)
    sim.add(version(2))
    sim.operate()
    sim.scale(4)
    sim.live(LONGER_THAN_THE_DEADLINE)
    why = "all servers that can run have it; the fourth has never tried"
    sim.expect(stable=2, rejected=None, outcome="Succeeded", says="Insufficient cpu", because=why)


def test_a_pod_that_waited_before_the_rollout_began_blocks_nobody() -> None:
    sim = autoscaled(capacity=3)
    sim.scale(5)
    sim.run()
    sim.add(version(2))
    sim.live(LONGER_THAN_THE_DEADLINE)
    why = "all servers that can run have it"
    sim.expect(stable=2, rejected=None, outcome="Succeeded", says="Insufficient cpu", because=why)


def test_a_pod_that_gets_room_at_last_follows() -> None:
    sim = autoscaled(capacity=3)
    sim.add(version(2))
    sim.operate()
    sim.scale(4)
    sim.live(LONGER_THAN_THE_DEADLINE)
    sim.capacity = None
    sim.live(300)
    sim.expect(phase="Healthy", stable=2, on={2: 4}, because="all four run now")


def test_a_bad_version_goes_back_also_where_a_pod_never_ran() -> None:
    sim = autoscaled(capacity=3, steps=[{"weight": 30}], analysis=error_rate())
    sim.figures[2] = BAD
    sim.add(version(2))
    sim.operate()
    sim.scale(4)
    sim.live(LONGER_THAN_THE_DEADLINE, every=30)
    why = "half of its answers fail on the server that runs it"
    sim.expect(stable=1, rejected=2, outcome="RolledBack", because=why)
    assert sim.status["rejected"]["reason"] == "AnalysisFailed"


def test_where_no_pod_can_run_the_version_nothing_is_decided() -> None:
    sim = autoscaled(capacity=3)
    sim.scale(0)
    sim.run()
    sim.capacity = 0
    sim.add(version(2))
    sim.scale(3)
    sim.live(LONGER_THAN_THE_DEADLINE)
    why = "no server has ever tried it"
    sim.expect(stable=1, rejected=None, says="Insufficient cpu", because=why)
