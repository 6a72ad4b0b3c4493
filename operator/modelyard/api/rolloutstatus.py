"""The state of a rollout: stage, verdicts with their figures, history.

These are the wire format of a Deployment's status and, at the same time, the values that decisions
go by: frozen, parsed once when a Deployment is observed, written back once. A change is a new value
(`but`). Unknown fields of a newer operator are ignored, absent ones have a default.
Where a rollout stands among its stages: rolloutstages.py. Who changes what: core/deployment.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import ConfigDict, PlainSerializer

from modelyard.api.base import StatusModel
from modelyard.api.pipeline import Pipeline

Time = Annotated[
    datetime,
    PlainSerializer(lambda moment: moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")),
]
"""A moment as metav1.Time writes it: in UTC, whole seconds."""


class StageKind(StrEnum):
    """What a stage of a rollout does."""

    PRESTAGE = "Prestage"
    SHADOW = "Shadow"
    STEP = "Step"


class HaltReason(StrEnum):
    """Why a rollout was paused."""

    STEP = "Step"
    INCONCLUSIVE = "Inconclusive"
    REQUESTED = "Requested"
    SPEC = "Spec"


class AnalysisPhase(StrEnum):
    """How far an analysis, or one metric of it, is."""

    RUNNING = "Running"
    SUCCESSFUL = "Successful"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"


class Outcome(StrEnum):
    """How a rollout ended."""

    SUCCEEDED = "Succeeded"
    ROLLED_BACK = "RolledBack"
    ABORTED = "Aborted"
    SUPERSEDED = "Superseded"


class ActionName(StrEnum):
    """What people may ask of a rollout; also the annotation `modelyard.dev/NAME`."""

    PROMOTE = "promote"
    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"
    RETRY = "retry"
    ROLLBACK = "rollback"


class StateModel(StatusModel):
    """Base of what decisions go by: a frozen value with its wire format."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    def wire(self) -> dict[str, Any]:
        """As the API server stores it; absent fields are left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def but(self, **changes: Any) -> Self:
        """The same with some fields changed."""
        return self.model_copy(update=changes)

    @classmethod
    def parsed(cls, found: Mapping[str, Any] | None) -> Self | None:
        """The value of its wire format; None where there is none. Raises
        pydantic.ValidationError."""
        return cls.model_validate(found) if found else None


class ServedVersion(StateModel):
    """A version that servers hold, or are to hold.

    What was not noted stays unset, so that a new operator writes nothing.
    """

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
    profile_digest: str | None = None
    """Digest of the summary of the version's profile."""
    pipeline: Pipeline | None = None
    """Settings of the pipeline around the network."""
    template: str | None = None
    """Hash of the serving pods' template (edge)."""

    def wire(self) -> dict[str, Any]:
        """As the API server stores it; what was not set is left out, in the pipeline too."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)


class MetricStatus(StateModel):
    """One metric of an analysis."""

    name: str
    """Name of the metric."""
    phase: AnalysisPhase
    """How far it is."""
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
    measured_at: Time | None = None
    """When it was last measured."""
    message: str | None = None
    """Why the last measurement was inconclusive."""


class AnalysisStatus(StateModel):
    """The analysis of the present stage."""

    phase: AnalysisPhase
    """How far it is."""
    started_at: Time
    """When it started."""
    metrics: tuple[MetricStatus, ...] = ()
    """Its metrics."""
    content: str | None = None
    """Hash of the analysis that was measured; one that was edited since is measured anew."""

    @property
    def over(self) -> bool:
        """Whether nothing is measured any more."""
        return self.phase in (AnalysisPhase.SUCCESSFUL, AnalysisPhase.INCONCLUSIVE)


class Halt(StateModel):
    """Why a rollout does not go on."""

    reason: HaltReason
    """What paused it."""
    since: Time
    """Since when."""
    until: Time | None = None
    """When it goes on by itself; none: when somebody promotes or resumes."""
    by: str | None = None
    """User who paused it, where the API server says so."""


class RolloutAction(StateModel):
    """What somebody asked of a rollout while it was going on."""

    action: ActionName
    """What was asked."""
    by: str | None = None
    """User who asked, where the API server says so."""
    at: Time
    """When the operator acted."""


class RolloutStatus(StateModel):
    """The rollout that is going on."""

    revision: int
    """Counts the Deployment's rollouts."""
    trigger: str
    """What started it, for people."""
    by: str | None = None
    """User who started it: who changed the spec, or asked for a rollback or retry. None where no
    person did (a new version is Ready), or the API server does not say."""
    started_at: Time
    """When it started."""
    stage: StageKind
    """What the present stage does."""
    step: int | None = None
    """Present step, from 1; the last is all servers."""
    steps: int
    """Number of steps."""
    plan: tuple[str, ...] | None = None
    """Identities of the stages: those that are over, the present one, those that follow. They say
    what a stage does, so that a rollout finds its place in steps that were edited meanwhile."""
    passed: int | None = None
    """How many stages of the plan are over."""
    stage_started_at: Time
    """When the stage started."""
    reached_at: Time | None = None
    """When all its servers were there; pause and analysis count from then."""
    last_progress_at: Time
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
    actions: tuple[RolloutAction, ...] | None = None
    """What people asked of it, the last five."""

    @property
    def paused_for(self) -> HaltReason | None:
        """Why it is paused; None if it is not."""
        return self.paused.reason if self.paused else None

    @property
    def decisions(self) -> Self:
        """All of it that servers' assignments follow from: progress is left out, so a new field
        counts as a decision unless it is named here."""
        return self.but(target=0, done=0, last_progress_at=self.started_at)


RolloutState = RolloutStatus
"""The name that decisions use: what is read and written is one type."""


class RejectedVersion(StateModel):
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
    at: Time
    """When."""


class Override(StateModel):
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
    at: Time
    """When."""
    by: str | None = None
    """User who went back, where the API server says so."""


class RolloutRecord(StateModel):
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
    started_at: Time
    """When it started."""
    ended_at: Time
    """When it ended."""
    outcome: Outcome
    """How."""
    servers: int | None = None
    """Servers that had the version at the end."""
    message: str | None = None
    """The verdicts with their figures, shortened. Of older records it is left out where all
    together would be too long, and so are by and actions."""
    actions: tuple[RolloutAction, ...] | None = None
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
