"""Evaluation and gates: how artifacts are measured, which metrics they must reach, and the results.

Part of ModelVersion (modelversion.py) and of TrainingJob (trainingjob.py), whose versions take them
over. workloads/evaluate/ measures; core/modelversion/gates.py judges.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelyard.api.base import ApiModel, Digest, Fraction, Metrics, StatusModel, cel

REASON_PATTERN = r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"
"""One line of text that is not blank."""


class Evaluation(ApiModel):
    """Settings of the evaluation of artifacts."""

    split: Literal["val", "test"] = "val"
    """Split of the pinned dataset version to evaluate on."""
    confidence: Fraction = 0.001
    """Minimum confidence of a detection, 0 to 1, as in Ultralytics' `val()`."""
    iou: Fraction = 0.7
    """IoU threshold of non-maximum suppression, as in Ultralytics' `val()`."""
    skip: str | None = Field(default=None, min_length=1, max_length=256, pattern=REASON_PATTERN)
    """Why nothing is evaluated, such as "pretrained on COCO, to be tried". The version becomes
    Ready with the condition Validated=False, and only Deployments with allowUnvalidated serve it.
    Empty to evaluate."""


class Gates(ApiModel):
    """Minimum metrics of each artifact on the evaluation split. A gate that is not set is not
    checked; parity is always checked."""

    m_ap50: Fraction | None = Field(default=None, alias="mAP50")
    """Minimum mean average precision at IoU 0.5."""
    m_ap50to95: Fraction | None = Field(default=None, alias="mAP50to95")
    """Minimum mean average precision over IoU 0.5 to 0.95."""
    precision: Fraction | None = None
    """Minimum precision at the confidence with the best F1."""
    recall: Fraction | None = None
    """Minimum recall at the confidence with the best F1."""
    parity: Fraction | None = 0.02
    """Maximum difference by which an artifact's mAP50to95 may be lower than that of the weights;
    1 allows any difference."""


GATES_NEED_EVALUATION = cel(
    "!has(self.evaluation) || !has(self.evaluation.skip) || !has(self.gates) || "
    "!(has(self.gates.mAP50) || has(self.gates.mAP50to95) || has(self.gates.precision) || "
    "has(self.gates.recall))",
    "gates need an evaluation: leave evaluation.skip out, or the gates",
)
"""CEL rule of an object with `evaluation` and `gates`."""


class ArtifactEvaluation(StatusModel):
    """Metrics of one artifact on the evaluation split."""

    artifact: str
    """Name of the artifact, or `source` for the weights themselves."""
    images: int | None = None
    """Number of evaluated images."""
    metrics: Metrics
    """mAP50, mAP50to95, precision, recall."""
    milliseconds_per_image: float | None = None
    """Inference time per image in the evaluation pod, in milliseconds; informative."""


class VersionProfile(StatusModel):
    """What the images of the holdout look like to the version, for the monitoring of drift."""

    digest: Digest
    """Content digest of the figures of all images."""
    summary_digest: Digest
    """Content digest of their summary, which servers fetch."""
    images: int
    """Number of images that were measured."""
    embedding: int | None = None
    """Dimensions of the embedding; empty for a network without one."""


class GateResult(StatusModel):
    """Result of one gate for one artifact."""

    artifact: str
    """Name of the artifact."""
    gate: str
    """mAP50, mAP50to95, precision, recall or parity."""
    required: float
    """Required value."""
    actual: float
    """Measured value."""
    passed: bool
    """Whether the gate was passed."""
