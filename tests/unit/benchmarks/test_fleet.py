"""The fleet benchmark's played agents, their figures, and what is made of measurements."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from modelyard.api.modelserver import ModelServerStatus
from modelyard.core.fleet.figures import quantile
from modelyard.core.fleet.projections import read_server

from ...benchmarks.fleet import __main__ as command
from ...benchmarks.fleet import control, drift, nodes, verdicts
from ...benchmarks.fleet.agent import NEVER, Agent
from ...benchmarks.fleet.config import BAD, GOOD, Behaviour, FleetConfig, Span, candidate
from ...benchmarks.fleet.meters import Seen, parse_requests
from ...benchmarks.fleet.traffic import Traffic, bucket_shares
from ..mergepatch import merged

START = 1_800_000_000.0
NODE = "edge-00007"


def assignment(version: int) -> dict[str, Any]:
    return {
        "modelVersion": f"fleet-{version}",
        "version": version,
        "artifact": "onnx",
        "format": "onnx",
        "digest": f"sha256:{version:064x}",
        "manifestDigest": f"sha256:{version + 100:064x}",
        "pipeline": {"confidence": 0.25, "iou": 0.7, "maxDetections": 300},
    }


def calm(**more: Any) -> FleetConfig:
    """Fetches of 4 s and loads of 2 s, exactly; figures every 10 s and 100 s, nearly."""
    return FleetConfig(fetch=Span(4.0, 0.0), load=Span(2.0, 0.0), **more)


class Played:
    """One agent, with an API server that takes what it says."""

    def __init__(self, config: FleetConfig | None = None) -> None:
        self.agent = Agent(NODE, config or calm())
        self.now = START
        self.said: list[tuple[float, dict[str, Any]]] = []
        self.server: dict[str, Any] = {
            "metadata": {
                "name": "server", "uid": "u", "generation": 0, "resourceVersion": "1",
                "labels": {}, "creationTimestamp": "2027-01-15T08:00:00Z",
            },
            "spec": {"deployment": "fleet", "podName": "pod", "nodeName": NODE},
            "status": {},
        }  # fmt: skip

    def tell(self, **spec: Any) -> Played:
        """The operator writes the spec."""
        metadata = {**self.server["metadata"]}
        metadata["generation"] += 1
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)
        self.server = {**self.server, "metadata": metadata, "spec": {**self.server["spec"], **spec}}
        self.agent.see(self.server, self.now)
        return self

    def run(self, seconds: float) -> Played:
        """Time passes."""
        end = self.now + seconds
        while (at := min(self.agent.works_at, self.agent.speaks_at)) <= end:
            self.now = max(self.now, at)
            if self.agent.wake(self.now) and (patch := self.agent.speak(self.now)) is not None:
                self.said.append((self.now - START, patch["status"]))
                self.server["status"] = merged(self.server["status"], patch["status"])
        self.now = end
        return self

    @property
    def status(self) -> ModelServerStatus:
        return ModelServerStatus.model_validate(self.server["status"])


def test_an_assigned_version_is_fetched_loaded_and_then_answers() -> None:
    played = Played().tell(assigned=assignment(1)).run(7)
    phases = [(round(at, 1), status["phase"]) for at, status in played.said]
    assert phases == [(0.2, "Fetching"), (4.2, "Loading"), (6.2, "Ready")]
    fact = read_server(played.server)
    assert fact is not None
    assert fact.holds


def test_a_version_on_the_disk_needs_no_fetch() -> None:
    played = Played().tell(assigned=assignment(1)).run(10).tell(assigned=assignment(2)).run(10)
    begun = played.now
    played.tell(assigned=assignment(1)).run(3)
    assert played.status.loaded is not None
    assert played.status.loaded.version == 1
    assert [p.version for p in played.status.history or ()] == [2, 1]
    assert played.said[-1][0] < begun - START + 2.5


def test_a_young_version_is_reported_often_and_a_mature_one_seldom() -> None:
    young = Played().tell(assigned=assignment(1)).run(7)
    before = len(young.said)
    assert 9 <= len(young.run(110).said) - before <= 13
    mature = Played()
    mature.agent.mature = True
    mature.tell(assigned=assignment(1)).run(7)
    before = len(mature.said)
    assert 1 <= len(mature.run(110).said) - before <= 2


def test_a_version_that_never_loads_leaves_the_old_one_serving() -> None:
    played = Played(calm(versions={2: Behaviour(unloadable=1.0)}))
    played.tell(assigned=assignment(1)).run(10).tell(assigned=assignment(2)).run(10)
    assert played.status.phase == "Failed"
    assert played.status.loaded is not None
    assert played.status.loaded.version == 1
    fact = read_server(played.server)
    assert fact is not None
    assert "out of memory" in fact.failure


def test_a_failed_fetch_is_tried_again_until_it_succeeds() -> None:
    played = Played(calm(fetch_failures=0.7, seed=3)).tell(assigned=assignment(1)).run(2000)
    assert played.status.phase == "Ready"
    assert any(status.get("failures") for _, status in played.said)


def test_a_node_that_is_cut_off_says_nothing_and_catches_up_when_it_returns() -> None:
    played = Played().tell(assigned=assignment(1)).run(10)
    played.agent.leave()
    before = len(played.said)
    played.tell(assigned=assignment(2)).run(500)
    assert len(played.said) == before
    played.agent.come_back(played.now)
    assert played.run(7).status.phase == "Ready"
    assert played.status.loaded is not None
    assert played.status.loaded.version == 2


def test_a_server_without_a_change_says_now_and_then_that_it_is_there() -> None:
    played = Played(calm(asked=0.0))
    played.agent.mature = True
    played.tell(assigned=assignment(1)).run(10)
    times = [at for at, _ in played.run(400).said][3:]
    assert len(times) >= 3
    assert all(b - a < 115 for a, b in itertools.pairwise(times))


def test_a_staged_version_is_reported_once_it_is_fetched() -> None:
    played = Played().tell(assigned=assignment(1)).run(10).tell(staged=assignment(2)).run(5)
    assert played.status.staged is not None
    assert played.status.staged.version == 2
    begun = played.now
    played.tell(assigned=assignment(2), staged=None).run(3)
    assert played.status.phase == "Ready"
    assert played.said[-1][0] < begun - START + 3
    assert played.status.staged is None


def test_wrong_answers_in_shadow_lower_the_agreement() -> None:
    played = Played(calm(versions={2: Behaviour(agreement=0.5)}))
    played.tell(assigned=assignment(1)).run(10)
    played.tell(shadow={"version": assignment(2), "share": 0.5}).run(120)
    shadow = played.status.shadow
    assert shadow is not None
    assert shadow.images > 100
    assert shadow.matched / shadow.stable_boxes == pytest.approx(0.5, abs=0.1)
    assert sum(shadow.latency) == shadow.images


def test_a_version_that_never_loads_says_so_in_shadow() -> None:
    played = Played(calm(versions={2: Behaviour(unloadable=1.0)}))
    played.tell(assigned=assignment(1)).run(10)
    played.tell(shadow={"version": assignment(2), "share": 0.5}).run(60)
    assert played.status.shadow is not None
    assert "out of memory" in (played.status.shadow.failure or "")
    assert played.status.phase == "Ready"


def test_the_same_seed_gives_the_same_agent() -> None:
    one, other, third = (
        Played(FleetConfig(seed=seed)).tell(assigned=assignment(1)).run(300) for seed in (1, 1, 2)
    )
    assert one.said == other.said
    assert one.said != third.said


def test_latencies_fall_into_the_buckets_of_their_distribution() -> None:
    shares = bucket_shares(Behaviour(latency_ms=18.0, latency_sigma=0.35), 1.0)
    assert shares.sum() == pytest.approx(1.0)
    assert quantile([int(s * 1_000_000) for s in shares], 0.5) == pytest.approx(18.0, rel=0.05)
    p95 = quantile([int(s * 1_000_000) for s in shares], 0.95)
    assert p95 == pytest.approx(18.0 * 1.778, rel=0.1)


def test_figures_are_of_at_most_a_minute_and_add_up() -> None:
    traffic = Traffic(1, NODE, rate=10.0, speed=1.0)
    figures = traffic.figures(3, Behaviour(error_rate=0.1, confidence=0.6), 600)
    assert figures is not None
    assert figures.seconds == 60
    assert sum(figures.latency) == figures.requests
    assert figures.failures / (figures.requests + figures.failures) == pytest.approx(0.1, abs=0.05)
    assert figures.confidence_millis / figures.boxes == pytest.approx(600, abs=30)
    assert traffic.figures(3, GOOD, 0.2) is None


def test_each_seed_has_candidates_of_its_own_and_bad_ones_stay_bad() -> None:
    assert candidate("good", 1) == candidate("good", 1) != candidate("good", 2)
    for seed in range(20):
        assert candidate("good", seed).latency_ms < 1.06 * GOOD.latency_ms
        assert candidate("slow", seed).latency_ms > 1.5 * 1.06 * GOOD.latency_ms
        assert candidate("errors", seed).error_rate == BAD["errors"].error_rate


def test_an_agent_without_a_server_has_nothing_to_do() -> None:
    agent = Agent(NODE, calm())
    assert agent.works_at == agent.speaks_at == NEVER
    assert not agent.wake(START)


def test_nodes_differ_in_site_region_and_hardware() -> None:
    made = [nodes.node(number)["metadata"]["labels"] for number in range(400)]
    assert len({m["topology.kubernetes.io/zone"] for m in made}) == 16
    assert len({m[nodes.REGION] for m in made}) == nodes.REGIONS
    assert sum("nvidia.com/gpu.product" in m for m in made) == 200


def test_writes_of_the_operator_are_told_from_reads_and_leases() -> None:
    text = """
modelyard_api_requests_total{code="200",kind="ModelServer",verb="apply"} 12.0
modelyard_api_requests_total{code="409",kind="ModelServer",verb="apply"} 1.0
modelyard_api_requests_total{code="200",kind="Lease",verb="update"} 99.0
modelyard_api_requests_total{code="200",kind="Node",verb="list"} 3.0
modelyard_api_requests_total{code="200",kind="Deployment",verb="patch_status"} 4.0
"""
    assert parse_requests(text) == {"apply ModelServer": 13, "patch_status Deployment": 4}


def test_the_largest_state_and_each_stage_of_a_deployment_are_kept() -> None:
    seen = Seen()
    for moment, (step, padding) in enumerate([(1, "x" * 100), (1, ""), (2, "")]):
        rollout = {"stage": "Step", "step": step}
        status = {"phase": "Progressing", "rollout": rollout, "message": padding}
        seen.take({"metadata": {"name": "fleet"}, "status": status}, float(moment))
    assert seen.history["fleet"] == [(0.0, "Progressing Step 1"), (2.0, "Progressing Step 2")]
    assert seen.largest["fleet"] > 150


@pytest.mark.parametrize(
    ("kind", "outcome", "told", "right"),
    [
        ("good", "Succeeded", 200, True),
        ("good", "RolledBack", 2, False),
        ("good", "", 2, False),
        ("slow", "RolledBack", 2, True),
        ("slow", "RolledBack", 20, False),
        ("slow", "Succeeded", 200, False),
    ],
)
def test_a_verdict_is_right_if_good_gets_everywhere_and_bad_no_further_than_one_wave(
    kind: str, outcome: str, told: int, right: bool
) -> None:
    one = verdicts.Verdict(1, kind, outcome, told, 2, 10.0, "")
    assert one.right is right
    goals = verdicts.report([one])[1]
    judged = goals[1] if kind == "good" else goals[0]
    assert judged.met is right


def test_the_cost_of_a_change_is_compared_between_the_sizes() -> None:
    small = control.Control(500, 600, 5.0, 0.5, 0, 1.0, 100)
    large = control.Control(5000, 600, 5.0, 0.6, 0, 2.0, 100)
    goals = control.report([small, large])[1]
    assert [(goal.measured, goal.met) for goal in goals] == [(1.2, True), (2.0, False)]
    assert not any(goal.met for goal in control.report([small])[1])


def test_an_agent_that_is_asked_to_reports_of_drift_until_it_is_accepted() -> None:
    played = Played().tell(assigned=assignment(1)).run(10)
    assert played.status.drift is None
    played.tell(monitoring={"drift": {}}).run(5)
    assert played.status.drift is not None
    assert played.status.drift.state == "Stable"
    played.agent.see_drift(drift.alarm("TopScore", -3.0), played.now)
    fact = read_server(played.run(5).server)
    assert fact is not None
    assert (fact.drift.drifts, fact.drift.signals) == (True, ("TopScore",))
    said = len(played.said)
    played.agent.accepts = True
    played.tell(monitoring={"drift": {}, "accepted": "1"}).run(5)
    assert (played.status.drift.state, played.status.drift.findings) == ("Stable", None)
    assert len(played.said) == said + 1
    played.tell(monitoring=None).run(5)
    assert "drift" not in played.server["status"]


def test_drift_is_judged_by_what_is_written() -> None:
    steps = [
        drift.Step("quiet", 1, 20.0, 3.0, 0, 0),
        drift.Step("change", 1200, 25.0, 1.5, 0, 40),
        drift.Step("wave", 5000, 80.0, 1.0, 0, 90, noticed=1.0),
        drift.Step("accept", 5000, 110.0, 2.0, 5000, 100, noticed=100.0),
    ]
    tables, goals = drift.report(steps, 5000)
    assert len(tables[0].rows) == 4
    assert [(goal.measured, goal.met) for goal in goals] == [(0, True), (1.5, True), (50, True)]
    steps[0].statuses = 1
    assert not drift.report(steps, 5000)[1][0].met
    assert not any(goal.met for goal in drift.report([], 5000)[1])


def test_options_reach_the_played_agents() -> None:
    options = command.parse(["rollout", "--smoke", "--fetch", "9", "--requests", "2"])
    made = command.config(options)
    assert (made.fetch.median, made.requests) == (9.0, 2.0)
    assert options.nodes < 100
    with pytest.raises(SystemExit):
        command.parse(["nothing"])
