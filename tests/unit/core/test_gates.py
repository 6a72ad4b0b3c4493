"""What the weights claim of themselves decides about nothing but their own parity."""

from __future__ import annotations

import pytest

from modelyard.api.evaluation import ArtifactEvaluation, Gates
from modelyard.core.modelversion.gates import judge


def verdict(source: float | None, onnx: float, **gates: float) -> dict[str, bool]:
    """Which gates the artifact passes, given what the source claims."""
    figures = {"onnx": {"mAP50": onnx, "mAP50to95": onnx}}
    if source is not None:
        figures["source"] = {"mAP50": source, "mAP50to95": source}
    evaluations = {
        name: ArtifactEvaluation(artifact=name, metrics=metrics)
        for name, metrics in figures.items()
    }
    bounds = Gates.model_validate({"mAP50": 0.5} | gates)
    return {one.gate: one.passed for one in judge(bounds, evaluations)}


@pytest.mark.parametrize("claimed", [0.0, 0.2, 0.5, 1.0])
def test_no_claim_of_the_source_lifts_an_artifact_over_an_absolute_gate(claimed: float) -> None:
    assert verdict(claimed, 0.4)["mAP50"] is False
    assert verdict(claimed, 0.6)["mAP50"] is True


def test_weights_that_claim_better_boxes_than_their_export_has_are_rejected() -> None:
    assert verdict(1.0, 0.6) == {"mAP50": True, "parity": False}


def test_weights_that_claim_no_boxes_pass_parity_alone() -> None:
    """Stays possible, and is worth nothing: the artifact is measured by itself."""
    assert verdict(0.0, 0.4) == {"mAP50": False, "parity": True}


def test_a_source_without_a_figure_fails_parity() -> None:
    evaluations = {
        "onnx": ArtifactEvaluation(artifact="onnx", metrics={"mAP50to95": 0.6}),
        "source": ArtifactEvaluation(artifact="source", metrics={}),
    }
    (parity,) = judge(Gates(), evaluations)
    assert not parity.passed
