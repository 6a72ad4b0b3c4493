"""Dataset: where data lies, how it is laid out, and what it must satisfy."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import ConfigDict, Field

from modelyard.api.base import (
    ApiModel,
    CommonStatus,
    Digest,
    LocalReference,
    ObjectName,
    Resources,
    Scheduling,
    StatusModel,
    exactly_one,
    rules,
)


class S3Source(ApiModel):
    """A prefix, or one archive, in an S3-compatible object store."""

    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", max_length=63)
    """Bucket name."""
    key: str = Field(pattern=r"^[^\x00-\x1f\x7f]+$", min_length=1, max_length=1024)
    """Key of a .zip, .tar, .tar.gz or .tgz archive, or a prefix ending in `/`."""
    endpoint: str | None = Field(default=None, pattern=r"^https?://[!-.0-~]+/?$", max_length=512)
    """Endpoint URL of an S3-compatible server. Empty together with `credentials`: Modelyard's own
    store. Empty beside `credentials`: Amazon S3."""
    region: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)
    """Region, default us-east-1."""
    credentials: LocalReference | None = None
    """Secret with `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`; empty reads with the
    credentials of Modelyard's own store."""


class HttpSource(ApiModel):
    """An archive behind an HTTP(S) URL."""

    url: str = Field(pattern=r"^https?://[!-~]+$", max_length=2048)
    """URL of a .zip, .tar, .tar.gz or .tgz archive."""
    digest: Digest | None = None
    """Digest that the downloaded archive must have."""


class PvcSource(ApiModel):
    """A directory or archive on a PersistentVolumeClaim."""

    claim_name: ObjectName
    """Name of the claim."""
    path: str = Field(default="", pattern=r"^[^\x00-\x1f\x7f]*$", max_length=1024)
    """Path within the claim; empty is its root."""


class DatasetSource(ApiModel):
    """Where the data lies; exactly one kind of source."""

    model_config = ConfigDict(json_schema_extra=rules(exactly_one("s3", "http", "pvc")))

    s3: S3Source | None = None
    """An S3-compatible object store."""
    http: HttpSource | None = None
    """An archive behind an HTTP(S) URL."""
    pvc: PvcSource | None = None
    """A directory or archive on a PersistentVolumeClaim."""


class QualityRules(ApiModel):
    """What the data must satisfy to be Valid. Corrupt images, class ids out of range, malformed
    labels and archives that escape their folder are always errors."""

    missing_labels: Literal["Reject", "Background"] = "Reject"
    """An image without a label file: Reject the dataset, or take it as Background. An empty
    label file always means background."""
    min_images_per_split: int = Field(default=1, ge=1, le=1_000_000_000)
    """Fewest images that each split must have."""


class DatasetSpec(ApiModel):
    """What the user declares of a dataset."""

    source: DatasetSource
    """Where the data lies."""
    format: Literal["YOLO"] = "YOLO"
    """Layout of the data: YOLO is Ultralytics' detection layout."""
    data_file: str = Field(
        default="data.yaml",
        min_length=1,
        max_length=512,
        pattern=r"^[^/\x00-\x20\x7f][^\x00-\x1f\x7f]*\.ya?ml$",
    )
    """Path of the dataset YAML (names, train, val, test) within the source."""
    quality: QualityRules = Field(default_factory=QualityRules)
    """What the data must satisfy."""
    resources: Resources | None = None
    """Resources of the pod that fetches and checks the data."""
    scheduling: Scheduling | None = None
    """Where that pod may run."""


class SplitStatus(StatusModel):
    """Counts of one split."""

    name: str
    """train, val or test."""
    images: int
    """Number of images."""
    boxes: int
    """Number of labelled boxes."""
    backgrounds: int | None = None
    """Images without a box."""


class ClassStatus(StatusModel):
    """One class of the dataset."""

    id: int
    """Class id, from 0."""
    name: str
    """Class name."""
    boxes: int
    """Boxes of this class over all splits."""


class DatasetStatus(CommonStatus):
    """What the operator found out."""

    digest: str | None = None
    """Content digest of the resolved version: what trainings pin."""
    images: int | None = None
    """Images over all splits."""
    size_bytes: int | None = None
    """Size of the resolved version."""
    splits: list[SplitStatus] | None = None
    """Counts per split."""
    classes: list[ClassStatus] | None = Field(default=None, max_length=100)
    """The first 100 classes with their box counts."""
    class_count: int | None = None
    """Number of classes."""
    problems: list[str] | None = Field(default=None, max_length=10)
    """The first problems found, each naming its file."""
    attempt: int | None = None
    """Which try of fetching this is, from 0."""
    run_hash: str | None = None
    """Hash of the spec that the digest was resolved from."""
    used_by: list[str] | None = Field(default=None, max_length=5)
    """The first objects that need this one; while there are any, it cannot be deleted."""


class DatasetPhase(StrEnum):
    """Where a Dataset is in its life."""

    PENDING = "Pending"
    """Something that it needs is missing."""
    FETCHING = "Fetching"
    """Its data is fetched and checked."""
    READY = "Ready"
    """Resolved: trainings can pin its digest."""
    INVALID = "Invalid"
    """The data breaks the quality rules."""
    FAILED = "Failed"
    """The data could not be fetched."""
