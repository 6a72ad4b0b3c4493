"""Whatever happens during a rollout, servers answer with Ready versions and it converges.

`rollout_events.py` says what may happen, `rollout_rules.py` what holds at every moment; here is how
a story ends. A failing one prints its transcript.
"""

from __future__ import annotations

import sys
from typing import Any

from hypothesis import settings as hypothesis_settings

from .rollout_rules import RolloutRules, versions


class Rollouts(RolloutRules):
    """Random stories, each brought to its end."""

    def teardown(self) -> None:
        """Once nothing happens any more but agents and time, a rollout ends or waits for
        somebody, and all servers that can be reached hold what they should."""
        if not hasattr(self, "sim"):
            return
        failed = sys.exc_info()[1]
        if failed is not None:
            self.sim.explain(failed)
            return
        try:
            self._ends_well()
        except Exception as error:
            self.sim.explain(error)
            raise

    def _ends_well(self) -> None:
        sim = self.sim
        status = self._rest()
        assert sim.run(rounds=1) == status, "does not come to rest"
        self.nothing_is_served_that_is_not_ready()
        online = sim.online()
        paused = (status.get("rollout") or {}).get("paused")
        stopped = paused and paused["reason"] in ("Spec", "Requested")
        if not stopped:
            self._one_name_is_one_digest(status)
        # A version that cannot be served comes before the pause of what goes on serving.
        if status["phase"] == "Paused" or (paused and "goes on serving" in status["message"]):
            halts = ("Step", "Inconclusive", "Requested", "Spec")
            halted = paused and paused["reason"] in halts
            assert halted or self._waits_for_servers(status), status
            return
        if "candidate" in status:
            # Only a person can help: new pods of the same version do not come up, or there is
            # nobody to ask.
            stuck = status["phase"] == "Degraded" or self._waits_for_servers(status)
            assert stuck or not any(map(self._ready, online)), status["message"]
            return
        stable = status["stable"]["version"]
        assert versions(online) <= {stable}
        phases = ["Healthy", "Degraded", "Progressing"]
        phases += ["Suspended"] if status["desiredReplicas"] == 0 else []
        assert status["phase"] in phases, status
        if status["phase"] == "Progressing" and not any(map(self._never_starts, online)):
            assert "goes on serving" in status["message"], status["message"]
        if stable not in sim.unloadable:
            assert all(self._answers(s) for s in online if self._reported(s)), status

    def _waits_for_servers(self, status: dict[str, Any]) -> bool:
        """Whether the message says which servers are waited for: those that went away with the
        version, or those of the present step's pool, of which none can be reached."""
        if any(one["reason"] == "ServersVanish" for one in status["conditions"]):
            return True
        steps, number = self._steps(), int((status.get("rollout") or {}).get("step") or 0)
        pool = steps[number - 1].get("pool") if 0 < number <= len(steps) else None
        there = [server for server in self.sim.online() if self._pool(server) == pool]
        return pool is not None and f"pool {pool}" in status["message"] and not there

    def _one_name_is_one_digest(self, status: dict[str, Any]) -> None:
        """Servers that can be reached are assigned digests that the status names."""
        named = {(status.get(field) or {}).get("digest") for field in ("stable", "candidate")}
        for server in self.sim.online():
            assigned = server["spec"]["assigned"]
            assert assigned["digest"] in named, (
                f"{server['metadata']['name']} is assigned {assigned['modelVersion']} with a "
                "digest that the status does not name"
            )

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


Rollouts.TestCase.settings = hypothesis_settings(stateful_step_count=25)
TestRollouts = Rollouts.TestCase
