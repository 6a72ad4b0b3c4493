"""Dataset: the location and layout of training data, and the rules that it must satisfy.

core/dataset/ decides what to do about one; workloads/data/ fetches and checks the data.
"""

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
    cel,
    exactly_one,
    rules,
)
from modelyard.api.disruption import Disruptions
from modelyard.api.registration import AGE, KindInfo


class S3Source(ApiModel):
    """A prefix, or one archive, in an S3-compatible object store, or in this namespace's part of
    Modelyard's own store."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "has(self.bucket) || !(has(self.endpoint) || has(self.region) || "
                "has(self.credentials))",
                "endpoint, region and credentials belong to a bucket; without one, the source is "
                "this namespace's part of Modelyard's own store",
            )
        )
    )

    bucket: str | None = Field(
        default=None, pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", max_length=63
    )
    """Bucket name. If it is empty, the source is this namespace's part of Modelyard's own store."""
    key: str = Field(pattern=r"^[^\x00-\x1f\x7f]+$", min_length=1, max_length=1024)
    """Key of a .zip, .tar, .tar.gz or .tgz archive, or a prefix ending in `/`, as written, without
    percent-encoding."""
    endpoint: str | None = Field(default=None, pattern=r"^https?://[!-.0-~]+/?$", max_length=512)
    """Endpoint URL of an S3-compatible server. If it is empty, the bucket is at Amazon S3."""
    region: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)
    """S3 region. Default: us-east-1."""
    credentials: LocalReference | None = None
    """Secret with `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`. If it is empty, the bucket is
    read anonymously, or with the cloud identity of the pods where Modelyard's store at Amazon S3
    is used with it. The credentials of Modelyard's own store are never used for a bucket outside
    of it."""


class HttpSource(ApiModel):
    """An archive behind an HTTP(S) URL."""

    url: str = Field(pattern=r"^https?://[!-~]+$", max_length=2048)
    """URL of a .zip, .tar, .tar.gz or .tgz archive."""
    digest: Digest | None = None
    """SHA-256 digest that the downloaded archive must have; empty accepts any."""


class PvcSource(ApiModel):
    """A directory or archive on a PersistentVolumeClaim."""

    claim_name: ObjectName
    """Name of the PersistentVolumeClaim."""
    path: str = Field(default="", pattern=r"^[^\x00-\x1f\x7f]*$", max_length=1024)
    """Path within the volume; empty for its root."""


class DatasetSource(ApiModel):
    """Location of the data; exactly one kind of source must be set."""

    model_config = ConfigDict(json_schema_extra=rules(exactly_one("s3", "http", "pvc")))

    s3: S3Source | None = None
    """An S3-compatible object store."""
    http: HttpSource | None = None
    """An archive behind an HTTP(S) URL."""
    pvc: PvcSource | None = None
    """A directory or archive on a PersistentVolumeClaim."""


class QualityRules(ApiModel):
    """Rules that the data must satisfy. Corrupt images, class ids out of range, malformed labels
    and archives with paths outside their folder are always errors."""

    missing_labels: Literal["Reject", "Background"] = "Reject"
    """What an image without a label file means: Reject rejects the dataset, Background counts the
    image as one without objects. An empty label file always means background."""
    min_images_per_split: int = Field(default=1, ge=1, le=1_000_000_000)
    """Minimum number of images in each split."""


class DatasetSpec(ApiModel):
    """Desired state of a dataset."""

    source: DatasetSource
    """Location of the data."""
    format: Literal["YOLO"] = "YOLO"
    """Layout of the data. YOLO is the layout of Ultralytics' detection datasets."""
    data_file: str = Field(
        default="data.yaml",
        min_length=1,
        max_length=512,
        pattern=r"^[^/\x00-\x20\x7f][^\x00-\x1f\x7f]*\.ya?ml$",
    )
    """Path of the dataset YAML (names, train, val, test) within the source."""
    quality: QualityRules = Field(default_factory=QualityRules)
    """Rules that the data must satisfy."""
    resources: Resources | None = None
    """Resources of the pod that fetches and checks the data."""
    scheduling: Scheduling | None = None
    """Constraints on the node of that pod."""


class SplitStatus(StatusModel):
    """Counts of one split."""

    name: str
    """train, val or test."""
    images: int
    """Number of images."""
    boxes: int
    """Number of labelled boxes."""
    backgrounds: int | None = None
    """Number of images without a box."""


class ClassStatus(StatusModel):
    """One class of the dataset."""

    id: int
    """Class id, from 0."""
    name: str
    """Class name."""
    boxes: int
    """Number of boxes of this class in all splits."""


class DatasetStatus(CommonStatus):
    """Observed state of a dataset."""

    digest: str | None = None
    """Content digest of the resolved version, which TrainingJobs pin."""
    images: int | None = None
    """Number of images in all splits."""
    size_bytes: int | None = None
    """Size of the resolved version in bytes."""
    splits: list[SplitStatus] | None = None
    """Counts per split."""
    classes: list[ClassStatus] | None = Field(default=None, max_length=100)
    """The first 100 classes with their box counts."""
    class_count: int | None = None
    """Number of classes."""
    problems: list[str] | None = Field(default=None, max_length=10)
    """The first problems found, each naming its file."""
    attempt: int | None = None
    """Number of the current attempt to fetch the data, from 0."""
    run_hash: str | None = None
    """Hash of the spec that the digest was resolved from."""
    used_by: list[str] | None = Field(default=None, max_length=5)
    """Objects that use this one, at most five. It cannot be deleted while there are any."""
    disruptions: Disruptions | None = None
    """Pods that Kubernetes ended before they were done: preempted, evicted, drained. After ten in a
    row its Job is stopped."""


class DatasetPhase(StrEnum):
    """Phase of a Dataset."""

    PENDING = "Pending"
    """Something that it depends on is missing."""
    FETCHING = "Fetching"
    """Its data is being fetched and checked."""
    READY = "Ready"
    """Its data is stored and checked; TrainingJobs can pin its digest."""
    INVALID = "Invalid"
    """The data does not satisfy the quality rules."""
    FAILED = "Failed"
    """The data could not be fetched."""


KIND = KindInfo(
    kind="Dataset",
    plural="datasets",
    short="dset",
    spec=DatasetSpec,
    status=DatasetStatus,
    columns=(
        ("Phase", "string", ".status.phase"),
        ("Images", "integer", ".status.images"),
        ("Classes", "integer", ".status.classCount"),
        ("Digest", "string", ".status.digest"),
        ("Message", "string", ".status.message"),
        AGE,
    ),
    wide=frozenset({"Digest", "Message"}),
    phases=DatasetPhase,
    good=frozenset({DatasetPhase.READY}),
    bad=frozenset({DatasetPhase.INVALID, DatasetPhase.FAILED}),
    example={"source": {"s3": {"bucket": "data", "key": "digits/"}}},
    example_name="digits",
    components={"data": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "100Gi"}},
)
