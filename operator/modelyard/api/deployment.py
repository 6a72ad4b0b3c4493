"""Deployment: Triton servers that serve a model line, and how new versions reach them.

The kind that users touch most: which line, which version, where, how fast. Targets: target.py;
rollouts: rollout.py, with their state in rolloutstatus.py. Decisions about it:
core/deployment/decide.py.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from modelyard.api.base import (
    IMAGE_PATTERN,
    ApiModel,
    CommonStatus,
    Duration,
    LineName,
    Resources,
    Scheduling,
    cel,
    rules,
)
from modelyard.api.monitoring import Monitoring
from modelyard.api.monitoringstatus import MonitoringStatus
from modelyard.api.pipeline import Pipeline
from modelyard.api.registration import AGE, KindInfo, Selection, Use
from modelyard.api.rollout import Rollout
from modelyard.api.rolloutstatus import (
    Override,
    PoolStatus,
    RejectedVersion,
    RolloutRecord,
    RolloutStatus,
    ServedVersion,
)
from modelyard.api.target import ClusterTarget, Target


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


BatchSize = Annotated[int, Field(ge=1, le=1024)]
"""Number of requests."""


class Batching(ApiModel):
    """How requests are computed together, where the artifact takes several images at once
    (`exports[].batch` of its ModelVersion)."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!has(self.preferredSizes) || self.preferredSizes.all(p, p <= self.maxSize)",
                "preferredSizes has one above maxSize",
            ),
            cel("duration(self.maxDelay) <= duration('1s')", "maxDelay is at most 1s"),
        )
    )

    max_size: BatchSize = 8
    """Maximum number of requests that are computed together; an artifact's own maximum goes
    before it."""
    preferred_sizes: list[BatchSize] | None = Field(
        default=None,
        min_length=1,
        max_length=8,
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    """Batch sizes that are formed as soon as there are so many requests. Empty: any size, whatever
    waits when an instance is free."""
    max_delay: Duration = "0s"
    """Maximum time that a request waits for others to be computed with, at most 1s."""


class Server(ApiModel):
    """The Triton server of each pod."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!has(self.maxBatchSize) || !has(self.batching)",
                "maxBatchSize and batching exclude each other: set batching.maxSize",
            )
        )
    )

    image: str | None = Field(default=None, min_length=1, max_length=512, pattern=IMAGE_PATTERN)
    """Triton image; empty is the operator's default. The vendor's image works too. The chart's
    workloads.allowedImages lists what is allowed."""
    resources: Resources = Field(default_factory=Resources)
    """What the Triton container gets."""
    scheduling: Scheduling | None = None
    """Where serving pods may run."""
    instances: int | None = Field(default=None, ge=1, le=64)
    """Copies of the network that a server computes side by side (Triton's instance group), which
    share its CPUs or GPU. Empty: two on two or more CPUs for files of up to 50 MB, else one. With
    1 a single client is answered sooner, with more many clients get more answers."""
    max_batch_size: int | None = Field(default=None, ge=1, le=1024)
    """Short for `batching.maxSize`."""
    batching: Batching | None = None
    """How requests are computed together, where the artifact takes several images at once. Empty:
    up to 8, without waiting for others."""
    max_images: int | None = Field(default=None, ge=1, le=256)
    """Most images in a request. Empty: 16. The vendor's image takes several only where the artifact
    was exported for any batch, and at most batching.maxSize."""


class DeploymentSpec(ApiModel):
    """What the user declares of a deployment."""

    model_line: LineName = Field(
        json_schema_extra=rules(
            cel(
                "self == oldSelf",
                "spec.modelLine cannot change: servers would answer with the old line's versions "
                "under the new name; make another Deployment for another model line",
            )
        )
    )
    """Model line to serve; also the model's name in Triton. Cannot change."""
    version: VersionPolicy = Field(default_factory=VersionPolicy)
    """Which version of the model line is served."""
    allow_unvalidated: bool = False
    """Also serve versions whose evaluation was skipped (spec.evaluation.skip of the ModelVersion).
    A Deployment without it waits for a version that passed its gates."""
    target: Target = Field(default_factory=lambda: Target(cluster=ClusterTarget()))
    """Where servers run."""
    server: Server = Field(default_factory=Server)
    """The Triton server of each pod."""
    pipeline: Pipeline = Field(default_factory=Pipeline)
    """What happens around the network."""
    rollout: Rollout = Field(default_factory=Rollout)
    """How a new version replaces the one that serves."""
    monitoring: Monitoring | None = None
    """What agents look at beside serving: drift of the requests, and images kept for labelling."""


class ActivatorStatus(ApiModel):
    """What the activator reports; only it writes this."""

    refusal: str | None = Field(default=None, max_length=1024)
    """What the API server last answered, where it refused to let the activator scale."""


class DeploymentStatus(CommonStatus):
    """How the deployment is."""

    stable: ServedVersion | None = None
    """The version that all servers were last brought to: what a new server starts with."""
    candidate: ServedVersion | None = None
    """The version that is being rolled out."""
    rollout: RolloutStatus | None = None
    """The rollout that is going on."""
    rejected: RejectedVersion | None = None
    """The version that was rolled back; not tried again unless somebody asks."""
    override: Override | None = None
    """The version that somebody rolled back to."""
    actions: dict[str, str] | None = None
    """Values of the action annotations that were acted on last, by action."""
    history: list[RolloutRecord] | None = None
    """Rollouts that have ended, the latest first."""
    rollback_target: str | None = None
    """ModelVersion that served before stable: what `modelyard rollout rollback` goes back to. Like
    stable, it cannot be deleted."""
    revision: int | None = None
    """Number of rollouts so far."""
    desired_replicas: int | None = None
    """Servers that there should be: as the spec says, or one for each matching node."""
    replicas: int | None = None
    """Servers that exist."""
    ready_replicas: int | None = None
    """Servers that answer."""
    updated_replicas: int | None = None
    """Servers that answer with the target version."""
    offline_replicas: int | None = None
    """Servers that cannot be reached; brought up to date when they return."""
    failed_replicas: int | None = None
    """Servers that could not load their assigned version; they go on with what they had."""
    staged_replicas: int | None = None
    """Servers that have fetched and verified the candidate ahead of the switch."""
    unfit_replicas: int | None = None
    """Servers whose hardware no artifact of the target version fits."""
    pools: list[PoolStatus] | None = None
    """Servers by pool, where pools are declared."""
    monitoring: MonitoringStatus | None = None
    """Drift of what the servers see, and images kept for labelling, with spec.monitoring."""
    selector: str | None = None
    """Label selector of the serving pods, for the scale subresource."""
    activator: ActivatorStatus | None = None
    """What the activator reports, with `scaleToZero`."""
    url: str | None = None
    """HTTP endpoint within the cluster (KServe v2 protocol); gRPC is on port 8001."""


class DeploymentPhase(StrEnum):
    """Where a Deployment is in its life."""

    PENDING = "Pending"
    """There is nothing to serve yet."""
    PROGRESSING = "Progressing"
    """Servers start, or a version is being rolled out."""
    PAUSED = "Paused"
    """A rollout waits for time, for an analysis or for somebody."""
    HEALTHY = "Healthy"
    """All servers that can be reached serve what they should."""
    DEGRADED = "Degraded"
    """Something is wrong that needs somebody."""
    SUSPENDED = "Suspended"
    """Scaled to zero."""


KIND = KindInfo(
    kind="Deployment",
    plural="deployments",
    short="mdep",
    spec=DeploymentSpec,
    status=DeploymentStatus,
    columns=(
        ("Line", "string", ".spec.modelLine"),
        ("Phase", "string", ".status.phase"),
        ("Stable", "integer", ".status.stable.version"),
        ("Candidate", "integer", ".status.candidate.version"),
        ("Desired", "integer", ".status.desiredReplicas"),
        ("Ready", "integer", ".status.readyReplicas"),
        ("Updated", "integer", ".status.updatedReplicas"),
        ("Offline", "integer", ".status.offlineReplicas"),
        ("Drifting", "integer", ".status.monitoring.drift.drifting"),
        ("URL", "string", ".status.url"),
        ("Message", "string", ".status.message"),
        AGE,
    ),
    wide=frozenset({"Message", "Offline", "Drifting"}),
    scale={
        "specReplicasPath": ".spec.target.cluster.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    },
    # Services are named after it. Before Kubernetes 1.36 (RelaxedServiceNameValidation) a Service's
    # name cannot begin with a digit; whether a name works must not depend on the cluster's version.
    root_rules=(
        cel(
            "self.metadata.name.matches('^[a-z]')",
            "a Deployment's name must begin with a letter, as the Services that are named after it "
            "must before Kubernetes 1.36",
        ),
    ),
    phases=DeploymentPhase,
    good=frozenset({DeploymentPhase.HEALTHY}),
    bad=frozenset({DeploymentPhase.DEGRADED}),
    uses=(
        Use("ModelVersion", "{.status.stable.modelVersion}", protects=True, parent=True),
        Use("ModelVersion", "{.status.candidate.modelVersion}", protects=True, parent=True),
        Use("ModelVersion", "{.status.rollbackTarget}", protects=True),
        Use("ModelVersion", "{.spec.modelLine}-{.spec.version.number}", protects=True),
    ),
    selects=(
        Selection(
            "ModelVersion",
            index="model-line",
            own="{.spec.modelLine}",
            theirs="{.spec.modelLine}",
        ),
    ),
    example={"modelLine": "shelf"},
    example_name="shelf",
    components={
        "server": {"cpu": "1", "memory": "2Gi", "ephemeral-storage": "2Gi"},
        "agent": {"cpu": "50m", "memory": "384Mi", "ephemeral-storage": "1Gi"},
    },
)
