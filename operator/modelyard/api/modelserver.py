"""ModelServer: which version one serving pod must hold, and what it holds."""

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
from modelyard.api.pipeline import Pipeline
from modelyard.api.registration import AGE, KindInfo, Reporter, Use

_FIXED = cel("self == oldSelf", "a ModelServer stays with its Deployment and model line")


class Assignment(ApiModel):
    """A version to serve."""

    model_version: ObjectName
    """Name of the ModelVersion."""
    version: int = Field(ge=1, le=2_147_483_647)
    """Its number."""
    artifact: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=20)
    """Name of the artifact."""
    format: str = Field(json_schema_extra={"enum": ["onnx", "tensorrt"]})
    """onnx or tensorrt."""
    digest: Digest
    """Digest of the artifact file."""
    manifest_digest: Digest
    """Digest of the artifact's manifest."""
    content_digest: Digest | None = None
    """Digest over all artifacts of the version: what tells it from another one of its name."""
    pipeline: Pipeline = Field(default_factory=Pipeline)
    """Settings of the pipeline around the network."""


class Shadowing(ApiModel):
    """A version that answers copies of requests, unseen by users."""

    version: Assignment
    """The version."""
    share: float = Field(gt=0, le=1)
    """Share of requests that are copied, 0 to 1."""
    busy_percent: int = Field(default=25, ge=1, le=100)
    """Most of the time that the version may be at work, in percent."""


class ModelServerSpec(ApiModel):
    """Which version this server must hold. Written by the operator."""

    deployment: ObjectName = Field(json_schema_extra=rules(_FIXED))
    """Modelyard Deployment that the server belongs to. Cannot change."""
    pod_name: ObjectName
    """Serving pod; only its own agent may report into the status."""
    node_name: ObjectName | None = None
    """Node of the pod."""
    model_line: LineName = Field(json_schema_extra=rules(_FIXED))
    """Model's name in Triton. Cannot change."""
    pool: LabelValue | None = None
    """Pool of the node."""
    assigned: Assignment
    """The version to serve."""
    staged: Assignment | None = None
    """A version to fetch and verify now, and to serve perhaps later."""
    shadow: Shadowing | None = None
    """A version to run beside the one that serves."""
    report_seconds: int | None = Field(default=None, ge=1, le=3600)
    """How often figures are reported while a version is young or shadowed; 10 s by default. The
    more servers switch together, the less often, so that the API server is not drowned."""


class LoadedVersion(StatusModel):
    """A version that answers requests."""

    model_version: str
    """Name of the ModelVersion."""
    version: int
    """Its number."""
    digest: str
    """Digest of the artifact file, as verified on the server."""
    manifest_digest: str | None = None
    """Digest of the artifact's manifest."""
    content_digest: str | None = None
    """Digest over all artifacts of the version, as assigned."""
    pipeline: Pipeline | None = None
    """Settings of the pipeline that answers."""
    since: str = Field(json_schema_extra={"format": "date-time"})
    """Since when it answers."""


class Traffic(StatusModel):
    """Requests that the server answered since it started."""

    requests: int
    """Successful requests."""
    failures: int
    """Failed requests."""
    mean_milliseconds: float | None = None
    """Mean time in the server per request since the last report."""


class ServedPeriod(StatusModel):
    """A time in which a version answered."""

    model_version: str
    """Name of the ModelVersion."""
    version: int
    """Its number."""
    digest: str
    """Digest of the artifact file."""
    since: str = Field(json_schema_extra={"format": "date-time"})
    """From when it answered."""
    until: str = Field(json_schema_extra={"format": "date-time"})
    """Until when."""


LATENCY_BOUNDS_MS = (
    1, 2, 3, 5, 7, 10, 14, 20, 28, 40, 56, 80, 110, 160, 220, 320, 450, 640, 900, 1300, 1800, 2600,
    5000,
)  # fmt: skip
"""Upper bounds of the latency histogram's buckets in milliseconds; one more counts the rest."""


class Figures(StatusModel):
    """What the loaded version did in the last `seconds`; all are sums, so figures of many servers
    can be added up."""

    version: int
    """Number of the version that was measured."""
    seconds: int
    """Length of the time that was measured."""
    requests: int = 0
    """Answered requests."""
    failures: int = 0
    """Failed requests, not counting those that were the client's fault."""
    latency: list[int] = Field(default_factory=list)
    """Answered requests by time in the pipeline: counts of the buckets of LATENCY_BOUNDS_MS (not
    cumulative), and one more for the rest. Empty if nothing was measured."""
    queue_micros: int = 0
    """Sum of the time that requests waited for the network, in microseconds."""
    boxes: int = 0
    """Returned boxes."""
    confidence_millis: int = 0
    """Sum of the boxes' confidences, in thousandths."""


class StagedVersion(StatusModel):
    """A version that is on the server's disk, verified."""

    model_version: str
    """Name of the ModelVersion."""
    version: int
    """Its number."""
    digest: str
    """Digest of the artifact file."""
    manifest_digest: str | None = None
    """Digest of the artifact's manifest."""
    failure: str | None = None
    """Why it could not be fetched or verified; tried again."""


class ShadowFigures(StatusModel):
    """How the shadowed version's answers compare, since the shadowing began."""

    model_version: str
    """Name of the ModelVersion."""
    version: int
    """Its number."""
    digest: str
    """Digest of the artifact file."""
    manifest_digest: str | None = None
    """Digest of the artifact's manifest."""
    images: int = 0
    """Images that both versions have answered."""
    failures: int = 0
    """Images that only the shadowed version failed to answer."""
    dropped: int = 0
    """Copies that were dropped since the server was busy."""
    stable_boxes: int = 0
    """Boxes of the serving version."""
    shadow_boxes: int = 0
    """Boxes of the shadowed version."""
    matched: int = 0
    """Pairs of boxes with the same class and an IoU of at least 0.5; each box is in one."""
    latency: list[int] = Field(default_factory=list)
    """The shadowed version's answers by time, in buckets as Figures.latency."""
    failure: str | None = None
    """Why it cannot be run beside the serving version."""


class ModelServerStatus(CommonStatus):
    """What the server holds. Written by the agent in its pod."""

    loaded: LoadedVersion | None = None
    """The version that answers requests; it stays when loading another one fails."""
    traffic: Traffic | None = None
    """Requests that the server answered."""
    reported_at: str | None = Field(default=None, json_schema_extra={"format": "date-time"})
    """When the agent last reported."""
    failures: int | None = None
    """Consecutive failed tries to load the assigned version."""
    figures: Figures | None = None
    """What the loaded version did lately."""
    staged: StagedVersion | None = None
    """What is on disk of spec.staged."""
    shadow: ShadowFigures | None = None
    """How spec.shadow compares."""
    history: list[ServedPeriod] | None = None
    """What answered before, the latest first; at most ten."""


class ModelServerPhase(StrEnum):
    """Where a server is with its assignment."""

    FETCHING = "Fetching"
    """The artifact is fetched."""
    LOADING = "Loading"
    """Triton loads the version and warms it up."""
    READY = "Ready"
    """The assigned version answers."""
    FAILED = "Failed"
    """The assigned version cannot be served; what was served before still is."""


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
        ("Message", "string", ".status.message"),
        AGE,
    ),
    wide=frozenset({"Message", "Node"}),
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
