"""What the agent says of its server: phases, reasons, and the status that they make."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from modelyard.api.base import Condition
from modelyard.api.modelserver import LoadedVersion, ModelServerStatus, Traffic

READY = "Ready"
"""Condition: the assigned version answers."""
RECONCILING = "Reconciling"
"""kstatus' condition, present only while the agent works on it or will try again soon."""
STALLED = "Stalled"
"""kstatus' condition, present only while another assignment, or somebody's help, is needed."""

MAX_MESSAGE = 1024


class Phase(StrEnum):
    """Where the server is with its assignment."""

    FETCHING = "Fetching"
    LOADING = "Loading"
    READY = "Ready"
    FAILED = "Failed"


class Reason(StrEnum):
    """Why the condition Ready is what it is."""

    SERVING = "Serving"
    """The assigned version answers."""
    FETCHING = "Fetching"
    """The artifact is being fetched."""
    LOADING = "Loading"
    """Triton loads the version and warms it up."""
    TRITON_UNAVAILABLE = "TritonUnavailable"
    """Triton does not answer."""
    STORE_UNAVAILABLE = "StoreUnavailable"
    """The store cannot be reached; tried again."""
    BUCKET_MISSING = "BucketMissing"
    """The store's bucket does not exist (yet); tried again."""
    STORE_ACCESS_DENIED = "StoreAccessDenied"
    """The store refuses the agent's credentials."""
    STORE_MISCONFIGURED = "StoreMisconfigured"
    """The store's settings cannot be used."""
    ARTIFACT_MISSING = "ArtifactMissing"
    """The store does not have the artifact or its manifest."""
    DIGEST_MISMATCH = "DigestMismatch"
    """The artifact is damaged."""
    MANIFEST_INVALID = "ManifestInvalid"
    """The manifest cannot be used, or describes another file."""
    NO_SPACE = "NoSpace"
    """The artifact does not fit on the server's disk, or the disk cannot be written."""
    INVALID_ASSIGNMENT = "InvalidAssignment"
    """The ModelServer's spec cannot be read by this agent."""
    UNSERVABLE = "Unservable"
    """The pipeline cannot serve such an artifact."""
    LOAD_FAILED = "LoadFailed"
    """Triton could not load the version; the message has Triton's own error."""
    WARM_UP_FAILED = "WarmUpFailed"
    """The version loaded but did not answer the test image."""
    SWITCH_FAILED = "SwitchFailed"
    """The version answered the test image but could not take over."""
    TRITON_CRASHED = "TritonCrashed"
    """Triton ended while it loaded the version."""
    INTERNAL_ERROR = "InternalError"
    """A bug of ours."""


@dataclass(frozen=True)
class Report:
    """The agent's view of its server at one moment."""

    phase: Phase
    reason: Reason
    message: str
    generation: int | None
    """Of the ModelServer that the view is about."""
    loaded: LoadedVersion | None = None
    failures: int = 0
    stalled: bool = False
    """Whether trying again without a change is unlikely to help."""


def timestamp(moment: datetime | None = None) -> str:
    """A moment, now by default, as metav1.Time writes it."""
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def build(
    report: Report, observed: ModelServerStatus, traffic: Traffic | None, now: datetime
) -> ModelServerStatus:
    """The status that says what the report says. Transition times carry over from `observed`."""
    message = _cut(report.message)
    ready = report.phase is Phase.READY
    conditions = [(READY, ready, report.reason)]
    if report.stalled:
        conditions.append((STALLED, True, report.reason))
    elif not ready:
        conditions.append((RECONCILING, True, report.reason))
    return ModelServerStatus(
        observed_generation=report.generation,
        phase=report.phase,
        message=message,
        conditions=[
            _condition(kind, value, reason, message, report.generation, observed, now)
            for kind, value, reason in conditions
        ],
        loaded=report.loaded,
        traffic=traffic,
        failures=report.failures or None,
    )


def difference(observed: ModelServerStatus, wanted: ModelServerStatus) -> dict[str, Any]:
    """The merge patch from the observed to the wanted status; empty if they are equal.

    Traffic and the time of the report are not looked at. A field that is to go is null.
    """
    before, after = _dump(observed), _dump(wanted)
    keys = (before.keys() | after.keys()) - {"traffic", "reportedAt"}
    patch = {key: after.get(key) for key in sorted(keys) if before.get(key) != after.get(key)}
    # A merge patch would keep what an object's new state no longer has.
    held, holds = before.get("loaded"), patch.get("loaded")
    if held and holds:
        patch["loaded"] = {**dict.fromkeys(held), **holds}
    return patch


def _condition(
    kind: str,
    value: bool,
    reason: str,
    message: str,
    generation: int | None,
    observed: ModelServerStatus,
    now: datetime,
) -> Condition:
    before = next((c for c in observed.conditions or () if c.type == kind), None)
    unchanged = before is not None and before.status == str(value)
    return Condition(
        type=kind,
        status=str(value),
        reason=reason,
        message=message,
        last_transition_time=(
            before.last_transition_time if unchanged and before else timestamp(now)
        ),
        observed_generation=generation,
    )


def _dump(status: ModelServerStatus) -> dict[str, Any]:
    return status.model_dump(by_alias=True, exclude_none=True, mode="json")


def _cut(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"
