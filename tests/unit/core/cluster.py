"""All that acts beside the operator: nodes, workload controllers, schedulers, agents with figures.

Each method is one act of one of them. `sim.py` adds the operator, people and time.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from modelyard.core.conditions import timestamp
from modelyard.core.fleet.projections import node_of

from .world import NOW, World, deployment, made_by, meant_for, version

NAME = "cameras"
EDGE = {"edge": {"nodeSelector": {"edge": "true"}, "pools": {"label": "pool"}}}
READY = [{"type": "Ready", "status": "True"}]
GOOD = {"requests": 200, "failures": 0, "boxes": 400, "confidenceMillis": 320_000}
TOO_MUCH = "200"
"""CPUs of server pods that never start."""
BAD = {"requests": 100, "failures": 100, "boxes": 100, "confidenceMillis": 20_000}
NO_ROOM, TOO_BIG = "Insufficient cpu", "Insufficient cpu: no node has 200"
"""What the scheduler says of a pod that finds no room now, and of one that never will."""
_IDENTITY = ("modelVersion", "version", "digest", "manifestDigest", "contentDigest")
"""Fields of an assignment that agents report of what they hold."""


class Cluster(World):
    """One Deployment `cameras`, and all that acts beside the operator."""

    def __init__(self, *nodes: str, edge: bool = True, replicas: int = 4, **spec: Any) -> None:
        """Nodes are named `pool-name`."""
        self.edge = edge
        self.now = NOW
        self.unloadable: set[int] = set()
        """Versions that no server can load."""
        self.unfit: set[tuple[str, int]] = set()
        """Nodes with a version that their servers cannot load."""
        self.figures: dict[int, dict[str, int] | None] = {}
        """What agents report of a version; GOOD unless set."""
        self.clocks: dict[str, timedelta] = {}
        """By how much the clock of a node's agent is ahead."""
        self.drifts: dict[str, dict[str, Any] | None] = {}
        """What servers report of drift, by node (edge) or pod; `stable()` unless set."""
        self.capacity: int | None = None
        """Server pods that find a node (cluster); None: all."""
        self.arrivals: dict[str, str] = {}
        """When a ModelServer's report came last, by UID and the operator's clock."""
        self.made = 0
        target = EDGE if edge else {"cluster": {"replicas": replicas}}
        super().__init__(deployment(**{"target": target} | spec), version(1))
        for name in nodes:
            self.node(name)

    # Nodes.

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

    def dark(self, *names: str, dark: bool = True) -> None:
        """Nodes cannot be reached any more, or again."""
        for name in names:
            self.objects["Node", name]["status"]["conditions"][0]["status"] = str(not dark)

    def reachable(self, name: str) -> bool:
        """Whether an agent on a node can report."""
        node = self.objects.get(("Node", name))
        return node is not None and node["status"]["conditions"][0]["status"] == "True"

    # Kubernetes' controllers and scheduler.

    def count(self) -> None:
        """The DaemonSet's controller has seen its spec and counts the nodes."""
        for workload in self.of("apps/DaemonSet"):
            workload["status"] = {
                "observedGeneration": workload["metadata"]["generation"],
                "desiredNumberScheduled": len(self.matching(workload)),
            }

    def matching(self, workload: dict[str, Any]) -> list[str]:
        """Nodes that a DaemonSet is for."""
        selector = workload["spec"]["template"]["spec"].get("nodeSelector") or {}
        nodes = [node["metadata"] for node in self.of("Node")]
        return [n["name"] for n in nodes if selector.items() <= n["labels"].items()]

    def workloads(self) -> None:
        """Kubernetes' controllers make and remove pods."""
        kind = "apps/DaemonSet" if self.edge else "apps/Deployment"
        found = [one for one in self.of(kind) if one["metadata"]["name"] == NAME]
        if not found:
            return
        (workload,) = found
        self.count()
        if self.edge:
            wanted = {f"pod-{name}": name for name in self.matching(workload)}
        else:
            wanted = {f"pod-{i}": "somewhere" for i in range(workload["spec"]["replicas"])}
        pods = {node_of(p["spec"]) if self.edge else name_of(p): p for p in self.of("Pod")}
        ours = set(wanted.values()) if self.edge else set(wanted)
        for key, pod in pods.items():
            if key not in ours:
                del self.objects["Pod", name_of(pod)]
        for name, node in wanted.items():
            if (node if self.edge else name) not in pods:
                self._make_pod(name, node, workload)
        self._schedule()

    def _make_pod(self, name: str, node: str, workload: dict[str, Any]) -> None:
        self.made += 1
        asked = workload["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"][
            "cpu"
        ]
        words = TOO_BIG if asked == TOO_MUCH else NO_ROOM if self._full() else ""
        pending = bool(words)
        scheduled = {"type": "PodScheduled", "status": str(not pending)}
        if pending:
            scheduled |= {"reason": "Unschedulable", "message": words}
        self.add(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    **made_by(workload),
                    "name": f"{name}-{self.made}" if self.edge else name,
                    "uid": f"uid-pod-{self.made}",
                    "creationTimestamp": timestamp(self.now),
                },
                "spec": meant_for(node) if pending else {"nodeName": node},
                "status": {
                    "phase": "Pending" if pending else "Running",
                    "conditions": [{"type": "Ready", "status": "False"}, scheduled],
                },
            }
        )

    def _full(self) -> bool:
        """Whether no node has room for one more pod of a cluster's server."""
        running = sum(pod["status"]["phase"] == "Running" for pod in self.of("Pod"))
        return not self.edge and self.capacity is not None and running >= self.capacity

    def _schedule(self) -> None:
        """Pods of a cluster that waited for room get it."""
        for pod in self.of("Pod"):
            waits = any(one.get("message") == NO_ROOM for one in pod["status"]["conditions"])
            if not self.edge and waits and not self._full():
                pod["spec"] = {"nodeName": "somewhere"}
                pod["status"]["phase"] = "Running"
                pod["status"]["conditions"][1] = {"type": "PodScheduled", "status": "True"}

    # Agents.

    def agents(self, *names: str) -> None:
        """The agents (of all reachable servers, or some) do what they are assigned and report."""
        for server in self.of("ModelServer"):
            if names and name_of(server) not in names:
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
        self.arrivals[server["metadata"]["uid"]] = timestamp(self.now)
        clock = self.clocks.get(str(spec.get("nodeName")), timedelta())
        status = {
            "observedGeneration": server["metadata"]["generation"],
            "reportedAt": timestamp(self.now + clock),
            "loaded": server.get("status", {}).get("loaded"),
        }
        here = (str(spec.get("nodeName")), assigned["version"])
        if assigned["version"] in self.unloadable or here in self.unfit:
            status |= {"phase": "Failed", "message": "bad graph"}
        else:
            held = _reported(assigned)
            status |= {"phase": "Ready", "loaded": held | {"pipeline": assigned["pipeline"]}}
        loaded = status["loaded"]
        if loaded is None:
            del status["loaded"]
        else:
            figures = self.figures.get(loaded["version"], GOOD)
            if figures is not None:
                status["figures"] = {"version": loaded["version"], "seconds": 60, **figures}
        if spec.get("staged"):
            status["staged"] = _reported(spec["staged"])
        if spec.get("shadow"):
            shadow = spec["shadow"]["version"]
            status["shadow"] = _reported(shadow) | self.shadowed(shadow["version"])
        if (spec.get("monitoring") or {}).get("drift"):
            drift = self.drifts.get(str(spec["nodeName"] if self.edge else name_of(pod)), stable())
            status |= {"drift": drift} if drift else {}
        if (spec.get("monitoring") or {}).get("capture"):
            status["capture"] = {"stored": 0}
        server["status"] = status
        # The API server notes when a status was written, by its own clock.
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


def stable() -> dict[str, Any]:
    """What a server reports that does not drift."""
    return {"state": "Stable", "sources": 1, "calibrated": 1}


def calibrating(*kinds: str) -> dict[str, Any]:
    """What a server reports that has no complete baseline, with findings that are no drift."""
    found = [{"kind": kind, "since": timestamp(NOW)} for kind in kinds]
    return {"state": "Calibrating", "sources": 1, "calibrated": 0, "findings": found}


def drifting(signal: str = "TopScore", size: float = -3.0, *because: str) -> dict[str, Any]:
    """What a server reports that drifts."""
    finding = {"kind": "Drift", "signal": signal, "size": size, "since": timestamp(NOW)}
    finding |= {"because": list(because)} if because else {}
    return stable() | {"state": "Drifting", "findings": [finding], "alarmSince": timestamp(NOW)}


def _reported(assigned: dict[str, Any]) -> dict[str, Any]:
    """What an agent reports of a version: its name, and its digests as assigned."""
    return {k: v for k, v in assigned.items() if k in _IDENTITY}


def name_of(one: dict[str, Any]) -> str:
    """An object's name."""
    return str(one["metadata"]["name"])
