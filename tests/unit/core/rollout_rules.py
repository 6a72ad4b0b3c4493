"""What must hold in a random story of a rollout: at each decision, and at every moment.

The rules see what a user sees, the status and the servers' specs, besides what the story itself
knows. `before` and `after` are called around each decision of the operator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hypothesis.stateful import invariant, rule

from modelyard.core.plan import Apply

from .cluster import NAME, name_of
from .rollout_events import NODES, RolloutEvents
from .sim import Sim


class WatchedSim(Sim):
    """A world whose decisions are watched."""

    rules: RolloutRules | None = None

    def _recorded(self, decide: Callable[[], Apply], now: datetime) -> Apply:
        if self.rules is None:
            return super()._recorded(decide, now)
        self.feed()
        before = self.rules.before()
        plan = super()._recorded(decide, now)
        self.rules.after(before)
        return plan


@dataclass(frozen=True)
class Moment:
    """What a decision started from."""

    status: dict[str, Any]
    online: dict[str, dict[str, Any]]
    """ModelServers that can be reached, by name."""
    idle: set[str]
    """Those that answer with what they are assigned."""
    assigned: dict[str, dict[str, Any]]
    """What all ModelServers were assigned."""


class RolloutRules(RolloutEvents):
    """Rules at each decision, and invariants."""

    sim_class = WatchedSim

    def begin(self) -> None:
        self.heard: set[str] = set()
        """UIDs of ModelServers that have answered."""
        self.answered: set[str] = set()
        """Digests that a server has answered with."""
        self.promotes = 0
        """Promotes since the rollout began that no step has used yet."""
        self.steps = self._steps()
        """Of the spec as the status knows it."""
        assert isinstance(self.sim, WatchedSim)
        self.sim.rules = self

    @rule()
    def the_operator_acts(self) -> None:
        self.sim.operate()
        writes = len(self.sim.writes)
        self.sim.reconcile("Deployment", NAME)
        assert len(self.sim.writes) == writes, "writes although nothing has changed"

    # Around each decision.

    def before(self) -> Moment:
        online = {name_of(s): s for s in self.sim.online()}
        every = self.sim.of("ModelServer")
        self.answered |= {d for s in every if self._ready(s) and (d := _loaded(s).get("digest"))}
        return Moment(
            dict(self.sim.status),
            online,
            {name for name, one in online.items() if self._answers(one)},
            {name_of(s): dict(s["spec"]["assigned"]) for s in every},
        )

    def after(self, before: Moment) -> None:
        self._within_max_unavailable(before)
        self._only_what_answered_becomes_stable(before)
        self._nothing_succeeds_that_nobody_holds(before)
        self._pauses_are_kept(before)
        self._only_named_digests_are_assigned(before)
        self._remember(before)

    def _within_max_unavailable(self, before: Moment) -> None:
        """Servers that answer are taken only within maxUnavailable, or to be rescued from a version
        that was rolled back, by analysis or by hand. Servers that have never run are not counted:
        they would block every rollout, and they say nothing about it (R7)."""
        after = {name_of(s): s for s in self.sim.online()}
        taken: dict[str, int] = {}
        for name in before.idle & set(after):
            was = before.assigned[name]["contentDigest"]
            if not self._answers(after[name]) and not self._rolled_back(was):
                pool = self._pool(after[name])
                taken[pool] = taken.get(pool, 0) + 1
        busy: dict[str, int] = {}
        for name in set(before.online) & set(after) - before.idle:
            one = after[name]
            pool = self._pool(one)
            down = not self._answers(one) and not self._keeps(one) and not self._never_ran(one)
            busy[pool] = busy.get(pool, 0) + down
        for pool, count in taken.items():
            here = sum(self._pool(s) == pool for s in after.values())
            most = most_of(self.rollout.get("maxUnavailable", 1), here)
            assert busy.get(pool, 0) + count <= most, (
                f"{count} servers of pool {pool!r} are taken, {busy.get(pool, 0)} do not answer "
                f"already, maxUnavailable is {most}"
            )

    def _rolled_back(self, content: str) -> bool:
        """Whether nobody is to wait to leave a version: it was rejected, or somebody went back to
        another one and it is not even what serves meanwhile. Its name may mean another by now."""
        status = self.sim.status
        if content == (status.get("rejected") or {}).get("contentDigest"):
            return True
        wanted = [(status.get(name) or {}).get("contentDigest") for name in ("stable", "candidate")]
        return bool(status.get("override")) and content not in wanted

    def _only_what_answered_becomes_stable(self, before: Moment) -> None:
        was, now = (_digest(s, "stable") for s in (before.status, self.sim.status))
        assert was in (None, now) or now in self.answered, (
            f"{self.sim.status['stable']['modelVersion']} is stable, and no server has ever "
            "answered with it"
        )

    def _nothing_succeeds_that_nobody_holds(self, before: Moment) -> None:
        ended = self._ended(before)
        if ended is None or ended["outcome"] != "Succeeded":
            return
        digest = _digest(before.status, "candidate")
        holding = [s for s in self.sim.of("ModelServer") if _loaded(s).get("digest") == digest]
        assert holding, f"{ended['modelVersion']} has succeeded, and no server holds it"

    def _ended(self, before: Moment) -> Mapping[str, Any] | None:
        """The record of the rollout that a decision has ended."""
        known = {r["revision"] for r in before.status.get("history") or ()}
        running = (before.status.get("rollout") or {}).get("revision")
        for record in self.sim.status.get("history") or ():
            if record["revision"] == running and running not in known:
                return dict(record)
        return None

    def _pauses_are_kept(self, before: Moment) -> None:
        """A step that waits for a promote is passed only by one, or where somebody took it out."""
        rollout, now = (s.get("rollout") or {} for s in (before.status, self.sim.status))
        forced = self.promoted_full or self.sim.status.get("override")
        if forced or rollout.get("promoteFull") or now.get("promoteFull"):
            return
        if now and now == rollout:
            return  # Killed before the status was written: its steps are still the former ones.
        steps, ended = self._steps(), self._ended(before)
        begins = now.get("revision") not in (None, rollout.get("revision"))
        here = 0 if begins else int(rollout.get("step") or 0)
        if begins or now:
            there = int(now.get("step") or 0)
        elif ended is not None and ended["outcome"] == "Succeeded":
            there = len(steps) + 1
        else:
            return
        allowed = self.new_promotes + (0 if begins else self.promotes)
        if begins or steps == self.steps:
            passed = steps[max(here - 1, 0) : max(there - 1, 0)]
            halts = [step for step in passed if _waits(step)]
            assert len(halts) <= allowed, f"{halts} passed with {allowed} promotes"
            self.promotes -= min(len(halts), self.promotes)
            if not allowed:
                status = self.sim.status if begins else before.status
                self._pools_have_tried(passed, _digest(status, "candidate"))
            return
        present = self.steps[here - 1] if 0 < here <= len(self.steps) else None
        if present in steps and present is not None and _waits(present) and not allowed:
            last = max(i for i, one in enumerate(steps, 1) if one == present)
            assert there <= last, f"{present} was passed, and nobody has promoted it"

    def _pools_have_tried(self, passed: Iterable[dict[str, Any]], digest: str | None) -> None:
        """A step of a pool is passed only where a server of it was assigned the version."""
        tried = {
            self._pool(s)
            for s in self.sim.of("ModelServer")
            if s["spec"]["assigned"]["digest"] == digest
        }
        for step in passed:
            assert step.get("pool") in (None, *tried), f"{step} was passed, no server has tried"

    def _only_named_digests_are_assigned(self, before: Moment) -> None:
        named = {
            _digest(status, field)
            for status in (before.status, self.sim.status)
            for field in ("stable", "candidate")
        }
        for server in self.sim.of("ModelServer"):
            digest = server["spec"]["assigned"]["digest"]
            was = before.assigned.get(name_of(server), {}).get("digest")
            assert digest == was or digest in named, (
                f"{name_of(server)} is assigned {digest[-4:]}, which the status does not name"
            )

    def _remember(self, before: Moment) -> None:
        status = self.sim.status
        if status.get("observedGeneration") == self.sim.mdep["metadata"]["generation"]:
            self.steps = self._steps()
        old, new = ((s.get("rollout") or {}).get("revision") for s in (before.status, status))
        if new is not None and new != old:
            self.promotes, self.promoted_full = self.new_promotes, False
        else:
            self.promotes += self.new_promotes
        self.new_promotes = 0

    # At every moment.

    @invariant()
    def nothing_is_served_that_is_not_ready(self) -> None:
        found: list[Any] = [self.sim.status.get("stable"), self.sim.status.get("candidate")]
        for server in self.sim.of("ModelServer"):
            spec, status = server["spec"], server.get("status") or {}
            shadow = (spec.get("shadow") or {}).get("version")
            found += [spec["assigned"], spec.get("staged"), shadow, status.get("loaded")]
        assert {one["version"] for one in found if one} <= self.was_ready

    @invariant()
    def what_is_shadowed_runs_beside_stable(self) -> None:
        stable = (self.sim.status.get("stable") or {}).get("version")
        for server in self.sim.of("ModelServer"):
            assert "shadow" not in server["spec"] or versions([server]) == {stable}

    @invariant()
    def what_answered_once_goes_on_answering(self) -> None:
        every = self.sim.of("ModelServer")
        held = {s["metadata"]["uid"] for s in every if _loaded(s)}
        assert self.heard & {s["metadata"]["uid"] for s in every} <= held
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
            most = most_of(self.rollout.get("maxUnavailable", 1), nodes)
            assert count <= most + self.rollout.get("failureBudget", 0), lost

    # What servers do.

    def _steps(self) -> list[dict[str, Any]]:
        """Steps of the spec; a cluster has no pools."""
        steps = self.sim.spec["rollout"].get("steps") or ()
        return [dict(s) for s in steps if self.sim.edge or "pool" not in s]

    def _pool(self, server: dict[str, Any]) -> str:
        return str(server["spec"].get("pool", ""))

    def _ready(self, server: dict[str, Any]) -> bool:
        pod = self.sim.objects.get(("Pod", server["spec"]["podName"]))
        return pod is not None and pod["status"]["conditions"][0]["status"] == "True"

    def _answers(self, server: dict[str, Any]) -> bool:
        loaded, assigned = _loaded(server), server["spec"]["assigned"]
        same = all(loaded.get(k) == assigned[k] for k in ("digest", "pipeline"))
        return same and self._ready(server)

    def _keeps(self, server: dict[str, Any]) -> bool:
        """Whether a server answers with what it had, after it could not load another version."""
        status = server.get("status") or {}
        return status.get("phase") == "Failed" and self._ready(server)

    def _never_ran(self, server: dict[str, Any]) -> bool:
        return server["metadata"]["uid"] not in self.heard and self._never_starts(server)

    def _never_starts(self, server: dict[str, Any]) -> bool:
        pod = self.sim.objects.get(("Pod", server["spec"]["podName"]))
        return pod is not None and pod["status"]["phase"] == "Pending"


def most_of(wanted: int | str, servers: int) -> int:
    """Servers of maxUnavailable: a percentage is rounded up, and one may always be."""
    if isinstance(wanted, str):
        return max(1, math.ceil(int(wanted.rstrip("%")) * servers / 100))
    return max(1, wanted)


def versions(servers: Iterable[dict[str, Any]]) -> set[int]:
    """Versions that servers are assigned."""
    return {s["spec"]["assigned"]["version"] for s in servers}


def _waits(step: Mapping[str, Any]) -> bool:
    """Whether a step has a pause that only a person ends."""
    return "pause" in step and "duration" not in step["pause"]


def _loaded(server: Mapping[str, Any]) -> Mapping[str, Any]:
    return (server.get("status") or {}).get("loaded") or {}


def _digest(status: Mapping[str, Any], field: str) -> str | None:
    found: str | None = (status.get(field) or {}).get("digest")
    return found
