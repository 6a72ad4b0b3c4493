"""Judges evaluated artifacts against the gates.

What a gate is worth depends on where its figures come from. Those of an ONNX artifact are measured
by the container that judges: absolute gates hold whatever code the weights contain. Those of the
source weights, and of an engine, come from boxes of a process that had loaded them, so they are
what these files say of themselves. `parity` therefore finds an export that went wrong, and cannot
be more: weights that claim too much fail it, weights that claim too little pass it, and neither
lifts an artifact over an absolute gate.
"""

from __future__ import annotations

from collections.abc import Mapping

from modelyard.api.evaluation import ArtifactEvaluation, GateResult, Gates
from modelyard.core.modelversion.reasons import SOURCE

ABSOLUTE = ("mAP50", "mAP50to95", "precision", "recall")


def judge(gates: Gates, evaluations: Mapping[str, ArtifactEvaluation]) -> list[GateResult]:
    """Each gate on each artifact. A figure that is missing or no number fails its gate.

    `parity` compares an artifact's mAP50to95 with the source weights': `actual` is by how much
    it lies below. Without a source evaluation (ONNX weights) there is nothing to compare with.
    """
    bounds = gates.model_dump(by_alias=True, exclude_none=True)
    source = evaluations.get(SOURCE)
    results = []
    for name, evaluation in sorted(evaluations.items()):
        if name == SOURCE:
            continue
        for gate in ABSOLUTE:
            if gate in bounds:
                actual = evaluation.metrics.get(gate, 0.0)
                results.append(_result(name, gate, bounds[gate], actual, actual >= bounds[gate]))
        if "parity" in bounds and source is not None:
            loss = source.metrics.get("mAP50to95", 1.0) - evaluation.metrics.get("mAP50to95", 0.0)
            results.append(
                _result(name, "parity", bounds["parity"], loss, loss <= bounds["parity"])
            )
    return results


def _result(artifact: str, gate: str, required: float, actual: float, passed: bool) -> GateResult:
    return GateResult(
        artifact=artifact, gate=gate, required=required, actual=round(actual, 5), passed=passed
    )


def describe(result: GateResult) -> str:
    """A failed gate in words."""
    if result.gate == "parity":
        return (
            f"{result.artifact} lies {result.actual:.3f} mAP50to95 below the source weights, at "
            f"most {result.required:.3f} is allowed"
        )
    return f"{result.artifact} has {result.gate} {result.actual:.3f}, needs {result.required:.3f}"
