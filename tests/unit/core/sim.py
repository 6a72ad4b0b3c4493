"""A Deployment with its cluster played around it: people, the operator, and a clock.

`cluster.py` plays nodes, controllers and agents; `transcript.py` keeps what happened, and a failing
test prints it. A test acts, lets time pass with `run`, and says what a user must see by `expect`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from modelyard.core.conditions import parse_timestamp
from modelyard.core.plan import Apply, Event, KubeObject, Ref

from .cluster import BAD, EDGE, GOOD, NAME, TOO_MUCH, Cluster, name_of
from .feed import ObjectKey
from .transcript import Transcript, server_change
from .world import artifact, version

__all__ = ["BAD", "EDGE", "GOOD", "NAME", "TOO_MUCH", "Sim", "error_rate"]

LATEST: deque[Sim] = deque(maxlen=2)
"""The worlds that were made last, for a failing test's transcript."""
UNSET: Any = object()
OFFLINE_AFTER = timedelta(minutes=5)
"""The default of spec.target.edge.offlineAfter."""


def error_rate(**more: Any) -> dict[str, Any]:
    """An analysis of the error rate: two good measurements in a minute."""
    metric = {"name": "errors", "metric": "ErrorRate", "max": 0.05, "interval": "30s", "count": 2}
    return {"metrics": [metric | more]}


class Sim(Cluster):
    """One Deployment `cameras`, brought to its first version."""

    def __init__(self, *nodes: str, edge: bool = True, replicas: int = 4, **spec: Any) -> None:
        """Nodes are named `pool-name`."""
        self.transcript = Transcript()
        self._written: list[str] = []
        self.told: list[Event] = []
        """Events that were sent."""
        super().__init__(*nodes, edge=edge, replicas=replicas, **spec)
        LATEST.append(self)
        self.run()

    # What people do.

    def ask(self, user: str = "", **actions: str) -> None:
        """Somebody annotates the Deployment; the API server stamps who, if `user` is given."""
        notes = self.mdep["metadata"].setdefault("annotations", {})
        notes |= {f"modelyard.dev/{name}": value for name, value in actions.items()}
        if user:
            notes |= {f"modelyard.dev/{name}-by": user for name in actions}

    def change(self, user: str = "", **spec: Any) -> None:
        """Somebody changes fields of the spec; the API server counts the generation, and stamps who
        if `user` is given."""
        self.spec.update(spec)
        if user:
            self.mdep["metadata"].setdefault("annotations", {})["modelyard.dev/changed-by"] = user
        self.feed()

    def change_rollout(self, **fields: Any) -> None:
        """Somebody changes fields of spec.rollout; None takes one away."""
        rollout = {**self.spec.get("rollout", {}), **fields}
        self.change(rollout={k: v for k, v in rollout.items() if v is not None})

    def scale(self, replicas: int) -> None:
        """Somebody, or an autoscaler, sets the number of servers of a cluster."""
        cluster = self.spec["target"]["cluster"]
        self.change(target={"cluster": {**cluster, "replicas": replicas}})

    def select_nodes(self, **labels: str) -> None:
        """Somebody sets the labels of the nodes to serve on."""
        edge = self.spec["target"]["edge"]
        self.change(target={"edge": {**edge, "nodeSelector": labels}})

    def recreate(self, number: int, weights: int) -> str:
        """Somebody deletes a version and makes one of the same name with other weights; returns
        their digest."""
        del self.objects["ModelVersion", f"shelf-{number}"]
        self.feed()
        digest = f"sha256:{number:060x}{0xA000 + weights:04x}"
        made = version(number)
        made["metadata"]["uid"] += f"-{weights}"
        made["status"]["artifacts"] = [artifact(number, digest=digest, manifestDigest=digest)]
        self.add(made)
        return digest

    # The operator, and time.

    def feed(self) -> list[ObjectKey]:
        changed = super().feed()
        self.transcript.observe(changed, self.objects, self.now)
        return changed

    def reconcile(self, kind: str, name: str, now: datetime | None = None) -> Apply:
        at = now or self.now
        return self._recorded(lambda: super(Sim, self).reconcile(kind, name, at), at)

    def crash(self, kind: str, name: str, after: int, now: datetime | None = None) -> Apply:
        at = now or self.now
        self.feed()
        self.transcript.note("operator", f"is killed after {after} writes of this:", at)
        return self._recorded(lambda: super(Sim, self).crash(kind, name, after, at), at)

    def _recorded(self, decide: Callable[[], Apply], now: datetime) -> Apply:
        """Keep a decision with what it wrote in the transcript."""
        self.feed()
        writes = len(self.writes)
        plan = decide()
        told = plan.events if "status Deployment" in self.writes[writes:] else ()
        self.told += told
        written, self._written = self._written, []
        self.transcript.observe(super().feed(), self.objects, now, by_operator=True)
        self.transcript.decided(
            plan, status=self.mdep["status"], writes=written, events=told, now=now
        )
        return plan

    def _apply(self, made: KubeObject) -> None:
        key = (str(made["kind"]), str(made["metadata"]["name"]))
        before = self.objects.get(key)
        super()._apply(made)
        if made["kind"] == "ModelServer":
            text = server_change(before, made)
            self._written += [text] if text else []

    def _delete(self, ref: Ref) -> None:
        self._written.append(f"deletes {ref.kind} {ref.name}")
        super()._delete(ref)

    def operate(self) -> dict[str, Any]:
        """The operator reconciles until it writes nothing more; returns the status."""
        status: dict[str, Any] = self.settle("Deployment", NAME, self.now)["status"]
        return status

    def clock(self) -> float:
        """The operator's clock: seconds since the epoch."""
        return self.now.timestamp()

    def look(self) -> Apply:
        """What the operator would do now."""
        plan = self.plan("Deployment", NAME, self.now)
        assert isinstance(plan, Apply)
        return plan

    def wait(self, seconds: float) -> None:
        """Time passes; what has happened so far reaches the operator's cache before."""
        self.feed()
        self.now += timedelta(seconds=seconds)

    def round(self) -> dict[str, Any]:
        """Everybody acts once; the operator last."""
        self.operate()
        self.workloads()
        self.operate()
        self.agents()
        return self.operate()

    def run(self, rounds: int = 40) -> dict[str, Any]:
        """Everybody acts, and nothing else happens, until the status stays as it is; time goes on
        to when the operator wants to reconcile again, but not past pauses for a person."""
        status = self.round()
        for _ in range(rounds):
            before = (self.status, len(self.writes))
            status = self.round()
            if before == (status, len(self.writes)):
                after = self.look().requeue_after
                if after is None or after > 250:
                    return status
                self.wait(after)
        return status

    def live(self, seconds: float, every: float = 100) -> dict[str, Any]:
        """Everybody acts every so often for some time."""
        until = self.now + timedelta(seconds=seconds)
        while self.now < until:
            self.round()
            self.wait(min(every, (until - self.now).total_seconds()))
        return self.operate()

    # What is said and held.

    @property
    def mdep(self) -> dict[str, Any]:
        return self.objects["Deployment", NAME]

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.mdep["status"]
        return found

    @property
    def spec(self) -> dict[str, Any]:
        found: dict[str, Any] = self.mdep["spec"]
        return found

    def assigned(self) -> dict[str, int]:
        """Version that each server is assigned, by node (edge) or pod."""
        return {self._where(s): s["spec"]["assigned"]["version"] for s in self.of("ModelServer")}

    def on(self, number: int) -> set[str]:
        """Servers that are assigned a version."""
        return {name for name, one in self.assigned().items() if one == number}

    def _where(self, server: dict[str, Any]) -> str:
        return str(server["spec"]["nodeName"] if self.edge else name_of(server))

    def server(self, node: str) -> dict[str, Any]:
        """The ModelServer of a node."""
        return next(s for s in self.of("ModelServer") if self._where(s) == node)

    def online(self) -> list[dict[str, Any]]:
        """ModelServers that can be reached, with a pod or on a node that is selected: as it is, not
        as the operator takes it."""
        return [server for server in self.of("ModelServer") if self._online(server)]

    def _online(self, server: dict[str, Any]) -> bool:
        pod = self.objects.get(("Pod", server["spec"]["podName"]))
        if not self.edge:
            return pod is not None
        node = str(server["spec"]["nodeName"])
        selected = any(node in self.matching(one) for one in self.of("apps/DaemonSet"))
        heard = self.arrivals.get(server["metadata"]["uid"], "")
        heard = max(heard, pod["metadata"]["creationTimestamp"] if pod else "")
        silent = not heard or self.now - parse_timestamp(heard) >= OFFLINE_AFTER
        return self.reachable(node) and not silent and (pod is not None or selected)

    def expect(
        self,
        *,
        because: str,
        phase: str | tuple[str, ...] | None = None,
        stable: int | None = None,
        candidate: int | None = UNSET,
        rejected: int | None = UNSET,
        outcome: str | None = None,
        says: str | tuple[str, ...] = (),
        on: Mapping[int, int] | None = None,
    ) -> None:
        """What a user must see now, and why; None means that the status has no such field.

        `outcome` is of the rollout that ended last, `says` are words of the message or of a
        condition, `on` is how many servers are assigned a version.
        """
        self.feed()
        status = self.status
        words = [status["message"], *(c["message"] for c in status["conditions"])]
        history = status.get("history") or [{}]
        phases = (phase,) if isinstance(phase, str) else phase
        wrong = []
        if phases and status["phase"] not in phases:
            wrong.append(f"phase is {status['phase']}, not {' or '.join(phases)}")
        for field, wanted in (("stable", stable), ("candidate", candidate), ("rejected", rejected)):
            found = (status.get(field) or {}).get("version")
            if wanted is not UNSET and (field, wanted) != ("stable", None) and found != wanted:
                wrong.append(f"{field} is {found}, not {wanted}")
        if outcome is not None and history[0].get("outcome") != outcome:
            wrong.append(f"the last rollout ended as {history[0].get('outcome')}, not {outcome}")
        for word in (says,) if isinstance(says, str) else says:
            if not any(word in text for text in words):
                wrong.append(f"nothing says {word!r}: {status['message']!r}")
        for number, count in (on or {}).items():
            if len(self.on(number)) != count:
                wrong.append(f"{len(self.on(number))} servers are assigned {number}, not {count}")
        if wrong:
            raise self.failure(f"{'; '.join(wrong)}: {because}")

    def failure(self, text: str) -> AssertionError:
        """A failure with the transcript."""
        error = AssertionError(text)
        self.explain(error)
        return error

    def explain(self, error: BaseException) -> None:
        """Attach the transcript to a failure, once."""
        note = str(self.transcript)
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
