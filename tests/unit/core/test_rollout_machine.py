"""Whatever happens during a rollout, servers answer with Ready versions and it converges."""

from __future__ import annotations

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from .test_deployment import assigned, load, refuse, serving_pod
from .world import World, deployment, version

SERVERS = 4


class Rollouts(RuleBasedStateMachine):
    """Versions come, get rejected, servers come, go, load and refuse, the user pins and unpins."""

    @initialize(budget=st.sampled_from([1, 2, "50%"]))
    def start(self, budget: int | str) -> None:
        target = {"cluster": {"replicas": SERVERS}}
        spec = {"target": target, "rollout": {"maxUnavailable": budget}}
        self.world = World(deployment(**spec), version(1))
        self.budget = 2 if budget == "50%" else int(budget)
        self.next = 2
        self.refused: set[int] = set()
        self.world.settle("Deployment", "cameras")
        for number in range(SERVERS):
            serving_pod(self.world, f"cameras-{number}")
        self.world.settle("Deployment", "cameras")
        for number in range(SERVERS):
            load(self.world, f"cameras-{number}")
        self.world.settle("Deployment", "cameras")

    @rule(good=st.booleans(), loadable=st.booleans())
    def new_version(self, good: bool, loadable: bool) -> None:
        self.world.add(version(self.next, "Ready" if good else "Rejected"))
        if not loadable:
            self.refused.add(self.next)
        self.next += 1

    @rule(data=st.data())
    def pin(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, self.next))
        self.world.objects["Deployment", "cameras"]["spec"]["version"] = {
            "policy": "Pinned",
            "number": number,
        }

    @rule()
    def unpin(self) -> None:
        self.world.objects["Deployment", "cameras"]["spec"]["version"] = {"policy": "Latest"}

    @rule(index=st.integers(0, SERVERS - 1))
    def agent_acts(self, index: int) -> None:
        name = sorted(assigned(self.world))[index]
        if assigned(self.world)[name] in self.refused:
            refuse(self.world, name, "refused")
        else:
            load(self.world, name)

    @rule()
    def operator_acts(self) -> None:
        self.world.reconcile("Deployment", "cameras")

    @invariant()
    def only_ready_versions_are_assigned(self) -> None:
        for number in assigned(self.world).values():
            assert (
                self.world.objects["ModelVersion", f"shelf-{number}"]["status"]["phase"] == "Ready"
            )

    @invariant()
    def every_server_answers_with_a_version_that_was_ready(self) -> None:
        for server in self.world.of("ModelServer"):
            held = server["status"]["loaded"]["modelVersion"]
            assert self.world.objects["ModelVersion", held]["status"]["phase"] == "Ready"

    @invariant()
    def the_budget_is_kept(self) -> None:
        goal = (
            self.world.objects["Deployment", "cameras"]["status"].get("candidate")
            or self.world.objects["Deployment", "cameras"]["status"]["stable"]
        )["version"]
        switching = [
            s
            for s in self.world.of("ModelServer")
            if s["spec"]["assigned"]["version"] == goal and s["status"]["loaded"]["version"] != goal
        ]
        assert len(switching) <= self.budget

    def teardown(self) -> None:
        """Once inputs stop, all servers end up on one version, unless Triton refuses it."""
        if not hasattr(self, "world"):
            return
        for _ in range(4 * SERVERS):
            self.world.settle("Deployment", "cameras")
            for name, number in assigned(self.world).items():
                if number in self.refused:
                    refuse(self.world, name, "refused")
                else:
                    load(self.world, name)
        final = self.world.settle("Deployment", "cameras")["status"]
        if "candidate" in final:
            assert final["candidate"]["version"] in self.refused
        else:
            assert set(assigned(self.world).values()) == {final["stable"]["version"]}


Rollouts.TestCase.settings = hypothesis_settings(
    max_examples=40, stateful_step_count=25, deadline=None
)
TestRollouts = Rollouts.TestCase
