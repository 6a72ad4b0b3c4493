"""TrainingJob: one training run of Ultralytics YOLO on a pinned dataset version.

core/trainingjob/ decides what to do about one; workloads/train/ runs in its pod.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import ConfigDict, Field

from modelyard.api.base import (
    IMAGE_PATTERN,
    ApiModel,
    CommonStatus,
    Digest,
    LineName,
    LocalReference,
    Metrics,
    Resources,
    Scheduling,
    StatusModel,
    cel,
    exactly_one,
    rules,
)
from modelyard.api.disruption import Disruptions
from modelyard.api.evaluation import GATES_NEED_EVALUATION, Evaluation, Gates
from modelyard.api.export import Exports, default_exports
from modelyard.api.hyperparameters import MAX_ARGUMENTS, MAX_VALUE_ITEMS, MAX_VALUE_TEXT
from modelyard.api.registration import AGE, KindInfo, Reporter, Use


class Output(ApiModel):
    """The ModelVersion to create from a successful training."""

    model_config = ConfigDict(json_schema_extra=rules(GATES_NEED_EVALUATION))

    model_line: LineName
    """Model line of the new version, which gets the line's next number: versions are named LINE-1,
    LINE-2, …"""
    exports: Exports = Field(default_factory=default_exports)
    """Artifacts to export from the weights. Default: one ONNX export."""
    evaluation: Evaluation = Field(default_factory=Evaluation)
    """Settings of the evaluation of the exported artifacts."""
    gates: Gates = Field(default_factory=Gates)
    """Minimum metrics that the version needs to become Ready."""


NOT_SERVED = (
    "^(yolo.*-(seg|sem|cls|pose|obb|depth|reid|world|worldv2|rtdetr|grayscale)[.-]"
    "|rtdetr|yoloe-|yolo_nas_|(mobile_)?sam[0-9._]|FastSAM-)"
)
"""Ultralytics' names of models that are not detectors with a YOLO head for RGB images, as a
pattern. A file of another name may hold such a model all the same: then the trainer refuses it
(workloads/train/servable.py)."""


def _served_model() -> dict[str, Any]:
    says = (
        "is not a detection model with a YOLO head: Modelyard trains and serves models such as "
        "yolo11n.pt or yolo26s.yaml"
    )
    return cel(f"!self.matches('{NOT_SERVED}')", says, messageExpression=f"self + ' {says}'")


_SCALAR: dict[str, Any] = {
    "x-kubernetes-preserve-unknown-fields": True,
    "maxLength": MAX_VALUE_TEXT,
    "maxItems": 0,
    "maxProperties": 0,
}
_VALUE: dict[str, Any] = {
    **_SCALAR,
    "nullable": True,
    "maxItems": MAX_VALUE_ITEMS,
    "items": _SCALAR,
}
"""Schema of one hyperparameter: a number, a text, true or false, or a list of those. A structural
schema has no unions, but bounds each type that a value may have; nothing nests, since JSON that
nests a thousand deep cannot be parsed where it is read."""


class TrainingJobSpec(ApiModel):
    """Desired state of a training."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            exactly_one("model", "baseVersion"),
            cel(
                "!has(self.modelDigest) || (has(self.model) && self.model.endsWith('.pt'))",
                "modelDigest pins pretrained weights: it needs a model that ends in .pt",
            ),
        )
    )

    model: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.(pt|yaml)$",
        max_length=128,
        json_schema_extra=rules(_served_model()),
    )
    """Pretrained weights by their Ultralytics name (yolo11n.pt, yolo26s.pt), read from the
    store or else downloaded once from Ultralytics' release; or an architecture (yolo11n.yaml) to
    train from scratch. Models for other tasks than detection, and RT-DETR, are refused. Exactly one
    of `model` and `baseVersion` must be set."""
    model_digest: Digest | None = None
    """SHA-256 digest that the pretrained weights must have; empty accepts any."""
    base_version: LocalReference | None = None
    """ModelVersion to fine-tune, instead of `model`."""
    dataset: LocalReference
    """Dataset to train on. Its digest is pinned when the training starts."""
    hyperparameters: dict[str, Any] | None = Field(
        default=None,
        json_schema_extra={
            "type": "object",
            "maxProperties": MAX_ARGUMENTS,
            "additionalProperties": _VALUE,
        },
    )
    """Arguments of Ultralytics' `train()`, such as epochs, imgsz, batch, lr0, seed. Names and
    types are checked before a pod starts."""
    resources: Resources = Field(default_factory=Resources)
    """Resources of the training pod; can be changed until it has started. Shared memory (/dev/shm),
    through which the data loader's workers hand over images, is as large as the memory."""
    scheduling: Scheduling | None = None
    """Constraints on the node of the training pod; can be changed until it has started."""
    image: str | None = Field(default=None, min_length=1, max_length=512, pattern=IMAGE_PATTERN)
    """Trainer image; empty for the operator's default. The chart's workloads.allowedImages lists
    what is allowed. Can be changed until the training pod has started."""
    backoff_limit: int = Field(default=3, ge=0, le=100)
    """Maximum number of times that a failed pod is replaced. A new pod resumes from the last
    checkpoint."""
    active_deadline_seconds: int | None = Field(default=None, ge=1, le=31_536_000)
    """Maximum duration of the training in seconds; empty for no limit."""
    suspend: bool = False
    """Stop the training and free its resources. When it is set back to false, the training resumes
    from its last checkpoint."""
    output: Output
    """The ModelVersion to create from a successful training."""


class TrainingProgress(StatusModel):
    """Progress that the training pod reports while it runs."""

    pod_name: str | None = None
    """Name of the pod that reports."""
    stage: str | None = None
    """Current stage: Preparing, Training or Publishing."""
    epoch: int | None = None
    """Number of finished epochs."""
    epochs: int | None = None
    """Total number of epochs."""
    percent: int | None = None
    """Progress in percent, 0 to 100."""
    remaining_seconds: int | None = None
    """Estimated remaining time in seconds."""
    resumed_from_epoch: int | None = None
    """Epoch whose checkpoint this pod resumed from; empty if it started from the beginning."""
    updated_at: str | None = Field(default=None, json_schema_extra={"format": "date-time"})
    """Time of the last report."""
    metrics: Metrics | None = Field(default=None, max_length=32)
    """Validation metrics of the latest epoch: mAP50, mAP50to95, precision, recall."""


class TrainingJobStatus(CommonStatus):
    """Observed state of a training."""

    progress: TrainingProgress | None = None
    """Progress of the training, written by its pod."""
    start_time: str | None = Field(default=None, json_schema_extra={"format": "date-time"})
    """Time at which the training started."""
    completion_time: str | None = Field(default=None, json_schema_extra={"format": "date-time"})
    """Time at which it ended."""
    dataset_digest: str | None = None
    """Digest of the pinned dataset version."""
    initial_weights_digest: str | None = None
    """Digest of the weights that the training started from; empty from scratch."""
    weights_digest: str | None = None
    """Digest of the trained weights (the best checkpoint)."""
    metrics: Metrics | None = None
    """Final validation metrics of the best checkpoint: mAP50, mAP50to95, precision, recall."""
    images: int | None = None
    """Number of images that were trained on."""
    validation_images: int | None = None
    """Number of images that the metrics were measured on."""
    attempt: int | None = None
    """Number of the current Job, from 0."""
    job_name: str | None = None
    """Name of the batch/v1 Job."""
    pod_name: str | None = None
    """Name of the pod that may report progress."""
    model_version: str | None = None
    """Name of the resulting ModelVersion."""
    run_hash: str | None = None
    """Hash of the inputs that the training was started with."""
    disruptions: Disruptions | None = None
    """Pods that Kubernetes ended before they were done: preempted, evicted, drained. After ten in a
    row its Job is stopped."""


class TrainingJobPhase(StrEnum):
    """Phase of a TrainingJob."""

    PENDING = "Pending"
    """It waits for its inputs, or for its pod to start or resume."""
    RUNNING = "Running"
    """Its pod is training."""
    SUSPENDED = "Suspended"
    """It is stopped by spec.suspend."""
    SUCCEEDED = "Succeeded"
    """Its ModelVersion exists."""
    FAILED = "Failed"
    """It ended without a ModelVersion; a new TrainingJob is needed."""


_ENDED = frozenset({TrainingJobPhase.SUCCEEDED, TrainingJobPhase.FAILED})
_STARTED = ".status.runHash"
"""Set once the inputs are pinned."""


def _frozen(since: str, when: str, *fields: str) -> dict[str, Any]:
    """The rule that `fields` of the spec do not change once the status has the field `since`. One
    rule for all of them, since each status patch pays for every rule."""
    same = [
        f"has(self.spec.{field}) == has(oldSelf.spec.{field}) && "
        f"(!has(self.spec.{field}) || self.spec.{field} == oldSelf.spec.{field})"
        for field in fields
    ]
    changed = "".join(f"!({one}) ? '{field}' : " for one, field in zip(same, fields, strict=True))
    return cel(
        f"!has(oldSelf.status) || !has(oldSelf.status.{since}) || ({' && '.join(same)})",
        f"the spec cannot change once {when}: create a new TrainingJob",
        messageExpression=f"'spec.' + ({changed}'?') + ' cannot change once {when}: create a new "
        "TrainingJob'",
    )


REPORTER = Reporter(who="trainer", pod=".status.podName", fields=("progress",))

KIND = KindInfo(
    kind="TrainingJob",
    plural="trainingjobs",
    short="tj",
    spec=TrainingJobSpec,
    status=TrainingJobStatus,
    columns=(
        ("Phase", "string", ".status.phase"),
        ("Epoch", "integer", ".status.progress.epoch"),
        ("Progress", "integer", ".status.progress.percent"),
        ("ETA", "integer", ".status.progress.remainingSeconds"),
        ("mAP50-95", "number", ".status.progress.metrics.mAP50to95"),
        ("Version", "string", ".status.modelVersion"),
        ("Message", "string", ".status.message"),
        AGE,
    ),
    wide=frozenset({"Message"}),
    root_rules=(
        _frozen(
            "runHash",
            "the training has started",
            "model",
            "modelDigest",
            "baseVersion",
            "dataset",
            "backoffLimit",
            "activeDeadlineSeconds",
            "output",
        ),
        # What a pod that fits no node, or whose image cannot be pulled, may need.
        _frozen("podName", "the training pod has started", "resources", "scheduling", "image"),
    ),
    phases=TrainingJobPhase,
    good=frozenset({TrainingJobPhase.SUCCEEDED}),
    bad=frozenset({TrainingJobPhase.FAILED}),
    uses=(
        Use(
            "Dataset",
            "{.spec.dataset.name}",
            protects=True,
            until=_ENDED,
            pinned_by=_STARTED,
            parent=True,
        ),
        Use(
            "ModelVersion",
            "{.spec.baseVersion.name}",
            protects=True,
            until=_ENDED,
            pinned_by=_STARTED,
        ),
    ),
    reporter=REPORTER,
    example={
        "model": "yolo11n.yaml",
        "dataset": {"name": "digits"},
        "hyperparameters": {"epochs": 3, "lr0": 0.01, "optimizer": "SGD"},
        "output": {"modelLine": "digits"},
    },
    example_name="digits",
    # One CPU: a node with two never has both free.
    components={"training": {"cpu": "1", "memory": "8Gi", "ephemeral-storage": "100Gi"}},
)
