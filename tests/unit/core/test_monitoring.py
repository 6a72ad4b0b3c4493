"""What servers are told to monitor: shares of a budget, batches, and nothing without a change."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.modelserver import ModelServerSpec
from modelyard.api.monitoring import Capture, per_day
from modelyard.api.monitoringstatus import CaptureShare
from modelyard.core.deployment.monitoring import SHRUNK, capture_share
from modelyard.core.deployment.servers import REPORTS

from .sim import Sim

BOTH: dict[str, Any] = {"drift": {}, "capture": {}}
RATES = st.integers(0, 200).map(lambda number: f"{number}/day")


def told(sim: Sim) -> list[dict[str, Any]]:
    """What each server is told to monitor; {} for nothing."""
    return [server["spec"].get("monitoring") or {} for server in sim.of("ModelServer")]


def written(sim: Sim) -> int:
    return sim.writes.count("apply ModelServer")


def test_every_server_is_told_the_resolved_settings() -> None:
    sim = Sim("a-1", "a-2", monitoring={"drift": {"sample": "5s"}, "capture": {"random": "48/day"}})
    for server in sim.of("ModelServer"):
        spec = ModelServerSpec.model_validate(server["spec"])
        assert spec.monitoring is not None
        assert spec.monitoring.drift is not None
        assert spec.monitoring.drift.sample == "5s"
        assert spec.monitoring.drift.hold == "24h"
        assert spec.monitoring.capture is not None
        assert spec.monitoring.capture.random == 48
    assert "fleet" not in told(sim)[0]["drift"]


def test_without_monitoring_servers_are_told_nothing_of_it() -> None:
    assert told(Sim("a-1")) == [{}]


def test_a_change_reaches_all_servers_in_batches_and_then_nothing_is_written() -> None:
    nodes = [f"a-{number}" for number in range(REPORTS + 5)]
    sim = Sim(*nodes)
    sim.change(monitoring=BOTH)
    before = written(sim)
    sim.reconcile("Deployment", "cameras", sim.now)
    assert written(sim) - before == REPORTS
    assert sim.look().requeue_after == 1.0
    sim.run()
    assert written(sim) - before == len(nodes)
    assert all(one["drift"] for one in told(sim))
    count = len(sim.writes)
    sim.operate()
    sim.wait(600)
    sim.feed()
    assert len(sim.writes) == count


def test_a_rollout_keeps_what_is_monitored() -> None:
    from .world import version

    sim = Sim("a-1", "a-2", monitoring=BOTH)
    before = told(sim)
    sim.add(version(2))
    sim.run()
    sim.expect(stable=2, because="nothing is in its way")
    assert told(sim) == before


def test_fields_and_defaults_that_another_operator_knows_are_no_reason_to_write() -> None:
    sim = Sim("a-1", monitoring=BOTH)
    server = sim.server("a-1")
    del server["spec"]["monitoring"]["drift"]["hold"]
    server["spec"]["monitoring"]["drift"]["newer"] = {"a": 1}
    count = len(sim.writes)
    sim.operate()
    assert len(sim.writes) == count


def test_what_somebody_else_wrote_is_put_right() -> None:
    sim = Sim("a-1", monitoring=BOTH)
    sim.server("a-1")["spec"]["monitoring"]["drift"]["hold"] = "1h"
    sim.run()
    assert told(sim)[0]["drift"]["hold"] == "24h"


def test_a_wish_for_images_is_divided_among_servers_that_answer_and_asked_once() -> None:
    sim = Sim(*(f"a-{n}" for n in range(6)), monitoring=BOTH)
    sim.dark("a-0")
    sim.live(400)
    sim.ask(capture="12/x1")
    sim.run()
    asked = [s for s in sim.of("ModelServer") if "onDemand" in s["spec"]["monitoring"]["capture"]]
    assert {s["spec"]["nodeName"] for s in asked} == {f"a-{n}" for n in range(1, 6)}
    assert {s["spec"]["monitoring"]["capture"]["onDemand"] for s in asked} == {"3/x1"}
    assert sim.status["monitoring"]["requested"]["assigned"]
    sim.node("a-9")
    sim.run()
    new = sim.server("a-9")["spec"]["monitoring"]["capture"]
    assert "onDemand" not in new, "the wish was met before this server was there"


def test_fewer_images_than_servers_ask_only_some() -> None:
    sim = Sim(*(f"a-{n}" for n in range(6)), monitoring=BOTH)
    sim.ask(capture="2/x1")
    sim.run()
    values = [one["capture"].get("onDemand") for one in told(sim)]
    assert sorted(filter(None, values)) == ["1/x1", "1/x1"]
    sim.ask(capture="3/x2")
    sim.run()
    values = [one["capture"].get("onDemand") for one in told(sim)]
    assert sorted(filter(None, values)) == ["1/x2"] * 3


def test_a_wish_that_is_none_is_refused_once_and_names_what_to_do() -> None:
    sim = Sim("a-1", monitoring=BOTH)
    sim.ask(capture="lots")
    sim.run()
    sim.live(300)
    assert [e.reason for e in sim.told].count("CaptureRequestInvalid") == 1
    assert "NUMBER/ID" in sim.status["monitoring"]["requested"]["problem"]
    assert "onDemand" not in told(sim)[0]["capture"]


@pytest.mark.parametrize(
    ("capture", "nodes", "reason"),
    [
        ({"random": "0/day", "uncertain": "0/day", "drifting": "0/day"}, 1, "NothingToCapture"),
        ({"fleet": {"images": "0/day"}}, 1, "NothingToCapture"),
        ({"fleet": {"images": "2/day"}}, 3, "BudgetTooSmall"),
        ({}, 1, "ImagesKept"),
    ],
)
def test_a_budget_that_leaves_nothing_is_told(
    capture: dict[str, Any], nodes: int, reason: str
) -> None:
    sim = Sim(*(f"a-{n}" for n in range(nodes)), monitoring={"capture": capture})
    (found,) = [c for c in sim.status["conditions"] if c["type"] == "Capturing"]
    assert (found["reason"], found["status"]) == (reason, str(reason == "ImagesKept"))


def share(servers: int, before: CaptureShare | None = None, **spec: Any) -> CaptureShare:
    found = capture_share(Capture.model_validate(spec), servers, before)
    assert found is not None
    return found


def test_small_fleets_keep_all_that_is_asked_for_and_large_ones_their_share() -> None:
    assert share(10) == CaptureShare(servers=10, random=24, uncertain=8, drifting=24)
    assert share(5000) == CaptureShare(servers=5000, random=2, uncertain=1, drifting=1)


@given(
    servers=st.integers(0, 20_000),
    random=RATES,
    uncertain=RATES,
    drifting=RATES,
    images=st.integers(0, 100_000).map(lambda number: f"{number}/day"),
)
def test_shares_stay_within_the_budget_and_within_what_is_asked(
    servers: int, random: str, uncertain: str, drifting: str, images: str
) -> None:
    asked: dict[str, Any] = {"random": random, "uncertain": uncertain, "drifting": drifting}
    found = share(servers, **asked, fleet={"images": images})
    parts = found.model_dump(exclude={"servers"})
    for name, rate in asked.items():
        assert 0 <= parts[name] <= per_day(rate)
    each = per_day(images) // max(servers, 1)
    assert sum(parts.values()) <= max(each, 0)
    if each and per_day(random):
        assert found.random
    whole = sum(map(per_day, asked.values())) <= each
    powers = all(
        not n or n & (n - 1) == 0 or n == per_day(asked[name]) for name, n in parts.items()
    )
    assert whole or powers


@given(st.lists(st.integers(4000, 5000), min_size=1, max_size=50))
def test_a_fleet_that_breathes_changes_no_share(sizes: list[int]) -> None:
    first = before = share(5000)
    for size in sizes:
        before = share(size, before)
        assert before == first
    assert share(int(SHRUNK * 5000) - 1, before).servers < 5000
    assert share(5001, before).servers == 5001


def test_whatever_somebody_writes_into_an_annotation_a_server_can_be_told() -> None:
    """A value that the ModelServer's schema refuses would stop its rollout, too."""
    sim = Sim("a-1", monitoring=BOTH)
    sim.ask(**{"drift-accept": "\U0001f4f7 \x01" * 40, "drift-reset": "all@2026-11-28T10:00:00Z"})
    sim.run()
    (one,) = told(sim)
    assert one["accepted"] == "---" * 21 + "-"
    assert one["reset"] == "all@2026-11-28T10:00:00Z"
    ModelServerSpec.model_validate(sim.of("ModelServer")[0]["spec"])
