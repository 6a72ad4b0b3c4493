"""A rollout goes stage by stage, halts where it should, and returns where a figure is bad."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from modelyard.core.plan import QueryResult

from .sim import BAD, NAME, Sim, error_rate
from .world import artifact, version

FOUR = ("a-1", "a-2", "b-1", "b-2")
TEN = tuple(f"a-{i}" for i in range(5)) + tuple(f"b-{i}" for i in range(5))
HALT: dict[str, Any] = {"pause": {}}
FAST: dict[str, Any] = {"maxUnavailable": "100%"}


def rolling(*nodes: str, figures: dict[str, int] | None = None, **rollout: Any) -> Sim:
    """Version 2 comes to a fleet that holds version 1."""
    sim = Sim(*(nodes or FOUR), rollout=rollout)
    if figures is not None:
        sim.figures[2] = figures
    sim.add(version(2))
    sim.run()
    return sim


@pytest.mark.parametrize(
    ("step", "count"),
    [
        pytest.param({"weight": 1}, 1, id="a percentage is rounded up"),
        pytest.param({"weight": 25}, 3, id="and of all servers"),
        pytest.param({"weight": 100}, 10, id="all"),
        pytest.param({"nodes": 4}, 4, id="a number"),
        pytest.param({"nodes": 99}, 10, id="more than there are"),
        pytest.param({"pool": "b"}, 5, id="a pool"),
    ],
)
def test_a_step_moves_as_many_servers_as_it_says(step: dict[str, Any], count: int) -> None:
    sim = rolling(*TEN, steps=[{**step, **HALT}], **FAST)
    assert len(sim.on(2)) == count
    assert sim.status["phase"] == "Paused"
    assert sim.status["rollout"]["paused"]["reason"] == "Step"
    if "pool" in step:
        assert all(name.startswith(step["pool"]) for name in sim.on(2))


def test_steps_are_cumulative_and_wait_each_for_its_own_promote() -> None:
    steps: list[dict[str, Any]] = [{"weight": 20}, {"pool": "a"}, {"weight": 30}]
    sim = rolling(*TEN, steps=[{**step, **HALT} for step in steps], **FAST)
    found = [sorted(sim.on(2))]
    for number in range(3):
        sim.ask(promote=f"step@{number}")
        sim.run()
        found.append(sorted(sim.on(2)))
    assert [len(one) for one in found] == [2, 6, 6, 10]
    assert all(set(earlier) <= set(later) for earlier, later in pairwise(found))
    assert {name[0] for name in found[0]} == {"a", "b"}, "a wave is spread over sites"
    assert sim.status["phase"] == "Healthy"


def test_a_pause_with_a_duration_ends_by_itself() -> None:
    sim = Sim(*FOUR, rollout={"steps": [{"weight": 25, "pause": {"duration": "2m"}}], **FAST})
    sim.add(version(2))
    sim.round()
    sim.round()
    assert (sim.status["phase"], len(sim.on(2))) == ("Paused", 1)
    assert sim.look().requeue_after == 120
    sim.wait(119)
    assert len(sim.operate() and sim.on(2)) == 1
    sim.wait(1)
    sim.operate()
    assert len(sim.on(2)) == 4


SLEEPY = {
    "cluster": {
        "replicas": 1,
        "autoscaling": {"maxReplicas": 2},
        "scaleToZero": {"after": "10m"},
    }
}


def test_servers_that_sleep_skip_no_halt_of_a_rollout() -> None:
    sim = Sim(edge=False, target=SLEEPY, rollout={"steps": [{"weight": 50, **HALT}]})
    sim.change("", target={"cluster": {**SLEEPY["cluster"], "replicas": 0}})
    sim.run()
    assert sim.status["phase"] == "Suspended"
    sim.add(version(2))
    sim.run()
    assert sim.status["stable"]["version"] == 1
    assert "goes on when one wakes a server" in sim.status["message"]
    sim.change("", target=SLEEPY)
    sim.run()
    assert (sim.status["phase"], sim.status["rollout"]["paused"]["reason"]) == ("Paused", "Step")
    sim.ask(promote="step@1")
    sim.run()
    assert (sim.status["phase"], sim.status["stable"]["version"]) == ("Healthy", 2)


def test_servers_that_sleep_wake_with_what_served_since_nothing_proves_another() -> None:
    sim = Sim(edge=False, target=SLEEPY)
    sim.change("", target={"cluster": {**SLEEPY["cluster"], "replicas": 0}})
    sim.add(version(2))
    sim.run()
    assert (sim.status["phase"], sim.status["stable"]["version"]) == ("Suspended", 1)
    sim.change("", target=SLEEPY)
    sim.run()
    assert (sim.status["phase"], sim.status["stable"]["version"]) == ("Healthy", 2)


def test_promote_full_skips_what_is_left_but_not_max_unavailable() -> None:
    nodes = ("a-1", "a-2", "a-3", "a-4")
    sim = Sim(*nodes, rollout={"steps": [{"weight": 25, **HALT}], "analysis": error_rate()})
    sim.add(version(2))
    sim.run()
    sim.ask(promote="full@1")
    for count in (2, 3, 4):
        sim.operate()
        assert len(sim.on(2)) == count
        sim.agents()
    assert sim.run()["phase"] == "Healthy"


@pytest.mark.parametrize("after", range(6))
def test_an_action_acts_once_wherever_the_operator_is_killed(after: int) -> None:
    sim = rolling(*FOUR, steps=[{"weight": 25, **HALT}, {"weight": 50, **HALT}])
    sim.ask(promote="step@1")
    sim.crash("Deployment", NAME, after, sim.now)
    sim.run()
    assert len(sim.on(2)) == 2
    assert sim.status["rollout"]["step"] == 2
    assert sim.status["actions"] == {"promote": "step@1"}
    sim.ask(promote="step@1")
    sim.run()
    assert len(sim.on(2)) == 2, "the same value acts once"


def test_pause_and_resume() -> None:
    sim = Sim("a-1", "a-2", "a-3")
    sim.add(version(2))
    sim.operate()
    sim.ask(pause="1")
    sim.operate()
    sim.run()
    assert (sim.status["phase"], len(sim.on(2))) == ("Paused", 1)
    sim.wait(3600)
    assert sim.run()["phase"] == "Paused", "who is asked to wait is not late"
    sim.ask(resume="1")
    assert sim.run()["phase"] == "Healthy"


@pytest.mark.parametrize("after", range(6))
def test_abort_returns_and_the_version_is_not_tried_again(after: int) -> None:
    sim = rolling(*FOUR, steps=[{"weight": 50, **HALT}])
    sim.ask(abort="1")
    sim.crash("Deployment", NAME, after, sim.now)
    status = sim.run()
    assert (status["phase"], sim.on(2)) == ("Degraded", set())
    assert status["rejected"]["reason"] == "Aborted"
    assert [r["outcome"] for r in status["history"]] == ["Aborted"]
    sim.wait(86_400)
    assert sim.run()["rejected"]["version"] == 2
    sim.ask(retry="1")
    assert (sim.run()["phase"], len(sim.on(2))) == ("Paused", 2)
    sim.add(version(3))
    sim.run()
    assert (sim.on(2), len(sim.on(3))) == (set(), 2), "strays are back before the rollout goes on"


def test_a_rejected_version_gives_way_to_a_newer_one() -> None:
    sim = rolling(*FOUR, figures=BAD, analysis=error_rate(), steps=[{"weight": 25}])
    assert sim.status["rejected"]["version"] == 2
    sim.add(version(3))
    assert sim.run()["stable"]["version"] == 3
    assert "rejected" not in sim.status


@pytest.mark.parametrize("pinned", [True, False])
def test_a_rollback_by_hand_holds_until_something_else_is_wanted(pinned: bool) -> None:
    sim = rolling(*FOUR)
    if pinned:
        sim.spec["version"] = {"policy": "Pinned", "number": 2}
    sim.ask(rollback="1@now")
    status = sim.run()
    assert (status["phase"], status["stable"]["version"], len(sim.on(1))) == ("Healthy", 1, 4)
    assert status["override"]["insteadOf"] == 2
    sim.wait(3600)
    assert sim.run()["stable"]["version"] == 1
    sim.add(version(3))
    assert sim.run()["stable"]["version"] == (1 if pinned else 3)
    if pinned:
        sim.spec["version"] = {"policy": "Pinned", "number": 3}
        assert sim.run()["stable"]["version"] == 3
    assert "override" not in sim.status


@pytest.mark.parametrize("value", ["9@now", "4@now", "soon"])
def test_nobody_rolls_back_to_what_was_never_ready(value: str) -> None:
    sim = rolling(*FOUR)
    sim.add(version(4, "Rejected"))
    sim.ask(rollback=value)
    assert [e.reason for e in sim.look().events] == ["RollbackRefused"]
    assert sim.run()["stable"]["version"] == 2


def test_bad_figures_return_all_servers_at_once_and_are_told() -> None:
    sim = rolling(*FOUR, figures=BAD, analysis=error_rate(), steps=[{"weight": 50}])
    status = sim.status
    assert (status["phase"], sim.on(2)) == ("Degraded", set())
    assert status["rejected"]["reason"] == "AnalysisFailed"
    assert "errors 0.5 (must be ≤ 0.05)" in status["message"]
    assert status["history"][0]["outcome"] == "RolledBack"


@pytest.mark.parametrize(
    ("rollout", "outcome"),
    [
        pytest.param({"analysis": error_rate(minSamples=500)}, "Paused", id="too few samples"),
        pytest.param({"analysis": error_rate(minSamples=200)}, "Healthy", id="just enough"),
    ],
)
def test_too_few_samples_pause(rollout: dict[str, Any], outcome: str) -> None:
    sim = rolling(*FOUR, steps=[{"nodes": 1}], **rollout)
    assert sim.status["phase"] == outcome
    if outcome == "Paused":
        assert sim.status["rollout"]["paused"]["reason"] == "Inconclusive"
        assert "200 samples, 500 needed" in sim.status["message"]


@pytest.mark.parametrize(
    ("bounds", "outcome"),
    [
        pytest.param({"metric": "Confidence", "minRatio": 0.9}, "Healthy", id="ratio kept"),
        pytest.param({"metric": "Confidence", "minRatio": 1.1}, "Degraded", id="ratio missed"),
        pytest.param({"metric": "Confidence", "min": 0.8}, "Healthy", id="on the bound"),
        pytest.param({"metric": "ErrorRate", "maxRatio": 2}, "Healthy", id="twice nothing"),
        pytest.param({"metric": "LatencyP95", "max": 9}, "Paused", id="not measured"),
    ],
)
def test_figures_against_stable_also_when_none_is_left(
    bounds: dict[str, Any], outcome: str
) -> None:
    analysis = {"metrics": [{"name": "figure", **bounds}]}
    sim = rolling(*FOUR, steps=[{"weight": 50}], analysis=analysis)
    assert sim.status["phase"] == outcome
    if outcome == "Healthy":
        assert sim.on(1) == set()


@pytest.mark.parametrize(
    ("value", "problem", "phase"),
    [
        pytest.param(0.5, "", "Healthy", id="within the bound"),
        pytest.param(2.0, "", "Degraded", id="outside"),
        pytest.param(None, "no such series", "Paused", id="no answer"),
    ],
)
def test_a_query_of_prometheus(value: float | None, problem: str, phase: str) -> None:
    metric = {"name": "load", "query": 'load{v="{{candidate}}"}', "max": 1, "inconclusiveLimit": 0}
    sim = rolling(*FOUR, analysis={"metrics": [metric]}, **FAST)
    (question,) = sim.look().queries
    assert question.query == 'load{v="2"}'
    sim.answers[question.query] = QueryResult(0.5, "", question.at_least.replace(year=2025))
    assert sim.look().queries == (question,), "an old answer is none"
    sim.answers[question.query] = QueryResult(value, problem, sim.now)
    assert sim.operate()["phase"] == phase
    assert problem in sim.status["message"]


def test_a_misspelt_word_in_a_query_is_told_and_not_asked() -> None:
    metric = {"name": "load", "query": 'load{v="{{ candidat }}"}', "max": 1, "inconclusiveLimit": 0}
    sim = rolling(*FOUR, analysis={"metrics": [metric]}, **FAST)
    assert sim.operate()["phase"] == "Paused"
    assert "the query has {{candidat}}, which stands for nothing" in sim.status["message"]
    assert not sim.answers


def test_shadow_is_unseen_and_cleared_away() -> None:
    metric = {"name": "same", "metric": "Agreement", "min": 0.9, "interval": "30s"}
    shadow = {
        "duration": "1m",
        "servers": 2,
        "busyPercent": 40,
        "analysis": {"metrics": [metric]},
    }
    sim = Sim(*FOUR, rollout={"shadow": shadow})
    sim.add(version(2))
    sim.round()
    told = [s for s in sim.of("ModelServer") if s["spec"].get("shadow")]
    assert len(told) == 2
    assert told[0]["spec"]["shadow"]["share"] == 0.1
    assert told[0]["spec"]["shadow"]["busyPercent"] == 40
    assert sim.on(2) == set()
    assert sim.status["rollout"]["stage"] == "Shadow"
    assert sim.run()["phase"] == "Healthy"
    assert not any("shadow" in s["spec"] for s in sim.of("ModelServer"))
    sim.figures[3] = BAD
    sim.add(version(3))
    status = sim.run()
    assert (status["phase"], sim.on(3)) == ("Degraded", set())
    assert "same 0.2 (must be ≥ 0.9)" in status["message"]
    assert not any("shadow" in s["spec"] for s in sim.of("ModelServer"))


def test_a_version_that_cannot_be_shadowed_is_told_and_ends_at_the_deadline() -> None:
    sim = Sim(*FOUR, rollout={"shadow": {"duration": "1m", "servers": 2}})
    sim.unloadable.add(2)
    sim.add(version(2))
    sim.round()
    status = sim.round()
    assert status["phase"] == "Progressing"
    assert "0 of 2 servers shadow shelf-2" in status["message"]
    assert "2 could not and try again" in status["message"]
    assert "no memory" in status["message"]
    for _ in range(7):
        sim.wait(100)
        status = sim.round()
    assert (status["phase"], sim.on(2)) == ("Degraded", set())
    assert "no server has begun to shadow it for 600 s" in status["message"]
    assert "no memory" in status["message"]


def test_a_shadow_runs_beside_stable_only() -> None:
    sim = Sim(*FOUR, rollout={"shadow": {"duration": "1m", "servers": 2}, "steps": [{"nodes": 2}]})
    sim.spec["rollout"]["steps"][0] |= HALT
    sim.add(version(2))
    sim.run()
    assert len(sim.on(2)) == 2
    sim.add(version(3))
    beside = set()
    for _ in range(20):
        sim.crash("Deployment", NAME, 99, sim.now)  # One look.
        told = [s["spec"] for s in sim.of("ModelServer") if "shadow" in s["spec"]]
        beside |= {spec["assigned"]["version"] for spec in told}
        sim.agents()
    assert sim.status["rollout"]["stage"] == "Shadow"
    assert beside == {1}, "a server that had the superseded version ran the new one beside it"


def test_a_shadow_does_not_wait_for_nodes_that_stable_does_not_fit() -> None:
    two = version(2)
    two["status"]["artifacts"] = [artifact(7, name="t4", format="tensorrt", gpuProduct="T4")]
    sim = Sim("a-1", "a-2", rollout={"shadow": {"duration": "1m", "servers": "100%"}})
    sim.objects["Node", "a-1"]["metadata"]["labels"]["nvidia.com/gpu.product"] = "T4"
    sim.add(two)
    assert sim.run()["phase"] == "Healthy"
    assert sim.assigned() == {"a-1": 2, "a-2": 1}
    sim.add(version(3))
    sim.round()
    assert "shadow" in sim.server("a-1")["spec"]
    assert "shadow" not in sim.server("a-2")["spec"]
    assert sim.run()["phase"] == "Healthy"
    assert sim.assigned() == {"a-1": 3, "a-2": 3}


@pytest.mark.parametrize(
    ("late", "phase", "on"),
    [
        pytest.param(BAD, "Degraded", 0, id="worse later: back, before the shadow is over"),
        pytest.param(None, "Healthy", 4, id="as good all the time"),
    ],
)
def test_a_shadow_is_judged_until_its_end(late: Any, phase: str, on: int) -> None:
    metric = {"name": "same", "metric": "Agreement", "min": 0.9, "interval": "30s"}
    shadow = {"duration": "10m", "servers": 2, "analysis": {"metrics": [metric]}}
    sim = Sim(*FOUR, rollout={"shadow": shadow})
    sim.add(version(2))
    sim.round()
    for _ in range(6):
        sim.wait(30)
        sim.round()
    assert sim.status["rollout"]["stage"] == "Shadow"
    (measured,) = sim.status["rollout"]["analysis"]["metrics"]
    assert (measured["phase"], measured["failed"]) == ("Running", 0)
    assert measured["successful"] >= 2
    if late is not None:
        sim.figures[2] = late
    assert (sim.run()["phase"], len(sim.on(2))) == (phase, on)


def test_what_is_unclear_counts_from_the_end_of_a_shadow() -> None:
    metric = {"name": "same", "metric": "Agreement", "min": 0.9, "minSamples": 10**9}
    shadow = {"duration": "10m", "servers": 2, "analysis": {"metrics": [metric]}}
    sim = Sim(*FOUR, rollout={"shadow": shadow})
    sim.add(version(2))
    sim.round()
    for _ in range(10):
        sim.wait(30)
        sim.round()
        assert sim.status["phase"] == "Progressing"
    assert sim.run()["phase"] == "Paused"
    assert sim.on(2) == set()


def test_prestaging_keeps_to_its_concurrency() -> None:
    sim = Sim(*TEN, rollout={"prestage": True, "prestageConcurrency": 3, **FAST})
    sim.add(version(2))
    for count in (3, 6, 9, 10):
        sim.operate()
        told = [s for s in sim.of("ModelServer") if s["spec"].get("staged")]
        assert len(told) == count
        assert sim.on(2) == set()
        sim.agents()
    assert sim.run()["phase"] == "Healthy"
    assert len(sim.on(2)) == 10


def test_max_unavailable_is_of_each_pool() -> None:
    sim = Sim(*TEN)
    sim.add(version(2))
    sim.operate()
    assert sorted(name[0] for name in sim.on(2)) == ["a", "b"]


@pytest.mark.parametrize(("budget", "phase"), [(0, "Degraded"), (1, "Healthy"), ("10%", "Healthy")])
def test_the_failure_budget(budget: int | str, phase: str) -> None:
    sim = Sim(*TEN, rollout={"failureBudget": budget})
    sim.add(version(2))
    refusing = None
    for _ in range(30):
        sim.operate()
        for server in sim.of("ModelServer"):
            new = server["spec"]["assigned"]["version"] == 2
            refusing = refusing or (server["metadata"]["name"] if new else None)
            sim.unloadable = {2} if server["metadata"]["name"] == refusing else set()
            sim.agents(server["metadata"]["name"])
    if phase == "Healthy":
        assert sim.status["stable"]["version"] == 2
        assert sim.status["failedReplicas"] == 1
    else:
        assert sim.status["rejected"]["reason"] == "FailureBudgetExceeded"
        assert sim.on(2) == set()


def test_a_server_that_joins_during_a_long_analysis_is_not_late() -> None:
    sim = rolling(*FOUR, steps=[{"pool": "a"}], analysis=error_rate(interval="30m", count=1))
    sim.wait(1500)
    sim.node("a-9")
    sim.operate()
    sim.workloads()
    sim.operate()
    sim.agents()
    assert "rejected" not in sim.operate()


def test_with_no_pod_for_a_moment_nothing_is_skipped() -> None:
    sim = Sim(edge=False, replicas=1, rollout={"steps": [{"weight": 50, **HALT}]})
    del sim.objects["Pod", "pod-0"]
    sim.add(version(2))
    assert sim.operate()["stable"]["version"] == 1
    assert sim.run()["phase"] == "Paused"
    assert sim.status["stable"]["version"] == 1


def test_history_is_bounded() -> None:
    sim = Sim("a-1", rollout={"historyLimit": 3})
    for number in range(2, 7):
        sim.add(version(number))
        sim.run()
    assert [r["version"] for r in sim.status["history"]] == [6, 5, 4]
    assert sim.status["revision"] == 5


@pytest.mark.no_cover  # Thousands of servers: traced it takes four times as long.
def test_the_status_stays_small() -> None:
    names = [f"metric-{'x' * 30}-{i}" for i in range(10)]
    query = {"query": "up", "max": 1, "inconclusiveLimit": 0, "interval": "1s"}
    analysis = {"metrics": [{"name": name, **query} for name in names]}
    rollout = {
        "steps": [{"weight": 5 * i, "analysis": analysis} for i in range(1, 21)],
        "historyLimit": 20,
        "failureBudget": 0,
        **FAST,
    }
    sim = Sim(*(f"p{i:02}{'o' * 50}-1" for i in range(50)), rollout=rollout)
    sim.answers["up"] = QueryResult(None, "x" * 5000, sim.now.replace(year=2027))
    for number in range(2, 24):
        sim.add(version(number))
        sim.run(rounds=3)
        sim.ask(abort=f"{number}" + "y" * 200)
        sim.operate()
    sim.add(version(99))
    sim.run()
    assert len(sim.status["history"]) == 20
    assert len(sim.status["pools"]) == 50
    text = json.dumps(sim.status, separators=(",", ":"), ensure_ascii=False)
    assert len(text.encode()) < 20_000


def test_each_node_gets_what_fits_it() -> None:
    two = version(2)
    engine = artifact(7, name="t4", format="tensorrt", gpuProduct="T4")
    two["status"]["artifacts"].append(engine)
    sim = Sim("a-1", "a-2")
    sim.objects["Node", "a-1"]["metadata"]["labels"]["nvidia.com/gpu.product"] = "T4"
    sim.add(two)
    assert sim.run()["phase"] == "Healthy"
    formats = {n: sim.server(n)["spec"]["assigned"]["format"] for n in ("a-1", "a-2")}
    assert formats == {"a-1": "tensorrt", "a-2": "onnx"}
    three = version(3)
    three["status"]["artifacts"] = [engine]
    sim.add(three)
    status = sim.run()
    assert (status["phase"], status["unfitReplicas"]) == ("Healthy", 1)
    assert sim.assigned() == {"a-1": 3, "a-2": 2}


def test_a_superseded_version_leaves_within_max_unavailable() -> None:
    sim = rolling(*(f"a-{i}" for i in range(8)), steps=[{"nodes": 4, **HALT}], maxUnavailable=2)
    assert len(sim.on(2)) == 4
    sim.add(version(3))
    for _ in range(6):
        sim.operate()
        switching = [
            s
            for s in sim.of("ModelServer")
            if s["spec"]["assigned"]["version"] != s["status"]["loaded"]["version"]
        ]
        assert len(switching) <= 2
        sim.agents()
    assert [r["outcome"] for r in sim.status["history"]] == ["Superseded"]
    assert (sim.on(2), len(sim.on(3))) == (set(), 4)


def test_a_pin_that_cannot_be_served_hides_no_pause_of_what_goes_on() -> None:
    sim = Sim(*FOUR, rollout={"steps": [{"nodes": 1, **HALT}]})
    sim.spec["server"] = {"resources": {"cpu": "2"}}
    assert sim.run()["phase"] == "Paused"
    sim.spec["version"] = {"policy": "Pinned", "number": 9}
    status = sim.run()
    assert status["phase"] == "Paused"
    assert "pins ModelVersion shelf-9, which does not exist" in status["message"]
    assert "waits after step 1, 1 servers for a promote" in status["message"]
