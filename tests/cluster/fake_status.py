"""What kubelets, workloads and agents would report, for tests that play them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.api.dataset import SplitStatus
from modelyard.api.evaluation import ArtifactEvaluation
from modelyard.api.export import Artifact
from modelyard.contract.result import (
    DataResult,
    EvaluateResult,
    ExportResult,
    Outcome,
    TrainResult,
)

DIGEST_A = "sha256:" + "a" * 64
DIGEST_B = "sha256:" + "b" * 64
MOMENT = "2026-01-01T00:00:00Z"


def pod_status(
    container: str,
    image: str,
    phase: str,
    *,
    outcome: Outcome | None = None,
    exit_code: int = 0,
    waiting: Mapping[str, str] | None = None,
    ready: bool = False,
) -> dict[str, Any]:
    """The status that a kubelet would write for a pod of one container."""
    state: dict[str, Any] = {"running": {"startedAt": MOMENT}}
    if waiting:
        state = {"waiting": dict(waiting)}
    elif phase in ("Succeeded", "Failed"):
        text = outcome.termination_message() if outcome else ""
        state = {"terminated": {"exitCode": exit_code, "message": text}}
    return {
        "phase": phase,
        "conditions": [{"type": "Ready", "status": str(ready)}],
        "containerStatuses": [
            {
                "name": container,
                "image": image,
                "imageID": "",
                "ready": ready,
                "restartCount": 0,
                "state": state,
            }
        ],
    }


def node(name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """A node that is Ready, as a kubelet would register it. Admission taints it until a controller
    takes that back: patch `spec.taints` to None."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": dict(labels)},
        "status": node_status(ready=True),
    }


def node_status(*, ready: bool) -> dict[str, Any]:
    """What a node's kubelet, or the node controller in its stead, would write."""
    return {"conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}]}


def daemon_node(pod: Mapping[str, Any]) -> str | None:
    """The node that a DaemonSet's pod is meant for and must be bound to; None for other pods."""
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity")) or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field["key"] == "metadata.name":
                return str(field["values"][0])
    return None


def binding(pod: Mapping[str, Any], node_name: str) -> dict[str, Any]:
    """What the scheduler posts to a pod's subresource `binding`."""
    target = {"apiVersion": "v1", "kind": "Node", "name": node_name}
    metadata = {"name": pod["metadata"]["name"]}
    return {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target}


TOO_MANY_CPUS = "999"
"""CPUs that no node has: simulated pods that ask for them are never bound."""


def fits(pod: Mapping[str, Any]) -> bool:
    """Whether any node has enough CPUs for a pod."""
    asked = (pod["spec"]["containers"][0].get("resources") or {}).get("requests") or {}
    return asked.get("cpu") != TOO_MANY_CPUS


NODES_STAY = "--controllers=*,-node-lifecycle-controller"
"""Flag of kube-controller-manager: nodes without a kubelet stay as they are played."""


def loaded(server: Mapping[str, Any]) -> dict[str, Any]:
    """A ModelServer's status once its server holds what it is assigned."""
    assigned = server["spec"]["assigned"]
    reported = ("modelVersion", "version", "digest", "manifestDigest", "contentDigest", "pipeline")
    held = {k: assigned[k] for k in reported if k in assigned}
    return {
        "phase": "Ready",
        "observedGeneration": server["metadata"]["generation"],
        "loaded": {**held, "since": MOMENT},
    }


@dataclass(frozen=True)
class Served:
    """How a version does in a server."""

    loads: bool = True
    failures: int = 0
    """Failed ones of REQUESTS."""
    matched: int = 100
    """Of the 100 boxes of the serving version, while it is shadowed."""
    drifts: str = ""
    """Signal that drifts while the version serves, until somebody accepts it; empty for none."""


REQUESTS = 100
SILENT_NEVER = "2100-01-01T00:00:00Z"
"""When a played agent was last heard: it reports when its server changes, and must not count as
offline in between."""


def reported(
    server: Mapping[str, Any], served: Served, shadowed: Served | None = None
) -> dict[str, Any]:
    """A ModelServer's status once its agent has done all that the spec asks for; how the assigned
    version does, and the shadowed one."""
    spec, before = server["spec"], server.get("status") or {}
    status: dict[str, Any] = {**loaded(server), "reportedAt": SILENT_NEVER}
    if not served.loads:
        status |= {"phase": "Failed", "message": "the network is broken", "failures": 1}
        status["loaded"] = before.get("loaded")
    held = status["loaded"]
    if held:
        failures = served.failures if served.loads else 0
        status["figures"] = {
            "version": held["version"],
            "seconds": 60,
            "requests": REQUESTS - failures,
            "failures": failures,
            "latency": [0] * 5 + [REQUESTS - failures],
        }
    if "staged" in spec:
        status["staged"] = _loaded_version(spec["staged"])
    if "shadow" in spec:
        boxes = {"stableBoxes": 100, "shadowBoxes": 100}
        boxes["matched"] = (shadowed or Served()).matched
        images = {"images": REQUESTS, "failures": 0, "dropped": 0}
        status["shadow"] = {**_loaded_version(spec["shadow"]["version"]), **images, **boxes}
    status |= _monitored(spec.get("monitoring") or {}, served)
    return {key: value for key, value in status.items() if value is not None}


def _monitored(asked: Mapping[str, Any], served: Served) -> dict[str, Any]:
    """What an agent reports of drift and captured images, as far as it is asked to."""
    status: dict[str, Any] = {}
    if asked.get("drift"):
        accepted, reset = asked.get("accepted"), asked.get("reset")
        drift = {"state": "Stable", "sources": 1, "calibrated": 1}
        drift |= {"accepted": accepted} if accepted else {}
        drift |= {"reset": reset} if reset else {}
        if served.drifts and not accepted:
            finding = {"kind": "Drift", "signal": served.drifts, "size": 3.5, "since": MOMENT}
            drift |= {"state": "Drifting", "findings": [finding], "alarmSince": MOMENT}
        status["drift"] = drift
    if asked.get("capture"):
        wanted = asked["capture"].get("onDemand")
        status["capture"] = {"stored": 0, **({"onDemand": wanted} if wanted else {})}
    return status


def _loaded_version(assignment: Mapping[str, Any]) -> dict[str, Any]:
    return {key: assignment[key] for key in ("modelVersion", "version", "digest")}


def data_outcome(digest: str = DIGEST_A) -> Outcome:
    """A dataset without problems."""
    splits = [SplitStatus(name=name, images=3, boxes=5) for name in ("train", "val")]
    result = DataResult(valid=True, digest=digest, images=6, splits=splits, class_count=2)
    return Outcome(result=result)


def broken_data_outcome() -> Outcome:
    """A dataset with a corrupt image."""
    problems = ["train/a.jpg: corrupt image"]
    return Outcome(result=DataResult(valid=False, problems=problems, problem_count=1))


def train_outcome() -> Outcome:
    """A finished training."""
    result = TrainResult(weights_digest=DIGEST_B, metrics={"mAP50": 0.9}, epochs=2, imgsz=64)
    return Outcome(result=result)


def artifact(number: int) -> Artifact:
    """An exported ONNX file; each number has digests of its own."""
    return Artifact(
        name="onnx",
        format="onnx",
        digest=f"sha256:{number:064x}",
        manifest_digest=f"sha256:{number + 100:064x}",
        size_bytes=10,
    )


def export_outcome(number: int) -> Outcome:
    """A published artifact."""
    return Outcome(result=ExportResult(artifact=artifact(number)))


def evaluate_outcome(mean: float) -> Outcome:
    """Figures of the weights and the ONNX artifact."""
    rows = [
        ArtifactEvaluation(artifact=a, metrics={"mAP50": mean, "mAP50to95": mean})
        for a in ("source", "onnx")
    ]
    return Outcome(result=EvaluateResult(evaluations=rows))
