"""ModelVersion: an immutable version of a model, with its exports, metrics and gates.

Its exports: export.py; its evaluation and gates: evaluation.py; both are also part of a
TrainingJob, whose versions take them over. core/modelversion/ decides what to do about a version;
workloads/export/ and workloads/evaluate/ run in its pods.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import ConfigDict, Field

from modelyard.api.base import (
    IMAGE_PATTERN,
    ApiModel,
    CommonStatus,
    Digest,
    LineName,
    ObjectName,
    Resources,
    Scheduling,
    cel,
    rules,
)
from modelyard.api.disruption import Disruptions
from modelyard.api.evaluation import (
    GATES_NEED_EVALUATION,
    ArtifactEvaluation,
    Evaluation,
    GateResult,
    Gates,
    VersionProfile,
)
from modelyard.api.export import Artifact, Exports, default_exports
from modelyard.api.registration import AGE, KindInfo, Use, Verdict


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


class ModelVersionStatus(CommonStatus):
    """Observed state of the version."""

    artifacts: list[Artifact] | None = Field(default=None, max_length=16)
    """Exported artifacts with their digests."""
    evaluations: list[ArtifactEvaluation] | None = Field(default=None, max_length=17)
    """Metrics on the evaluation split."""
    profile: VersionProfile | None = None
    """Profile of the holdout, for the monitoring of drift; empty where no ONNX artifact was
    evaluated."""
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
    disruptions: Disruptions | None = None
    """Pods that Kubernetes ended before they were done: preempted, evicted, drained. After ten in a
    row its Job is stopped."""


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
        fields=("phase", "artifacts", "evaluations", "profile", "gates", "mAP50", "mAP50to95"),
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
