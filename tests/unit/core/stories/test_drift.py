"""Drift of a Deployment: when enough servers drift at once, for long enough, and only then."""

from __future__ import annotations

from typing import Any

from ..cluster import calibrating, drifting, stable
from ..sim import Sim

NODES = tuple(f"{pool}-{number}" for pool in ("lab", "field") for number in range(1, 7))
LAB = NODES[:6]
MONITORING: dict[str, Any] = {"drift": {"fleet": {"for": "1h"}}}


def monitored(*nodes: str, **more: Any) -> Sim:
    return Sim(*(nodes or NODES), monitoring=MONITORING | more)


def condition(sim: Sim, kind: str = "Drifting") -> dict[str, Any]:
    """A condition; empty for none."""
    return next((one for one in sim.status["conditions"] if one["type"] == kind), {})


def state(sim: Sim) -> tuple[str, str]:
    found = condition(sim)
    return found.get("status", ""), found.get("reason", "")


def drift(sim: Sim, *nodes: str, **report: Any) -> None:
    sim.drifts |= dict.fromkeys(nodes, drifting(**report))


def events(sim: Sim, seconds: float, every: float = 100) -> list[str]:
    """Reasons of the events of the next seconds."""
    before = len(sim.told)
    sim.live(seconds, every)
    return [event.reason for event in sim.told[before:]]


def test_servers_that_all_drift_for_an_hour_are_an_episode_and_are_told_once() -> None:
    sim = monitored()
    assert state(sim) == ("False", "NoDrift")
    drift(sim, *NODES, signal="Embedding", size=3.2)
    assert "DriftDetected" not in events(sim, 1800)
    assert state(sim) == ("False", "DriftSuspected")
    assert events(sim, 2400).count("DriftDetected") == 1
    assert state(sim) == ("True", "ServersDrift")
    words = condition(sim)["message"]
    for word in ("Embedding", "+3.2", "12 of 12", "modelyard drift accept cameras"):
        assert word in words
    assert sim.status["monitoring"]["episode"]["number"] == 1
    assert events(sim, 7200) == []
    sim.expect(phase="Healthy", because="a Deployment that drifts serves as well as before")


def test_drift_that_subsides_ends_its_episode_once() -> None:
    sim = monitored()
    drift(sim, *NODES)
    sim.live(4000)
    sim.drifts.clear()
    sim.live(1200)
    assert state(sim) == ("True", "ServersDrift")
    assert events(sim, 4000).count("DriftEnded") == 1
    assert state(sim) == ("False", "NoDrift")
    (record,) = sim.status["monitoring"]["episodes"]
    assert (record["outcome"], record["servers"]) == ("Subsided", 12)
    drift(sim, *NODES)
    sim.live(4000)
    assert sim.status["monitoring"]["episode"]["number"] == 2


def test_few_servers_that_drift_are_no_drift_of_the_fleet() -> None:
    sim = monitored()
    drift(sim, "lab-1")
    sim.live(7200)
    assert state(sim) == ("False", "NoDrift")
    assert "1 of 12" in condition(sim)["message"]


def test_a_pool_drifts_by_itself() -> None:
    sim = monitored()
    drift(sim, *LAB[:3])
    sim.live(4000)
    assert state(sim) == ("True", "ServersDrift")
    assert sim.status["monitoring"]["episode"]["pools"] == ["lab"]
    assert "lab" in condition(sim)["message"]


def test_a_single_server_can_show_drift() -> None:
    sim = monitored("lab-1")
    drift(sim, "lab-1")
    sim.live(4000)
    assert state(sim) == ("True", "ServersDrift")


def test_without_baselines_nothing_is_known() -> None:
    sim = monitored()
    for node in NODES[:7]:
        sim.drifts[node] = calibrating("CameraDark")
    sim.live(600)
    assert state(sim) == ("Unknown", "BaselineIncomplete")
    assert "CameraDark on 7" in condition(sim)["message"]
    sim.drifts = dict.fromkeys(NODES, None)
    sim.live(600)
    assert state(sim) == ("Unknown", "NoEvidence")


def test_a_deployment_that_is_scaled_to_zero_has_no_evidence_and_alarms_nobody() -> None:
    sim = Sim(edge=False, replicas=2, monitoring=MONITORING)
    assert state(sim) == ("False", "NoDrift")
    sim.scale(0)
    sim.run()
    assert state(sim) == ("Unknown", "Suspended")


def test_a_pool_without_baselines_is_not_taken_as_stable() -> None:
    sim = monitored()
    sim.drifts = dict.fromkeys(LAB, calibrating())
    sim.live(600)
    assert state(sim) == ("Unknown", "BaselineIncomplete")
    assert "lab" in condition(sim)["message"]


def test_servers_that_go_dark_or_calibrate_anew_do_not_end_an_episode() -> None:
    sim = monitored()
    drift(sim, *NODES)
    sim.live(4000)
    sim.dark(*NODES)
    sim.live(8000)
    assert state(sim) == ("Unknown", "NoEvidence")
    sim.dark(*NODES, dark=False)
    sim.drifts = dict.fromkeys(NODES, calibrating())
    sim.live(8000)
    assert state(sim) == ("Unknown", "BaselineIncomplete")
    assert sim.status["monitoring"]["episode"]["number"] == 1
    sim.drifts.clear()
    sim.live(4000)
    assert state(sim) == ("False", "NoDrift")


def test_an_episode_of_a_pool_that_goes_dark_is_not_over() -> None:
    sim = monitored()
    drift(sim, *LAB)
    sim.live(4000)
    sim.dark(*LAB)
    sim.live(8000)
    assert state(sim)[0] == "Unknown"
    assert sim.status["monitoring"]["episode"]["pools"] == ["lab"]


def test_somebody_who_accepts_ends_the_episode_and_every_server_is_told() -> None:
    sim = monitored()
    drift(sim, *NODES)
    sim.live(4000)
    sim.ask(user="ann", **{"drift-accept": "1"})
    assert events(sim, 60, 10) == ["DriftAccepted", "DriftEnded"]
    assert {s["spec"]["monitoring"]["accepted"] for s in sim.of("ModelServer")} == {"1"}
    (record,) = sim.status["monitoring"]["episodes"]
    assert (record["outcome"], record["by"]) == ("Accepted", "ann")
    sim.drifts.clear()
    assert events(sim, 8000) == []
    assert state(sim) == ("False", "NoDrift")
    del sim.mdep["metadata"]["annotations"]
    assert events(sim, 600) == []
    assert {s["spec"]["monitoring"]["accepted"] for s in sim.of("ModelServer")} == {"1"}


def test_servers_have_time_to_follow_before_their_drift_counts_again() -> None:
    sim = Sim(*NODES, monitoring={"drift": {"fleet": {"for": "0s"}}})
    drift(sim, *NODES)
    sim.live(100)
    sim.ask(**{"drift-accept": "1"})
    assert events(sim, 50, 10) == ["DriftAccepted", "DriftEnded"]
    sim.drifts.clear()
    assert events(sim, 300) == []


def test_drift_that_goes_on_after_it_was_accepted_is_another_episode() -> None:
    sim = monitored()
    drift(sim, *NODES)
    sim.live(4000)
    sim.ask(**{"drift-reset": "1"})
    sim.live(1800)
    assert state(sim) == ("False", "DriftSuspected")
    sim.live(2400)
    assert sim.status["monitoring"]["episode"]["number"] == 2


def test_switching_it_off_ends_the_episode_and_takes_the_condition_away() -> None:
    sim = monitored()
    drift(sim, *NODES)
    sim.live(4000)
    sim.change(monitoring={"capture": {}})
    sim.drifts = dict.fromkeys(NODES, None)
    sim.live(600)
    assert condition(sim) == {}
    assert sim.status["monitoring"]["episodes"][0]["outcome"] == "SwitchedOff"
    sim.change(monitoring=None)
    sim.live(600)
    assert not any("monitoring" in s["spec"] for s in sim.of("ModelServer"))


def test_alarms_that_are_held_longer_than_the_next_false_one_takes_show_nothing() -> None:
    sim = Sim(*NODES, monitoring={"drift": {"hold": "90d"}})
    drift(sim, *NODES)
    sim.live(4000)
    assert state(sim) == ("Unknown", "HoldTooLong")


def test_a_site_unlike_the_holdout_is_a_condition_of_its_own() -> None:
    sim = monitored()
    found = [{"kind": "NotLikeHoldout", "signal": "Embedding", "since": "2026-11-22T12:00:00Z"}]
    sim.drifts["lab-1"] = stable() | {"findings": found}
    sim.live(600)
    assert condition(sim, "NotLikeHoldout")["status"] == "True"
    assert state(sim) == ("False", "NoDrift")


def test_drift_comes_to_the_same_wherever_the_operator_is_killed() -> None:
    for after in range(4):
        sim = monitored()
        drift(sim, *NODES)
        sim.live(3000)
        for _ in range(4):
            sim.wait(300)
            sim.agents()
            sim.crash("Deployment", "cameras", after)
        sim.live(600)
        assert state(sim) == ("True", "ServersDrift")
        assert sim.status["monitoring"]["episode"]["number"] == 1
        since = sim.status["monitoring"]["episode"]["since"]
        assert since == "2026-11-22T12:00:00Z", f"killed after {after} writes"
