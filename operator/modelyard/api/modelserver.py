"""ModelServer: which version one serving pod must hold, and what it holds."""

from __future__ import annotations

from pydantic import Field

from modelyard.api.base import ApiModel, CommonStatus, Digest, LineName, ObjectName, StatusModel
from modelyard.api.deployment import Pipeline


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
    pipeline: Pipeline = Field(default_factory=Pipeline)
    """Settings of the pipeline around the network."""


class ModelServerSpec(ApiModel):
    """Which version this server must hold. Written by the operator."""

    deployment: ObjectName
    """Modelyard Deployment that the server belongs to."""
    pod_name: ObjectName
    """Serving pod; only its own agent may report into the status."""
    node_name: ObjectName | None = None
    """Node of the pod."""
    model_line: LineName
    """Model's name in Triton."""
    assigned: Assignment
    """The version to serve."""


class LoadedVersion(StatusModel):
    """A version that answers requests."""

    model_version: str
    """Name of the ModelVersion."""
    version: int
    """Its number."""
    digest: str
    """Digest of the artifact file, as verified on the server."""
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
