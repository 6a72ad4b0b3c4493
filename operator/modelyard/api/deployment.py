"""Deployment: Triton servers that serve a model line, and how new versions reach them."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from modelyard.api.base import (
    IMAGE_PATTERN,
    ApiModel,
    CommonStatus,
    Fraction,
    LineName,
    Resources,
    Scheduling,
    StatusModel,
    cel,
    rules,
)


class VersionPolicy(ApiModel):
    """Which version of the model line is served."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "(self.policy == 'Pinned') == has(self.number)",
                "policy Pinned needs number, and policy Latest takes none",
            )
        )
    )

    policy: Literal["Latest", "Pinned"] = "Latest"
    """Latest follows the highest Ready version; Pinned stays on `number`."""
    number: int | None = Field(default=None, ge=1, le=2_147_483_647)
    """Version number to stay on."""


class ClusterTarget(ApiModel):
    """Servers anywhere in the cluster, behind one Service."""

    replicas: int = Field(default=1, ge=0, le=10_000)
    """Number of servers; 0 suspends serving."""


class Target(ApiModel):
    """Where servers run."""

    cluster: ClusterTarget = Field(default_factory=ClusterTarget)
    """Servers anywhere in the cluster, behind one Service."""


class Server(ApiModel):
    """The Triton server of each pod."""

    image: str | None = Field(default=None, min_length=1, max_length=512, pattern=IMAGE_PATTERN)
    """Triton image; empty is the operator's default. The vendor's image works too."""
    resources: Resources = Field(default_factory=Resources)
    """What the Triton container gets."""
    scheduling: Scheduling | None = None
    """Where serving pods may run."""


class Pipeline(ApiModel):
    """What happens around the network: decoding and scaling before, selection after."""

    confidence: Fraction = 0.25
    """Lowest confidence of a returned box."""
    iou: Fraction = 0.7
    """IoU above which the weaker of two boxes of a class is dropped."""
    max_detections: int = Field(default=300, ge=1, le=10_000)
    """Most boxes returned for an image."""


class Rollout(ApiModel):
    """How a new version replaces the one that serves.

    Servers are never restarted for it: each loads the new version beside the old one, warms it
    up, then switches. At most maxUnavailable servers switch at the same time; the next round
    starts when they answer with the new version. A server that cannot load it keeps answering
    with the old one.
    """

    max_unavailable: int | str = Field(
        default=1,
        json_schema_extra={
            "x-kubernetes-int-or-string": True,
            **rules(
                cel(
                    "type(self) == int ? self >= 1 : self.matches('^([1-9][0-9]?|100)%$')",
                    "maxUnavailable is a number from 1 or a percentage from 1% to 100%",
                )
            ),
        },
    )
    """Most servers that switch at the same time: a number, or a percentage of all rounded up."""
    progress_deadline_seconds: int = Field(default=600, ge=1, le=86_400)
    """A round that takes longer than this marks the rollout as stalled."""


class DeploymentSpec(ApiModel):
    """What the user declares of a deployment."""

    model_line: LineName
    """Model line to serve; also the model's name in Triton."""
    version: VersionPolicy = Field(default_factory=VersionPolicy)
    """Which version of the model line is served."""
    target: Target = Field(default_factory=Target)
    """Where servers run."""
    server: Server = Field(default_factory=Server)
    """The Triton server of each pod."""
    pipeline: Pipeline = Field(default_factory=Pipeline)
    """What happens around the network."""
    rollout: Rollout = Field(default_factory=Rollout)
    """How a new version replaces the one that serves."""


class ServedVersion(StatusModel):
    """A version that servers hold, or are to hold."""

    model_version: str
    """Name of the ModelVersion."""
    version: int
    """Its number, the version that Triton reports."""
    artifact: str
    """Name of the artifact."""
    format: str
    """onnx or tensorrt."""
    digest: str
    """Digest of the artifact file."""
    manifest_digest: str
    """Digest of the artifact's manifest."""


class DeploymentStatus(CommonStatus):
    """How the deployment is."""

    stable: ServedVersion | None = None
    """The version that all servers were last brought to: what a new server starts with."""
    candidate: ServedVersion | None = None
    """The version that is being rolled out."""
    rollout_started_at: str | None = Field(default=None, json_schema_extra={"format": "date-time"})
    """When the rollout of the candidate started."""
    last_progress_at: str | None = Field(default=None, json_schema_extra={"format": "date-time"})
    """When a server last finished switching during this rollout."""
    replicas: int | None = None
    """Servers that exist."""
    ready_replicas: int | None = None
    """Servers that answer."""
    updated_replicas: int | None = None
    """Servers that answer with the target version."""
    selector: str | None = None
    """Label selector of the serving pods, for the scale subresource."""
    url: str | None = None
    """HTTP endpoint within the cluster (KServe v2 protocol); gRPC is on port 8001."""
