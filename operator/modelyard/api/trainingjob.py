"""TrainingJob: one training run of Ultralytics YOLO on a pinned dataset version."""

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
from modelyard.api.modelversion import Evaluation, Exports, Gates, default_exports


class Output(ApiModel):
    """The ModelVersion that a successful training becomes."""

    model_line: LineName
    """Model line that the new version is numbered within: versions are LINE-1, LINE-2, …"""
    exports: Exports = Field(default_factory=default_exports)
    """Exports that the version gets."""
    evaluation: Evaluation = Field(default_factory=Evaluation)
    """How the exported artifacts are evaluated."""
    gates: Gates = Field(default_factory=Gates)
    """What the version must reach to be Ready."""


class TrainingJobSpec(ApiModel):
    """What the user declares of a training."""

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
        default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.(pt|yaml)$", max_length=128
    )
    """Pretrained weights by their Ultralytics name (yolo11n.pt, yolo26s.pt), taken from the
    store's mirror or fetched once from Ultralytics' release; or an architecture (yolo11n.yaml)
    to train from scratch."""
    model_digest: Digest | None = None
    """Digest that the pretrained weights must have."""
    base_version: LocalReference | None = None
    """ModelVersion to fine-tune."""
    dataset: LocalReference
    """Dataset to train on. Its digest is pinned when the training starts."""
    hyperparameters: dict[str, Any] | None = Field(
        default=None,
        json_schema_extra={"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    )
    """Arguments of Ultralytics' `train()`, such as epochs, imgsz, batch, lr0, seed. Names and
    types are checked before a pod starts."""
    resources: Resources = Field(default_factory=Resources)
    """What the training pod gets."""
    scheduling: Scheduling | None = None
    """Where the training pod may run."""
    image: str | None = Field(default=None, min_length=1, max_length=512, pattern=IMAGE_PATTERN)
    """Trainer image; empty is the operator's default."""
    backoff_limit: int = Field(default=3, ge=0, le=100)
    """How often a failed pod is replaced; the new one resumes from the last checkpoint."""
    active_deadline_seconds: int | None = Field(default=None, ge=1, le=31_536_000)
    """Longest time that the training may take."""
    suspend: bool = False
    """Stops the training and frees its resources; it resumes from its last checkpoint."""
    output: Output
    """The ModelVersion that a successful training becomes."""


class TrainingProgress(StatusModel):
    """What the training pod reports while it runs."""

    pod_name: str | None = None
    """Pod that reports."""
    stage: str | None = None
    """What the pod is doing: Preparing, Training, Publishing."""
    epoch: int | None = None
    """Finished epochs."""
    epochs: int | None = None
    """Epochs in all."""
    percent: int | None = None
    """Share done, 0 to 100."""
    remaining_seconds: int | None = None
    """Estimated time left."""
    resumed_from_epoch: int | None = None
    """Epoch whose checkpoint this pod resumed from; empty if it started from the beginning."""
    updated_at: str | None = Field(default=None, json_schema_extra={"format": "date-time"})
    """When the pod last reported."""
    metrics: Metrics | None = Field(default=None, max_length=32)
    """Validation metrics of the latest epoch: mAP50, mAP50to95, precision, recall."""


class TrainingJobStatus(CommonStatus):
    """How the training goes."""

    progress: TrainingProgress | None = None
    """What the training pod reports (written by the pod itself)."""
    start_time: str | None = Field(default=None, json_schema_extra={"format": "date-time"})
    """When the training was started."""
    completion_time: str | None = Field(default=None, json_schema_extra={"format": "date-time"})
    """When it ended."""
    dataset_digest: str | None = None
    """Dataset version that was pinned."""
    initial_weights_digest: str | None = None
    """Digest of the weights that the training started from; empty from scratch."""
    weights_digest: str | None = None
    """Digest of the trained weights (the best checkpoint)."""
    metrics: Metrics | None = None
    """Final validation metrics of the best checkpoint: mAP50, mAP50to95, precision, recall."""
    attempt: int | None = None
    """Which Job this is, from 0."""
    job_name: str | None = None
    """The batch/v1 Job."""
    pod_name: str | None = None
    """The pod that may report progress."""
    model_version: str | None = None
    """The ModelVersion that came out."""
    run_hash: str | None = None
    """Hash of what was started; a later edit of the spec does not change a started run."""


class TrainingJobPhase(StrEnum):
    """Where a TrainingJob is in its life."""

    PENDING = "Pending"
    """It waits for its inputs, or for its pod to start or to resume."""
    RUNNING = "Running"
    """Its pod trains."""
    SUSPENDED = "Suspended"
    """Stopped by spec.suspend."""
    SUCCEEDED = "Succeeded"
    """Its ModelVersion exists."""
    FAILED = "Failed"
    """It needs a new attempt, or a new TrainingJob."""
