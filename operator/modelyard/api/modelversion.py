"""ModelVersion: an immutable version of a model, with its exports, metrics and gates.

core/modelversion/ decides what to do about one; workloads/export/ and workloads/evaluate/ run in
its pods.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

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
from modelyard.api.registration import AGE, KindInfo, Use, Verdict


DYNAMIC = "dynamic"
"""`batch` of an export without a maximum."""
MAX_BATCH = 256
_BATCH: dict[str, Any] = {
    "x-kubernetes-int-or-string": True,
    "maxLength": len(DYNAMIC),
    **rules(
        cel(
            f"type(self) == int ? self >= 1 && self <= {MAX_BATCH} : self == '{DYNAMIC}'",
            f"batch is a number from 1 to {MAX_BATCH}, or {DYNAMIC}",
        )
    ),
}


class Export(ApiModel):
    """One artifact to export from the weights."""

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
            cel(
                "!has(self.batch) || !has(self.dynamic) || !self.dynamic",
                "batch and dynamic exclude each other: dynamic makes the batch dynamic too",
            ),
        )
    )

    name: str = Field(default="onnx", pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=20)
    """Name of the artifact within the version."""
    format: Literal["onnx", "tensorrt"] = "onnx"
    """Format of the artifact: onnx runs on all nodes, tensorrt is built on and for one GPU type."""
    imgsz: int | None = Field(default=None, ge=32, le=8192)
    """Input height and width in pixels; empty for those of the training."""
    opset: int | None = Field(default=None, ge=11, le=25)
    """ONNX opset; empty for the exporter's default."""
    simplify: bool = True
    """Simplify the ONNX graph."""
    dynamic: bool = False
    """Export with dynamic batch, height and width instead of a static shape."""
    batch: int | str | None = Field(default=None, json_schema_extra=_BATCH)
    """Maximum number of images that the artifact computes at once, from 1 to 256; servers then
    compute requests together. `dynamic` sets no maximum (8 for tensorrt). Height and width stay
    fixed. Empty: 1."""
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    """Precision of a TensorRT engine; int8 calibrates on the holdout's dataset."""
    gpu_product: LabelValue | None = Field(default=None, min_length=1)
    """GPU type, the value of the node label `nvidia.com/gpu.product`, such as
    `NVIDIA-H100-80GB-HBM3` or `Orin`."""

    @property
    def batched(self) -> bool:
        """Whether the batch, and only that, is to be dynamic."""
        return self.batch not in (None, 1)

    @property
    def max_batch(self) -> int | None:
        """Most images at once that `batch` allows; None is no bound."""
        return self.batch if isinstance(self.batch, int) else None


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
"""Artifacts to export, with unique names."""


def default_exports() -> list[Export]:
    """One ONNX export."""
    return [Export()]


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


class WeightsSource(ApiModel):
    """Weights by digest, and where to download them if the store does not have them."""

    digest: Digest
    """SHA-256 digest of the weights file."""
    uri: str | None = Field(
        default=None,
        pattern=r"^(https?://[!-~]+|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^\x00-\x1f\x7f]+)$",
        max_length=2048,
    )
    """URL to download the weights from; empty if the store has them. `s3://bucket/key` is taken as
    written; it is read with the store's credentials within this namespace's part of the store, and
    anonymously from Amazon S3 elsewhere."""
    format: Literal["pt", "onnx"] = "pt"
    """Format of the weights: pt is a PyTorch checkpoint of Ultralytics, onnx an exported model."""


class TrainingSource(ApiModel):
    """The TrainingJob that produced the weights."""

    name: ObjectName
    """Name of the TrainingJob."""
    uid: str = Field(min_length=1, max_length=64)
    """UID of the TrainingJob, which may have been deleted and its name used again."""


class Lineage(ApiModel):
    """Origin of the version. Kept even if the named objects are deleted."""

    training_job: TrainingSource | None = None
    """The TrainingJob that produced the weights."""
    base_version: ObjectName | None = None
    """Name of the ModelVersion that was fine-tuned."""
    initial_weights_digest: Digest | None = None
    """Digest of the weights that the training started from."""
    trainer_image: str | None = Field(
        default=None, min_length=1, max_length=512, pattern=IMAGE_PATTERN
    )
    """Trainer image."""


class HoldoutDataset(ApiModel):
    """The pinned dataset version that artifacts are evaluated on."""

    name: ObjectName
    """Name of the Dataset."""
    digest: Digest
    """Content digest of the version."""


class ModelVersionSpec(ApiModel):
    """Definition of the version; immutable."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel("self == oldSelf", "a ModelVersion is immutable: create a new version instead"),
            cel(
                "self.weights.format != 'onnx' || self.exports.all(e, e.format == 'onnx')",
                "weights of format onnx can only be served as onnx",
            ),
            cel(
                "has(self.dataset) || (has(self.evaluation) && has(self.evaluation.skip) && "
                "self.exports.all(e, !has(e.precision) || e.precision != 'int8'))",
                "dataset is missing: name the dataset version to evaluate on (and to calibrate "
                "int8 on), or say in evaluation.skip why nothing is evaluated",
            ),
            GATES_NEED_EVALUATION,
        )
    )

    model_line: LineName
    """Model line of the version."""
    version: int = Field(ge=1, le=2_147_483_647)
    """Number within the model line."""
    task: Literal["detect"] = "detect"
    """Task of the model."""
    weights: WeightsSource
    """The weights."""
    dataset: HoldoutDataset | None = None
    """Dataset version that artifacts are evaluated on. Needed unless evaluation.skip is set."""
    lineage: Lineage = Field(default_factory=Lineage)
    """Origin of the version."""
    exports: Exports = Field(default_factory=default_exports)
    """Artifacts to export. Default: one ONNX export."""
    evaluation: Evaluation = Field(default_factory=Evaluation)
    """Settings of the evaluation of artifacts."""
    gates: Gates = Field(default_factory=Gates)
    """Minimum metrics of each artifact."""
    resources: Resources | None = None
    """Resources of the export and evaluation pods."""
    scheduling: Scheduling | None = None
    """Constraints on the nodes of those pods. A tensorrt export also needs a node with its GPU
    type."""


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
    """Size of the artifact file in bytes."""
    gpu_product: str | None = None
    """GPU type of a tensorrt engine."""


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


class ModelVersionStatus(CommonStatus):
    """Observed state of the version."""

    artifacts: list[Artifact] | None = Field(default=None, max_length=16)
    """Exported artifacts with their digests."""
    evaluations: list[ArtifactEvaluation] | None = Field(default=None, max_length=17)
    """Metrics on the evaluation split."""
    gates: list[GateResult] | None = Field(default=None, max_length=80)
    """Each gate with its required and measured value."""
    m_ap50to95: float | None = Field(default=None, alias="mAP50to95")
    """mAP50to95 of the worst artifact."""
    m_ap50: float | None = Field(default=None, alias="mAP50")
    """mAP50 of the worst artifact."""
    attempt: int | None = None
    """Number of the current attempt at its Jobs, from 0."""
    used_by: list[str] | None = Field(default=None, max_length=5)
    """Objects that use this one, at most five. It cannot be deleted while there are any."""


class ModelVersionPhase(StrEnum):
    """Phase of a ModelVersion."""

    PENDING = "Pending"
    """Something that it depends on is missing."""
    EXPORTING = "Exporting"
    """Its artifacts are being exported."""
    VALIDATING = "Validating"
    """Its artifacts are being evaluated."""
    READY = "Ready"
    """It passed its gates: Deployments may serve it."""
    REJECTED = "Rejected"
    """It failed a gate."""
    FAILED = "Failed"
    """It could not be exported or evaluated."""


_DIGEST = "sha256:" + "0123456789abcdef" * 4

KIND = KindInfo(
    kind="ModelVersion",
    plural="modelversions",
    short="mv",
    spec=ModelVersionSpec,
    status=ModelVersionStatus,
    columns=(
        ("Line", "string", ".spec.modelLine"),
        ("Version", "integer", ".spec.version"),
        ("Phase", "string", ".status.phase"),
        ("mAP50", "number", ".status.mAP50"),
        ("mAP50-95", "number", ".status.mAP50to95"),
        ("Message", "string", ".status.message"),
        AGE,
    ),
    wide=frozenset({"Message"}),
    root_rules=(
        cel(
            # Cutting the name costs less, to the API server's estimate, than joining it.
            "self.metadata.name.startsWith(self.spec.modelLine + '-') && "
            "self.metadata.name.substring(size(self.spec.modelLine) + 1) == "
            "string(self.spec.version)",
            "a ModelVersion's name is its modelLine, a dash and its version, such as shelf-3",
        ),
    ),
    phases=ModelVersionPhase,
    good=frozenset({ModelVersionPhase.READY}),
    bad=frozenset({ModelVersionPhase.REJECTED, ModelVersionPhase.FAILED}),
    uses=(
        Use("TrainingJob", "{.spec.lineage.trainingJob.name}", notifies=True, parent=True),
        Use("Dataset", "{.spec.dataset.name}", parent=True),
    ),
    verdict=Verdict(
        phases=(ModelVersionPhase.READY, ModelVersionPhase.REJECTED),
        fields=("phase", "artifacts", "evaluations", "gates", "mAP50", "mAP50to95"),
    ),
    operator_verbs=("create", "patch"),
    example={
        "modelLine": "shelf",
        "version": 3,
        "weights": {"digest": _DIGEST},
        "dataset": {"name": "digits", "digest": _DIGEST},
    },
    example_name="shelf-3",
    components={"export": {"cpu": "1", "memory": "4Gi", "ephemeral-storage": "50Gi"}},
)
