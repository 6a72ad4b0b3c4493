"""A Deployment with its cluster played around it: nodes, workload controllers, agents, a clock."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from modelyard.core.conditions import timestamp
from modelyard.core.fleet.projections import node_of
from modelyard.core.plan import Plan

from .world import NOW, World, deployment, meant_for, version

NAME = "cameras"
EDGE = {"edge": {"nodeSelector": {"edge": "true"}, "pools": {"label": "pool"}}}
READY = [{"type": "Ready", "status": "True"}]
GOOD = {"requests": 200, "failures": 0, "boxes": 400, "confidenceMillis": 320_000}
TOO_MUCH = "200"
"""CPUs of server pods that never start."""
BAD = {"requests": 100, "failures": 100, "boxes": 100, "confidenceMillis": 20_000}


def error_rate(**more: Any) -> dict[str, Any]:
    """An analysis of the error rate: two good measurements in a minute."""
    metric = {"name": "errors", "metric": "ErrorRate", "max": 0.05, "interval": "30s", "count": 2}
    return {"metrics": [metric | more]}


class Sim(World):
    """One Deployment `cameras`, and all that acts beside the operator."""

    def __init__(self, *nodes: str, edge: bool = True, replicas: int = 4, **spec: Any) -> None:
        """Nodes are named `pool-name`."""
        self.edge = edge
        self.now = NOW
        self.unloadable: set[int] = set()
        self.figures: dict[int, dict[str, int] | None] = {}
        """What agents report of a version; GOOD unless told."""
        self.made = 0
        target = EDGE if edge else {"cluster": {"replicas": replicas}}
        super().__init__(deployment(**{"target": target} | spec), version(1))
        for name in nodes:
            self.node(name)
        self.run()

    # Who acts.

    def node(self, name: str, **more: str) -> dict[str, Any]:
        """A node joins, in the pool that its name begins with."""
        marks = {"edge": "true", "pool": name.partition("-")[0]} | more
        return self.add(
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name, "uid": f"uid-node-{name}", "labels": marks},
                "spec": {},
                "status": {"conditions": [dict(READY[0])]},
            }
        )

    def dark(self, name: str, *, dark: bool = True) -> None:
        """A node cannot be reached any more, or again."""
        self.objects["Node", name]["status"]["conditions"][0]["status"] = str(not dark)

    def reachable(self, name: str) -> bool:
        """Whether an agent on a node can report."""
        node = self.objects.get(("Node", name))
        return node is not None and node["status"]["conditions"][0]["status"] == "True"

    def count(self) -> None:
        """The DaemonSet's controller has seen its spec and counts the nodes."""
        for workload in self.of("apps/DaemonSet"):
            workload["status"] = {
                "observedGeneration": workload["metadata"]["generation"],
                "desiredNumberScheduled": len(self._matching()),
            }

    def _matching(self) -> list[str]:
        nodes = [node["metadata"] for node in self.of("Node")]
        return [node["name"] for node in nodes if node["labels"].get("edge") == "true"]

    def workloads(self) -> None:
        """Kubernetes' controllers make and remove pods."""
        kind = "apps/DaemonSet" if self.edge else "apps/Deployment"
        found = [one for one in self.of(kind) if _name(one) == NAME]
        if not found:
            return
        (workload,) = found
        self.count()
        if self.edge:
            wanted = {f"pod-{name}": name for name in self._matching()}
        else:
            wanted = {f"pod-{i}": "somewhere" for i in range(workload["spec"]["replicas"])}
        pods = {node_of(pod["spec"]) if self.edge else _name(pod): pod for pod in self.of("Pod")}
        ours = set(wanted.values()) if self.edge else set(wanted)
        for key, pod in pods.items():
            if key not in ours:
                del self.objects["Pod", _name(pod)]
        asked = workload["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]
        phase = "Pending" if asked["cpu"] == TOO_MUCH else "Running"
        for name, node in wanted.items():
            if (node if self.edge else name) not in pods:
                self.made += 1
                carried = dict(workload["spec"]["template"]["metadata"]["labels"])
                self.add(
                    {
                        "apiVersion": "v1",
                        "kind": "Pod",
                        "metadata": {
                            "name": f"{name}-{self.made}" if self.edge else name,
                            "namespace": "shop",
                            "uid": f"uid-pod-{self.made}",
                            "creationTimestamp": timestamp(self.now),
                            "labels": carried,
                        },
                        "spec": {"nodeName": node} if phase == "Running" else meant_for(node),
                        "status": {
                            "phase": phase,
                            "conditions": [
                                {"type": "Ready", "status": "False"},
                                {
                                    "type": "PodScheduled",
                                    "status": str(phase == "Running"),
                                    "message": "Insufficient cpu",
                                },
                            ],
                        },
                    }
                )

    def agents(self, *names: str) -> None:
        """The agents (of all reachable servers, or some) do what they are told and report."""
        for server in self.of("ModelServer"):
            if names and _name(server) not in names:
                continue
            pod = self.objects.get(("Pod", server["spec"]["podName"]))
            if pod is None or pod["status"]["phase"] == "Pending":
                continue
            if self.edge and not self.reachable(server["spec"]["nodeName"]):
                continue
            self._report(server, pod)

    def _report(self, server: dict[str, Any], pod: dict[str, Any]) -> None:
        spec = server["spec"]
        assigned = spec["assigned"]
        status = {
            "observedGeneration": server["metadata"]["generation"],
            "reportedAt": timestamp(self.now),
            "loaded": server.get("status", {}).get("loaded"),
        }
        if assigned["version"] in self.unloadable:
            status |= {"phase": "Failed", "message": "bad graph"}
        else:
            held = {k: v for k, v in assigned.items() if k not in ("artifact", "format")}
            status |= {"phase": "Ready", "loaded": held}
        loaded = status["loaded"]
        if loaded is None:
            del status["loaded"]
        else:
            figures = self.figures.get(loaded["version"], GOOD)
            if figures is not None:
                status["figures"] = {"version": loaded["version"], "seconds": 60, **figures}
        if spec.get("staged"):
            staged = spec["staged"]
            status["staged"] = {k: staged[k] for k in ("modelVersion", "version", "digest")}
        if spec.get("shadow"):
            shadow = spec["shadow"]["version"]
            status["shadow"] = {
                **{k: shadow[k] for k in ("modelVersion", "version", "digest")},
                **self.shadowed(shadow["version"]),
            }
        server["status"] = status
        # The API server's own note of when.
        note = {"subresource": "status", "time": timestamp(self.now)}
        server["metadata"]["managedFields"] = [note]
        pod["status"]["conditions"][0]["status"] = str(loaded is not None)

    def shadowed(self, number: int) -> dict[str, Any]:
        """What shadowing a version shows: it agrees where its figures are good."""
        if number in self.unloadable:
            return {"failure": "no memory"}
        figures = self.figures.get(number, GOOD)
        if figures is None:
            return {}
        matched = 100 if figures is GOOD else 20
        return {"images": 50, "stableBoxes": 100, "shadowBoxes": 100, "matched": matched}

    # The operator, and time.

    def operate(self) -> dict[str, Any]:
        """The operator reconciles until it writes nothing more; returns the status."""
        status: dict[str, Any] = self.settle("Deployment", NAME, self.now)["status"]
        return status

    def clock(self) -> float:
        """The operator's clock: seconds since the epoch."""
        return self.now.timestamp()

    def look(self) -> Plan:
        """What the operator would do now."""
        return self.plan("Deployment", NAME, self.now)

    def wait(self, seconds: float) -> None:
        """Time passes."""
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
        to when the operator wants to look again, but not past pauses for a person."""
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

    def ask(self, user: str = "", **actions: str) -> None:
        """Somebody annotates the Deployment; the API server stamps who, if `user` is given."""
        notes = self.mdep["metadata"].setdefault("annotations", {})
        notes |= {f"modelyard.dev/{name}": value for name, value in actions.items()}
        if user:
            notes |= {f"modelyard.dev/{name}-by": user for name in actions}

    def change(self, user: str, **spec: Any) -> None:
        """Somebody changes the spec, and the API server stamps who."""
        self.spec.update(spec)
        self.mdep["metadata"]["generation"] += 1
        self.mdep["metadata"].setdefault("annotations", {})["modelyard.dev/changed-by"] = user

    def assigned(self) -> dict[str, int]:
        """Version that each server is told to hold, by node (edge) or pod."""
        return {self._where(s): s["spec"]["assigned"]["version"] for s in self.of("ModelServer")}

    def on(self, number: int) -> set[str]:
        """Servers that are told to hold a version."""
        return {name for name, one in self.assigned().items() if one == number}

    def _where(self, server: dict[str, Any]) -> str:
        return str(server["spec"]["nodeName"] if self.edge else _name(server))

    def server(self, node: str) -> dict[str, Any]:
        """The ModelServer of a node."""
        return next(s for s in self.of("ModelServer") if self._where(s) == node)

    def online(self) -> list[dict[str, Any]]:
        """ModelServers that can be reached, with a pod."""
        fleet = self.aggregate("fleets").of(self.mdep["metadata"]["uid"])
        fleet.sweep(self.now.timestamp())
        return [
            self.objects["ModelServer", m.server.name]
            for m in fleet.members.values()
            if m.server is not None and m.group is not None and m.group.online
        ]


def _name(one: dict[str, Any]) -> str:
    return str(one["metadata"]["name"])
