"""How a rollout stands: stage, verdicts with their figures, history."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from modelyard.api.base import StatusModel
from modelyard.api.pipeline import Pipeline

DATE_TIME: dict[str, Any] = {"format": "date-time"}


class ServedVersion(StatusModel):
    """A version that servers hold, or are to hold."""

    model_version: str
    """Name of the ModelVersion."""
    version: int
    """Its number, the version that Triton reports."""
    artifact: str
    """Name of the artifact; on nodes with other hardware another one of this version."""
    format: str
    """onnx or tensorrt."""
    digest: str
    """Digest of the artifact file."""
    manifest_digest: str
    """Digest of the artifact's manifest."""
    content_digest: str | None = None
    """Digest over all artifacts of the version: a ModelVersion that is made again under the same
    name with other weights is another version."""
    pipeline: Pipeline | None = None
    """Settings of the pipeline around the network."""
    template: str | None = None
    """Hash of the serving pods' template (edge)."""


class MetricStatus(StatusModel):
    """One metric of an analysis."""

    name: str
    """Name of the metric."""
    phase: str
    """Running, Successful, Failed or Inconclusive."""
    value: float | None = None
    """Last measured value of the candidate."""
    stable: float | None = None
    """Stable's value over the same time."""
    bound: str = ""
    """What the value must be, such as `≤ 0.01` or `≤ 1.2 × stable (14.1)`."""
    samples: int | None = None
    """Requests, boxes or images that the value was measured on."""
    successful: int = 0
    """Measurements within the bounds."""
    failed: int = 0
    """Measurements outside."""
    inconclusive: int = 0
    """Measurements of too few samples or without an answer."""
    count: int = 1
    """Successful measurements that are needed."""
    measured_at: str | None = Field(default=None, json_schema_extra=DATE_TIME)
    """When it was last measured."""
    message: str | None = None
    """Why the last measurement was inconclusive."""


class AnalysisStatus(StatusModel):
    """The analysis of the present stage."""

    phase: str
    """Running, Successful, Failed or Inconclusive."""
    started_at: str = Field(json_schema_extra=DATE_TIME)
    """When it started."""
    metrics: list[MetricStatus] = Field(default_factory=list)
    """Its metrics."""


class Halt(StatusModel):
    """Why a rollout does not go on."""

    reason: str
    """Step, Inconclusive, Requested or Spec."""
    since: str = Field(json_schema_extra=DATE_TIME)
    """Since when."""
    until: str | None = Field(default=None, json_schema_extra=DATE_TIME)
    """When it goes on by itself; none: when somebody promotes or resumes."""
    by: str | None = None
    """User who paused it, where the API server says so."""


class RolloutAction(StatusModel):
    """What somebody asked of a rollout while it was going on."""

    action: str
    """promote, pause, resume, abort, retry or rollback."""
    by: str | None = None
    """User who asked, where the API server says so."""
    at: str = Field(json_schema_extra=DATE_TIME)
    """When the operator acted."""


class RolloutStatus(StatusModel):
    """The rollout that is going on."""

    revision: int
    """Counts the Deployment's rollouts."""
    trigger: str
    """What started it, for people."""
    by: str | None = None
    """User who started it: who changed the spec, or asked for a rollback or retry. None where no
    person did (a new version is Ready), or the API server does not say."""
    started_at: str = Field(json_schema_extra=DATE_TIME)
    """When it started."""
    stage: str
    """Prestage, Shadow or Step."""
    step: int | None = None
    """Present step, from 1; the last is all servers."""
    steps: int
    """Number of steps."""
    stage_started_at: str = Field(json_schema_extra=DATE_TIME)
    """When the stage started."""
    reached_at: str | None = Field(default=None, json_schema_extra=DATE_TIME)
    """When all its servers were there; pause and analysis count from then."""
    last_progress_at: str = Field(json_schema_extra=DATE_TIME)
    """When a server last got further."""
    target: int = 0
    """Servers that the stage wants."""
    done: int = 0
    """Servers that the stage has."""
    paused: Halt | None = None
    """Why it does not go on."""
    analysis: AnalysisStatus | None = None
    """The stage's analysis."""
    baseline: dict[str, float] | None = None
    """Stable's figures when metrics were last compared with them, by metric."""
    promoted: bool | None = None
    """Whether somebody asked to go on, before the stage was reached."""
    promote_full: bool | None = None
    """Whether the remaining stages are skipped, as somebody asked."""
    actions: list[RolloutAction] | None = None
    """What people asked of it, the last five."""


class RejectedVersion(StatusModel):
    """The version that was rolled back; not tried again unless somebody asks."""

    model_version: str
    """Name of the ModelVersion."""
    version: int
    """Its number."""
    content_digest: str | None = None
    """Digest over all its artifacts: one of the same name with other content may be tried."""
    pipeline: Pipeline | None = None
    """Settings of the pipeline it was tried with."""
    reason: str
    """AnalysisFailed, FailureBudgetExceeded or Aborted."""
    message: str
    """Why, with figures."""
    at: str = Field(json_schema_extra=DATE_TIME)
    """When."""


class Override(StatusModel):
    """A version that somebody rolled back to; holds until the spec or the line asks for a newer
    or another one than it asked for then, somebody asks to retry, or it is Ready no more."""

    version: int
    """Number of the version that is served instead."""
    instead_of: int
    """Number of the version that the spec asked for then."""
    content_digest: str | None = None
    """Digest over all artifacts of the version that is served instead."""
    instead_of_content_digest: str | None = None
    """The same of the version that the spec asked for then."""
    at: str = Field(json_schema_extra=DATE_TIME)
    """When."""
    by: str | None = None
    """User who went back, where the API server says so."""


class RolloutRecord(StatusModel):
    """A rollout that has ended."""

    revision: int
    """Its number."""
    model_version: str
    """Name of the ModelVersion that was rolled out."""
    version: int
    """Its number."""
    content_digest: str | None = None
    """Digest over all its artifacts."""
    previous: int | None = None
    """Number of the version that served before."""
    trigger: str
    """What started it."""
    by: str | None = None
    """User who started it, as in status.rollout."""
    started_at: str = Field(json_schema_extra=DATE_TIME)
    """When it started."""
    ended_at: str = Field(json_schema_extra=DATE_TIME)
    """When it ended."""
    outcome: str
    """Succeeded, RolledBack, Aborted or Superseded."""
    servers: int | None = None
    """Servers that had the version at the end."""
    message: str | None = None
    """The verdicts with their figures, shortened. Of older records it is left out where all
    together would be too long, and so are by and actions."""
    actions: list[RolloutAction] | None = None
    """What people asked of it, the last five."""


class PoolStatus(StatusModel):
    """The servers of one pool."""

    name: str
    """The pool; empty for nodes without the label."""
    servers: int = 0
    """Servers, also offline ones."""
    updated: int = 0
    """Servers that answer with the target version."""
    offline: int = 0
    """Servers that cannot be reached."""
    failed: int = 0
    """Servers that could not load their assigned version."""
