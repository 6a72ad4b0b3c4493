"""Decisions are pure: one snapshot and one time give one plan, however often and in which order."""

from __future__ import annotations

import pickle
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from modelyard.core.controllers import CONTROLLERS

from .sim import BAD, GOOD, NAME, Sim, error_rate
from .world import controller, version

NODES = ("a-1", "a-2", "b-1", "b-2", "b-3")
QUERY = {"name": "load", "query": "load", "max": 1, "interval": "30s"}
ROLLOUTS: tuple[dict[str, Any], ...] = (
    {"analysis": error_rate(), "failureBudget": 1},
    {"steps": [{"pool": "b", "pause": {"duration": "1m"}}], "prestage": True},
    {"steps": [{"weight": 40, "pause": {}}], "analysis": {"metrics": [QUERY]}},
    {"shadow": {"duration": "2m", "analysis": error_rate()}, "maxUnavailable": 2},
)
Event = tuple[str, Any]
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.tuples(st.just("version"), st.sampled_from([GOOD, BAD, None])),
    st.tuples(st.just("dark"), st.sampled_from(NODES)),
    st.tuples(st.just("back"), st.sampled_from(NODES)),
    st.tuples(st.just("gone"), st.sampled_from(NODES)),
    st.tuples(st.just("wait"), st.sampled_from([10, 40, 400])),
    st.tuples(st.just("ask"), st.sampled_from(["promote", "pause", "resume", "abort", "retry"])),
    st.tuples(st.just("operate"), st.none()),
    st.tuples(st.just("round"), st.none()),
)


class Clocked(Sim):
    """Counts how often the operator's clock is asked."""

    asked = 0

    def clock(self) -> float:
        self.asked += 1
        return super().clock()


def happens(sim: Sim, number: int, event: Event) -> None:
    what, value = event
    if what == "version":
        sim.add(version(number + 2))
        sim.figures[number + 2] = value
    elif what in ("dark", "back") and ("Node", value) in sim.objects:
        sim.dark(value, dark=what == "dark")
    elif what == "gone":
        sim.objects.pop(("Node", value), None)
    elif what == "wait":
        sim.wait(value)
    elif what == "ask":
        sim.ask(**{value: f"{number}"})
    elif what == "operate":
        sim.operate()
    elif what == "round":
        sim.round()


@given(
    edge=st.booleans(),
    rollout=st.sampled_from(ROLLOUTS),
    events=st.lists(EVENTS, max_size=12),
)
def test_a_snapshot_gives_the_same_plan_whatever_was_asked_before(
    edge: bool, rollout: dict[str, Any], events: list[Event]
) -> None:
    sim = Clocked(*NODES, edge=edge, rollout=rollout)
    for number, event in enumerate(events):
        happens(sim, number, event)
    observed = sim.observed("Deployment", NAME, sim.now)
    deployments = controller("Deployment")
    decide = deployments.decide
    fleet, asked = pickle.dumps(vars(observed.fleet)), sim.asked
    first = decide(observed, sim.now)
    decide(observed, sim.now + timedelta(hours=1))
    decide(observed, sim.now - timedelta(hours=1))
    assert decide(observed, sim.now) == first
    assert deployments.observe(sim, sim.mdep, sim.settings) == observed
    assert sim.asked == asked, "the clock of arrivals is the cache's"
    assert pickle.dumps(vars(observed.fleet)) == fleet


def test_the_snapshot_of_a_deployment_holds_values_only() -> None:
    sim = Sim(*NODES, rollout=ROLLOUTS[0])
    observed = sim.observed("Deployment", NAME, sim.now)
    assert not [name for name, value in vars(observed).items() if callable(value)]


def test_later_changes_of_objects_do_not_reach_a_snapshot() -> None:
    sim = Sim(*NODES, rollout={"steps": [{"weight": 40, "pause": {}}]})
    sim.add(version(2))
    sim.run()
    observed = sim.observed("Deployment", NAME, sim.now)
    decide = controller("Deployment").decide
    first = decide(observed, sim.now)
    sim.answers.clear()
    sim.absent.add("HTTPRoute")
    for key in [key for key in sim.objects if key[0] in ("Service", "ModelServer")]:
        del sim.objects[key]
    assert decide(observed, sim.now) == first


def test_only_deployments_have_a_clock_to_advance() -> None:
    assert [one.kind for one in CONTROLLERS if one.advance is not None] == ["Deployment"]
