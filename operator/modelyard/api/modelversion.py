"""ModelVersion: an immutable, exported and gated version of a model."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from modelyard.api.base import (
    IMAGE_PATTERN,
    ApiModel,
    CommonStatus,
    Digest,
    Fraction,
    LabelValue,
    LineName,
    Metrics,
    ObjectName,
    Resources,
    Scheduling,
    StatusModel,
    cel,
    rules,
)


class Export(ApiModel):
    """One artifact to make from the weights."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "self.format == 'tensorrt' || !has(self.precision) || self.precision == 'fp32'",
                "precision fp16 and int8 are for format tensorrt",
            ),
            cel(
                "self.format != 'tensorrt' || has(self.gpuProduct)",
                "a tensorrt export needs gpuProduct: an engine only runs on the GPU type it was "
                "built on",
            ),
        )
    )

    name: str = Field(default="onnx", pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=20)
    """Name of the artifact within the version."""
    format: Literal["onnx", "tensorrt"] = "onnx"
    """onnx runs everywhere; tensorrt is built on, and for, one GPU type."""
    imgsz: int | None = Field(default=None, ge=32, le=8192)
    """Input height and width in pixels; empty takes the training's."""
    opset: int | None = Field(default=None, ge=11, le=25)
    """ONNX opset; empty takes the exporter's default."""
    simplify: bool = True
    """Simplify the ONNX graph."""
    dynamic: bool = False
    """Dynamic batch, height and width instead of a static shape."""
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    """Precision of a TensorRT engine; int8 calibrates on the holdout's dataset."""
    gpu_product: LabelValue | None = Field(default=None, min_length=1)
    """GPU type, the value of the node label `nvidia.com/gpu.product`, such as
    `NVIDIA-H100-80GB-HBM3` or `Orin`."""


Exports = Annotated[
    list[Export],
    Field(
        min_length=1,
        max_length=16,
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
    ),
]
"""Artifacts to make, told apart by name."""


def default_exports() -> list[Export]:
    """One ONNX export."""
    return [Export()]


class Evaluation(ApiModel):
    """How artifacts are evaluated."""

    split: Literal["val", "test"] = "val"
    """Split of the pinned dataset version that serves as holdout."""
    confidence: Fraction = 0.001
    """Lowest confidence that counts as a detection, as in Ultralytics' `val()`."""
    iou: Fraction = 0.7
    """IoU threshold of non-maximum suppression, as in Ultralytics' `val()`."""


class Gates(ApiModel):
    """What every artifact must reach on the holdout; an absent gate is not checked, and parity is
    never absent."""

    m_ap50: Fraction | None = Field(default=None, alias="mAP50")
    """Lowest mean average precision at IoU 0.5."""
    m_ap50to95: Fraction | None = Field(default=None, alias="mAP50to95")
    """Lowest mean average precision over IoU 0.5 to 0.95."""
    precision: Fraction | None = None
    """Lowest precision at the best F1."""
    recall: Fraction | None = None
    """Lowest recall at the best F1."""
    parity: Fraction | None = 0.02
    """Most that an artifact's mAP50to95 may lie below the source weights'; 1 allows any loss."""


class WeightsSource(ApiModel):
    """Weights by digest, and where to fetch them from if the store lacks them."""

    digest: Digest
    """Digest of the weights file."""
    uri: str | None = Field(default=None, pattern=r"^(https?|s3)://[!-~]+$", max_length=2048)
    """URL to fetch the weights from; empty takes them from the store."""
    format: Literal["pt", "onnx"] = "pt"
    """pt: a PyTorch checkpoint of Ultralytics; onnx: an exported model."""


class TrainingSource(ApiModel):
    """The training that made the weights."""

    name: ObjectName
    """Name of the TrainingJob."""
    uid: str = Field(min_length=1, max_length=64)
    """UID of the TrainingJob: it may be gone, and its name be used again."""


class Lineage(ApiModel):
    """Where the version comes from; kept although the named objects may be deleted."""

    training_job: TrainingSource | None = None
    """The training that made the weights."""
    base_version: ObjectName | None = None
    """ModelVersion that was fine-tuned."""
    initial_weights_digest: Digest | None = None
    """Digest of the weights that the training started from."""
    trainer_image: str | None = Field(
        default=None, min_length=1, max_length=512, pattern=IMAGE_PATTERN
    )
    """Image that trained it."""


class HoldoutDataset(ApiModel):
    """The pinned dataset version that artifacts are evaluated on."""

    name: ObjectName
    """Name of the Dataset."""
    digest: Digest
    """Content digest of the version."""


class ModelVersionSpec(ApiModel):
    """What the version is; immutable."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel("self == oldSelf", "a ModelVersion is immutable: create a new version instead"),
            cel(
                "self.weights.format != 'onnx' || self.exports.all(e, e.format == 'onnx')",
                "weights of format onnx can only be served as onnx",
            ),
        )
    )

    model_line: LineName
    """Model line."""
    version: int = Field(ge=1, le=2_147_483_647)
    """Number within the model line."""
    task: Literal["detect"] = "detect"
    """Task of the model."""
    weights: WeightsSource
    """The weights."""
    dataset: HoldoutDataset
    """Dataset version that artifacts are evaluated on."""
    lineage: Lineage = Field(default_factory=Lineage)
    """Where the version comes from."""
    exports: Exports = Field(default_factory=default_exports)
    """Artifacts to make."""
    evaluation: Evaluation = Field(default_factory=Evaluation)
    """How artifacts are evaluated."""
    gates: Gates = Field(default_factory=Gates)
    """What every artifact must reach."""
    resources: Resources | None = None
    """Resources of the export and evaluation pods."""
    scheduling: Scheduling | None = None
    """Where those pods may run; a tensorrt export also goes to a node with its GPU type."""


class Artifact(StatusModel):
    """One exported artifact."""

    name: str
    """Name of the export."""
    format: str
    """onnx or tensorrt."""
    digest: str
    """Content digest of the artifact file."""
    manifest_digest: str
    """Content digest of its manifest: input, outputs, classes."""
    size_bytes: int
    """Size of the artifact file."""
    gpu_product: str | None = None
    """GPU type that a tensorrt engine is for."""


class ArtifactEvaluation(StatusModel):
    """Figures of one artifact on the holdout."""

    artifact: str
    """Name of the artifact, or `source` for the weights themselves."""
    images: int | None = None
    """Images evaluated."""
    metrics: Metrics
    """mAP50, mAP50to95, precision, recall."""
    milliseconds_per_image: float | None = None
    """Inference time per image on the evaluating pod; informative."""


class GateResult(StatusModel):
    """One gate on one artifact."""

    artifact: str
    """Name of the artifact."""
    gate: str
    """mAP50, mAP50to95, precision, recall or parity."""
    required: float
    """The bound."""
    actual: float
    """The figure."""
    passed: bool
    """Whether it was met."""


class ModelVersionStatus(CommonStatus):
    """What the version is worth."""

    artifacts: list[Artifact] | None = Field(default=None, max_length=16)
    """Exported artifacts by digest."""
    evaluations: list[ArtifactEvaluation] | None = Field(default=None, max_length=17)
    """Figures on the holdout."""
    gates: list[GateResult] | None = Field(default=None, max_length=80)
    """Each gate with its bound and figure."""
    m_ap50to95: float | None = Field(default=None, alias="mAP50to95")
    """mAP50to95 of the worst artifact."""
    m_ap50: float | None = Field(default=None, alias="mAP50")
    """mAP50 of the worst artifact."""
    attempt: int | None = None
    """Which try of the current Jobs this is, from 0."""
    used_by: list[str] | None = Field(default=None, max_length=5)
    """The first objects that need this one; while there are any, it cannot be deleted."""


class ModelVersionPhase(StrEnum):
    """Where a ModelVersion is in its life."""

    PENDING = "Pending"
    """Something that it needs is missing."""
    EXPORTING = "Exporting"
    """Its artifacts are made."""
    VALIDATING = "Validating"
    """Its artifacts are evaluated on the holdout."""
    READY = "Ready"
    """It passed its gates: Deployments may serve it."""
    REJECTED = "Rejected"
    """It missed a gate."""
    FAILED = "Failed"
    """It could not be exported or evaluated."""
