"""A ModelVersion is exported, evaluated and judged, once for each verdict."""

from __future__ import annotations

from typing import Any

from ...fake_status import DIGEST_A, DIGEST_B, artifact, evaluate_outcome, export_outcome
from ..actor import Ending
from ..scene import Scene
from .workload import Step, Workload


def version_spec(line: str, number: int) -> dict[str, Any]:
    """A version with one gate, mAP50 of at least 0.5."""
    return {
        "modelLine": line,
        "version": number,
        "weights": {"digest": DIGEST_B},
        "dataset": {"name": "any", "digest": DIGEST_A},
        "gates": {"mAP50": 0.5},
    }


def ready_version(scene: Scene, line: str, number: int) -> None:
    """A version that is Ready already; for scenes whose operator does not run yet."""
    name = f"{line}-{number}"
    scene.create("ModelVersion", name, version_spec(line, number))
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "GatesPassed",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = {
        "phase": "Ready",
        "observedGeneration": 1,
        "conditions": [condition],
        "artifacts": [artifact(number).model_dump(by_alias=True, exclude_none=True)],
    }
    scene.patch("ModelVersion", name, {"status": status}, "status")


def _judged(name: str, mean: float, verdict: str) -> Workload:
    owner = "ModelVersion/gated-1"
    return Workload(
        name=name,
        script={
            (owner, "export-onnx"): (Ending(export_outcome(1)),),
            (owner, "evaluate-cpu"): (Ending(evaluate_outcome(mean)),),
        },
        steps=(
            Step(
                "create",
                lambda scene: scene.create("ModelVersion", "gated-1", version_spec("gated", 1)),
                lambda scene: scene.phase("ModelVersion", "gated-1") == verdict,
                last_of_life=True,
            ),
            Step(
                "delete",
                lambda scene: scene.delete("ModelVersion", "gated-1"),
                lambda scene: scene.empty(),
            ),
        ),
    )


READY = _judged("ready", 0.8, "Ready")
REJECTED = _judged("rejected", 0.3, "Rejected")
