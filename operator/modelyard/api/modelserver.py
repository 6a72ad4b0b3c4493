"""ModelServer: the version that one serving pod must serve, and what it serves.

The operator writes the spec (core/deployment/servers.py), the agent in the pod the status
(workloads/agent/).
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from modelyard.api.base import (
    ApiModel,
    CommonStatus,
    Digest,
    LabelValue,
    LineName,
    ObjectName,
    StatusModel,
    cel,
    rules,
)
from modelyard.api.monitoring import CaptureStatus, DriftStatus, ServerMonitoring
from modelyard.api.pipeline import Pipeline
from modelyard.api.registration import AGE, KindInfo, Reporter, Use

_FIXED = cel("self == oldSelf", "a ModelServer stays with its Deployment and model line")


class Assignment(ApiModel):
    """A version to serve."""

    model_version: ObjectName
    """Name of the ModelVersion."""
    version: int = Field(ge=1, le=2_147_483_647)
    """Number of the version within the model line."""
    artifact: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=20)
    """Name of the artifact."""
    format: str = Field(json_schema_extra={"enum": ["onnx", "tensorrt"]})
    """Format of the artifact: onnx or tensorrt."""
    digest: Digest
    """Digest of the artifact file."""
    manifest_digest: Digest
    """Digest of the artifact's manifest."""
    content_digest: Digest | None = None
    """Digest over all artifacts of the version. It changes if a version is deleted and created
    again under the same name."""
    profile_digest: Digest | None = None
    """Digest of the summary of the version's profile, which monitoring compares with. It changes
    nothing of what is served."""
    pipeline: Pipeline = Field(default_factory=Pipeline)
    """Settings of the pipeline around the network."""


class Shadowing(ApiModel):
    """A version that gets copies of requests; clients do not see its responses."""

    version: Assignment
    """The version to shadow."""
    share: float = Field(gt=0, le=1)
    """Share of requests to copy, above 0 and up to 1."""
    busy_percent: int = Field(default=25, ge=1, le=100)
    """Maximum share of time in percent for which the version may compute."""


class ModelServerSpec(ApiModel):
    """Desired state of a server. Written by the operator."""

    deployment: ObjectName = Field(json_schema_extra=rules(_FIXED))
    """Modelyard Deployment that the server belongs to. Cannot change."""
    pod_name: ObjectName
    """Serving pod. Only the agent of this pod may write the status."""
    node_name: ObjectName | None = None
    """Node of the pod."""
    model_line: LineName = Field(json_schema_extra=rules(_FIXED))
    """Model line, which is also the model's name in Triton. Cannot change."""
    pool: LabelValue | None = None
    """Pool of the node."""
    assigned: Assignment
    """The version to serve."""
    staged: Assignment | None = None
    """A version to fetch and verify in advance, without serving it."""
    shadow: Shadowing | None = None
    """A version to run on copies of requests."""
    monitoring: ServerMonitoring | None = None
    """What to look at beside serving."""
    report_seconds: int | None = Field(default=None, ge=1, le=3600)
    """Interval of reports in seconds while a version is new or shadowed; default 10. The operator
    raises it if many servers switch together, to limit the load on the API server."""


class LoadedVersion(StatusModel):
    """The version that serves requests."""

    model_version: str
    """Name of the ModelVersion."""
    version: int
    """Number of the version within the model line."""
    digest: str
    """Digest of the artifact file, as verified on the server."""
    manifest_digest: str | None = None
    """Digest of the artifact's manifest."""
    content_digest: str | None = None
    """Digest over all artifacts of the version, as assigned."""
    pipeline: Pipeline | None = None
    """Pipeline settings that are in use."""
    since: str = Field(json_schema_extra={"format": "date-time"})
    """Time since which it serves requests."""


class Traffic(StatusModel):
    """Requests since the server started."""

    requests: int
    """Successful requests."""
    failures: int
    """Failed requests."""
    mean_milliseconds: float | None = None
    """Mean time in the server per request since the last report, in milliseconds."""


class ServedPeriod(StatusModel):
    """A period in which a version served requests."""

    model_version: str
    """Name of the ModelVersion."""
    version: int
    """Number of the version within the model line."""
    digest: str
    """Digest of the artifact file."""
    since: str = Field(json_schema_extra={"format": "date-time"})
    """Start of the period."""
    until: str = Field(json_schema_extra={"format": "date-time"})
    """End of the period."""


LATENCY_BOUNDS_MS = (
    1, 2, 3, 5, 7, 10, 14, 20, 28, 40, 56, 80, 110, 160, 220, 320, 450, 640, 900, 1300, 1800, 2600,
    5000,
)  # fmt: skip
"""Upper bounds of the latency histogram's buckets in milliseconds; one more counts the rest."""


class Figures(StatusModel):
    """Measurements of the loaded version over the last `seconds`. All are sums, so that those of
    several servers can be added."""

    version: int
    """Number of the measured version."""
    seconds: int
    """Length of the measured period in seconds."""
    requests: int = 0
    """Number of successful requests."""
    failures: int = 0
    """Number of failed requests, without those that failed because of the client's input."""
    latency: list[int] = Field(default_factory=list, max_length=len(LATENCY_BOUNDS_MS) + 1)
    """Histogram of the time in the pipeline: number of successful requests per bucket (not
    cumulative), with the upper bounds 1, 2, 3, 5, 7, 10, 14, 20, 28, 40, 56, 80, 110, 160, 220,
    320, 450, 640, 900, 1300, 1800, 2600 and 5000 ms, and a last bucket for the rest. Empty if
    nothing was measured."""
    queue_micros: int = 0
    """Sum of the time that requests waited in the queue for the network, in microseconds."""
    boxes: int = 0
    """Number of returned boxes."""
    confidence_millis: int = 0
    """Sum of the boxes' confidences, in thousandths."""


class StagedVersion(StatusModel):
    """A version that was fetched in advance."""

    model_version: str
    """Name of the ModelVersion."""
    version: int
    """Number of the version within the model line."""
    digest: str
    """Digest of the artifact file."""
    manifest_digest: str | None = None
    """Digest of the artifact's manifest."""
    failure: str | None = None
    """Why it could not be fetched or verified. The agent tries again."""


class ShadowFigures(StatusModel):
    """Comparison of the shadowed version's responses, since the shadowing began."""

    model_version: str
    """Name of the ModelVersion."""
    version: int
    """Number of the version within the model line."""
    digest: str
    """Digest of the artifact file."""
    manifest_digest: str | None = None
    """Digest of the artifact's manifest."""
    images: int = 0
    """Number of images for which both versions gave a response."""
    failures: int = 0
    """Number of images on which only the shadowed version failed."""
    dropped: int = 0
    """Number of copies that were dropped because the server was busy."""
    stable_boxes: int = 0
    """Number of boxes of the serving version."""
    shadow_boxes: int = 0
    """Number of boxes of the shadowed version."""
    matched: int = 0
    """Number of pairs of boxes of both versions with the same class and an IoU of at least 0.5;
    each box is in at most one pair."""
    latency: list[int] = Field(default_factory=list, max_length=len(LATENCY_BOUNDS_MS) + 1)
    """Histogram of the shadowed version's time per image, with the buckets of figures.latency."""
    failure: str | None = None
    """Why it cannot be run in addition to the serving version."""


class ModelServerStatus(CommonStatus):
    """Observed state of a server. Written by the agent in its pod."""

    loaded: LoadedVersion | None = None
    """The version that serves requests. It keeps serving if loading another one fails."""
    traffic: Traffic | None = None
    """Requests since the server started."""
    reported_at: str | None = Field(default=None, json_schema_extra={"format": "date-time"})
    """Time of the agent's last report."""
    failures: int | None = None
    """Number of consecutive failed attempts to load the assigned version."""
    figures: Figures | None = None
    """Recent measurements of the loaded version."""
    staged: StagedVersion | None = None
    """State of the version in spec.staged."""
    shadow: ShadowFigures | None = None
    """Comparison of the version in spec.shadow."""
    drift: DriftStatus | None = None
    """What is known about drift of the requests."""
    capture: CaptureStatus | None = None
    """Images that were kept for labelling."""
    history: list[ServedPeriod] | None = Field(default=None, max_length=10)
    """Versions that were served before, the latest first; at most ten."""


class ModelServerPhase(StrEnum):
    """Phase of a server with its assigned version."""

    FETCHING = "Fetching"
    """The artifact is being fetched."""
    LOADING = "Loading"
    """Triton loads the version and warms it up."""
    READY = "Ready"
    """The assigned version serves requests."""
    FAILED = "Failed"
    """The assigned version cannot be loaded; the previous one is still served."""


_DIGEST = "sha256:" + "0123456789abcdef" * 4

KIND = KindInfo(
    kind="ModelServer",
    plural="modelservers",
    short="ms",
    spec=ModelServerSpec,
    status=ModelServerStatus,
    columns=(
        ("Deployment", "string", ".spec.deployment"),
        ("Node", "string", ".spec.nodeName"),
        ("Assigned", "integer", ".spec.assigned.version"),
        ("Serving", "integer", ".status.loaded.version"),
        ("Phase", "string", ".status.phase"),
        ("Requests", "integer", ".status.traffic.requests"),
        ("Drift", "string", ".status.drift.state"),
        ("Message", "string", ".status.message"),
        AGE,
    ),
    wide=frozenset({"Message", "Node", "Drift"}),
    selectable=(".spec.nodeName", ".status.phase"),
    phases=ModelServerPhase,
    good=frozenset({ModelServerPhase.READY}),
    bad=frozenset({ModelServerPhase.FAILED}),
    uses=(Use("Deployment", "{.spec.deployment}", parent=True),),
    reporter=Reporter(who="agent", pod=".spec.podName", reads=("ModelServer", "Deployment")),
    declared=False,
    operator_verbs=("create", "patch", "delete"),
    reconciled=False,
    numerous=True,
    example={
        "deployment": "shelf",
        "podName": "shelf-0",
        "modelLine": "shelf",
        "assigned": {
            "modelVersion": "shelf-3",
            "version": 3,
            "artifact": "onnx",
            "format": "onnx",
            "digest": _DIGEST,
            "manifestDigest": _DIGEST,
        },
    },
    example_name="shelf-0",
)
