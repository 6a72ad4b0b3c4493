"""Plays kubelets, the scheduler, workloads and agents.

Level-triggered and deterministic: it looks at what exists and does the first thing that there is
to do, one at a time. It knows nothing of faults and talks to the API server past the proxy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.contract import labels
from modelyard.contract.naming import edge_server_name
from modelyard.contract.result import Outcome

from ..fake_status import Served, binding, daemon_node, fits, pod_status, reported
from .journal import Object
from .resources import plain
from .scene import Scene

SERVER = "server"
ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Ending:
    """How a pod's work ends."""

    outcome: Outcome | None = None
    """None: it goes on for ever."""
    exit_code: int = 0


Script = Mapping[tuple[str, str], Sequence[Ending]]
"""(owner as `Kind/name`, role) → the ending of each attempt; pods of others never start."""


class Actor:
    """Acts in one scene."""

    def __init__(self, scene: Scene, script: Script, served: Mapping[int, Served]) -> None:
        self._scene = scene
        self._script = script
        self._served = served
        self._jobs: dict[tuple[str, str], list[str]] = {}

    def act(self) -> bool:
        """Do the first thing that there is to do; False if there is nothing."""
        return any(self._play(pod) for pod in sorted(self._scene.live("Pod"), key=_order))

    def _play(self, pod: Object) -> bool:
        metadata = pod["metadata"]
        node = pod["spec"].get("nodeName")
        if node and not self._scene.reaches(node):
            return False
        if metadata.get("deletionTimestamp"):
            return self._scene.reap(pod)
        phase = (pod.get("status") or {}).get("phase")
        if phase in ENDED:
            return False
        if not fits(pod):
            return False
        if (metadata.get("labels") or {}).get(labels.COMPONENT) == SERVER:
            return self._bind(pod) or self._serve(pod, phase)
        ending = self._ending(pod)
        if ending is None:
            return False
        if phase != "Running":
            return self._report(pod, "Running")
        if metadata["labels"][labels.COMPONENT] == "training" and self._train(pod):
            return True
        if ending.outcome is None:
            return False
        failed = ending.exit_code != 0
        return self._report(pod, "Failed" if failed else "Succeeded", ending)

    def _bind(self, pod: Object) -> bool:
        """What the scheduler does for the pods of a DaemonSet."""
        node = daemon_node(pod)
        if node is None or pod["spec"].get("nodeName"):
            return False
        body = binding(pod, node)
        return self._scene.call("POST", "Pod", pod["metadata"]["name"], "binding", body)

    def _serve(self, pod: Object, phase: str | None) -> bool:
        if phase != "Running":
            return self._report(pod, "Running", ready=True)
        name = self._server_name(pod)
        server = self._scene.find("ModelServer", name)
        if server is None or server["metadata"].get("deletionTimestamp"):
            return False
        if server["spec"]["podName"] != pod["metadata"]["name"]:
            return False  # An agent may report only where its pod is named.
        spec = server["spec"]
        shadow = (spec.get("shadow") or {}).get("version")
        wanted = reported(
            server, self._does(spec["assigned"]), self._does(shadow) if shadow else None
        )
        before = server.get("status") or {}
        if before == wanted:
            return False
        return self._patch("ModelServer", name, _replaced(before, wanted))

    def _does(self, version: Mapping[str, Any]) -> Served:
        return self._served.get(version["version"], Served())

    def _server_name(self, pod: Object) -> str:
        metadata = pod["metadata"]
        if metadata["labels"].get(labels.TARGET) != "edge":
            return str(metadata["name"])
        owner = metadata["annotations"][labels.OWNER].partition("/")[2]
        return edge_server_name(owner, pod["spec"]["nodeName"])

    def _train(self, pod: Object) -> bool:
        """Report progress, as often as it changes: once."""
        owner = pod["metadata"]["annotations"][labels.OWNER].partition("/")[2]
        progress = {"epoch": 1, "epochs": 2}
        if self._scene.status("TrainingJob", owner).get("progress") == progress:
            return False
        return self._patch("TrainingJob", owner, {"progress": progress})

    def _report(
        self, pod: Object, phase: str, ending: Ending | None = None, *, ready: bool = False
    ) -> bool:
        container = pod["spec"]["containers"][0]
        ending = ending or Ending()
        status = pod_status(
            container["name"],
            container["image"],
            phase,
            outcome=ending.outcome,
            exit_code=ending.exit_code,
            ready=ready,
        )
        return self._patch("Pod", pod["metadata"]["name"], status)

    def _patch(self, kind: str, name: str, status: Mapping[str, Any]) -> bool:
        """Report a status; False if there is nobody any more to report it of."""
        return self._scene.call("PATCH", kind, name, "status", {"status": status})

    def _ending(self, pod: Object) -> Ending | None:
        metadata = pod["metadata"]
        owner = (metadata.get("annotations") or {}).get(labels.OWNER, "")
        role = (metadata.get("labels") or {}).get(labels.ROLE, "")
        endings = self._script.get((owner, role))
        if endings is None:
            return None
        jobs = self._jobs.setdefault((owner, role), [])
        job = metadata["ownerReferences"][0]["uid"]
        if job not in jobs:
            jobs.append(job)
        return endings[min(jobs.index(job), len(endings) - 1)]


def _order(pod: Object) -> tuple[str, str, str, str]:
    metadata = pod["metadata"]
    place = daemon_node(pod) or ""
    return plain("Pod", metadata["name"]), place, metadata["creationTimestamp"], metadata["uid"]


def _replaced(before: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """A merge patch after which there is what is wanted, and nothing else."""
    return dict.fromkeys(before) | {
        key: _replaced(before[key], value)
        if isinstance(value, Mapping) and isinstance(before.get(key), Mapping)
        else value
        for key, value in wanted.items()
    }
