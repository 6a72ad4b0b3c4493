"""What may happen in a random story of a rollout: people, the cluster, time, kills.

`rollout_rules.py` says what must hold then, `test_rollout_machine.py` runs it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from modelyard.core.fleet.projections import node_of

from .sim import BAD, GOOD, NAME, TOO_MUCH, Sim, error_rate
from .world import version

NODES = ("a-1", "a-2", "b-1", "b-2", "b-3")
HALT: dict[str, Any] = {"pause": {}}
MINUTE: dict[str, Any] = {"pause": {"duration": "1m"}}
ROLLOUTS: tuple[dict[str, Any], ...] = (
    {},
    {"maxUnavailable": "50%", "failureBudget": 1, "analysis": error_rate()},
    {"steps": [{"weight": 20, **HALT}, {"nodes": 3, "analysis": error_rate()}]},
    {"steps": [{"pool": "b", **MINUTE}], "prestage": True},
    {"maxUnavailable": 2, "steps": [{"weight": 20}, {"weight": 60, **HALT}]},
    {
        "maxUnavailable": 2,
        "prestage": True,
        "prestageConcurrency": 2,
        "shadow": {"duration": "1m", "servers": 2, "analysis": error_rate(name="shadow")},
        "steps": [{"weight": 40, "analysis": error_rate(maxRatio=2.0)}],
    },
)
STEPS: tuple[dict[str, Any], ...] = (
    {"weight": 20, **HALT},
    {"weight": 60, **HALT},
    {"weight": 40},
    {"nodes": 2, **HALT},
    {"pool": "a"},
    {"pool": "b", **HALT},
    {"pool": "labb"},
    {"pool": "labb", **MINUTE},
)
"""Steps that somebody puts in; no node is ever in a pool `labb`."""
ANALYSES: tuple[dict[str, Any] | None, ...] = (
    None,
    error_rate(),
    error_rate(max=0.5),
    error_rate(minSamples=500),
    error_rate(maxRatio=2.0),
)
VALUES = {"promote": ("step", "full"), "rollback": tuple(map(str, range(1, 6)))}
CLOCKS = tuple(timedelta(minutes=minutes) for minutes in (0, 0, -60, -10, 60))


def on_edge(machine: RolloutEvents) -> bool:
    return machine.sim.edge


def in_cluster(machine: RolloutEvents) -> bool:
    return not machine.sim.edge


class RolloutEvents(RuleBasedStateMachine):
    """Versions come good and bad; people pin, ask and change their minds; servers come, go, and
    cannot be reached; the operator is killed between any two writes."""

    sim_class: type[Sim] = Sim

    @initialize(
        edge=st.booleans(),
        rollout=st.sampled_from(ROLLOUTS),
        clocks=st.lists(st.sampled_from(CLOCKS), min_size=len(NODES), max_size=len(NODES)),
    )
    def start(self, edge: bool, rollout: dict[str, Any], clocks: list[timedelta]) -> None:
        self.sim = self.sim_class(*NODES, edge=edge, rollout=rollout)
        self.rollout = rollout
        self.asked = 0
        self.next = 2
        self.weights = 0
        self.was_ready = {1}
        """Versions that were Ready at some time: one that is gone may be served still."""
        self.strangers: set[str] = set()
        """Nodes that were gone or had trouble: that their pods are down is not the operator's
        doing."""
        self.new_promotes = 0
        """Promotes since the last decision."""
        self.promoted_full = False
        """Whether one of the rollout's was for all that is left."""
        self.sim.clocks = dict(zip(NODES, clocks, strict=True))
        self.begin()

    def begin(self) -> None:
        """The rules' own start."""

    # Versions.

    @rule(
        ready=st.sampled_from([True, True, True, False]),
        loadable=st.sampled_from([True, True, False]),
        figures=st.sampled_from([GOOD, GOOD, BAD, None]),
    )
    def a_version_comes(self, ready: bool, loadable: bool, figures: dict[str, int] | None) -> None:
        self.sim.add(version(self.next, "Ready" if ready else "Rejected"))
        self.sim.figures[self.next] = figures
        self.was_ready |= {self.next} if ready else set()
        if not loadable:
            self.sim.unloadable.add(self.next)
        self.next += 1

    @rule(data=st.data())
    def a_version_is_made_anew(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, self.next - 1))
        found = self.sim.objects.get(("ModelVersion", f"shelf-{number}"))
        if found is not None and number in self.was_ready:
            self.weights += 1
            self.sim.recreate(number, self.weights)

    @rule(data=st.data())
    def a_version_is_deleted(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, self.next - 1))
        self.sim.objects.pop(("ModelVersion", f"shelf-{number}"), None)

    # The spec.

    @rule(data=st.data())
    def the_spec_pins(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, self.next))
        self.sim.change(version={"policy": "Pinned", "number": number})

    @rule()
    def the_spec_follows_the_latest(self) -> None:
        self.sim.change(version={"policy": "Latest"})

    @rule(confidence=st.sampled_from([0.25, 0.6]))
    def the_pipeline_changes(self, confidence: float) -> None:
        self.sim.change(pipeline={"confidence": confidence})

    @rule(cpu=st.sampled_from(["1", "2", TOO_MUCH]))
    def the_server_changes(self, cpu: str) -> None:
        self.sim.change(server={"resources": {"cpu": cpu}})

    @rule(paused=st.booleans())
    def the_spec_pauses(self, paused: bool) -> None:
        self.sim.change(rollout={**self.rollout, "paused": paused})

    @rule(
        what=st.sampled_from(["insert", "append", "remove", "remove", "reverse"]),
        step=st.sampled_from(STEPS),
        at=st.integers(0, 3),
    )
    def the_steps_change(self, what: str, step: dict[str, Any], at: int) -> None:
        steps = list(self.rollout.get("steps") or ())
        if what in ("insert", "append"):
            steps.insert(0 if what == "insert" else len(steps), step)
        elif what == "remove" and steps:
            del steps[at % len(steps)]
        elif what == "reverse":
            steps.reverse()
        self._edit_rollout(steps=steps[:4])

    @rule(analysis=st.sampled_from(ANALYSES))
    def the_analysis_changes(self, analysis: dict[str, Any] | None) -> None:
        self._edit_rollout(analysis=analysis)

    def _edit_rollout(self, **fields: Any) -> None:
        rollout = {**self.rollout, **fields}
        self.rollout = {k: v for k, v in rollout.items() if v is not None}
        paused = self.sim.spec["rollout"].get("paused", False)
        self.sim.change(rollout={**self.rollout, "paused": paused})

    @precondition(in_cluster)
    @rule(replicas=st.sampled_from([0, 0, 1, 4, 6]))
    def somebody_scales(self, replicas: int) -> None:
        self.sim.scale(replicas)

    @precondition(in_cluster)
    @rule(capacity=st.sampled_from([None, 0, 2, 4]))
    def the_cluster_has_room_for(self, capacity: int | None) -> None:
        self.sim.capacity = capacity

    @precondition(on_edge)
    @rule(right=st.booleans())
    def the_selector_changes(self, right: bool) -> None:
        self.strangers |= set(NODES)
        self.sim.select_nodes(edge="true" if right else "ture")

    @rule(
        action=st.sampled_from(["promote", "pause", "resume", "abort", "retry", "rollback"]),
        data=st.data(),
    )
    def somebody_asks(self, action: str, data: st.DataObject) -> None:
        self.asked += 1
        value = data.draw(st.sampled_from(VALUES.get(action, ("now",))))
        self.sim.ask(**{action: f"{value}@{self.asked}"})
        if action == "promote":
            self.new_promotes += 1
            self.promoted_full |= value == "full"

    # The cluster.

    @precondition(on_edge)
    @rule(
        name=st.sampled_from(NODES),
        what=st.sampled_from(["joins", "leaves", "dark", "back", "moves", "unselected"]),
    )
    def a_node(self, name: str, what: str) -> None:
        sim = self.sim
        there = ("Node", name) in sim.objects
        if what in ("leaves", "dark", "moves", "unselected"):
            self.strangers.add(name)
        if what == "joins" and not there:
            sim.node(name)
        elif what == "leaves" and there:
            del sim.objects["Node", name]
        elif what in ("dark", "back") and there:
            sim.dark(name, dark=what == "dark")
        elif what in ("moves", "unselected") and there:
            marks = sim.objects["Node", name]["metadata"]["labels"]
            marks |= {"pool": "c"} if what == "moves" else {"edge": "false"}

    @precondition(on_edge)
    @rule(pool=st.sampled_from("ab"), dark=st.booleans())
    def a_pool_is_dark(self, pool: str, dark: bool) -> None:
        for name in NODES:
            if name.startswith(pool):
                self.a_node(name, "dark" if dark else "back")

    @rule(index=st.integers(0, 9))
    def a_pod_stops_answering(self, index: int) -> None:
        pods = self.sim.of("Pod")
        if pods:
            pod = pods[index % len(pods)]
            self.strangers.add(node_of(pod["spec"]))
            pod["status"]["conditions"][0]["status"] = "False"

    @rule()
    def kubernetes_acts(self) -> None:
        self.sim.workloads()

    @rule()
    def all_agents_act(self) -> None:
        self.sim.agents()

    @rule(index=st.integers(0, 9))
    def an_agent_acts(self, index: int) -> None:
        servers = self.sim.of("ModelServer")
        if servers:
            self.sim.agents(servers[index % len(servers)]["metadata"]["name"])

    # Time, and the operator.

    @rule(seconds=st.sampled_from([5, 30, 120, 700]))
    def time_passes(self, seconds: int) -> None:
        self.sim.wait(seconds)

    @rule(after=st.integers(0, 8))
    def the_operator_is_killed(self, after: int) -> None:
        self.sim.crash("Deployment", NAME, after)

    @rule()
    def everybody_acts(self) -> None:
        self.sim.round()

    @rule(figures=st.sampled_from([GOOD, BAD]))
    def a_version_is_tried(self, figures: dict[str, int]) -> None:
        self.a_version_comes(True, True, figures)
        self.everybody_acts()

    @rule(figures=st.sampled_from([GOOD, GOOD, BAD]))
    def a_version_goes_as_far_as_it_can(self, figures: dict[str, int]) -> None:
        self.a_version_comes(True, True, figures)
        self.sim.run(rounds=12)

    @rule(rounds=st.integers(1, 4))
    def things_go_on(self, rounds: int) -> None:
        for _ in range(rounds):
            self.sim.wait(30)
            self.everybody_acts()
