"""The fleet's drift is the same in whatever order reports come, and is decided once."""

from __future__ import annotations

import json
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.core.deployment.driftareas import HEARD_SECONDS, SHOWN_POOLS, Rule
from modelyard.core.deployment.episodes import MAX_EPISODES
from modelyard.core.fleet import driftnull
from modelyard.core.fleet.driftcount import DriftCount, DriftFact, Tally, read_drift
from modelyard.core.fleet.fleets import Fleets

from .cluster import calibrating, drifting, stable
from .sim import Sim
from .test_fleet import deployment, parts

NODES = tuple(f"{pool}-{n}" for pool in ("a", "b") for n in range(1, 4))
AT_ONCE: dict[str, Any] = {"drift": {"fleet": {"for": "0s"}}}
REPORTS = st.sampled_from(
    [None, stable(), calibrating("CameraDark"), drifting("TopScore", -2.0), drifting("ClassMix", 3)]
)
EVENTS = st.one_of(
    st.tuples(st.just("report"), st.sampled_from(NODES), REPORTS),
    st.tuples(st.just("all"), st.just(""), REPORTS),
    st.tuples(st.just("dark"), st.sampled_from(NODES), st.booleans()),
    st.tuples(st.just("wait"), st.just(""), st.sampled_from([30, 300, 3700])),
    st.tuples(st.just("ask"), st.sampled_from(["drift-accept", "drift-reset"]), st.just("")),
    st.tuples(st.just("kill"), st.just(""), st.integers(0, 3)),
)


def values(tally: Tally) -> dict[str, Any]:
    return {name: getattr(tally, name) for name in Tally.__slots__}


@given(
    reports=st.lists(st.tuples(st.integers(0, 5), REPORTS), max_size=30),
    seed=st.integers(0, 2**32),
)
def test_counts_are_those_of_the_last_reports_in_any_order(
    reports: list[tuple[int, dict[str, Any] | None]], seed: int
) -> None:
    nodes = [f"{'ab'[n % 2]}-{n}" for n in range(6)]
    fleets, last = Fleets(lambda: 0.0), dict.fromkeys(nodes)
    every = [deployment(), *(part for node in nodes for part in parts(node))]
    random.Random(seed).shuffle(every)
    servers = {}
    for kind, obj in every:
        fleets.put(kind, obj)
        if kind == "ModelServer":
            servers[obj["spec"]["nodeName"]] = obj
    for number, report in reports:
        node = nodes[number]
        last[node] = report
        servers[node] = {**servers[node], "status": {**servers[node]["status"], "drift": report}}
        fleets.put("ModelServer", servers[node])
    expected = DriftCount()
    for node in nodes:
        expected.add(node, node[0], read_drift({"drift": last[node]}))
    found = fleets.of(deployment()[1]).drift
    assert values(found.all) == values(expected.all)
    assert {pool: values(t) for pool, t in found.pools.items()} == {
        pool: values(t) for pool, t in expected.pools.items()
    }
    for kind, obj in every:
        fleets.drop(kind, obj)
    assert values(fleets.of(deployment()[1]).drift.all) == values(Tally())


@given(edge=st.booleans(), events=st.lists(EVENTS, max_size=10))
@settings(max_examples=20)
def test_whatever_happens_an_episode_begins_and_ends_once(
    edge: bool, events: list[tuple[str, str, Any]]
) -> None:
    sim = Sim(*NODES, edge=edge, replicas=6, monitoring={"drift": {"fleet": {"for": "10m"}}})
    names = NODES if edge else tuple(f"pod-{n}" for n in range(6))
    for number, (what, name, value) in enumerate(events):
        if what == "report":
            sim.drifts[names[NODES.index(name) % len(names)]] = value
        elif what == "all":
            sim.drifts = dict.fromkeys(names, value)
        elif what == "dark":
            sim.dark(name, dark=value)
        elif what == "wait":
            sim.wait(value)
        elif what == "ask":
            sim.ask(**{name: str(number)})
        elif what == "kill":
            sim.agents()
            sim.crash("Deployment", "cameras", value)
        sim.round()
        # Deciding again says the same, and writes nothing.
        one, other = sim.look(), sim.look()
        assert one == other
        assert one.status == sim.status
    told = [event.reason for event in sim.told]
    monitoring = sim.status["monitoring"]
    began, ended = told.count("DriftDetected"), told.count("DriftEnded")
    killed = any(what == "kill" for what, _, _ in events)
    if not killed:  # An event follows its status: one that is lost with the operator stays lost.
        assert began == ended + ("episode" in monitoring)
    numbers = [one["number"] for one in monitoring.get("episodes") or ()]
    numbers = [monitoring["episode"]["number"], *numbers] if "episode" in monitoring else numbers
    assert numbers == list(range(len(numbers), 0, -1))[: len(numbers)] or len(numbers) >= 5
    (cond,) = [c for c in sim.status["conditions"] if c["type"] == "Drifting"]
    assert cond["status"] != "True" or "episode" in monitoring


@given(
    servers=st.integers(1, 5000),
    hold=st.floats(0.1, 5.0),
    run=st.floats(10.0, 365.0),
    share=st.sampled_from([0.0, 0.02, 0.5]),
)
@settings(max_examples=40, deadline=None)
def test_the_threshold_is_the_smallest_that_holds_the_run_length(
    servers: int, hold: float, run: float, share: float
) -> None:
    rule = Rule(hold=hold, run_length=run, fleet_run_length=365.0, min_share=share)
    exact = driftnull.threshold(
        servers, hold=hold, run_length=run, fleet_run_length=365.0, min_share=share
    )
    # One that is larger than the number of servers is never reached: how much larger is no matter.
    assert min(rule.needed(servers), servers + 1) == min(exact, servers + 1)


def test_thresholds_of_the_design() -> None:
    rule = Rule(hold=1.0, run_length=90.0, fleet_run_length=365.0, min_share=0.02)
    assert rule.needed(5000) == 189


def test_what_a_server_says_in_its_own_words_is_left_out() -> None:
    found: dict[str, Any] = drifting("Bogus", 1e300)
    found["findings"] += [
        {"kind": "Whatever", "since": "x"},
        {
            "kind": "Drift",
            "signal": "TopScore",
            "size": -1e300,
            "because": ["Brightness -3.2", "?"],
        },
    ]
    fact = read_drift({"drift": found})
    assert fact.signals == ("TopScore",)
    assert fact.sizes == (-1000.0,)
    assert (fact.because, fact.others) == (("Brightness",), ())
    assert read_drift({}) == DriftFact()


def test_the_status_stays_small_whatever_the_fleet_and_its_servers_say() -> None:
    pools = [f"{'p' * 58}{n}" for n in range(SHOWN_POOLS + 2)]
    sim = Sim(*(f"{pool}-{n}" for pool in pools for n in range(2)), monitoring=AT_ONCE)
    for number, node in enumerate(sim.of("Node")):
        report = drifting("TopScore", -2.0) | {"artifactDigest": f"sha256:{number:064}"}
        sim.drifts[node["metadata"]["name"]] = report
    for value in range(MAX_EPISODES + 2):
        sim.wait(2 * HEARD_SECONDS)
        sim.agents()
        sim.operate()
        sim.ask(user="u" * 128, **{"drift-accept": str(value)})
        sim.operate()
    sim.operate()
    found = sim.status["monitoring"]
    assert len(found["episodes"]) == MAX_EPISODES
    assert len(found["pools"]) == SHOWN_POOLS
    assert len(json.dumps(found)) < 5_000
