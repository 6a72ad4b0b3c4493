"""Whatever happens during a rollout, servers answer with Ready versions and it converges."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from modelyard.core.deployment.selection import at_most
from modelyard.core.fleet.projections import node_of

from .sim import BAD, GOOD, NAME, TOO_MUCH, Sim, error_rate
from .world import version

NODES = ("a-1", "a-2", "b-1", "b-2", "b-3")
ROLLOUTS: tuple[dict[str, Any], ...] = (
    {},
    {"maxUnavailable": "50%", "failureBudget": 1, "analysis": error_rate()},
    {"steps": [{"weight": 20, "pause": {}}, {"nodes": 3, "analysis": error_rate()}]},
    {"steps": [{"pool": "b", "pause": {"duration": "1m"}}], "prestage": True},
    {
        "maxUnavailable": 2,
        "prestage": True,
        "prestageConcurrency": 2,
        "shadow": {"duration": "1m", "servers": 2, "analysis": error_rate(name="shadow")},
        "steps": [{"weight": 40, "analysis": error_rate(maxRatio=2.0)}],
    },
)
VALUES = {"promote": ("step", "full"), "rollback": tuple(map(str, range(1, 6)))}


class Rollouts(RuleBasedStateMachine):
    """Versions come good and bad; people pin, ask and change their minds; servers come, go, and
    cannot be reached; the operator is killed between any two writes."""

    @initialize(edge=st.booleans(), rollout=st.sampled_from(ROLLOUTS))
    def start(self, edge: bool, rollout: dict[str, Any]) -> None:
        self.sim = Sim(*NODES, edge=edge, rollout=rollout)
        self.rollout = rollout
        self.asked = 0
        self.next = 2
        self.heard: set[str] = set()
        self.strangers: set[str] = set()
        """Nodes that were gone or had trouble: that their pods are down is not the operator's
        doing."""

    # What happens outside.

    @rule(
        ready=st.sampled_from([True, True, True, False]),
        loadable=st.sampled_from([True, True, False]),
        figures=st.sampled_from([GOOD, GOOD, BAD, None]),
    )
    def a_version_comes(self, ready: bool, loadable: bool, figures: dict[str, int] | None) -> None:
        self.sim.add(version(self.next, "Ready" if ready else "Rejected"))
        self.sim.figures[self.next] = figures
        if not loadable:
            self.sim.unloadable.add(self.next)
        self.next += 1

    @rule(data=st.data())
    def the_spec_pins(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, self.next))
        self.sim.spec["version"] = {"policy": "Pinned", "number": number}

    @rule()
    def the_spec_follows_the_latest(self) -> None:
        self.sim.spec["version"] = {"policy": "Latest"}

    @rule(confidence=st.sampled_from([0.25, 0.6]))
    def the_pipeline_changes(self, confidence: float) -> None:
        self._change("pipeline", {"confidence": confidence})

    @rule(cpu=st.sampled_from(["1", "2", TOO_MUCH]))
    def the_server_changes(self, cpu: str) -> None:
        self._change("server", {"resources": {"cpu": cpu}})

    @rule(paused=st.booleans())
    def the_spec_pauses(self, paused: bool) -> None:
        self._change("rollout", {**self.rollout, "paused": paused})

    def _change(self, field: str, value: Any) -> None:
        self.sim.spec[field] = value
        self.sim.mdep["metadata"]["generation"] += 1

    @rule(
        action=st.sampled_from(["promote", "pause", "resume", "abort", "retry", "rollback"]),
        data=st.data(),
    )
    def somebody_asks(self, action: str, data: st.DataObject) -> None:
        self.asked += 1
        value = data.draw(st.sampled_from(VALUES.get(action, ("now",))))
        self.sim.ask(**{action: f"{value}@{self.asked}"})

    @precondition(lambda self: self.sim.edge)
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

    @rule(index=st.integers(0, 9))
    def a_pod_stops_answering(self, index: int) -> None:
        pods = self.sim.of("Pod")
        if pods:
            pod = pods[index % len(pods)]
            self.strangers.add(node_of(pod["spec"]))
            pod["status"]["conditions"][0]["status"] = "False"

    # Who acts.

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

    @rule(seconds=st.sampled_from([5, 30, 120, 700]))
    def time_passes(self, seconds: int) -> None:
        self.sim.wait(seconds)

    @rule()
    def the_operator_acts(self) -> None:
        self._watched(self.sim.operate)
        assert not self._writes(), "writes although nothing has changed"

    @rule(after=st.integers(0, 8))
    def the_operator_is_killed(self, after: int) -> None:
        self._watched(lambda: self.sim.crash("Deployment", NAME, after, self.sim.now))

    @rule()
    def everybody_acts(self) -> None:
        self._watched(self.sim.operate)
        self.sim.workloads()
        self._watched(self.sim.operate)
        self.sim.agents()
        self._watched(self.sim.operate)

    @rule(figures=st.sampled_from([GOOD, BAD]))
    def a_version_is_tried(self, figures: dict[str, int]) -> None:
        self.a_version_comes(True, True, figures)
        self.everybody_acts()

    @rule(rounds=st.integers(1, 4))
    def things_go_on(self, rounds: int) -> None:
        for _ in range(rounds):
            self.sim.wait(30)
            self.everybody_acts()

    def _writes(self) -> list[str]:
        before = len(self.sim.writes)
        self.sim.reconcile("Deployment", NAME, self.sim.now)
        return self.sim.writes[before:]

    def _watched(self, act: Any) -> None:
        """Servers that answer are taken only within maxUnavailable, or to be rescued from a
        version that was rolled back, by analysis or by hand."""
        sim = self.sim
        before = {s["metadata"]["name"]: s for s in sim.online()}
        idle = {n for n, s in before.items() if self._answers(s)}
        was = {n: dict(before[n]["spec"]["assigned"]) for n in before}
        act()
        after = {s["metadata"]["name"]: s for s in sim.online()}
        taken: dict[str, int] = {}
        for name in idle & set(after):
            if not self._answers(after[name]) and not self._rolled_back(was[name]["version"]):
                pool = self._pool(after[name])
                taken[pool] = taken.get(pool, 0) + 1
        busy: dict[str, int] = {}
        for name in set(before) & set(after) - idle:
            one = after[name]
            pool = self._pool(one)
            busy[pool] = busy.get(pool, 0) + (not self._answers(one) and not self._keeps(one))
        for pool, count in taken.items():
            here = sum(self._pool(s) == pool for s in after.values())
            most = at_most(self.rollout.get("maxUnavailable", 1), here)
            assert busy.get(pool, 0) + count <= most, (pool, busy, taken)

    def _rolled_back(self, number: int) -> bool:
        """Whether nobody is to wait to leave a version: it was rejected, or somebody went back to
        another one and it is not even what serves meanwhile."""
        status = self.sim.status
        if number == (status.get("rejected") or {}).get("version"):
            return True
        wanted = [(status.get(name) or {}).get("version") for name in ("stable", "candidate")]
        return bool(status.get("override")) and number not in wanted

    def _pool(self, server: dict[str, Any]) -> str:
        return str(server["spec"].get("pool", ""))

    def _ready(self, server: dict[str, Any]) -> bool:
        pod = self.sim.objects.get(("Pod", server["spec"]["podName"]))
        return pod is not None and pod["status"]["conditions"][0]["status"] == "True"

    def _answers(self, server: dict[str, Any]) -> bool:
        loaded = (server.get("status") or {}).get("loaded") or {}
        assigned = server["spec"]["assigned"]
        same = all(loaded.get(k) == assigned[k] for k in ("digest", "pipeline"))
        return same and self._ready(server)

    def _keeps(self, server: dict[str, Any]) -> bool:
        """Whether a server answers with what it had, after it could not load another version."""
        status = server.get("status") or {}
        return status.get("phase") == "Failed" and self._ready(server)

    # What holds at every moment.

    def _ready_versions(self) -> set[int]:
        return {
            v["spec"]["version"]
            for v in self.sim.of("ModelVersion")
            if v["status"]["phase"] == "Ready"
        }

    @invariant()
    def nothing_is_served_that_is_not_ready(self) -> None:
        ready = self._ready_versions()
        assert self._named() <= ready

    def _named(self) -> set[int]:
        found: list[Any] = [self.sim.status.get("stable"), self.sim.status.get("candidate")]
        for server in self.sim.of("ModelServer"):
            spec, status = server["spec"], server.get("status") or {}
            shadow = (spec.get("shadow") or {}).get("version")
            found += [spec["assigned"], spec.get("staged"), shadow, status.get("loaded")]
        return {one["version"] for one in found if one}

    @invariant()
    def what_is_shadowed_runs_beside_stable(self) -> None:
        stable = (self.sim.status.get("stable") or {}).get("version")
        for server in self.sim.of("ModelServer"):
            assert "shadow" not in server["spec"] or self._versions([server]) == {stable}

    @invariant()
    def what_answered_once_goes_on_answering(self) -> None:
        held = {
            s["metadata"]["uid"]
            for s in self.sim.of("ModelServer")
            if (s.get("status") or {}).get("loaded")
        }
        there = {s["metadata"]["uid"] for s in self.sim.of("ModelServer")}
        assert self.heard & there <= held
        self.heard |= held

    @invariant()
    def pods_that_never_start_take_only_as_many_servers_as_may_be_unavailable(self) -> None:
        if not self.sim.edge:
            return
        lost: dict[str, int] = {}
        for server in self.sim.of("ModelServer"):
            node = server["spec"]["nodeName"]
            if server["metadata"]["uid"] in self.heard and node not in self.strangers:
                pool = node.partition("-")[0]
                lost[pool] = lost.get(pool, 0) + self._never_starts(server)
        for pool, count in lost.items():
            nodes = sum(node.startswith(pool) for node in NODES)
            most = at_most(self.rollout.get("maxUnavailable", 1), nodes)
            assert count <= most + self.rollout.get("failureBudget", 0), lost

    def _never_starts(self, server: dict[str, Any]) -> bool:
        pod = self.sim.objects.get(("Pod", server["spec"]["podName"]))
        return pod is not None and pod["status"]["phase"] == "Pending"

    def teardown(self) -> None:
        """Once nothing happens any more but agents and time, a rollout ends or waits for
        somebody, and all servers that can be reached hold what they should."""
        if not hasattr(self, "sim"):
            return
        sim = self.sim
        status = self._rest()
        assert sim.run(rounds=1) == status, "does not come to rest"
        self.nothing_is_served_that_is_not_ready()
        online = sim.online()
        paused = (status.get("rollout") or {}).get("paused")
        # A version that cannot be served comes before the pause of what goes on serving.
        if status["phase"] == "Paused" or (paused and "goes on serving" in status["message"]):
            vanish = any(one["reason"] == "ServersVanish" for one in status["conditions"])
            halts = ("Step", "Inconclusive", "Requested", "Spec")
            assert vanish or (paused and paused["reason"] in halts), status
            return
        if "candidate" in status:
            # Only a person can help: new pods of the same version do not come up, or there is
            # nobody to ask.
            stuck = status["phase"] == "Degraded"
            assert stuck or not online, status["message"]
            return
        stable = status["stable"]["version"]
        assert self._versions(online) <= {stable}
        assert status["phase"] in ("Healthy", "Degraded", "Progressing"), status
        if status["phase"] == "Progressing" and not any(map(self._never_starts, online)):
            assert "goes on serving" in status["message"], status["message"]
        if stable not in sim.unloadable:
            assert all(self._answers(s) for s in online if self._reported(s)), status

    def _rest(self) -> dict[str, Any]:
        """Everybody acts until only a person could get it on; deadlines pass, while agents go on
        reporting."""
        status = self.sim.run(rounds=150)
        for _ in range(30):
            if "candidate" not in status or status["phase"] != "Progressing":
                break
            self.sim.wait(100)
            status = self.sim.run(rounds=150)
        return status

    def _reported(self, server: dict[str, Any]) -> bool:
        there = ("Pod", server["spec"]["podName"]) in self.sim.objects
        return there and not self._never_starts(server)

    def _versions(self, servers: Iterable[dict[str, Any]]) -> set[int]:
        return {s["spec"]["assigned"]["version"] for s in servers}


Rollouts.TestCase.settings = hypothesis_settings(stateful_step_count=25)
TestRollouts = Rollouts.TestCase
