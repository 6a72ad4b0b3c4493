"""A candidate that takes nodes down stops; nodes that go for reasons of their own stop nothing."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.core.deployment.gauges import GAUGES

from .sim import Sim
from .world import version

TWELVE = tuple(f"a-{number}" for number in range(12))
DEADLY = 2


def live(sim: Sim, rounds: int = 20, *, deadly: bool = True) -> dict[str, Any]:
    """Everybody acts; nodes that are told of a deadly version go dark before they answer."""
    for _ in range(rounds):
        sim.operate()
        if deadly:
            for node in sim.on(DEADLY):
                sim.dark(node)
        sim.round()
        sim.wait(30)
    return sim.status


def rolling(**rollout: Any) -> Sim:
    sim = Sim(*TWELVE, rollout={"maxUnavailable": 1, **rollout})
    sim.add(version(DEADLY))
    return sim


def returning(sim: Sim, nodes: set[str]) -> None:
    for node in nodes:
        sim.dark(node, dark=False)


def _rollout_gauge(sim: Sim) -> list[tuple[tuple[str, ...], float]]:
    (gauge,) = (one for one in GAUGES if one.name == "modelyard_rollout_step")
    return list(gauge.values(sim.mdep))


@pytest.mark.parametrize("steps", [[], [{"nodes": 1}], [{"weight": 50, "pause": {}}]])
def test_a_version_that_takes_nodes_down_is_told_to_no_more_than_three(
    steps: list[dict[str, Any]],
) -> None:
    sim = rolling(steps=steps)
    status = live(sim)
    assert len(sim.on(DEADLY)) == 3
    assert (status["phase"], status["offlineReplicas"]) == ("Paused", 3)
    assert status["conditions"][-1]["reason"] == "ServersVanish"
    assert "3 of 3 servers that were assigned shelf-2 cannot be reached since" in status["message"]
    assert "0 of the 9 others" in status["message"]
    # The alert ModelyardServersVanish asks for this.
    ((labels, _),) = _rollout_gauge(sim)
    assert labels == ("Step", "ServersVanish")


def test_more_are_told_at_once_where_that_is_wanted() -> None:
    sim = rolling(maxUnavailable="50%")
    live(sim)
    assert len(sim.on(DEADLY)) == 6


def test_servers_that_die_of_it_later_count_too() -> None:
    sim = rolling(steps=[{"nodes": 3, "pause": {}}])
    live(sim, 4, deadly=False)
    assert sim.status["rollout"]["done"] == 3
    status = live(sim)
    assert (status["phase"], len(sim.on(DEADLY))) == ("Paused", 3)
    assert "3 of 3 servers" in status["message"]


def test_it_goes_on_when_they_are_back() -> None:
    sim = rolling()
    live(sim)
    returning(sim, sim.on(DEADLY))
    assert live(sim, deadly=False)["phase"] == "Healthy"
    assert sim.on(DEADLY) == set(TWELVE)


def test_an_abort_takes_them_back_when_they_return() -> None:
    sim = rolling()
    live(sim)
    gone = sim.on(DEADLY)
    sim.ask(abort="now")
    sim.operate()
    returning(sim, gone)
    status = live(sim, deadly=False)
    assert (status["phase"], status["readyReplicas"]) == ("Degraded", 12)
    assert sim.assigned() == dict.fromkeys(TWELVE, 1)


def test_somebody_who_promotes_it_wants_it_to_go_on() -> None:
    sim = rolling(steps=[{"nodes": 4}])
    live(sim)
    sim.ask(promote="on")
    for _ in range(3):
        live(sim, 1)
    assert len(sim.on(DEADLY)) > 3


def test_an_outage_of_all_nodes_alike_is_none_of_its_doing() -> None:
    sim = rolling(maxUnavailable=4, steps=[{"nodes": 4, "pause": {}}])
    live(sim, 3, deadly=False)
    assert len(sim.on(DEADLY)) == 4
    others = sorted(set(TWELVE) - sim.on(DEADLY))
    for node in (*sim.on(DEADLY), *others[:6]):
        sim.dark(node)
    status = live(sim, deadly=False)
    # Another one takes their place, as far as there are any.
    assert status["conditions"][-1]["reason"] == "Paused"
    assert len(sim.on(DEADLY)) == 6


def test_nodes_that_were_away_before_it_began_say_nothing_of_it() -> None:
    sim = Sim(*TWELVE)
    away = set(TWELVE[:5])
    for node in away:
        sim.dark(node)
    sim.wait(3600)
    sim.agents()
    sim.add(version(DEADLY))
    assert live(sim, deadly=False)["phase"] == "Healthy"
    returning(sim, away)
    assert live(sim, deadly=False)["offlineReplicas"] == 0


def test_a_few_in_many_stop_nothing() -> None:
    sim = Sim(*TWELVE, rollout={"maxUnavailable": 3})
    sim.add(version(DEADLY))
    for node in TWELVE[:3]:
        live(sim, 1, deadly=False)
        sim.dark(node)
    assert live(sim, deadly=False)["phase"] == "Healthy"
